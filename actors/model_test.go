package actors

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/troupe-llm/troupe/actors/internal/toy"
	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/gpu/model/modeltest"
	"github.com/troupe-llm/troupe/tokenize"
	"github.com/troupe-llm/troupe/tokenize/grammar"
)

func openSystem(t testing.TB, cfg Config) *System {
	t.Helper()
	cfg.Device, cfg.Log = cmp.Or(cfg.Device, "cpu"), zerolog.Nop()
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// said is all that a stream brought.
type said struct {
	text     string
	tokens   []int32
	logprobs []batch.Logprob
	scores   []batch.Logprob // of the prompt
	final    Final
}

func read(t testing.TB, st *Stream) (s said) {
	t.Helper()
	var ev Output
	for ev.Final == nil {
		if err := st.Next(t.Context(), &ev); err != nil {
			t.Fatal(err)
		}
		s.text += string(ev.Text)
		s.tokens = append(s.tokens, ev.Tokens...)
		s.logprobs = append(s.logprobs, ev.Logprobs...)
		s.scores = append(s.scores, ev.PromptLogprobs...)
	}
	s.final = *ev.Final
	return s
}

// Every checkpoint says what transformers says, however the work is cut into
// steps: all cases at once and twice over, so that prompts share pages and
// rows share steps.
func TestSystemMatchesReferences(t *testing.T) {
	for _, cp := range modeltest.All(t) {
		for _, cfg := range []Config{
			{},
			{NoOverlap: true, Cache: "naive"},
			{MaxPrefillLength: 11, PageSize: 1, MaxRunningRequests: 5},
			{MaxPrefillLength: 40, MaxRunningRequests: 12, PageSize: 8, NumPages: 48, Schedule: "prefill-first"}, // too few pages: some are preempted
		} {
			if strings.HasPrefix(cp.Name, "fixtures/") && cfg.PageSize != 1 {
				continue // the hardest is enough for so many
			}
			cfg.Model, cfg.DType = cp.Dir, model.Float32 // exact
			t.Run(fmt.Sprintf("%s/page%d-budget%d-cache%s-overlap%v", cp.Name, cfg.PageSize, cfg.MaxPrefillLength, cfg.Cache, !cfg.NoOverlap), func(t *testing.T) {
				s := openSystem(t, cfg)
				cases := cp.Reference(t).Cases
				cases = append(cases, cases...)
				var wg sync.WaitGroup
				for i, c := range cases {
					st := submit(t, s, &Request{
						Tokens: c.PromptIDs, MaxTokens: len(c.GreedyIDs), IgnoreEOS: true,
						Sampling: &batch.Sampling{Logprobs: 2},
					})
					wg.Go(func() {
						got := read(t, st)
						if c.MinMargin < 0.002 {
							return // the reference itself proves nothing
						}
						if !slices.Equal(got.tokens, c.GreedyIDs) {
							t.Errorf("case %d: got %v, want %v", i, got.tokens, c.GreedyIDs)
							return
						}
						if got.text != c.GreedyText {
							t.Errorf("case %d: got text %q, want %q", i, got.text, c.GreedyText)
						}
						for k, lp := range got.logprobs {
							if math.Abs(float64(lp.Token-c.GreedyLogprobs[k])) > 2e-3 || len(lp.Top) != 1 || lp.Top[0].Token != got.tokens[k] {
								t.Errorf("case %d token %d: %+v, want %v", i, k, lp, c.GreedyLogprobs[k])
							}
						}
						if f := got.final; f.Reason != FinishLength || f.Usage.PromptTokens != len(c.PromptIDs) || f.Usage.CompletionTokens != len(c.GreedyIDs) {
							t.Errorf("case %d: final %+v", i, f)
						}
					})
				}
				wg.Wait()
				// The scheduler says how things stand after it has sent the last
				// tokens on.
				st := s.Stats()
				for end := time.Now().Add(time.Minute); st.PagesUsed != 0 && time.Now().Before(end); st = s.Stats() {
					runtime.Gosched()
				}
				if st.PagesUsed != 0 {
					t.Errorf("%d pages are still held", st.PagesUsed)
				}
			})
		}
	}
}

// A prompt's log-probabilities are those that transformers drew the same tokens
// with, in chunks of any size, with all of it cached, and when it is preempted.
func TestPromptLogprobsMatchReferences(t *testing.T) {
	cp := modeltest.Get(t, "qwen3")
	for _, cfg := range []Config{
		{},
		{MaxPrefillLength: 11, PageSize: 1, MaxRunningRequests: 5},
		{MaxPrefillLength: 40, MaxRunningRequests: 12, PageSize: 4, NumPages: 60},
	} {
		cfg.Model, cfg.DType = cp.Dir, model.Float32 // exact
		s := openSystem(t, cfg)
		cases := cp.Reference(t).Cases
		for range 2 { // the second time from the cache, if one could
			var streams []*Stream
			for _, c := range cases {
				streams = append(streams, submit(t, s, &Request{
					Tokens: slices.Concat(c.PromptIDs, c.GreedyIDs), MaxTokens: 20, IgnoreEOS: true,
					PromptLogprobs: true, Sampling: &batch.Sampling{Logprobs: 2},
				}))
			}
			for i, c := range cases {
				got := read(t, streams[i])
				if len(got.scores) != len(c.PromptIDs)+len(c.GreedyIDs)-1 || len(got.tokens) != 20 {
					t.Fatalf("case %d: %d scores of %d tokens, %d tokens drawn", i, len(got.scores), len(c.PromptIDs)+len(c.GreedyIDs), len(got.tokens))
				}
				for k, lp := range got.scores[len(c.PromptIDs)-1:] {
					if math.Abs(float64(lp.Token-c.GreedyLogprobs[k])) > 2e-3 || len(lp.Top) != 1 || lp.Top[0].Token != c.GreedyIDs[k] {
						t.Errorf("case %d token %d: %+v, want %v of %d", i, k, lp, c.GreedyLogprobs[k], c.GreedyIDs[k])
					}
				}
				if got.final.Usage.CachedTokens != 0 {
					t.Errorf("case %d: %d tokens were not computed", i, got.final.Usage.CachedTokens)
				}
			}
		}
	}
}

// A request for its prompt alone brings the same scores, draws nothing, whatever
// else is asked of what is drawn, and may have a prompt that fills the context.
func TestPromptOnly(t *testing.T) {
	cp := modeltest.Get(t, "qwen3")
	s := openSystem(t, Config{Model: cp.Dir, MaxSeqLen: 48, MaxPrefillLength: 20, PageSize: 4})
	prompt := slices.Repeat([]int32{5, 6, 7}, 16)
	want := read(t, submit(t, s, &Request{Tokens: prompt[:47], MaxTokens: 1, PromptLogprobs: true, Sampling: &batch.Sampling{Logprobs: 2}}))
	for _, n := range []int{1, 20, 47, 48} {
		got := read(t, submit(t, s, &Request{
			Tokens: prompt[:n], PromptOnly: true, PromptLogprobs: true, Sampling: &batch.Sampling{Logprobs: 2},
			Stop: []string{"a"}, StopTokens: []int32{3}, Grammar: grammar.Regex("a+"),
		}))
		f := got.final
		if f.Reason != FinishLength || f.Err != nil || f.Usage.CompletionTokens != 0 || f.Usage.PromptTokens != n || got.text != "" || len(got.tokens) > 0 {
			t.Errorf("%d tokens: %q, %v, final %+v", n, got.text, got.tokens, f)
		}
		if f.Times.First != 0 || f.Times.Started == 0 {
			t.Errorf("%d tokens: times %+v: there was no first token", n, f.Times)
		}
		if len(got.scores) != n-1 {
			t.Fatalf("%d tokens: %d scores", n, len(got.scores))
		}
		for i := range got.scores[:min(n, 47)-1] {
			if a, b := got.scores[i], want.scores[i]; math.Abs(float64(a.Token-b.Token)) > 1e-5 || a.Top[0].Token != b.Top[0].Token {
				t.Errorf("%d tokens: score %d is %+v, %+v when a token is drawn", n, i, a, b)
			}
		}
	}
	got := read(t, submit(t, s, &Request{Tokens: prompt[:47], PromptOnly: true}))
	if u := got.final.Usage; u.CachedTokens != 44 || len(got.scores) > 0 {
		t.Errorf("asked for nothing again: %+v, %d scores", u, len(got.scores))
	}
	if _, err := s.Submit(&Request{Tokens: prompt[:2], PromptOnly: true, MinTokens: 1}); err == nil {
		t.Error("at least one token and none: not refused")
	}
}

// A device that cannot says so before anything runs; a simulated one makes
// them up, and computes a prompt alone as any does.
func TestPromptLogprobsOfOtherDevices(t *testing.T) {
	request := func() *Request {
		return &Request{Tokens: make([]int32, 90), PromptOnly: true, PromptLogprobs: true, Sampling: &batch.Sampling{Logprobs: 1}}
	}
	var input *InputError
	if _, err := toySystem(t, Config{}, toy.New()).Submit(request()); !errors.As(err, &input) || !strings.Contains(input.Msg, "prompt_logprobs") {
		t.Errorf("Submit = %v, want an error about the log-probabilities of prompts", err)
	}
	s, err := Open(Config{Model: modeltest.Get(t, "qwen3").Dir, Device: "sim:h200,speed=inf", Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	got := read(t, submit(t, s, request()))
	if f := got.final; f.Reason != FinishLength || f.Usage != (Usage{PromptTokens: 90}) || len(got.tokens) > 0 || len(got.scores) != 89 {
		t.Errorf("a prompt alone: %v, %d scores, %+v", got.tokens, len(got.scores), f)
	}
}

// Seeded sampling gives the same tokens whatever runs beside a request.
func TestSampledTokensDoNotDependOnTheBatch(t *testing.T) {
	cp := modeltest.Get(t, "qwen3")
	cases := cp.Reference(t).Cases
	request := func(i int) *Request {
		return &Request{
			Tokens: cases[i%len(cases)].PromptIDs, MaxTokens: 30, IgnoreEOS: true,
			Sampling: &batch.Sampling{Temperature: 1.3, TopK: 40, TopP: 0.95, Seed: uint64(i), Frequency: 0.3},
		}
	}
	const n = 24
	var alone [n]said
	s := openSystem(t, Config{Model: cp.Dir, NoOverlap: true, Cache: "naive"})
	for i := range n {
		alone[i] = read(t, submit(t, s, request(i)))
	}
	for _, cfg := range []Config{
		{},
		{MaxPrefillLength: 9, PageSize: 2, MaxRunningRequests: 6},
		{PageSize: 4, NumPages: 80}, // preempts
	} {
		cfg.Model = cp.Dir
		s := openSystem(t, cfg)
		var streams []*Stream
		for i := range n {
			streams = append(streams, submit(t, s, request(i)))
		}
		for i, st := range streams {
			if got := read(t, st); !slices.Equal(got.tokens, alone[i].tokens) || got.text != alone[i].text {
				t.Errorf("%+v: request %d got %v, alone %v", cfg, i, got.tokens, alone[i].tokens)
			}
		}
	}
}

// Text, messages and stop strings, through the tokenizers and back.
func TestTextInTextOut(t *testing.T) {
	cp := modeltest.Get(t, "qwen3")
	s := openSystem(t, Config{Model: cp.Dir})
	codec := s.Tokenizer()

	t.Run("text is what its tokens are", func(t *testing.T) {
		const prompt = "Ada's lamp isn't silver;"
		a := read(t, submit(t, s, &Request{Text: prompt, MaxTokens: 20, IgnoreEOS: true}))
		b := read(t, submit(t, s, &Request{Tokens: codec.Encode(prompt, true), MaxTokens: 20, IgnoreEOS: true}))
		if !slices.Equal(a.tokens, b.tokens) || a.text != codec.Decode(a.tokens, true) {
			t.Errorf("text gave %v %q, tokens %v %q", a.tokens, a.text, b.tokens, b.text)
		}
	})

	t.Run("messages are rendered", func(t *testing.T) {
		for _, chat := range cp.Chats(t) {
			messages, err := tokenize.DecodeMessages(chat.Messages)
			if err != nil {
				t.Fatal(err)
			}
			st := submit(t, s, &Request{Chat: &tokenize.Chat{Messages: messages, AddGenerationPrompt: true}, MaxTokens: 1})
			var ev Output
			if err := st.Next(t.Context(), &ev); err != nil {
				t.Fatal(err)
			}
			if ev.Started == nil || codec.Decode(ev.Started.PromptTokens, false) != chat.Rendered {
				t.Errorf("got %+v, want the tokens of %q", ev, chat.Rendered)
			}
		}
	})

	t.Run("a template's refusal is the client's error", func(t *testing.T) {
		st := submit(t, s, &Request{Chat: &tokenize.Chat{}})
		_, f := collect(t, st)
		var in *InputError
		if f.Reason != FinishError || !errors.As(f.Err, &in) || in.Param != "messages" {
			t.Errorf("final %+v, want an InputError about messages", f)
		}
	})

	t.Run("a stop string ends it and is not shown", func(t *testing.T) {
		whole := read(t, submit(t, s, &Request{Text: "Ada", MaxTokens: 60, IgnoreEOS: true}))
		stop := whole.text[len(whole.text)/2 : len(whole.text)/2+5]
		before, _, _ := strings.Cut(whole.text, stop)
		got := read(t, submit(t, s, &Request{Text: "Ada", MaxTokens: 60, IgnoreEOS: true, Stop: []string{stop}}))
		if got.text != before || got.final.Reason != FinishStop || got.final.Stop != stop {
			t.Errorf("got %q, %+v; want %q ended by %q", got.text, got.final, before, stop)
		}
		got = read(t, submit(t, s, &Request{Text: "Ada", MaxTokens: 60, IgnoreEOS: true, Stop: []string{stop}, IncludeStop: true}))
		if got.text != before+stop {
			t.Errorf("with the stop string: got %q, want %q", got.text, before+stop)
		}
	})

	t.Run("a shared prefix is found in the cache", func(t *testing.T) {
		prompt := strings.Repeat("Bruno sold the violin. ", 20)
		read(t, submit(t, s, &Request{Text: prompt, MaxTokens: 2, IgnoreEOS: true}))
		got := read(t, submit(t, s, &Request{Text: prompt + "Then", MaxTokens: 2, IgnoreEOS: true}))
		if u := got.final.Usage; u.CachedTokens == 0 || u.CachedTokens >= u.PromptTokens {
			t.Errorf("usage %+v, want a part of the prompt cached", u)
		}
	})
}

// Either size alone is enough: the other follows from it.
func TestOneSizeImpliesTheOther(t *testing.T) {
	cp := modeltest.Get(t, "qwen3")
	for _, cfg := range []Config{{MaxPrefillLength: 2}, {MaxPrefillLength: 40}, {MaxRunningRequests: 300, NumPages: 64}} {
		cfg.Model = cp.Dir
		s := openSystem(t, cfg)
		got := read(t, submit(t, s, &Request{Tokens: []int32{5, 6, 7}, MaxTokens: 3, IgnoreEOS: true}))
		if len(got.tokens) != 3 {
			t.Errorf("%+v: %v", s.Device(), got.final)
		}
	}
}

// A device is asked to be deterministic where a system is.
func TestDeterministicReachesTheDevice(t *testing.T) {
	for _, want := range []bool{false, true} {
		s, err := Open(Config{Model: "builtin", Device: "sim:h200,speed=inf", Deterministic: want, Log: zerolog.Nop()})
		if err != nil {
			t.Fatal(err)
		}
		dev := s.Device()
		if err := s.Close(); err != nil || dev.Deterministic != want {
			t.Errorf("deterministic: %v, want %v (%v)", dev.Deterministic, want, err)
		}
	}
}

package actors

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/troupe-llm/troupe/gpu"
	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/tokenize/grammar"
)

// draftable is a request whose text repeats something, of one kind or another.
func draftable(i int, way Speculation) *Request {
	r := &Request{
		Text: strings.Repeat("Once upon a time there was a fox. ", 1+i%4), MaxTokens: 20 + 5*(i%5), Speculative: way,
		Sampling: &batch.Sampling{Temperature: []float32{0, 0.3, 1}[i%3], Seed: uint64(i), Logprobs: int32(i % 3)},
	}
	switch i % 6 {
	case 1:
		r.Grammar = grammar.Sequence(grammar.Literal(strings.Repeat("the fox and ", 4)), grammar.Regex(`[a-z]{3,9}\.`))
	case 2:
		r.Sampling.Presence, r.Sampling.Repetition = 0.2, 1.1
	case 3:
		r.Stop = []string{"fox", "was a", "They"}
	case 4:
		r.IgnoreEOS, r.MinTokens = true, 15
	}
	return r
}

// What a request is answered does not depend on whether its tokens are drafted: on one device
// and on ranks, with overlap and without, in so little memory that some are preempted, by
// temperature, with penalties, log-probabilities, grammars, stop strings and limits.
func TestSpeculationChangesNothing(t *testing.T) {
	alone := openSystem(t, Config{MaxRunningRequests: 1})
	var want []said
	for i := range 18 {
		want = append(want, read(t, submit(t, alone, draftable(i, NoSpeculation))))
	}
	for name, cfg := range map[string]Config{
		"overlap":    {MaxRunningRequests: 4},
		"none":       {NoOverlap: true},
		"preempted":  {MaxRunningRequests: 12, NumPages: 24, PageSize: 8, MaxPrefillLength: 24},
		"by default": {Speculative: NGram},
		"ranks":      {TP: 2},
		"engines":    {DP: 2},
	} {
		t.Run(name, func(t *testing.T) {
			s, base := openSystem(t, cfg), want
			if cfg.TP > 1 { // ranks add up in another order
				base = nil
				for i := range want {
					base = append(base, read(t, submit(t, s, draftable(i, NoSpeculation))))
				}
			}
			var streams []*Stream
			for i := range want {
				r := draftable(i, NGram)
				if cfg.Speculative != "" {
					r.Speculative = ""
				}
				streams = append(streams, submit(t, s, r))
			}
			for i, st := range streams {
				got := read(t, st)
				if got.text != base[i].text || !reflect.DeepEqual(got.logprobs, base[i].logprobs) || got.final.Reason != base[i].final.Reason || got.final.Stop != base[i].final.Stop {
					t.Errorf("%d: said %q (%s), without drafts %q (%s)", i, got.text, got.final.Reason, base[i].text, base[i].final.Reason)
				}
				if u := got.final.Usage; u.AcceptedTokens >= max(u.CompletionTokens, 1) || u.CompletionTokens != base[i].final.Usage.CompletionTokens {
					t.Errorf("%d: used %+v, without drafts %+v", i, u, base[i].final.Usage)
				}
			}
			t.Logf("%d tokens drafted, %d accepted", s.Stats().Drafted, s.Stats().Accepted)
		})
	}
}

// Where texts repeat themselves most tokens need no step of their own, and requests are told how
// many; where they do not, nothing is drafted.
func TestSpeculationSavesSteps(t *testing.T) {
	m, codec, err := simModel()
	if err != nil {
		t.Fatal(err)
	}
	for name, texts := range map[string]struct {
		device string
		least  float64 // of tokens that were drafted
		most   float64
	}{
		// Some are; how many depends on how long this machine lets a device stand idle between
		// steps with drafts. Package plan holds it in virtual time.
		"repeated": {"sim:h200,repeat=20,speed=inf", 1. / 400, 0.9},
		"random":   {"sim:h200,speed=inf", 0, 0},
	} {
		cfg := Config{Log: zerolog.Nop(), Speculative: NGram}
		cfg.fill()
		s, err := start(cfg, m, codec, func() (device.Device, error) { return gpu.Open(device.Spec{Device: texts.device, Model: m}) })
		if err != nil {
			t.Fatal(err)
		}
		got := read(t, submit(t, s, &Request{Text: "Once", MaxTokens: 400, IgnoreEOS: true}))
		u := got.final.Usage
		// A request has its end before the step that brought it is counted.
		until(t, "its last token is counted", func() bool { return int(s.Stats().Generated) >= u.CompletionTokens })
		st := s.Stats()
		s.Close()
		if share := float64(u.AcceptedTokens) / float64(u.CompletionTokens); share < texts.least || share > texts.most {
			t.Errorf("%s: %d of %d tokens were drafted", name, u.AcceptedTokens, u.CompletionTokens)
		}
		if int(st.Accepted) != u.AcceptedTokens || int(st.Drafted) != u.AcceptedTokens+u.RejectedTokens || int(st.Generated) != u.CompletionTokens || int(st.Steps) > u.CompletionTokens-u.AcceptedTokens+1 {
			t.Errorf("%s: used %+v, the engine counts %d accepted of %d drafted, %d tokens in %d steps", name, u, st.Accepted, st.Drafted, st.Generated, st.Steps)
		}
	}
}

// Who cannot go back to before a rejected draft says so, when asked to draft and when told to by
// default; and so is a way that nobody knows.
func TestSpeculationRefused(t *testing.T) {
	hybrid, err := model.Open("qwen3.5-9b", true)
	if err != nil {
		t.Fatal(err)
	}
	open := func(cfg Config) (*System, error) {
		cfg.Log = zerolog.Nop()
		cfg.fill()
		return start(cfg, hybrid, nil, func() (device.Device, error) {
			return gpu.Open(device.Spec{Device: "sim:h200,speed=inf", Model: hybrid})
		})
	}
	const why = "its recurrent layers cannot go back to before a rejected draft"
	if s, err := open(Config{Speculative: NGram}); err == nil || !strings.Contains(err.Error(), why) {
		t.Errorf("by default: %v", err)
		if err == nil {
			s.Close()
		}
	}
	s, err := open(Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for way, want := range map[Speculation]string{NGram: why, NoSpeculation: "", "": "", "eagle": `speculation "eagle" is not known; there are "ngram" and "off"`} {
		st, err := s.Submit(&Request{Tokens: []int32{1, 2, 3}, MaxTokens: 2, Speculative: way})
		var input *InputError
		switch {
		case want == "" && err != nil, want != "" && (!errors.As(err, &input) || input.Param != "speculative" || !strings.Contains(err.Error(), want)):
			t.Errorf("%q: error %v, want %q", way, err, want)
		case err == nil:
			if _, final := collect(t, st); final.Err != nil {
				t.Errorf("%q: %v", way, final.Err)
			}
		}
	}
	if err := (&Config{Speculative: "eagle"}).check(); err == nil || !strings.Contains(err.Error(), `Speculative is "eagle"`) {
		t.Errorf("configured: %v", err)
	}
}

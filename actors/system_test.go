package actors

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/troupe-llm/troupe/actors/internal/toy"
	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/tokenize"
)

// toySystem serves toys: the first device is devs[0], reopened ones follow.
func toySystem(t *testing.T, cfg Config, devs ...*toy.Device) *System {
	t.Helper()
	cfg.Cache = "naive" // a toy's slots remember no other slot's tokens
	cfg.Log = zerolog.Nop()
	cfg.fill()
	s, err := start(cfg, toy.Model(), nil, toy.Opener(devs...))
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

// textSystem serves a toy with a tokenizer.
func textSystem(t testing.TB, cfg Config, codec *tokenize.Tokenizer) *System {
	t.Helper()
	cfg.Cache, cfg.Log = "naive", zerolog.Nop()
	cfg.fill()
	d := toy.New()
	d.Sizes.Vocab = codec.Vocab()
	s, err := start(cfg, toy.Model(), codec, toy.Opener(d))
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

// letters is a tokenizer of the letters a to z, and echoes chats.
func letters(t testing.TB) *tokenize.Tokenizer {
	t.Helper()
	codec, err := toy.Letters()
	if err != nil {
		t.Fatal(err)
	}
	return codec
}

// collect reads a stream to its end.
func collect(t testing.TB, st *Stream) (tokens []int32, f *Final) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // a stuck test, not a slow one
	defer cancel()
	var ev Output
	for f == nil {
		if err := st.Next(ctx, &ev); err != nil {
			t.Fatalf("request %s: %v after %d tokens", st.ID, err, len(tokens))
		}
		tokens = append(tokens, ev.Tokens...)
		f = ev.Final
	}
	return tokens, f
}

// submit submits a request that is greedy, unless it says otherwise.
func submit(t testing.TB, s *System, r *Request) *Stream {
	t.Helper()
	if r.Sampling == nil {
		r.Sampling = &batch.Sampling{}
	}
	st, err := s.Submit(r)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func TestManyRequestsGetTheirOwnTokens(t *testing.T) {
	for _, noOverlap := range []bool{false, true} {
		t.Run(fmt.Sprintf("overlap=%v", !noOverlap), func(t *testing.T) {
			s := toySystem(t, Config{NoOverlap: noOverlap}, toy.New())
			rnd := rand.New(rand.NewPCG(3, 4))
			var wg sync.WaitGroup
			for range 200 {
				prompt := make([]int32, 1+rnd.IntN(70))
				for i := range prompt {
					prompt[i] = rnd.Int32N(97)
				}
				n := 1 + rnd.IntN(40)
				wg.Go(func() {
					st := submit(t, s, &Request{Tokens: prompt, MaxTokens: n, IgnoreEOS: true})
					got, f := collect(t, st)
					if want := toy.Tokens(prompt, n); !slices.Equal(got, want) {
						t.Errorf("prompt %v: got %v, want %v", prompt, got, want)
					}
					if f.Reason != FinishLength || f.Usage != (Usage{PromptTokens: len(prompt), CompletionTokens: n}) || f.Err != nil {
						t.Errorf("final %+v", f)
					}
				})
			}
			wg.Wait()
			settled(func() bool { return s.Stats().OpenRequests == 0 })
			if st := s.Stats(); st.OpenRequests != 0 {
				t.Errorf("%d requests are still open", st.OpenRequests)
			}
		})
	}
}

func TestStopTokenEndsARequest(t *testing.T) {
	s := toySystem(t, Config{}, toy.New())
	want := toy.Tokens([]int32{5}, 10)
	st := submit(t, s, &Request{Tokens: []int32{5}, StopTokens: []int32{want[4]}, IgnoreEOS: true})
	got, f := collect(t, st)
	if !slices.Equal(got, want[:5]) || f.Reason != FinishStop || f.StopToken != want[4] || f.Usage.CompletionTokens != 5 {
		t.Errorf("got %v, %+v; want %v ended by %d", got, f, want[:5], want[4])
	}
}

func TestEndOfSequenceIsNoStopToken(t *testing.T) {
	s := toySystem(t, Config{}, toy.New())
	got, f := collect(t, submit(t, s, &Request{Tokens: []int32{96}, StopTokens: []int32{5}, MaxTokens: 9})) // after 96 comes 0
	if !slices.Equal(got, []int32{0}) || f.Reason != FinishStop || f.StopToken != batch.NoToken {
		t.Errorf("got %v, %+v; want the end of the sequence and no stop token", got, f)
	}
}

func TestRefusals(t *testing.T) {
	s := toySystem(t, Config{}, toy.New())
	for _, c := range []struct {
		name string
		req  Request
		want string
	}{
		{"no prompt", Request{}, "the prompt is empty"},
		{"two prompts", Request{Text: "x", Tokens: []int32{1}}, "in 2 forms"},
		{"text without a tokenizer", Request{Text: "x"}, "without a tokenizer"},
		{"stop string without a tokenizer", Request{Tokens: []int32{1}, Stop: []string{"x"}}, "without a tokenizer"},
		{"too long", Request{Tokens: make([]int32, 200)}, "200 tokens"},
		{"token out of the vocabulary", Request{Tokens: []int32{97}}, "97"},
	} {
		t.Run(c.name, func(t *testing.T) {
			st, err := s.Submit(&c.req)
			if err == nil {
				_, f := collect(t, st)
				err = f.Err
			}
			var in *InputError
			if !errors.As(err, &in) || !strings.Contains(in.Msg, c.want) || in.TooLong != (c.name == "too long") {
				t.Errorf("got %v, want an InputError with %q", err, c.want)
			}
		})
	}
}

func TestBusy(t *testing.T) {
	hold := make(chan struct{})
	d := toy.New()
	d.Gate = func(uint64) { <-hold }
	s := toySystem(t, Config{MaxOpenRequests: 1}, d)
	st := submit(t, s, &Request{Tokens: []int32{1}, MaxTokens: 2, IgnoreEOS: true})
	_, err := s.Submit(&Request{Tokens: []int32{1}})
	var busy *BusyError
	if !errors.As(err, &busy) || busy.Limit != 1 || busy.Open != 1 {
		t.Errorf("second request: %v, want a BusyError", err)
	}
	close(hold)
	collect(t, st)
}

func TestCancel(t *testing.T) {
	hold := make(chan struct{})
	d := toy.New()
	d.Gate = func(seq uint64) {
		if seq == 3 {
			<-hold
		}
	}
	s := toySystem(t, Config{}, d)
	a := submit(t, s, &Request{Tokens: []int32{1}, IgnoreEOS: true})
	a.Cancel()
	a.Cancel()
	if _, f := collect(t, a); f.Reason != FinishAbort || f.Err != nil {
		t.Errorf("final %+v, want an abort", f)
	}
	a.Cancel() // ended: nothing happens
	close(hold)
	b := submit(t, s, &Request{Tokens: []int32{2}, MaxTokens: 3, IgnoreEOS: true})
	if got, f := collect(t, b); len(got) != 3 || f.Reason != FinishLength {
		t.Errorf("after a cancel another request got %v, %+v", got, f)
	}
}

func TestLostDeviceLosesNoRequest(t *testing.T) {
	for name, breakIt := range map[string]func(*toy.Device){
		"in Wait":         func(d *toy.Device) { d.FailAt = 7 },
		"panic in Launch": func(d *toy.Device) { d.PanicAt = 7 },
	} {
		t.Run(name, func(t *testing.T) {
			first, second := toy.New(), toy.New()
			breakIt(first)
			s := toySystem(t, Config{}, first, second)
			var streams []*Stream
			for i := range int32(12) { // more than slots: some wait
				streams = append(streams, submit(t, s, &Request{Tokens: []int32{i, i + 1}, MaxTokens: 30, IgnoreEOS: true}))
			}
			for i, st := range streams {
				got, f := collect(t, st)
				if want := toy.Tokens([]int32{int32(i), int32(i) + 1}, 30); !slices.Equal(got, want) || f.Reason != FinishLength {
					t.Errorf("request %d: got %v (%+v), want %v", i, got, f, want)
				}
			}
			if !first.Closed() {
				t.Error("the lost device was not closed")
			}
		})
	}
}

func TestDeviceThatCannotBeReopenedEndsEverything(t *testing.T) {
	d := toy.New()
	d.FailAt = 4
	s := toySystem(t, Config{}, d) // nothing to reopen
	st := submit(t, s, &Request{Tokens: []int32{1}, IgnoreEOS: true})
	if _, f := collect(t, st); f.Reason != FinishError || !errors.Is(f.Err, ErrFailed) {
		t.Errorf("final %+v, want ErrFailed", f)
	}
	if s.Ready() {
		t.Error("a dead system calls itself ready")
	}
	if _, err := s.Submit(&Request{Tokens: []int32{1}}); !errors.Is(err, ErrFailed) {
		t.Errorf("Submit = %v, want ErrFailed", err)
	}
}

func TestDrain(t *testing.T) {
	hold := make(chan struct{})
	d := toy.New()
	d.Gate = func(uint64) { <-hold }
	s := toySystem(t, Config{}, d)
	st := submit(t, s, &Request{Tokens: []int32{1}, MaxTokens: 5, IgnoreEOS: true})
	drained := make(chan error, 1)
	go func() { drained <- s.Drain(t.Context()) }()
	for s.Ready() { // until the drain has begun
		runtime.Gosched()
	}
	if _, err := s.Submit(&Request{Tokens: []int32{1}}); !errors.Is(err, ErrDraining) {
		t.Errorf("Submit while draining = %v, want ErrDraining", err)
	}
	close(hold)
	if got, f := collect(t, st); len(got) != 5 || f.Reason != FinishLength {
		t.Errorf("the open request got %v, %+v", got, f)
	}
	if err := <-drained; err != nil {
		t.Errorf("Drain = %v", err)
	}
}

func TestDrainCancelsWhenItsTimeIsUp(t *testing.T) {
	s := toySystem(t, Config{}, toy.New())
	st := submit(t, s, &Request{Tokens: []int32{1}, IgnoreEOS: true}) // may end before it is cancelled
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := s.Drain(ctx)
	if _, f := collect(t, st); f.Reason == FinishError {
		t.Errorf("final %+v", f)
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("Drain = %v", err)
	}
}

// TestDefaultsAreTheModels: a request that says nothing of sampling is drawn as the model's
// generation_config.json has it, with a seed of its own; one that does as it says.
func TestDefaultsAreTheModels(t *testing.T) {
	if got := *toySystem(t, Config{}, toy.New()).Defaults(); !reflect.DeepEqual(got, batch.Sampling{Temperature: 1}) {
		t.Errorf("of a model that says nothing: %+v", got)
	}
	m, temperature, topK, topP := toy.Model(), 0.25, 7, 0.5
	m.Generation = model.Generation{Temperature: &temperature, TopK: &topK, TopP: &topP}
	var drawn []batch.Sampling
	d := &toy.Meddler{Device: toy.New(), BeforeLaunch: func(s *batch.Step) error {
		for _, init := range s.Slots {
			drawn = append(drawn, init.Sampling)
		}
		return nil
	}}
	cfg := Config{Cache: "naive", Log: zerolog.Nop()}
	cfg.fill()
	s, err := start(cfg, m, nil, func() (device.Device, error) { return d, nil })
	if err != nil {
		t.Fatal(err)
	}
	for _, given := range []*batch.Sampling{nil, nil, {}} {
		st, err := s.Submit(&Request{Tokens: []int32{1}, MaxTokens: 1, Sampling: given})
		if err != nil {
			t.Fatal(err)
		}
		collect(t, st)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if len(drawn) != 3 || drawn[0].Seed == drawn[1].Seed {
		t.Fatalf("drawn %+v", drawn)
	}
	for i, want := range []batch.Sampling{{Temperature: 0.25, TopK: 7, TopP: 0.5, Seed: drawn[0].Seed}, {Temperature: 0.25, TopK: 7, TopP: 0.5, Seed: drawn[1].Seed}, {}} {
		if !reflect.DeepEqual(drawn[i], want) {
			t.Errorf("request %d is drawn with %+v, want %+v", i, drawn[i], want)
		}
	}
}

package actors

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/troupe-llm/troupe/actors/internal/toy"
	"github.com/troupe-llm/troupe/gpu"
	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/tokenize"
	"github.com/troupe-llm/troupe/tokenize/grammar"
)

// several are requests with something of everything.
func several(n int) (all []*Request) {
	rnd := rand.New(rand.NewPCG(5, uint64(n)))
	for i := range n {
		r := &Request{Text: []string{"Once upon a time", "Hello", "A fox said that"}[rnd.IntN(3)], MaxTokens: 5 + rnd.IntN(40), IgnoreEOS: true}
		r.Sampling = &batch.Sampling{Temperature: float32(rnd.IntN(3)) / 2, Seed: uint64(i), Logprobs: rnd.Int32N(3)}
		switch i % 4 {
		case 0:
			r.Sampling.Repetition, r.Sampling.Frequency = 1.2, 0.3
		case 1:
			r.IgnoreEOS, r.Grammar = false, grammar.Regex(`[a-z]{9,20} \d{1,9}é\n`)
		case 2:
			r.Stop = []string{"the ", "qu"}
		case 3:
			r.PromptLogprobs = true
		}
		all = append(all, r)
	}
	return all
}

// together runs requests all at once.
func together(t *testing.T, s *System, requests []*Request) (all []said) {
	t.Helper()
	var streams []*Stream
	for _, r := range requests {
		again := *r
		streams = append(streams, submit(t, s, &again))
	}
	for _, st := range streams {
		all = append(all, read(t, st))
	}
	return all
}

// same compares what requests said, to the bit of their log-probabilities.
func same(t *testing.T, what string, got, want []said) {
	t.Helper()
	for i := range want {
		g, w := got[i], want[i]
		if g.text != w.text || !slices.Equal(g.tokens, w.tokens) || g.final.Reason != w.final.Reason || g.final.Stop != w.final.Stop ||
			!reflect.DeepEqual(g.logprobs, w.logprobs) || !reflect.DeepEqual(g.scores, w.scores) {
			t.Errorf("%s: request %d said %q (%+v), undisturbed %q (%+v)", what, i, g.text, g.final, w.text, w.final)
		}
		if u := g.final.Usage; u.PromptTokens != w.final.Usage.PromptTokens || u.CompletionTokens != w.final.Usage.CompletionTokens {
			t.Errorf("%s: request %d used %+v, undisturbed %+v", what, i, u, w.final.Usage)
		}
	}
}

// settled waits until counters say so, which are told after the last tokens are, or for a minute.
func settled(done func() bool) {
	for end := time.Now().Add(time.Minute); !done() && time.Now().Before(end); {
		runtime.Gosched()
	}
}

// Several engines say what one says, each has its share, and counters are those of all.
func TestSeveralEngines(t *testing.T) {
	requests := several(40)
	want := together(t, openSystem(t, Config{}), requests)
	for _, n := range []int{2, 3} {
		s := openSystem(t, Config{DP: n})
		one := openSystem(t, Config{}).Device()
		if d := s.Device(); d.Slots != n*one.Slots || d.NumPages < one.NumPages || d.WeightBytes != int64(n)*one.WeightBytes || !strings.HasPrefix(d.Hardware, fmt.Sprint(n, " engines")) {
			t.Errorf("%d engines are %+v", n, d)
		}
		same(t, fmt.Sprint(n, " engines"), together(t, s, requests), want)
		tokens := 0
		for _, w := range want {
			tokens += len(w.tokens)
		}
		settled(func() bool {
			f := s.Stats().Finished
			return f[1]+f[2]+f[3] == uint64(len(requests))
		})
		st := s.Stats()
		if st.Generated < uint64(tokens) || st.Finished[1]+st.Finished[2]+st.Finished[3] != uint64(len(requests)) || st.Reserve <= 0 || st.Reserve > 1 {
			t.Errorf("%+v", st.Stats)
		}
		schedulers := 0
		for _, a := range st.Actors {
			if strings.HasPrefix(a.Name, "scheduler-") && a.Messages > 20 {
				schedulers++
			}
		}
		if schedulers != n {
			t.Errorf("%d of %d engines had something to do: %+v", schedulers, n, st.Actors)
		}
	}
}

// An engine that is lost at any step, with nothing to replace its device, costs a pause: another
// one goes on with its requests, each of which ends once.
func TestEngineLostAtAnyStep(t *testing.T) {
	for at := uint64(1); at < 40; at++ {
		first, second := toy.New(), toy.New()
		first.FailAt = at
		s := toySystem(t, Config{DP: 2}, first, second)
		var streams []*Stream
		prompt := func(i int32) []int32 { return []int32{i, i + 1, 5} }
		for i := range int32(20) { // more than slots: some wait
			streams = append(streams, submit(t, s, &Request{Tokens: prompt(i), MaxTokens: 12 + int(i), IgnoreEOS: true}))
		}
		for i, st := range streams {
			got, f := collect(t, st)
			if want := toy.Tokens(prompt(int32(i)), 12+i); !slices.Equal(got, want) || f.Reason != FinishLength || f.Usage.CompletionTokens != len(want) {
				t.Errorf("lost at step %d: request %d got %v (%+v), want %v", at, i, got, f, want)
			}
		}
		settled(func() bool { return s.Stats().OpenRequests == 0 })
		if st := s.Stats(); st.OpenRequests != 0 || !s.Ready() {
			t.Errorf("lost at step %d: %d requests are open, ready %v", at, st.OpenRequests, s.Ready())
		}
	}
}

// The same of a real model, with whatever a request may ask for: texts, log-probabilities and reasons
// are an undisturbed run's.
func TestLostEngineChangesNothing(t *testing.T) {
	requests := several(24)
	want := together(t, openSystem(t, Config{}), requests)
	serve := func(cfg Config, open func(m *model.Model) (device.Device, error)) *System {
		m, err := model.Open(model.Builtin, false)
		if err != nil {
			t.Fatal(err)
		}
		codec, err := tokenize.Load(m.Files)
		if err != nil {
			t.Fatal(err)
		}
		cfg.Log = zerolog.Nop()
		cfg.fill()
		s, err := start(cfg, m, codec, func() (device.Device, error) { return open(m) })
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	for _, on := range []string{"cpu", "sim:h200,speed=inf"} {
		if on != "cpu" {
			s := serve(Config{}, func(m *model.Model) (device.Device, error) { return gpu.Open(device.Spec{Device: on, Model: m}) })
			want = together(t, s, requests)
			closeSystem(t, s)
		}
		for _, at := range []uint64{1, 2, 3, 9, 23, 31} {
			var opened atomic.Int32
			s := serve(Config{DP: 3}, func(m *model.Model) (device.Device, error) {
				nth := opened.Add(1)
				if nth > 3 {
					return nil, errors.New("none left")
				}
				dev, err := gpu.Open(device.Spec{Device: on, Model: m, DP: 3, Slots: 7, MaxStepTokens: 40})
				d := &toy.Meddler{Device: dev}
				if nth < 3 { // two of three are lost, one after the other
					d.BeforeWait = func(step uint64) error {
						if step == at*uint64(nth) {
							return errors.New("meddled with")
						}
						return nil
					}
				}
				return d, err
			})
			same(t, fmt.Sprintf("%s, lost at step %d", on, at), together(t, s, requests), want)
			if opened.Load() < 4 {
				t.Errorf("%s: no engine was lost at step %d", on, at)
			}
			closeSystem(t, s)
		}
	}
}

// When the last engine is lost, so is the system.
func TestAllEnginesLost(t *testing.T) {
	first, second := toy.New(), toy.New()
	first.FailAt, second.FailAt = 5, 9
	submitted := make(chan struct{}) // before which no engine computes, lest both be lost by then
	first.Gate = func(uint64) { <-submitted }
	second.Gate = first.Gate
	s := toySystem(t, Config{DP: 2}, first, second)
	var streams []*Stream
	for i := range int32(6) {
		streams = append(streams, submit(t, s, &Request{Tokens: []int32{i}, MaxTokens: 100, IgnoreEOS: true}))
	}
	close(submitted)
	for i, st := range streams {
		got, f := collect(t, st)
		if !errors.Is(f.Err, ErrFailed) || !strings.Contains(f.Err.Error(), "toy failed") {
			t.Errorf("request %d ended with %+v", i, f)
		}
		if want := toy.Tokens([]int32{int32(i)}, 100); !slices.Equal(got, want[:len(got)]) {
			t.Errorf("request %d got %v, want the beginning of %v", i, got, want)
		}
	}
	<-s.Failed()
	if _, err := s.Submit(&Request{Tokens: []int32{1}}); !errors.Is(err, ErrFailed) || s.Ready() {
		t.Errorf("Submit: %v; ready %v", err, s.Ready())
	}
}

// A request that is cancelled while its engine is being lost ends as cancelled, or had ended.
func TestCancelWhileAnEngineIsLost(t *testing.T) {
	first, second := toy.New(), toy.New()
	first.FailAt = 6
	gone := make(chan *Stream, 1)
	first.Gate = func(seq uint64) {
		if seq == 6 {
			(<-gone).Cancel()
		}
	}
	s := toySystem(t, Config{DP: 2}, first, second)
	a := submit(t, s, &Request{Tokens: []int32{1, 2}, MaxTokens: 90, IgnoreEOS: true}) // the first engine's, being the first
	gone <- a
	if got, f := collect(t, a); f.Reason != FinishAbort {
		t.Errorf("cancelled: %d tokens, %+v", len(got), f)
	}
	if got, f := collect(t, submit(t, s, &Request{Tokens: []int32{1, 2}, MaxTokens: 9, IgnoreEOS: true})); len(got) != 9 || f.Reason != FinishLength {
		t.Errorf("another: %v, %+v", got, f)
	}
}

// The next turn of a conversation goes where the last one was computed, when nobody has more to do
// than others.
func TestTurnsFindTheirPrefix(t *testing.T) {
	cfg := Config{Model: "builtin", Device: "sim:h200,speed=inf", DP: 4, PageSize: 16, NumPages: 4000, Log: zerolog.Nop()}
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer closeSystem(t, s)
	rnd := rand.New(rand.NewPCG(1, 1))
	conversations := make([][]int32, 24)
	for turn := range 4 {
		streams := make([]*Stream, len(conversations))
		for i := range conversations {
			for range 40 {
				conversations[i] = append(conversations[i], rnd.Int32N(300))
			}
			streams[i] = submit(t, s, &Request{Tokens: slices.Clone(conversations[i]), MaxTokens: 20, IgnoreEOS: true})
			if turn == 0 { // all at once, shared out
				continue
			}
			got := read(t, streams[i])
			if u := got.final.Usage; u.CachedTokens < (len(conversations[i])-41)/16*16 {
				t.Errorf("turn %d of %d: %d of %d tokens were cached", turn, i, u.CachedTokens, len(conversations[i]))
			}
			conversations[i] = append(conversations[i], got.tokens...)
		}
		for i, st := range streams[:len(streams)*(1-min(turn, 1))] {
			conversations[i] = append(conversations[i], read(t, st).tokens...)
		}
	}
	used := 0
	for _, a := range s.Stats().Actors {
		if strings.HasPrefix(a.Name, "scheduler-") && a.Messages > 20 {
			used++
		}
	}
	if used != 4 {
		t.Errorf("%d engines were used", used)
	}
}

func TestSeveralGPUsAreRefused(t *testing.T) {
	if _, err := Open(Config{Device: "cuda", DP: 2}); err == nil || !strings.Contains(err.Error(), "a process of its own") {
		t.Errorf("Open = %v", err)
	}
}

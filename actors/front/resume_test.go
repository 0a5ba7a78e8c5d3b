package front

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/troupe-llm/troupe/actors/engine"
	"github.com/troupe-llm/troupe/actors/internal/toy"
	"github.com/troupe-llm/troupe/actors/wire"
	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/device"
)

// stage is a system whose engines a test speaks for.
type stage struct {
	*System
	engines []*scripted
	say     []func(*wire.Batch)
	lose    []func()
}

func newStage(t *testing.T, n int) *stage {
	t.Helper()
	s := &stage{}
	var err error
	s.System, err = Open(Config{
		Model: toy.Model(), MaxOpenRequests: 10, Tokenizers: 1, Log: zerolog.Nop(), Engines: n,
		Engine: func(_ uint8, deliver func(*wire.Batch), lost func()) (engine.Engine, error) {
			e := &scripted{got: make(chan *wire.Request, 10), canceled: make(chan wire.Ref, 10), info: device.Info{PageSize: 4, Vocab: 100, Slots: 3, Scores: true}, same: wire.Identity{Version: wire.Version}}
			s.engines, s.say, s.lose = append(s.engines, e), append(s.say, deliver), append(s.lose, lost)
			return e, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// tells has an engine say something of a request.
func (s *stage) tells(engine int, of wire.Ref, outputs ...wire.Output) {
	b := &wire.Batch{}
	for _, o := range outputs {
		o.Ref = of
		b.Outputs = append(b.Outputs, o)
	}
	s.say[engine](b)
}

func drawn(t int32) wire.Output { return wire.Output{Token: t} }

func scored(lps ...float32) wire.Output {
	o := wire.Output{Token: batch.NoToken}
	for _, lp := range lps {
		o.Scores = append(o.Scores, batch.Logprob{Token: lp})
	}
	return o
}

var (
	accepted = wire.Output{Token: batch.NoToken, Accepted: true}
	lost     = wire.Output{Token: batch.NoToken, Reason: wire.Failed, Fault: &wire.Fault{Kind: wire.Lost, Msg: "gone"}}
)

// Whatever an engine goes on saying of a request that another one has by now, or that has ended,
// nobody hears: no token comes twice, and none after the end.
func TestEpochs(t *testing.T) {
	s := newStage(t, 2)
	st := submit(t, s.System, &Request{Tokens: []int32{1, 2, 3}, MaxTokens: 9, PromptLogprobs: true})
	first := <-s.engines[0].got
	s.tells(0, first.Ref, accepted, scored(-1), drawn(11), drawn(12))
	s.tells(0, first.Ref, lost)
	second := <-s.engines[1].got
	if second.Ref.Slot != first.Ref.Slot || second.Ref.Epoch == first.Ref.Epoch || second.ID != first.ID {
		t.Errorf("first %+v, then %+v", first.Ref, second.Ref)
	}
	if !slices.Equal(second.Prompt, []int32{1, 2, 3}) || !slices.Equal(second.Given, []int32{11, 12}) || second.MaxTokens != 9 || second.Score {
		t.Errorf("resumed with %+v", second)
	}
	s.tells(0, first.Ref, drawn(66), wire.Output{Token: 67, Reason: wire.Stop}) // it was not so lost after all
	s.tells(1, second.Ref, accepted, drawn(13))
	s.tells(0, first.Ref, lost)
	s.tells(1, second.Ref, wire.Output{Token: 14, Reason: wire.Length})
	s.tells(1, second.Ref, drawn(68), lost)
	got, f := collect(t, st)
	if !slices.Equal(got, []int32{11, 12, 13, 14}) || f.Reason != FinishLength || f.Usage != (Usage{PromptTokens: 3, CompletionTokens: 4}) {
		t.Errorf("got %v, %+v", got, f)
	}
	// The slot is the next request's, in an epoch of its own.
	next := submit(t, s.System, &Request{Tokens: []int32{4}})
	third := <-s.engines[1].got
	if third.Ref.Slot != first.Ref.Slot || third.Ref.Epoch == first.Ref.Epoch || third.Ref.Epoch == second.Ref.Epoch {
		t.Errorf("%+v, after %+v and %+v", third.Ref, first.Ref, second.Ref)
	}
	s.tells(1, second.Ref, drawn(69))
	s.tells(1, third.Ref, accepted, wire.Output{Token: 21, Reason: wire.Length})
	if got, _ := collect(t, next); !slices.Equal(got, []int32{21}) {
		t.Errorf("the next request got %v", got)
	}
}

// A prompt's log-probabilities come once, though the engine that goes on computes all of them.
func TestScoresComeOnce(t *testing.T) {
	s := newStage(t, 2)
	st := submit(t, s.System, &Request{Tokens: []int32{1, 2, 3, 4, 5}, PromptOnly: true, PromptLogprobs: true})
	first := <-s.engines[0].got
	s.tells(0, first.Ref, accepted, scored(-1, -2), lost)
	second := <-s.engines[1].got
	if !second.Score || len(second.Given) > 0 {
		t.Errorf("resumed with %+v", second)
	}
	s.tells(1, second.Ref, accepted, scored(-1), scored(-2, -3), wire.Output{Token: batch.NoToken, Scores: scored(-4).Scores, Reason: wire.Length})
	var ev Output
	var scores []float32
	for ev.Final == nil {
		if err := st.Next(t.Context(), &ev); err != nil {
			t.Fatal(err)
		}
		for _, lp := range ev.PromptLogprobs {
			scores = append(scores, lp.Token)
		}
	}
	if !slices.Equal(scores, []float32{-1, -2, -3, -4}) {
		t.Errorf("scores %v", scores)
	}
}

// Where no other engine is left, the request ends as its engine says; and a client that cancels is
// heard by the engine that has the request.
func TestNoEngineLeft(t *testing.T) {
	s := newStage(t, 2)
	st := submit(t, s.System, &Request{Tokens: []int32{1}})
	s.tells(0, (<-s.engines[0].got).Ref, accepted, lost)
	second := <-s.engines[1].got
	st.Cancel()
	if got := <-s.engines[1].canceled; got != second.Ref {
		t.Errorf("%+v was cancelled, want %+v", got, second.Ref)
	}
	s.lose[0]()
	s.lose[1]()
	<-s.Failed()
	s.tells(1, second.Ref, lost)
	if _, f := collect(t, st); !errors.Is(f.Err, ErrFailed) || f.Err.Error() != "gone" {
		t.Errorf("%+v", f)
	}
	if _, err := s.Submit(&Request{Tokens: []int32{1}}); !errors.Is(err, ErrFailed) {
		t.Errorf("Submit = %v", err)
	}
}

// An engine that has not the same is not attached: the error says what is different.
func TestAttachOnlyTheSame(t *testing.T) {
	for want, same := range map[string]wire.Identity{
		"engine 1: the weights of m": {Version: wire.Version, Model: "m", Weights: "b"},
		"engine 1: messages are of":  {Version: wire.Version + 1},
	} {
		_, err := Open(Config{
			Model: toy.Model(), MaxOpenRequests: 1, Tokenizers: 1, Log: zerolog.Nop(), Engines: 2,
			Engine: func(number uint8, _ func(*wire.Batch), _ func()) (engine.Engine, error) {
				if number == 0 {
					same := wire.Identity{Version: wire.Version, Model: "m", Weights: "a"}
					return &scripted{same: same}, nil
				}
				return &scripted{same: same}, nil
			},
		})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Open = %v, want %q", err, want)
		}
	}
}

// A request that has waited too long before an engine could have it is none's; what an
// engine is told is what is left of its time, and nothing of one that was begun with.
func TestMaxWaitBeforeAndBetweenEngines(t *testing.T) {
	s := newStage(t, 2)
	late := submit(t, s.System, &Request{Tokens: []int32{1}, MaxTokens: 9, MaxWait: 1})
	var wait *WaitError
	if _, f := collect(t, late); !errors.As(f.Err, &wait) || wait.MaxWait != 1 {
		t.Errorf("it ended with %v", f.Err)
	}
	submit(t, s.System, &Request{Tokens: []int32{1, 2, 3}, MaxTokens: 9, MaxWait: time.Hour})
	first := <-s.engines[0].got
	if first.MaxWait <= 59*time.Minute || first.MaxWait >= time.Hour {
		t.Errorf("it may wait %v more", first.MaxWait)
	}
	s.tells(0, first.Ref, accepted, drawn(11))
	s.tells(0, first.Ref, lost)
	if second := <-s.engines[1].got; second.MaxWait != 0 {
		t.Errorf("one that was begun with may wait %v", second.MaxWait)
	}
	if len(s.engines[0].got) > 0 {
		t.Error("an engine has the request that was too late")
	}
}

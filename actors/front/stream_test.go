package front

import (
	"context"
	"errors"
	"testing"

	"github.com/troupe-llm/troupe/gpu/batch"
)

func TestStreamMergesWhatIsNotTaken(t *testing.T) {
	s := newStream("x", nil)
	s.start(&Started{PromptTokens: []int32{1, 2}})
	s.add(7, 5, 0, []byte("he"), &batch.Logprob{Token: -1})
	s.add(8, 6, 0, []byte("llo"), &batch.Logprob{Token: -2})
	s.end([]byte("!"), &Final{Reason: FinishStop})
	var ev Event
	if err := s.Next(t.Context(), &ev); err != nil {
		t.Fatal(err)
	}
	if string(ev.Text) != "hello!" || len(ev.Tokens) != 2 || ev.TextEnds[0] != 2 || ev.TextEnds[1] != 5 || ev.Started == nil || ev.Final == nil || ev.Computed != 5 {
		t.Errorf("one event of all: %+v", ev)
	}
	if s.Take(&ev) || len(ev.Text) != 0 || ev.Final != nil {
		t.Errorf("taken twice: %+v", ev)
	}
}

func TestStreamNextEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var ev Event
	if err := newStream("x", nil).Next(ctx, &ev); !errors.Is(err, context.Canceled) {
		t.Errorf("Next = %v, want context.Canceled", err)
	}
}

func TestStreamDoesNotAllocatePerToken(t *testing.T) {
	s := newStream("x", nil)
	var ev Event
	text := []byte("word ")
	for range 4 { // both buffers grow
		s.add(1, 0, 0, text, nil)
		s.Take(&ev)
	}
	if n := testing.AllocsPerRun(100, func() {
		s.add(1, 0, 0, text, nil)
		s.Take(&ev)
	}); n != 0 {
		t.Errorf("%v allocations a token, want 0", n)
	}
}

func TestStreamEndsOnce(t *testing.T) {
	s := newStream("x", nil)
	s.end(nil, &Final{})
	defer func() {
		if recover() == nil {
			t.Error("a second final event was taken")
		}
	}()
	s.end(nil, &Final{})
}

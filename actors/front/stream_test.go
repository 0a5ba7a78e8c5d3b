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
	var ev Output
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
	var ev Output
	if err := newStream("x", nil).Next(ctx, &ev); !errors.Is(err, context.Canceled) {
		t.Errorf("Next = %v, want context.Canceled", err)
	}
}

func TestStreamDoesNotAllocatePerToken(t *testing.T) {
	s := newStream("x", nil)
	var ev Output
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

// TestStreamAll reads a stream to its end, to an error of the request and of the context, and to where the
// reader stops; the last two cancel the request.
func TestStreamAll(t *testing.T) {
	failure := errors.New("lost")
	for _, c := range []struct {
		name     string
		end      *Final // nil: it does not end
		leave    bool
		text     string
		err      error
		canceled bool
	}{
		{"to its end", &Final{Reason: FinishStop}, false, "hello!", nil, false},
		{"to its failure", &Final{Reason: FinishError, Err: failure}, false, "hello!", failure, false},
		{"to the context's", nil, false, "hello", context.Canceled, true},
		{"to where the reader stops", nil, true, "hello", nil, true},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		canceled := false
		s := newStream("x", nil)
		s.cancel = func() { canceled = true }
		s.add(7, 5, 0, []byte("hello"), &batch.Logprob{Token: -1})
		if c.end != nil {
			s.end([]byte("!"), c.end)
		}
		var events []Event
		var err error
		for ev, e := range s.All(ctx) {
			if events, err = append(events, ev), e; c.leave {
				break
			}
			cancel()
		}
		if ev := events[0]; ev.Text != c.text || len(ev.Tokens) != 1 || len(ev.Logprobs) != 1 || ev.Final != c.end || !errors.Is(err, c.err) || canceled != c.canceled {
			t.Errorf("%s: %+v, %v, canceled %v", c.name, ev, err, canceled)
		}
		cancel()
	}
}

// TestEventsAreTheReaders: what a reader keeps of an event is not written over.
func TestEventsAreTheReaders(t *testing.T) {
	s := newStream("x", nil)
	s.cancel = func() {}
	s.add(1, 0, 0, []byte("a"), nil)
	var kept []Event
	for ev, err := range s.All(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		switch kept = append(kept, ev); len(kept) {
		case 3:
			s.end(nil, &Final{Reason: FinishStop})
		default:
			s.add(int32(len(kept)+1), 0, 0, []byte{byte('a' + len(kept))}, nil)
		}
	}
	for i, want := range []string{"a", "b", "c"} {
		if kept[i].Text != want || kept[i].Tokens[0] != int32(i+1) {
			t.Errorf("event %d has become %+v", i, kept[i])
		}
	}
}

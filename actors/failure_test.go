package actors

import (
	"bytes"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/troupe-llm/troupe/actors/internal/toy"
)

// logBuffer is a log that actors write and a test reads.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// A step that never returns ends the system once its time is up: it is not ready
// from then on, its requests end with the step and what it held, and so does Close,
// though the device is stuck for good.
func TestHungDevice(t *testing.T) {
	var log logBuffer
	s, err := Open(Config{
		Model: "Qwen3-0.6B", DummyWeights: true, Device: "sim:h200,speed=inf,hang=3", NumPages: 64,
		StepTimeout: time.Millisecond, Log: zerolog.New(&log),
	})
	if err != nil {
		t.Fatal(err)
	}
	streams := []*Stream{
		submit(t, s, &Request{Tokens: []int32{1, 2, 3}, MaxTokens: 50, IgnoreEOS: true}),
		submit(t, s, &Request{Tokens: []int32{4}, MaxTokens: 50, IgnoreEOS: true}),
	}
	<-s.Failed()
	if s.Ready() {
		t.Error("it is ready though its device hangs")
	}
	for _, st := range streams {
		if _, f := collect(t, st); !errors.Is(f.Err, ErrFailed) || !strings.Contains(f.Err.Error(), "has not returned within 1ms") {
			t.Errorf("a request ended with %+v", f)
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	for _, want := range []string{"waiting for step ", " rows, ", " tokens) has not returned", "the device is given up"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log has no %q:\n%s", want, log.String())
		}
	}
}

// A device that fails, and whose successors cannot be opened, is told of by its first
// error, not by those that follow from it.
func TestTheFirstErrorIsTold(t *testing.T) {
	d := toy.New()
	d.FailAt = 4
	s := toySystem(t, Config{}, d)
	_, f := collect(t, submit(t, s, &Request{Tokens: []int32{1}, IgnoreEOS: true}))
	if f.Err == nil || !strings.Contains(f.Err.Error(), "waiting for step 4 (1 rows, 1 tokens): toy failed") || strings.Contains(f.Err.Error(), "no toys left") {
		t.Errorf("ended with %v", f.Err)
	}
}

package actors

import (
	"bytes"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/rs/zerolog"

	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/model"
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

// What counts as hung is told by the clock alone: a step that returns in time is not
// watched any more, and readiness goes before any actor has heard.
func TestWatchdogByItsClock(t *testing.T) {
	type armed struct {
		limit time.Duration
		fire  func()
	}
	var now []armed
	hung := false
	e := &executor{watchdog: watchdog{
		limit: func(s *batch.Step) time.Duration { return time.Duration(s.NumTokens) * time.Second },
		hung:  func() { hung = true },
		after: func(d time.Duration, f func()) func() {
			now = append(now, armed{d, f})
			return func() { now = now[:len(now)-1] }
		},
	}}
	outer := e.watch(&batch.Step{Seq: 1, NumTokens: 40}, 2, "launching")
	if len(now) != 1 || now[0].limit != 40*time.Second {
		t.Fatalf("armed %+v, want 40 s", now)
	}
	outer()
	if len(now) != 0 || hung {
		t.Error("a step that has returned is still watched")
	}
	got := &posted{}
	e.waiterMail = mail{got, TrackWaiter}
	e.watch(&batch.Step{Seq: 7, NumTokens: 5, Rows: make([]batch.Row, 2)}, 2, "waiting for")
	now[0].fire()
	want := "the device hangs: waiting for step 7 (2 rows, 5 tokens) has not returned within 5s"
	if m, is := got.last.(*deviceLost); !is || !m.hung || m.epoch != 2 || m.err.Error() != want || !hung {
		t.Errorf("posted %+v, want %q", got.last, want)
	}
}

// What steps may take: what was set; else nothing is watched on a processor, and on a
// GPU it is half a minute, or more where the roofline says so or there is none.
func TestStepLimit(t *testing.T) {
	m, err := model.Open("Qwen3-14B", true)
	if err != nil {
		t.Fatal(err)
	}
	rows := make([]batch.Row, 16)
	for i := range rows {
		rows[i] = batch.Row{Tokens: make([]int32, 8192)}
	}
	small, large := &batch.Step{NumTokens: 8192, Rows: rows[:1]}, &batch.Step{NumTokens: 16 * 8192, Rows: rows}
	for _, tc := range []struct {
		name, hardware string
		set            time.Duration
		small, large   time.Duration // at least
		exact          bool
	}{
		{name: "cpu", hardware: "EPYC"},
		{name: "cpu", hardware: "EPYC", set: time.Minute, small: time.Minute, large: time.Minute, exact: true},
		{name: "cuda:0", hardware: "NVIDIA H200", set: time.Hour, small: time.Hour, large: time.Hour, exact: true},
		{name: "cuda:0", hardware: "NVIDIA H200", small: leastTimeout, large: 5 * time.Minute},
		{name: "sim:h200", hardware: "simulated", small: leastTimeout, large: 5 * time.Minute},
		{name: "cuda:0", hardware: "NVIDIA Whatever", small: 8192 * tokenTimeout, large: 16 * 8192 * tokenTimeout, exact: true},
	} {
		limit := stepLimit(&Config{StepTimeout: tc.set}, m, &device.Info{Name: tc.name, Hardware: tc.hardware, DType: model.BFloat16})
		if tc.small == 0 {
			if limit != nil {
				t.Errorf("%s is watched", tc.name)
			}
			continue
		}
		a, b := limit(small), limit(large)
		if a < tc.small || b < tc.large || tc.exact && (a != tc.small || b != tc.large) {
			t.Errorf("%s (%s): %v and %v, want %v and %v", tc.name, tc.hardware, a, b, tc.small, tc.large)
		}
	}
}

// A device that fails, and whose successors cannot be opened, is told of by its first
// error, not by those that follow from it.
func TestTheFirstErrorIsTold(t *testing.T) {
	d := newToy()
	d.failAt = 4
	s := toySystem(t, Config{}, d)
	_, f := collect(t, submit(t, s, &Request{Tokens: []int32{1}, IgnoreEOS: true}))
	if f.Err == nil || !strings.Contains(f.Err.Error(), "waiting for step 4 (1 rows, 1 tokens): toy failed") || strings.Contains(f.Err.Error(), "no toys left") {
		t.Errorf("ended with %v", f.Err)
	}
}

// posted keeps the last message sent.
type posted struct{ last any }

func (p *posted) Send(_ *actor.PID, m any) { p.last = m }

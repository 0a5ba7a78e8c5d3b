package engine

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/troupe-llm/troupe/actors/internal/shell"
	"github.com/troupe-llm/troupe/actors/trace"
	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/model"
)

// What counts as hung is told by the clock alone: a step that returns in time is not
// watched any more, and readiness goes before any actor has heard.
func TestWatchdogByItsClock(t *testing.T) {
	type armed struct {
		limit time.Duration
		fire  func()
	}
	var now []armed
	var hung atomic.Bool
	e := &executor{watchdog: watchdog{
		limit: func(s *batch.Step) time.Duration { return time.Duration(s.NumTokens) * time.Second },
		hung:  &hung,
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
	if len(now) != 0 || hung.Load() {
		t.Error("a step that has returned is still watched")
	}
	got := &posted{}
	e.waiterMail = shell.Mail{Out: got, From: trace.TrackWaiter}
	e.watch(&batch.Step{Seq: 7, NumTokens: 5, Rows: make([]batch.Row, 2)}, 2, "waiting for")
	now[0].fire()
	want := "the device hangs: waiting for step 7 (2 rows, 5 tokens) has not returned within 5s"
	if m, is := got.last.(*deviceLost); !is || !m.hung || m.epoch != 2 || m.err.Error() != want || !hung.Load() {
		t.Errorf("posted %+v, want %q", got.last, want)
	}
	// Of devices that share a model it is told which one.
	e.dev = several{}
	e.watch(&batch.Step{Seq: 8, NumTokens: 5}, 2, "waiting for")
	now[1].fire()
	want = "rank 1 of 4 hangs: waiting for step 8 (0 rows, 5 tokens) has not returned within 5s"
	if m, is := got.last.(*deviceLost); !is || m.err.Error() != want {
		t.Errorf("posted %+v, want %q", got.last, want)
	}
}

type several struct{ device.Device }

func (several) Lagging() string { return "rank 1 of 4" }

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
		limit := stepLimit(&Config{StepTimeout: tc.set, Model: m}, &device.Info{Name: tc.name, Hardware: tc.hardware, DType: model.BFloat16})
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

// posted keeps the last message sent.
type posted struct{ last any }

func (p *posted) Send(_ *actor.PID, m any) { p.last = m }

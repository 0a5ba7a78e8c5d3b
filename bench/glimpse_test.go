package bench

import (
	"testing"

	"github.com/troupe-llm/troupe/actors"
)

// A run that is not traced is, for a moment in its middle; one that is traced
// is left to whoever traces it.
func TestRunsAreGlimpsedAt(t *testing.T) {
	trace := NewGlimpse()
	r := simulated(t, trace, 16, 60)
	if r.Trace == nil || r.Trace.Steps < windowSteps || r.Trace.Steps > 55 || r.Trace.Window == nil || !trace.Paused() {
		t.Fatalf("%+v", r.Trace)
	}
	for _, s := range r.Trace.Window.Spans {
		if s.What == "compute" && s.N != 16 {
			t.Errorf("a step of %d rows, want 16", s.N)
		}
	}
	trace = actors.NewTrace(1 << 15)
	if r := simulated(t, trace, 4, 4); r.Trace != nil || trace.Paused() {
		t.Error("a traced run was glimpsed at")
	}
}

// The window shows steps of the usual length where most requests ran, and what
// the device did when they were begun.
func TestWindowIsTypical(t *testing.T) {
	var steps []*stepTimes
	var spans []actors.Span
	at := int64(0)
	for id := uint64(1); id <= 20; id++ {
		rows, length := int32(8), int64(1000)
		if id <= 4 {
			rows = 1
		}
		if id == 9 {
			length = 9000
		}
		s := &stepTimes{
			prepare: actors.Span{Kind: actors.SpanPrepare, On: actors.TrackScheduler, ID: id, N: rows, Began: at, Ended: at + 10},
			compute: actors.Span{Kind: actors.SpanCompute, On: actors.TrackDevice, ID: id, N: rows, Began: at + 500, Ended: at + 500 + length},
			commit:  actors.Span{Kind: actors.SpanCommit, On: actors.TrackScheduler, ID: id, N: rows, Began: at + 510 + length, Ended: at + 520 + length},
		}
		steps = append(steps, s)
		spans = append(spans, s.prepare, s.compute, s.commit)
		at += length
	}
	byTime(spans)
	w := windowOf(steps, spans)
	computed := 0
	for _, s := range w.Spans {
		if s.What == "compute" {
			computed++
			if s.N != 8 || s.Step == 9 || s.Ended-s.Began != 1 {
				t.Errorf("%+v is not typical", s)
			}
		}
	}
	if computed != windowSteps+1 || w.Spans[0].What != "compute" || w.Spans[0].Began >= 0 {
		t.Errorf("%d steps, beginning with %+v", computed, w.Spans[0])
	}
	if windowOf(steps[:3], spans) != nil {
		t.Error("a window of too few steps")
	}
}

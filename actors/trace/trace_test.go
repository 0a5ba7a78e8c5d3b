package trace

import (
	"slices"
	"testing"
)

func TestFullTraceForgetsTheOldest(t *testing.T) {
	tr := New(8)
	for i := range int64(6) {
		tr.Add(Span{ID: uint64(i), Ended: i})
	}
	tr.Add(Span{On: TrackSocket, ID: 9, Ended: 1}) // forgets none of the others
	spans, forgotten := tr.Spans()
	var ids []uint64
	for _, sp := range spans {
		ids = append(ids, sp.ID)
	}
	if !slices.Equal(ids, []uint64{9, 2, 3, 4, 5}) || forgotten != 2 {
		t.Errorf("kept %v, %d forgotten", ids, forgotten)
	}
	tr.Clear()
	if spans, forgotten := tr.Spans(); len(spans) > 0 || forgotten > 0 {
		t.Errorf("after clearing: %d spans, %d forgotten", len(spans), forgotten)
	}
}

// A trace that is not there, or paused, costs no memory and next to no time:
// see BenchmarkTrace.
func TestNoTraceAllocatesNothing(t *testing.T) {
	paused := New(8)
	paused.Pause()
	for name, tr := range map[string]*Trace{"none": nil, "paused": paused} {
		if n := testing.AllocsPerRun(100, func() { recordOne(tr) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
		if tr != nil && tr.actors.written > 0 {
			t.Error("a paused trace recorded")
		}
	}
}

func recordOne(tr *Trace) { tr.Of(0).Record(SpanCommit, TrackScheduler, 1, tr.Now(), 1) }

func BenchmarkTrace(b *testing.B) {
	paused := New(1 << 12)
	paused.Pause()
	for _, c := range []struct {
		name  string
		trace *Trace
	}{{"none", nil}, {"paused", paused}, {"on", New(1 << 12)}} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				recordOne(c.trace)
			}
		})
	}
}

package trace

import (
	"slices"
	"testing"

	"github.com/troupe-llm/troupe/gpu/batch"
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

// Of samples those are kept that differ from the one before; a recording has them in order, with where
// engines elsewhere were at a time and until when there was nothing but warming up.
func TestRecording(t *testing.T) {
	tr := New(64)
	first, second := tr.Of(0), tr.Of(1)
	for range 3 {
		first.Sample(Sample{Running: 2, PagesFree: 7})
	}
	second.Sample(Sample{Running: 2, PagesFree: 7})
	first.Sample(Sample{Waiting: 1})
	tr.Warmed()
	tr.Name(1, "a:1")
	between := batch.Now()
	tr.Name(1, "b:2")
	r := tr.Recording()
	var got []Sample
	for _, s := range r.Samples {
		if s.At == 0 || s.At > r.Warmed {
			t.Errorf("%+v was taken at no time", s)
		}
		s.At = 0
		got = append(got, s)
	}
	if want := []Sample{{Running: 2, PagesFree: 7}, {Engine: 1, Running: 2, PagesFree: 7}, {Waiting: 1}}; !slices.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	if a, b, none := r.EngineAt(1, between), r.EngineAt(1, batch.Now()), r.EngineAt(0, between); a != "a:1" || b != "b:2" || none != "" {
		t.Errorf("engine 1 was at %q and %q, 0 at %q", a, b, none)
	}
	tr.Pause()
	first.Sample(Sample{Waiting: 5})
	if tr.Clear(); len(tr.Recording().Samples) > 0 {
		t.Error("a paused trace takes samples, or keeps them")
	}
	Recorder{}.Sample(Sample{Running: 1})
	(*Trace)(nil).Warmed()
	(*Trace)(nil).Name(1, "x")
}

// What a step is made of is told of it.
func TestStepsAreTold(t *testing.T) {
	decode, prompt := batch.Row{}, func(n int) batch.Row { return batch.Row{Tokens: make([]int32, n)} }
	for _, c := range []struct {
		step  batch.Step
		drawn []int32
		want  Span
	}{
		{batch.Step{Rows: []batch.Row{decode, decode}, NumDecode: 2, NumTokens: 2}, []int32{5, 6}, Span{N: 2, Decode: 2, Even: true}},
		{batch.Step{Rows: []batch.Row{decode, prompt(5), prompt(5)}, NumDecode: 1, NumTokens: 11}, []int32{5, -1, 7}, Span{N: 3, Decode: 1, Prefill: 10, Even: true}},
		{batch.Step{Rows: []batch.Row{decode, {Tokens: []int32{1, 2, 3}, Drafts: 2}, prompt(7)}, NumDecode: 1, NumTokens: 11}, []int32{5, 2, 9, -1, 8}, Span{N: 3, Decode: 2, Prefill: 7, Even: true, Drafts: 2, Accepted: 1}},
		{batch.Step{Rows: []batch.Row{prompt(4), prompt(6)}, NumTokens: 10}, []int32{5, 6}, Span{N: 2, Prefill: 10}},
	} {
		tr := New(8)
		tr.Of(3).Step(&c.step, &batch.Result{Began: 5, Ended: 9, Tokens: c.drawn})
		c.want.Kind, c.want.On, c.want.Engine, c.want.Began, c.want.Ended = SpanCompute, TrackDevice, 3, 5, 9
		if got := tr.Recording().Spans; len(got) != 1 || got[0] != c.want {
			t.Errorf("%+v, want %+v", got, c.want)
		}
	}
}

package actors

import (
	"slices"
	"sync/atomic"
	"testing"

	"github.com/troupe-llm/troupe/gpu/batch"
)

// A traced run shows each step prepared, launched, computed and committed in
// that order, and with overlap a step prepared while another is computed.
func TestTraceShowsStepsAndOverlap(t *testing.T) {
	d := newToy()
	tr := NewTrace(1 << 14)
	s := toySystem(t, Config{Trace: tr}, d)
	collect(t, submit(t, s, &Request{Tokens: []int32{1, 2, 3}, MaxTokens: 20, IgnoreEOS: true}))
	spans, forgotten := tr.Spans()
	if forgotten != 0 {
		t.Fatalf("%d spans forgotten", forgotten)
	}
	stages := map[uint64][4]*Span{}
	handled := map[Kind]int{}
	for i := range spans {
		sp := &spans[i]
		if sp.Ended < sp.Began || (sp.Kind.Handles() && sp.Began < sp.Posted) {
			t.Errorf("%v of %d goes back in time: %+v", sp.Kind, sp.ID, sp)
		}
		if sp.Kind.Handles() {
			handled[sp.Kind]++
			continue
		}
		if sp.Kind > SpanCommit { // of a request
			continue
		}
		st := stages[sp.ID]
		st[sp.Kind] = sp
		stages[sp.ID] = st
	}
	steps := len(stages)
	if steps < 20 || handled[HandleRun] != steps || handled[HandleGenerate] != 1 || handled[HandleAdmitted] != 1 {
		t.Errorf("%d steps, handled %v", steps, handled)
	}
	overlapped := 0
	for seq, st := range stages {
		for k, sp := range st {
			if sp == nil {
				t.Fatalf("step %d was not seen to %v", seq, Kind(k))
			}
		}
		if st[SpanPrepare].Ended > st[SpanLaunch].Began || st[SpanLaunch].Began > st[SpanCommit].Began {
			t.Errorf("step %d is out of order", seq)
		}
		if prev, ok := stages[seq-1]; ok && st[SpanPrepare].Began < prev[SpanCommit].Began {
			overlapped++
		}
	}
	if overlapped < steps/2 {
		t.Errorf("%d of %d steps were prepared before the last one was committed", overlapped, steps)
	}
}

// A reader that signs its receipts is on the trace; one of an untraced system
// is asked for none.
func TestReceiptsReachTheTrace(t *testing.T) {
	tr := NewTrace(1 << 10)
	s := toySystem(t, Config{Trace: tr}, newToy())
	st := submit(t, s, &Request{Tokens: []int32{1}, MaxTokens: 5, IgnoreEOS: true})
	tokens := 0
	for ev := (Event{}); ev.Final == nil; {
		if err := st.Next(t.Context(), &ev); err != nil {
			t.Fatal(err)
		}
		if !ev.Receipt.Wanted() {
			t.Error("no receipt is wanted")
		}
		now := batch.Now()
		ev.Receipt.Written(now-1000, now) // too early: it was not there yet
	}
	spans, _ := tr.Spans()
	for _, sp := range spans {
		if sp.Kind == SpanSocket {
			tokens += int(sp.N)
			if sp.Posted > sp.Began || sp.Began > sp.Ended || sp.ID != 1 {
				t.Errorf("receipt %+v", sp)
			}
		}
	}
	if tokens != 5 {
		t.Errorf("%d tokens were signed for, want 5", tokens)
	}
	var several Receipts
	for i := range uint64(3) {
		several.Sign(&Receipt{tr, 8 + i, 10, 1}, 20, 30)
	}
	several.Sign(&Receipt{}, 1, 2) // of an untraced stream
	before, _ := tr.Spans()
	several.HandIn()
	several.HandIn() // none are left
	if after, _ := tr.Spans(); len(after) != len(before)+3 {
		t.Errorf("%d receipts were handed in, want 3", len(after)-len(before))
	}
	var ev Event
	untraced := newStream("x", nil)
	untraced.start(&Started{})
	if !untraced.Take(&ev) || ev.Receipt.Wanted() {
		t.Errorf("an untraced stream wants receipts: %+v", ev)
	}
}

// A request's phases follow each other without a gap, from its being submitted
// to its end, and are on the trace as they are in its final event.
func TestRequestsHavePhases(t *testing.T) {
	tr := NewTrace(1 << 10)
	s := toySystem(t, Config{Trace: tr}, newToy())
	before := batch.Now()
	_, f := collect(t, submit(t, s, &Request{Tokens: []int32{1, 2, 3}, MaxTokens: 5, IgnoreEOS: true}))
	phases := f.Times.Phases()
	if len(phases) != 4 || phases[0].Began < before || phases[3].Ended > batch.Now() {
		t.Fatalf("%+v", f.Times)
	}
	var traced []Phase
	spans, _ := tr.Spans()
	for _, sp := range spans {
		if sp.On == TrackRequests {
			traced = append(traced, Phase{sp.Kind, sp.Began, sp.Ended})
			if sp.ID != 1 || (sp.Kind == SpanDecode) != (sp.N == 5) {
				t.Errorf("%+v", sp)
			}
		}
	}
	for i, p := range phases {
		if p.Kind != SpanTokenize+Kind(i) || p.Ended < p.Began || (i > 0 && p.Began != phases[i-1].Ended) {
			t.Errorf("phase %d: %+v after %+v", i, p, phases[max(0, i-1)])
		}
	}
	if !slices.Equal(traced, phases) {
		t.Errorf("traced %+v, want %+v", traced, phases)
	}
	// One that ends early has the phases it came to.
	cut := Times{Submitted: 1, Queued: 3, Ended: 9}
	if got := cut.Phases(); !slices.Equal(got, []Phase{{SpanTokenize, 1, 3}, {SpanQueue, 3, 9}}) {
		t.Errorf("of one that never ran: %+v", got)
	}
}

func TestPausedTraceRecordsNothing(t *testing.T) {
	tr := NewTrace(1 << 10)
	s := toySystem(t, Config{Trace: tr}, newToy())
	ask := func() int {
		collect(t, submit(t, s, &Request{Tokens: []int32{1}, MaxTokens: 5, IgnoreEOS: true}))
		spans, _ := tr.Spans()
		return len(spans)
	}
	tr.Pause()
	if n := ask(); n != 0 {
		t.Errorf("%d spans while paused", n)
	}
	tr.Resume()
	if n := ask(); n < 15 {
		t.Errorf("%d spans after that", n)
	}
}

func TestFullTraceForgetsTheOldest(t *testing.T) {
	tr := NewTrace(8)
	for i := range int64(6) {
		tr.add(Span{ID: uint64(i), Ended: i})
	}
	tr.add(Span{On: TrackSocket, ID: 9, Ended: 1}) // forgets none of the others
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
	paused := NewTrace(8)
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

func recordOne(tr *Trace) { tr.span(SpanCommit, TrackScheduler, 1, tr.now(), 1) }

// What an event costs on its way through a stream, when whoever writes it knows
// what time it is.
func BenchmarkTraceEvent(b *testing.B) {
	paused := NewTrace(1 << 12)
	paused.Pause()
	for _, c := range []struct {
		name  string
		trace *Trace
	}{{"none", nil}, {"paused", paused}, {"on", NewTrace(1 << 12)}} {
		b.Run(c.name, func(b *testing.B) {
			s := newStream("x", nil)
			s.trace = c.trace
			var ev Event
			for i := 0; b.Loop(); i++ {
				var now int64
				if i%clockEvery == 0 {
					now = c.trace.now()
				}
				s.add(1, 0, max(now, 1), nil, nil)
				s.Take(&ev)
				at := batch.Now() // which is read without a trace, too
				ev.Receipt.Written(at, at)
			}
		})
	}
}

// What an event costs, in time by the clock, where all cores write and hand
// receipts in by eights: times the cores is what it takes of a processor.
func BenchmarkTraceReceipts(b *testing.B) {
	paused := NewTrace(1 << 16)
	paused.Pause()
	for _, c := range []struct {
		name  string
		trace *Trace
	}{{"paused", paused}, {"on", NewTrace(1 << 16)}} {
		b.Run(c.name, func(b *testing.B) {
			var ids atomic.Uint64
			b.RunParallel(func(pb *testing.PB) {
				var streams [128]*Stream
				for i := range streams {
					streams[i] = newStream("x", nil)
					streams[i].trace, streams[i].id = c.trace, ids.Add(1)
				}
				var ev Event
				var signed Receipts
				for i := 0; pb.Next(); i++ {
					s := streams[i%len(streams)]
					s.add(1, 0, 1, nil, nil)
					s.Take(&ev)
					at := batch.Now()
					if signed.Sign(&ev.Receipt, at, at); i%8 == 7 {
						signed.HandIn()
					}
				}
			})
		})
	}
}

func BenchmarkTrace(b *testing.B) {
	paused := NewTrace(1 << 12)
	paused.Pause()
	for _, c := range []struct {
		name  string
		trace *Trace
	}{{"none", nil}, {"paused", paused}, {"on", NewTrace(1 << 12)}} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				recordOne(c.trace)
			}
		})
	}
}

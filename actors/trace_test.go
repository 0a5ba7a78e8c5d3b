package actors

import (
	"slices"
	"testing"

	"github.com/troupe-llm/troupe/actors/internal/toy"
	"github.com/troupe-llm/troupe/gpu/batch"
)

// A traced run shows each step prepared, launched, computed and committed in
// that order, and with overlap a step prepared while another is computed.
func TestTraceShowsStepsAndOverlap(t *testing.T) {
	d := toy.New()
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
	if steps < 20 || handled[HandleRun] != steps || handled[HandleGenerate] != 1 || handled[HandlePlace] != 1 || handled[HandleNews] != 1 {
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
	s := toySystem(t, Config{Trace: tr}, toy.New())
	st := submit(t, s, &Request{Tokens: []int32{1}, MaxTokens: 5, IgnoreEOS: true})
	tokens := 0
	for ev := (Output{}); ev.Final == nil; {
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
}

// A request's phases follow each other without a gap, from its being submitted
// to its end, and are on the trace as they are in its final event.
func TestRequestsHavePhases(t *testing.T) {
	tr := NewTrace(1 << 10)
	s := toySystem(t, Config{Trace: tr}, toy.New())
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
			traced = append(traced, Phase{Kind: sp.Kind, Began: sp.Began, Ended: sp.Ended})
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
	if got := cut.Phases(); !slices.Equal(got, []Phase{{Kind: SpanTokenize, Began: 1, Ended: 3}, {Kind: SpanQueue, Began: 3, Ended: 9}}) {
		t.Errorf("of one that never ran: %+v", got)
	}
}

func TestPausedTraceRecordsNothing(t *testing.T) {
	tr := NewTrace(1 << 10)
	s := toySystem(t, Config{Trace: tr}, toy.New())
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

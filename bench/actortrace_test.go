package bench

import (
	"bytes"
	"math"
	"testing"

	"github.com/troupe-llm/troupe/actors"
)

// twoSteps is a trace with known delays: step 1 computes from 100 to 200 µs,
// step 2 is prepared in time but launched late, and begins at 240.
func twoSteps() []actors.Span {
	at := func(us int64) int64 { return us * 1000 }
	h := func(k actors.Kind, on, from actors.Track, id uint64, posted, began, ended int64) actors.Span {
		return actors.Span{Kind: k, On: on, From: from, ID: id, Posted: at(posted), Began: at(began), Ended: at(ended)}
	}
	d := func(k actors.Kind, on actors.Track, id uint64, began, ended int64) actors.Span {
		return actors.Span{Kind: k, On: on, ID: id, Began: at(began), Ended: at(ended), N: 1}
	}
	return []actors.Span{
		h(actors.HandleGenerate, actors.TrackScheduler, actors.TrackAPI, 7, 10, 20, 60),
		h(actors.HandleNews, actors.TrackDetokenizer, actors.TrackScheduler, 7, 25, 26, 27),
		d(actors.SpanPrepare, actors.TrackScheduler, 1, 30, 40),
		h(actors.HandleRun, actors.TrackExecutor, actors.TrackScheduler, 1, 41, 50, 80),
		d(actors.SpanLaunch, actors.TrackExecutor, 1, 51, 80),
		d(actors.SpanCompute, actors.TrackDevice, 1, 100, 200),
		d(actors.SpanPrepare, actors.TrackScheduler, 2, 45, 55),
		h(actors.HandleRun, actors.TrackExecutor, actors.TrackScheduler, 2, 56, 210, 230),
		d(actors.SpanLaunch, actors.TrackExecutor, 2, 210, 230),
		h(actors.HandleDone, actors.TrackScheduler, actors.TrackWaiter, 1, 205, 206, 215),
		d(actors.SpanCommit, actors.TrackScheduler, 1, 207, 212),
		h(actors.HandleTokens, actors.TrackDetokenizer, actors.TrackScheduler, 1, 213, 216, 220),
		{Kind: actors.SpanSocket, On: actors.TrackSocket, ID: 7, Posted: at(218), Began: at(219), Ended: at(225), N: 1},
		d(actors.SpanCompute, actors.TrackDevice, 2, 240, 300),
		d(actors.SpanMasks, actors.TrackDevice, 2, 270, 280),
		h(actors.HandleDone, actors.TrackScheduler, actors.TrackWaiter, 2, 301, 302, 310),
		d(actors.SpanCommit, actors.TrackScheduler, 2, 303, 305),
		d(actors.SpanTokenize, actors.TrackRequests, 7, 9, 20),
		d(actors.SpanQueue, actors.TrackRequests, 7, 20, 30),
		d(actors.SpanPrefill, actors.TrackRequests, 7, 30, 200),
		d(actors.SpanDecode, actors.TrackRequests, 7, 200, 217),
	}
}

func TestSummarizeFindsWhereTheTimeWent(t *testing.T) {
	s := Summarize(twoSteps())
	if s.Steps != 2 {
		t.Fatalf("%d steps, want 2", s.Steps)
	}
	want := map[string]float64{ // means over the two steps, or of the one that has it
		"prepare the step": 10, "executor's mailbox": (10 + 155) / 2.0, "compute": 80, "commit": (6 + 3) / 2.0,
		"detokenize": 4, "wait for the writer": 1, "write to the socket": 6,
	}
	shares := 0.0
	for _, st := range s.Stages {
		shares += st.Share
		if w, ok := want[st.Name]; ok && math.Abs(st.Mean-w) > 1e-9 {
			t.Errorf("%s: mean %v, want %v", st.Name, st.Mean, w)
		}
	}
	if math.Abs(shares-1) > 1e-9 {
		t.Errorf("shares add up to %v", shares)
	}
	// The device idled from 200 to 240 of 100 to 300: 10 µs for the executor's
	// mailbox, 20 for the launch, 10 of its own; and 10 in the second step.
	i := s.Idle
	for name, c := range map[string][2]float64{
		"share": {i.Share, .25}, "masks": {i.Masks, .05}, "mailbox": {i.Mailbox, .05}, "launch": {i.Launch, .1}, "device": {i.Device, .05},
		"prepare": {i.Prepare, 0}, "scheduler": {i.Scheduler, 0}, "no work": {i.NoWork, 0},
	} {
		if math.Abs(c[0]-c[1]) > 1e-9 {
			t.Errorf("idle, %s: %v, want %v", name, c[0], c[1])
		}
	}
	var b bytes.Buffer
	if err := s.WriteTable(&b); err != nil || !bytes.Contains(b.Bytes(), []byte("wait for the writer")) {
		t.Errorf("table: %v\n%s", err, &b)
	}
}

// Of few delays, too, p99 is near the longest.
func TestStageTimeOfFew(t *testing.T) {
	if d := stageTime("x", []float64{3, 1}); d.Mean != 2 || d.P50 != 2 || math.Abs(d.P99-2.98) > 1e-9 {
		t.Errorf("%+v", d)
	}
}

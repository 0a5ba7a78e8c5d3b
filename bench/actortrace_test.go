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
		step(d(actors.SpanCompute, actors.TrackDevice, 1, 100, 200), 0, 5),
		d(actors.SpanPrepare, actors.TrackScheduler, 2, 45, 55),
		h(actors.HandleRun, actors.TrackExecutor, actors.TrackScheduler, 2, 56, 210, 230),
		d(actors.SpanLaunch, actors.TrackExecutor, 2, 210, 230),
		h(actors.HandleDone, actors.TrackScheduler, actors.TrackWaiter, 1, 205, 206, 215),
		d(actors.SpanCommit, actors.TrackScheduler, 1, 207, 212),
		h(actors.HandleTokens, actors.TrackDetokenizer, actors.TrackScheduler, 1, 213, 216, 220),
		{Kind: actors.SpanSocket, On: actors.TrackSocket, ID: 7, Posted: at(218), Began: at(219), Ended: at(225), N: 1},
		step(d(actors.SpanCompute, actors.TrackDevice, 2, 240, 300), 1, 0),
		d(actors.SpanMasks, actors.TrackDevice, 2, 270, 280),
		h(actors.HandleDone, actors.TrackScheduler, actors.TrackWaiter, 2, 301, 302, 310),
		d(actors.SpanCommit, actors.TrackScheduler, 2, 303, 305),
		d(actors.SpanTokenize, actors.TrackRequests, 7, 9, 20),
		d(actors.SpanQueue, actors.TrackRequests, 7, 20, 41),
		d(actors.SpanPrefill, actors.TrackRequests, 7, 41, 200),
		d(actors.SpanDecode, actors.TrackRequests, 7, 200, 217),
	}
}

// step is the span of one with so many decode rows, and of prompts so many tokens.
func step(s actors.Span, decode uint16, prefill int32) actors.Span {
	s.Decode, s.Prefill, s.Even = decode, prefill, true
	return s
}

func TestSummarizeFindsWhereTheTimeWent(t *testing.T) {
	s := Summarize(&actors.Recording{Spans: twoSteps()})
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
		"prepare": {i.Prepare, 0}, "scheduler": {i.Scheduler, 0}, "wake": {i.Wake, 0}, "no work": {i.NoWork, 0},
	} {
		if math.Abs(c[0]-c[1]) > 1e-9 {
			t.Errorf("idle, %s: %v, want %v", name, c[0], c[1])
		}
	}
	// 10, 29 and 5 µs of work for the one step, 10, 20 and 2 for the other, none while the device computed.
	if o := s.Overlap; o.Ahead != 0 || math.Abs(o.Host-38) > 1e-9 || o.Hidden != 0 {
		t.Errorf("overlap %+v", o)
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

// What was done to warm up is not in a summary.
func TestSummarizeLeavesWarmingUpOut(t *testing.T) {
	if s := Summarize(&actors.Recording{Spans: twoSteps(), Warmed: 44_000}); s.Steps != 1 {
		t.Errorf("%d steps, want the one that was prepared after", s.Steps)
	}
}

// Ten steps of 100 µs each follow one another on the device. Each is prepared while the one before computes, for 10,
// launched, for 5, and committed, for 5, while the next computes: but for the first step's first two and
// the last one's commit all is hidden.
func TestSummarizeFindsOverlap(t *testing.T) {
	var spans []actors.Span
	for i := range int64(10) {
		at := func(us int64) int64 { return (100*i + us + 1000) * 1000 }
		d := func(k actors.Kind, on actors.Track, began, ended int64) {
			spans = append(spans, actors.Span{Kind: k, On: on, ID: uint64(i + 1), Posted: at(began), Began: at(began), Ended: at(ended), N: 1})
		}
		d(actors.SpanPrepare, actors.TrackScheduler, -60, -50)
		d(actors.HandleRun, actors.TrackExecutor, -40, -35)
		d(actors.SpanLaunch, actors.TrackExecutor, -40, -35)
		d(actors.SpanCompute, actors.TrackDevice, 0, 100)
		d(actors.HandleDone, actors.TrackScheduler, 101, 106)
		d(actors.SpanCommit, actors.TrackScheduler, 101, 106)
	}
	s := Summarize(&actors.Recording{Spans: spans})
	if o := s.Overlap; math.Abs(o.Ahead-1) > 1e-9 || math.Abs(o.Host-20) > 1e-9 || math.Abs(o.Hidden-180.0/200) > 1e-9 || s.Idle.Share != 0 {
		t.Errorf("overlap %+v, idle %+v", o, s.Idle)
	}
}

// A device that has nothing more to do waits for its result to be seen, for the scheduler, and for the next
// step, but not before there is a request.
func TestSummarizeSaysWhatTheDeviceWaitedFor(t *testing.T) {
	at := func(us int64) int64 { return us * 1000 }
	step := func(id uint64, from int64) []actors.Span {
		d := func(k actors.Kind, on actors.Track, began, ended int64) actors.Span {
			return actors.Span{Kind: k, On: on, ID: id, Posted: at(from + began), Began: at(from + began), Ended: at(from + ended), N: 1}
		}
		return []actors.Span{
			d(actors.SpanPrepare, actors.TrackScheduler, 0, 10), d(actors.HandleRun, actors.TrackExecutor, 12, 20), d(actors.SpanLaunch, actors.TrackExecutor, 13, 20),
			d(actors.SpanCompute, actors.TrackDevice, 24, 100), d(actors.HandleDone, actors.TrackScheduler, 107, 112), d(actors.SpanCommit, actors.TrackScheduler, 108, 111),
		}
	}
	arrives := actors.Span{Kind: actors.HandleGenerate, On: actors.TrackScheduler, ID: 5, Began: at(999), Ended: at(1011)}
	spans := append(append(step(1, 0), step(2, 113)...), append(step(3, 1000), arrives)...)
	i := Summarize(&actors.Recording{Spans: spans}).Idle
	const whole = 1100 - 24
	for name, c := range map[string][2]float64{
		"wake": {i.Wake, 7}, "scheduler": {i.Scheduler, 6}, "no work": {i.NoWork, 1000 - 213}, "prepare": {i.Prepare, 20}, "mailbox": {i.Mailbox, 6}, "launch": {i.Launch, 14}, "device": {i.Device, 8},
		"share": {i.Share, 37 + 1024 - 213},
	} {
		if math.Abs(c[0]-c[1]/whole) > 1e-9 {
			t.Errorf("%s: %v, want %v", name, c[0]*whole, c[1])
		}
	}
}

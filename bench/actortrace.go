package bench

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
	"text/tabwriter"

	"github.com/troupe-llm/troupe/actors"
)

// TraceSummary says where the time of a traced run went.
type TraceSummary struct {
	Steps int `json:"steps"`
	// Stages follow one step from being prepared to its tokens' being written,
	// end to end; a token's latency is their sum. Under overlap the stages of
	// neighbouring steps run at the same time.
	Stages []StageTime `json:"stages"`
	// Idle says what the device did between the first step and the last.
	Idle IdleTime `json:"idle"`
	// Mailboxes are the delays between posting and handling, by actor.
	Mailboxes []StageTime `json:"mailboxes"`
	// Window shows a few steps in full.
	Window *Window `json:"window,omitempty"`
}

// StageTime is the distribution of one delay, in microseconds; percentiles are
// interpolated linearly.
type StageTime struct {
	Name  string  `json:"name"`
	Count int     `json:"count"`
	Mean  float64 `json:"mean_us"`
	P50   float64 `json:"p50_us"`
	P99   float64 `json:"p99_us"`
	Share float64 `json:"share"` // of the sum of all stages' means; stages only
}

// IdleTime is how much of the time between the first step's beginning and the
// last one's end the device did not compute, and what it waited for. Shares add
// up to Share.
type IdleTime struct {
	Share  float64 `json:"share"`
	NoWork float64 `json:"no_work"` // there was no request to run
	// Scheduler: the result was out, the next step not yet being prepared
	// (messages, committing).
	Scheduler float64 `json:"scheduler"`
	Prepare   float64 `json:"prepare"` // the next step was being prepared
	Mailbox   float64 `json:"mailbox"` // it waited for the executor
	Launch    float64 `json:"launch"`  // it was being launched
	Device    float64 `json:"device"`  // it was launched and had not begun
	// Masks: a step stood still until it was known what rows with a grammar may
	// draw.
	Masks float64 `json:"masks"`
}

// Cause is a part of the device's idle time.
type Cause struct {
	Name  string
	Share float64
}

// Causes are the parts by name, after the whole.
func (t *IdleTime) Causes() []Cause {
	return []Cause{
		{"in all", t.Share},
		{"no request to run", t.NoWork},
		{"scheduler: messages, commit", t.Scheduler},
		{"step being prepared", t.Prepare},
		{"executor's mailbox", t.Mailbox},
		{"launch", t.Launch},
		{"device", t.Device},
		{"masks of grammars", t.Masks},
	}
}

// stepTimes are the moments of one step; 0 where the trace does not tell.
type stepTimes struct {
	prepare, launch, compute, commit actors.Span
	masks                            actors.Span // within compute; none in most steps
	run, done, tokens                actors.Span // the handling of its messages
}

func (s *stepTimes) whole() bool {
	return s.prepare.Ended != 0 && s.launch.Ended != 0 && s.compute.Ended != 0 && s.commit.Ended != 0 && s.run.Ended != 0 && s.done.Ended != 0
}

// Summarize reads a trace. Steps that are not in it from beginning to end are
// left out. Of several engines the first one's steps are looked at, and what it and
// the front did.
func Summarize(spans []actors.Span) TraceSummary {
	spans = slices.DeleteFunc(slices.Clone(spans), func(s actors.Span) bool { return s.Engine > 0 })
	byTime(spans)
	steps := map[uint64]*stepTimes{}
	step := func(id uint64) *stepTimes {
		if steps[id] == nil {
			steps[id] = new(stepTimes)
		}
		return steps[id]
	}
	boxes := map[string][]float64{}
	var sockets []actors.Span
	for _, s := range spans {
		switch s.Kind {
		case actors.SpanPrepare:
			step(s.ID).prepare = s
		case actors.SpanLaunch:
			step(s.ID).launch = s
		case actors.SpanCompute:
			step(s.ID).compute = s
		case actors.SpanMasks:
			step(s.ID).masks = s
		case actors.SpanCommit:
			step(s.ID).commit = s
		case actors.HandleRun:
			step(s.ID).run = s
		case actors.HandleDone:
			step(s.ID).done = s
		case actors.HandleTokens:
			step(s.ID).tokens = s
		case actors.SpanSocket:
			sockets = append(sockets, s)
		}
		if s.Kind.Handles() {
			boxes[TrackName(s.On)] = append(boxes[TrackName(s.On)], us(s.Began-s.Posted))
		}
	}
	var ordered []*stepTimes
	for _, s := range steps {
		if s.whole() {
			ordered = append(ordered, s)
		}
	}
	slices.SortFunc(ordered, func(a, b *stepTimes) int { return cmp.Compare(a.prepare.ID, b.prepare.ID) })
	sum := TraceSummary{Steps: len(ordered), Stages: stages(ordered, sockets), Idle: idle(ordered, spans)}
	for name, delays := range boxes {
		sum.Mailboxes = append(sum.Mailboxes, stageTime(name, delays))
	}
	slices.SortFunc(sum.Mailboxes, func(a, b StageTime) int { return cmp.Compare(a.Name, b.Name) })
	sum.Window = windowOf(ordered, spans)
	return sum
}

func us(ns int64) float64 { return float64(ns) / 1e3 }

// stages measures what lies between the moments of each step.
func stages(steps []*stepTimes, sockets []actors.Span) []StageTime {
	names := []string{
		"prepare the step", "executor's mailbox", "launch", "wait on the device's queue", "compute",
		"wake the waiter", "scheduler's mailbox", "commit", "detokenizer's mailbox", "detokenize",
		"wait for the writer", "write to the socket",
	}
	at := make([][]float64, len(names))
	for _, s := range steps {
		for i, d := range []int64{
			s.prepare.Ended - s.prepare.Began,
			s.run.Began - s.prepare.Ended,
			s.launch.Ended - s.run.Began,
			max(0, s.compute.Began-s.launch.Ended),
			s.compute.Ended - s.compute.Began,
			s.done.Posted - s.compute.Ended,
			s.done.Began - s.done.Posted,
			s.commit.Ended - s.done.Began,
		} {
			at[i] = append(at[i], us(d))
		}
		if s.tokens.Ended != 0 {
			at[8] = append(at[8], us(s.tokens.Began-s.commit.Ended))
			at[9] = append(at[9], us(s.tokens.Ended-s.tokens.Began))
		}
	}
	for i := range sockets {
		at[10] = append(at[10], us(sockets[i].Began-sockets[i].Posted))
		at[11] = append(at[11], us(sockets[i].Ended-sockets[i].Began))
	}
	var out []StageTime
	total := 0.0
	for i, name := range names {
		d := stageTime(name, at[i])
		total += d.Mean
		out = append(out, d)
	}
	for i := range out {
		if total > 0 {
			out[i].Share = out[i].Mean / total
		}
	}
	return out
}

// idle splits the gaps between steps on the device by what the next step was
// waiting for, and adds the stops within steps.
func idle(steps []*stepTimes, spans []actors.Span) (t IdleTime) {
	if len(steps) < 2 {
		return t
	}
	arrivals := arrivalSpans(spans)
	first, last := steps[0].compute.Began, steps[len(steps)-1].compute.Ended
	whole := float64(last - first)
	for _, s := range steps {
		t.Masks += float64(s.masks.Ended-s.masks.Began) / whole
	}
	t.Share = t.Masks
	for i := 1; i < len(steps); i++ {
		n := steps[i]
		gap := [2]int64{steps[i-1].compute.Ended, n.compute.Began}
		if gap[0] >= gap[1] {
			continue
		}
		t.Share += float64(gap[1]-gap[0]) / whole
		before := overlap(gap, math.MinInt64, n.prepare.Began)
		if within(arrivals, n.prepare.Began) {
			t.NoWork += before / whole
		} else {
			t.Scheduler += before / whole
		}
		t.Prepare += overlap(gap, n.prepare.Began, n.prepare.Ended) / whole
		t.Mailbox += overlap(gap, n.prepare.Ended, n.launch.Began) / whole
		t.Launch += overlap(gap, n.launch.Began, n.launch.Ended) / whole
		t.Device += overlap(gap, n.launch.Ended, math.MaxInt64) / whole
	}
	return t
}

// arrivalSpans are the times in which the scheduler handled a new request: a
// step prepared within one had nobody to be prepared for before.
func arrivalSpans(spans []actors.Span) (out []actors.Span) {
	for _, s := range spans {
		if s.Kind == actors.HandleGenerate {
			out = append(out, s)
		}
	}
	return out
}

// within reports whether t lies in one of the spans, which are in order and
// apart.
func within(spans []actors.Span, t int64) bool {
	i, found := slices.BinarySearchFunc(spans, t, func(s actors.Span, t int64) int { return cmp.Compare(s.Began, t) })
	return found || (i > 0 && spans[i-1].Ended >= t)
}

func overlap(gap [2]int64, from, to int64) float64 {
	return float64(max(0, min(gap[1], to)-max(gap[0], from)))
}

func stageTime(name string, v []float64) StageTime {
	d := StageTime{Name: name, Count: len(v)}
	if len(v) == 0 {
		return d
	}
	slices.Sort(v)
	for _, x := range v {
		d.Mean += x / float64(len(v))
	}
	d.P50, d.P99 = quantile(v, 0.5), quantile(v, 0.99)
	return d
}

// WriteTable prints the summary for people.
func (s TraceSummary) WriteTable(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(tw, "stage\tmean µs\tp50\tp99\tshare\t\n")
	for _, d := range s.Stages {
		fmt.Fprintf(tw, "%s\t%.1f\t%.1f\t%.1f\t%.1f%%\t\n", d.Name, d.Mean, d.P50, d.P99, 100*d.Share)
	}
	fmt.Fprintf(tw, "\t\t\t\t\t\nmailbox of\tmean µs\tp50\tp99\tmessages\t\n")
	for _, d := range s.Mailboxes {
		fmt.Fprintf(tw, "%s\t%.1f\t%.1f\t%.1f\t%d\t\n", d.Name, d.Mean, d.P50, d.P99, d.Count)
	}
	fmt.Fprintf(tw, "\t\t\t\t\t\ndevice idle\tshare\t\t\t\t\n")
	for _, c := range s.Idle.Causes() {
		fmt.Fprintf(tw, "%s\t%.2f%%\t\t\t\t\n", c.Name, 100*c.Share)
	}
	return tw.Flush()
}

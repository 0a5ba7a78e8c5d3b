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
	Idle    IdleTime    `json:"idle"`
	Overlap OverlapTime `json:"overlap"`
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
	Wake   float64 `json:"wake"`    // the result was out, and who waits for it had not seen it
	// Scheduler: the result was known, the next step not yet being prepared
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

// cause is what the device waited for.
type cause int

const (
	noWork cause = iota
	forWaiter
	forScheduler
	forPrepare
	forMailbox
	forLaunch
	forDevice
	forMasks
)

var causeNames = [...]string{
	"no request to run", "waiter being woken", "scheduler: messages, commit", "step being prepared", "executor's mailbox", "launch", "device", "masks of grammars",
}

// share is where the share of a cause is kept.
func (t *IdleTime) share(c cause) *float64 {
	return [...]*float64{&t.NoWork, &t.Wake, &t.Scheduler, &t.Prepare, &t.Mailbox, &t.Launch, &t.Device, &t.Masks}[c]
}

// Causes are the parts by name, after the whole.
func (t *IdleTime) Causes() []Cause {
	all := []Cause{{"in all", t.Share}}
	for c, name := range causeNames {
		all = append(all, Cause{name, *t.share(cause(c))})
	}
	return all
}

// gap is a time in which the device did not compute, for one cause.
type gap struct {
	from, to int64
	why      cause
}

// OverlapTime is how much of the host's work took the device no time.
type OverlapTime struct {
	// Ahead is the share of steps, but for the first, that were launched before the one before them had
	// been computed.
	Ahead float64 `json:"ahead"`
	// Host is what preparing, launching and committing a step took in the mean, in microseconds, and
	// Hidden the share of it in which the device computed.
	Host   float64 `json:"host_us"`
	Hidden float64 `json:"hidden"`
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
// left out, and so is warming up. Of several engines the first one's steps are looked at, and what it and
// the front did.
func Summarize(rec *actors.Recording) TraceSummary {
	spans := ofOneEngine(rec.Spans, 0)
	spans = slices.DeleteFunc(spans, func(s actors.Span) bool { return s.Began < rec.Warmed })
	byTime(spans)
	ordered := wholeSteps(spans)
	boxes := map[string][]float64{}
	var sockets []actors.Span
	for _, s := range spans {
		if s.Kind == actors.SpanSocket {
			sockets = append(sockets, s)
		}
		if s.Kind.Handles() {
			boxes[TrackName(s.On)] = append(boxes[TrackName(s.On)], us(s.Began-s.Posted))
		}
	}
	sum := TraceSummary{Steps: len(ordered), Stages: stages(ordered, sockets), Idle: idle(ordered, spans), Overlap: overlapped(ordered)}
	for name, delays := range boxes {
		sum.Mailboxes = append(sum.Mailboxes, stageTime(name, delays))
	}
	slices.SortFunc(sum.Mailboxes, func(a, b StageTime) int { return cmp.Compare(a.Name, b.Name) })
	sum.Window = windowOf(ordered, spans)
	return sum
}

// ofOneEngine are the spans of an engine and, if that is the first, of the front.
func ofOneEngine(spans []actors.Span, engine uint8) []actors.Span {
	return slices.DeleteFunc(slices.Clone(spans), func(s actors.Span) bool { return s.Engine != engine })
}

// wholeSteps are those of one engine that are in a trace from beginning to end, in order.
func wholeSteps(spans []actors.Span) (ordered []*stepTimes) {
	steps := map[uint64]*stepTimes{}
	for i := range spans {
		s := &spans[i]
		if at := new(stepTimes).of(s.Kind); at == nil {
			continue
		}
		if steps[s.ID] == nil {
			steps[s.ID] = new(stepTimes)
		}
		*steps[s.ID].of(s.Kind) = *s
	}
	for _, s := range steps {
		if s.whole() {
			ordered = append(ordered, s)
		}
	}
	slices.SortFunc(ordered, func(a, b *stepTimes) int { return cmp.Compare(a.prepare.ID, b.prepare.ID) })
	return ordered
}

// of is where a step's span of this kind is kept; nil: it is of no step.
func (s *stepTimes) of(k actors.Kind) *actors.Span {
	switch k {
	case actors.SpanPrepare:
		return &s.prepare
	case actors.SpanLaunch:
		return &s.launch
	case actors.SpanCompute:
		return &s.compute
	case actors.SpanMasks:
		return &s.masks
	case actors.SpanCommit:
		return &s.commit
	case actors.HandleRun:
		return &s.run
	case actors.HandleDone:
		return &s.done
	case actors.HandleTokens:
		return &s.tokens
	}
	return nil
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

// idle adds up the gaps between steps on the device, and in them.
func idle(steps []*stepTimes, spans []actors.Span) (t IdleTime) {
	if len(steps) < 2 {
		return t
	}
	whole := float64(steps[len(steps)-1].compute.Ended - steps[0].compute.Began)
	for _, g := range gaps(steps, spans) {
		share := float64(g.to-g.from) / whole
		t.Share += share
		*t.share(g.why) += share
	}
	return t
}

// gaps are when the device stood still in steps and between them, split by what the next one was
// waiting for. Between steps that did not follow each other nobody knows.
func gaps(steps []*stepTimes, spans []actors.Span) (all []gap) {
	arrivals := arrivalSpans(spans)
	add := func(within [2]int64, from, to int64, why cause) {
		if from, to = max(from, within[0]), min(to, within[1]); from < to {
			all = append(all, gap{from, to, why})
		}
	}
	for i, n := range steps {
		if i > 0 && n.prepare.ID == steps[i-1].prepare.ID+1 {
			between := [2]int64{steps[i-1].compute.Ended, n.compute.Began}
			if within(arrivals, n.prepare.Began) {
				add(between, math.MinInt64, n.prepare.Began, noWork)
			} else {
				woken := min(steps[i-1].done.Posted, n.prepare.Began)
				add(between, math.MinInt64, woken, forWaiter)
				add(between, woken, n.prepare.Began, forScheduler)
			}
			add(between, n.prepare.Began, n.prepare.Ended, forPrepare)
			add(between, n.prepare.Ended, n.launch.Began, forMailbox)
			add(between, n.launch.Began, n.launch.Ended, forLaunch)
			add(between, n.launch.Ended, math.MaxInt64, forDevice)
		}
		add([2]int64{n.masks.Began, n.masks.Ended}, n.masks.Began, n.masks.Ended, forMasks)
	}
	return all
}

// overlapped looks at what the host did for each step while the device computed.
func overlapped(steps []*stepTimes) (t OverlapTime) {
	host, hidden, first := int64(0), int64(0), 0 // first: the first step that may be computed at the same time
	for i, s := range steps {
		if i > 0 && s.launch.Ended <= steps[i-1].compute.Ended {
			t.Ahead += 1 / float64(len(steps)-1)
		}
		for first < i && steps[first].compute.Ended <= s.prepare.Began {
			first++
		}
		for _, work := range []*actors.Span{&s.prepare, &s.launch, &s.commit} {
			host += work.Ended - work.Began
			for k := first; k < len(steps) && steps[k].compute.Began < work.Ended; k++ {
				c := &steps[k].compute
				hidden += max(0, min(c.Ended, work.Ended)-max(c.Began, work.Began))
			}
		}
	}
	if host > 0 {
		t.Host, t.Hidden = us(host)/float64(len(steps)), float64(hidden)/float64(host)
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
	fmt.Fprintf(tw, "\t\t\t\t\t\noverlap\t\t\t\t\t\n")
	fmt.Fprintf(tw, "steps launched ahead\t%.1f%%\t\t\t\t\n", 100*s.Overlap.Ahead)
	fmt.Fprintf(tw, "host's work a step, µs\t%.1f\t\t\t\t\n", s.Overlap.Host)
	fmt.Fprintf(tw, "of it while computing\t%.1f%%\t\t\t\t\n", 100*s.Overlap.Hidden)
	return tw.Flush()
}

package bench

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"sync/atomic"
	"time"

	"github.com/troupe-llm/troupe/actors"
	"github.com/troupe-llm/troupe/gpu/device"
)

// Progress is how a run stands: what came of each total. A total of 0 is not
// known beforehand.
type Progress struct {
	Requests, Sent, Done int
	Failed               int // of those done
	Prefill, PrefillAll  int // prompt tokens of requests that have their first token
	Decode, DecodeAll    int // tokens generated after the first ones
}

// Total is how much work there is in arrivals.
func Total(arrivals iter.Seq[Arrival]) Progress {
	var p Progress
	for a := range arrivals {
		p.add(&a.Prompt)
	}
	return p
}

// progressOf is how much work there is in prompts.
func progressOf(prompts []Prompt) Progress {
	var p Progress
	for i := range prompts {
		p.add(&prompts[i])
	}
	return p
}

func (p *Progress) add(r *Prompt) {
	p.Requests++
	p.PrefillAll += len(r.Tokens)
	p.DecodeAll += r.MaxTokens - 1
}

// tally counts what happens in a run while it does, for whoever watches.
type tally struct {
	sent, done, failed, first, prefill, tokens atomic.Int64
}

// got counts n tokens of a reply; the first of a request tells how long its
// prompt was.
func (t *tally) got(n int, first bool, prompt int) {
	if first {
		t.first.Add(1)
		t.prefill.Add(int64(prompt))
	}
	t.tokens.Add(int64(n))
}

// ended counts a request that is over, unless it was broken off.
func (t *tally) ended(ctx context.Context, failure error) {
	if ctx.Err() != nil {
		return
	}
	if failure != nil {
		t.failed.Add(1)
	}
	t.done.Add(1)
}

// interrupted is the error of a run that a context broke off.
func (t *tally) interrupted(requests int, cause error) error {
	return &Interrupted{Done: int(t.done.Load()), Requests: requests, Cause: cause}
}

// Interrupted is the error of a run that was broken off.
type Interrupted struct {
	Done, Requests int   // so many of so many; 0 of 0 is not known
	Cause          error // the context's error
}

func (e *Interrupted) Error() string {
	if e.Requests == 0 {
		return "interrupted"
	}
	return fmt.Sprintf("interrupted when %s of %s requests were done", thousands(e.Done), thousands(e.Requests))
}

// Unwrap is the cause.
func (e *Interrupted) Unwrap() error { return e.Cause }

func (t *tally) progress(p Progress) Progress {
	p.Sent, p.Done, p.Failed = int(t.sent.Load()), int(t.done.Load()), int(t.failed.Load())
	p.Prefill = int(t.prefill.Load())
	p.Decode = int(t.tokens.Load() - t.first.Load())
	return p
}

// share is how much of a run is done; 0 when it is not known how much there is.
func (t *tally) share(total Progress) float64 {
	if total.Requests == 0 {
		return 0
	}
	requests := float64(t.done.Load()) / float64(total.Requests) // which may end before their last token
	return max(requests, float64(t.tokens.Load())/float64(total.Requests+total.DecodeAll))
}

// sampleEvery is how often a timeline is kept, to begin with.
const sampleEvery = 10 * time.Millisecond

// watch tells of progress and keeps a timeline, until stopped. What it can of
// the engine it learns from its source.
func (t *tally) watch(total Progress, tell func(Progress), from source) (stop func() *Timeline) {
	began := time.Now()
	knows, interval := nothing, sampleEvery
	var base gauge
	if from != nil {
		knows, interval, base = from.knows(), from.every(), from.gauge()
	}
	tellEvery := max(1, int(200*time.Millisecond/interval))
	r := newRecorder(interval, knows)
	n := 0
	seen := newGlimpse(from)
	end := every(interval, func() {
		g := gauge{}
		if from != nil {
			g = from.gauge()
			g.steps -= base.steps
			g.computed -= base.computed
			g.decoded -= base.decoded
		}
		g.output, g.open = uint64(t.tokens.Load()), int(t.sent.Load()-t.done.Load())
		r.sample(time.Since(began), g)
		seen.look(t.share(total), g.steps)
		if tell != nil && n%tellEvery == 0 {
			tell(t.progress(total))
		}
		n++
	})
	return func() *Timeline {
		end()
		seen.end()
		if tell != nil {
			tell(t.progress(total))
		}
		return r.timeline()
	}
}

// stepsBetween counts what a system's scheduler did between two moments.
func stepsBetween(before, after actors.Stats) Steps {
	a, b := &after.Device, &before.Device
	mean := func(d time.Duration, n uint64) float64 { return round(ms(d)/float64(max(1, n)), 4) }
	return Steps{
		DecodeMS: mean(a.Decode-b.Decode, after.DecodeSteps-before.DecodeSteps), PrefillMS: mean(a.Prefill-b.Prefill, after.PrefillSteps-before.PrefillSteps),
		MixedMS: mean(a.Mixed-b.Mixed, after.MixedSteps-before.MixedSteps), BusyS: round((a.Busy - b.Busy).Seconds(), 6), IdleS: round((a.Idle - b.Idle).Seconds(), 6),
		ReduceS: round((a.Reducing - b.Reducing).Seconds(), 6), WaitS: round((a.Waiting - b.Waiting).Seconds(), 6),
		Total: after.Steps - before.Steps, Decode: after.DecodeSteps - before.DecodeSteps,
		Prefill: after.PrefillSteps - before.PrefillSteps, Mixed: after.MixedSteps - before.MixedSteps,
		ComputedTokens: after.Computed - before.Computed, CachedTokens: after.CachedTokens - before.CachedTokens,
		WastedRows: after.Wasted - before.Wasted, Preempted: after.Preempted - before.Preempted,
	}
}

// formats says as what a device holds weights and, where these are others, keys and
// values.
func formats(dev *device.Info) string {
	if dev.KVDType == "" || dev.KVDType == dev.DType {
		return dev.Formats()
	}
	return fmt.Sprintf("%s, keys and values %s", dev.Formats(), dev.KVDType)
}

// describe adds model and device to what is known of the environment.
// Describe is an environment with what a system says of its model and device.
func Describe(e Environment, s *actors.System) *Environment {
	e.describe(s)
	return &e
}

func (e *Environment) describe(s *actors.System) {
	m, dev := s.Model(), s.Device()
	e.Model, e.Parameters, e.DType, e.Dummy = m.Name, m.Config.Program.Params(), formats(&dev), m.Weights == nil
	e.Device, e.Hardware, e.Ranks = dev.Name, dev.Hardware, dev.Ranks
	if !strings.HasPrefix(dev.Name, "cuda") {
		e.Driver = ""
	}
	e.Slots, e.PageSize, e.NumPages, e.StepTokens = dev.Slots, dev.PageSize, dev.NumPages, dev.MaxStepTokens
}

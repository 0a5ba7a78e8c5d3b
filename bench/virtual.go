package bench

import (
	"cmp"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/troupe-llm/troupe/actors"
	"github.com/troupe-llm/troupe/actors/plan"
	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/sim"
)

// Arrival is a request and when it comes.
type Arrival struct {
	At time.Duration // since the run began
	Prompt
}

// Virtual runs the scheduler on a simulated device under a clock of its own:
// an hour of traffic in seconds, and the same figures every time.
type Virtual struct {
	Device device.Spec // "sim:…"
	// Plan says how to schedule; sizes left zero are the device's. Without EOS
	// every output has exactly the length asked for.
	Plan plan.Config
	// HostCost is what the processor is taken to need for each step, before it
	// can launch it.
	HostCost time.Duration
	// Work and Environment are what the caller knows of them.
	Work        Work
	Environment Environment
}

// VirtualReport is what came of a run.
type VirtualReport struct {
	Hardware          string
	KVTokens          int // that fit in the device's memory
	Requests, Refused int
	Prompt, Cached    uint64 // tokens
	Generated         uint64
	Span              time.Duration // until the last token
	Busy, Idle        time.Duration // of the device, from its first step to its last; idle with or without requests
	Steps             uint64
	Preempted         uint64
	Evicted           uint64
	MostRunning       int
	TTFT, ITL, E2E    Percentiles

	detail *Report // the same and more, for programs
}

// VirtualDetail is what a report in virtual time holds beside what every one
// does.
type VirtualDetail struct {
	KVTokens    int     `json:"kv_tokens"` // that fit in the device's memory
	Refused     int     `json:"refused"`   // requests that were too long
	HostCostUS  float64 `json:"host_cost_us"`
	BusyS       float64 `json:"busy_s"` // of the device
	IdleS       float64 `json:"idle_s"`
	MostRunning int     `json:"most_running"`
}

// Percentiles of durations, by nearest rank.
type Percentiles struct {
	N                        int
	Mean, P50, P90, P99, Max time.Duration
}

// inFlight is a launched step of the virtual device.
type inFlight struct {
	result batch.Result
	ended  time.Duration
}

// voyage is a request underway, by the clock of the run.
type voyage struct {
	arrived, first, last time.Duration
	prompt, tokens       int
	asked                int // tokens
	ended                bool
}

// Run plays arrivals, which must be in order of time, to their end.
func (v Virtual) Run(arrivals iter.Seq[Arrival]) (*VirtualReport, error) {
	engine, err := sim.New(v.Device)
	if err != nil {
		return nil, err
	}
	info := engine.Info()
	c := v.Plan
	for _, f := range []struct {
		to   *int
		from int
	}{
		{&c.Slots, info.Slots},
		{&c.NumPages, info.NumPages},
		{&c.PageSize, info.PageSize},
		{&c.MaxSeqLen, info.MaxSeqLen},
		{&c.StepTokens, info.MaxStepTokens},
		{&c.Draws, info.MaxDraws},
	} {
		if *f.to == 0 {
			*f.to = f.from
		}
	}
	c.Idle = func() int64 { return int64(v.HostCost) }
	c.StepTime = func(s *batch.Step) int64 { return int64(engine.Predict(s)) }
	c.States, c.Snapshots, c.Window = info.StateBytes > 0, info.Snapshots, info.Window
	p, err := plan.New(c)
	if err != nil {
		return nil, err
	}
	next, stop := iter.Pull(arrivals)
	defer stop()
	s := &sailing{
		report: VirtualReport{Hardware: info.Hardware, KVTokens: info.NumPages * info.PageSize},
		plan:   p, engine: engine, next: next, cost: v.HostCost, ignoreEOS: len(c.EOS) == 0, drafts: c.Drafts > 0,
		line: newRecorder(time.Millisecond, itsSteps), pages: c.NumPages,
	}
	if err := s.run(); err != nil {
		return nil, err
	}
	if s.tokens == 0 && s.refusal != nil {
		return nil, fmt.Errorf("every request was refused, the last with: %w", s.refusal)
	}
	r := s.finish()
	r.detail = s.detail()
	r.detail.Work, r.detail.Environment = v.Work, v.Environment
	input, output := s.spans()
	w := &r.detail.Work
	w.NumSeqs, w.IgnoreEOS = len(s.voyages), s.ignoreEOS
	w.InputLen, w.OutputLen = cmp.Or(w.InputLen, input.String()), cmp.Or(w.OutputLen, output.String())
	e, m := &r.detail.Environment, v.Device.Model
	e.Model, e.Parameters, e.DType, e.Dummy = m.Name, m.Config.Program.Params(), formats(&info), m.Weights == nil
	e.Device, e.Hardware, e.Overlap, e.Driver = info.Name, info.Hardware, c.Overlap, ""
	e.Slots, e.PageSize, e.NumPages, e.StepTokens = c.Slots, c.PageSize, c.NumPages, c.StepTokens
	return r, nil
}

// sailing is the state of a run.
type sailing struct {
	report    VirtualReport
	plan      *plan.Planner
	engine    *sim.Engine
	next      func() (Arrival, bool)
	cost      time.Duration
	ignoreEOS bool
	drafts    bool // every request's tokens are drafted

	refusal error         // the last, if there was one
	now     time.Duration // of the host
	end     time.Duration // of the last step launched
	out     []*inFlight   // oldest first
	spare   []*inFlight

	ttft, itl, e2e []time.Duration
	voyages        []*voyage // in order of arrival; those refused are not among them
	tokens, open   int
	line           *recorder
	pages          int
}

func (s *sailing) run() error {
	coming, more := s.next()
	for id := uint64(1); ; {
		for ; more && coming.At <= s.now; coming, more = s.next() {
			s.report.Requests++
			v := &voyage{arrived: coming.At, prompt: len(coming.Tokens), asked: coming.MaxTokens}
			r := &plan.Request{ID: id, Prompt: coming.Tokens, MaxTokens: coming.MaxTokens, IgnoreEOS: s.ignoreEOS, Speculate: s.drafts, User: v}
			if err := s.plan.Add(r); err != nil {
				s.report.Refused++
				s.refusal = err
			} else {
				s.voyages = append(s.voyages, v)
				s.open++
			}
			id++
		}
		if step := s.plan.Next(); step != nil {
			if err := s.launch(step); err != nil {
				return err
			}
			continue
		}
		switch {
		case len(s.out) > 0:
			s.commit()
		case more:
			s.now = max(s.now, coming.At)
		default:
			return nil
		}
	}
}

// launch puts a step on the virtual device, behind what is there.
func (s *sailing) launch(step *batch.Step) error {
	s.now += s.cost
	f := &inFlight{}
	if n := len(s.spare); n > 0 {
		f, s.spare = s.spare[n-1], s.spare[:n-1]
	}
	took, err := s.engine.Run(step, &f.result)
	if err != nil {
		return err
	}
	began := max(s.now, s.end)
	if s.report.Busy > 0 {
		s.report.Idle += began - s.end
	}
	s.report.Busy += took
	s.report.MostRunning = max(s.report.MostRunning, len(step.Rows))
	s.end = began + took
	f.ended = s.end
	s.out = append(s.out, f)
	return nil
}

// commit lets time pass until the oldest step ends.
func (s *sailing) commit() {
	f := s.out[0]
	s.out = append(s.out[:0], s.out[1:]...)
	s.now = max(s.now, f.ended)
	for _, o := range s.plan.Commit(&f.result) {
		v := o.Req.User.(*voyage)
		v.tokens++
		s.tokens++
		if v.last == 0 {
			s.ttft = append(s.ttft, s.now-v.arrived)
			v.first = s.now
		} else {
			s.itl = append(s.itl, s.now-v.last)
		}
		v.last = s.now
		if o.Finish != plan.Running {
			s.e2e = append(s.e2e, s.now-v.arrived)
			v.ended = true
			s.open--
		}
	}
	s.spare = append(s.spare, f)
	st, pages := s.plan.Stats(), float64(max(1, s.pages))
	s.line.sample(s.now, gauge{
		output: uint64(s.tokens), steps: st.Steps, computed: st.Computed, decoded: st.Decoded, open: s.open, running: st.Running, waiting: st.Waiting,
		used: float64(st.PagesUsed) / pages, cached: float64(st.PagesCached) / pages,
	})
}

func (s *sailing) finish() *VirtualReport {
	r, st := &s.report, s.plan.Stats()
	r.Span = s.end
	r.Prompt, r.Cached, r.Generated = st.PromptTokens, st.CachedTokens, st.Generated
	r.Steps, r.Preempted, r.Evicted = st.Steps, st.Preempted, st.Evicted
	r.TTFT, r.ITL, r.E2E = percentiles(s.ttft), percentiles(s.itl), percentiles(s.e2e)
	return r
}

// detail is the run for programs.
func (s *sailing) detail() *Report {
	st := s.plan.Stats()
	r := &Report{
		Schema: Schema, Kind: "virtual", Failed: s.report.Refused, Samples: &Samples{},
		Steps: stepsBetween(actors.Stats{}, actors.Stats{Stats: st}), Timeline: s.line.timeline(), Histogram: newHistogram(s.itl),
		Virtual: &VirtualDetail{
			KVTokens: s.report.KVTokens, Refused: s.report.Refused, HostCostUS: float64(s.cost) / 1e3,
			BusyS: s.report.Busy.Seconds(), IdleS: s.report.Idle.Seconds(), MostRunning: s.report.MostRunning,
		},
	}
	if s.refusal != nil {
		r.Failure = s.refusal.Error()
	}
	for _, v := range s.voyages {
		if !v.ended {
			continue
		}
		r.Requests++
		r.TotalInputTokens += v.prompt
		r.TotalOutputTokens += v.tokens
		if v.tokens < v.asked { // there was no room for more
			r.Short++
		}
		r.Samples.add(v.arrived, v.first-v.arrived, v.last-v.arrived, v.prompt, v.tokens)
	}
	r.sum(s.report.Span, s.ttft, s.itl, s.e2e)
	return r
}

// spans are the lengths that the requests lie between.
func (s *sailing) spans() (input, output Range) {
	for i, v := range s.voyages {
		if i == 0 {
			input, output = Range{v.prompt, v.prompt}, Range{v.tokens, v.tokens}
		}
		input = Range{min(input.Low, v.prompt), max(input.High, v.prompt)}
		output = Range{min(output.Low, v.tokens), max(output.High, v.tokens)}
	}
	return input, output
}

// Report is the run in the form that every command writes.
func (r *VirtualReport) Report() *Report { return r.detail }

// HitRate is the share of prompt tokens that were found in the cache.
func (r *VirtualReport) HitRate() float64 { return float64(r.Cached) / float64(max(1, r.Prompt)) }

// IdleShare is the share of time for which the device had nothing to do.
func (r *VirtualReport) IdleShare() float64 {
	return float64(r.Idle) / float64(max(1, r.Busy+r.Idle))
}

// String is the report as a person reads it.
func (r *VirtualReport) String() string {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-14s "+format+"\n", append([]any{name}, args...)...)
	}
	line("device", "%s, %d tokens of KV memory", r.Hardware, r.KVTokens)
	line("requests", "%d, refused %d, preempted %d", r.Requests, r.Refused, r.Preempted)
	if d := r.detail; d != nil && d.Failed > 0 {
		line("refused", "the last with: %s", d.Failure)
	}
	if d := r.detail; d != nil && d.Short > 0 {
		line("short", "%d replies ended at the longest a request may be", d.Short)
	}
	line("prompt tokens", "%d, cached %.2f%%", r.Prompt, 100*r.HitRate())
	line("generated", "%d in %.3f s: %.1f tokens/s", r.Generated, r.Span.Seconds(), float64(r.Generated)/r.Span.Seconds())
	line("steps", "%d, device idle %.3f%%", r.Steps, 100*r.IdleShare())
	for _, p := range []struct {
		name string
		Percentiles
	}{{"TTFT ms", r.TTFT}, {"ITL ms", r.ITL}, {"E2E ms", r.E2E}} {
		ms := func(d time.Duration) float64 { return float64(d) / 1e6 }
		line(p.name, "mean %.3f  p50 %.3f  p90 %.3f  p99 %.3f  max %.3f", ms(p.Mean), ms(p.P50), ms(p.P90), ms(p.P99), ms(p.Max))
	}
	return b.String()
}

func percentiles(d []time.Duration) Percentiles {
	if len(d) == 0 {
		return Percentiles{}
	}
	slices.Sort(d)
	var sum time.Duration
	for _, x := range d {
		sum += x
	}
	at := func(percent int) time.Duration { return d[(len(d)*percent+99)/100-1] }
	return Percentiles{len(d), sum / time.Duration(len(d)), at(50), at(90), at(99), d[len(d)-1]}
}

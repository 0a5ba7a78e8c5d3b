package engine

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/rs/zerolog"

	"github.com/troupe-llm/troupe/actors/internal/shell"
	"github.com/troupe-llm/troupe/actors/plan"
	"github.com/troupe-llm/troupe/actors/route"
	"github.com/troupe-llm/troupe/actors/trace"
	"github.com/troupe-llm/troupe/actors/wire"
	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/tokenize/grammar"
)

// maxReopens is how often in a row a device is reopened without completing a
// step in between before its requests are given up.
const maxReopens = 3

// scheduler decides what runs: it keeps the device's queue of steps full and
// commits their results. All decisions are package plan's; this is its shell.
//
// Owns:   the planner, the flights not under way, every request from Submit to its end.
// In:     *generate, *cancel; *prepared from grammars; *stepDone, *deviceLost, *deviceOpened.
// Out:    *runStep, *maskStep, *reopen to the executor; *compileJob, *cancel to grammars; batches
// to whom they are delivered, in which every request ends once.
// Blocks: while new masks of a step are worked out, on all cores (masks.go).
// Fails:  a lost device loses no request: the planner starts them again from
// their tokens, on the next device. A device that keeps failing, or a panic
// here, ends every request as lost.
type scheduler struct {
	executor *actor.PID
	grammars *actor.PID
	deliver  func(*wire.Batch)
	log      zerolog.Logger
	publish  func(plan.Stats, DeviceTime, State) // shows the world what changed
	damaged  func()                              // looks for why no token could be drawn; nil: nobody does
	digest   *route.Digest                       // what it is shown of the prefix tree; nil: nothing
	trace    trace.Recorder

	plan     *plan.Planner
	jobs     map[uint64]*job // submitted and not ended, by key
	unmasked []*job          // scratch of masks
	free     []*flight       // not under way
	epoch    int             // of the device that steps are made for
	state    State
	due      int64       // when the first of jobs may have waited too long, as batch.Now; 0: none waits so
	reopens  int         // since the last completed step
	first    error       // of those that led to them: the others follow from it
	died     *wire.Fault // why it is Lost
	device   deviceClock
	drafts   int   // of a request's tokens in a step
	pace     *pace // of what steps take; nil: nothing depends on that
	paced    bool  // it always does, not only where tokens are drafted
}

// job is a request in the engine. It is the scheduler's.
type job struct {
	ref      wire.Ref // req's; with told, all that a token needs
	told     bool     // progress was: with its first token
	waits    bool     // for its grammar
	due      int64    // when it will have waited too long for its first step, as batch.Now; 0: never
	progress wire.Progress
	req      *wire.Request    // nobody changes it
	matcher  *grammar.Matcher // its constraint, nil for none
	planned  plan.Request
}

// key is a request's in the planner and in the table.
func key(r wire.Ref) uint64 { return uint64(r.Slot)<<32 | uint64(r.Epoch) }

// Handle does what a message asks, and then sends all that can be sent.
func (s *scheduler) Handle(c shell.Mail, m shell.Message) {
	switch m := m.(type) {
	case *generate:
		s.take(c, m.req)
	case *prepared:
		s.prepared(m)
	case *cancel:
		s.cancel(c, m.ref)
	case *stepDone:
		if m.epoch != s.epoch {
			return
		}
		s.commit(m.flight)
		s.free = append(s.free, m.flight)
		s.reopens, s.first = 0, nil
	case *deviceLost:
		s.lost(c, m)
	case *deviceOpened:
		if m.epoch != s.epoch || s.state != Mending {
			return
		}
		s.log.Info().Int("requests", len(s.jobs)).Msg("the device is open again")
		s.plan.Reset()
		s.state = Ready
	default:
		return
	}
	s.expire(c)
	s.pump(c)
	st := s.plan.Stats()
	if st.Running+st.Waiting == 0 {
		s.device.rest()
	}
	if s.digest != nil {
		s.digest.Apply(s.plan.Changes())
	}
	s.publish(st, s.device.DeviceTime, s.state)
	if s.trace.On() {
		s.trace.Sample(sample(&st))
	}
}

// sample is how things stand, for the trace.
func sample(st *plan.Stats) trace.Sample {
	return trace.Sample{
		Running: int32(st.Running), Waiting: int32(st.Waiting),
		PagesUsed: int32(st.PagesUsed), PagesCached: int32(st.PagesCached), PagesFree: int32(st.PagesFree),
	}
}

// take enters a request into the table, and has its grammar fetched if it has one.
func (s *scheduler) take(c shell.Mail, r *wire.Request) {
	j := &job{req: r, ref: r.Ref, progress: wire.Progress{Came: batch.Now()}}
	s.jobs[key(r.Ref)] = j
	if r.MaxWait > 0 {
		j.due = j.progress.Came + int64(r.MaxWait)
		s.due = earlier(s.due, j.due)
	}
	switch {
	case s.state == Lost:
		s.fail(j, s.died)
	case r.Grammar == nil:
		s.add(j)
	default:
		j.waits = true
		c.Send(s.grammars, &compileJob{req: r})
	}
}

// prepared goes on with a request whose grammar is there.
func (s *scheduler) prepared(m *prepared) {
	j := s.jobs[key(m.req.Ref)]
	if j == nil || !j.waits { // ended meanwhile, or was answered before
		return
	}
	j.waits = false
	if m.err != nil {
		s.fail(j, faultOf(m.err))
		return
	}
	j.matcher = m.matcher
	s.add(j)
}

// add gives a job to the planner, or ends it.
func (s *scheduler) add(j *job) {
	r := j.req
	j.progress.Queued = batch.Now()
	j.planned = plan.Request{
		ID:         key(r.Ref),
		Prompt:     r.Prompt,
		Given:      r.Given,
		MaxTokens:  r.MaxTokens,
		PromptOnly: r.PromptOnly,
		MinTokens:  r.MinTokens,
		StopTokens: r.StopTokens,
		IgnoreEOS:  r.IgnoreEOS,
		Sampling:   r.Sampling,
		Priority:   r.Priority,
		Client:     r.Client,
		Score:      r.Score,
		Speculate:  r.Speculate && s.drafts > 0,
		User:       j,
	}
	if j.matcher != nil {
		j.planned.Constraint = j.matcher
	}
	if err := s.plan.Add(&j.planned); err != nil {
		s.fail(j, faultOf(err))
		return
	}
	if r.MaxWait == 0 { // else when it is
		s.say(j, wire.Output{Accepted: true})
	}
}

// expire fails the requests that have waited too long for their first step. As it
// is looked at whenever there is a message, and steps end while others wait, that
// is told no later than a step, or the mending of the device, takes.
func (s *scheduler) expire(c shell.Mail) {
	now := batch.Now()
	if s.due == 0 || now < s.due {
		return
	}
	var late []*job
	s.due = 0
	for _, j := range s.jobs {
		switch {
		case j.due == 0:
		case now < j.due:
			s.due = earlier(s.due, j.due)
		default:
			late = append(late, j)
		}
	}
	slices.SortFunc(late, func(a, b *job) int { return cmp.Compare(a.req.ID, b.req.ID) })
	for _, j := range late {
		s.remove(c, j)
		s.fail(j, &wire.Fault{Kind: wire.Waited, Msg: fmt.Sprintf("the request has waited %v to be computed, which is as long as it may", j.req.MaxWait)})
	}
}

// earlier is the first of two times, of which 0 is none.
func earlier(a, b int64) int64 {
	if a == 0 {
		return b
	}
	return min(a, b)
}

// cancel ends a job.
func (s *scheduler) cancel(c shell.Mail, ref wire.Ref) {
	j := s.jobs[key(ref)]
	if j == nil {
		return
	}
	s.remove(c, j)
	delete(s.jobs, key(ref))
	s.say(j, wire.Output{Reason: wire.Aborted})
}

// remove takes a job away from whoever has it.
func (s *scheduler) remove(c shell.Mail, j *job) {
	if j.waits {
		c.Send(s.grammars, &cancel{ref: j.ref})
	} else {
		s.plan.Abort(key(j.ref))
	}
}

// fail ends a job that the planner does not have.
func (s *scheduler) fail(j *job, f *wire.Fault) {
	delete(s.jobs, key(j.ref))
	s.say(j, wire.Output{Reason: wire.Failed, Fault: f})
}

// say delivers what happened to a job outside of steps.
func (s *scheduler) say(j *job, o wire.Output) {
	o.Ref, o.Token = j.ref, batch.NoToken
	if o.Ends() {
		o.Progress = j.progressed()
	}
	s.deliver(&wire.Batch{About: j.req.ID, Outputs: []wire.Output{o}})
}

// progressed is how far a job has come, the first time it is asked for.
func (j *job) progressed() *wire.Progress {
	if j.told {
		return nil
	}
	j.told = true
	p := j.progress
	p.Cached = j.planned.CachedTokens
	return &p
}

// pump sends what the step launched last waits for, then every step that can be
// built now.
func (s *scheduler) pump(c shell.Mail) {
	if s.state != Ready {
		return
	}
	if m := s.plan.Masks(); m != nil {
		c.Send(s.executor, &maskStep{epoch: s.epoch, masks: m})
	}
	for {
		began := s.trace.Now()
		step := s.plan.Next()
		if step == nil {
			return
		}
		s.trace.Record(trace.SpanPrepare, trace.TrackScheduler, step.Seq, began, len(step.Rows))
		if first := s.plan.Admitted(); len(first) > 0 {
			now := batch.Now()
			for _, r := range first {
				s.begun(r.User.(*job), now)
			}
		}
		f := s.flight()
		f.epoch, f.step = s.epoch, step
		c.Send(s.executor, &runStep{flight: f})
	}
}

// begun notes that a job is in a step for the first time.
func (s *scheduler) begun(j *job, now int64) {
	j.progress.Started, j.due = now, 0
	if j.req.MaxWait > 0 {
		s.say(j, wire.Output{Accepted: true})
	}
}

// flight takes a flight that is not under way.
func (s *scheduler) flight() *flight {
	n := len(s.free)
	if n == 0 {
		return new(flight)
	}
	f := s.free[n-1]
	s.free = s.free[:n-1]
	return f
}

// commit applies a result and delivers what it brought.
func (s *scheduler) commit(f *flight) {
	seq, began := f.step.Seq, s.trace.Now()
	s.device.ran(f.step, &f.result)
	if s.paced || s.plan.Speculates() {
		s.pace.ran(f.step, &f.result)
	}
	outs := s.plan.Commit(&f.result)
	s.trace.Record(trace.SpanCommit, trace.TrackScheduler, seq, began, len(outs))
	if len(outs) == 0 {
		return
	}
	b := wire.NewBatch(seq, len(outs))
	b.Computed = f.result.Ended
	for i := range outs {
		o := &outs[i]
		j := o.Req.User.(*job)
		b.Outputs = append(b.Outputs, wire.Output{Ref: j.ref, Token: o.Token, Reason: reasons[o.Finish], Scores: keepAll(o.Scores), Logprob: keep(o.Logprob), Rejected: uint32(o.Rejected)})
		if !j.told && o.Token != batch.NoToken {
			j.progress.First = f.result.Ended
			b.Outputs[len(b.Outputs)-1].Progress = j.progressed()
		}
		if o.Finish != plan.Running {
			s.ended(j, &b.Outputs[len(b.Outputs)-1])
		}
	}
	s.deliver(b)
	s.masks(outs)
}

// ended completes a job's last output.
func (s *scheduler) ended(j *job, out *wire.Output) {
	delete(s.jobs, key(j.ref))
	if !j.told {
		out.Progress = j.progressed()
	}
	if out.Reason == wire.Failed {
		out.Fault = &wire.Fault{Msg: undrawn}
		if s.damaged != nil {
			s.damaged()
		}
	}
}

// reasons are the planner's, as they are told.
var reasons = [...]wire.Reason{plan.Running: wire.Running, plan.Stop: wire.Stop, plan.Length: wire.Length, plan.Aborted: wire.Aborted, plan.Failed: wire.Failed}

// keep copies a log-probability out of memory that the next step reuses.
func keep(p *batch.Logprob) *batch.Logprob {
	if p == nil {
		return nil
	}
	return &batch.Logprob{Token: p.Token, Top: append([]batch.TokenLogprob(nil), p.Top...)}
}

func keepAll(from []batch.Logprob) (to []batch.Logprob) {
	for i := range from {
		to = append(to, *keep(&from[i]))
	}
	return to
}

// Panicked is a broken invariant of the planner: nothing it says can be
// trusted any more.
func (s *scheduler) Panicked(_ shell.Mail, m shell.Message, err error) {
	if m, ok := m.(*generate); ok && s.jobs[key(m.req.Ref)] == nil { // it was not entered yet, or has ended
		s.jobs[key(m.req.Ref)] = &job{req: m.req, ref: m.req.Ref}
	}
	s.die(fmt.Errorf("%w: the scheduler panicked: %w", ErrLost, err))
}

// lost gives up a device and asks for another, or gives up altogether.
func (s *scheduler) lost(c shell.Mail, m *deviceLost) {
	// One that hangs cannot be closed, be it that something else went wrong with it before.
	if m.epoch != s.epoch && !m.hung || s.state == Lost {
		return
	}
	s.reopens++
	if s.first == nil {
		s.first = m.err
	}
	s.log.Error().Err(m.err).Int("requests", len(s.jobs)).Int("attempt", s.reopens).Msg("the device failed")
	if m.hung || s.reopens > maxReopens {
		s.log.Error().AnErr("first_error", s.first).Int("requests", len(s.jobs)).Msg("the device is given up")
		s.die(fmt.Errorf("%w: %w", ErrLost, s.first))
		return
	}
	// The planner is reset only when the new device is open: until the old one
	// is closed it may still read the steps in flight.
	s.state = Mending
	s.device.rest()
	s.epoch++
	c.Send(s.executor, &reopen{epoch: s.epoch})
}

// die ends every request; none is accepted any more.
func (s *scheduler) die(err error) {
	s.state, s.died = Lost, &wire.Fault{Kind: wire.Lost, Msg: err.Error()}
	s.epoch++                                            // what may come back yet is of no use
	s.publish(plan.Stats{}, s.device.DeviceTime, Lost)   // first: who is told of an end may ask again at once
	for _, k := range slices.Sorted(maps.Keys(s.jobs)) { // always in the same order
		s.fail(s.jobs[k], s.died)
	}
}

// faultOf is what an error says, as the client's mistake where it is one.
func faultOf(err error) *wire.Fault {
	var refused *plan.InputError
	var ill *grammar.Error
	switch {
	case errors.As(err, &refused):
		return &wire.Fault{Kind: wire.Refused, Param: "prompt", Msg: refused.Error(), TooLong: refused.TooLong}
	case errors.As(err, &ill):
		return &wire.Fault{Kind: wire.Refused, Param: ill.Path, Msg: ill.Error()}
	}
	return &wire.Fault{Msg: err.Error()}
}

// newScheduler plans for an opened device.
func newScheduler(cfg *Config, info device.Info) (*scheduler, error) {
	s := &scheduler{jobs: make(map[uint64]*job), deliver: cfg.Deliver, log: cfg.Log, trace: cfg.Trace.Of(cfg.Number)}
	if info.MaxDraws > 0 {
		s.drafts = plan.MaxDrafts
	}
	var stepTime func(*batch.Step) int64
	var idle func() int64
	if s.paced = cfg.TargetITL > 0; s.paced || s.drafts > 0 {
		s.pace = newPace(cfg, &info)
		stepTime, idle = s.pace.stepTime, s.pace.idled
	}
	var err error
	s.plan, err = plan.New(plan.Config{
		Slots:      info.Slots,
		NumPages:   info.NumPages,
		PageSize:   info.PageSize,
		MaxSeqLen:  info.MaxSeqLen,
		StepTokens: info.MaxStepTokens,
		Vocab:      info.Vocab,
		EOS:        Ends(cfg.Model, cfg.Codec),
		Cache:      cfg.Cache,
		States:     info.StateBytes > 0,
		Snapshots:  info.Snapshots,
		Window:     info.Window,
		Schedule:   cfg.Schedule,
		Policy:     cfg.Policy,
		Overlap:    !cfg.NoOverlap,
		TargetITL:  int64(cfg.TargetITL),
		StepTime:   stepTime,
		Drafts:     s.drafts,
		Draws:      info.MaxDraws,
		Idle:       idle,
		Digest:     cfg.Digest,
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

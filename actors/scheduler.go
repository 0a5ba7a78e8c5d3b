package actors

import (
	"errors"
	"fmt"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/rs/zerolog"

	"github.com/troupe-llm/troupe/actors/plan"
	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/device"
)

// maxReopens is how often in a row a device is reopened without completing a
// step in between before its requests are given up.
const maxReopens = 3

// scheduler decides what runs: it keeps the device's queue of steps full and
// commits their results. All decisions are package plan's; this is its shell.
//
// Owns:   the planner, the flights not under way, the job table.
// In:     *generate, *cancel, *stopFound; *stepDone, *deviceLost, *deviceOpened.
// Out:    *runStep, *maskStep, *reopen to the executor; *admitted, *tokens, *failed to
// the detokenizer.
// Blocks: never.
// Fails:  a lost device loses no request: the planner starts them again from
// their tokens, on the next device. A device that keeps failing, or a panic
// here, ends every request with an error.
type scheduler struct {
	executor    *actor.PID
	detokenizer *actor.PID
	log         zerolog.Logger
	publish     func(plan.Stats, DeviceTime, lifecycle) // shows the world what changed
	trace       *Trace

	plan     *plan.Planner
	jobs     map[uint64]*job // accepted by the planner and not ended
	unmasked []*job          // scratch of masks
	free     []*flight       // not under way
	epoch    int             // of the device that steps are made for
	state    lifecycle
	reopens  int   // since the last completed step
	first    error // of those that led to them: the others follow from it
	device   deviceClock
}

// lifecycle is what a system can do.
type lifecycle int32

const (
	ready   lifecycle = iota
	mending           // the device is being reopened; requests wait
	dead              // it could not be; everything fails
)

func (s *scheduler) handle(c mail, m message) {
	switch m := m.(type) {
	case *generate:
		s.add(c, m)
	case *cancel:
		if s.jobs[m.job.id] != nil && s.plan.Abort(m.job.id) {
			s.ended(c, m.job, plan.Aborted)
		}
	case *stopFound:
		if s.jobs[m.job.id] != nil && s.plan.Abort(m.job.id) {
			delete(s.jobs, m.job.id) // its final event is out already
		}
	case *stepDone:
		if m.epoch != s.epoch {
			return
		}
		s.commit(c, m.flight)
		s.free = append(s.free, m.flight)
		s.reopens, s.first = 0, nil
	case *deviceLost:
		s.lost(c, m)
	case *deviceOpened:
		if m.epoch != s.epoch || s.state != mending {
			return
		}
		s.log.Info().Int("requests", len(s.jobs)).Msg("the device is open again")
		s.plan.Reset()
		s.state = ready
	default:
		return
	}
	s.pump(c)
	st := s.plan.Stats()
	if st.Running+st.Waiting == 0 {
		s.device.rest()
	}
	s.publish(st, s.device.DeviceTime, s.state)
}

// add accepts a job or ends it.
func (s *scheduler) add(c mail, m *generate) {
	j := m.job
	j.times.Queued = batch.Now()
	switch {
	case s.state == dead:
		c.send(s.detokenizer, &failed{job: j, err: ErrFailed})
		return
	case j.canceled.Load():
		s.ended(c, j, plan.Aborted)
		return
	}
	j.planned = plan.Request{
		ID:         j.id,
		Prompt:     m.prompt,
		MaxTokens:  j.req.MaxTokens,
		PromptOnly: j.req.PromptOnly,
		MinTokens:  j.req.MinTokens,
		StopTokens: j.req.StopTokens,
		IgnoreEOS:  j.req.IgnoreEOS,
		Sampling:   j.req.Sampling,
		Priority:   j.req.Priority,
		Score:      j.req.PromptLogprobs,
		User:       j,
	}
	if j.matcher = m.matcher; j.matcher != nil {
		j.planned.Constraint = j.matcher
	}
	if err := s.plan.Add(&j.planned); err != nil {
		in := &InputError{Param: j.promptParam(), Msg: err.Error()}
		if why := (*plan.InputError)(nil); errors.As(err, &why) {
			in.TooLong = why.TooLong
		}
		c.send(s.detokenizer, &failed{job: j, err: in})
		return
	}
	s.jobs[j.id] = j
	c.send(s.detokenizer, &admitted{job: j, prompt: m.prompt})
}

// pump sends what the step launched last waits for, then every step that can be
// built now.
func (s *scheduler) pump(c mail) {
	if s.state != ready {
		return
	}
	if m := s.plan.Masks(); m != nil {
		c.send(s.executor, &maskStep{epoch: s.epoch, masks: m})
	}
	for {
		began := s.trace.now()
		step := s.plan.Next()
		if step == nil {
			return
		}
		s.trace.span(SpanPrepare, TrackScheduler, step.Seq, began, len(step.Rows))
		if first := s.plan.Admitted(); len(first) > 0 {
			now := batch.Now()
			for _, r := range first {
				r.User.(*job).times.Started = now
			}
		}
		f := s.flight()
		f.epoch, f.step = s.epoch, step
		c.send(s.executor, &runStep{flight: f})
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

// commit applies a result and forwards what it brought.
func (s *scheduler) commit(c mail, f *flight) {
	seq, began := f.step.Seq, s.trace.now()
	s.device.ran(f.step, &f.result)
	outs := s.plan.Commit(&f.result)
	s.trace.span(SpanCommit, TrackScheduler, seq, began, len(outs))
	if len(outs) == 0 {
		return
	}
	m := tokensPool.Get().(*tokens)
	m.seq, m.computed = seq, f.result.Ended
	for i := range outs {
		o := &outs[i]
		j := o.Req.User.(*job)
		if j.times.First == 0 && o.Token != batch.NoToken {
			j.times.First = f.result.Ended
		}
		m.outs = append(m.outs, output{job: j, token: o.Token, scores: keepAll(o.Scores), logprob: keep(o.Logprob), finish: o.Finish, cached: o.Req.CachedTokens})
		if o.Finish != plan.Running {
			delete(s.jobs, j.id)
		}
	}
	c.send(s.detokenizer, m)
	s.masks(c, outs)
}

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

// ended sends the end of a job that came without a token.
func (s *scheduler) ended(c mail, j *job, why plan.Reason) {
	delete(s.jobs, j.id)
	m := tokensPool.Get().(*tokens)
	m.outs = append(m.outs, output{job: j, token: batch.NoToken, finish: why, cached: j.planned.CachedTokens})
	c.send(s.detokenizer, m)
}

// panicked is a broken invariant of the planner: nothing it says can be
// trusted any more.
func (s *scheduler) panicked(c mail, _ message, err error) {
	s.die(c, fmt.Errorf("%w: the scheduler panicked: %w", ErrFailed, err))
}

// lost gives up a device and asks for another, or gives up altogether.
func (s *scheduler) lost(c mail, m *deviceLost) {
	if m.epoch != s.epoch || s.state == dead {
		return
	}
	s.reopens++
	if s.first == nil {
		s.first = m.err
	}
	s.log.Error().Err(m.err).Int("requests", len(s.jobs)).Int("attempt", s.reopens).Msg("the device failed")
	if m.hung || s.reopens > maxReopens {
		s.log.Error().AnErr("first_error", s.first).Int("requests", len(s.jobs)).Msg("the device is given up")
		s.die(c, fmt.Errorf("%w: %w", ErrFailed, s.first))
		return
	}
	// The planner is reset only when the new device is open: until the old one
	// is closed it may still read the steps in flight.
	s.state = mending
	s.device.rest()
	s.epoch++
	c.send(s.executor, &reopen{epoch: s.epoch})
}

// die ends every request; none is accepted any more.
func (s *scheduler) die(c mail, err error) {
	s.state = dead
	s.epoch++                                          // what may come back yet is of no use
	s.publish(plan.Stats{}, s.device.DeviceTime, dead) // first: who is told of an end may ask again at once
	for _, j := range s.jobs {
		c.send(s.detokenizer, &failed{job: j, err: err})
	}
	clear(s.jobs)
}

// newScheduler plans for an opened device.
func newScheduler(cfg *Config, info device.Info, eos []int32) (*scheduler, error) {
	pc := plan.Config{
		Slots:      info.Slots,
		NumPages:   info.NumPages,
		PageSize:   info.PageSize,
		MaxSeqLen:  info.MaxSeqLen,
		StepTokens: info.MaxStepTokens,
		Vocab:      info.Vocab,
		EOS:        eos,
		Cache:      cfg.Cache,
		States:     info.StateBytes > 0,
		Snapshots:  info.Snapshots,
		Window:     info.Window,
		Schedule:   cfg.Schedule,
		Policy:     cfg.Policy,
		Overlap:    !cfg.NoOverlap,
	}
	p, err := plan.New(pc)
	if err != nil {
		return nil, err
	}
	return &scheduler{plan: p, jobs: make(map[uint64]*job), log: cfg.Log}, nil
}

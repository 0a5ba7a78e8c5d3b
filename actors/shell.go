package actors

import (
	"fmt"
	"runtime/debug"
	"sync/atomic"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/rs/zerolog"

	"github.com/troupe-llm/troupe/gpu/batch"
)

// handler is what one of our actors does; shell makes an actor of it.
type handler interface {
	handle(c mail, m message)
	// panicked deals with the message that handle panicked on.
	panicked(c mail, m message, err error)
}

// mail is how a handler sends.
type mail struct {
	out interface {
		Send(to *actor.PID, message any)
	}
	from Track
}

// on is the same mail, sent from another track.
func (c mail) on(t Track) mail { return mail{c.out, t} }

// send posts a message.
func (c mail) send(to *actor.PID, m message) {
	*m.stamped() = stamp{posted: batch.Now(), from: c.from}
	c.out.Send(to, m)
}

// shell puts a handler into an actor: it keeps panics from the actor library,
// whose supervision would restart the actor and lose the message, and measures
// the mailbox.
type shell struct {
	name    string
	track   Track
	h       handler
	mailbox actor.Mailbox
	trace   *Trace
	log     zerolog.Logger
	stats   mailboxStats
}

func (s *shell) Receive(c actor.Context) {
	switch m := c.Message().(type) {
	case message:
		st, began := *m.stamped(), batch.Now()
		id := subject(m) // before handling: a handler may give the message away
		s.run(mail{c, s.track}, m)
		ended := batch.Now()
		s.stats.observe(began-st.posted, ended-began)
		s.trace.handled(s.track, st, kindOf(m), id, began, ended)
	case *actor.Stopped:
		if h, ok := s.h.(interface{ stopped() }); ok {
			h.stopped()
		}
	}
}

func (s *shell) run(c mail, m message) {
	defer func() {
		if r := recover(); r != nil {
			err := panicError(r)
			s.log.Error().Str("actor", s.name).Str("message", fmt.Sprintf("%T", m)).Err(err).Msg("an actor panicked")
			s.h.panicked(c, m, err)
		}
	}()
	s.h.handle(c, m)
}

// run spawns a handler as an actor of this name, which must be free.
func (s *System) run(name string, track Track, h handler, opts ...actor.PropsOption) *actor.PID {
	sh := &shell{name: name, track: track, h: h, trace: s.cfg.Trace, log: s.cfg.Log}
	s.shells = append(s.shells, sh)
	// Should a panic escape the shell after all, the actor stops rather than go
	// on with a state nobody knows.
	stop := actor.NewOneForOneStrategy(0, 0, func(any) actor.Directive { return actor.StopDirective })
	unbounded := actor.Unbounded()
	opts = append(opts, actor.WithGuardian(stop), actor.WithMailbox(func() actor.Mailbox {
		sh.mailbox = unbounded()
		return sh.mailbox
	}))
	pid, err := s.actors.Root.SpawnNamed(actor.PropsFromProducer(func() actor.Actor { return sh }, opts...), name)
	if err != nil {
		panic(err)
	}
	return pid
}

// panicError is what a recovered panic says, with its stack.
func panicError(r any) error {
	if err, ok := r.(error); ok {
		return fmt.Errorf("panic: %w\n%s", err, debug.Stack())
	}
	return fmt.Errorf("panic: %v\n%s", r, debug.Stack())
}

// recovered makes a panic the function's error.
func recovered(err *error) {
	if r := recover(); r != nil {
		*err = panicError(r)
	}
}

// DelayBuckets are the upper bounds of ActorStats.Delay in seconds; the last
// bucket has none.
var DelayBuckets = [...]float64{1e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 1e-2, 1e-1, 1}

// mailboxStats is written by one actor and read by anyone.
type mailboxStats struct {
	messages, delay, busy atomic.Int64 // count, nanoseconds, nanoseconds
	buckets               [len(DelayBuckets) + 1]atomic.Int64
}

func (m *mailboxStats) observe(delay, busy int64) {
	m.messages.Add(1)
	m.delay.Add(delay)
	m.busy.Add(busy)
	i := 0
	for i < len(DelayBuckets) && float64(delay) > DelayBuckets[i]*1e9 {
		i++
	}
	m.buckets[i].Add(1)
}

// ActorStats is how one actor's mailbox does.
type ActorStats struct {
	Name     string
	Depth    int   // messages waiting now
	Messages int64 // handled so far
	// DelaySum and BusySum are seconds: what the messages waited in the
	// mailbox, and what handling them took.
	DelaySum, BusySum float64
	Delay             [len(DelayBuckets) + 1]int64 // messages by delay, not cumulative
}

func (s *shell) read() ActorStats {
	a := ActorStats{
		Name: s.name, Depth: s.mailbox.UserMessageCount(), Messages: s.stats.messages.Load(),
		DelaySum: float64(s.stats.delay.Load()) / 1e9, BusySum: float64(s.stats.busy.Load()) / 1e9,
	}
	for i := range a.Delay {
		a.Delay[i] = s.stats.buckets[i].Load()
	}
	return a
}

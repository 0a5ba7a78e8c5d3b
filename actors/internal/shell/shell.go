// Package shell makes actors of handlers: it keeps panics from the actor library, whose supervision
// would restart the actor and lose the message, and measures mailboxes.
package shell

import (
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync/atomic"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/rs/zerolog"

	"github.com/troupe-llm/troupe/actors/trace"
	"github.com/troupe-llm/troupe/gpu/batch"
)

// Message is what actors send each other.
type Message interface{ Stamped() *Stamp }

// Stamp says when and by whom a message was posted, for measuring mailboxes
// and for the trace. Messages embed it.
type Stamp struct {
	posted int64 // as batch.Now
	from   trace.Track
	engine uint8 // whose that is; 0: the first's, or the front's
}

// Stamped is the stamp.
func (s *Stamp) Stamped() *Stamp { return s }

// Handler is what one of our actors does. If it has a method Stopped(), that is
// called when the actor has stopped.
type Handler interface {
	Handle(c Mail, m Message)
	// Panicked deals with the message that Handle panicked on.
	Panicked(c Mail, m Message, err error)
}

// Mail is how a handler sends.
type Mail struct {
	Out interface {
		Send(to *actor.PID, message any)
	}
	From   trace.Track
	Engine uint8 // whose track that is
}

// On is the same mail, sent from another track.
func (c Mail) On(t trace.Track) Mail { return Mail{c.Out, t, c.Engine} }

// Of is the same mail, sent by an engine.
func (c Mail) Of(engine uint8) Mail { return Mail{c.Out, c.From, engine} }

// Send posts a message.
func (c Mail) Send(to *actor.PID, m Message) {
	*m.Stamped() = Stamp{posted: batch.Now(), from: c.From, engine: c.Engine}
	c.Out.Send(to, m)
}

// Describe says what kind of span the handling of a message makes, and which step
// or request it is about.
type Describe func(Message) (trace.Kind, uint64)

// Simulation has actors handle their messages when it says, in place of goroutines of their own.
type Simulation struct {
	// System has the actors of all groups; it takes long to make one.
	System *actor.ActorSystem
	// Mailbox is the mailbox of the actor of this name, which hands over one message after the other.
	Mailbox func(name string) actor.Mailbox
	// Handler is what takes the place of the actor's handler.
	Handler func(name string, h Handler) Handler
}

// Group is some actors that work together.
type Group struct {
	system   *actor.ActorSystem
	trace    *trace.Trace
	engine   uint8 // whose the actors are; 0: the first's, or the front's
	log      zerolog.Logger
	describe Describe
	sim      *Simulation // nil: none
	shells   []*shell    // fixed once all have been run
}

// NewGroup makes an empty one, of the engine of this number or of the front: 0. A nil
// Trace records nothing, and without a Simulation actors run by themselves.
func NewGroup(log zerolog.Logger, tr *trace.Trace, engine uint8, describe Describe, sim *Simulation) *Group {
	if sim != nil {
		return &Group{system: sim.System, trace: tr, engine: engine, log: log, describe: describe, sim: sim}
	}
	system := actor.NewActorSystem(actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger {
		return slog.New(zerolog.NewSlogHandler(log.Level(zerolog.WarnLevel)))
	}))
	return &Group{system: system, trace: tr, engine: engine, log: log, describe: describe}
}

// PID is the address of the actor that has or will have this name: addresses are
// known before the actors run, so each can be given the others' before the first
// message.
func (g *Group) PID(name string) *actor.PID { return g.system.NewLocalPID(name) }

// Mail is how those outside of the group's actors send to them.
func (g *Group) Mail(from trace.Track) Mail { return Mail{g.system.Root, from, g.engine} }

// Run spawns a handler as an actor of this name, which must be free.
func (g *Group) Run(name string, track trace.Track, h Handler, opts ...actor.PropsOption) *actor.PID {
	sh := &shell{Group: g, name: name, track: track, h: h}
	g.shells = append(g.shells, sh)
	// Should a panic escape the shell after all, the actor stops rather than go
	// on with a state nobody knows.
	stop := actor.NewOneForOneStrategy(0, 0, func(any) actor.Directive { return actor.StopDirective })
	unbounded := actor.Unbounded()
	if g.sim != nil {
		sh.h = g.sim.Handler(name, h)
		unbounded = func() actor.Mailbox { return g.sim.Mailbox(name) }
	}
	opts = append(opts, actor.WithGuardian(stop), actor.WithMailbox(func() actor.Mailbox {
		sh.mailbox = unbounded()
		return sh.mailbox
	}))
	pid, err := g.system.Root.SpawnNamed(actor.PropsFromProducer(func() actor.Actor { return sh }, opts...), name)
	if err != nil {
		panic(err)
	}
	return pid
}

// Replace puts something else in the place of each handler, as tests do before the
// first message.
func (g *Group) Replace(with func(Handler) Handler) {
	for _, sh := range g.shells {
		sh.h = with(sh.h)
	}
}

// Stop stops actors one after the other, each when it has handled what was sent to it.
func (g *Group) Stop(pids ...*actor.PID) error {
	for _, pid := range pids {
		if err := g.system.Root.PoisonFuture(pid).Wait(); err != nil {
			return fmt.Errorf("stopping %s: %w", pid.Id, err)
		}
	}
	return nil
}

// Shutdown ends the group.
func (g *Group) Shutdown() {
	if g.sim == nil {
		g.system.Shutdown()
	}
}

// Stats is how the actors' mailboxes do, in the order in which they were run.
func (g *Group) Stats() []ActorStats {
	all := make([]ActorStats, len(g.shells))
	for i, sh := range g.shells {
		all[i] = sh.read()
	}
	return all
}

// shell puts a handler into an actor.
type shell struct {
	*Group
	name    string
	track   trace.Track
	h       Handler
	mailbox actor.Mailbox
	stats   mailboxStats
}

func (s *shell) Receive(c actor.Context) {
	switch m := c.Message().(type) {
	case Message:
		st, began := *m.Stamped(), batch.Now()
		kind, id := s.describe(m) // before handling: a handler may give the message away
		s.run(Mail{c, s.track, s.engine}, m)
		ended := batch.Now()
		s.stats.observe(began-st.posted, ended-began)
		// Of the front and an engine, or twice the same.
		s.trace.Handled(trace.Span{Kind: kind, On: s.track, Engine: max(s.engine, st.engine), From: st.from, Posted: st.posted, ID: id, Began: began, Ended: ended})
	case *actor.Stopped:
		if h, ok := s.h.(interface{ Stopped() }); ok {
			h.Stopped()
		}
	}
}

func (s *shell) run(c Mail, m Message) {
	defer func() {
		if r := recover(); r != nil {
			err := PanicError(r)
			s.log.Error().Str("actor", s.name).Str("message", fmt.Sprintf("%T", m)).Err(err).Msg("an actor panicked")
			s.h.Panicked(c, m, err)
		}
	}()
	s.h.Handle(c, m)
}

// PanicError is what a recovered panic says, with its stack.
func PanicError(r any) error {
	if err, ok := r.(error); ok {
		return fmt.Errorf("panic: %w\n%s", err, debug.Stack())
	}
	return fmt.Errorf("panic: %v\n%s", r, debug.Stack())
}

// Recovered, deferred, makes a panic the function's error.
func Recovered(err *error) {
	if r := recover(); r != nil {
		*err = PanicError(r)
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

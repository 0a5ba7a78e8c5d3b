package engine

import (
	"errors"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/rs/zerolog"

	"github.com/troupe-llm/troupe/actors/internal/shell"
	"github.com/troupe-llm/troupe/actors/plan"
	"github.com/troupe-llm/troupe/actors/route"
	"github.com/troupe-llm/troupe/actors/trace"
	"github.com/troupe-llm/troupe/actors/wire"
	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/tokenize"
	"github.com/troupe-llm/troupe/tokenize/grammar"
	"github.com/troupe-llm/troupe/tokenize/reply"
)

// Config says what a local engine runs and how.
type Config struct {
	// Open opens the device, and again when it was lost, always on the same locked OS thread.
	Open  func() (device.Device, error)
	Model *model.Model
	Codec *tokenize.Tokenizer // whose tokens grammars are made of; nil: no request has one

	Cache       plan.Cache
	Schedule    plan.Schedule
	Policy      plan.Policy
	NoOverlap   bool
	TargetITL   time.Duration // what steps with decode rows should take at most; 0: as long as they do
	StepTimeout time.Duration // how long a step may take; 0: see stepLimit
	Compilers   int           // grammars compiled at the same time, from 1 to trace.MaxCompilers

	// Number is which of Of engines of a front this is, from 0: for the names of actors and
	// for the trace. Digest has Prefixes told of, which only who chooses between engines asks for.
	Number uint8
	Of     int
	Digest bool

	Log   zerolog.Logger
	Trace *trace.Trace // nil records nothing

	// Deliver takes what there is to say of requests; the batch is its to release. It is called
	// by the scheduler, one batch after the other, and must not wait.
	Deliver func(*wire.Batch)
	// Lost is called once, when the engine is, before the requests it had are delivered as lost.
	Lost func()

	Simulation *shell.Simulation // of the actors; nil: they run by themselves
}

// Local is an engine in this process.
type Local struct {
	cfg    Config
	info   device.Info
	same   wire.Identity
	actors *shell.Group
	api    shell.Mail // what Submit and Cancel send through

	scheduler, executor, grammars *actor.PID
	compilers                     []*actor.PID
	thread                        *thread

	state  atomic.Int32 // State, written by the scheduler
	hung   atomic.Bool  // a step did not return; set by the watchdog
	stats  statsBox
	damage damage
	told   route.Digest
}

// statsBox holds the scheduler's last words. Written by the scheduler once a
// message, read by anyone.
type statsBox struct {
	mu     sync.Mutex
	plan   plan.Stats
	device DeviceTime
}

// Open opens the device and starts the actors.
func Open(cfg Config) (*Local, error) {
	e := &Local{cfg: cfg, thread: newThread(cfg.Simulation != nil)}
	var (
		dev device.Device
		err error
	)
	e.thread.do(func() {
		defer shell.Recovered(&err)
		dev, err = cfg.Open()
	})
	if err != nil {
		e.thread.end()
		return nil, err
	}
	e.info = dev.Info()
	e.same = identify(cfg.Model, &e.info)
	sched, err := newScheduler(&cfg, e.info)
	if err != nil {
		e.thread.do(func() { err = errors.Join(err, dev.Close()) })
		e.thread.end()
		return nil, err
	}
	e.spawn(sched, dev)
	return e, nil
}

// spawn wires the actors.
func (e *Local) spawn(sched *scheduler, dev device.Device) {
	cfg := &e.cfg
	e.actors = shell.NewGroup(cfg.Log, cfg.Trace, cfg.Number, describe, cfg.Simulation)
	e.api = e.actors.Mail(trace.TrackDetokenizer) // whose place is at the front, and who calls
	e.scheduler, e.executor, e.grammars = e.actors.PID(cfg.name("scheduler")), e.actors.PID(cfg.name("executor")), e.actors.PID(cfg.name("grammars"))
	exec := &executor{
		open: cfg.Open, log: cfg.Log, trace: cfg.Trace.Of(cfg.Number), scheduler: e.scheduler,
		watchdog: newWatchdog(cfg, &e.info, &e.hung), waiterMail: e.api.On(trace.TrackWaiter),
	}
	exec.adopt(dev, exec.waiterMail)
	if cfg.Digest {
		sched.digest = &e.told
	}
	if cfg.Simulation == nil {
		sched.damaged = func() { e.damage.look(cfg.Model, cfg.Log) }
	}
	sched.executor, sched.grammars, sched.publish = e.executor, e.grammars, e.published
	e.actors.Run(cfg.name("executor"), trace.TrackExecutor, exec, actor.WithDispatcher(e.thread))
	e.actors.Run(cfg.name("scheduler"), trace.TrackScheduler, sched)
	known := grammar.NewCache(e.vocabulary)
	for i := range cfg.Compilers {
		name := "compiler-" + strconv.Itoa(int(cfg.Number)*cfg.Compilers+i)
		pid := e.actors.PID(name)
		e.actors.Run(name, trace.TrackCompiler+trace.Track(i), &compiler{cache: known, grammars: e.grammars, self: pid})
		e.compilers = append(e.compilers, pid)
	}
	g := newGrammars(known, e.scheduler)
	g.idle = slices.Clone(e.compilers)
	e.actors.Run(cfg.name("grammars"), trace.TrackGrammars, g)
	e.published(sched.plan.Stats(), DeviceTime{}, Ready)
}

// name is what an actor is called, of which every engine has one.
func (c *Config) name(actor string) string {
	if c.Of > 1 {
		return actor + "-" + strconv.Itoa(int(c.Number))
	}
	return actor
}

// Submit hands a request to the scheduler.
func (e *Local) Submit(r *wire.Request) { e.api.Send(e.scheduler, &generate{req: r}) }

// Cancel has the scheduler end a request.
func (e *Local) Cancel(ref wire.Ref) { e.api.Send(e.scheduler, &cancel{ref: ref}) }

// Identity is what others must have in common with it.
func (e *Local) Identity() wire.Identity { return e.same }

// Info describes the device.
func (e *Local) Info() device.Info { return e.info }

// State is what it can do; a device that hangs is noticed at once, whatever the
// actors do.
func (e *Local) State() State {
	if e.hung.Load() {
		return Lost
	}
	return State(e.state.Load())
}

// Stats is how things stand.
func (e *Local) Stats() Stats {
	st := Stats{Actors: e.actors.Stats()}
	e.stats.mu.Lock()
	defer e.stats.mu.Unlock()
	st.Stats, st.Device = e.stats.plan, e.stats.device
	return st
}

// Prefixes is what is new in the prefix tree.
func (e *Local) Prefixes(since uint64) wire.Prefixes { return e.told.Since(since) }

// published shows the world how things stand.
func (e *Local) published(st plan.Stats, dev DeviceTime, s State) {
	if old := State(e.state.Swap(int32(s))); s == Lost && old != Lost && e.cfg.Lost != nil {
		e.cfg.Lost()
	}
	e.stats.mu.Lock()
	e.stats.plan, e.stats.device = st, dev
	e.stats.mu.Unlock()
}

// Close stops the actors and closes the device. One that hangs it leaves as it is,
// with the model's memory, which it may be reading: only the process's end sets
// them free.
func (e *Local) Close() error {
	pids := append([]*actor.PID{e.scheduler, e.grammars}, e.compilers...)
	if err := e.actors.Stop(pids...); err != nil {
		return err
	}
	// A step may hang without the watchdog's having noticed yet: it is not waited for much longer.
	hung := e.hung.Load() || e.actors.Stop(e.executor) != nil
	e.actors.Shutdown()
	e.damage.end()
	if hung {
		return ErrInUse
	}
	e.thread.end()
	return nil
}

// vocabulary is what grammars are compiled for: all tokens but special ones,
// which no text has. Marks are in it: they are how models write tool calls, and
// shown in texts that keep to a grammar.
func (e *Local) vocabulary() *grammar.Vocabulary {
	codec, marks := e.cfg.Codec, Marks(e.cfg.Codec)
	return grammar.NewVocabulary(e.info.Vocab, func(id int32) []byte {
		if int(id) >= codec.Vocab() || codec.IsSpecial(id) && !slices.Contains(marks, id) {
			return nil
		}
		return codec.TokenBytes(id)
	}, Ends(e.cfg.Model, codec))
}

// Marks are the special tokens that a text which keeps to a grammar may have.
func Marks(codec *tokenize.Tokenizer) (marks []int32) {
	if codec == nil {
		return nil
	}
	for _, mark := range reply.AllTokens() {
		if id, ok := codec.TokenID(mark); ok && codec.IsSpecial(id) {
			marks = append(marks, id)
		}
	}
	return marks
}

// Ends are the tokens that end a reply: the generation config's, which is the
// model's last word, else the model config's, and the tokenizer's own, which a chat
// template ends messages with whatever those two name.
func Ends(m *model.Model, codec *tokenize.Tokenizer) []int32 {
	ends := m.Config.EOS
	if len(m.Generation.EOS) > 0 {
		ends = m.Generation.EOS
	}
	if codec != nil {
		if _, id, ok := codec.EOS(); ok && int(id) < m.Config.Vocab && !slices.Contains(ends, id) {
			ends = append(slices.Clone(ends), id)
		}
	}
	return ends
}

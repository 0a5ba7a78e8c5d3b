package actors

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/rs/zerolog"

	"github.com/troupe-llm/troupe/actors/internal/shell"
	"github.com/troupe-llm/troupe/actors/plan"
	"github.com/troupe-llm/troupe/actors/wire"
	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/gpu/sim"
	"github.com/troupe-llm/troupe/tokenize"
)

var (
	simSeed = flag.Uint64("seed", 0, "the one `seed` that TestSimulation runs, and shows")
	simFrom = flag.Uint64("from", 1, "the first seed of TestSimulation")
	simFor  = flag.Duration("for", 0, "how long TestSimulation tries seeds; 0: some hundred")
)

// stageSet is what all simulations share.
type stageSet struct {
	model *model.Model
	codec *tokenize.Tokenizer
	all   []asked
}

var simSet = sync.OnceValues(func() (*stageSet, error) {
	m, codec, err := simModel()
	if err != nil {
		return nil, err
	}
	all, err := questions(m, codec)
	return &stageSet{m, codec, all}, err
})

// Whatever goes wrong, and in whatever order actors do what they do: every request ends once, says what
// it would have said undisturbed, and leaves nothing behind. Each seed is one run of a whole system in
// virtual time; one that fails is run again, and shown, by
//
//	go test ./actors -run 'TestSimulation$' -seed N
func TestSimulation(t *testing.T) {
	if *simSeed != 0 {
		r := simulate(t, *simSeed, nil)
		t.Logf("seed %d: %d events, log %x, %v", *simSeed, r.events, r.hash, r.seen)
		for _, f := range r.faults {
			t.Error(f)
		}
		return
	}
	n, events, began, seen := uint64(0), 0, time.Now(), map[string]int{}
	for ; *simFor > 0 && time.Since(began) < *simFor || *simFor == 0 && n < 200; n++ {
		r := simulate(t, *simFrom+n, nil)
		events += r.events
		for kind, n := range r.seen {
			seen[kind] += n
		}
		if len(r.faults) > 0 {
			t.Fatalf("seed %d: %s\nto see it again: go test ./actors -run 'TestSimulation$' -v -seed %[1]d", *simFrom+n, strings.Join(r.faults, "\n"))
		}
	}
	t.Logf("%d seeds from %d, %d events in %v: %v", n, *simFrom, events, time.Since(began), seen)
	for _, kind := range simKinds {
		if n >= 200 && seen[kind] == 0 {
			t.Errorf("it never happened that %s", kind)
		}
	}
}

// simKinds are all faults that are simulated.
var simKinds = []string{
	"opening failed", "closing failed", "launching failed", "masking failed", "waiting failed",
	"launching hung", "a step hung", "closing hung", "a step was slow", "everything stood still",
	"tokenizer panicked", "detokenizer panicked", "scheduler panicked", "executor panicked", "grammars panicked", "compiler panicked",
	"an engine was believed to be lost", "a step hung for a while",
	"a client left", "a client was turned away", "a request was preempted", "the system was drained", "all engines were lost",
}

// The same seed is the same run, event by event.
func TestASeedIsARun(t *testing.T) {
	for seed := range uint64(40) {
		a, b := simulate(t, seed+1, nil), simulate(t, seed+1, nil)
		if a.hash != b.hash || a.events != b.events {
			t.Errorf("seed %d: %d events (%x), and again %d (%x)", seed+1, a.events, a.hash, b.events, b.hash)
		}
	}
}

// report is what came of a run.
type report struct {
	faults []string
	seen   map[string]int // faults that were simulated, by kind
	events int
	hash   uint64 // of them
}

// Faults of the system's own are found, each within some seeds.
func TestSimulationFinds(t *testing.T) {
	// every has each n-th message of a kind handled otherwise.
	every := func(n int, kind string, handle func(h shell.Handler, c shell.Mail, m shell.Message)) *planted {
		count := 0
		return &planted{handler: func(_ string, h shell.Handler) shell.Handler {
			return &stoodIn{Handler: h, handle: func(c shell.Mail, m shell.Message) {
				if fmt.Sprintf("%T", m) == kind {
					if count++; count%n == 0 {
						handle(h, c, m)
						return
					}
				}
				h.Handle(c, m)
			}}
		}}
	}
	lose := func(shell.Handler, shell.Mail, shell.Message) {}
	twice := func(h shell.Handler, c shell.Mail, m shell.Message) {
		h.Handle(c, m)
		h.Handle(c, m)
	}
	for name, bad := range map[string]*planted{
		"a step's result is lost":        every(50, "*engine.stepDone", lose),
		"a step's result is taken twice": every(50, "*engine.stepDone", twice),
		"a lost device is not told of":   every(2, "*engine.deviceLost", lose),
		"a compiled grammar is lost":     every(2, "*engine.compiled", lose),
		"a request is handed over twice": every(20, "*front.prepared", twice),
		"a refused prompt is lost":       every(1, "*front.failed", lose),
		"tokens are lost":                every(50, "*front.news", lose),
		"a token is another":             {device: func(d *simulated) { d.meddle = func(r *batch.Result) { r.Tokens[0] += int32(r.Seq % 40 / 39) } }},
		"a log-probability is missing":   {device: func(d *simulated) { d.meddle = func(r *batch.Result) { r.Logprobs = r.Logprobs[:0] } }},
		"a cancelled request is not answered": {words: func(b *wire.Batch) []wire.Output {
			return slices.DeleteFunc(b.Outputs, func(o wire.Output) bool { return o.Reason == wire.Aborted })
		}},
		"a request is answered twice": {words: func(b *wire.Batch) []wire.Output {
			if last := len(b.Outputs) - 1; last >= 0 && b.Outputs[last].Ends() {
				return append(b.Outputs, b.Outputs[last])
			}
			return b.Outputs
		}},
		"a step's tokens change their rows": {device: func(d *simulated) { d.meddle = func(r *batch.Result) { slices.Reverse(r.Tokens) } }},
	} {
		found := uint64(0)
		for seed := uint64(1); found == 0 && seed <= 100; seed++ {
			if r := simulate(t, seed, bad); len(r.faults) > 0 {
				t.Logf("%s: with seed %d: %.300s", name, seed, r.faults[0])
				found = seed
			}
		}
		if found == 0 {
			t.Errorf("%s: not found", name)
		}
	}
}

// planted is a fault of the system's own, to see that it is found.
type planted struct {
	handler func(name string, h shell.Handler) shell.Handler
	device  func(d *simulated)
	words   func(b *wire.Batch) []wire.Output // what an engine says instead of a batch's
}

// stoodIn is a handler that a test does something in place of.
type stoodIn struct {
	shell.Handler
	handle func(c shell.Mail, m shell.Message)
}

func (d *stoodIn) Handle(c shell.Mail, m shell.Message) { d.handle(c, m) }

func (d *stoodIn) Stopped() {
	if h, ok := d.Handler.(interface{ Stopped() }); ok {
		h.Stopped()
	}
}

// setup is what a seed draws before it begins.
type setup struct {
	cfg     Config
	device  device.Spec
	rates   rates
	panics  float64
	stalls  float64
	clients int
	leaving float64
	slow    time.Duration
	drain   bool
	doubts  bool          // an engine may be believed to be lost
	opening time.Duration // what it takes to open a device again; 0: it is drawn
}

func draw(rnd *rand.Rand) (s setup) {
	often := func(p float64) bool { return rnd.Float64() < p }
	rate := func(p, most float64) float64 { // not every run has every fault
		if often(p) {
			return rnd.Float64() * most
		}
		return 0
	}
	s.cfg = Config{
		DP: []int{1, 1, 1, 2, 2, 3}[rnd.IntN(6)], NoOverlap: often(0.2), Tokenizers: 1 + rnd.IntN(3), Compilers: 1 + rnd.IntN(2),
		StepTimeout: time.Minute, MaxOpenRequests: 3 + rnd.IntN(30),
		Cache:    []plan.Cache{plan.Radix, plan.Radix, plan.Naive}[rnd.IntN(3)],
		Schedule: []plan.Schedule{plan.Mixed, plan.PrefillFirst}[rnd.IntN(2)],
		Policy:   []plan.Policy{plan.FCFS, plan.Priority, plan.LongestPrefix}[rnd.IntN(3)],
	}
	slots := 1 + rnd.IntN(9)
	s.device = device.Spec{Device: simDevice, Slots: slots, PageSize: 4 << rnd.IntN(3), MaxSeqLen: 160, MaxStepTokens: slots + 1 + rnd.IntN(60)}
	longest := (160 + s.device.PageSize - 1) / s.device.PageSize
	s.device.NumPages = longest + rnd.IntN([]int{1, longest, 2 * longest}[rnd.IntN(3)]) // few: some are preempted
	s.rates = rates{
		open: rate(0.2, 0.5), close: rate(0.2, 0.5), launch: rate(0.3, 0.05), mask: rate(0.2, 0.1), wait: rate(0.3, 0.05),
		hang: rate(0.3, 0.02), hangClose: rate(0.1, 0.3), slow: rate(0.2, 0.1),
	}
	s.panics, s.stalls = rate(0.4, 0.01), rate(0.2, 0.005)
	s.clients, s.leaving, s.slow = 4+rnd.IntN(16), rate(0.5, 0.6), time.Duration(rate(0.5, float64(time.Second)))
	s.drain, s.doubts = often(0.2), often(0.7)
	return s
}

// simulate runs a seed.
func simulate(t *testing.T, seed uint64, bad *planted) (r report) {
	t.Helper()
	set, err := simSet()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if left := recover(); left != nil { // synctest: goroutines are blocked for good
			r.faults = append(r.faults, fmt.Sprint(left))
		}
	}()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(100 * 365 * 24 * time.Hour) // batch.Now is 0 when the program began, and a bubble begins in 2000
		w := newWorld(seed)
		w.verbose = *simSeed != 0
		p := &play{world: w, stageSet: set, setup: draw(rand.New(rand.NewPCG(seed, 1))), bad: bad, rnd: rand.New(rand.NewPCG(seed, 2))}
		p.run()
		r = report{w.faults, w.seen, w.events, w.log.Sum64()}
	})
	return r
}

// quietSystem says nothing of messages to actors that have stopped.
func quietSystem() *actor.ActorSystem {
	return actor.NewActorSystem(actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return slog.New(slog.DiscardHandler) }))
}

// play is one run.
type play struct {
	*world
	*stageSet
	setup
	bad *planted
	rnd *rand.Rand

	system   *System
	handlers []shell.Handler
	names    []string
	panicked int
	draining bool
	opened   int
	clients  []*simClient
	logged   bytes.Buffer

	witnesses []*witness
	usable    int // engines that are not lost, nor believed to be
}

func (p *play) run() {
	cfg := p.cfg
	cfg.Log = zerolog.New(&p.logged)
	cfg.fill()
	cfg.between = p.stand
	var ready atomic.Bool
	cfg.simulation = &shell.Simulation{System: quietSystem(), Mailbox: p.mailbox, Handler: func(name string, h shell.Handler) shell.Handler {
		p.handlers, p.names = append(p.handlers, h), append(p.names, name)
		if p.bad != nil && p.bad.handler != nil {
			h = p.bad.handler(name, h)
		}
		return &panics{world: p.world, name: name, h: h, rnd: rand.New(rand.NewPCG(p.seed, uint64(len(p.names)+100))), rate: p.setup.panics, n: &p.panicked}
	}}
	var err error
	p.system, err = start(cfg, p.model, p.codec, func() (device.Device, error) { return p.open(ready.Load()) })
	if err != nil {
		p.fault("start: %v", err)
		return
	}
	ready.Store(true)
	p.world.stalls = p.setup.stalls
	p.send()
	for _, w := range p.witnesses {
		p.after(time.Duration(w.rnd.IntN(int(100*time.Millisecond))), w.doubt)
	}
	ended := p.world.run(time.Hour, func() bool {
		for _, c := range p.clients {
			if !c.ended {
				return false
			}
		}
		return true
	})
	if p.dead() {
		p.went("all engines were lost")
	}
	dead := p.dead() || p.usable == 0
	if p.system.Stats().Preempted > 0 {
		p.went("a request was preempted")
	}
	if st := p.system.Stats(); st.Accepted > 0 && st.Accepted < st.Drafted {
		p.went("drafts were accepted, and others rejected")
	}
	for _, c := range p.clients {
		if !c.ended {
			p.fault("request %d, a %s, has not ended: got %+v", c.id, describe(&c.of.req), c.got)
		} else if c.st != nil {
			c.whole(dead, p.draining)
		}
	}
	p.end(ended)
}

func describe(r *Request) string {
	return fmt.Sprintf("%d tokens, text %q, chat %v, grammar %v, stop %q", len(r.Tokens), r.Text, r.Chat != nil, r.Grammar != nil, r.Stop)
}

// dead reports whether there is no engine any more.
func (p *play) dead() bool {
	select {
	case <-p.system.Failed():
		return true
	default:
		return false
	}
}

// open opens a device: the first one of every engine works.
func (p *play) open(again bool) (device.Device, error) {
	p.opened++
	d := &simulated{world: p.world, rates: &p.rates, rnd: rand.New(rand.NewPCG(p.seed, uint64(1000+p.opened)))}
	d.given = sync.NewCond(&d.mu)
	if p.bad != nil && p.bad.device != nil {
		p.bad.device(d)
	}
	if again {
		time.Sleep(cmp.Or(p.opening, time.Duration(d.rnd.IntN(int(3*time.Second)))))
		if err := d.goesWrong(p.rates.open, "opening"); err != nil {
			return nil, err
		}
	}
	spec := p.device
	spec.Model = p.model
	var err error
	if d.engine, err = sim.New(spec); err != nil {
		return nil, err
	}
	return d, nil
}

// send has clients come.
func (p *play) send() {
	at := time.Duration(0)
	for i := range p.setup.clients {
		c := &simClient{world: p.world, id: i, of: &p.all[p.rnd.IntN(len(p.all))], leaves: -1}
		if p.slow > 0 {
			c.slow = time.Duration(p.rnd.Int64N(int64(p.slow)))
		}
		if p.rnd.Float64() < p.leaving {
			if p.rnd.IntN(2) == 0 {
				c.leaves = p.rnd.IntN(20)
			} else {
				soon := []time.Duration{50 * time.Microsecond, 20 * time.Millisecond}[p.rnd.IntN(2)] // before it is tokenized, or later
				c.vanish = 1 + time.Duration(p.rnd.Int64N(int64(soon)))
			}
		}
		p.clients = append(p.clients, c)
		at += time.Duration(p.rnd.IntN(int(4 * time.Millisecond)))
		p.after(at, func() {
			c.ask(p.system, func(err error) bool {
				return errors.Is(err, ErrFailed) && p.dead() || errors.Is(err, ErrDraining) && p.draining
			})
		})
	}
	if p.setup.drain {
		patience := time.Duration(p.rnd.IntN(int(50 * time.Millisecond)))
		p.after(time.Duration(p.rnd.IntN(int(at))), func() {
			p.went("the system was drained")
			p.draining = true
			go func() {
				ctx, cancel := context.WithTimeout(context.Background(), patience)
				defer cancel()
				_ = p.system.Drain(ctx)
			}()
		})
	}
}

// end closes the system and sees what is left.
func (p *play) end(ended bool) {
	p.world.run(2*time.Minute, func() bool { return false }) // what is under way, or hangs
	if st := p.system.Stats(); ended && st.OpenRequests != 0 {
		p.fault("%d requests are open", st.OpenRequests)
	}
	for _, w := range p.witnesses {
		if err := w.Audit(); err != nil && ended {
			p.fault("%v", err)
		}
	}
	for i, h := range p.handlers {
		if a, is := h.(interface{ Audit() error }); is && ended {
			if err := a.Audit(); err != nil {
				p.fault("%s: %v", p.names[i], err)
			}
		}
	}
	p.world.stalls, p.rates = 0, rates{}
	var closed atomic.Bool
	go func() {
		if err := p.system.Close(); err != nil {
			p.fault("Close: %v", err)
		}
		closed.Store(true)
		p.signal()
	}()
	p.world.run(time.Hour, closed.Load)
	close(p.ends)
	if !closed.Load() {
		p.world.run(time.Hour, closed.Load)
		p.fault("Close did not return")
	}
	p.world.run(10*time.Second, func() bool { return false })
	for _, h := range p.handlers { // of devices that hang
		if h, ok := h.(interface{ Stopped() }); ok {
			h.Stopped()
		}
	}
	time.Sleep(time.Minute) // the actor library's timers
	for line := range strings.Lines(p.logged.String()) {
		if strings.Contains(line, "panic") && !strings.Contains(line, "simulated") {
			p.fault("the log says %s", line)
		}
	}
}

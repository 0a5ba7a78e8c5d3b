package actors

import (
	"encoding/binary"
	"fmt"
	"hash"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/troupe-llm/troupe/actors/internal/shell"
)

// world is where a simulation happens: which actor handles its next message, and when, is drawn from a
// seed, and time is a bubble's (testing/synctest), in which nothing else happens. What one actor does is
// done before another goes on, so a seed is a run: the same events at the same times.
//
// What blocks an actor in the program blocks it here as it is; a step that a device takes is a sleep.
//
// Owns: the order of things. Mailboxes are filled by whoever is doing something, by devices that are
// done, and by timers: never two at a time, as no two of those are done at the same moment.
type world struct {
	seed   uint64
	rnd    *rand.Rand // the order's; devices and clients have their own
	began  time.Time
	stalls float64       // how often everything but devices and timers stands still for a while
	ends   chan struct{} // closed at the end: what hangs may go on

	mu      sync.Mutex
	boxes   []*mailbox    // in the order in which their actors were run
	acts    []act         // what others want to do now, by their numbers
	acted   int           // how many there have been
	wake    chan struct{} // there is something to be done
	log     hash.Hash64   // of all that happened
	events  int
	seen    map[string]int // of each kind of fault, how often
	verbose bool
	faults  []string // what should not have happened
}

func newWorld(seed uint64) *world {
	return &world{
		seed: seed, rnd: rand.New(rand.NewPCG(seed, 0)), began: time.Now(), ends: make(chan struct{}), wake: make(chan struct{}, 1), log: fnv.New64a(), seen: map[string]int{},
	}
}

// fault notes what is wrong.
func (w *world) fault(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.faults = append(w.faults, fmt.Sprintf("%v: ", time.Since(w.began))+fmt.Sprintf(format, args...))
}

// happened writes the log.
func (w *world) happened(who, what string, id uint64) {
	w.mu.Lock()
	w.events++
	_, _ = w.log.Write([]byte(who + what))
	var b [16]byte
	binary.LittleEndian.PutUint64(b[:], uint64(time.Since(w.began)))
	binary.LittleEndian.PutUint64(b[8:], id)
	_, _ = w.log.Write(b[:])
	w.mu.Unlock()
	w.note(who, what, id)
}

// went counts a kind of fault.
func (w *world) went(wrong string) {
	w.mu.Lock()
	w.seen[wrong]++
	w.mu.Unlock()
	w.note(wrong, "", 0)
}

// note tells who looks at a run what follows from what happened.
func (w *world) note(who, what string, id uint64) {
	if w.verbose {
		w.mu.Lock()
		fmt.Printf("%12v %s %s %d\n", time.Since(w.began), who, what, id)
		w.mu.Unlock()
	}
}

type act struct {
	number int
	do     func()
}

// after has something done later; it may be called by anyone.
func (w *world) after(d time.Duration, do func()) {
	w.mu.Lock()
	w.acted++
	a := act{w.acted, do}
	w.mu.Unlock()
	time.AfterFunc(d, func() {
		w.mu.Lock()
		at, _ := slices.BinarySearchFunc(w.acts, a, func(x, y act) int { return x.number - y.number })
		w.acts = slices.Insert(w.acts, at, a)
		w.mu.Unlock()
		w.signal()
	})
}

func (w *world) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// run has everything done until done says so, or until nothing has been done for so long.
func (w *world) run(patience time.Duration, done func() bool) bool {
	for !done() {
		if w.next() {
			continue
		}
		select {
		case <-w.wake:
		case <-time.After(patience):
			return done()
		}
	}
	return true
}

// next does one thing, if there is any to be done.
func (w *world) next() bool {
	synctest.Wait()
	var ready []*mailbox
	weight := 0
	w.mu.Lock()
	for _, m := range w.boxes {
		if !m.busy && (len(m.system) > 0 || len(m.user) > 0 && !m.suspended) {
			ready = append(ready, m)
			weight += m.weight
		}
	}
	acts := w.acts
	if len(ready)+len(acts) == 0 {
		w.mu.Unlock()
		return false
	}
	draw := w.rnd.IntN(weight + 20*len(acts))
	if draw >= weight {
		i := (draw - weight) / 20
		do := acts[i].do
		w.acts = slices.Delete(acts, i, i+1)
		w.mu.Unlock()
		do()
	} else {
		w.mu.Unlock()
		for _, m := range ready {
			if draw -= m.weight; draw < 0 {
				m.handOver()
				break
			}
		}
	}
	// What is done takes time: so no two timers go off at the same moment.
	took := time.Duration(1 + w.rnd.IntN(20_000))
	if w.rnd.Float64() < w.stalls {
		took += time.Duration(w.rnd.Int64N(int64(time.Minute)))
		w.went("everything stood still")
	}
	time.Sleep(took)
	return true
}

// mailbox hands its actor one message at a time, when the world says.
type mailbox struct {
	*world
	name    string
	weight  int // how often it is its turn, beside others
	invoker actor.MessageInvoker

	// Guarded by mu.
	system, user []any
	busy         bool // a message is being handled
	suspended    bool
}

// mailbox makes one.
func (w *world) mailbox(name string) actor.Mailbox {
	w.mu.Lock()
	defer w.mu.Unlock()
	m := &mailbox{world: w, name: name, weight: 1 + w.rnd.IntN(40)}
	w.boxes = append(w.boxes, m)
	return m
}

func (m *mailbox) PostUserMessage(message any)   { m.post(&m.user, message) }
func (m *mailbox) PostSystemMessage(message any) { m.post(&m.system, message) }

func (m *mailbox) post(to *[]any, message any) {
	m.mu.Lock()
	*to = append(*to, message)
	m.mu.Unlock()
	m.signal()
}

func (m *mailbox) RegisterHandlers(invoker actor.MessageInvoker, _ actor.Dispatcher) {
	m.invoker = invoker
}
func (m *mailbox) Start() {}

func (m *mailbox) UserMessageCount() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.user)
}

// handOver has the next message handled, until that is done or waits for something.
func (m *mailbox) handOver() {
	m.mu.Lock()
	m.busy = true
	from, invoke := &m.user, m.invoker.InvokeUserMessage
	if len(m.system) > 0 {
		from, invoke = &m.system, m.invoker.InvokeSystemMessage
	}
	message := (*from)[0]
	*from = (*from)[1:]
	switch message.(type) {
	case *actor.SuspendMailbox:
		m.suspended, invoke = true, nil
	case *actor.ResumeMailbox:
		m.suspended, invoke = false, nil
	}
	m.mu.Unlock()
	m.happened(m.name, fmt.Sprintf("%T", message), 0)
	go func() {
		defer func() {
			m.mu.Lock()
			m.busy = false
			m.mu.Unlock()
			m.signal()
			if r := recover(); r != nil {
				m.fault("%s: a panic escaped: %v", m.name, r)
			}
		}()
		if invoke != nil {
			invoke(message)
		}
	}()
	synctest.Wait()
}

// panics stands before an actor's handler, and has it panic now and then: before it does anything, or
// when it sends something.
type panics struct {
	*world
	name string
	h    shell.Handler
	rnd  *rand.Rand
	rate float64
	n    *int // of them so far
}

func (p *panics) Handle(c shell.Mail, m shell.Message) {
	rate := p.rate
	if kind := actorKind(p.name); kind == "tokenizer" || kind == "compiler" || kind == "grammars" { // which have little to do
		rate *= 10
	}
	if p.rnd.Float64() < rate {
		*p.n++
		if p.rnd.IntN(2) == 0 || actorKind(p.name) == "tokenizer" {
			c.Out = &panicsAt{p}
		} else {
			p.went(actorKind(p.name) + " panicked")
			panic(fmt.Sprintf("simulated, number %d", *p.n))
		}
	}
	p.h.Handle(c, m)
}

func (p *panics) Panicked(c shell.Mail, m shell.Message, err error) { p.h.Panicked(c, m, err) }

func (p *panics) Stopped() {
	if h, ok := p.h.(interface{ Stopped() }); ok {
		h.Stopped()
	}
}

// actorKind is an actor's name without its number.
func actorKind(name string) string {
	kind, _, _ := strings.Cut(name, "-")
	return kind
}

// panicsAt panics in place of sending.
type panicsAt struct{ *panics }

func (p *panicsAt) Send(*actor.PID, any) {
	p.went(actorKind(p.name) + " panicked")
	panic(fmt.Sprintf("simulated, number %d", *p.n))
}

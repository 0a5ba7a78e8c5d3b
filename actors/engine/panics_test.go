package engine

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/rs/zerolog"

	"github.com/troupe-llm/troupe/actors/internal/shell"
	"github.com/troupe-llm/troupe/actors/internal/toy"
	"github.com/troupe-llm/troupe/actors/plan"
	"github.com/troupe-llm/troupe/actors/wire"
	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/tokenize/grammar"
)

// alone is a scheduler for a toy, which a test hands messages, and what it delivers.
func alone(t *testing.T) (s *scheduler, got *[]wire.Output) {
	t.Helper()
	got = new([]wire.Output)
	s, err := newScheduler(&Config{Model: toy.Model(), Cache: plan.Naive, Log: zerolog.Nop(), Deliver: func(b *wire.Batch) {
		*got = append(*got, b.Outputs...)
	}}, toy.New().Sizes)
	if err != nil {
		t.Fatal(err)
	}
	s.publish = func(plan.Stats, DeviceTime, State) {}
	return s, got
}

// A device that hangs is lost for good, be it that it failed before in another way and another device
// is being asked for: whoever is to close it never comes back.
func TestHangAfterALoss(t *testing.T) {
	s, got := alone(t)
	c := shell.Mail{Out: &posted{}}
	s.Handle(c, &generate{req: &wire.Request{Ref: wire.Ref{Slot: 1}, Prompt: []int32{1, 2}}})
	s.Handle(c, &deviceLost{epoch: 0, err: errors.New("a step failed")})
	if s.state != Mending || len(*got) != 1 {
		t.Fatalf("state %v, said %+v", s.state, *got)
	}
	s.Handle(c, &deviceLost{epoch: 0, err: errors.New("launching hangs"), hung: true})
	if s.state != Lost || len(*got) != 2 || (*got)[1].Fault == nil || (*got)[1].Fault.Kind != wire.Lost {
		t.Errorf("state %v, said %+v", s.state, *got)
	}
}

// A request that was being entered when the scheduler panicked ends as all others do.
func TestPanicOfTheScheduler(t *testing.T) {
	s, got := alone(t)
	m := &generate{req: &wire.Request{Ref: wire.Ref{Slot: 1}, Prompt: []int32{1}}}
	s.Panicked(shell.Mail{}, m, errors.New("a panic"))
	if len(*got) != 1 || (*got)[0].Reason != wire.Failed || (*got)[0].Slot != 1 {
		t.Errorf("said %+v", *got)
	}
	s.Panicked(shell.Mail{}, m, errors.New("another")) // had it been handled, it would have ended already
	if len(s.jobs) != 0 {
		t.Errorf("%d jobs are left", len(s.jobs))
	}
}

// A panic with a compiled grammar fails those that wait for it, and the compiler goes on with the next.
func TestPanicWithACompiledGrammar(t *testing.T) {
	p := &post{}
	c := shell.Mail{Out: p}
	g := newGrammars(nil, &actor.PID{Id: "scheduler"})
	waits := func(id uint64, key string) *compilation {
		of := &compilation{key: key, spec: grammar.Literal(key).At(key), reqs: []*wire.Request{{ID: id, Ref: wire.Ref{Slot: uint32(id)}}}}
		of.ctx, of.cancel = context.WithCancel(t.Context())
		g.wanted[key], g.of[of.reqs[0].Ref] = of, of
		return of
	}
	first, second := waits(1, "a"), waits(2, "b")
	g.turns.Push("", second)
	m := &compiled{of: first, by: &actor.PID{Id: "compiler"}}
	g.Panicked(c, m, errors.New("a panic"))
	if !second.began || g.wanted["a"] != nil || len(g.of) != 1 || len(p.sent) != 2 || p.sent[0] != "scheduler: prepared 1" {
		t.Errorf("sent %q; %d wait, the next has begun: %v", p.sent, len(g.of), second.began)
	}
}

// breaks is a device that panics when it is closed.
type breaks struct{ device.Device }

func (breaks) Close() error { panic("cannot be closed") }

// A device that panics when it is closed is replaced all the same; and after a panic of its own the
// executor launches nothing more until there is another device.
func TestPanicsOfTheExecutor(t *testing.T) {
	got := &posted{}
	c := shell.Mail{Out: got}
	e := &executor{open: toy.Opener(toy.New()), log: zerolog.Nop(), waiterMail: c, watchdog: newWatchdog(&Config{}, &device.Info{}, new(atomic.Bool))}
	e.adopt(breaks{toy.New()}, c)
	e.Panicked(c, &runStep{flight: &flight{}}, errors.New("a panic"))
	if m, is := got.last.(*deviceLost); !is || m.epoch != 0 {
		t.Fatalf("sent %+v", got.last)
	}
	got.last = nil
	e.Handle(c, &runStep{flight: &flight{}}) // would be refused by a toy, and be told of
	if got.last != nil {
		t.Errorf("sent %+v", got.last)
	}
	e.Handle(c, &reopen{epoch: 1})
	if m, is := got.last.(*deviceOpened); !is || m.epoch != 1 {
		t.Errorf("sent %+v", got.last)
	}
	e.Panicked(c, &reopen{epoch: 2}, errors.New("a panic")) // before it was handled
	if m, is := got.last.(*deviceLost); !is || m.epoch != 2 {
		t.Errorf("sent %+v", got.last)
	}
	e.Stopped()
}

// unmasked is a device whose steps end when they have masks, and which panics before it takes the first.
type unmasked struct {
	device.Device
	asked int
	given chan struct{}
}

func (d *unmasked) Mask(*batch.Masks) error {
	if d.asked++; d.asked == 1 {
		panic("no masks")
	}
	close(d.given)
	return nil
}

func (d *unmasked) Wait(*batch.Result) error {
	<-d.given
	return errors.New("nobody looks")
}

// A device that is closed while a step waits for masks gets them, and again if it panicked: else the step is
// waited for for good.
func TestPanicWithTheLastMasks(t *testing.T) {
	c := shell.Mail{Out: &posted{}}
	d := &unmasked{Device: toy.New(), given: make(chan struct{})}
	e := &executor{log: zerolog.Nop(), waiterMail: c, watchdog: newWatchdog(&Config{}, &device.Info{}, new(atomic.Bool))}
	e.adopt(d, c)
	e.unmasked = &batch.Step{}
	e.pending <- &flight{step: e.unmasked}
	e.Stopped()
	if d.asked != 2 || e.dev != nil || e.unmasked != nil {
		t.Errorf("masks were handed over %d times, the device is %v, and a step without masks %v", d.asked, e.dev, e.unmasked)
	}
}

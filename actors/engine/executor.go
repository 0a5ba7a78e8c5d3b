package engine

import (
	"fmt"
	"runtime"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/rs/zerolog"

	"github.com/troupe-llm/troupe/actors/internal/shell"
	"github.com/troupe-llm/troupe/actors/trace"
	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/device"
)

// executor drives one device, whose calls all come from its locked OS thread
// but for Wait, which a goroutine of its own (the waiter) is parked in: so the
// next step is launched while the last one is waited for.
//
// Owns:   the device, its thread, and the waiter.
// In:     *runStep, at most device.MaxOutstanding outstanding; *maskStep; *reopen.
// Out:    *stepDone, one a step in order; *deviceLost; *deviceOpened.
// Blocks: while launching and while (re)opening; never for a result.
// Fails:  any error of the device condemns it: it is closed when the scheduler
// asks for a new one, and steps made for it are dropped. One that hangs is never
// closed: see watchdog.go.
type executor struct {
	open      func() (device.Device, error)
	scheduler *actor.PID
	log       zerolog.Logger
	trace     trace.Recorder
	watchdog  watchdog
	// waiterMail outlives the handling of a message, as an actor's own does not.
	waiterMail shell.Mail

	dev   device.Device // nil: lost
	bad   bool          // it failed, or nobody knows what it was told: it is only to be closed
	epoch int
	// unmasked is the launched step whose masks have yet to come; nil: none.
	unmasked *batch.Step
	// pending carries launched steps to the waiter, which closes gone when it
	// has seen pending closed.
	pending chan *flight
	gone    chan struct{}
}

// Handle does what a message asks.
func (e *executor) Handle(c shell.Mail, m shell.Message) {
	switch m := m.(type) {
	case *runStep:
		if m.epoch != e.epoch || e.dev == nil || e.bad {
			return // made for a device that is gone; the scheduler knows
		}
		began := e.trace.Now()
		if err := e.launch(m.step); err != nil {
			c.Send(e.scheduler, &deviceLost{epoch: e.epoch, err: fmt.Errorf("launching %s: %w", described(m.step), err)})
			e.bad = true
			return
		}
		e.trace.Record(trace.SpanLaunch, trace.TrackExecutor, m.step.Seq, began, m.step.NumTokens)
		if m.step.Late() > 0 {
			e.unmasked = m.step
		}
		e.pending <- m.flight
	case *maskStep:
		if m.epoch != e.epoch || e.dev == nil || e.bad {
			return
		}
		if err := e.mask(m.masks); err != nil {
			c.Send(e.scheduler, &deviceLost{epoch: e.epoch, err: fmt.Errorf("the masks of step %d: %w", m.masks.Seq, err)})
			e.bad = true
		}
	case *reopen:
		e.epoch = m.epoch // first: what goes wrong is this one's
		returned := e.watchClosing(e.epoch)
		e.close()
		returned()
		if e.watchdog.hung.Load() { // it took so long that nobody waits for another
			return
		}
		dev, err := e.open()
		if err != nil {
			c.Send(e.scheduler, &deviceLost{epoch: e.epoch, err: fmt.Errorf("opening the device: %w", err)})
			return
		}
		e.adopt(dev, e.waiterMail)
		c.Send(e.scheduler, &deviceOpened{epoch: e.epoch, info: dev.Info()})
	}
}

// Panicked is a panic outside of the device's own calls: the device's state is
// unknown, so it is lost.
func (e *executor) Panicked(c shell.Mail, m shell.Message, err error) {
	e.bad = true
	if m, ok := m.(*reopen); ok {
		e.epoch = m.epoch
	}
	c.Send(e.scheduler, &deviceLost{epoch: e.epoch, err: err})
}

// Stopped closes the device when the engine is closed.
func (e *executor) Stopped() { e.close() }

// adopt takes over an opened device and starts its waiter.
func (e *executor) adopt(dev device.Device, out shell.Mail) {
	e.dev, e.bad = dev, false
	e.pending = make(chan *flight, device.MaxOutstanding)
	e.gone = make(chan struct{})
	go e.wait(dev, e.epoch, e.pending, e.gone, out)
}

// launch is dev.Launch, with a panic taken for an error.
func (e *executor) launch(s *batch.Step) (err error) {
	defer e.watch(s, e.epoch, "launching")()
	defer shell.Recovered(&err)
	return e.dev.Launch(s)
}

// mask is dev.Mask, with a panic taken for an error.
func (e *executor) mask(m *batch.Masks) (err error) {
	defer shell.Recovered(&err)
	if err = e.dev.Mask(m); err == nil {
		e.unmasked = nil
	}
	return err
}

// wait is the waiter: it turns the device's results into messages until the
// device fails or is closed.
func (e *executor) wait(dev device.Device, epoch int, pending <-chan *flight, gone chan<- struct{}, out shell.Mail) {
	defer close(gone)
	runtime.LockOSThread() // never unlocked: the thread ends with the waiter
	for f := range pending {
		returned := e.watch(f.step, epoch, "waiting for")
		err := waitFor(dev, &f.result)
		returned()
		if err != nil {
			out.Send(e.scheduler, &deviceLost{epoch: epoch, err: fmt.Errorf("waiting for %s: %w", described(f.step), err)})
			for range pending { // until close: nothing more will come back
			}
			return
		}
		e.trace.Step(f.step, &f.result)
		out.Send(e.scheduler, &stepDone{flight: f})
	}
}

func waitFor(dev device.Device, r *batch.Result) (err error) {
	defer shell.Recovered(&err)
	r.Reset()
	return dev.Wait(r)
}

// close ends the waiter, then the device.
func (e *executor) close() {
	if e.dev == nil {
		return
	}
	for range 2 { // a panic may have come before the device had them
		if s := e.unmasked; s != nil {
			// The waiter may wait for this step. Nobody will look at what it draws,
			// and an error has been told or is of no more interest.
			_ = e.mask(&batch.Masks{Seq: s.Seq, Allow: make([][]uint32, s.Late())})
		}
	}
	e.unmasked = nil
	close(e.pending)
	<-e.gone
	if err := closed(e.dev); err != nil {
		e.log.Warn().Err(err).Msg("closing the device")
	}
	e.dev = nil
}

func closed(dev device.Device) (err error) {
	defer shell.Recovered(&err)
	return dev.Close()
}

// thread is a dispatcher that runs one actor on one locked OS thread, as a GPU
// context wants it. In a simulation it is none, and its work is nil.
type thread struct{ work chan func() }

func newThread(simulated bool) *thread {
	if simulated {
		return &thread{}
	}
	// A mailbox schedules itself only when it was idle, so at most one function
	// is queued while one is ending.
	t := &thread{make(chan func(), 2)}
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		for fn := range t.work {
			fn()
		}
	}()
	return t
}

func (t *thread) Schedule(fn func()) { t.work <- fn }
func (t *thread) Throughput() int    { return 1 << 30 }

// do runs fn on the thread and waits for it.
func (t *thread) do(fn func()) {
	if t.work == nil {
		fn()
		return
	}
	done := make(chan struct{})
	t.work <- func() { defer close(done); fn() }
	<-done
}

// end ends the thread, when what was scheduled is done.
func (t *thread) end() {
	if t.work != nil {
		close(t.work)
	}
}

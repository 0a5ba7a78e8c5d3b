package actors

import (
	"fmt"
	"runtime"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/rs/zerolog"

	"github.com/troupe-llm/troupe/gpu/device"
)

// executor drives one device, whose calls all come from its locked OS thread
// but for Wait, which a goroutine of its own (the waiter) is parked in: so the
// next step is launched while the last one is waited for.
//
// Owns:   the device, its thread, and the waiter.
// In:     *runStep, at most device.MaxOutstanding outstanding; *reopen.
// Out:    *stepDone, one a step in order; *deviceLost; *deviceOpened.
// Blocks: while launching and while (re)opening; never for a result.
// Fails:  any error of the device condemns it: it is closed when the scheduler
// asks for a new one, and steps made for it are dropped.
type executor struct {
	open      func() (device.Device, error)
	scheduler *actor.PID
	log       zerolog.Logger

	dev   device.Device // nil: lost
	epoch int
	// pending carries launched steps to the waiter, which closes gone when it
	// has seen pending closed.
	pending chan *runStep
	gone    chan struct{}
}

func (e *executor) Receive(c actor.Context) {
	switch m := c.Message().(type) {
	case *runStep:
		if m.epoch != e.epoch || e.dev == nil {
			return // made for a device that is gone; the scheduler knows
		}
		if err := e.launch(m); err != nil {
			c.Send(e.scheduler, &deviceLost{e.epoch, fmt.Errorf("launching step %d: %w", m.step.Seq, err)})
			e.close()
			return
		}
		e.pending <- m
	case *reopen:
		e.close()
		e.epoch = m.epoch
		dev, err := e.open()
		if err != nil {
			c.Send(e.scheduler, &deviceLost{e.epoch, fmt.Errorf("opening the device: %w", err)})
			return
		}
		e.adopt(dev, c.ActorSystem().Root)
		c.Send(e.scheduler, &deviceOpened{e.epoch, dev.Info()})
	case *actor.Stopped:
		e.close()
	}
}

// adopt takes over an opened device and starts its waiter.
func (e *executor) adopt(dev device.Device, out *actor.RootContext) {
	e.dev = dev
	e.pending = make(chan *runStep, device.MaxOutstanding)
	e.gone = make(chan struct{})
	go e.wait(dev, e.epoch, e.pending, e.gone, out)
}

// launch is dev.Launch, with a panic taken for an error.
func (e *executor) launch(m *runStep) (err error) {
	defer recovered(&err)
	return e.dev.Launch(m.step)
}

// wait is the waiter: it turns the device's results into messages until the
// device fails or is closed.
func (e *executor) wait(dev device.Device, epoch int, pending <-chan *runStep, gone chan<- struct{}, out *actor.RootContext) {
	defer close(gone)
	runtime.LockOSThread() // never unlocked: the thread ends with the waiter
	for m := range pending {
		if err := waitFor(dev, m); err != nil {
			out.Send(e.scheduler, &deviceLost{epoch, fmt.Errorf("waiting for step %d: %w", m.step.Seq, err)})
			for range pending { // drained until close; nothing more will come back
			}
			return
		}
		out.Send(e.scheduler, &stepDone{m})
	}
}

func waitFor(dev device.Device, m *runStep) (err error) {
	defer recovered(&err)
	m.result.Reset()
	return dev.Wait(m.result)
}

// close ends the waiter, then the device.
func (e *executor) close() {
	if e.dev == nil {
		return
	}
	close(e.pending)
	<-e.gone
	if err := e.dev.Close(); err != nil {
		e.log.Warn().Err(err).Msg("closing the device")
	}
	e.dev = nil
}

// recovered makes a panic the function's error.
func recovered(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("panic: %v\n%s", r, stack())
	}
}

// thread is a dispatcher that runs one actor on one locked OS thread, as a GPU
// context wants it.
type thread struct{ work chan func() }

func newThread() *thread {
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
	done := make(chan struct{})
	t.work <- func() { defer close(done); fn() }
	<-done
}

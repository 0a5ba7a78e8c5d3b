package cpu

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync/atomic"

	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/device"
)

// Device is the processor as a device.Device.
type Device struct {
	info device.Info

	// Owned by the caller of Launch.
	checker *device.Checker
	closed  bool
	// masks takes those of step seq, launched last, for late rows; nil: it has
	// none, or was given them.
	masks chan<- handover
	late  int
	seq   uint64

	// Owned by the goroutine of serve.
	engine *engine
	failed error // of a step: none is computed any more

	steps chan launched // not yet computed
	done  chan outcome  // computed, not yet waited for
	// outstanding counts steps launched and not waited for.
	// Invariant: 0 ≤ outstanding ≤ device.MaxOutstanding.
	outstanding atomic.Int32
	stopped     chan struct{} // closed when serve has ended
}

// launched is a step and where its masks come from.
type launched struct {
	step  *batch.Step
	masks <-chan handover // nil: it has no late rows
}

// handover is what Mask was given, or found wrong with it.
type handover struct {
	allow [][]uint32
	err   error
}

// outcome is a computed step. Its result is the device's memory: there are as
// many as steps may be outstanding, used in turn.
type outcome struct {
	result *batch.Result
	err    error
}

var _ device.Device = (*Device)(nil)

// Open loads the model and returns a device that is ready for steps. The
// model's weights are copied: it may be closed afterwards.
func Open(spec device.Spec) (*Device, error) {
	return open(spec, choose(), max(1, cores()/beside(&spec)))
}

// beside is how many devices are on this processor, this one among them.
func beside(spec *device.Spec) int {
	n := max(1, spec.DP)
	if spec.Rank != nil { // all of them are here
		n *= spec.Rank.Ranks
	}
	return n
}

func open(spec device.Spec, k *kernels, cores int) (*Device, error) {
	if spec.Model == nil {
		return nil, errors.New("cpu: no model to open")
	}
	p := newPool(cores)
	e, info, err := newEngine(spec, k, p)
	if err != nil {
		p.close()
		return nil, err
	}
	d := &Device{
		info:    info,
		checker: device.NewChecker(info),
		engine:  e,
		steps:   make(chan launched, device.MaxOutstanding),
		done:    make(chan outcome, device.MaxOutstanding),
		stopped: make(chan struct{}),
	}
	go d.serve()
	return d, nil
}

// Info implements device.Device.
func (d *Device) Info() device.Info { return d.info }

// Launch implements device.Device. A step that breaks the rules is refused
// whole, with an error that names the row and what would have been right.
func (d *Device) Launch(s *batch.Step) error {
	if d.closed {
		return errors.New("cpu: the device is closed")
	}
	if n := d.outstanding.Load(); n >= device.MaxOutstanding {
		return fmt.Errorf("cpu: step %d launched while %d are outstanding, the most allowed", s.Seq, n)
	}
	if d.masks != nil {
		return fmt.Errorf("cpu: step %d launched before step %d was given its masks", s.Seq, d.seq)
	}
	if err := d.checker.Admit(s); err != nil {
		return fmt.Errorf("cpu: step %d: %w", s.Seq, err)
	}
	d.late, d.seq = s.Late(), s.Seq
	d.outstanding.Add(1)
	l := launched{step: s}
	if d.late > 0 {
		masks := make(chan handover, 1)
		d.masks, l.masks = masks, masks
	}
	d.steps <- l
	return nil
}

// Mask implements device.Device.
func (d *Device) Mask(m *batch.Masks) error {
	err := m.Check(d.seq, d.late, d.info.Vocab)
	if err != nil {
		err = fmt.Errorf("cpu: %w", err)
	}
	if d.masks != nil {
		d.masks <- handover{m.Allow, err}
		d.masks, d.late = nil, 0
	}
	return err
}

// Wait implements device.Device.
func (d *Device) Wait(r *batch.Result) error {
	if d.outstanding.Load() == 0 {
		return errors.New("cpu: nothing to wait for: no step is outstanding")
	}
	o := <-d.done
	r.Copy(o.result)
	d.outstanding.Add(-1)
	return o.err
}

// Close implements device.Device.
func (d *Device) Close() error {
	if d.closed {
		return nil
	}
	d.closed = true
	close(d.steps)
	if d.masks != nil {
		close(d.masks)
	}
	<-d.stopped
	return d.engine.free()
}

// serve computes launched steps in order until Close.
func (d *Device) serve() {
	runtime.LockOSThread() // as the pool's workers; never unlocked
	defer close(d.stopped)
	var results [device.MaxOutstanding]batch.Result
	for i := 0; ; i++ {
		l, open := <-d.steps
		if !open {
			return
		}
		r := &results[i%len(results)]
		err := d.compute(l, r)
		if d.failed == nil {
			d.failed = err
		}
		d.done <- outcome{r, err}
		// The next step is launched already and takes all cores: whoever waits
		// for this one would get none for milliseconds. Letting them go first
		// brings a token of Qwen3-0.6B on 2 cores out 5.5 ms earlier (the waiter
		// is awake after 0.15 ms, not 5.7) and leaves the device idle for 0.2%.
		runtime.Gosched()
	}
}

// compute turns a panic into an error: it condemns the device, not the
// process.
func (d *Device) compute(l launched, r *batch.Result) (err error) {
	s := l.step
	if d.failed != nil {
		return fmt.Errorf("cpu: step %d: the device failed before: %w", s.Seq, d.failed)
	}
	defer func() {
		switch p := recover().(type) {
		case nil:
		case lost:
			err = fmt.Errorf("cpu: step %d: %w", s.Seq, p.error)
		default:
			err = fmt.Errorf("cpu: step %d: %v\n%s", s.Seq, p, debug.Stack())
		}
	}()
	r.Reset()
	r.Seq, r.Began = s.Seq, batch.Now()
	d.engine.reducing, d.engine.waiting = 0, 0
	d.engine.forward(s)
	var late [][]uint32
	if l.masks != nil {
		if late, err = handedOver(l.masks, r); err != nil {
			return err
		}
	}
	d.engine.finish(s, late, r)
	r.Ended = batch.Now()
	r.Reducing, r.Waiting = int64(d.engine.reducing), int64(d.engine.waiting)
	return nil
}

// handedOver waits for a step's masks.
func handedOver(masks <-chan handover, r *batch.Result) ([][]uint32, error) {
	var h handover
	var open bool
	select {
	case h, open = <-masks:
	default:
		r.Stalled = batch.Now()
		h, open = <-masks
		r.Resumed = batch.Now()
	}
	if !open {
		return nil, fmt.Errorf("cpu: step %d: the device was closed before its masks came", r.Seq)
	}
	return h.allow, h.err
}

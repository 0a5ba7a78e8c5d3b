package sim

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/device"
)

// Device lets an Engine's steps take their time. It keeps a schedule: a step
// begins when it was launched or when the one before ended, whichever is
// later, so that a late wake-up delays an answer but not the device.
type Device struct {
	engine *Engine // owned by Launch

	late *batch.Step // owned by Launch: the step launched last, if it waits for masks

	mu    sync.Mutex
	given sync.Cond // masks: some step need not wait for them any more
	out   []outcome // oldest first
	end   int64     // of the last step launched
	spare []outcome
}

type outcome struct {
	result batch.Result
	err    error
	hangs  bool // nobody hears of it
	late   bool // it waits for its masks, without which its end is not known
}

// Open opens "sim:" and the name of a GPU; see Names. Options follow after
// commas: tp=N GPUs, speed=X times real time (inf: no waiting), step=D makes
// each step take at least this long, eos=N draws an end of sequence once in N
// tokens, repeat=N has texts repeat themselves after N tokens but for one token in
// eight, fail=N makes the N-th step fail,
// lost=N too, and opening any device with lost after it in this process: as
// when a GPU faults; hang=N makes the N-th step never return.
func Open(spec device.Spec) (*Device, error) {
	e, err := New(spec)
	if err != nil {
		return nil, err
	}
	if e.opts.lost > 0 && lost.Load() {
		return nil, errors.New("sim: a device was lost in this process before, as it was asked to be")
	}
	if spec.Progress != nil {
		spec.Progress(e.info.WeightBytes, e.info.WeightBytes)
	}
	d := &Device{engine: e}
	d.given.L = &d.mu
	return d, nil
}

// lost is set by the first device that is lost.
var lost atomic.Bool

// Info implements device.Device.
func (d *Device) Info() device.Info { return d.engine.info }

// Launch implements device.Device.
func (d *Device) Launch(s *batch.Step) error {
	now := batch.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.out) >= device.MaxOutstanding {
		return fmt.Errorf("sim: step %d launched while %d are outstanding, the most allowed", s.Seq, len(d.out))
	}
	if d.late != nil {
		return fmt.Errorf("sim: step %d launched before step %d was given its masks", s.Seq, d.late.Seq)
	}
	var o outcome
	if n := len(d.spare); n > 0 {
		o, d.spare = d.spare[n-1], d.spare[:n-1]
	}
	took, err := d.engine.Run(s, &o.result)
	if err != nil && !d.engine.fails() {
		return err
	}
	o.err, o.late, o.hangs = err, err == nil && s.Late() > 0, d.engine.hangs()
	if o.late {
		d.late = s
	}
	o.result.Began = max(now, d.end)
	o.result.Ended = o.result.Began + int64(took)
	d.end = o.result.Ended
	d.out = append(d.out, o)
	return nil
}

// Mask implements device.Device. Drawing is the end of a step: it begins when all
// before it is done, and not before the masks are there.
func (d *Device) Mask(m *batch.Masks) error {
	now := batch.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.late == nil {
		return fmt.Errorf("sim: %w", m.Check(0, 0, 0))
	}
	o := &d.out[len(d.out)-1]
	took, err := d.engine.Mask(d.late, m, &o.result)
	d.late, o.late, o.err = nil, false, err
	if done := d.end - int64(took); now > done {
		o.result.Stalled, o.result.Resumed = done, now
		o.result.Ended = now + int64(took)
		d.end = o.result.Ended
	}
	d.given.Broadcast()
	return err
}

// Wait implements device.Device.
func (d *Device) Wait(r *batch.Result) error {
	d.mu.Lock()
	if len(d.out) == 0 {
		d.mu.Unlock()
		return errors.New("sim: nothing to wait for: no step is outstanding")
	}
	for d.out[0].late {
		d.given.Wait()
	}
	o := d.out[0]
	d.mu.Unlock()
	if o.hangs {
		select {}
	}
	if left := o.result.Ended - batch.Now(); left > 0 {
		sleep(left)
	}
	r.Copy(&o.result)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.out = append(d.out[:0], d.out[1:]...)
	d.spare = append(d.spare, o)
	return o.err
}

// Close implements device.Device.
func (d *Device) Close() error { return nil }

package actors

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/sim"
)

// rates say how likely it is that something goes wrong, each time.
type rates struct {
	open, close, launch, mask, wait float64 // an error, or a panic
	hang, hangClose                 float64 // in Launch or Wait; in Close
	slow                            float64 // a step takes a thousand times as long
}

// simulated is a device that takes virtual time, fails as its rates say, and complains of whoever does
// not keep to what package device demands. Tokens are sim's: a hash of all tokens before.
//
// Its rnd belongs to who calls Launch, where it is decided what becomes of the step.
type simulated struct {
	*world
	engine *sim.Engine
	rates  *rates // the run's
	rnd    *rand.Rand
	meddle func(*batch.Result) // a planted fault
	doom   func(string) bool   // faults that are not drawn; nil: none

	unmasked bool // Mask has failed
	hangs    bool // a step does: what comes next often fails, too

	mu     sync.Mutex
	given  *sync.Cond
	out    []simStep // oldest first
	end    time.Time // of the last step launched
	late   *batch.Step
	waits  bool
	closed bool
}

type simStep struct {
	result batch.Result
	end    time.Time
	late   bool
	hangs  func() // in place of returning; nil: it does not
	err    error  // Wait's, or a panic
}

var errSimulated = errors.New("simulated")

// happens draws whether something goes wrong now.
func (d *simulated) happens(rate float64, what string) bool {
	if d.rnd.Float64() < rate {
		return true
	}
	d.world.mu.Lock() // which all devices share
	defer d.world.mu.Unlock()
	return d.doom != nil && d.doom(what)
}

// hang draws whether a call hangs now, for good or until long after the watchdog has told of it.
func (d *simulated) hang(what string) func() {
	if !d.happens(d.rates.hang/2, what+" hung") {
		return nil
	}
	forGood, most := d.doom != nil || d.rnd.IntN(2) == 0, 30*time.Second+time.Duration(d.rnd.Int64N(int64(90*time.Second)))
	return func() {
		d.went(what + " hung")
		if forGood {
			<-d.ends
			return
		}
		select {
		case <-d.ends:
		case <-time.After(most):
			d.went(what + " hung for a while")
		}
	}
}

// goesWrong is an error, or a panic; beside a step that hangs it takes its time.
func (d *simulated) goesWrong(rate float64, what string) error {
	if !d.happens(rate, what+" failed") {
		return nil
	}
	d.went(what + " failed")
	if d.hangs && d.doom == nil {
		time.Sleep(time.Duration(d.rnd.Int64N(int64(50 * time.Second))))
	}
	if d.rnd.IntN(2) == 0 {
		panic(errSimulated)
	}
	return fmt.Errorf("%s: %w", what, errSimulated)
}

func (d *simulated) Info() device.Info { return d.engine.Info() }

func (d *simulated) Launch(s *batch.Step) error {
	rate := d.rates.launch
	if d.hangs {
		rate = 0.8
	}
	if err := d.goesWrong(rate, "launching"); err != nil {
		return err
	}
	if hangs := d.hang("launching"); hangs != nil {
		hangs()
		return errSimulated
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed || d.late != nil || len(d.out) >= device.MaxOutstanding {
		d.fault("step %d was launched: closed %v, masks missing %v, %d outstanding", s.Seq, d.closed, d.late != nil, len(d.out))
	}
	var o simStep
	took, err := d.engine.Run(s, &o.result)
	if err != nil {
		d.fault("%v", err)
		return err
	}
	if d.meddle != nil {
		d.meddle(&o.result)
	}
	took = max(took, time.Microsecond) + time.Duration(d.rnd.IntN(1000))
	if d.rnd.Float64() < d.rates.slow {
		took *= 1000
		d.went("a step was slow")
	}
	o.hangs = d.hang("a step")
	d.hangs = d.hangs || o.hangs != nil
	if d.happens(d.rates.wait, "waiting failed") {
		o.err = errSimulated
	}
	if now := time.Now(); d.end.Before(now) {
		d.end = now
	}
	d.end = d.end.Add(took)
	o.end = d.end
	o.result.Ended = batch.Now() + int64(time.Until(d.end))
	o.result.Began = o.result.Ended - int64(took)
	if o.late = s.Late() > 0; o.late {
		d.late = s
	}
	d.out = append(d.out, o)
	return nil
}

func (d *simulated) Mask(m *batch.Masks) error {
	var failed error
	if !d.unmasked { // once: who closes the device hands masks over again
		d.unmasked = d.happens(d.rates.mask, "masking failed")
		if d.unmasked {
			failed = d.goesWrong(1, "masking")
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	defer d.given.Broadcast() // also when it fails
	if d.late == nil && d.unmasked {
		return errSimulated
	}
	if d.late == nil {
		d.fault("masks for step %d, which waits for none", m.Seq)
		return errSimulated
	}
	o := &d.out[len(d.out)-1]
	took, err := d.engine.Mask(d.late, m, &o.result)
	if err != nil {
		d.fault("%v", err)
	}
	d.late, o.late = nil, false
	if now := time.Now().Add(max(took, time.Microsecond)); now.After(d.end) {
		d.end, o.end = now, now
	}
	return errors.Join(failed, err)
}

func (d *simulated) Wait(r *batch.Result) error {
	d.mu.Lock()
	if d.closed || d.waits || len(d.out) == 0 {
		d.fault("a step is waited for: closed %v, waited for %v, %d outstanding", d.closed, d.waits, len(d.out))
	}
	d.waits = true
	for d.out[0].late {
		d.given.Wait()
	}
	o := d.out[0]
	d.mu.Unlock()
	time.Sleep(time.Until(o.end))
	if o.hangs != nil {
		o.hangs()
		o.err = errSimulated
	}
	r.Copy(&o.result)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.out = append(d.out[:0], d.out[1:]...)
	d.waits = false
	if o.err != nil {
		d.went("waiting failed")
		if o.result.Seq%2 == 0 {
			panic(o.err)
		}
	}
	return o.err
}

func (d *simulated) Close() error {
	d.mu.Lock()
	if d.closed || d.waits {
		d.fault("the device is closed: closed already %v, waited for %v", d.closed, d.waits)
	}
	d.closed = true
	d.mu.Unlock()
	if d.happens(d.rates.hangClose, "closing hung") {
		d.went("closing hung")
		<-d.ends
	}
	return d.goesWrong(d.rates.close, "closing")
}

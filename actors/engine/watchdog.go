package engine

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/troupe-llm/troupe/gpu"
	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/device"
)

// watchdog notices a device that does not return from a step. Nothing can be done
// about it in this process: whoever called the device waits for good, and a device
// that is in use cannot be closed. So the engine ends, as when a device is lost for
// good, and another process may begin anew. Opening a device, captures included, is
// no step and may take its time.
type watchdog struct {
	limit func(*batch.Step) time.Duration // what a step may take; nil: nothing is watched
	hung  *atomic.Bool                    // set first, on the timer's goroutine
	// after runs a function when so much time has passed, unless it is stopped;
	// tests have a clock of their own.
	after func(time.Duration, func()) (stop func())
}

const (
	leastTimeout  = 30 * time.Second
	timeoutFactor = 100 // of what a roofline predicts, which no step that works misses by so much
	// tokenTimeout is for a device of which there is no roofline: a processor takes
	// less for a token of most models.
	tokenTimeout = 10 * time.Millisecond
)

// newWatchdog is for an opened device.
func newWatchdog(cfg *Config, info *device.Info, hung *atomic.Bool) watchdog {
	return watchdog{limit: stepLimit(cfg, info), hung: hung, after: func(d time.Duration, f func()) func() {
		t := time.AfterFunc(d, f)
		return func() { t.Stop() }
	}}
}

// stepLimit is what steps may take; nil: as long as they do. Unless it is set there is no limit on a
// processor, and else it is the longer of leastTimeout and timeoutFactor times the roofline's time.
func stepLimit(cfg *Config, info *device.Info) func(*batch.Step) time.Duration {
	if cfg.StepTimeout > 0 {
		return func(*batch.Step) time.Duration { return cfg.StepTimeout }
	}
	if !gpu.IsGPU(info) {
		return nil
	}
	predict, known := gpu.Predict(info, cfg.Model)
	if !known {
		return func(s *batch.Step) time.Duration { return max(leastTimeout, time.Duration(s.NumTokens)*tokenTimeout) }
	}
	return func(s *batch.Step) time.Duration { return max(leastTimeout, timeoutFactor*predict(s)) }
}

// watch begins to watch a call of the device; what it returns ends that.
func (e *executor) watch(s *batch.Step, epoch int, doing string) (returned func()) {
	if e.watchdog.limit == nil {
		return func() {}
	}
	return e.watchFor(e.watchdog.limit(s), epoch, fmt.Sprint(doing, " ", described(s))) // now: the step is not ours when it is over
}

// watchClosing is watch for the closing of a device that was lost.
func (e *executor) watchClosing(epoch int) (returned func()) {
	if e.watchdog.limit == nil {
		return func() {}
	}
	return e.watchFor(e.watchdog.limit(&batch.Step{}), epoch, "closing it")
}

func (e *executor) watchFor(limit time.Duration, epoch int, what string) (returned func()) {
	w, dev := &e.watchdog, e.dev
	return w.after(limit, func() {
		w.hung.Store(true)
		who := "the device"
		if g, several := dev.(interface{ Lagging() string }); several {
			who = g.Lagging()
		}
		err := fmt.Errorf("%s hangs: %s has not returned within %v", who, what, limit)
		e.waiterMail.Send(e.scheduler, &deviceLost{epoch: epoch, err: err, hung: true})
	})
}

// description is what logs say of a step.
type description struct {
	seq          uint64
	rows, tokens int
}

func (d description) String() string {
	return fmt.Sprintf("step %d (%d rows, %d tokens)", d.seq, d.rows, d.tokens)
}

func described(s *batch.Step) description { return description{s.Seq, len(s.Rows), s.NumTokens} }

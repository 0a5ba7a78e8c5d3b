package bench

import "time"

// maxIntervals bounds a Timeline: as many as a page is wide.
const maxIntervals = 512

// gauge is how a run stands at one moment.
type gauge struct {
	// Counters since the run began; they never fall.
	output, steps, computed, decoded uint64

	open, running, waiting int
	used, cached           float64 // shares of the pages
}

// recorder makes a Timeline of gauges, however long the run will be: when its
// intervals are used up, two become one.
//
// Invariant: seen[i] is the last gauge of interval i, if there was one.
type recorder struct {
	interval time.Duration
	knows    knowledge // what gauges say
	seen     []gauge
	has      []bool
}

func newRecorder(interval time.Duration, knows knowledge) *recorder {
	return &recorder{interval: interval, knows: knows}
}

// sample notes the gauge at t since the run began. Times must not go back.
func (r *recorder) sample(t time.Duration, g gauge) {
	i := int(t / r.interval)
	for i >= maxIntervals {
		r.halve()
		i = int(t / r.interval)
	}
	for len(r.seen) <= i {
		r.seen, r.has = append(r.seen, gauge{}), append(r.has, false)
	}
	r.seen[i], r.has[i] = g, true
}

// halve makes each two intervals one.
func (r *recorder) halve() {
	r.interval *= 2
	n := (len(r.seen) + 1) / 2
	for i := range n {
		last := min(2*i+1, len(r.seen)-1)
		if !r.has[last] {
			last = 2 * i
		}
		r.seen[i], r.has[i] = r.seen[last], r.has[last]
	}
	r.seen, r.has = r.seen[:n], r.has[:n]
}

// timeline is what was recorded; where no gauge fell into an interval, things
// stood as before.
func (r *recorder) timeline() *Timeline {
	t := &Timeline{IntervalS: r.interval.Seconds()}
	var before gauge
	for i, g := range r.seen {
		if !r.has[i] {
			g = before
		}
		t.Output = append(t.Output, int(g.output-before.output))
		t.Open = append(t.Open, g.open)
		if r.knows >= itsSteps {
			t.Steps = append(t.Steps, int(g.steps-before.steps))
			t.Computed = append(t.Computed, int(g.computed-before.computed))
			t.Decoded = append(t.Decoded, int(g.decoded-before.decoded))
		}
		if r.knows >= itsLoad {
			t.Running, t.Waiting = append(t.Running, g.running), append(t.Waiting, g.waiting)
			t.KVUsed, t.KVCached = append(t.KVUsed, round(g.used, 4)), append(t.KVCached, round(g.cached, 4))
		}
		before = g
	}
	return t
}

// every calls tell now and then from one goroutine, and a last time when
// stopped; stop waits for that.
func every(interval time.Duration, tell func()) (stop func()) {
	ended, told := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(told)
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for {
			tell()
			select {
			case <-tick.C:
			case <-ended:
				tell()
				return
			}
		}
	}()
	return func() { close(ended); <-told }
}

package bench

import (
	"slices"
	"testing"
	"time"
)

func TestTimelineKeepsSumsHoweverLongTheRun(t *testing.T) {
	for _, n := range []int{1, 7, maxIntervals, 5*maxIntervals + 3} {
		r := newRecorder(time.Millisecond, itsSteps)
		for i := range n {
			r.sample(time.Duration(i)*time.Millisecond, gauge{output: uint64(3 * i), steps: uint64(i), computed: uint64(5 * i), running: i, used: 0.5})
		}
		line := r.timeline()
		sum := func(all []int) (s int) {
			for _, x := range all {
				s += x
			}
			return s
		}
		if len(line.Output) > maxIntervals || sum(line.Output) != 3*(n-1) || sum(line.Steps) != n-1 || sum(line.Computed) != 5*(n-1) {
			t.Errorf("%d samples: %d intervals with %d tokens, %d steps, %d computed", n, len(line.Output), sum(line.Output), sum(line.Steps), sum(line.Computed))
		}
		if last := line.Running[len(line.Running)-1]; last != n-1 {
			t.Errorf("%d samples: at the end %d were running, want %d", n, last, n-1)
		}
		if got := line.IntervalS * float64(len(line.Output)); got < float64(n)/1000 || got > 2*float64(n+1)/1000 {
			t.Errorf("%d samples: the timeline is %v s long", n, got)
		}
	}
}

func TestTimelineCarriesOn(t *testing.T) {
	r := newRecorder(time.Second, nothing)
	r.sample(0, gauge{output: 4, open: 2})
	r.sample(3*time.Second, gauge{output: 5, open: 1})
	line := r.timeline()
	if !slices.Equal(line.Output, []int{4, 0, 0, 1}) || !slices.Equal(line.Open, []int{2, 2, 2, 1}) || line.Steps != nil {
		t.Errorf("%+v", *line)
	}
}

func TestHistogramHoldsEverySample(t *testing.T) {
	samples := []time.Duration{0, 50, 100, time.Microsecond, 999 * time.Microsecond, time.Millisecond, 5 * time.Second}
	h := newHistogram(samples)
	n := h.Zero
	for i, count := range h.Counts {
		low, high := h.Edge(i), h.Edge(i+1)
		in := 0
		for _, s := range samples {
			if s >= 100 && s >= low && s < high {
				in++
			}
		}
		if in < count-1 || in > count+1 { // an edge is rounded to a nanosecond
			t.Errorf("bucket %v–%v has %d, want %d", low, high, count, in)
		}
		n += count
	}
	if n != len(samples) || h.Zero != 2 {
		t.Errorf("%d of %d samples are in the histogram, %d of them as zero", n, len(samples), h.Zero)
	}
	if empty := newHistogram(nil); empty.Counts != nil || empty.Zero != 0 {
		t.Errorf("of nothing: %+v", empty)
	}
}

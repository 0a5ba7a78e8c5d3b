package front

import (
	"fmt"
	"slices"
	"time"

	"github.com/troupe-llm/troupe/gpu/batch"
)

// waiting are jobs that no engine has, since all are lost, and one may come back. It is the
// detokenizer's.
type waiting struct {
	patience time.Duration // how long one waits; 0: none does, since no engine comes
	jobs     []*job        // in the order in which they began to
	ring     func(time.Duration)
}

func (w *waiting) remove(j *job) {
	j.waits = false
	w.jobs = slices.DeleteFunc(w.jobs, func(o *job) bool { return o == j })
}

// absentError is ErrAbsent, after so long.
type absentError struct{ waited time.Duration }

func (e *absentError) Error() string { return fmt.Sprintf("no engine has been there for %v", e.waited) }

func (e *absentError) Unwrap() error { return ErrAbsent }

// wait has a job wait for an engine.
func (d *detokenizer) wait(j *job) {
	j.waits, j.since = true, batch.Now()
	j.seen.Store(whereabouts(-1, len(j.attempts)))
	if d.waiting.jobs = append(d.waiting.jobs, j); len(d.waiting.jobs) == 1 {
		d.waiting.ring(d.waiting.patience)
	}
}

// arrived hands the jobs that wait to engines, if there is one.
func (d *detokenizer) arrived() {
	if len(d.waiting.jobs) == 0 || !d.router.any() {
		return
	}
	all := d.waiting.jobs
	d.waiting.jobs = nil
	for _, j := range all {
		j.waits = false
		d.submit(j)
	}
}

// expire fails the jobs that have waited too long.
func (d *detokenizer) expire(now int64) {
	w := &d.waiting
	for len(w.jobs) > 0 {
		j := w.jobs[0]
		if left := w.patience - time.Duration(now-j.since); left > 0 {
			w.ring(left)
			return
		}
		d.fail(j, &absentError{w.patience})
	}
}

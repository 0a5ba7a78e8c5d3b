package cpu

import (
	"strings"
	"sync/atomic"
	"testing"
)

func TestPoolRunsEveryTaskOnce(t *testing.T) {
	for _, size := range []int{1, 2, 5} {
		p := newPool(size)
		for _, n := range []int{0, 1, 2, 3, 17, 1000} {
			for range 50 {
				counts := make([]atomic.Int32, n)
				p.run(n, func(worker, task int) {
					if worker < 0 || worker >= size {
						t.Errorf("worker %d of %d", worker, size)
					}
					counts[task].Add(1)
				})
				for i := range counts { // run returned: all must be done
					if c := counts[i].Load(); c != 1 {
						t.Fatalf("%d workers: task %d of %d ran %d times", size, i, n, c)
					}
				}
			}
		}
		p.close()
	}
}

// A worker number is never in use twice at a time: scratch memory hangs on it.
func TestPoolWorkersAreTheirOwn(t *testing.T) {
	p := newPool(4)
	defer p.close()
	busy := make([]atomic.Int32, 4)
	for range 300 {
		p.run(40, func(worker, _ int) {
			if busy[worker].Add(1) != 1 {
				t.Error("two tasks at a time on one worker")
			}
			busy[worker].Add(-1)
		})
	}
}

// A panic in a task reaches the caller, whoever ran the task, and the pool
// goes on.
func TestPoolPanics(t *testing.T) {
	p := newPool(3)
	defer p.close()
	for bad := range 8 {
		func() {
			defer func() {
				if r := recover(); r == nil || !strings.Contains(r.(string), "broken") {
					t.Errorf("recovered %v", r)
				}
			}()
			p.run(8, func(_, task int) {
				if task == bad {
					panic("broken")
				}
			})
		}()
	}
	var n atomic.Int32
	p.run(5, func(_, _ int) { n.Add(1) })
	if n.Load() != 5 {
		t.Errorf("%d tasks after a panic, want 5", n.Load())
	}
}

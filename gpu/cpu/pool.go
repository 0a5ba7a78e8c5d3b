package cpu

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"sync/atomic"
)

// spins is how long a core looks for the next operation before it sleeps:
// about 200 µs, so that no core falls asleep within a step, since being woken
// takes tens of microseconds, and a small part of a time slice. With a tenth of
// it a decode of Qwen3-0.6B on 2 cores read its weights at 0.63–0.68 of the
// memory's bandwidth, with this at 0.74–0.89; five times as long gained
// nothing. An idle device uses no processor.
const spins = 4000

// pool runs one operation at a time on all cores. An operation is a number of
// tasks, taken by whoever is free: a core that another process keeps busy
// holds nothing up but the task it is in.
//
// run is called by one goroutine, which works too.
type pool struct {
	op      atomic.Pointer[operation]
	workers []*worker
	size    int         // workers and the caller
	scratch [][]float32 // each worker's own, for whatever a task needs it
}

// operation is allocated anew each time, so that a worker that comes late
// finds an exhausted operation, never the next one's counters.
type operation struct {
	n    int64
	f    func(worker, task int)
	next atomic.Int64
	left atomic.Int64
	// waiting is set by the caller that sleeps until done.
	waiting atomic.Bool
	done    chan struct{}
	failure atomic.Pointer[string]
}

type worker struct {
	asleep atomic.Bool
	wake   chan struct{} // capacity 1
}

func newPool(size int) *pool {
	p := &pool{size: max(size, 1)}
	p.scratch = make([][]float32, p.size)
	for i := 1; i < p.size; i++ {
		w := &worker{wake: make(chan struct{}, 1)}
		p.workers = append(p.workers, w)
		go p.work(w, i)
	}
	return p
}

// run calls f(worker, task) for every task below n and returns when all are
// done. It panics when a task did.
func (p *pool) run(n int, f func(worker, task int)) {
	if n <= 0 {
		return
	}
	if n == 1 || p.size == 1 {
		for i := range n {
			f(0, i)
		}
		return
	}
	op := &operation{n: int64(n), f: f, done: make(chan struct{}, 1)}
	op.left.Store(op.n)
	p.op.Store(op)
	for _, w := range p.workers[:min(n-1, len(p.workers))] {
		w.rouse()
	}
	op.work(0)
	for i := 0; op.left.Load() > 0; i++ {
		if i < spins {
			pause()
			continue
		}
		op.waiting.Store(true)
		if op.left.Load() > 0 {
			<-op.done
		}
		break
	}
	if msg := op.failure.Load(); msg != nil {
		panic(*msg)
	}
}

// close lets the workers end.
func (p *pool) close() {
	p.op.Store(nil)
	for _, w := range p.workers {
		close(w.wake)
	}
}

func (p *pool) work(w *worker, id int) {
	// A thread of its own: the goroutine would else change threads whenever another one that
	// is bound to its thread runs, and for some milliseconds the system has two of them share a
	// processor: one token in seven of Qwen3-0.6B, served on two cores, took twice as long.
	runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
	var last *operation
	for {
		op := p.op.Load()
		for i := 0; op == last; i++ {
			if i < spins {
				pause()
				op = p.op.Load()
				continue
			}
			w.asleep.Store(true)
			if op = p.op.Load(); op != last && w.asleep.CompareAndSwap(true, false) {
				break
			}
			if _, open := <-w.wake; !open {
				return
			}
			op, i = p.op.Load(), 0
		}
		if last = op; op != nil {
			op.work(id)
		}
	}
}

func (w *worker) rouse() {
	if w.asleep.CompareAndSwap(true, false) {
		w.wake <- struct{}{}
	}
}

func (op *operation) work(id int) {
	for {
		i := op.next.Add(1) - 1
		if i >= op.n {
			return
		}
		op.task(id, int(i))
		if op.left.Add(-1) == 0 && op.waiting.Load() {
			op.done <- struct{}{}
		}
	}
}

// task keeps a panic from killing the process: run repeats it on the caller.
func (op *operation) task(id, i int) {
	defer func() {
		if r := recover(); r != nil {
			msg := fmt.Sprintf("%v\n%s", r, debug.Stack())
			op.failure.CompareAndSwap(nil, &msg)
		}
	}()
	op.f(id, i)
}

// cores is how many the pool uses: what the Go runtime may.
func cores() int { return runtime.GOMAXPROCS(0) }

package http

import (
	"runtime"
	"sync"

	"github.com/troupe-llm/troupe/actors"
)

// A step brings a token for each of thousands of streams. Waking as many
// goroutines takes longer than what they then do, and makes the engine's own
// wait behind them. So a few goroutines, the pens, write what all streams have
// to say, one after the other: whatever wakes a stream puts it into their
// queue.
//
// A pen never waits for a client. What a socket does not take at once is
// written by the connection's goroutine, which is parked all the time for
// that, and for the end.

// pens are goroutines that exist while there is something to write.
type pens struct {
	most int // pens there may be

	mu    sync.Mutex
	queue []*sse // guarded by mu; queue[head:] wait, each at most once
	head  int    // guarded by mu
	busy  int    // guarded by mu: pens there are
}

// The states of a stream that pens write.
const (
	penIdle    int32 = iota // until it is woken
	penQueued               // in the queue
	penWriting              // it is a pen's, or the connection's goroutine's
	penAgain                // the same, and it was woken meanwhile
)

// push queues a stream.
func (p *pens) push(r *sse) {
	p.mu.Lock()
	p.queue = append(p.queue, r)
	more := p.busy < p.most
	if more {
		p.busy++
	}
	p.mu.Unlock()
	if more {
		go p.write()
	}
}

// turns are how many streams a pen takes at once; after them it lets others
// run, the engine first of all.
const turns = 8

// write is a pen: it writes for the streams in the queue until there are none.
func (p *pens) write() {
	var taken [turns]*sse
	var signed actors.Receipts
	for {
		p.mu.Lock()
		n := copy(taken[:], p.queue[p.head:])
		clear(p.queue[p.head : p.head+n])
		if p.head += n; p.head == len(p.queue) {
			p.queue, p.head = p.queue[:0], 0
		}
		if n == 0 {
			p.busy--
			p.mu.Unlock()
			return
		}
		p.mu.Unlock()
		var now int64 // when the last one was written
		for i, r := range taken[:n] {
			now = r.turn(now, &signed)
			taken[i] = nil
		}
		signed.HandIn()
		runtime.Gosched()
	}
}

// share has the pens write the stream, to its end.
func (r *sse) share() error {
	r.back = make(chan struct{}, 1)
	r.a.shared.Store(r)
	r.wake() // whatever came before
	for {
		<-r.back
		if r.sent < len(r.buf) {
			if err := r.write(); err != nil {
				return err
			}
		}
		if r.over {
			return nil
		}
		r.release()
	}
}

// wake queues the stream, unless it is about to be looked at anyway.
func (r *sse) wake() {
	for {
		switch r.state.Load() {
		case penIdle:
			if r.state.CompareAndSwap(penIdle, penQueued) {
				r.a.s.pens.push(r)
				return
			}
		case penWriting:
			if r.state.CompareAndSwap(penWriting, penAgain) {
				return
			}
		default:
			return
		}
	}
}

// turn writes what there is to say now. It is told the time, as batch.Now, and
// returns it; 0 is not known.
func (r *sse) turn(now int64, signed *actors.Receipts) int64 {
	r.state.Store(penWriting)
	if r.compose(now) {
		r.sent = r.raw.tryWrite(r.buf)
		if r.sent < len(r.buf) {
			r.back <- struct{}{}
			return 0
		}
		now = r.written(signed)
	}
	if r.over {
		r.back <- struct{}{}
		return now
	}
	r.release()
	return now
}

// release lets the stream wait, or queues it when it was woken meanwhile or
// has more to say than was written at once.
func (r *sse) release() {
	if len(r.buf) >= maxWrite || !r.state.CompareAndSwap(penWriting, penIdle) {
		r.state.Store(penQueued)
		r.a.s.pens.push(r)
	}
}

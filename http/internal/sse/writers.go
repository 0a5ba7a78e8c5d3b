package sse

import (
	"runtime"
	"sync"

	"github.com/troupe-llm/troupe/actors"
)

// A step brings a token for each of thousands of streams. Waking as many
// goroutines takes longer than what they then do, and makes the engine's own
// wait behind them. So a few goroutines, the writers, write what all streams have
// to say, one after the other: whatever wakes a stream puts it into their
// queue.
//
// A writer never waits for a client. What a socket does not take at once is
// written by the connection's goroutine, which is parked all the time for
// that, and for the end.

// Writers are goroutines that exist while there is something to write.
type Writers struct {
	most int // writers there may be

	mu    sync.Mutex
	queue []*Stream // guarded by mu; queue[head:] wait, each at most once
	head  int       // guarded by mu
	busy  int       // guarded by mu: writers there are
	// spare are receipts' memory of writers that are no more, all handed in: a
	// new writer for each token would allocate its own. Guarded by mu.
	spare []*actors.Receipts
}

// NewWriters are at most so many.
func NewWriters(most int) *Writers { return &Writers{most: most} }

// The states of a stream that writers write.
const (
	idle    int32 = iota // until it is woken
	queued               // in the queue
	writing              // it is a writer's, or the connection's goroutine's
	again                // the same, and it was woken meanwhile
)

// push queues a stream.
func (w *Writers) push(s *Stream) {
	w.mu.Lock()
	w.queue = append(w.queue, s)
	more := w.busy < w.most
	if more {
		w.busy++
	}
	w.mu.Unlock()
	if more {
		go w.write()
	}
}

// turns are how many streams a writer takes at once; after them it lets others
// run, the engine first of all.
const turns = 8

// write is a writer: it writes for the streams in the queue until there are none.
func (w *Writers) write() {
	var taken [turns]*Stream
	var signed *actors.Receipts
	for {
		w.mu.Lock()
		if signed == nil {
			signed = w.receipts()
		}
		n := copy(taken[:], w.queue[w.head:])
		clear(w.queue[w.head : w.head+n])
		if w.head += n; w.head == len(w.queue) {
			w.queue, w.head = w.queue[:0], 0
		}
		if n == 0 {
			w.busy--
			w.spare = append(w.spare, signed)
			w.mu.Unlock()
			return
		}
		w.mu.Unlock()
		var now int64 // when the last one was written
		for i, s := range taken[:n] {
			now = s.turn(now, signed)
			taken[i] = nil
		}
		signed.HandIn()
		runtime.Gosched()
	}
}

// receipts is memory for them. Called with mu held.
func (w *Writers) receipts() *actors.Receipts {
	n := len(w.spare)
	if n == 0 {
		return new(actors.Receipts)
	}
	r := w.spare[n-1]
	w.spare = w.spare[:n-1]
	return r
}

// share has the writers write the stream, to its end.
func (s *Stream) share() error {
	s.Wake() // whatever came before
	for {
		<-s.back
		if s.sent < len(s.buf) {
			if err := s.write(); err != nil {
				return err
			}
		}
		if s.over {
			return nil
		}
		s.release()
	}
}

// Wake has the stream looked at, unless it is about to be anyway. Any goroutine
// may call it, once what is to be seen can be.
func (s *Stream) Wake() {
	if s.raw == nil {
		select {
		case s.back <- struct{}{}:
		default:
		}
		return
	}
	for {
		switch s.state.Load() {
		case idle:
			if s.state.CompareAndSwap(idle, queued) {
				s.writers.push(s)
				return
			}
		case writing:
			if s.state.CompareAndSwap(writing, again) {
				return
			}
		default:
			return
		}
	}
}

// turn writes what there is to say now. It is told the time, as batch.Now, and
// returns it; 0 is not known.
func (s *Stream) turn(now int64, signed *actors.Receipts) int64 {
	s.state.Store(writing)
	if s.compose(now) {
		s.sent = s.raw.tryWrite(s.buf)
		if s.sent < len(s.buf) {
			s.back <- struct{}{}
			return 0
		}
		now = s.source.Written(signed)
	}
	if s.over {
		s.back <- struct{}{}
		return now
	}
	s.release()
	return now
}

// release lets the stream wait, or queues it when it was woken meanwhile or
// has more to say than was written at once.
func (s *Stream) release() {
	if len(s.buf) >= MaxWrite || !s.state.CompareAndSwap(writing, idle) {
		s.state.Store(queued)
		s.writers.push(s)
	}
}

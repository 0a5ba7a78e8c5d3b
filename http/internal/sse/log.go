package sse

import (
	"bytes"
	"sync"
)

// Log is a stream of events that is kept while it is made, and after: whoever
// follows it begins anywhere. One goroutine appends; all methods may be called from
// any.
type Log struct {
	// reserve takes so many bytes, or says that there is no room for them; fewer than
	// none are given back.
	reserve func(n int) bool

	mu      sync.Mutex
	text    []byte                 // the events; guarded by mu
	ends    []int                  // text[:ends[i]] are the first i+1 events; guarded by mu
	over    bool                   // there are no more to come; guarded by mu
	cut     bool                   // they were dropped, and so are those to come; guarded by mu
	waiting map[*Follower]struct{} // guarded by mu
}

// NewLog is an empty one, which asks reserve for the room it takes, or gives it back.
func NewLog(reserve func(n int) bool) *Log {
	return &Log{reserve: reserve, waiting: map[*Follower]struct{}{}}
}

// Append adds whole events. When there is no room for them all are dropped: a part is
// good for nobody.
func (l *Log) Append(events []byte) {
	if len(events) == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.cut:
		return
	case !l.reserve(len(events)):
		l.drop()
		return
	}
	for from := 0; from < len(events); {
		n := bytes.Index(events[from:], eventEnd)
		if n < 0 {
			break
		}
		from += n + len(eventEnd)
		l.ends = append(l.ends, len(l.text)+from)
	}
	l.text = append(l.text, events...)
	l.wake()
}

var eventEnd = []byte("\n\n")

// End says that there are no more events.
func (l *Log) End() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over = true
	l.wake()
}

// wake is called with mu held.
func (l *Log) wake() {
	for f := range l.waiting {
		f.wake()
	}
}

// Drop forgets the events, and those to come.
func (l *Log) Drop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drop()
}

// drop is called with mu held.
func (l *Log) drop() {
	l.reserve(-len(l.text))
	l.text, l.ends, l.cut = nil, nil, true
	l.wake()
}

// Follower reads a log from some event on. Read belongs to one goroutine at a time.
type Follower struct {
	log  *Log
	wake func()
	at   int // what was read
}

// Follow reads the events behind the first n, of which there have to be so many:
// nil when there are not. wake is called when there may be more, with a lock held:
// it must not call the log or wait. Close ends that.
func (l *Log) Follow(n int, wake func()) *Follower {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n < 0 || n > len(l.ends) {
		return nil
	}
	f := &Follower{log: l, wake: wake}
	if n > 0 {
		f.at = l.ends[n-1]
	}
	l.waiting[f] = struct{}{}
	return f
}

// Read appends what there is, MaxWrite bytes at most, and says whether it was the
// last.
func (f *Follower) Read(dst []byte) (out []byte, over bool) {
	l := f.log
	l.mu.Lock()
	defer l.mu.Unlock()
	if f.at > len(l.text) { // it was dropped
		return dst, true
	}
	end := min(len(l.text), f.at+MaxWrite)
	dst = append(dst, l.text[f.at:end]...)
	f.at = end
	return dst, end == len(l.text) && (l.over || l.cut)
}

// Close has the log forget the follower.
func (f *Follower) Close() {
	f.log.mu.Lock()
	defer f.log.mu.Unlock()
	delete(f.log.waiting, f)
}

package cluster

import "time"

// event is something that happens at a time.
type event struct {
	at      time.Duration
	order   uint64 // of several at a time the one goes first that was scheduled first
	happens func(*cluster)
}

// queue has what is to happen: a binary heap.
type queue struct {
	events []event
	pushed uint64
}

func (q *queue) len() int { return len(q.events) }

func (q *queue) push(at time.Duration, happens func(*cluster)) {
	q.pushed++
	q.events = append(q.events, event{at, q.pushed, happens})
	i := len(q.events) - 1
	for up := (i - 1) / 2; i > 0 && q.before(i, up); up = (i - 1) / 2 {
		q.swap(i, up)
		i = up
	}
}

func (q *queue) pop() event {
	first, last := q.events[0], len(q.events)-1
	q.events[0] = q.events[last]
	q.events[last] = event{}
	q.events = q.events[:last]
	for i, c := 0, 1; c < last; c = 2*i + 1 {
		if c+1 < last && q.before(c+1, c) {
			c++
		}
		if !q.before(c, i) {
			break
		}
		q.swap(i, c)
		i = c
	}
	return first
}

func (q *queue) before(i, j int) bool {
	a, b := &q.events[i], &q.events[j]
	return a.at < b.at || a.at == b.at && a.order < b.order
}

func (q *queue) swap(i, j int) { q.events[i], q.events[j] = q.events[j], q.events[i] }

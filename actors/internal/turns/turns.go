// Package turns has work done one of each client in turn.
package turns

// Queue is a queue of several clients' work, served one of each in turn: who
// brings a thousand things delays another's by one of them. Those who are not
// told apart share a turn.
type Queue[T any] struct {
	order   []string       // of clients that wait, whose turn it is first
	waiting map[string][]T // of each of them, what came first in front; never empty
}

// Push puts something of a client behind what else it has here.
func (q *Queue[T]) Push(client string, v T) {
	if q.waiting == nil {
		q.waiting = map[string][]T{}
	}
	if len(q.waiting[client]) == 0 {
		q.order = append(q.order, client)
	}
	q.waiting[client] = append(q.waiting[client], v)
}

// Pop takes what is next; false when nothing waits.
func (q *Queue[T]) Pop() (v T, ok bool) {
	if len(q.order) == 0 {
		return v, false
	}
	client := q.order[0]
	q.order = q.order[1:]
	all := q.waiting[client]
	if v = all[0]; len(all) > 1 {
		q.waiting[client] = all[1:]
		q.order = append(q.order, client)
	} else {
		delete(q.waiting, client)
	}
	return v, true
}

// Clients is how many have something here.
func (q *Queue[T]) Clients() int { return len(q.order) }

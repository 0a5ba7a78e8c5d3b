package plan

// queue holds the requests that wait, ordered by (rank, arrival): a binary
// heap in which each request knows its index, so that any can leave.
type queue struct{ all []*Request }

func (q *queue) len() int { return len(q.all) }

func (q *queue) less(i, j int) bool {
	a, b := q.all[i], q.all[j]
	return a.rank < b.rank || (a.rank == b.rank && a.arrival < b.arrival)
}

func (q *queue) push(r *Request) {
	r.at = len(q.all)
	q.all = append(q.all, r)
	q.up(r.at)
}

func (q *queue) pop() *Request {
	r := q.all[0]
	q.remove(r)
	return r
}

func (q *queue) remove(r *Request) {
	i, last := r.at, len(q.all)-1
	if i != last {
		q.swap(i, last)
	}
	q.all[last] = nil
	q.all = q.all[:last]
	if i != last && !q.down(i) {
		q.up(i)
	}
}

func (q *queue) up(i int) {
	for p := (i - 1) / 2; i > 0 && q.less(i, p); p = (i - 1) / 2 {
		q.swap(i, p)
		i = p
	}
}

func (q *queue) down(i int) (moved bool) {
	for {
		c := 2*i + 1
		if c+1 < len(q.all) && q.less(c+1, c) {
			c++
		}
		if c >= len(q.all) || !q.less(c, i) {
			return moved
		}
		q.swap(i, c)
		i, moved = c, true
	}
}

func (q *queue) swap(i, j int) {
	q.all[i], q.all[j] = q.all[j], q.all[i]
	q.all[i].at, q.all[j].at = i, j
}

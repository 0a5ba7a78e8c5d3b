package tokenize

// symbol is one token of a piece being merged, in a list linked by index.
type symbol struct {
	id         int32
	prev, next int32 // -1: none
	gone       bool  // merged into the one before it
}

// candidate is a merge that was possible when it was queued.
type candidate struct {
	rank, pos int32
	id        int32 // what the merge makes
}

func (c candidate) before(d candidate) bool {
	return c.rank < d.rank || c.rank == d.rank && c.pos < d.pos
}

// mergeAll merges by definition: a heap of candidates, n log n. It serves the
// vocabularies that the faster walk cannot, and is what that one is tested
// against.
func (b *bpe) mergeAll(dst []int32, syms []symbol, queue *[]candidate) []int32 {
	q := (*queue)[:0]
	for i := range syms {
		syms[i].prev, syms[i].next, syms[i].gone = int32(i-1), int32(i+1), false
	}
	if n := len(syms); n > 0 {
		syms[n-1].next = -1
	}
	push := func(left int32) {
		right := syms[left].next
		if m := b.pairs.find(syms[left].id, syms[right].id); m != nil {
			q = append(q, candidate{m.rank, left, m.id})
			up(q)
		}
	}
	for i := 1; i < len(syms); i++ {
		push(int32(i - 1))
	}
	for len(q) > 0 {
		c := q[0]
		q = pop(q)
		left := &syms[c.pos]
		if left.gone || left.next < 0 {
			continue
		}
		right := &syms[left.next]
		if m := b.pairs.find(left.id, right.id); m == nil || m.id != c.id {
			continue
		}
		left.id, left.next, right.gone = c.id, right.next, true
		if left.next >= 0 {
			syms[left.next].prev = c.pos
			push(c.pos)
		}
		if left.prev >= 0 {
			push(left.prev)
		}
	}
	for _, s := range syms {
		if !s.gone {
			dst = append(dst, s.id)
		}
	}
	*queue = q
	return dst
}

func up(q []candidate) {
	i := len(q) - 1
	c := q[i]
	for i > 0 && c.before(q[(i-1)/2]) {
		q[i] = q[(i-1)/2]
		i = (i - 1) / 2
	}
	q[i] = c
}

func pop(q []candidate) []candidate {
	n := len(q) - 1
	c := q[n]
	q = q[:n]
	i := 0
	for child := 1; child < n; child = 2*i + 1 {
		if child+1 < n && q[child+1].before(q[child]) {
			child++
		}
		if !q[child].before(c) {
			break
		}
		q[i] = q[child]
		i = child
	}
	if n > 0 {
		q[i] = c
	}
	return q
}

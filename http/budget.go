package http

import (
	"sync"
	"sync/atomic"
)

// budget bounds the bytes that the bodies of all requests take at once, until
// they are decoded and their prompts are tokens.
//
// Bodies beyond smallBody may have half of it. So a few that never come to
// their end leave room for the many that are small.
type budget struct {
	most int64
	used atomic.Int64 // Invariant: what parts and exchanges hold, together
}

// smallBody is the size that most conversations stay below, in bytes.
const smallBody = 64 << 10

// take reserves n bytes for a body that then has size; false: there are not as
// many left.
func (b *budget) take(n, size int) bool {
	most := b.most
	if size > smallBody {
		most /= 2
	}
	if b.used.Add(int64(n)) <= most {
		return true
	}
	b.give(n)
	return false
}

func (b *budget) give(n int) { b.used.Add(-int64(n)) }

// parts are a body that is still coming. Only what has come takes memory, and
// the memory of large ones is used again: left to the garbage collector, it
// would pile up to as much as there is of other kinds, such as KV memory.
type parts struct {
	budget *budget
	list   [][]byte // all but the last are full; the first is of firstPart
	held   int      // of the budget
	size   int
}

const (
	firstPart = 4 << 10
	nextPart  = 64 << 10
)

var freeParts = sync.Pool{New: func() any { return new([nextPart]byte) }}

// room is where the next bytes go, at most n; empty: there is none.
func (p *parts) room(n int) []byte {
	if k := len(p.list) - 1; k >= 0 && len(p.list[k]) < cap(p.list[k]) {
		last := p.list[k]
		return last[len(last):min(cap(last), len(last)+n)]
	}
	size := nextPart
	if len(p.list) == 0 {
		size = min(firstPart, n)
	}
	if !p.budget.take(size, p.size+size) {
		return nil
	}
	p.held += size
	var part []byte
	if len(p.list) == 0 {
		part = make([]byte, 0, size)
	} else {
		part = freeParts.Get().(*[nextPart]byte)[:0]
	}
	p.list = append(p.list, part)
	return part[:min(size, n)]
}

// add notes that n bytes have come to where there was room.
func (p *parts) add(n int) {
	last := &p.list[len(p.list)-1]
	*last = (*last)[:len(*last)+n]
	p.size += n
}

// join is the whole body, for which the budget then holds so much; false: it
// cannot. What it is made of is free again.
func (p *parts) join() (body []byte, held int, ok bool) {
	if len(p.list) == 1 {
		body, held = p.list[0], p.held
		*p = parts{budget: p.budget}
		return body, held, true
	}
	if !p.budget.take(p.size, 0) { // of all of it: who has come this far goes first
		return nil, 0, false
	}
	body = make([]byte, 0, p.size)
	for _, part := range p.list {
		body = append(body, part...)
	}
	return body, p.size, true
}

// free gives everything back.
func (p *parts) free() {
	for i := 1; i < len(p.list); i++ {
		freeParts.Put((*[nextPart]byte)(p.list[i][:nextPart]))
	}
	p.budget.give(p.held)
	*p = parts{budget: p.budget}
}

package grammar

import (
	"encoding/binary"
	"errors"
	"slices"
)

// automaton runs an expression byte by byte. It is not safe for concurrent
// use.
type automaton struct {
	conts    []cont
	ids      map[cont]int32
	closures [][]int32 // of conts; nil: not known yet

	states []state
	rows   []*row // of states; &unmade: none made yet
	index  map[string]int32
	start  int32

	work   int // continuations that may be looked at before it gives up
	memory int // bytes kept, roughly
	// What a budget has accounted for, see budget.ran.
	counted, kept int
	err           error // it gave up; what it says from then on means nothing

	// Scratch of closure and step.
	visited []int32 // of conts: the round that met them last
	round   int32
	leaves  []int32
	next    []int32
	key     []byte
}

// cont is a continuation: what is left to match is e from its position on,
// then the continuation next.
type cont struct {
	e *expr
	// count is the position in e: of a text the byte, of a table the state (see
	// counted), of a sequence the part, of a repetition the rounds done.
	count int32
	depth int32 // of references around e
	next  int32
}

// finished is the continuation of which nothing is left.
const finished = 0

// state is a set of continuations, each beginning with a byte or finished.
type state struct {
	leaves  []int32 // sorted
	accepts bool    // it is possible that nothing is left
	// plain: any plain token (see Vocabulary) may follow.
	plain  bool
	unique []int32 // of leaves: those within opUnique
	// Not known yet when nil, or unknown.
	mask  []uint32 // tokens that may follow
	near  int32    // see near
	short []uint32 // of states that are near: tokens that may follow, but for long ones
}

// row is a state's transitions.
type row [256]int32

// The states that are none.
const (
	unknown = 0 // in a row: not known yet
	dead    = 1 // nothing can be matched any more
)

var unmade row

var errAmbiguous = errors.New("there are too many ways to match: its parts are too ambiguous")

func newAutomaton(e *expr) *automaton {
	a := &automaton{
		ids: map[cont]int32{}, index: map[string]int32{}, work: maskWork,
		conts: make([]cont, 1), closures: make([][]int32, 1), visited: make([]int32, 1),
		states: make([]state, 2), rows: []*row{&unmade, new(row)},
	}
	for i := range a.rows[dead] {
		a.rows[dead][i] = dead
	}
	a.closures[finished] = []int32{finished}
	a.leaves = a.leaves[:0]
	a.round++
	a.push(e, 0, finished)
	a.start = a.intern(a.leaves)
	return a
}

// step is the state after byte b.
func (a *automaton) step(s int32, b byte) int32 {
	r := a.rows[s]
	if r[b] != unknown {
		return r[b]
	}
	a.next = a.next[:0]
	for _, k := range a.states[s].leaves {
		after := a.after(k, b)
		if a.work -= len(after) + 1; a.work < 0 {
			a.err = errAmbiguous
			return dead
		}
		a.next = append(a.next, after...)
	}
	if r == &unmade {
		r = new(row)
		a.rows[s] = r
		a.memory += len(r) * 4
	}
	r[b] = a.intern(a.next)
	return r[b]
}

// after is what may be left of continuation k after byte b.
func (a *automaton) after(k int32, b byte) []int32 {
	if k == finished {
		return nil
	}
	c := a.conts[k]
	switch c.e.op {
	case opBytes:
		if !c.e.set.has(b) {
			return nil
		}
		return a.closure(c.next)
	case opText:
		if c.e.text[c.count] != b {
			return nil
		}
		if c.count++; int(c.count) == len(c.e.text) {
			return a.closure(c.next)
		}
	case opTable:
		to := c.e.table.step(c.count, b)
		if to < 0 {
			return nil
		}
		c.count = to
	case opCounted:
		to := c.e.counted.step(c.count, b)
		if to < 0 {
			return nil
		}
		c.count = to
	}
	return a.closure(a.cont(c))
}

// cont returns a continuation's number.
func (a *automaton) cont(c cont) int32 {
	if k, ok := a.ids[c]; ok {
		return k
	}
	k := int32(len(a.conts))
	a.conts = append(a.conts, c)
	a.closures = append(a.closures, nil)
	a.visited = append(a.visited, 0)
	a.ids[c] = k
	a.memory += 128
	return k
}

// closure is what continuation k stands for, told by the byte to come: the
// continuations that begin with one, and finished if nothing need be left.
func (a *automaton) closure(k int32) []int32 {
	if a.closures[k] == nil {
		a.round++
		a.leaves = a.leaves[:0]
		a.collect(k)
		a.closures[k] = append(make([]int32, 0, len(a.leaves)), a.leaves...)
		a.memory += 4 * len(a.leaves)
	}
	return a.closures[k]
}

// collect adds to leaves what k stands for.
func (a *automaton) collect(k int32) {
	if a.visited[k] == a.round {
		return
	}
	a.visited[k] = a.round
	if a.work--; a.work < 0 {
		a.err = errAmbiguous
		return
	}
	if k == finished {
		a.leaves = append(a.leaves, k)
		return
	}
	c := a.conts[k]
	switch c.e.op {
	case opEmpty:
		a.collect(c.next)
	case opBytes, opText:
		a.leaves = append(a.leaves, k)
	case opTable, opCounted:
		s := &c.e.table.states[int(c.count)%len(c.e.table.states)]
		if len(s.edges) > 0 {
			a.leaves = append(a.leaves, k)
		}
		if s.accepts {
			a.collect(c.next)
		}
	case opSeq:
		next := c.next
		if int(c.count)+1 < len(c.e.subs) {
			next = a.cont(cont{c.e, c.count + 1, c.depth, c.next})
		}
		a.push(c.e.subs[c.count], c.depth, next)
	case opAlt:
		for _, s := range c.e.subs {
			a.push(s, c.depth, c.next)
		}
	case opRepeat:
		if c.count >= c.e.min {
			a.collect(c.next)
		}
		done := c.count + 1
		switch {
		case c.e.max < 0:
			done = min(done, c.e.min)
		case done == c.e.max:
			a.push(c.e.subs[0], c.depth, c.next)
			return
		}
		a.push(c.e.subs[0], c.depth, a.cont(cont{c.e, done, c.depth, c.next}))
	case opUnique:
		if c.count > 0 { // its string has ended
			a.collect(c.next)
			return
		}
		a.push(c.e.subs[0], c.depth, a.cont(cont{c.e, 1, c.depth, c.next}))
	case opRef:
		depth := c.depth
		if !c.e.tail {
			depth++
		}
		a.push(c.e.subs[0], depth, c.next)
	}
}

// push collects e followed by next, unless e cannot end within the depth
// allowed. Whatever is within e was then found to fit with it.
func (a *automaton) push(e *expr, depth, next int32) {
	if depth+e.height <= maxDepth {
		a.collect(a.cont(cont{e, 0, depth, next}))
	}
}

// intern returns the state that is these continuations, in any order.
func (a *automaton) intern(leaves []int32) int32 {
	if len(leaves) == 0 || a.err != nil {
		return dead
	}
	slices.Sort(leaves)
	leaves = slices.Compact(leaves)
	a.key = a.key[:0]
	for _, k := range leaves {
		a.key = binary.LittleEndian.AppendUint32(a.key, uint32(k))
	}
	if s, ok := a.index[string(a.key)]; ok {
		return s
	}
	s := int32(len(a.states))
	st := state{leaves: slices.Clone(leaves), accepts: leaves[0] == finished}
	for _, k := range leaves {
		st.plain = st.plain || a.repeatsPlain(k)
		if k != finished && a.conts[k].next != finished && a.conts[a.conts[k].next].e.op == opUnique {
			st.unique = append(st.unique, k)
		}
	}
	a.states = append(a.states, st)
	a.rows = append(a.rows, &unmade)
	a.index[string(a.key)] = s
	a.memory += 128 + 8*len(leaves)
	return s
}

// repeatsPlain reports whether k is at the first of any plain characters, with
// room for a token of them.
func (a *automaton) repeatsPlain(k int32) bool {
	if k == finished {
		return false
	}
	c := &a.conts[k]
	if !c.e.plain || c.count != 0 || c.next == finished {
		return false
	}
	r := &a.conts[c.next]
	return r.e.op == opRepeat && r.e.subs[0] == c.e && (r.e.max < 0 || r.e.max-r.count+1 >= horizon)
}

// near is a state, the same for many, from which the same texts of horizon
// bytes can be matched as from s: one whose repetitions are as far from their
// bounds as that, if no farther. The characters of a long string are so
// different states, and yet need one mask.
func (a *automaton) near(s int32) int32 {
	if a.states[s].near == unknown {
		a.next = a.next[:0]
		for _, k := range a.states[s].leaves {
			a.next = append(a.next, a.nearCont(k))
		}
		n := a.intern(a.next)
		a.states[s].near = n
	}
	return a.states[s].near
}

func (a *automaton) nearCont(k int32) int32 {
	if k == finished {
		return k
	}
	c := a.conts[k]
	c.next = a.nearCont(c.next)
	switch c.e.op {
	case opTable:
		c.count = c.e.table.near(c.count)
	case opCounted:
		c.count = c.e.counted.near(c.count)
	}
	if e := c.e; e.op == opRepeat && c.count > 0 && (e.max < 0 || e.max-c.count > horizon) {
		switch {
		case e.min-c.count > horizon:
			c.count = 1
		case c.count >= e.min:
			c.count = max(e.min, 1)
		}
	}
	return a.cont(c)
}

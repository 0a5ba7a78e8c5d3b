package grammar

import (
	"encoding/binary"
	"slices"
	"sync"
)

// table is a deterministic automaton: an expression that was worked out
// beforehand. State 0 is where it begins; every state leads to an accepting
// one.
type table struct {
	states []tableState

	once    sync.Once
	nearest []int32 // see near; nil: every state is its own
}

type tableState struct {
	accepts bool
	edges   []edge // by lo; they do not overlap
}

// edge leads to a state on each byte from lo to hi.
type edge struct {
	lo, hi byte
	to     int32
}

// step is the state after byte b, or -1.
func (t *table) step(s int32, b byte) int32 {
	for _, e := range t.states[s].edges {
		if b <= e.hi {
			if b >= e.lo {
				return e.to
			}
			break
		}
	}
	return -1
}

// tabled is e as a table: one continuation instead of many. It reports false
// when that would be too large; e must hold no reference.
func tabled(w *budget, e *expr) (*expr, bool) { return common(w, e, nil) }

// common matches what both a and b do, or a alone when b is nil. It reports
// false when that would be too large.
func common(w *budget, a, b *expr) (*expr, bool) {
	if b == nil {
		b = repeat(span(0, 255), 0, -1)
	}
	p, ok := multiply(w, a, b)
	if !ok {
		return nil, false
	}
	return p.table.expr(), true
}

// product is a table of what two expressions have in common, and whether the
// second accepts in each of its states.
type product struct {
	table  *table
	second []bool
}

// multiply runs both beside each other. It reports false when that takes too
// many states.
func multiply(w *budget, a, b *expr) (product, bool) {
	x, y := w.automaton(a), w.automaton(b)
	type pair struct{ x, y int32 }
	pairs := []pair{{x.start, y.start}}
	ids := map[pair]int32{pairs[0]: 0}
	p := product{table: &table{}}
	alike := alphabet(w, a, b)
	for i := 0; i < len(pairs); i++ {
		at := pairs[i]
		second := y.states[at.y].accepts
		s := tableState{accepts: x.states[at.x].accepts && second}
		for _, c := range alike {
			to := pair{x.step(at.x, c.lo), y.step(at.y, c.lo)}
			if to.x == dead || to.y == dead {
				continue
			}
			id, ok := ids[to]
			if !ok {
				id = int32(len(pairs))
				ids[to] = id
				pairs = append(pairs, to)
			}
			s.edges = appendEdge(s.edges, c.lo, c.hi, id)
		}
		p.table.states = append(p.table.states, s)
		p.second = append(p.second, second)
		if len(pairs) > maxTable || !w.ran(len(alike), len(s.edges), x, y) {
			return product{}, false
		}
	}
	return p, true
}

// expr matches what the table accepts.
func (t *table) expr() *expr {
	if t, _ := t.lean(); t != nil {
		return &expr{op: opTable, table: t}
	}
	return never
}

// lean is the table without the states that lead to no accepting one, and which
// states it has kept; nil when it accepts nothing.
func (t *table) lean() (lean *table, kept []int32) {
	from := make([][]int32, len(t.states))
	var queue []int32
	lives := make([]bool, len(t.states))
	for i, s := range t.states {
		for _, e := range s.edges {
			from[e.to] = append(from[e.to], int32(i))
		}
		if s.accepts {
			lives[i] = true
			queue = append(queue, int32(i))
		}
	}
	for i := 0; i < len(queue); i++ {
		for _, s := range from[queue[i]] {
			if !lives[s] {
				lives[s] = true
				queue = append(queue, s)
			}
		}
	}
	if !lives[0] {
		return nil, nil
	}
	ids := make([]int32, len(t.states))
	n := int32(0)
	for i := range t.states {
		if lives[i] {
			ids[i] = n
			kept = append(kept, int32(i))
			n++
		}
	}
	lean = &table{}
	for i, s := range t.states {
		if !lives[i] {
			continue
		}
		s.edges = slices.DeleteFunc(s.edges, func(e edge) bool { return !lives[e.to] })
		for j := range s.edges {
			s.edges[j].to = ids[s.edges[j].to]
		}
		lean.states = append(lean.states, s)
	}
	return lean, kept
}

// states are those of a table; never has none.
func (e *expr) states() []tableState {
	if e.table == nil {
		return nil
	}
	return e.table.states
}

// complement matches what e does not, of any bytes. It reports false when that
// would be too large.
func complement(w *budget, e *expr) (*expr, bool) {
	a := w.automaton(e)
	t := &table{}
	alike := alphabet(w, e)
	states := []int32{a.start}
	ids := map[int32]int32{a.start: 0}
	for i := 0; i < len(states); i++ {
		s := tableState{accepts: !a.states[states[i]].accepts}
		for _, c := range alike {
			to := a.step(states[i], c.lo)
			id, ok := ids[to]
			if !ok {
				id = int32(len(states))
				ids[to] = id
				states = append(states, to)
			}
			s.edges = appendEdge(s.edges, c.lo, c.hi, id)
		}
		t.states = append(t.states, s)
		if len(states) > maxTable || !w.ran(len(alike), len(s.edges), a) {
			return nil, false
		}
	}
	return t.expr(), true
}

// complement is that of e, worked out once.
func (c *compiler) complement(e *expr) (*expr, bool) {
	not, known := c.outside[e]
	if !known {
		not, _ = complement(c.budget, e)
		c.outside[e] = not
	}
	return not, not != nil
}

// appendEdge adds an edge for bytes that are above all others.
func appendEdge(edges []edge, lo, hi byte, to int32) []edge {
	if n := len(edges); n > 0 && edges[n-1].to == to && edges[n-1].hi == lo-1 {
		edges[n-1].hi = hi
		return edges
	}
	return append(edges, edge{lo, hi, to})
}

// alphabet parts all bytes into ranges of those that are alike to expressions.
func alphabet(w *budget, all ...*expr) []edge {
	var begins [257]bool // a range does
	for _, e := range pieces(all...) {
		w.spend(1 + len(e.states())/4)
		switch e.op {
		case opBytes:
			for b := 1; b < 256; b++ {
				begins[b] = begins[b] || e.set.has(byte(b)) != e.set.has(byte(b-1))
			}
		case opText:
			for _, b := range []byte(e.text) {
				begins[b], begins[int(b)+1] = true, true
			}
		case opTable, opCounted:
			for _, s := range e.table.states {
				for _, r := range s.edges {
					begins[r.lo], begins[int(r.hi)+1] = true, true
				}
			}
		}
	}
	ranges := []edge{{hi: 255}}
	for b := 1; b < 256; b++ {
		if begins[b] {
			ranges[len(ranges)-1].hi = byte(b - 1)
			ranges = append(ranges, edge{lo: byte(b), hi: 255})
		}
	}
	return ranges
}

// automaton is one for working out a table, with all that is left.
func (b *budget) automaton(e *expr) *automaton {
	b.spend(measure(e))
	a := newAutomaton(e)
	a.work, a.counted = maskWork*16, maskWork*16
	return a
}

// ran accounts for one more state of a table, and what automata did for it. It
// reports false when that was too much.
func (b *budget) ran(alike, edges int, automata ...*automaton) bool {
	ok := b.spend(alike/4+1) && b.keep(64+16*edges)
	for _, a := range automata {
		ok = ok && a.err == nil && b.spend(a.counted-a.work) && b.keep(a.memory-a.kept)
		a.counted, a.kept = a.work, a.memory
	}
	return ok
}

// Tables of which states are told to be near: of smaller ones there is little to
// gain, and for larger ones it takes long.
const (
	leastNear = 16
	mostNear  = 1 << 11
)

// near is a state, the same for many, from which the same texts of horizon bytes
// are accepted, and the same go on.
func (t *table) near(s int32) int32 {
	if n := len(t.states); n < leastNear || n > mostNear {
		return s
	}
	t.once.Do(t.findNear)
	return t.nearest[s]
}

// findNear tells states apart by texts of one byte more each round (Moore 1956).
func (t *table) findNear() {
	class := make([]int32, len(t.states))
	for i, s := range t.states {
		if s.accepts {
			class[i] = 1
		}
	}
	known := 0
	var key []byte
	for range horizon {
		ids := map[string]int32{}
		next := make([]int32, len(t.states))
		for i, s := range t.states {
			key = binary.LittleEndian.AppendUint32(key[:0], uint32(class[i]))
			for j, e := range s.edges {
				if j > 0 && s.edges[j-1].hi+1 == e.lo && class[s.edges[j-1].to] == class[e.to] {
					key[len(key)-5] = e.hi
					continue
				}
				key = append(key, e.lo, e.hi)
				key = binary.LittleEndian.AppendUint32(key, uint32(class[e.to]))
			}
			id, ok := ids[string(key)]
			if !ok {
				id = int32(len(ids))
				ids[string(key)] = id
			}
			next[i] = id
		}
		class = next
		if len(ids) == known {
			break
		}
		known = len(ids)
	}
	first := map[int32]int32{}
	t.nearest = make([]int32, len(t.states))
	for i, c := range class {
		if _, ok := first[c]; !ok {
			first[c] = int32(i)
		}
		t.nearest[i] = first[c]
	}
}

package grammar

import (
	"bytes"
	"slices"
)

// An automaton has states, not memory: which strings an array has is known to the
// matcher, as a track. Arrays whose strings have to differ are flat, so there is
// one at a time, and it begins at the last bracket that was opened outside of a
// string.
//
// A state may be within a string of such an array (opUnique): then the texts
// tracked so far are left out, and so are beginnings all of whose ends are taken.

// track is what a text has of an array whose strings differ.
type track struct {
	items []string // whole, with their quotes
	item  []byte   // begun; empty: none is
}

// step goes on by a byte that leads from a state; false when the text is at a
// string that the array has already.
func (t *track) step(a *automaton, from int32, b byte) bool {
	ends := false
	within := false
	for _, k := range a.states[from].unique {
		c := &a.conts[k]
		if to := c.e.table.step(c.count, b); to >= 0 {
			within = true
			ends = ends || len(c.e.table.states[to].edges) == 0
		}
	}
	switch {
	case within:
		t.item = append(t.item, b)
	case b == '[' || b == ']':
		t.items = t.items[:0]
		fallthrough
	default:
		t.item = t.item[:0]
	}
	if ends {
		if slices.Contains(t.items, string(t.item)) {
			return false
		}
		t.items = append(t.items, string(t.item))
		t.item = t.item[:0]
	}
	return true
}

// lives reports whether what was begun may come to an end that is not taken.
func (t *track) lives(a *automaton, at int32) bool {
	inside := a.states[at].unique
	if len(inside) == 0 || len(t.item) == 0 {
		return true
	}
	size := int32(0)
	for _, k := range inside {
		c := &a.conts[k]
		size = max(size, a.conts[c.next].e.sizes[c.count])
	}
	if size >= many {
		return true
	}
	taken := int32(0)
	for _, s := range t.items {
		if len(s) > len(t.item) && s[:len(t.item)] == string(t.item) {
			taken++
		}
	}
	return size > taken
}

// read goes on by a token; false: it must not be.
func (t *track) read(a *automaton, at int32, token []byte) (int32, bool) {
	for _, b := range token {
		if !t.step(a, at, b) {
			return dead, false
		}
		at = a.step(at, b)
	}
	return at, at != dead && t.lives(a, at)
}

// tracked is a mask without the tokens that the track does not allow.
func (v *Vocabulary) tracked(a *automaton, at int32, t *track, mask []uint32) []uint32 {
	out := slices.Clone(mask)
	candidates := v.strings
	if len(t.items) > 0 || t.bounded(a, at, 1) { // a token may end a string and begin another
		candidates = v.quoted
	}
	scratch := track{items: slices.Clone(t.items)}
	try := func(id int32) {
		if out[id/32]>>(id%32)&1 == 0 {
			return
		}
		scratch.items = append(scratch.items[:0], t.items...)
		scratch.item = append(scratch.item[:0], t.item...)
		if _, ok := scratch.read(a, at, v.text[id]); !ok {
			out[id/32] &^= 1 << (id % 32)
		}
	}
	for _, id := range candidates {
		try(id)
	}
	if !t.bounded(a, at, 0) {
		return out
	}
	for _, s := range t.items { // tokens that go on as it does
		if len(s) < len(t.item) || !bytes.HasPrefix([]byte(s), t.item) {
			continue
		}
		for _, of := range []*trie{&v.plain, &v.rest, &v.long} {
			of.along([]byte(s[len(t.item):]), try)
		}
	}
	return out
}

// bounded reports whether the track, with so many strings more, may have taken all
// that may follow somewhere in a string.
func (t *track) bounded(a *automaton, at int32, more int) bool {
	return slices.ContainsFunc(a.states[at].unique, func(k int32) bool {
		return int(a.conts[a.conts[k].next].e.min) <= len(t.items)+more
	})
}

// along yields the tokens that a text begins with.
func (t *trie) along(s []byte, yield func(id int32)) {
	for i := 0; i < len(t.nodes); {
		n := &t.nodes[i]
		if int(n.depth) > len(s) || s[n.depth-1] != n.b {
			i = int(n.skip)
			continue
		}
		if n.token >= 0 {
			yield(n.token)
		}
		i++
	}
}

// own is what a matcher has for itself of a text that is tracked: the track, and
// the mask after so many tokens; nil: it is not known.
type own struct {
	track track
	mask  []uint32
	after int
}

// restrict is a mask without what the text's track does not allow.
func (m *Matcher) restrict(mask []uint32) []uint32 {
	o := m.own
	if o.mask == nil || o.after != m.read {
		m.g.a.work = maskWork
		o.mask, o.after = m.g.vocab.tracked(m.g.a, m.at, &o.track, mask), m.read
		if m.spend(); m.err == nil && slices.Equal(o.mask, m.g.vocab.empty) {
			m.err = errStuck
		}
	}
	if m.err != nil {
		return m.g.vocab.empty
	}
	return o.mask
}

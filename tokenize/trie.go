package tokenize

import (
	"bytes"
	"cmp"
	"slices"
)

// trie finds the tokens that a text starts with: a double array, in which the
// child of a node by byte c is node base+c, if that node's own byte is c. No
// two nodes share a base.
type trie struct {
	nodes []trieNode
}

type trieNode struct {
	link  uint32 // base<<8 | the byte that leads here
	token int32  // the token spelled by the path to here, or -1
}

// noBase lies beyond all nodes: the base of a node without children. A free
// node has it too, with byte 0, and so ends every walk.
const noBase = 1<<24 - 1

// newTrie builds the trie of the tokens for which text returns bytes, and
// reports for each the longest other token that it starts with, or -1.
func newTrie(n int, text func(id int32) []byte, prefix func(id, of int32)) *trie {
	b := trieBuilder{text: text, prefix: prefix, ids: sortedByText(n, text)}
	b.grow(256)
	b.taken[0] = true
	b.build()
	return &trie{b.nodes}
}

func sortedByText(n int, text func(id int32) []byte) []int32 {
	type entry struct {
		head uint64 // the first bytes, so that few comparisons read the text
		id   int32
	}
	var all []entry
	for id := range int32(n) {
		t := text(id)
		if len(t) == 0 {
			continue
		}
		e := entry{id: id}
		for i := range 8 {
			e.head <<= 8
			if i < len(t) {
				e.head |= uint64(t[i])
			}
		}
		all = append(all, e)
	}
	slices.SortFunc(all, func(x, y entry) int {
		if c := cmp.Compare(x.head, y.head); c != 0 {
			return c
		}
		return bytes.Compare(text(x.id), text(y.id))
	})
	ids := make([]int32, len(all))
	for i, e := range all {
		ids[i] = e.id
	}
	return ids
}

type trieBuilder struct {
	text   func(id int32) []byte
	prefix func(id, of int32)
	ids    []int32 // sorted by text
	nodes  []trieNode
	taken  []bool // by node
	based  []bool // by base
	free   int    // no free node is before this one
}

// job is a node whose children are to be placed: the tokens below it are
// ids[lo:hi], the path to it is their first depth bytes, and the last token on
// that path is above.
type job struct{ node, lo, hi, depth, above int32 }

func (b *trieBuilder) build() {
	// Breadth first: nodes near the root, which every walk visits, share
	// cache lines.
	jobs := []job{{0, 0, int32(len(b.ids)), 0, -1}}
	var chars []byte
	var starts []int32
	for len(jobs) > 0 {
		j := jobs[0]
		jobs = jobs[1:]
		if j.lo < j.hi && len(b.text(b.ids[j.lo])) == int(j.depth) {
			id := b.ids[j.lo]
			b.nodes[j.node].token = id
			b.prefix(id, j.above)
			j.above = id
			j.lo++
		}
		chars, starts = chars[:0], starts[:0]
		for i := j.lo; i < j.hi; i++ {
			if c := b.text(b.ids[i])[j.depth]; len(chars) == 0 || c != chars[len(chars)-1] {
				chars = append(chars, c)
				starts = append(starts, i)
			}
		}
		if len(chars) == 0 {
			continue
		}
		base := b.place(chars)
		b.nodes[j.node].link = uint32(base)<<8 | b.nodes[j.node].link&0xFF
		starts = append(starts, j.hi)
		for i, c := range chars {
			at := base + int(c)
			b.taken[at] = true
			b.nodes[at].link = noBase<<8 | uint32(c)
			jobs = append(jobs, job{int32(at), starts[i], starts[i+1], j.depth + 1, j.above})
		}
	}
}

// place finds an unused base at which all children fall on free nodes.
func (b *trieBuilder) place(chars []byte) int {
	for b.free < len(b.taken) && b.taken[b.free] {
		b.free++
	}
	// Holes far back have been tried often: looking only a little before the
	// end keeps building linear, and costs few nodes.
	from := max(b.free, int(chars[0]), len(b.taken)-300)
	for base := from - int(chars[0]); ; base++ {
		b.grow(base + 256)
		if b.fits(base, chars) {
			b.based[base] = true
			return base
		}
	}
}

func (b *trieBuilder) fits(base int, chars []byte) bool {
	if b.based[base] {
		return false
	}
	for _, c := range chars {
		if b.taken[base+int(c)] {
			return false
		}
	}
	return true
}

func (b *trieBuilder) grow(n int) {
	for len(b.nodes) < n {
		b.nodes = append(b.nodes, trieNode{link: noBase << 8, token: -1})
		b.taken = append(b.taken, false)
		b.based = append(b.based, false)
	}
}

// longest returns the longest token that s starts with, or -1.
func (t *trie) longest(s string) int32 {
	best := int32(-1)
	nodes := t.nodes
	base := nodes[0].link >> 8
	for i := range len(s) {
		at := int(base) + int(s[i])
		if at >= len(nodes) {
			break
		}
		n := nodes[at]
		if byte(n.link) != s[i] {
			break
		}
		if n.token >= 0 {
			best = n.token
		}
		base = n.link >> 8
	}
	return best
}

// whole returns the token spelled s, or -1.
func (t *trie) whole(s string) int32 {
	n := t.nodes[0]
	for i := range len(s) {
		at := int(n.link>>8) + int(s[i])
		if at >= len(t.nodes) || byte(t.nodes[at].link) != s[i] {
			return -1
		}
		n = t.nodes[at]
	}
	return n.token
}

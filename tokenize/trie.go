package tokenize

import (
	"bytes"
	"slices"
)

// trie finds the tokens that a text starts with: a double array, in which the
// child of node n by byte c is node base(n)+c, if that node's parent is n.
type trie struct {
	nodes []trieNode
}

type trieNode struct {
	parent int32 // -1: free
	base   int32
	token  int32 // the token spelled by the path to here, or -1
}

// newTrie builds the trie of the tokens for which text returns bytes.
func newTrie(n int, text func(id int32) []byte) *trie {
	b := trieBuilder{text: text}
	for id := range int32(n) {
		if len(text(id)) > 0 {
			b.ids = append(b.ids, id)
		}
	}
	slices.SortFunc(b.ids, func(x, y int32) int { return bytes.Compare(text(x), text(y)) })
	b.grow(1)
	b.nodes[0] = trieNode{parent: 0, token: -1}
	b.free = 1
	b.build()
	return &trie{b.nodes}
}

type trieBuilder struct {
	text  func(id int32) []byte
	ids   []int32 // sorted by text
	nodes []trieNode
	free  int32 // no free node is before this one
}

// job is a node whose children are to be placed: the tokens below it are
// ids[lo:hi], and the path to it is their first depth bytes.
type job struct{ node, lo, hi, depth int32 }

func (b *trieBuilder) build() {
	// Breadth first: nodes near the root, which every walk visits, share
	// cache lines.
	jobs := []job{{0, 0, int32(len(b.ids)), 0}}
	var chars []byte
	var starts []int32
	for len(jobs) > 0 {
		j := jobs[0]
		jobs = jobs[1:]
		if j.lo < j.hi && len(b.text(b.ids[j.lo])) == int(j.depth) {
			b.nodes[j.node].token = b.ids[j.lo]
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
		b.nodes[j.node].base = base
		starts = append(starts, j.hi)
		for i, c := range chars {
			at := base + int32(c)
			b.nodes[at] = trieNode{parent: j.node, token: -1}
			jobs = append(jobs, job{at, starts[i], starts[i+1], j.depth + 1})
		}
	}
}

// place finds a base at which all children fall on free nodes.
func (b *trieBuilder) place(chars []byte) int32 {
	for b.free < int32(len(b.nodes)) && b.nodes[b.free].parent >= 0 {
		b.free++
	}
	from := b.free
	if len(chars) > 1 {
		// Wide nodes rarely fit into the holes that narrow ones fill later:
		// do not look further back than a little before the end.
		from = max(from, int32(len(b.nodes))-4096)
	}
	for at := max(from, int32(chars[0])); ; at++ {
		base := at - int32(chars[0])
		b.grow(int(base) + 256)
		if b.fits(base, chars) {
			return base
		}
	}
}

func (b *trieBuilder) fits(base int32, chars []byte) bool {
	for _, c := range chars {
		if b.nodes[base+int32(c)].parent >= 0 {
			return false
		}
	}
	return true
}

func (b *trieBuilder) grow(n int) {
	for len(b.nodes) < n {
		b.nodes = append(b.nodes, trieNode{parent: -1, token: -1})
	}
}

// step returns the child of node by c, or -1.
func (t *trie) step(node int32, c byte) int32 {
	at := t.nodes[node].base + int32(c)
	if int(at) >= len(t.nodes) || t.nodes[at].parent != node {
		return -1
	}
	return at
}

// longest returns the longest token that s starts with, or -1.
func (t *trie) longest(s string) int32 {
	best, node := int32(-1), int32(0)
	nodes := t.nodes
	base := nodes[0].base
	for i := 0; i < len(s); i++ {
		at := base + int32(s[i])
		if uint(at) >= uint(len(nodes)) {
			break
		}
		n := &nodes[at]
		if n.parent != node {
			break
		}
		if n.token >= 0 {
			best = n.token
		}
		node, base = at, n.base
	}
	return best
}

// whole returns the token spelled s, or -1.
func (t *trie) whole(s string) int32 {
	node := int32(0)
	for i := range len(s) {
		if node = t.step(node, s[i]); node < 0 {
			return -1
		}
	}
	return t.nodes[node].token
}

package tokenize

import (
	"bytes"
	"cmp"
	"fmt"
	"math/bits"
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

// newTrie builds the trie of tokens, and reports for each the longest other
// token that it starts with, or -1.
func newTrie(tokens []spelled, prefix func(id, of int32)) (*trie, error) {
	b := trieBuilder{prefix: prefix, tokens: tokens}
	b.grow(1)
	b.taken.set(0)
	b.build()
	if len(b.nodes) > noBase {
		return nil, fmt.Errorf("model: vocab: the tokens have too many different beginnings, more than %d", noBase)
	}
	return &trie{b.nodes}, nil
}

// spelled is a token and its text.
type spelled struct {
	head uint64 // the first bytes of text, so that few steps read the rest
	id   int32
	text []byte
}

func (t *spelled) at(i int32) byte {
	if i < 8 {
		return byte(t.head >> (56 - 8*i))
	}
	return t.text[i]
}

// sortedByText lists the tokens below n for which text returns bytes.
func sortedByText(n int, text func(id int32) []byte) []spelled {
	// One pass by the first two bytes, then each of those groups by itself.
	var ends [1 << 16]int32
	all := make([]spelled, 0, n)
	for id := range int32(n) {
		t := text(id)
		if len(t) == 0 {
			continue
		}
		e := spelled{id: id, text: t}
		for i := range 8 {
			e.head <<= 8
			if i < len(t) {
				e.head |= uint64(t[i])
			}
		}
		all = append(all, e)
		ends[e.head>>48]++
	}
	sum := int32(0)
	for i, n := range ends {
		ends[i] = sum
		sum += n
	}
	sorted := make([]spelled, len(all))
	for _, e := range all {
		at := &ends[e.head>>48]
		sorted[*at] = e
		*at++
	}
	from := int32(0)
	for _, end := range ends {
		slices.SortFunc(sorted[from:end], func(x, y spelled) int {
			if c := cmp.Compare(x.head, y.head); c != 0 {
				return c
			}
			return bytes.Compare(x.text, y.text)
		})
		from = end
	}
	return sorted
}

type trieBuilder struct {
	prefix func(id, of int32)
	tokens []spelled // sorted by text
	nodes  []trieNode
	taken  bitset // nodes
	based  bitset // bases
	free   int    // no free node is before this one
	chars  []byte
}

// job is a node whose children are to be placed: the tokens below it are
// tokens[lo:hi], the path to it is their first depth bytes, and the last token
// on that path is above.
type job struct{ node, lo, hi, depth, above int32 }

// nearRoot is how deep nodes are placed level by level, those that every walk
// visits side by side. Deeper ones are placed subtree by subtree, so that the
// rest of a walk stays within a few cache lines.
const nearRoot = 3

func (b *trieBuilder) build() {
	jobs := []job{{0, 0, int32(len(b.tokens)), 0, -1}}
	for len(jobs) > 0 && len(b.nodes) <= noBase {
		j := jobs[0]
		jobs = jobs[1:]
		if j.depth < nearRoot {
			jobs = b.children(j, jobs)
		} else {
			b.subtree(j)
		}
	}
}

func (b *trieBuilder) subtree(j job) {
	var buf [8]job
	for _, j := range b.children(j, buf[:0]) {
		if len(b.nodes) > noBase {
			return
		}
		b.subtree(j)
	}
}

// children places the children of a node and appends their jobs.
func (b *trieBuilder) children(j job, jobs []job) []job {
	if j.lo < j.hi && len(b.tokens[j.lo].text) == int(j.depth) {
		t := &b.tokens[j.lo]
		b.nodes[j.node].token = t.id
		b.prefix(t.id, j.above)
		j.above = t.id
		j.lo++
	}
	first := len(jobs)
	b.chars = b.chars[:0]
	for i := j.lo; i < j.hi; i++ {
		c := b.tokens[i].at(j.depth)
		if n := len(b.chars); n > 0 && b.chars[n-1] == c {
			jobs[len(jobs)-1].hi++
			continue
		}
		b.chars = append(b.chars, c)
		jobs = append(jobs, job{0, i, i + 1, j.depth + 1, j.above})
	}
	if len(b.chars) == 0 {
		return jobs
	}
	base := b.place()
	b.nodes[j.node].link = uint32(base)<<8 | b.nodes[j.node].link&0xFF
	for i, c := range b.chars {
		at := base + int(c)
		b.taken.set(at)
		b.nodes[at].link = noBase<<8 | uint32(c)
		jobs[first+i].node = int32(at)
	}
	return jobs
}

// place finds an unused base at which all chars fall on free nodes, 64 bases
// at a time.
func (b *trieBuilder) place() int {
	for b.taken.has(b.free) {
		b.free++
	}
	// Holes far back have been tried often: looking only a little before the
	// end keeps building linear, and costs few nodes.
	c0 := int(b.chars[0])
	from := max(b.free, c0, len(b.nodes)-512) - c0
	skip := ^uint64(0) << (from & 63)
	for at := from &^ 63; ; at += 64 {
		b.grow(at + 64 + 256)
		fits := ^b.based.words[at>>6] & skip
		for _, c := range b.chars {
			if fits &^= b.taken.from(at + int(c)); fits == 0 {
				break
			}
		}
		if fits != 0 {
			base := at + bits.TrailingZeros64(fits)
			b.based.set(base)
			return base
		}
		skip = ^uint64(0)
	}
}

// grow makes room for n nodes, and some words of taken beyond.
func (b *trieBuilder) grow(n int) {
	for len(b.nodes) < n {
		var block [64]trieNode
		for i := range block {
			block[i] = trieNode{link: noBase << 8, token: -1}
		}
		b.nodes = append(b.nodes, block[:]...)
	}
	for words := len(b.nodes)/64 + 2; len(b.taken.words) < words; {
		b.taken.words = append(b.taken.words, 0)
		b.based.words = append(b.based.words, 0)
	}
}

// longest returns the longest token that s starts with, or -1, and its size.
func (t *trie) longest(s string) (token int32, size int) {
	token = -1
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
			token, size = n.token, i+1
		}
		base = n.link >> 8
	}
	return token, size
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

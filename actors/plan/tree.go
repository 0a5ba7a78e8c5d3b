package plan

import (
	"math/bits"
	"slices"
)

// tree is the radix tree of computed prefixes, at page granularity: a node is
// a full page and stands for the tokens from the start of the sequence to the
// page's end. Children are found by a hash table over (parent, tokens), so a
// match costs one look a page, and mostly not even that: a node remembers its
// youngest child.
type tree struct {
	buckets []int32 // first node of each chain; empty when the tree is not used
	tokens  []int32 // [page][size] of nodes
	heap    []int32 // unused leaves, least recently used on top
	nodes   int
	idle    int // nodes no request holds
	evicted uint64
	changes *Changes // since they were taken last; nil: nobody wants them
}

// Changes are what became of the tree's prefixes: after those in Cleared went all at
// once, pages joined and left one after the other.
type Changes struct {
	Cleared bool
	Pages   []PageChange
}

// PageChange is a page that joined the tree, or was computed no longer. The prefix up
// to its end is named by its hash (see HashPage).
type PageChange struct {
	Hash uint64
	Gone bool
}

// changed notes a change for whoever wants to know.
func (t *tree) changed(hash uint64, gone bool) {
	if t.changes != nil {
		t.changes.Pages = append(t.changes.Pages, PageChange{hash, gone})
	}
}

func (t *tree) init(n, size int) {
	t.buckets = make([]int32, 1<<bits.Len(uint(2*n-1)))
	t.tokens = make([]int32, n*size)
	t.heap = make([]int32, 0, n)
}

func (t *tree) reset() {
	for i := range t.buckets {
		t.buckets[i] = none
	}
	t.heap, t.nodes, t.idle = t.heap[:0], 0, 0
	if t.changes != nil {
		*t.changes = Changes{Cleared: true}
	}
}

// HashPage names the prefix that ends with a page of these tokens, by the name of the
// one before: 0 where there is none. It is the same wherever the prefix is computed.
func HashPage(above uint64, tokens []int32) uint64 {
	const (
		m    = 0x9E3779B97F4A7C15
		seed = 0xD1B54A32D192ED03 // more than tokens: with a small one, some would make it 0, the name of none
	)
	h := above*m + seed
	for len(tokens) >= 2 {
		hi, lo := bits.Mul64(h^(uint64(uint32(tokens[0]))|uint64(uint32(tokens[1]))<<32), m)
		h = hi ^ lo
		tokens = tokens[2:]
	}
	if len(tokens) == 1 {
		h ^= uint64(uint32(tokens[0]))
	}
	hi, lo := bits.Mul64(h, m)
	return hi ^ lo
}

func (s *pages) nodeTokens(id int32) []int32 {
	return s.tokens[int(id)<<s.shift:][:s.size]
}

// hashAt is the hash of the prefix that ends at a node.
func (s *pages) hashAt(id int32) uint64 {
	if id == root {
		return 0
	}
	return s.all[id].hash
}

// child finds the node below parent that holds exactly these tokens.
func (s *pages) child(parent int32, tokens []int32) int32 {
	if parent != root {
		if h := s.all[parent].hint; h != none && s.all[h].parent == parent && slices.Equal(s.nodeTokens(h), tokens) {
			return h
		}
		if s.all[parent].kids == 0 {
			return none
		}
	}
	hash := HashPage(s.hashAt(parent), tokens)
	for id := s.buckets[hash&uint64(len(s.buckets)-1)]; id != none; id = s.all[id].chain {
		n := &s.all[id]
		if n.hash == hash && n.parent == parent && slices.Equal(s.nodeTokens(id), tokens) {
			return id
		}
	}
	return none
}

// link makes a page that someone holds the child of parent with these tokens.
// The tree takes a reference of its own.
func (s *pages) link(id, parent int32, tokens []int32, filled, now uint64) {
	n := &s.all[id]
	if checks && (n.parent != notNode || n.refs < 1) {
		panic("plan: only a held page that is not in the tree can join it")
	}
	copy(s.nodeTokens(id), tokens)
	n.refs++
	n.parent, n.kids, n.hint = parent, 0, none
	n.hash, n.used, n.filled = HashPage(s.hashAt(parent), tokens), now, filled
	s.changed(n.hash, false)
	b := &s.buckets[n.hash&uint64(len(s.buckets)-1)]
	n.chain, *b = *b, id
	if parent != root {
		above := &s.all[parent]
		above.kids++
		above.hint = id
		if above.heap >= 0 {
			s.heapRemove(above.heap)
		}
	}
	s.nodes++
}

// unlink takes a leaf out of the tree and drops the tree's reference without
// freeing the page.
func (s *pages) unlink(id int32) {
	n := &s.all[id]
	if checks && n.kids != 0 {
		panic("plan: an inner node was taken out of the tree")
	}
	at := &s.buckets[n.hash&uint64(len(s.buckets)-1)]
	for *at != id {
		at = &s.all[*at].chain
	}
	*at = n.chain
	if p := n.parent; p != root {
		above := &s.all[p]
		above.kids--
		if above.kids == 0 && above.refs == 1 {
			s.heapPush(p)
		}
	}
	if s.states.kept() {
		s.states.forget(id)
	}
	n.parent, n.chain, n.hint = notNode, none, none
	n.refs--
	n.gen++
	s.nodes--
	s.changed(n.hash, true)
}

// sole reports whether a node is a leaf that one request holds.
func (s *pages) sole(id int32) bool { return s.all[id].refs == 2 && s.all[id].kids == 0 }

// evict frees the least recently used leaf that no request holds.
func (s *pages) evict() {
	id := s.heap[0]
	s.heapRemove(0)
	s.unlink(id)
	s.idle--
	s.evicted++
	s.put(id)
}

// touch marks a node as just used.
func (s *pages) touch(id int32, now uint64) {
	n := &s.all[id]
	n.used = now
	if n.heap >= 0 {
		s.heapFix(n.heap)
	}
}

// cursor remembers how far down the tree a request's tokens were found, so
// that looking again starts there. It holds nothing: a node that has left the
// tree since shows it by its generation.
type cursor struct {
	page  int32
	gen   uint32
	depth int32 // pages from the root to the node, itself included
}

// cursor is one at a node.
func (s *pages) cursor(id, depth int32) cursor { return cursor{id, s.all[id].gen, depth} }

// stands reports whether the node is still in the tree.
func (s *pages) stands(c *cursor) bool {
	return c.depth > 0 && s.all[c.page].gen == c.gen && s.all[c.page].parent != notNode
}

// match walks as far down from the cursor as tokens allow, at most limit
// pages, through pages whose filling step is before step. It returns how many
// pages match and how many more would once they are filled, and the last of all.
func (s *pages) match(c *cursor, tokens []int32, limit int32, step uint64) (ready, coming, tip int32) {
	at := root
	if s.stands(c) && c.depth <= limit {
		at = c.page
	} else {
		*c = cursor{}
	}
	d := c.depth
	for d < limit {
		id := s.child(at, tokens[int(d)<<s.shift:][:s.size])
		if id == none {
			return c.depth, d - c.depth, at
		}
		at, d = id, d+1
		if n := &s.all[id]; n.filled < step && c.depth == d-1 {
			*c = cursor{page: id, gen: n.gen, depth: d}
		}
	}
	return c.depth, d - c.depth, at
}

// The eviction heap orders unused leaves by (used, id): binary, with each
// node knowing its index.

func (s *pages) older(a, b int32) bool {
	x, y := s.all[a].used, s.all[b].used
	return x < y || (x == y && a < b)
}

func (s *pages) heapPush(id int32) {
	s.heap = append(s.heap, id)
	s.all[id].heap = int32(len(s.heap) - 1)
	s.up(int32(len(s.heap) - 1))
}

func (s *pages) heapRemove(i int32) {
	last := int32(len(s.heap) - 1)
	s.all[s.heap[i]].heap = -1
	if i != last {
		s.heap[i] = s.heap[last]
		s.all[s.heap[i]].heap = i
	}
	s.heap = s.heap[:last]
	if i != last {
		s.heapFix(i)
	}
}

func (s *pages) heapFix(i int32) {
	if !s.down(i) {
		s.up(i)
	}
}

func (s *pages) up(i int32) {
	for i > 0 {
		p := (i - 1) / 2
		if !s.older(s.heap[i], s.heap[p]) {
			return
		}
		s.swap(i, p)
		i = p
	}
}

func (s *pages) down(i int32) (moved bool) {
	for {
		c := 2*i + 1
		if c >= int32(len(s.heap)) {
			return moved
		}
		if c+1 < int32(len(s.heap)) && s.older(s.heap[c+1], s.heap[c]) {
			c++
		}
		if !s.older(s.heap[c], s.heap[i]) {
			return moved
		}
		s.swap(i, c)
		i, moved = c, true
	}
}

func (s *pages) swap(i, j int32) {
	h := s.heap
	h[i], h[j] = h[j], h[i]
	s.all[h[i]].heap, s.all[h[j]].heap = i, j
}

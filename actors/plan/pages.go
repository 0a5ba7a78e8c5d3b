package plan

// page is what the planner knows of one page of KV memory. A page of the
// prefix tree is at the same time a node of it, so the tree allocates nothing.
//
// Invariant: refs = 0 ⇔ the page is free (listed in pages.free);
// every user of a node also holds the nodes above it, so refs = 1 on a node
// means that everything below it is unused too.
type page struct {
	refs   int32 // requests that hold it, plus one if it is a node
	parent int32 // node above; root or notNode
	kids   int32 // nodes right below
	hint   int32 // the child linked last, tried before the hash table; may be stale
	chain  int32 // next node in the same bucket; none
	heap   int32 // index in the eviction heap; −1: not there
	gen    uint32
	hash   uint64 // of all tokens to its end; a node's
	used   uint64 // step of the last use; never older than a child's
	filled uint64 // launched step that computes it; unfilled: none yet
}

const (
	root    int32 = -1 // parent of first pages
	notNode int32 = -2
	none    int32 = -1

	unfilled = ^uint64(0)
)

// pages owns the KV memory: reference counts, the free list and the tree.
type pages struct {
	all   []page
	size  int     // tokens a page; a power of two
	shift uint    // log2 of size
	free  []int32 // stack

	tree
	states snapshots
}

func newPages(n, size int, shift uint, useTree bool, places int) *pages {
	s := &pages{all: make([]page, n), size: size, shift: shift, free: make([]int32, 0, n)}
	if useTree {
		s.tree.init(n, size)
	}
	s.states.init(n, places)
	s.reset()
	return s
}

// reset frees everything.
func (s *pages) reset() {
	s.free = s.free[:0]
	for i := range s.all {
		s.all[i] = page{parent: notNode, hint: none, chain: none, heap: -1, gen: s.all[i].gen + 1}
	}
	for i := len(s.all) - 1; i >= 0; i-- { // so that page 0 goes first
		s.free = append(s.free, int32(i))
	}
	s.tree.reset()
	s.states.reset()
}

// available is how many pages alloc can return.
func (s *pages) available() int { return len(s.free) + s.idle }

// alloc takes a page, with one reference, evicting the least recently used
// unused leaf of the tree if it must. It must not be called with none
// available.
func (s *pages) alloc() int32 {
	if len(s.free) == 0 {
		s.evict()
	}
	id := s.free[len(s.free)-1]
	s.free = s.free[:len(s.free)-1]
	s.all[id].refs = 1
	return id
}

// hold adds a reference to a node.
func (s *pages) hold(id int32) {
	n := &s.all[id]
	n.refs++
	if n.refs == 2 {
		s.idle--
		if n.heap >= 0 {
			s.heapRemove(n.heap)
		}
	}
}

// release drops a reference that was last useful at step now.
func (s *pages) release(id int32, now uint64) {
	n := &s.all[id]
	n.refs--
	switch {
	case n.refs == 0:
		if checks && n.parent != notNode {
			panic("plan: a node of the tree lost its last reference")
		}
		s.put(id)
	case n.parent != notNode:
		n.used = now
		if n.refs == 1 {
			s.idle++
			if n.kids == 0 {
				s.heapPush(id)
			}
		}
	}
	if checks && n.refs < 0 {
		panic("plan: page freed twice")
	}
}

// put returns a page nobody holds to the free list.
func (s *pages) put(id int32) {
	s.all[id].gen++
	s.free = append(s.free, id)
}

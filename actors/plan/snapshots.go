package plan

import "github.com/troupe-llm/troupe/gpu/batch"

// Where sequences carry states, the pages of a prefix are of use only together
// with the states after it. A snapshot of them is taken where it may be wanted:
//
//	tree   ── system prompt ──┬── question ── answer ──
//	                          └── another question ──
//	                          ▲                 ▲
//	             where prompts part          where one ends
//
// The first prompt that parts from what is in the tree finds no snapshot there. It
// computes again what lies between the last one and the parting, in pages of its
// own, and takes one on its way: the node is promised one, and whoever comes to it
// meanwhile waits. Of pages that are yet to be computed, whoever waits for them
// has promised that.
//
// A request's chunk is cut where it takes a snapshot, at the end of a page. It
// holds one of a page that cannot be in the tree, since another has the same
// tokens, until it leaves.

// snapshots owns the device's places for states: which are free, and of which
// nodes the others are. A node that leaves the tree loses its snapshot.
//
// Invariant: a place is free, a node's (of[all[i].page] = i), or held by a
// seated request (all[i].owner.held = i).
type snapshots struct {
	of   []int32 // [page] a node's place, none or promised; empty: nothing is saved
	all  []snapshot
	used int // places that are not free
}

// snapshot is one place.
type snapshot struct {
	page  int32    // the node; none
	owner *Request // who holds it instead
	saved uint64   // the launched step that saves it
	last  uint64   // the latest step that saved or restored it
}

func (n *snapshot) free() bool { return n.page == none && n.owner == nil }

// promised says that a request is going to save its state after the node.
const promised int32 = -2

func (s *snapshots) init(pages, places int) {
	if places > 0 {
		s.of = make([]int32, pages)
		s.all = make([]snapshot, places)
	}
}

func (s *snapshots) reset() {
	for i := range s.of {
		s.of[i] = none
	}
	for i := range s.all {
		s.all[i] = snapshot{page: none}
	}
	s.used = 0
}

// kept reports whether states are saved at all.
func (s *snapshots) kept() bool { return len(s.of) > 0 }

// take finds a place for a step to save to: a free one, or else the least recently
// used, and none that the step uses already. There are few, and a prompt needs
// about one.
func (s *snapshots) take(step uint64) int32 {
	oldest := none
	for i := range s.all {
		switch n := &s.all[i]; {
		case n.last == step:
		case n.free():
			s.used++
			return int32(i)
		case oldest == none || n.last < s.all[oldest].last:
			oldest = int32(i)
		}
	}
	if oldest != none {
		s.drop(oldest)
		s.used++
	}
	return oldest
}

// drop frees a place.
func (s *snapshots) drop(at int32) {
	if n := &s.all[at]; n.owner != nil {
		n.owner.held = none
	} else {
		s.of[n.page] = none
	}
	s.all[at] = snapshot{page: none, last: s.all[at].last}
	s.used--
}

// forget frees what a node has.
func (s *snapshots) forget(page int32) {
	if s.of[page] >= 0 {
		s.drop(s.of[page])
	}
	s.of[page] = none
}

// settle makes the snapshot that r holds the node's.
func (s *snapshots) settle(r *Request, page int32) {
	at := r.held
	if s.of[page] >= 0 {
		s.drop(at)
		return
	}
	s.of[page], r.held = at, none
	s.all[at].page, s.all[at].owner = page, nil
}

// promise looks at who is about first in the queue before the chunks that they may
// wait for are cut, so that these are where they part.
func (p *Planner) promise(step uint64) {
	if !p.pages.states.kept() {
		return
	}
	p.queue.about(window, func(r *Request) {
		if found := p.lookup(r, step); found.wait {
			p.pages.states.want(&found)
		}
	})
}

// want promises a snapshot of what somebody waits for.
func (s *snapshots) want(found *prefix) {
	if found.tip.depth > 0 && s.of[found.tip.page] == none {
		s.of[found.tip.page] = promised
	}
}

// behind makes of the nodes that match, depth of them up to tip, what it takes to
// go on: up to the last with a snapshot from before step. It is worth a wait if
// the tip has one coming or promised, or can be promised one.
func (s *pages) behind(found *prefix, depth, tip int32, step uint64) {
	for found.ready > 0 {
		if at := s.states.of[found.page]; at >= 0 && s.states.all[at].saved < step {
			break
		}
		found.page = s.all[found.page].parent
		found.ready--
	}
	found.wait = false
	if depth > found.ready {
		found.tip = s.cursor(tip, depth)
		found.wait = s.states.of[tip] != none || s.all[tip].filled == unfilled
	}
}

// restore gives r, just seated, the states it begins with, and settles where it
// will save its own. One token is left to compute behind its end, as for a match:
// so the same prompt finds it.
func (p *Planner) restore(f *flight, r *Request, found *prefix) {
	s := &p.pages.states
	if found.ready > 0 {
		at := s.of[found.page]
		s.all[at].last = f.step.Seq
		f.step.Restores = append(f.step.Restores, batch.StateCopy{Slot: r.slot, Snapshot: at})
		p.stats.Restored++
	}
	r.end = int32(len(r.tokens)-1) >> p.shift
	if p.pages.stands(&found.tip) {
		r.parts = found.tip
		s.of[r.parts.page] = promised
	}
}

// untilSaved is how many of n tokens r may compute before it saves its state.
func (p *Planner) untilSaved(r *Request, n int) int {
	to := r.computed + int32(n)
	for _, depth := range []int32{r.end, r.parts.depth} {
		if at := depth << p.shift; at > r.computed {
			to = min(to, at)
		}
	}
	table := p.seats[r.slot].table
	for i := r.filled; i < r.treed && (i+1)<<p.shift < to; i++ {
		if p.pages.states.of[table[i]] == promised {
			to = (i + 1) << p.shift
		}
	}
	return int(to - r.computed)
}

// save takes a snapshot if r, whose row was just added, has come to where one is
// wanted, and there is a place.
func (p *Planner) save(f *flight, r *Request) {
	depth := r.computed >> p.shift
	if depth<<p.shift != r.computed {
		return
	}
	s, node := &p.pages.states, none
	switch {
	case depth <= r.treed:
		node = p.seats[r.slot].table[depth-1]
	case depth == r.parts.depth && p.pages.stands(&r.parts):
		node = r.parts.page
	}
	wanted := depth == r.end
	if node != none {
		wanted = s.of[node] == promised || wanted && s.of[node] == none
		s.forgetPromise(node)
	}
	if !wanted {
		return
	}
	at := s.take(f.step.Seq)
	if at == none {
		return
	}
	s.all[at] = snapshot{page: node, saved: f.step.Seq, last: f.step.Seq}
	if node != none {
		s.of[node] = at
	} else {
		s.all[at].owner, r.held = r, at
	}
	f.step.Saves = append(f.step.Saves, batch.StateCopy{Slot: r.slot, Snapshot: at})
	p.stats.Saved++
}

func (s *snapshots) forgetPromise(page int32) {
	if s.of[page] == promised {
		s.of[page] = none
	}
}

// dropStates gives back what r, which leaves, holds or has promised. What failed
// may have saved what made it fail.
func (p *Planner) dropStates(r *Request) {
	s := &p.pages.states
	if !s.kept() {
		return
	}
	if r.held != none {
		s.drop(r.held)
	}
	if !p.pages.stands(&r.parts) {
		return
	}
	switch passed := r.computed >= r.parts.depth<<p.shift; {
	case !passed:
		s.forgetPromise(r.parts.page)
	case r.Finish == Failed:
		s.forget(r.parts.page)
	}
}

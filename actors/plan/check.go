package plan

import (
	"fmt"
	"slices"
)

// check verifies the invariants between calls, where they are compiled in:
// always when that is cheap, else now and then.
func (p *Planner) check() {
	if !checks || (p.cfg.NumPages > 1<<10 && p.step%256 != 0) {
		return
	}
	if err := p.audit(); err != nil {
		panic(err)
	}
}

// audit recounts everything the planner counts and reports the first
// difference.
func (p *Planner) audit() error {
	held := make([]int32, p.cfg.NumPages)
	seated := 0
	for i := range p.seats {
		r := p.seats[i].req
		if vacant := p.vacant[i/64]>>(i%64)&1 == 1; vacant != (r == nil) {
			return fmt.Errorf("plan: slot %d: listed vacant %v, has a request %v", i, vacant, r != nil)
		}
		if r == nil {
			continue
		}
		if i >= p.top {
			return fmt.Errorf("plan: slot %d is taken above the top %d", i, p.top)
		}
		seated++
		if err := p.auditSeat(r, int32(i), held); err != nil {
			return err
		}
	}
	if seated != p.seated {
		return fmt.Errorf("plan: %d seats taken, counted %d", seated, p.seated)
	}
	if err := p.auditQueue(); err != nil {
		return err
	}
	for _, r := range p.prefill {
		if r.state != running || r.decoding {
			return fmt.Errorf("plan: request %d has no prompt left to compute", r.ID)
		}
	}
	if err := p.auditSnapshots(); err != nil {
		return err
	}
	return p.pages.audit(held)
}

// auditQueue recounts what clients have.
func (p *Planner) auditQueue() error {
	open, runs, waits := map[*client]int{}, map[*client]int{}, 0
	for _, r := range p.live {
		open[r.client]++
		if r.state == running {
			runs[r.client]++
		}
	}
	for name, c := range p.queue.clients {
		if c.name != name || c.open != open[c] || c.open == 0 || c.running != runs[c] || len(open) != len(p.queue.clients) {
			return fmt.Errorf("plan: client %q has %d requests, %d running; counted %d and %d", name, open[c], runs[c], c.open, c.running)
		}
		for i, r := range c.waiting {
			if waits++; r.at != i || r.client != c || r.state != waiting || p.live[r.ID] != r || i > 0 && r.before(c.waiting[(i-1)/2]) {
				return fmt.Errorf("plan: request %d is misplaced in the queue", r.ID)
			}
		}
		if in := len(c.waiting) > 0; in != slices.Contains(p.queue.waiting, c) || in && p.queue.waiting[c.at] != c {
			return fmt.Errorf("plan: client %q is misplaced in the queue", name)
		}
	}
	if waits != p.queue.n {
		return fmt.Errorf("plan: %d requests wait, counted %d", waits, p.queue.n)
	}
	return nil
}

// auditSnapshots recounts who has which snapshot, and who keeps which promise.
func (p *Planner) auditSnapshots() error {
	s := &p.pages.states
	users := make([]int, len(s.all))
	free := len(s.all)
	for at := range s.all {
		if s.all[at].free() {
			users[at]++
		} else {
			free--
		}
	}
	if s.used != len(s.all)-free {
		return fmt.Errorf("plan: %d of %d snapshots are free, counted %d used", free, len(s.all), s.used)
	}
	kept := map[int32]bool{}
	for i := range p.seats {
		switch r := p.seats[i].req; {
		case r == nil:
		case r.held != none && (s.all[r.held].owner != r || r.computed < r.end<<p.shift):
			return fmt.Errorf("plan: request %d believes to hold snapshot %d", r.ID, r.held)
		case r.held != none:
			users[r.held]++
			fallthrough
		case p.pages.stands(&r.parts) && r.computed < r.parts.depth<<p.shift:
			kept[r.parts.page] = true
		}
	}
	for id, at := range s.of {
		n := &p.pages.all[id]
		switch {
		case at == none:
		case n.parent == notNode:
			return fmt.Errorf("plan: page %d is not in the tree, but has snapshot %d", id, at)
		case at == promised && n.filled != unfilled && !kept[int32(id)]:
			return fmt.Errorf("plan: page %d is promised a snapshot that nobody takes", id)
		case at >= 0 && (s.all[at].page != int32(id) || n.filled == unfilled):
			return fmt.Errorf("plan: page %d has snapshot %d, which is page %d's of step %d", id, at, s.all[at].page, s.all[at].saved)
		case at >= 0:
			users[at]++
		}
	}
	for at, n := range users {
		if n != 1 {
			return fmt.Errorf("plan: snapshot %d is in %d places, free or had", at, n)
		}
	}
	return nil
}

func (p *Planner) auditSeat(r *Request, slot int32, held []int32) error {
	bad := func(what string) error {
		return fmt.Errorf("plan: request %d in slot %d: %s (%d tokens, %d pending, %d computed, %d pages, %d in the tree, %d filled)",
			r.ID, slot, what, len(r.tokens), r.pending, r.computed, r.pages, r.treed, r.filled)
	}
	n := int32(len(r.tokens))
	switch {
	case r.slot != slot:
		return bad("it believes to be elsewhere")
	case r.state != running && !p.launched(r):
		return bad("it should have left")
	case r.pages<<p.shift < r.computed:
		return bad("it computed beyond its pages")
	case r.filled > r.treed || r.treed > r.pages || r.filled<<p.shift > r.computed:
		return bad("its pages are miscounted")
	case r.state == running && r.decoding && !r.PromptOnly && r.computed != r.length()-1,
		r.state == running && r.decoding && r.PromptOnly && r.computed != n:
		return bad("it decodes at the wrong position")
	case r.state == running && !r.decoding && (r.computed >= n || r.pending != 0):
		return bad("it is said to prefill")
	case r.length() > r.limit && r.state == running:
		return bad("it is beyond its limit")
	}
	for i, id := range p.seats[slot].table[:r.pages] {
		if r.without(int32(i)) {
			continue
		}
		held[id]++
		g := &p.pages.all[id]
		switch own := int32(i) >= r.filled; {
		case int32(i) < r.treed && g.parent == notNode:
			return bad("a page of the tree is not in it")
		case int32(i) >= r.treed && g.parent != notNode:
			return bad("a page of its own is in the tree")
		case own && int32(i) < r.treed && (g.filled != unfilled || g.refs != 2):
			return bad("a page it has yet to fill is shared")
		case int32(i) >= r.treed && g.refs != 1:
			return bad("a page it writes is shared")
		}
	}
	return nil
}

// audit checks the pages, given how many requests hold each.
func (s *pages) audit(held []int32) error {
	kids := make([]int32, len(s.all))
	nodes, idle, leaves := 0, 0, 0
	for i := range s.all {
		g := &s.all[i]
		refs := held[i]
		if g.parent != notNode {
			refs++
			nodes++
			if g.parent != root {
				kids[g.parent]++
				above := &s.all[g.parent]
				if above.parent == notNode || (g.refs > 1 && above.refs == 1) {
					return fmt.Errorf("plan: page %d hangs below page %d, which may be freed before it", i, g.parent)
				}
				if g.refs == 1 && above.refs == 1 && above.used < g.used {
					return fmt.Errorf("plan: page %d was used after page %d above it", i, g.parent)
				}
			}
			if g.refs == 1 {
				idle++
			}
			if id := s.child(g.parent, s.nodeTokens(int32(i))); id != int32(i) {
				return fmt.Errorf("plan: page %d is not found by its tokens", i)
			}
		}
		if g.refs != refs {
			return fmt.Errorf("plan: page %d has %d references, %d are held", i, g.refs, refs)
		}
	}
	for i := range s.all {
		g := &s.all[i]
		leaf := g.parent != notNode && g.refs == 1 && g.kids == 0
		if leaf {
			leaves++
		}
		if g.parent != notNode && g.kids != kids[i] {
			return fmt.Errorf("plan: page %d has %d children, counted %d", i, kids[i], g.kids)
		}
		if leaf != (g.heap >= 0) || (leaf && s.heap[g.heap] != int32(i)) {
			return fmt.Errorf("plan: page %d: unused leaf %v, but at %d among them", i, leaf, g.heap)
		}
	}
	seen := make(map[int32]bool, len(s.free))
	for _, id := range s.free {
		if seen[id] || s.all[id].refs != 0 {
			return fmt.Errorf("plan: page %d is free and held, or free twice", id)
		}
		seen[id] = true
	}
	users := 0
	for i := range s.all {
		if s.all[i].refs > 0 {
			users++
		}
	}
	if nodes != s.nodes || idle != s.idle || leaves != len(s.heap) || users+len(s.free) != len(s.all) {
		return fmt.Errorf("plan: of %d pages %d are free and %d used; %d nodes (counted %d), %d idle (%d), %d leaves (%d)",
			len(s.all), len(s.free), users, nodes, s.nodes, idle, s.idle, leaves, len(s.heap))
	}
	return nil
}

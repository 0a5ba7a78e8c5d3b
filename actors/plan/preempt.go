package plan

// makeRoom preempts until the requests that go on have the pages they need
// for one more token each. Pages of requests with launched rows come back only
// when those are committed; until then some requests sit out.
func (p *Planner) makeRoom() {
	need, coming := 0, 0
	for i := range p.seats[:p.top] {
		r := p.seats[i].req
		switch {
		case r == nil:
		case r.state != running:
			coming += p.exclusive(r)
		case r.wantsToken() && r.computed>>p.shift == r.pages:
			need++
		}
	}
	for need > p.pages.available()+coming {
		r := p.cheapest()
		if r == nil {
			return
		}
		if r.wantsToken() && r.computed>>p.shift == r.pages {
			need--
		}
		if p.launched(r) {
			coming += p.exclusive(r)
		}
		p.preempt(r)
	}
}

// preempt sends r back to the queue; its tokens stay, its pages go.
func (p *Planner) preempt(r *Request) {
	p.stats.Preempted++
	r.Preemptions++
	p.reserve.preempted()
	p.deactivate(r)
	r.state = leaving
	if !p.launched(r) {
		p.leave(r)
		p.enqueue(r)
	}
}

// cheapest is the running request that loses least by being computed again:
// the fewest tokens in pages that nobody else holds, doubled for each time it
// was preempted before. The last one running is never taken.
func (p *Planner) cheapest() *Request {
	var best *Request
	var least int64
	n := 0
	for i := range p.seats[:p.top] {
		r := p.seats[i].req
		if r == nil || r.state != running {
			continue
		}
		n++
		held := int64(r.pages-int32(p.exclusive(r))) << p.shift
		cost := max(0, int64(r.computed)-held) << min(r.Preemptions, 16)
		if best == nil || cost < least || (cost == least && r.arrival > best.arrival) {
			best, least = r, cost
		}
	}
	if n < 2 {
		return nil
	}
	return best
}

// exclusive is how many pages would be available again if r left.
func (p *Planner) exclusive(r *Request) int {
	n := 0
	table := p.seats[r.slot].table[:r.pages]
	for i := len(table) - 1; i >= 0; i-- {
		refs := p.pages.all[table[i]].refs
		if int32(i) < r.treed {
			refs--
		}
		if refs > 1 {
			break // whoever holds a page holds those before it
		}
		n++
	}
	return n
}

// reserve keeps pages free for those that run to go on, but fewer than the
// worst case: a share of what they may yet generate. The share is measured: it
// falls with every request that ends by itself and rises with every one that
// is preempted.
//
// On a simulated RTX 4090 with Qwen3-0.6B, 1,500 requests of 100 to 1,024
// tokens in and out: keeping nothing preempts 142 of them, a fixed half none;
// this rule 25, and the run takes as long as the best fixed share (113.6 s).
// Where outputs end long before they must (mean 200 of 2,048 allowed), it
// takes 81.3 s, keeping nothing 81.3 s, a fixed half 83.4 s, everything 87.5 s.
type reserve struct {
	// owed counts the tokens that running requests may yet draw.
	// Invariant: the sum of limit − length over state running.
	owed  int64
	share float64 // of owed, for which pages are kept free
}

const (
	firstShare = 0.3
	leastShare = 0.02
	fall       = 0.99 // a request ended
	rise       = 0.01 // one was preempted
)

func (v *reserve) init() { v.share = firstShare }

// pages is how many to leave free if r were admitted.
func (v *reserve) pages(r *Request, shift uint) int {
	owed := v.owed + int64(r.limit) - int64(len(r.tokens))
	return int(float64(owed)*v.share) >> shift
}

func (v *reserve) finished(why Reason) {
	if why == Stop || why == Length {
		v.share = max(leastShare, v.share*fall)
	}
}

func (v *reserve) preempted() { v.share = min(1, v.share+rise) }

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

// patience is how many steps a client with nothing running waits before another
// one's request makes way for it. Most often some end before: that costs nothing.
const patience = 8

// yield has a client with several requests running give one up for r, which cannot
// be seated, if r's client has none: else whose requests are long, and came first,
// would keep others out until they end. Once nobody else has two, it waits.
func (p *Planner) yield(r *Request) {
	if r.client.running > 0 || p.step-r.since < patience {
		return
	}
	for i := range p.seats[:p.top] {
		if q := p.seats[i].req; q != nil && q.state != running {
			return // it leaves, which may be enough
		}
	}
	if q := p.cheapest(); q != nil && q.client.running > 1 {
		p.stats.Yielded++
		p.preempt(q)
	}
}

// cheapest is the running request that loses least by being computed again:
// the fewest tokens in pages that nobody else holds, doubled for each time it
// was preempted before. It is of a client that has no fewer running than any
// other. The last one running is never taken.
func (p *Planner) cheapest() *Request {
	var best *Request
	var least int64
	n, most := 0, 0
	for _, c := range p.queue.clients {
		most = max(most, c.running)
	}
	for i := range p.seats[:p.top] {
		r := p.seats[i].req
		if r == nil || r.state != running {
			continue
		}
		if n++; r.client.running < most {
			continue
		}
		held := int64(r.pages-(r.gone-r.gap)-int32(p.exclusive(r))) << p.shift
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
		if r.without(int32(i)) {
			continue
		}
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
// worst case: a share of what they are expected to generate. Both are
// measured: what outputs came to, and the share, which falls with every
// request that ends by itself and rises with every one that is preempted.
//
// On a simulated RTX 4090 with Qwen3-0.6B, prompts of 100 to 1,024 tokens:
//
//	outputs                          nothing kept   half the limit   this rule
//	100…1,024, as said (1,500)       113.8 s, 142   113.8 s, 0       113.6 s, 39 preempted
//	mean 200, limit 2,048 (3,000)    81.3 s, 0      83.4 s, 0        81.3 s, 0
//	mean 1,500, no limit (1,000)                                     436.5 s, 120
//
// Expecting a share of the limit instead of the mean took 454.6 s for the last.
type reserve struct {
	mean  float64 // length of outputs
	share float64 // of expected tokens, for which pages are kept free
}

const (
	firstMean  = 512
	firstShare = 0.3
	leastShare = 0.02
	fall       = 0.99 // a request ended
	rise       = 0.01 // one was preempted
)

func (v *reserve) init() { v.mean, v.share = firstMean, firstShare }

// expect is how many tokens r is expected to draw yet. Half of what an output
// has in the mean is expected even of one that is longer.
func (v *reserve) expect(r *Request) int {
	left := max(v.mean/2, v.mean-float64(len(r.tokens)-len(r.Prompt)))
	return min(int(r.limit-r.length()), int(left))
}

// of is for how many of the expected tokens to keep pages.
func (v *reserve) of(expected int) int { return int(float64(expected) * v.share) }

func (v *reserve) finished(r *Request) {
	if !r.PromptOnly && (r.Finish == Stop || r.Finish == Length) {
		v.mean += (float64(len(r.Output())) - v.mean) * (1 - fall)
		v.share = max(leastShare, v.share*fall)
	}
}

func (v *reserve) preempted() { v.share = min(1, v.share+rise) }

// owed is how many tokens those that run are expected to draw yet.
func (p *Planner) owed() int {
	n := 0
	for i := range p.seats[:p.top] {
		if r := p.seats[i].req; r != nil && r.state == running {
			n += p.reserve.expect(r)
		}
	}
	return n
}

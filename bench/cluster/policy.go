package cluster

import (
	"cmp"
	"slices"
	"time"

	"github.com/troupe-llm/troupe/actors/plan"
	"github.com/troupe-llm/troupe/actors/route"
	"github.com/troupe-llm/troupe/actors/wire"
	"github.com/troupe-llm/troupe/gpu/batch"
)

// Policy is a way to choose engines.
type Policy string

// The policies.
const (
	Prefix      Policy = "prefix"      // ours: package route
	RoundRobin  Policy = "round-robin" // one after the other
	LeastLoaded Policy = "least-loaded"
	// Hashing is consistent hashing with bounded loads (Mirrokni, Thorup and Zadimoghaddam 2018), of how
	// prompts begin.
	Hashing Policy = "consistent-hashing"
	// Oracle sees each engine's tree and queue as they are now, and what prompts take.
	Oracle Policy = "oracle"
	// Pooled is one engine with the memory and the speed of all: no routing can hit more, or begin sooner.
	Pooled Policy = "pooled"
)

// Policies are all of them.
var Policies = []Policy{Prefix, RoundRobin, LeastLoaded, Hashing, Oracle, Pooled}

func (p Policy) known() bool { return slices.Contains(Policies, p) }

// asks reports whether a front needs digests.
func (p Policy) asks() bool { return p == Prefix }

// chooser is a front's choice: an engine, and how many of these tokens it is believed to have.
type chooser interface {
	choose(tokens []int32) (at, cached int)
}

func (p Policy) chooser(c *cluster, f *front) chooser {
	switch p {
	case RoundRobin:
		return &turns{f.router, len(c.engines), f.number}
	case LeastLoaded:
		return &least{f.router, len(c.engines), 0}
	case Hashing:
		return newRing(f.router, len(c.engines), c.info.PageSize)
	case Oracle:
		return &oracle{c, f.router}
	}
	return &ours{f.router}
}

type ours struct{ *route.Router }

func (o *ours) choose(tokens []int32) (at, cached int) { return o.Choose(tokens) }

// turns gives to one after the other.
type turns struct {
	router *route.Router
	n      int
	next   int
}

func (t *turns) choose([]int32) (at, cached int) {
	for range t.n {
		at, t.next = t.next%t.n, t.next+1
		if t.router.State(at) == route.Ready {
			return at, 0
		}
	}
	return -1, 0
}

// least gives to who has the fewest requests; of several, to each in turn.
type least struct {
	router *route.Router
	n      int
	after  int
}

func (l *least) choose([]int32) (at, cached int) {
	at = -1
	fewest := 0
	for i := range l.n {
		i = (i + l.after) % l.n
		if open, _ := l.router.Load(i); l.router.State(i) == route.Ready && (at < 0 || open < fewest) {
			at, fewest = i, open
		}
	}
	l.after = at + 1
	return at, 0
}

// ring is a circle with points of engines on it. A request goes to the first point behind its own whose
// engine has no more than its share of the requests, and a quarter.
type ring struct {
	router *route.Router
	n      int
	points []point
	page   int
}

type point struct {
	place  uint64
	engine int
}

const (
	pointsEach = 100
	keyTokens  = 2048 // by how many of its first tokens a prompt is hashed: what all have in common is shorter
	most       = 1.25 // times an even share of the requests
)

func newRing(r *route.Router, n, page int) *ring {
	g := &ring{router: r, n: n, page: page}
	for i := range n {
		for k := range pointsEach {
			g.points = append(g.points, point{plan.HashPage(0, []int32{int32(i), int32(k)}), i})
		}
	}
	slices.SortFunc(g.points, func(a, b point) int { return cmp.Compare(a.place, b.place) })
	return g
}

func (g *ring) choose(tokens []int32) (at, cached int) {
	key := plan.HashPage(1, tokens[:min(len(tokens), keyTokens)])
	first, _ := slices.BinarySearchFunc(g.points, key, func(p point, key uint64) int { return cmp.Compare(p.place, key) })
	all := 1
	for i := range g.n {
		open, _ := g.router.Load(i)
		all += open
	}
	bound := int(most*float64(all)/float64(g.n)) + 1
	for i := range g.points {
		p := &g.points[(first+i)%len(g.points)]
		if open, _ := g.router.Load(p.engine); open < bound && g.router.State(p.engine) == route.Ready {
			return p.engine, 0
		}
	}
	return -1, 0
}

// oracle weighs as package route does, and knows how things stand now, and in time, not in tokens.
type oracle struct {
	cluster *cluster
	router  *route.Router
}

func (o *oracle) choose(tokens []int32) (at, cached int) {
	at = -1
	var soonest time.Duration
	for i, e := range o.cluster.engines {
		if e.gone || e.draining {
			continue
		}
		takes := max(0, e.end-o.cluster.now) + e.work + route.MissCost*e.prefill(o.cluster, tokens) + route.OpenCost*o.cluster.rate.token*time.Duration(len(e.has))
		if at < 0 || takes < soonest {
			at, soonest = i, takes
		}
	}
	return at, 0
}

// prefill is what an engine takes for a prompt of which it has a part.
func (e *engine) prefill(c *cluster, tokens []int32) time.Duration {
	_, cached := e.truth.Choose(tokens)
	n := float64(len(tokens) - cached)
	return c.rate.token*time.Duration(n) + time.Duration(float64(c.rate.pair)*n*(float64(cached)+n/2))
}

// rate is what prompts take: each token, and each that one of them sees.
type rate struct {
	token time.Duration
	pair  float64 // ns
}

// measure prices prompts.
func (c *cluster) measure() rate {
	n := c.info.MaxStepTokens
	behind := func(start int) time.Duration {
		return c.price(&batch.Step{Rows: []batch.Row{{Start: int32(start), Tokens: make([]int32, n)}}, NumTokens: n})
	}
	const far = 32768
	first, later := behind(0), behind(far)
	pair := float64(later-first) / float64(n) / far
	return rate{token: (first - time.Duration(pair*float64(n)*float64(n)/2)) / time.Duration(n), pair: pair}
}

// prefixes are a tree's changes as they are told.
func prefixes(c plan.Changes) wire.Prefixes {
	p := wire.Prefixes{Whole: c.Cleared}
	for _, page := range c.Pages {
		p.Pages = append(p.Pages, wire.Page(page))
	}
	return p
}

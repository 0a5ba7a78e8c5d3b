// Package route decides which engine computes a request: where least is to be computed before its first
// token, of its own prompt and of others. It is pure: no actors, no clocks; the same calls in the same order choose the same
// engines. A front is its shell (actors/front/router.go), and so is a simulation of many engines
// (bench/cluster).
//
// Read router.go (what is chosen, by what), holders.go (who has which prefix) and digest.go (how an
// engine tells of its prefixes).
package route

import (
	"github.com/troupe-llm/troupe/actors/plan"
	"github.com/troupe-llm/troupe/actors/wire"
)

// State says whether an engine is given requests.
type State uint8

// The states.
const (
	Gone  State = iota // never
	Spare              // where none is Ready: it is being mended, or drained
	Ready
)

// Router chooses. Engines are numbers from 0, for good: one that comes back may have its own again. It
// is not safe for concurrent use.
type Router struct {
	pageSize int
	places   []place
	holders  holders

	// Scratch of Choose.
	hashes []uint64
	depths []int32 // by engine, in pages
	usable set
}

// place is what is known of an engine.
type place struct {
	state State
	seq   uint64    // of the changes of its prefix tree that are known
	open  int       // requests that it was given and that have not ended
	owed  int       // tokens of those that it has yet to compute before their first
	told  wire.Load // what it has of others, as it told last
}

const (
	// MissCost is what a token of the prompt that is not cached is reckoned at, beside one of others'
	// that is waited for. It delays not only its own request: all that come behind it wait as well, and
	// what it brings into the memory drives out what others would begin with. Reckoned at 1, which
	// has this request begin soonest, engines that have a conversation lose it to any that is idle just
	// now, and all of them compute everything. On 8 simulated H200s (bench/cluster), what was cached and the time
	// to the first token at p99, in conversations that fill the engines (TestPrefixRouting) and in the
	// first 5,000 requests of Mooncake's trace:
	//
	//	 1   45.1%   8,874 ms   16.5%   8,512 ms
	//	 2   59.3%   5,088 ms   17.5%   8,402 ms
	//	 5   69.0%   3,205 ms
	//	 8   70.8%   2,559 ms
	//	12   69.3%   5,073 ms   19.0%   8,611 ms
	//	24                      19.0%   9,141 ms
	MissCost = 8
	// OpenCost is what an open request is reckoned at besides its prompt. While it generates it lengthens
	// every step by the reading of its keys and values, and it holds memory. Above, it was 256; with
	// 512 and MissCost 8 it is 71.2% and 2,645 ms, with 2,048 68.5% and 3,788 ms.
	OpenCost = 512
)

// New is a router that knows no engine; prefixes are known by pages of so many tokens.
func New(pageSize int) *Router { return &Router{pageSize: pageSize} }

// Join notes an engine, of whose prefixes nothing is known. Requests that its number has are kept.
func (r *Router) Join(at int) {
	for len(r.places) <= at {
		r.places = append(r.places, place{})
	}
	r.holders.drop(at)
	r.places[at].state, r.places[at].seq, r.places[at].told = Ready, 0, wire.Load{}
}

// Set notes an engine's state.
func (r *Router) Set(at int, s State) { r.places[at].state = s }

// State is an engine's state.
func (r *Router) State(at int) State { return r.places[at].state }

// Seq is up to which of its changes an engine's prefixes are known: what to ask it for.
func (r *Router) Seq(at int) uint64 { return r.places[at].seq }

// Learn takes in what an engine tells of its prefixes.
func (r *Router) Learn(at int, p wire.Prefixes) {
	if p.Whole {
		r.holders.drop(at)
	}
	r.places[at].seq = p.Seq
	for _, page := range p.Pages {
		if page.Gone {
			r.holders.remove(page.Hash, at)
		} else {
			r.holders.add(page.Hash, at)
		}
	}
}

// Known is how many pages are known to be cached, engine by engine.
func (r *Router) Known() (n int) {
	for _, pages := range r.holders.pages {
		n += pages
	}
	return n
}

// Took notes that an engine was given a request, of whose tokens it has to compute so many.
func (r *Router) Took(at, owed int) {
	r.places[at].open++
	r.places[at].owed += owed
}

// Begun notes that those tokens are computed.
func (r *Router) Begun(at, owed int) { r.places[at].owed -= owed }

// Ended notes that an engine does not have a request any more, of which it owed so many tokens.
func (r *Router) Ended(at, owed int) {
	r.places[at].open--
	r.places[at].owed -= owed
}

// Told notes what an engine says that it has of others, who choose without this router.
func (r *Router) Told(at int, others wire.Load) { r.places[at].told = others }

// Load is how many requests an engine has of this router, and how many tokens of them it has yet to compute.
func (r *Router) Load(at int) (open, owed int) { return r.places[at].open, r.places[at].owed }

// Choose says which engine to give these tokens to, and how many of them it has cached; −1: there is
// none.
func (r *Router) Choose(tokens []int32) (at, cached int) {
	r.look(tokens)
	best, least := -1, 0
	for i := range r.places {
		p := &r.places[i]
		if p.state == Gone {
			continue
		}
		found := int(r.depths[i]) * r.pageSize
		cost := MissCost*(len(tokens)-found) + p.owed + p.told.Owed + OpenCost*(p.open+p.told.Open)
		if better := best < 0 || p.state > r.places[best].state; better || p.state == r.places[best].state && cost < least {
			best, least, cached = i, cost, found
		}
	}
	return best, cached
}

// look finds out how many pages of these tokens each engine has.
func (r *Router) look(tokens []int32) {
	r.hash(tokens)
	r.depths = append(r.depths[:0], make([]int32, len(r.places))...)
	r.usable = r.usable[:0]
	for i := range r.places {
		if r.places[i].state != Gone {
			r.usable.put(i)
		}
	}
	r.holders.depths(r.hashes, r.usable, r.depths)
}

// hash names the prefixes of tokens, page by page.
func (r *Router) hash(tokens []int32) {
	r.hashes = r.hashes[:0]
	above := uint64(0)
	for ; len(tokens) >= r.pageSize; tokens = tokens[r.pageSize:] {
		above = plan.HashPage(above, tokens[:r.pageSize])
		r.hashes = append(r.hashes, above)
	}
}

package front

import (
	"slices"

	"github.com/troupe-llm/troupe/actors/engine"
	"github.com/troupe-llm/troupe/actors/plan"
	"github.com/troupe-llm/troupe/actors/wire"
)

// router chooses which engine computes a request: the one on which it will have to wait for the fewest
// tokens, of its own prompt and of others. It is the detokenizer's.
type router struct {
	targets  []target
	pageSize int
	hashes   []uint64 // scratch
}

// target is an engine, and what the front knows of it.
type target struct {
	engine engine.Engine
	peer   string     // where that is; "": in this process
	known  wire.Known // its prefix tree
	open   int        // requests that it has
	owed   int        // tokens of their prompts that it has yet to compute
	left   bool       // it is lost, and none is handed to it any more, unless it says that it is back
}

// openCost is what an open request is reckoned at besides its prompt, in tokens of prefill. While it
// generates it lengthens every step by the reading of its keys and values: with some 2,000 tokens of
// context, over 300 tokens, by as much as some hundred tokens of prefill take.
const openCost = 256

func newRouter(engines []engine.Engine, pageSize int) router {
	r := router{pageSize: pageSize}
	for _, e := range engines {
		r.targets = append(r.targets, target{engine: e, peer: peer(e)})
	}
	return r
}

// choose says which engine to hand these tokens to, and how many of them it has cached; -1: all are
// lost. One that is being mended is chosen only where none is ready.
func (r *router) choose(tokens []int32) (at, cached int) {
	if len(r.targets) == 1 && r.targets[0].usable() {
		return 0, 0
	}
	r.hash(tokens)
	best, least, ready := -1, 0, false
	for i := range r.targets {
		t := &r.targets[i]
		if !t.usable() {
			continue
		}
		state := t.engine.State()
		t.known.Apply(t.engine.Prefixes(t.known.Seq))
		found := r.cached(t)
		cost := len(tokens) - found + t.owed + openCost*t.open
		now := state == engine.Ready
		if best < 0 || now && !ready || now == ready && cost < least {
			best, least, ready, cached = i, cost, now, found
		}
	}
	return best, cached
}

// usable reports whether requests may be handed to it.
func (t *target) usable() bool {
	return t.engine != nil && !t.left && t.engine.State() != engine.Lost
}

// joined notes an engine at a place of its own, nil: that it has left.
func (r *router) joined(at int, e engine.Engine) {
	for len(r.targets) <= at {
		r.targets = append(r.targets, target{})
	}
	t := &r.targets[at]
	t.engine, t.known, t.left = e, wire.Known{}, false
	t.peer = peer(e)
}

// peer is where an engine is that is elsewhere, else "".
func peer(e engine.Engine) string {
	if there, is := e.(interface{ Peer() string }); is {
		return there.Peer()
	}
	return ""
}

// back notes that an engine may have come back.
func (r *router) back(at int) {
	if t := &r.targets[at]; t.engine != nil {
		t.left = t.engine.State() == engine.Lost
	}
}

// hash names the prefixes of tokens, page by page.
func (r *router) hash(tokens []int32) {
	r.hashes = r.hashes[:0]
	above := uint64(0)
	for ; len(tokens) >= r.pageSize; tokens = tokens[r.pageSize:] {
		above = plan.HashPage(above, tokens[:r.pageSize])
		r.hashes = append(r.hashes, above)
	}
}

// cached is how many of the tokens that were hashed an engine has.
func (r *router) cached(t *target) int {
	for i, hash := range r.hashes {
		if _, has := t.known.Pages[hash]; !has {
			return i * r.pageSize
		}
	}
	return len(r.hashes) * r.pageSize
}

// took notes that an engine has a request, of whose tokens it has to compute so many.
func (r *router) took(at, owed int) {
	r.targets[at].open++
	r.targets[at].owed += owed
}

// begun notes that those tokens are computed.
func (r *router) begun(at, owed int) { r.targets[at].owed -= owed }

// ended notes that an engine does not have a request any more.
func (r *router) ended(at, owed int) {
	r.targets[at].open--
	r.targets[at].owed -= owed
}

// lost notes that an engine is.
func (r *router) lost(at int) { r.targets[at].left = true }

// any reports whether there is an engine that is not lost.
func (r *router) any() bool {
	return slices.ContainsFunc(r.targets, func(t target) bool { return t.usable() })
}

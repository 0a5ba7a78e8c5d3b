package front

import (
	"slices"

	"github.com/troupe-llm/troupe/actors/engine"
	"github.com/troupe-llm/troupe/actors/route"
	"github.com/troupe-llm/troupe/actors/wire"
)

// router hands requests to engines: it tells the policy, package route, what they say of themselves.
// It is the detokenizer's.
type router struct {
	*route.Router
	targets []target
}

// target is an engine.
type target struct {
	engine engine.Engine // nil: there is none any more
	peer   string        // where that is; "": in this process
	left   bool          // it is lost, and none is handed to it any more, unless it says that it is back
}

func newRouter(engines []engine.Engine, pageSize int) router {
	r := router{Router: route.New(pageSize)}
	for i, e := range engines {
		r.joined(i, e)
	}
	return r
}

// choose says which engine to hand these tokens to, and how many of them it has cached; -1: all are
// lost. One that is being mended is chosen only where none is ready.
func (r *router) choose(tokens []int32) (at, cached int) {
	if len(r.targets) == 1 && r.targets[0].usable() {
		return 0, 0
	}
	for i := range r.targets {
		t := &r.targets[i]
		if !t.usable() {
			r.Set(i, route.Gone)
			continue
		}
		state := route.Spare
		if t.engine.State() == engine.Ready {
			state = route.Ready
		}
		r.Set(i, state)
		r.Learn(i, t.engine.Prefixes(r.Seq(i)))
		if e, is := t.engine.(shared); is {
			r.Told(i, e.Others())
		}
	}
	return r.Choose(tokens)
}

// shared is an engine that other fronts use, too: it says what it has of them.
type shared interface{ Others() wire.Load }

// usable reports whether requests may be handed to it.
func (t *target) usable() bool {
	return t.engine != nil && !t.left && t.engine.State() != engine.Lost
}

// joined notes an engine at a place of its own, nil: that it has left.
func (r *router) joined(at int, e engine.Engine) {
	for len(r.targets) <= at {
		r.targets = append(r.targets, target{})
		r.Join(len(r.targets) - 1)
	}
	r.Join(at)
	r.targets[at] = target{engine: e, peer: peer(e)}
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

// lost notes that an engine is.
func (r *router) lost(at int) { r.targets[at].left = true }

// any reports whether there is an engine that is not lost.
func (r *router) any() bool {
	return slices.ContainsFunc(r.targets, func(t target) bool { return t.usable() })
}

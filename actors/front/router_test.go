package front

import (
	"sync/atomic"
	"testing"

	"github.com/troupe-llm/troupe/actors/engine"
	"github.com/troupe-llm/troupe/actors/plan"
	"github.com/troupe-llm/troupe/actors/wire"
	"github.com/troupe-llm/troupe/gpu/device"
)

// scripted is an engine that a test speaks for.
type scripted struct {
	state    atomic.Int32 // engine.State
	prefixes wire.Prefixes
	info     device.Info
	same     wire.Identity
	got      chan *wire.Request
	canceled chan wire.Ref
	others   wire.Load
}

func (e *scripted) Submit(r *wire.Request)        { e.got <- r }
func (e *scripted) Cancel(r wire.Ref)             { e.canceled <- r }
func (e *scripted) Identity() wire.Identity       { return e.same }
func (e *scripted) Info() device.Info             { return e.info }
func (e *scripted) State() engine.State           { return engine.State(e.state.Load()) }
func (e *scripted) set(s engine.State)            { e.state.Store(int32(s)) }
func (e *scripted) Prefixes(uint64) wire.Prefixes { return e.prefixes }
func (e *scripted) Stats() engine.Stats           { return engine.Stats{} }
func (e *scripted) Others() wire.Load             { return e.others }
func (e *scripted) Close() error                  { return nil }

// caching is what an engine tells that has so many pages of a prompt.
func caching(prompt []int32, size, pages int) wire.Prefixes {
	p := wire.Prefixes{Seq: uint64(pages), Whole: true}
	above := uint64(0)
	for i := range pages {
		above = plan.HashPage(above, prompt[i*size:][:size])
		p.Pages = append(p.Pages, wire.Page{Hash: above})
	}
	return p
}

// A request goes where the fewest tokens are before its first.
func TestRouter(t *testing.T) {
	const size = 16
	prompt := make([]int32, 1000)
	for i := range prompt {
		prompt[i] = int32(i * 7)
	}
	type load struct {
		pages, open, owed int
		state             engine.State
		others            wire.Load
	}
	for _, c := range []struct {
		name   string
		loads  []load
		at     int
		cached int
	}{
		{"nobody has anything: the first", []load{{}, {}}, 0, 0},
		{"who has fewer requests", []load{{open: 2}, {open: 1}, {open: 2}}, 1, 0},
		{"who has the prefix", []load{{}, {pages: 5}, {pages: 3}}, 1, 80},
		{"who has the prefix, though it has a request more", []load{{}, {pages: 40, open: 1}}, 1, 640},
		{"not who has a short one and much to do", []load{{}, {pages: 5, open: 2}}, 0, 0},
		{"not who has long prompts before it", []load{{owed: 100}, {pages: 10, owed: 4000}}, 0, 0},
		{"who has fewer requests of others", []load{{others: wire.Load{Open: 2}}, {open: 1}}, 1, 0},
		{"not who has long prompts of others before it", []load{{owed: 100}, {pages: 10, others: wire.Load{Owed: 4000}}}, 0, 0},
		{"not who is being mended", []load{{open: 50}, {pages: 60, state: engine.Mending}}, 0, 0},
		{"who is being mended, where all others are lost", []load{{state: engine.Lost}, {state: engine.Mending, open: 7}}, 1, 0},
		{"nobody, where all are lost", []load{{state: engine.Lost}, {state: engine.Lost}}, -1, 0},
	} {
		var engines []engine.Engine
		for _, l := range c.loads {
			e := &scripted{prefixes: caching(prompt, size, l.pages), others: l.others}
			e.set(l.state)
			engines = append(engines, e)
		}
		r := newRouter(engines, size)
		for i, l := range c.loads {
			for range l.open {
				r.Took(i, 0)
			}
			r.Begun(i, -l.owed)
		}
		if at, cached := r.choose(prompt); at != c.at || cached != c.cached {
			t.Errorf("%s: engine %d, %d tokens cached; want %d, %d", c.name, at, cached, c.at, c.cached)
		}
	}
	// A page counts only behind those before it.
	e := &scripted{prefixes: caching(prompt, size, 4)}
	e.prefixes.Pages = append(e.prefixes.Pages[:1:1], e.prefixes.Pages[2:]...)
	r := newRouter([]engine.Engine{e, &scripted{}}, size)
	if _, cached := r.choose(prompt); cached != size {
		t.Errorf("%d tokens cached before a gap, want %d", cached, size)
	}
}

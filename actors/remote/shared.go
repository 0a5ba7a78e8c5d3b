package remote

import (
	"sync"

	"github.com/troupe-llm/troupe/actors/engine"
	"github.com/troupe-llm/troupe/actors/wire"
	"github.com/troupe-llm/troupe/gpu/batch"
)

// Shared is an engine that several fronts use, this process's and those on other hosts. Fronts name
// requests without knowing of each other, so the engine knows them by names of its own.
//
// Owns:   which request of the engine is whose.
// In:     calls of fronts; the engine's batches, one after the other.
// Out:    each front's outputs, in the engine's order.
// Blocks: never, but for its lock, in which it only looks up, and hands on.
type Shared struct {
	engine.Engine

	mu    sync.Mutex
	slots []place   // guarded by mu, by the Slot that the engine knows
	free  []uint32  // guarded by mu: vacant ones
	split []*Port   // guarded by mu: scratch of Deliver
	load  wire.Load // guarded by mu: of all fronts
}

// place is whose a request is, and what it is called there.
type place struct {
	port  *Port // nil: vacant
	ref   wire.Ref
	epoch uint32
	owed  int // of the load, until its first token has come
}

// Port is an engine as one front sees it.
type Port struct {
	*Shared
	deliver func(*wire.Batch)
	open    map[wire.Ref]wire.Ref // guarded by Shared.mu: as the front calls it → as the engine does
	out     *wire.Batch           // guarded by Shared.mu: scratch of Deliver
	load    wire.Load             // guarded by Shared.mu: of the front's requests
}

// Deliver takes what the engine has to say, as engine.Config.Deliver.
func (s *Shared) Deliver(b *wire.Batch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range b.Outputs {
		o := &b.Outputs[i]
		at := &s.slots[o.Slot]
		p := at.port
		if p == nil || at.epoch != o.Epoch { // its front has left
			continue
		}
		if p.out == nil {
			p.out = wire.NewBatch(b.Seq, len(b.Outputs)-i)
			p.out.Computed, p.out.About = b.Computed, b.About
			s.split = append(s.split, p)
		}
		ref := at.ref
		if at.owed > 0 && (o.Token != batch.NoToken || o.Ends()) {
			p.add(0, -at.owed)
			at.owed = 0
		}
		if o.Ends() {
			p.add(-1, 0)
			delete(p.open, ref)
			at.port, s.free = nil, append(s.free, o.Slot)
		}
		p.out.Outputs = append(p.out.Outputs, *o)
		p.out.Outputs[len(p.out.Outputs)-1].Ref = ref
	}
	b.Release()
	for i, p := range s.split {
		out := p.out
		p.out, s.split[i] = nil, nil
		p.deliver(out)
	}
	s.split = s.split[:0]
}

// Port is the engine for one front more.
func (s *Shared) Port(deliver func(*wire.Batch)) *Port {
	return &Port{Shared: s, deliver: deliver, open: map[wire.Ref]wire.Ref{}}
}

// Submit hands a request over, under a name of the engine's.
func (p *Port) Submit(r *wire.Request) {
	own := *r
	p.mu.Lock()
	if len(p.free) == 0 {
		p.free = append(p.free, uint32(len(p.slots)))
		p.slots = append(p.slots, place{})
	}
	own.Slot = p.free[len(p.free)-1]
	p.free = p.free[:len(p.free)-1]
	at := &p.slots[own.Slot]
	at.epoch++
	at.port, at.ref, own.Epoch = p, r.Ref, at.epoch
	at.owed = max(0, min(r.Owed, len(r.Prompt)+len(r.Given)))
	p.add(1, at.owed)
	p.open[r.Ref] = own.Ref
	p.mu.Unlock()
	p.Engine.Submit(&own)
}

// Cancel has the engine end a request.
func (p *Port) Cancel(ref wire.Ref) {
	p.mu.Lock()
	own, open := p.open[ref]
	p.mu.Unlock()
	if open {
		p.Engine.Cancel(own)
	}
}

// add counts requests and tokens that are to be computed. Called with Shared.mu held.
func (p *Port) add(open, owed int) {
	for _, l := range []*wire.Load{&p.load, &p.Shared.load} {
		l.Open += open
		l.Owed += owed
	}
}

// Others is what the engine has of other fronts.
func (p *Port) Others() wire.Load {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := p.Shared.load
	return wire.Load{Open: all.Open - p.load.Open, Owed: all.Owed - p.load.Owed}
}

// Open is how many requests the front has there.
func (p *Port) Open() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.open)
}

// Leave ends all of the front's requests, of which nothing is delivered any more.
func (p *Port) Leave() {
	p.mu.Lock()
	var all []wire.Ref
	for _, own := range p.open {
		all = append(all, own)
	}
	p.deliver = func(b *wire.Batch) { b.Release() }
	p.mu.Unlock()
	for _, own := range all { // their ends give the places back
		p.Engine.Cancel(own)
	}
}

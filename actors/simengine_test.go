package actors

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/troupe-llm/troupe/actors/engine"
	"github.com/troupe-llm/troupe/actors/wire"
	"github.com/troupe-llm/troupe/gpu/batch"
)

// witness stands between the front and an engine, and complains of an engine that does not keep to what
// package wire says: every request that it is given ends once, and nothing is said of it before or after.
//
// Once it may say that the engine is lost though it is not, as a Link does whose host is not heard of: the
// engine goes on for a while, and so do its words.
type witness struct {
	engine.Engine
	*world
	number  uint8
	rnd     *rand.Rand
	deliver func(*wire.Batch)
	doubts  func() bool                     // whether there is another engine, to go on with the requests
	meddle  func(*wire.Batch) []wire.Output // a planted fault; nil: none

	mu      sync.Mutex
	open    map[wire.Ref]bool // given to the engine and not ended
	doubted bool
	gone    map[wire.Ref]bool // that it was believed to be lost with: of their ends nothing is heard
}

func (w *witness) Submit(r *wire.Request) {
	w.mu.Lock()
	if w.open[r.Ref] {
		w.fault("engine %d is given request %v again", w.number, r.Ref)
	}
	w.open[r.Ref] = true
	w.mu.Unlock()
	w.Engine.Submit(r)
}

// Cancel is also when an engine may be doubted: what is cancelled then has nobody to end it but the front.
func (w *witness) Cancel(r wire.Ref) {
	if w.rnd.IntN(4) == 0 {
		w.doubt()
	}
	w.Engine.Cancel(r)
}

// heard passes on what the engine says, to the front, which may take a token that it should not.
func (w *witness) heard(b *wire.Batch) {
	if w.meddle != nil {
		b.Outputs = w.meddle(b)
	}
	w.mu.Lock()
	for i := range b.Outputs {
		o := &b.Outputs[i]
		if !w.open[o.Ref] {
			w.fault("engine %d says of request %v, which it does not have: %+v", w.number, o.Ref, o)
		}
		if o.Ends() {
			delete(w.open, o.Ref)
		}
	}
	b.Outputs = slices.DeleteFunc(b.Outputs, func(o wire.Output) bool { return w.gone[o.Ref] && o.Ends() })
	w.mu.Unlock()
	w.deliver(b)
}

// stand has a witness before each engine of a run.
func (p *play) stand(open opener) opener {
	p.usable = p.cfg.DP
	return func(number uint8, deliver func(*wire.Batch), lost func()) (engine.Engine, error) {
		w := &witness{
			world: p.world, number: number, rnd: rand.New(rand.NewPCG(p.seed, uint64(number)+2000)), deliver: deliver, open: map[wire.Ref]bool{}, gone: map[wire.Ref]bool{},
			doubts: func() bool {
				if p.usable > 1 && p.setup.doubts {
					p.usable--
					return true
				}
				return false
			},
		}
		if p.bad != nil {
			w.meddle = p.bad.words
		}
		e, err := open(number, w.heard, func() {
			if !w.doubted {
				p.usable--
			}
			lost()
		})
		w.Engine = e
		p.witnesses = append(p.witnesses, w)
		return w, err
	}
}

// doubt says that the engine is lost, with all that it has.
func (w *witness) doubt() {
	w.mu.Lock()
	if w.doubted || len(w.open) == 0 || !w.doubts() {
		w.mu.Unlock()
		return
	}
	w.doubted = true
	refs := make([]wire.Ref, 0, len(w.open))
	for r := range w.open {
		refs = append(refs, r)
		w.gone[r] = true
	}
	w.mu.Unlock()
	slices.SortFunc(refs, func(a, b wire.Ref) int { return cmp.Or(cmp.Compare(a.Slot, b.Slot), cmp.Compare(a.Epoch, b.Epoch)) })
	w.went("an engine was believed to be lost")
	b := &wire.Batch{}
	for _, r := range refs {
		b.Outputs = append(b.Outputs, wire.Output{Ref: r, Token: batch.NoToken, Reason: wire.Failed, Fault: &wire.Fault{Kind: wire.Lost, Msg: "not heard of"}})
	}
	w.deliver(b)
	w.after(time.Duration(w.rnd.IntN(int(20*time.Millisecond))), func() { // it learns of it, too
		for _, r := range refs {
			w.Engine.Cancel(r)
		}
	})
}

// Audit says what the engine has not answered though no request is open.
func (w *witness) Audit() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.open) > 0 {
		return fmt.Errorf("engine %d has not answered %d requests", w.number, len(w.open))
	}
	return nil
}

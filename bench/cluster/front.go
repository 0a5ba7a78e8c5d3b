package cluster

import (
	"slices"
	"time"

	"github.com/troupe-llm/troupe/actors/plan"
	"github.com/troupe-llm/troupe/actors/route"
	"github.com/troupe-llm/troupe/actors/wire"
)

// front hands requests to engines, by what it knows of them.
type front struct {
	number int
	away   bool // it has not come yet
	router *route.Router
	chooser
}

// request is one underway. Its front has it, and at most one engine.
type request struct {
	id      uint64
	front   *front
	arrived time.Duration
	prompt  []int32
	asked   int
	given   []int32 // tokens of engines that were lost

	at, owed int           // which engine has it, and how many tokens it is believed to have to compute before the first
	cached   int           // of its tokens, believed
	last     time.Duration // its last token; 0: none yet
	due      int           // of owed, what its engine has yet to compute
	work     time.Duration // what its prompt takes the engine it is on, where an oracle wants to know
	begun    bool          // its engine has drawn a token
	counted  bool          // hit is set
	ttft     time.Duration
	hit      int // tokens of the prompt that were cached when it was first admitted
	planned  plan.Request
}

func newFront(c *cluster, number int) *front {
	f := &front{number: number, router: route.New(c.info.PageSize)}
	f.chooser = c.cfg.Policy.chooser(c, f)
	return f
}

// begin has it know the engines, and ask each of them again and again for what is new, not all at once.
func (f *front) begin(c *cluster) {
	for i := range c.engines {
		f.joined(i)
		if every := c.cfg.Beat; every > 0 && c.cfg.Policy.asks() {
			first := every * time.Duration(i*len(c.fronts)+f.number) / time.Duration(len(c.engines)*len(c.fronts))
			c.at(c.now+first, func(c *cluster) { f.ask(c, i) })
		}
	}
}

// joined notes an engine of whose tree nothing is known.
func (f *front) joined(i int) {
	f.router.Join(i)
}

// left notes that an engine is lost.
func (f *front) left(i int) { f.router.Set(i, route.Gone) }

// ask asks an engine for what is new, and again after a while.
func (f *front) ask(c *cluster, i int) {
	since := f.router.Seq(i)
	c.after(func(c *cluster) { f.answer(c, c.engines[i], since) })
	c.at(c.now+c.cfg.Beat, func(c *cluster) { f.ask(c, i) })
}

// answer has an engine tell what is new, as a pulse (actors/remote).
func (f *front) answer(c *cluster, e *engine, since uint64) {
	if e.gone {
		return
	}
	life, draining, others := e.life, e.draining, e.others(f)
	p := e.digest.Since(since)
	e.told(c, &p, others)
	c.after(func(c *cluster) {
		if e.life != life || f.away {
			return
		}
		f.router.Learn(e.number, p)
		f.router.Told(e.number, others)
		if draining {
			f.router.Set(e.number, route.Spare)
		}
	})
}

// told counts what a pulse takes.
func (e *engine) told(c *cluster, p *wire.Prefixes, others wire.Load) {
	n := uint64(len((&wire.Frame{Session: 1 << 63, Seq: e.steps, Pulse: &wire.Pulse{Stats: c.stats(e), Prefixes: *p, Sent: int64(c.now), Now: int64(c.now), Others: others}}).Encode()))
	c.tally.pulse(p, n)
}

// submit hands a request to an engine.
func (f *front) submit(c *cluster, r *request) {
	known := r.prompt
	if len(r.given) > 0 {
		known = slices.Concat(r.prompt, r.given)
	}
	if c.cfg.Beat == 0 && c.cfg.Policy.asks() {
		for i, e := range c.engines {
			if !e.gone {
				f.router.Learn(i, e.digest.Since(f.router.Seq(i)))
				f.router.Told(i, e.others(f))
			}
		}
	}
	r.at, r.cached = f.choose(known)
	if r.at < 0 {
		panic("cluster: no engine is left")
	}
	r.owed, r.begun = len(known)-r.cached, false
	f.router.Took(r.at, r.owed)
	c.after(func(c *cluster) { c.engines[r.at].take(c, r) })
}

// admitted notes that an engine begins with a request.
func (r *request) admitted(c *cluster) {
	if !r.counted {
		r.counted, r.hit = true, r.planned.CachedTokens
		c.tally.believed(r)
	}
}

// came takes a token.
func (r *request) came(c *cluster, e *engine, end bool) {
	now := c.now + c.cfg.Delay // at the front
	if r.last == 0 {
		c.tally.first(c, r, now-r.arrived)
	} else {
		c.tally.itl.add(now - r.last)
	}
	r.last = now
	if !r.begun {
		r.begun = true
		e.load[r.front.number].Owed -= r.due
		e.work -= r.work
		c.after(func(*cluster) {
			r.front.router.Begun(r.at, r.owed)
			r.owed = 0
		})
	}
	c.tally.tokens++
	if end {
		delete(e.has, r)
		e.load[r.front.number].Open--
		c.tally.preempted += r.planned.Preemptions
		c.after(func(c *cluster) { r.front.ended(c, r) })
	}
}

// ended notes that a request is over.
func (f *front) ended(c *cluster, r *request) {
	f.router.Ended(r.at, r.owed)
	if r.last > 0 {
		c.tally.ended(r, c.now-r.arrived)
	}
	c.open--
}

// lost hands a request whose engine is lost to another one.
func (f *front) lost(c *cluster, r *request) {
	f.router.Ended(r.at, r.owed)
	f.left(r.at)
	c.tally.resumed++
	f.submit(c, r)
}

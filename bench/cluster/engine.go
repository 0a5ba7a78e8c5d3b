package cluster

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/troupe-llm/troupe/actors/plan"
	"github.com/troupe-llm/troupe/actors/route"
	"github.com/troupe-llm/troupe/actors/wire"
	"github.com/troupe-llm/troupe/gpu/batch"
)

// engine is a planner with a device whose steps take what they would.
type engine struct {
	number   int
	life     int // that has been lost so often
	gone     bool
	draining bool

	plan    *plan.Planner
	digest  *route.Digest
	truth   *route.Router // what an oracle sees: the tree as it is; nil: nobody looks
	stepped func(*cluster)
	has     map[*request]struct{}

	host time.Duration // until when its processor is busy
	end  time.Duration // of the last step launched
	out  []launched    // oldest first
	load []wire.Load   // what it has of each front
	work time.Duration // what the prompts of its requests take that have no token yet, where an oracle wants to know

	// Over all lives.
	busy  time.Duration
	used  float64 // pages that requests held, times for how long in seconds
	since time.Duration
	steps uint64
}

// launched is a step on its device.
type launched struct {
	result batch.Result
	ends   time.Duration
}

// start begins a life with an empty memory.
func (c *cluster) start(e *engine) error {
	cfg := c.cfg.Plan
	cfg.Slots, cfg.NumPages, cfg.PageSize = c.info.Slots, c.info.NumPages, c.info.PageSize
	cfg.MaxSeqLen, cfg.StepTokens = c.info.MaxSeqLen, c.info.MaxStepTokens
	cfg.States, cfg.Snapshots, cfg.Window = c.info.StateBytes > 0, c.info.Snapshots, c.info.Window
	cfg.StepTime = func(s *batch.Step) int64 { return int64(c.price(s)) }
	p, err := plan.New(cfg)
	if err != nil {
		return err
	}
	e.plan, e.digest, e.gone, e.has = p, new(route.Digest), false, map[*request]struct{}{}
	e.load = make([]wire.Load, c.cfg.Fronts)
	e.out, e.work, e.host, e.end, e.since = nil, 0, c.now, c.now, c.now
	if c.cfg.Policy == Oracle {
		e.truth = route.New(c.info.PageSize)
		e.truth.Join(0)
	}
	life := e.life
	e.stepped = func(c *cluster) {
		if e.life == life {
			e.commit(c)
		}
	}
	return nil
}

// take begins a request, of which so many tokens are believed to be to do.
func (e *engine) take(c *cluster, r *request) {
	if e.gone {
		c.after(func(c *cluster) { r.front.lost(c, r) })
		return
	}
	r.planned = plan.Request{ID: r.id, Prompt: r.prompt, Given: r.given, MaxTokens: r.asked, IgnoreEOS: true, User: r}
	if err := e.plan.Add(&r.planned); err != nil {
		c.tally.refuse(err)
		c.after(func(c *cluster) { r.front.ended(c, r) })
		return
	}
	e.has[r] = struct{}{}
	r.due = r.owed
	e.load[r.front.number].Open++
	e.load[r.front.number].Owed += r.due
	if e.truth != nil {
		r.work = e.prefill(c, r.planned.Prompt)
		e.work += r.work
	}
	e.host = max(e.host, c.now)
	e.pump(c)
}

// others is what it has of all fronts but one.
func (e *engine) others(but *front) (l wire.Load) {
	for i, of := range e.load {
		if i != but.number {
			l.Open += of.Open
			l.Owed += of.Owed
		}
	}
	return l
}

// pump launches what can be.
func (e *engine) pump(c *cluster) {
	for {
		step := e.plan.Next()
		if step == nil {
			e.tell()
			return
		}
		e.host += c.cfg.HostCost
		took := c.price(step)
		e.end = max(e.host, e.end) + took
		e.busy += took
		e.steps++
		e.out = append(e.out, launched{result: draw(step, e.number), ends: e.end})
		if len(e.out) == 1 {
			c.at(e.end, e.stepped)
		}
		for _, r := range e.plan.Admitted() {
			r.User.(*request).admitted(c)
		}
	}
}

// tell keeps the digest as the tree is.
func (e *engine) tell() {
	changes := e.plan.Changes()
	e.digest.Apply(changes)
	if e.truth != nil {
		e.truth.Learn(0, prefixes(changes))
	}
}

// draw makes up the tokens of a step. No two requests go on alike.
func draw(s *batch.Step, number int) batch.Result {
	r := batch.Result{Seq: s.Seq, Tokens: make([]int32, len(s.Rows))}
	for i := range s.Rows {
		row := &s.Rows[i]
		if r.Tokens[i] = batch.NoToken; row.Sample {
			x := (uint64(number)<<32 ^ s.Seq<<8 ^ uint64(row.Slot)) * 0x9E3779B97F4A7C15
			r.Tokens[i] = int32(x >> 33)
		}
	}
	return r
}

// commit takes the result of the oldest step, when it has ended.
func (e *engine) commit(c *cluster) {
	e.host = max(e.host, c.now)
	e.used += float64(e.plan.Stats().PagesUsed) * (c.now - e.since).Seconds()
	e.since = c.now
	done := e.out[0]
	e.out = append(e.out[:0], e.out[1:]...)
	if len(e.out) > 0 {
		c.at(e.out[0].ends, e.stepped)
	}
	for _, o := range e.plan.Commit(&done.result) {
		r := o.Req.User.(*request)
		r.came(c, e, o.Finish != plan.Running)
	}
	e.pump(c)
}

// die loses an engine with all it has. It comes back with nothing, after a while.
func (e *engine) die(c *cluster) {
	e.life++
	e.gone = true
	for _, r := range slices.SortedFunc(maps.Keys(e.has), func(a, b *request) int { return cmp.Compare(a.id, b.id) }) {
		r.given = append([]int32(nil), r.planned.Output()...)
		c.after(func(c *cluster) { r.front.lost(c, r) })
	}
	e.has = nil
	c.after(func(c *cluster) {
		for _, f := range c.fronts {
			f.left(e.number)
		}
	})
	if c.cfg.Back > 0 {
		c.at(c.now+c.cfg.Back, func(c *cluster) {
			if c.start(e) == nil { // it could be opened before
				c.after(func(c *cluster) {
					for _, f := range c.fronts {
						f.joined(e.number)
					}
				})
			}
		})
	}
}

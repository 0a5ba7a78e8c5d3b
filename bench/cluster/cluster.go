// Package cluster plays traffic to many simulated engines on a clock of its own: an hour of a
// thousand engines takes minutes, and comes out the same every time.
//
// What decides is what decides in a server: each engine is a real planner (actors/plan) with its pages
// and its prefix tree, fronts choose with the real policy (actors/route) by the real digests, as late
// as they come and as large as they are encoded (actors/wire). Only what steps take is computed, by
// gpu/sim, and what is drawn. There are no actors, and nobody sleeps.
//
// Read cluster.go (what there is and what happens when), engine.go, front.go (who chooses, by what),
// policy.go (what ours is compared with), traffic.go (what comes) and report.go (what is told).
package cluster

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/troupe-llm/troupe/actors/plan"
	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/sim"
)

// Config says what there is. It is checked once, by Run.
type Config struct {
	Engines int         // each on a device of its own
	Fronts  int         // among which requests are dealt out in turn; 0: 1
	Device  device.Spec // "sim:…"
	Plan    plan.Config // how engines schedule; sizes are the device's
	Policy  Policy      // "" is Prefix
	// HostCost is what an engine's processor needs for each step before it can launch it, Delay how
	// long a message between hosts takes.
	HostCost, Delay time.Duration
	// Beat is how often a front asks an engine for what is new in its prefix tree: every 250 ms
	// between hosts (actors/remote). 0: whenever it chooses, as within a process.
	Beat time.Duration

	// What goes wrong, 0: nothing. At Dies engine 0 does, and comes back empty after Back; at Drains
	// engine 0 is told to end what it has and take no more, at Joins the last front comes, which
	// knows nothing: until then there is one fewer.
	Dies, Back, Drains, Joins time.Duration
	// Window is how long the intervals are that are reported one by one; 0: a minute.
	Window time.Duration
}

// cluster is the state of a run.
type cluster struct {
	cfg     Config
	info    device.Info
	price   func(*batch.Step) time.Duration
	engines []*engine
	fronts  []*front
	now     time.Duration
	events  queue
	next    int // whose turn it is of the fronts
	open    int // requests that came and have not ended
	came    int
	tally   tally
	rate    rate // of prompts
}

// Run plays arrivals, which must be in order of time, to their end.
func Run(ctx context.Context, cfg Config, arrivals iter.Seq[Arrival]) (*Result, error) {
	c, err := build(cfg)
	if err != nil {
		return nil, err
	}
	next, stop := iter.Pull(arrivals)
	defer stop()
	coming, more := next()
	for n := 0; more || c.open > 0; n++ {
		if n%1024 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if c.events.len() == 0 || more && coming.At <= c.events.events[0].at {
			if !more {
				return nil, fmt.Errorf("cluster: %d requests are open, and nothing happens any more", c.open)
			}
			c.now = max(c.now, coming.At)
			c.arrive(&coming)
			coming, more = next()
			continue
		}
		e := c.events.pop()
		c.now = e.at
		e.happens(c)
	}
	if c.came == 0 {
		return nil, errors.New("cluster: no request came")
	}
	if c.came == c.tally.refused {
		return nil, fmt.Errorf("cluster: every one of %d requests was refused, the last with: %w", c.came, c.tally.refusal)
	}
	return c.result(), nil
}

// build makes what there is in the beginning.
func build(cfg Config) (*cluster, error) {
	def(&cfg.Fronts, 1)
	def(&cfg.Policy, Prefix)
	def(&cfg.Window, time.Minute)
	if cfg.Engines < 1 || cfg.Fronts < 1 {
		return nil, fmt.Errorf("cluster: %d engines, %d fronts: there must be at least 1 of each", cfg.Engines, cfg.Fronts)
	}
	if !cfg.Policy.known() {
		return nil, fmt.Errorf("cluster: policy %q: it must be one of %v", cfg.Policy, Policies)
	}
	if cfg.Joins > 0 && cfg.Fronts < 2 {
		return nil, errors.New("cluster: the only front joins later: nobody would take requests until then")
	}
	if cfg.Engines < 2 && cfg.Policy != Pooled && (cfg.Dies > 0 || cfg.Drains > 0) {
		return nil, errors.New("cluster: the only engine goes: nobody would compute requests then")
	}
	priced, err := sim.New(cfg.Device)
	if err != nil {
		return nil, err
	}
	c := &cluster{cfg: cfg, info: priced.Info(), price: priced.Predict}
	c.cfg.Plan.Digest = true
	c.rate = c.measure()
	if cfg.Policy == Pooled {
		c.pool()
	}
	for i := range c.cfg.Engines {
		e := &engine{number: i}
		c.engines = append(c.engines, e)
		if err := c.start(e); err != nil {
			return nil, err
		}
	}
	for i := range cfg.Fronts {
		c.fronts = append(c.fronts, newFront(c, i))
	}
	c.schedule()
	return c, nil
}

// pool makes one engine of all: with their memory and slots, and as fast as they are together. Nothing
// goes wrong with it.
func (c *cluster) pool() {
	n := c.cfg.Engines
	c.cfg.Engines, c.cfg.Dies, c.cfg.Drains = 1, 0, 0
	c.info.NumPages *= n
	c.info.Slots *= n
	c.info.MaxStepTokens = max(c.info.MaxStepTokens, c.info.Slots+c.info.MaxStepTokens)
	whole := c.price
	c.price = func(s *batch.Step) time.Duration { return whole(s) / time.Duration(n) }
}

// schedule has happen what is known to.
func (c *cluster) schedule() {
	for _, f := range c.fronts {
		late := c.cfg.Joins > 0 && f.number == c.cfg.Fronts-1
		if late {
			f.away = true
			c.at(c.cfg.Joins, func(c *cluster) { f.away = false; f.begin(c) })
			continue
		}
		f.begin(c)
	}
	if first := c.engines[0]; c.cfg.Dies > 0 {
		c.at(c.cfg.Dies, first.die)
	}
	if first := c.engines[0]; c.cfg.Drains > 0 {
		c.at(c.cfg.Drains, func(*cluster) { first.draining = true })
	}
}

// arrive gives a request to a front.
func (c *cluster) arrive(a *Arrival) {
	c.came++
	c.open++
	for c.fronts[c.next].away {
		c.next = (c.next + 1) % len(c.fronts)
	}
	f := c.fronts[c.next]
	c.next = (c.next + 1) % len(c.fronts)
	r := &request{front: f, arrived: c.now, prompt: a.Tokens(c.info.Vocab), asked: a.Output, id: uint64(c.came)}
	f.submit(c, r)
}

// at has something happen at a time.
func (c *cluster) at(t time.Duration, happens func(*cluster)) { c.events.push(t, happens) }

// after has something happen when a message sent now has come.
func (c *cluster) after(happens func(*cluster)) { c.at(c.now+c.cfg.Delay, happens) }

func def[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}

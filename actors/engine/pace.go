package engine

import (
	"math"
	"time"

	"github.com/troupe-llm/troupe/gpu"
	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/device"
)

// pace predicts what steps take, for plan.Config.TargetITL: a roofline, corrected by
// what steps took of late, apart for rows that decode and for prompts, which wait for
// different things. Where nothing is known of the hardware the roofline is another's,
// and the two corrections tell how this one compares; until they are known steps have
// few tokens of prompts.
//
// It is the scheduler's.
type pace struct {
	roofline        func(*batch.Step) time.Duration
	guessed         bool // the roofline is another device's
	decode, prompts correction

	// Of the step being built, which is priced again and again: what its decode rows take.
	seq   uint64
	alone time.Duration
}

// correction is a running mean of measured over predicted.
type correction struct {
	factor float64
	n      int
}

const (
	paceMemory = 16 // steps that a correction remembers
	paceJump   = 4  // how far off one step may be counted: what took longer had other reasons
	paceFirst  = 64 // tokens of prompts beside decode rows, while nothing is known of what they take
)

func (c *correction) add(measured, predicted float64, known bool) {
	if predicted <= 0 || measured <= 0 {
		return
	}
	x := measured / predicted
	if c.n == 0 && known {
		c.factor, c.n = 1, paceMemory/2
	}
	if c.n > 0 {
		x = min(max(x, c.factor/paceJump), c.factor*paceJump)
	}
	c.n = min(c.n+1, paceMemory)
	c.factor += (x - c.factor) / float64(c.n)
}

// of is the correction; 1 as long as there is none.
func (c *correction) of(t time.Duration) float64 {
	if c.n == 0 {
		return float64(t)
	}
	return c.factor * float64(t)
}

func newPace(cfg *Config, info *device.Info) *pace {
	p := &pace{}
	var known bool
	p.roofline, known = gpu.Predict(info, cfg.Model)
	if !known {
		p.roofline, p.guessed = gpu.Compare(info, cfg.Model), true
	}
	return p
}

// decoding is a step without its prompts.
func decoding(s *batch.Step) batch.Step {
	d := *s
	d.Rows, d.NumTokens = s.Rows[:s.NumDecode], s.NumDecode
	d.Saves, d.Restores = nil, nil
	return d
}

// split predicts what a step's decode rows take, and what its prompts add to that.
func (p *pace) split(s *batch.Step) (alone, added time.Duration) {
	if s.NumDecode > 0 {
		d := decoding(s)
		alone = p.roofline(&d)
	}
	return alone, p.roofline(s) - alone
}

// stepTime predicts a step, in nanoseconds.
func (p *pace) stepTime(s *batch.Step) int64 {
	if s.Seq != p.seq {
		p.seq = s.Seq
		p.alone, _ = p.split(s)
	}
	prompts := s.NumTokens - s.NumDecode
	if prompts == 0 {
		return int64(p.decode.of(p.alone))
	}
	if p.guessed && p.prompts.n == 0 && prompts > paceFirst {
		return math.MaxInt64 / 2
	}
	return int64(p.decode.of(p.alone) + p.prompts.of(p.roofline(s)-p.alone))
}

// ran corrects the prediction by what a step took.
func (p *pace) ran(s *batch.Step, r *batch.Result) {
	took := float64(r.Ended - r.Began)
	if r.Resumed > r.Stalled { // it waited for masks
		took -= float64(r.Resumed - r.Stalled)
	}
	alone, added := p.split(s)
	switch {
	case len(s.Rows) == s.NumDecode:
		p.decode.add(took, float64(alone), !p.guessed)
	case added > alone/4: // else it is within what decode rows' times differ by
		p.prompts.add(took-p.decode.of(alone), float64(added), !p.guessed)
	}
}

package engine

import (
	"math"
	"time"

	"github.com/troupe-llm/troupe/gpu"
	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/device"
)

// pace predicts what steps take, for plan.Config.TargetITL and to know what drafts cost: a
// roofline, corrected by what steps took of late, apart for rows that decode, for drafts and
// for prompts, which wait for different things. Where nothing is known of the hardware the
// roofline is another's, and the corrections tell how this one compares; until they are known
// steps have few tokens of prompts, and drafts cost what draftUnknown says.
//
// It is the scheduler's.
type pace struct {
	roofline        func(*batch.Step) time.Duration
	foreign         bool // the roofline is another device's
	decode, prompts correction
	drafts          correction

	// How long the device stood idle before steps with drafts, a running mean in nanoseconds,
	// of so many; the last step, and when it ended.
	idle  float64
	idles int
	last  uint64
	ended int64

	// Of the step being built, which is priced again and again: what its rows take that go on
	// with replies, by the roofline and corrected.
	seq     uint64
	alone   time.Duration
	replies float64
	plain   []batch.Row // scratch of parts
}

// correction is a running mean of measured over predicted.
type correction struct {
	factor float64
	n      int
}

const (
	paceMemory = 16 // steps that a correction remembers
	// paceForgets is in about how many steps without drafts it is forgotten how long the device
	// stood idle before those with some.
	paceForgets = 512
	paceJump    = 4  // how far off one step may be counted: what took longer had other reasons
	paceFirst   = 64 // tokens of prompts beside decode rows, while nothing is known of what they take
	// draftUnknown is how many drafts are taken to cost as much as the step without them,
	// where nothing is known of the hardware.
	draftUnknown = 8
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
func (c *correction) of(t float64) float64 {
	if c.n == 0 {
		return t
	}
	return c.factor * t
}

func newPace(cfg *Config, info *device.Info) *pace {
	p := &pace{}
	var known bool
	p.roofline, known = gpu.Predict(info, cfg.Model)
	if !known {
		p.roofline, p.foreign = gpu.Compare(info, cfg.Model), true
	}
	return p
}

// parts are what a step's roofline comes to: of its decode rows, those with drafts counted as
// such; of its drafts; and of prompts.
type parts struct{ decode, drafts, prompts float64 }

// replying is a step without its prompts.
func replying(s *batch.Step) batch.Step {
	r := *s
	r.Rows, r.NumTokens = s.Rows[:s.Replies()], 0
	for i := range r.Rows {
		r.NumTokens += r.Rows[i].Len()
	}
	r.Saves, r.Restores = nil, nil
	return r
}

// split predicts the parts of a step.
func (p *pace) split(s *batch.Step) (of parts) {
	r := replying(s)
	if len(r.Rows) > 0 {
		of.decode = float64(p.roofline(&r))
	}
	whole := of.decode
	if drafts := r.NumTokens - len(r.Rows); drafts > 0 {
		d := r
		p.plain = append(p.plain[:0], r.Rows...)
		for i := range p.plain {
			p.plain[i].Tokens, p.plain[i].Drafts = nil, 0
		}
		d.Rows, d.NumDecode, d.NumTokens = p.plain, len(p.plain), len(p.plain)
		of.decode = float64(p.roofline(&d))
		if of.drafts = max(whole-of.decode, 0); p.foreign {
			of.drafts = of.decode * float64(drafts) / draftUnknown
		}
	}
	if len(r.Rows) < len(s.Rows) {
		of.prompts = float64(p.roofline(s)) - whole
	}
	return of
}

// took is what the parts come to that go on with replies, corrected.
func (p *pace) took(of parts) float64 { return p.decode.of(of.decode) + p.drafts.of(of.drafts) }

// stepTime predicts a step, in nanoseconds.
func (p *pace) stepTime(s *batch.Step) int64 {
	replies := s.Replies()
	if replies == len(s.Rows) {
		return int64(p.took(p.split(s)))
	}
	if s.Seq != p.seq {
		p.seq, p.alone, p.replies = s.Seq, 0, 0
		if r := replying(s); len(r.Rows) > 0 {
			p.alone, p.replies = p.roofline(&r), p.took(p.split(&r))
		}
	}
	prompts := 0
	for i := range s.Rows[replies:] {
		prompts += s.Rows[replies+i].Len()
	}
	if p.foreign && p.prompts.n == 0 && prompts > paceFirst {
		return math.MaxInt64 / 2
	}
	return int64(p.replies + p.prompts.of(float64(p.roofline(s)-p.alone)))
}

// ran corrects the prediction by what a step took.
func (p *pace) ran(s *batch.Step, r *batch.Result) {
	took := float64(r.Ended - r.Began)
	if r.Resumed > r.Stalled { // it waited for masks
		took -= float64(r.Resumed - r.Stalled)
	}
	p.stood(s, r)
	of := p.split(s)
	switch {
	case len(s.Rows) == s.NumDecode:
		p.decode.add(took, of.decode, !p.foreign)
	case len(s.Rows) == s.Replies(): // more than nothing, whatever decode rows are thought to take
		p.drafts.add(max(took-p.decode.of(of.decode), 1), of.drafts, true)
	case of.prompts > of.decode/4: // else it is within what decode rows' times differ by
		p.prompts.add(took-p.took(of), of.prompts, !p.foreign)
	}
}

// stood learns for how long the device stood idle before a step with drafts.
func (p *pace) stood(s *batch.Step, r *batch.Result) {
	if s.Seq == p.last+1 && s.Replies() > s.NumDecode {
		idle := max(float64(r.Began-p.ended), 0)
		if p.idles > 0 { // what took longer had other reasons
			idle = min(idle, paceJump*max(p.idle, 1000))
		}
		p.idles = min(p.idles+1, paceMemory)
		p.idle += (idle - p.idle) / float64(p.idles)
	} else { // so that drafts are tried again that do not pay any more for it
		p.idle -= p.idle / paceForgets
	}
	p.last, p.ended = s.Seq, r.Ended
}

// idled is that time, 0 if it is not known.
func (p *pace) idled() int64 {
	if p.idles == 0 {
		return 0
	}
	return max(int64(p.idle), 1)
}

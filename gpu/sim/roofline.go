package sim

import (
	"math"
	"time"

	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/kernel/lower"
	"github.com/troupe-llm/troupe/gpu/program"
)

// Roofline says how long a step takes: each kernel as long as its memory traffic
// or its arithmetic, whichever is more, and beginning it; never less than
// launching all. The kernels are those into which package lower makes a program.
//
// With a mixture of experts a step reads, of every layer, those experts that
// one of its tokens was sent to, on average (program.Touched). So a token alone
// is cheap, and a large step reads everything, which it shares.
type Roofline struct {
	hw            Hardware
	rates         rates
	bodies, heads []bucket
	windows       []int   // of attention; 0: none
	draw          float64 // bytes a row that is drawn from: logits, read twice
	state         float64 // bytes of a copy of states: read and written
}

func newRoofline(o *options, p *program.Program, info *device.Info, by rates) *Roofline {
	held := info.Weights()
	l, pr := lower.Of(p, held.Codes), newPricer(p, info, o.hw.Codes)
	if info.Deterministic {
		l = lower.Invariant(p, held.Codes)
	}
	r := &Roofline{hw: o.hw, rates: by, bodies: pr.bodies(l), heads: pr.heads(l), draw: 2 * pr.bytes(p.Logits)}
	r.windows = pr.looks
	r.state = 2 * 4 * float64(p.StateElements())
	return r
}

// load is what a step asks for.
type load struct {
	tokens, decodes, sampled, scored int
	looks                            []look // by window
}

// look is what attention looks at: decode rows, of which one with drafts is one for each
// of its tokens, then those of prompts.
type look struct{ decodes, prompts program.Look }

// count adds a step up, its looks in the memory that is given.
func (r *Roofline) count(s *batch.Step, looks []look) load {
	l := load{tokens: s.NumTokens}
	replies := s.Replies()
	for i := range s.Rows {
		if s.Rows[i].Sample {
			l.sampled += s.Rows[i].Draws()
		}
		if i < replies {
			l.decodes += s.Rows[i].Len()
		}
		l.scored += len(s.Rows[i].Score)
	}
	for _, window := range r.windows {
		var sum look
		for i := range s.Rows {
			row := &s.Rows[i]
			if i >= replies {
				sum.prompts.Add(program.Span{Start: int(row.Start), Tokens: row.Len()}.Look(window))
				continue
			}
			for j := range row.Len() {
				sum.decodes.Add(program.Span{Start: int(row.Start) + j, Tokens: 1}.Look(window))
			}
		}
		looks = append(looks, sum)
	}
	l.looks = looks
	return l
}

// bill adds up what kernels take.
type bill struct {
	busy             float64 // s: moving, computing
	met              float64 // s: of that, adding up with other GPUs
	starts, launches float64
}

func (b *bill) add(n, starts, busy float64) {
	b.busy += n * busy
	b.starts += n * starts
	b.launches += n
}

// Step is how long the step takes on the device.
func (r *Roofline) Step(s *batch.Step) time.Duration {
	took, _ := r.step(s)
	return took
}

// step is Step, and how much of it GPUs that share the model add up in.
func (r *Roofline) step(s *batch.Step) (took, met time.Duration) {
	l := r.count(s, make([]look, 0, 4))
	prompts := len(s.Rows) > s.Replies()
	var b bill
	b.add(1, 1, 0) // what begins a step
	if l.decodes > 0 {
		b.add(1, 1, 0) // decode attention's plan
	}
	for _, copies := range []int{len(s.Restores), len(s.Saves)} { // no step of the fit has any
		if copies > 0 {
			b.add(1, 1, float64(copies)*r.state/(r.hw.Read*r.rates.weights))
		}
	}
	r.run(&b, find(r.bodies, l.tokens), l.tokens, &l, prompts)
	if l.sampled > 0 {
		r.run(&b, find(r.heads, l.sampled), l.sampled, &l, false)
		b.add(drawKernels, 1, r.drawing(l.sampled)/drawKernels)
	}
	if l.scored > 0 { // no step of the fit has any
		r.run(&b, find(r.heads, l.scored), l.scored, &l, false)
		b.add(1, 1, r.drawing(l.scored)) // log-probabilities
	}
	t := b.busy + b.starts*r.rates.kernel
	if prompts {
		t = max(t, b.launches*r.rates.launch)
	} else { // a captured graph
		t += graphLaunch
	}
	return time.Duration(t * 1e9), time.Duration(b.met * 1e9)
}

// run bills kernels of so many rows.
func (r *Roofline) run(b *bill, kernels []several, rows int, l *load, prompts bool) {
	for i := range kernels {
		k := &kernels[i]
		if k.bound == byAttention {
			r.attend(b, k, l, prompts)
			continue
		}
		b.add(k.n, k.starts, r.time(&k.priced, rows))
		b.met += k.n * r.meets(&k.priced, rows)
	}
}

// attend bills attention. That of decode rows has one query for each page it
// reads: it is bound by memory. A chunk's reads once for all its queries.
func (r *Roofline) attend(b *bill, k *several, l *load, prompts bool) {
	look, read := &l.looks[k.look], r.hw.Read*r.rates.kv
	if l.decodes > 0 {
		b.add(k.n, k.starts, r.rates.decode+(look.decodes.Positions*k.position+float64(l.decodes)*k.row)/read)
	}
	if prompts {
		reading := (look.prompts.Positions*k.position + float64(l.tokens-l.decodes)*k.row) / read
		b.add(k.n, k.starts, max(reading, look.prompts.Pairs*k.pair/(r.hw.FLOPs*r.rates.attention)))
	}
}

// time is how long a kernel of so many rows moves and computes.
func (r *Roofline) time(k *priced, rows int) float64 {
	if k.bound == byInt4 {
		return r.int4(k, rows) + r.meets(k, rows)
	}
	n, share := float64(rows), 1.0
	if k.experts > 0 {
		share = program.Touched(k.experts, k.perToken, rows) / float64(k.experts)
	}
	t := (k.weights*share + k.row*n) / (r.hw.Read * r.rates.weights)
	if k.tiled {
		n = float64(lower.ProductRows(rows))
	}
	switch k.bound {
	case byProducts:
		t = rounded(t, k.flops*n/(r.hw.FLOPs*r.rates.products))
		if k.added > 0 {
			t = max(t, r.sends(k, rows))
		}
	case byExperts:
		t = rounded(t, k.flops*n/(r.hw.FLOPs*r.rates.experts))
	}
	return t + r.meets(k, rows)
}

// int4 is how long a product of weights of 4 bits takes: by kernels for few rows, by
// those for many, or as two kernels, of which one widens the weights for the other.
func (r *Roofline) int4(k *priced, rows int) float64 {
	switch lower.Int4(rows, r.hw.Capability == device.Hopper) {
	case lower.Int4Few:
		return k.weights / (r.hw.Read * r.rates.few4)
	case lower.Int4Many:
		n := float64((rows + 31) &^ 31)
		return rounded(k.weights/(r.hw.Read*r.rates.many4), k.flops*n/(r.hw.FLOPs*r.rates.products4))
	}
	read := r.hw.Read * r.rates.weights
	n := float64(lower.ProductRows(rows))
	return r.rates.kernel + (k.weights+k.wide)/read + rounded(k.wide/read, k.flops*n/(r.hw.FLOPs*r.rates.products))
}

// meets is how long GPUs that share the model take to send each other what they
// have of so many rows, and to add it up where that is by itself.
func (r *Roofline) meets(k *priced, rows int) float64 {
	if k.link == 0 {
		return 0
	}
	if k.added > 0 { // what they send is on its way while they multiply
		return meeting + float64(rows)*k.added/(r.hw.Read*r.rates.weights)
	}
	return meeting + r.sends(k, rows)
}

// sends is how long what GPUs have of so many rows is on its way.
func (r *Roofline) sends(k *priced, rows int) float64 {
	return float64(rows) * k.link / (r.hw.Link * linkShare)
}

// rounded is the roofline with its corner rounded: reading and arithmetic that
// take as long as each other take 2^(1/3) as long together.
func rounded(reading, computing float64) float64 {
	return math.Cbrt(reading*reading*reading + computing*computing*computing)
}

// drawKernels of kernels that draw tokens.
const drawKernels = 3

// drawing is how long moving logits takes that so many rows are drawn from.
func (r *Roofline) drawing(rows int) float64 {
	return float64(rows) * r.draw / (r.hw.Read * r.rates.weights)
}

// Draw is how much of a step's time the drawing of so many tokens takes.
func (r *Roofline) Draw(samples int) time.Duration {
	return time.Duration((r.drawing(samples) + drawKernels*r.rates.kernel) * 1e9)
}

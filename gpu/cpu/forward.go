package cpu

import (
	"math"
	"slices"

	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/model"
)

// workspace is a step's intermediate values, all float32 and row-major, a row
// per token unless said otherwise. It grows to the largest step seen.
type workspace struct {
	tokens []token
	angles []float32 // [tokens, HeadDim]: cosines, then sines
	x      []float32 // [tokens, Hidden]: the residual stream
	normed []float32 // [tokens, Hidden apart]
	qkv    []float32 // [tokens, qkv.stride()]
	mixed  []float32 // [tokens, Heads·HeadDim apart]: attention's output
	// A row per token, or with experts per token and expert:
	delta   []float32 // [rows, Hidden padded]: what a block adds to x
	gateUp  []float32 // [rows, gateUp.stride()]
	act     []float32 // [rows, Intermediate apart]
	logits  []float32 // [sampled rows, Vocab padded]
	blocks  []queryBlock
	rows    []int      // sampled rows
	allow   [][]uint32 // what each may draw
	routing routing
	drawers []drawer
}

// token is one new token of the step.
type token struct {
	id, slot, position int32
}

// forward computes a step up to the logits to draw from, and finish draws, late
// rows from what late allows. Order is that of package batch: slots, pages,
// rows, then drawing.
func (e *engine) forward(s *batch.Step) {
	e.assign(s)
	if len(s.Rows) == 0 {
		return
	}
	e.spread(s)
	w := &e.work
	for i := range e.weights.layers {
		l := &e.weights.layers[i]
		e.normalize(w.normed, w.x, l.attnNorm)
		e.linear(w.qkv, w.normed, apart(e.config.Hidden), len(w.tokens), l.qkv, addBias(w.qkv, l.qkv.stride(), l.qkvBias))
		e.attend(i, l)
		e.linear(w.delta, w.mixed, apart(l.o.in), len(w.tokens), l.o, e.addResidual(l.o))
		e.normalize(w.normed, w.x, l.mlpNorm)
		if l.experts != nil {
			e.mixture(l)
			continue
		}
		e.linear(w.gateUp, w.normed, apart(e.config.Hidden), len(w.tokens), l.gateUp, e.activate(l.gateUp))
		e.linear(w.delta, w.act, apart(l.down.in), len(w.tokens), l.down, e.addResidual(l.down))
	}
	e.head(s)
}

func (e *engine) finish(s *batch.Step, late [][]uint32, r *batch.Result) {
	if len(s.Rows) == 0 {
		return
	}
	e.draw(s, late, r)
	e.score(s, r)
}

// assign hands slots over and enters pages.
func (e *engine) assign(s *batch.Step) {
	for i := range s.Slots {
		in := &s.Slots[i]
		sl := &e.slots[in.Slot]
		*sl = slot{sampling: in.Sampling, last: batch.NoToken}
		// The request's memory is not the device's once the step is over.
		sl.sampling.Bias = slices.Clone(in.Sampling.Bias)
		sl.sampling.Suppress = slices.Clone(in.Sampling.Suppress)
		if in.Sampling.Penalized() {
			sl.seen = map[int32]int32{}
			for _, t := range in.Prompt {
				sl.seen[t] = 0
			}
			for _, t := range in.Output {
				sl.seen[t]++
			}
		}
	}
	for _, p := range s.Pages {
		e.table[int(p.Slot)*e.perSlot+int(p.Index)] = p.Page
	}
}

// spread lays the rows out token by token and looks their embeddings up.
func (e *engine) spread(s *batch.Step) {
	c, w := e.config, &e.work
	w.tokens, w.blocks, w.rows = w.tokens[:0], w.blocks[:0], w.rows[:0]
	// As many queries as share keys well without outgrowing the caches: 32 and
	// 64 were no faster.
	most := max(1, 16/(c.Heads/c.KVHeads))
	for i := range s.Rows {
		r := &s.Rows[i]
		first := len(w.tokens)
		if r.Tokens == nil { // a slot that could draw nothing goes on with any token
			w.tokens = append(w.tokens, token{max(e.slots[r.Slot].last, 0), r.Slot, r.Start})
		}
		for j, id := range r.Tokens {
			w.tokens = append(w.tokens, token{id, r.Slot, r.Start + int32(j)})
		}
		for j := first; j < len(w.tokens); j += most {
			w.blocks = append(w.blocks, queryBlock{j, min(most, len(w.tokens)-j)})
		}
		if r.Sample {
			w.rows = append(w.rows, i)
		}
	}
	// Later blocks of a row look at more keys: the longest first.
	slices.SortStableFunc(w.blocks, func(a, b queryBlock) int {
		return int(w.tokens[b.first].position) - int(w.tokens[a.first].position)
	})
	n := len(w.tokens)
	e.grow(n)
	e.each(n, 4, func(i int) {
		e.weights.embed.row(w.x[i*c.Hidden:][:c.Hidden], int(w.tokens[i].id))
		// Angles are rounded to float32 as in training.
		cos, sin := w.angles[i*c.HeadDim:], w.angles[i*c.HeadDim+c.HeadDim/2:]
		for j, f := range e.invFreq {
			s, c := math.Sincos(float64(float32(w.tokens[i].position) * f))
			cos[j], sin[j] = float32(c), float32(s)
		}
	})
}

// grow makes the workspace hold n tokens.
func (e *engine) grow(n int) {
	c, w, l := e.config, &e.work, &e.weights.layers[0]
	grow(&w.angles, n*c.HeadDim)
	grow(&w.x, n*c.Hidden)
	grow(&w.normed, n*apart(c.Hidden))
	grow(&w.qkv, n*l.qkv.stride())
	grow(&w.mixed, n*apart(c.Heads*c.HeadDim))
	rows, mlp := n, &l.mlp
	if l.experts != nil {
		rows, mlp = n*c.MoE.PerToken, &l.experts[0]
		w.routing.grow(n, l, c.MoE)
	}
	grow(&w.delta, rows*mlp.down.stride())
	grow(&w.gateUp, rows*mlp.gateUp.stride())
	grow(&w.act, rows*apart(mlp.down.in))
}

// each runs f for every i below n, grain of them a task.
func (e *engine) each(n, grain int, f func(i int)) {
	e.pool.run((n+grain-1)/grain, func(_, task int) {
		for i := task * grain; i < min((task+1)*grain, n); i++ {
			f(i)
		}
	})
}

// normalize is RMSNorm of every token: y = x / √(mean(x²) + ε) · w.
func (e *engine) normalize(y, x, w []float32) {
	h := len(w)
	e.each(len(e.work.tokens), 4, func(i int) { e.rmsNorm(y[i*apart(h):][:h], x[i*h:][:h], w) })
}

func (e *engine) rmsNorm(y, x, w []float32) {
	n := len(w)
	mean := e.kernels.sumSquares(&x[0], n) / float32(n)
	scale := float32(1 / math.Sqrt(float64(mean+e.config.NormEps)))
	e.kernels.mulScale(&y[0], &x[0], &w[0], scale, n)
}

// head computes the logits of the rows that draw a token: nobody looks at
// the others'.
func (e *engine) head(s *batch.Step) {
	w, h := &e.work, e.config.Hidden
	if len(w.rows) == 0 {
		return
	}
	grow(&w.logits, len(w.rows)*e.weights.head.stride())
	next, last := 0, -1
	for i := range s.Rows {
		last += s.Rows[i].Len()
		if s.Rows[i].Sample {
			e.rmsNorm(w.normed[next*apart(h):][:h], w.x[last*h:][:h], e.weights.norm)
			next++
		}
	}
	e.linear(w.logits, w.normed, apart(h), len(w.rows), e.weights.head, nil)
}

// grow makes a buffer hold n values; what they are is of no interest.
func grow[T any](b *[]T, n int) {
	if cap(*b) < n {
		*b = make([]T, n+n/4)
	}
	*b = (*b)[:n]
}

// dimensions of the projections of one token, in elements.
func keysAt(c *model.Config) int   { return c.Heads * c.HeadDim }
func valuesAt(c *model.Config) int { return (c.Heads + c.KVHeads) * c.HeadDim }

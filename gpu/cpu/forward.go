package cpu

import (
	"math"
	"slices"

	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/program"
)

// workspace is what a step works with beside the plan's values. It grows to the
// largest step seen.
type workspace struct {
	tokens  []token
	angles  [][]float32 // for each of the program's rotations [tokens, Dims]: cosines, then sines
	blocks  []queryBlock
	rows    []drawing // of the step, those that are sampled
	looked  []int32   // tokens whose logits are looked at
	routing routing
	drawers []drawer
	// Activations as the parts of a matrix take them: as whole numbers, or in bfloat16.
	operands []operand
	numbers  [][]byte
	rounded  [][]float32
	spans    []span
}

// drawing is a row that is sampled.
type drawing struct {
	row    int      // of the step
	looked int      // the first of its workspace.looked, of which it has one for each draw
	at     int      // the first of its places in Result.Tokens
	allow  []uint32 // what its first draw is restricted to
}

// token is one new token of the step.
type token struct {
	id, slot, position int32
}

// forward computes a step up to the logits to draw from, and finish draws, late
// rows from what late allows. Order is that of package batch: slots, pages,
// states, rows, states again, then drawing.
func (e *engine) forward(s *batch.Step) {
	e.assign(s)
	if len(s.Rows) == 0 {
		return
	}
	e.spread(s)
	e.begin(s)
	for _, f := range e.plan.body {
		f()
	}
	e.save(s)
	if len(e.work.looked) > 0 {
		e.head()
	}
}

// head makes logits of the tokens that are looked at.
func (e *engine) head() {
	e.grow(program.Sampled)
	for _, f := range e.plan.head {
		f()
	}
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

// spread lays the rows out token by token.
func (e *engine) spread(s *batch.Step) {
	w := &e.work
	w.tokens, w.blocks, w.rows, w.looked = w.tokens[:0], w.blocks[:0], w.rows[:0], w.looked[:0]
	// As many queries as share keys well without outgrowing the caches: 32 and
	// 64 were no faster.
	most := max(1, 16/e.plan.group)
	places := 0
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
			w.rows = append(w.rows, drawing{row: i, looked: len(w.looked), at: places, allow: r.Allow})
			for j := len(w.tokens) - r.Draws(); j < len(w.tokens); j++ {
				w.looked = append(w.looked, int32(j))
			}
		}
		places += r.Draws()
	}
	// Later blocks of a row look at more keys: the longest first.
	slices.SortStableFunc(w.blocks, func(a, b queryBlock) int {
		return int(w.tokens[b.first].position) - int(w.tokens[a.first].position)
	})
	e.grow(program.Tokens, program.Entries)
	e.turns()
}

// turns works out by which angles the step's positions turn heads.
func (e *engine) turns() {
	w := &e.work
	for i, r := range e.program.Rotary {
		angles, half, freqs := &w.angles[i], r.Dims/2, r.Frequencies(e.info.MaxSeqLen)
		grow(angles, len(w.tokens)*r.Dims)
		e.each(len(w.tokens), 16, func(t int) {
			cos, sin := (*angles)[t*r.Dims:][:half], (*angles)[t*r.Dims+half:][:half]
			// Angles are rounded to float32 as in training.
			position := float32(w.tokens[t].position)
			for j, f := range freqs {
				s, c := math.Sincos(float64(position * float32(f)))
				cos[j], sin[j] = float32(c*r.Scale), float32(s*r.Scale)
			}
		})
	}
}

// embed looks the tokens up.
func (e *engine) embed(o *program.Embed) func() {
	table, x := e.weights.matrix(o.Table), e.plan.view(o.Out)
	return func() {
		e.each(len(e.work.tokens), 4, func(i int) {
			row, id := x.row(i), int(e.work.tokens[i].id)-o.First
			if id < 0 || id >= o.Table.Out() { // another rank's
				clear(row)
				return
			}
			table.row(row, id)
			if o.Scale != 1 {
				for j := range row {
					row[j] *= o.Scale
				}
			}
		})
	}
}

// each runs f for every i below n, grain of them a task.
func (e *engine) each(n, grain int, f func(i int)) {
	e.pool.run((n+grain-1)/grain, func(_, task int) {
		for i := task * grain; i < min((task+1)*grain, n); i++ {
			f(i)
		}
	})
}

func (e *engine) norm(o *program.Norm) func() {
	in, out, n := e.plan.view(o.In), e.plan.view(o.Out), e.normOf(o)
	return func() {
		e.each(e.count(in.rows, in.perToken), 4, func(i int) { n.rows(e.kernels, out.row(i), in.row(i)) })
	}
}

// norm is RMSNorm of groups of a row: y = x / √(mean(x²) + ε) · w.
type norm struct {
	w     []float32 // of a group, or of the row
	group int
	eps   float32
}

func (e *engine) normOf(o *program.Norm) *norm {
	return &norm{e.weights.vectors[o.Weight], o.Group, o.Eps}
}

// rows normalises a row.
func (n *norm) rows(k *kernels, y, x []float32) {
	for at := 0; at < len(x); at += n.group {
		w := n.w
		if len(w) > n.group {
			w = w[at:][:n.group]
		}
		rmsNorm(k, y[at:][:n.group], x[at:][:n.group], w, n.eps)
	}
}

func rmsNorm(k *kernels, y, x, w []float32, eps float32) {
	n := len(w)
	mean := k.sumSquares(&x[0], n) / float32(n)
	k.mulScale(&y[0], &x[0], &w[0], float32(1/math.Sqrt(float64(mean+eps))), n)
}

// gather takes the tokens that are looked at.
func (e *engine) gather(o *program.Gather) func() {
	in, out := e.plan.view(o.In), e.plan.view(o.Out)
	return func() {
		for i, t := range e.work.looked {
			copy(out.row(i), in.row(int(t)))
		}
	}
}

// grow makes a buffer hold n values; what they are is of no interest.
func grow[T any](b *[]T, n int) {
	if cap(*b) < n {
		*b = make([]T, n+n/4)
	}
	*b = (*b)[:n]
}

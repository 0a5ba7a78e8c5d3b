package cpu

import (
	"cmp"
	"math"

	"github.com/troupe-llm/troupe/gpu/program"
)

// routing says which experts compute which tokens of a layer. An entry is one
// token at one of its experts; k of them are a token's. Entries lie expert by
// expert, those of an expert in the order of tokens, so that an expert's rows
// are one product. Where experts are spread over ranks, entries are of those that
// are here.
type routing struct {
	k      int
	choice []int32   // [tokens, k]: the token's experts, ascending
	share  []float32 // [tokens, k]: what the expert's output counts
	entry  []int32   // [tokens, k]: which entry it is; −1: another rank's
	token  []int32   // [entries]
	rows   []float32 // [entries, width apart]: the tokens, copied
	ends   []int32   // [experts]: where the expert's entries end
	blocks []expertBlock
}

// expertBlock is some entries of an expert.
type expertBlock struct{ expert, row, end int }

// route chooses experts and groups entries by them.
func (e *engine) route(o *program.Route) func() {
	logits, r, k := e.plan.view(o.Logits), &e.work.routing, o.Routes.Width
	here := cmp.Or(o.Here, logits.width)
	c := chooser{Route: o, kernels: e.kernels}
	if o.Correction != nil {
		c.correction = e.weights.vectors[o.Correction]
	}
	return func() {
		n := len(e.work.tokens)
		r.k = k
		grow(&r.share, n*k)
		for _, b := range []*[]int32{&r.choice, &r.entry, &r.token} {
			grow(b, n*k)
		}
		grow(&r.ends, here)
		e.each(n, 16, func(i int) { c.choose(r.choice[i*k:][:k], r.share[i*k:][:k], logits.row(i)) })
		r.group(int32(o.First))
	}
}

// chooser chooses experts as a Route says.
type chooser struct {
	*program.Route
	kernels    *kernels
	correction []float32 // nil: none
}

// choose picks a token's experts, among equals the first, and their shares,
// given the router's logits, which it overwrites.
func (c *chooser) choose(choice []int32, share, logits []float32) {
	total := c.score(logits)
	if c.Normalize {
		total = 0
	}
	rank := logits
	if c.correction != nil {
		rank = make([]float32, len(logits))
		for i, s := range logits {
			rank[i] = s + c.correction[i]
		}
	}
	if c.Groups > 1 {
		rank = c.bestGroups(rank)
	}
	for i := range choice {
		best := 0
		for j, v := range rank {
			if v > rank[best] {
				best = j
			}
		}
		p := logits[best]
		rank[best] = taken
		if c.Normalize {
			total += p
		}
		at := i // experts are kept in the order of their ids
		for ; at > 0 && choice[at-1] > int32(best); at-- {
			choice[at], share[at] = choice[at-1], share[at-1]
		}
		choice[at], share[at] = int32(best), p
	}
	for i := range share {
		share[i] /= total
		if c.Scale != 1 {
			share[i] *= c.Scale
		}
	}
}

// taken is below what any expert may rank.
const taken = -math.MaxFloat32

// score turns logits into scores, and returns what a share of one counts.
func (c *chooser) score(logits []float32) float32 {
	if !c.Sigmoid {
		k, n := c.kernels, len(logits)
		return k.expSum(&logits[0], n, k.maxOf(&logits[0], n), 1)
	}
	for i, z := range logits {
		logits[i] = float32(sigmoid(float64(z)))
	}
	return 1
}

// bestGroups takes experts out of the running whose group's two best do not add up
// to enough.
func (c *chooser) bestGroups(rank []float32) []float32 {
	size := len(rank) / c.Groups
	sums, left := make([]float32, c.Groups), make([]float32, len(rank))
	for g := range sums {
		first, second := float32(taken), float32(taken)
		for _, v := range rank[g*size:][:size] {
			if v > first {
				first, second = v, first
			} else {
				second = max(second, v)
			}
		}
		sums[g] = first + second
	}
	for i := range left {
		left[i] = taken
	}
	for range c.GroupsTaken {
		best := 0
		for g, v := range sums {
			if v > sums[best] {
				best = g
			}
		}
		sums[best] = taken
		copy(left[best*size:][:size], rank[best*size:])
	}
	return left
}

// group gives every token's experts their entries, and cuts the entries into
// blocks. Those from first on are here.
func (r *routing) group(first int32) {
	clear(r.ends)
	for _, x := range r.choice {
		if x -= first; x >= 0 && int(x) < len(r.ends) {
			r.ends[x]++
		}
	}
	r.blocks = r.blocks[:0]
	next := 0
	for x, n := range r.ends {
		r.ends[x] = int32(next) // so far: where they begin
		for end := next + int(n); next < end; {
			b := expertBlock{x, next, min(next+rowBlock, end)}
			r.blocks = append(r.blocks, b)
			next = b.end
		}
	}
	r.token = r.token[:next]
	for i, x := range r.choice {
		if x -= first; x < 0 || int(x) >= len(r.ends) {
			r.entry[i] = -1
			continue
		}
		at := r.ends[x]
		r.ends[x]++
		r.entry[i], r.token[at] = at, int32(i/r.k)
	}
}

// multiplyExperts is a product of entries, and what finishes it.
func (e *engine) multiplyExperts(o *program.ExpertProduct, finish epilogue) func() {
	in, out, experts, r := e.plan.view(o.In), e.plan.view(o.Out), e.weights.matrices[o.Weight], &e.work.routing
	return func() {
		as, n := operand{x: in.all(), ldx: in.stride}, len(r.token)
		row := in.row
		if in.rows == program.Tokens {
			row = func(i int) []float32 { return in.row(int(r.token[i])) }
		}
		if in.rows == program.Tokens && experts[0].takesRows() {
			grow(&r.rows, n*as.ldx)
			e.each(n, 16, func(i int) { copy(r.rows[i*as.ldx:][:in.width], row(i)) })
			as.x = r.rows
		}
		e.grouped(out.all(), out.stride, e.operands(n, row, as, experts[0]), experts, finish)
	}
}

// grouped is linear with a matrix for each block of entries, all of a size.
func (e *engine) grouped(y []float32, ldy int, a []operand, experts []*matrix, finish epilogue) {
	blocks, panels := e.work.routing.blocks, experts[0].panels()
	group := 4
	if panels*len(blocks) < 8*e.pool.size {
		group = 2
	}
	groups := (panels + group - 1) / group
	e.pool.run(groups*len(blocks), func(worker, task int) {
		first := task % groups * group
		b := blocks[task/groups]
		e.product(worker, y, ldy, a, b.row, b.end, experts[b.expert], first, min(first+group, panels), finish)
	})
}

// biasExperts adds to each entry its expert's bias.
func (e *engine) biasExperts(o *program.ExpertBias) func() {
	x, bias, r := e.plan.view(o.X), e.weights.vectors[o.Bias], &e.work.routing
	return func() {
		e.pool.run(len(r.blocks), func(_, task int) {
			b := r.blocks[task]
			add := bias[b.expert*x.width:][:x.width]
			for i := b.row; i < b.end; i++ {
				to := x.row(i)
				for j, v := range add {
					to[j] += v
				}
			}
		})
	}
}

// combine adds up what a token's experts made of it, and adds that to the
// residual stream when it is told to.
func (e *engine) combine(o *program.Combine, then *program.Add) func() {
	in, out, r := e.plan.view(o.In), e.plan.view(o.Out), &e.work.routing
	var finish epilogue
	if then != nil {
		finish = addTo(e.kernels, e.plan.view(then.X), out, then.Scale)
	}
	return func() {
		e.each(len(e.work.tokens), 4, func(i int) {
			sum := out.row(i)
			clear(sum)
			for j := i * r.k; j < (i+1)*r.k; j++ {
				if r.entry[j] < 0 {
					continue
				}
				e.kernels.values(&sum[0], &r.share[j], 1, 1, &in.row(int(r.entry[j]))[0], 1, out.width)
			}
			if finish != nil {
				finish(i, i+1, 0, out.width)
			}
		})
	}
}

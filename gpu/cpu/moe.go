package cpu

import "github.com/troupe-llm/troupe/gpu/model"

// routing says which experts compute which tokens of a layer. An entry is one
// token at one of its experts; k is model.MoE.PerToken. Entries lie expert by
// expert, those of an expert in the order of tokens, so that an expert's rows
// are one product.
type routing struct {
	scores []float32 // [tokens, router.stride()]
	choice []int32   // [tokens, k]: the token's experts, ascending
	share  []float32 // [tokens, k]: what the expert's output counts
	entry  []int32   // [tokens, k]: which entry it is
	token  []int32   // [entries]
	rows   []float32 // [entries, Hidden apart]: the tokens, copied
	ends   []int32   // [experts]: where the expert's entries end
	blocks []expertBlock
}

// expertBlock is some entries of an expert.
type expertBlock struct{ expert, row, end int }

// grow makes room for n tokens.
func (r *routing) grow(n int, l *layer, m *model.MoE) {
	grow(&r.scores, n*l.router.stride())
	grow(&r.share, n*m.PerToken)
	grow(&r.rows, n*m.PerToken*apart(l.router.in))
	for _, b := range []*[]int32{&r.choice, &r.entry, &r.token} {
		grow(b, n*m.PerToken)
	}
	grow(&r.ends, m.Experts)
}

// mixture adds to the residual stream what the layer's experts make of the
// normed tokens; see model.MoE.
func (e *engine) mixture(l *layer) {
	w, r := &e.work, &e.work.routing
	n, h, k := len(w.tokens), e.config.Hidden, e.config.MoE.PerToken
	ld := apart(h)
	e.linear(r.scores, w.normed, ld, n, l.router, nil)
	e.each(n, 16, func(i int) {
		e.choose(r.choice[i*k:][:k], r.share[i*k:][:k], r.scores[i*l.router.stride():][:e.config.MoE.Experts])
	})
	r.group(k)
	e.each(n*k, 16, func(i int) { copy(r.rows[i*ld:][:h], w.normed[int(r.token[i])*ld:]) })
	gateUp, down := l.experts[0].gateUp, l.experts[0].down // all are of a size
	e.grouped(w.gateUp, r.rows, ld, gateUp.panels(), func(x int) *matrix { return l.experts[x].gateUp }, e.activate(gateUp))
	e.grouped(w.delta, w.act, apart(down.in), down.panels(), func(x int) *matrix { return l.experts[x].down }, nil)
	e.each(n, 4, func(i int) {
		sum, delta := w.normed[i*ld:][:h], down.stride() // the normed token has been used
		clear(sum)
		for j := i * k; j < (i+1)*k; j++ {
			e.kernels.values(&sum[0], &r.share[j], 1, 1, &w.delta[int(r.entry[j])*delta], 1, h)
		}
		x := w.x[i*h:][:h]
		for j, v := range sum {
			x[j] += v
		}
	})
}

// choose picks a token's experts, among equals the first, and their shares,
// given the router's logits, which it overwrites.
func (e *engine) choose(choice []int32, share, logits []float32) {
	k, n := e.kernels, len(logits)
	total := k.expSum(&logits[0], n, k.maxOf(&logits[0], n), 1)
	if e.config.MoE.Normalize {
		total = 0
	}
	for i := range choice {
		best := 0
		for j, v := range logits {
			if v > logits[best] {
				best = j
			}
		}
		p := logits[best]
		logits[best] = -1 // below any other: taken
		if e.config.MoE.Normalize {
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
	}
}

// group gives every token's experts their entries, and cuts the entries into
// blocks.
func (r *routing) group(k int) {
	clear(r.ends)
	for _, x := range r.choice {
		r.ends[x]++
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
	for i, x := range r.choice {
		at := r.ends[x]
		r.ends[x]++
		r.entry[i], r.token[at] = at, int32(i/k)
	}
}

// grouped is linear with a matrix for each block of entries, all matrices of
// that many panels.
func (e *engine) grouped(y, x []float32, ldx, panels int, of func(expert int) *matrix, finish epilogue) {
	blocks := e.work.routing.blocks
	group := 4
	if panels*len(blocks) < 8*e.pool.size {
		group = 2
	}
	groups := (panels + group - 1) / group
	e.pool.run(groups*len(blocks), func(worker, task int) {
		first := task % groups * group
		b := blocks[task/groups]
		e.product(worker, y, x, ldx, b.row, b.end, of(b.expert), first, min(first+group, panels), finish)
	})
}

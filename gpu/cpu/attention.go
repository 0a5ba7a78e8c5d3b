package cpu

import (
	"math"

	"github.com/troupe-llm/troupe/gpu/program"
)

// place is where a token's keys and values go.
func (e *engine) place(t token) (page int32, offset int) {
	size := e.info.PageSize
	return e.table[int(t.slot)*e.perSlot+int(t.position)/size], int(t.position) % size
}

// queryBlock is some consecutive tokens of a row, which look at about the same
// keys: indices into workspace.tokens.
type queryBlock struct{ first, n int }

// attention is one layer's: of queries that are ready, or with all that comes
// before it.
type attention struct {
	*program.Attend
	query, out view
	cache      *layerCache
	sinks      []float32 // of each head; nil: none
	// before is set when queries, keys and values are prepared, too.
	before *preparation
}

// preparation is what heads go through before attention.
type preparation struct {
	key, value   view
	qNorm, kNorm *norm // nil: none
	rotary       int
}

func (e *engine) attentionOf(a *program.Attend) *attention {
	x := &attention{Attend: a, query: e.plan.view(a.Query), out: e.plan.view(a.Out), cache: e.cache.of(a.Cache)}
	if a.Sinks != nil {
		x.sinks = e.weights.vectors[a.Sinks]
	}
	return x
}

// whole is attention with all that a fused op has before it.
func (e *engine) whole(f *program.Fused, a *program.Attend) *attention {
	p := e.plan
	rope, _ := program.One[*program.Rope](f)
	store, _ := program.One[*program.Store](f)
	before := &preparation{key: p.view(store.Key), value: p.view(store.Value), rotary: e.rotary(rope.Rotary)}
	for _, op := range f.Ops {
		if n, is := op.(*program.Norm); is && n.In == a.Query {
			before.qNorm = e.normOf(n)
		} else if is {
			before.kNorm = e.normOf(n)
		}
	}
	x := e.attentionOf(a)
	x.before = before
	return x
}

// attend enters keys and values into their pages, where it is told to, and
// computes attention.
func (e *engine) attend(a *attention) func() {
	w, heads := &e.work, a.Cache.Heads
	return func() {
		if len(w.blocks) == len(w.tokens) {
			// One token a row: it alone needs the keys it brings.
			e.pool.run(len(w.blocks)*heads, func(worker, task int) {
				b, head := w.blocks[task/heads], task%heads
				for i := range b.n {
					e.prepare(a, b.first+i, head)
				}
				e.attendBlock(worker, a, b, head)
			})
			return
		}
		if a.before != nil {
			e.each(len(w.tokens)*heads, 4, func(i int) { e.prepare(a, i/heads, i%heads) })
		}
		// Head by head, so that its keys and values stay in the cache for all
		// blocks: block by block, prefill at 2000 positions took a Zen 4 core from
		// 87 down to 65 GFLOP/s.
		e.pool.run(len(w.blocks)*heads, func(worker, task int) {
			e.attendBlock(worker, a, w.blocks[task%len(w.blocks)], task/len(w.blocks))
		})
	}
}

// prepare makes one token's queries of one group and its key and value ready.
func (e *engine) prepare(a *attention, i, head int) {
	p := a.before
	if p == nil {
		return
	}
	d, group := a.Cache.KeyDim, a.Heads/a.Cache.Heads
	turn := e.turn(p.rotary, i)
	queries := a.query.row(i)[head*group*d:][:group*d]
	k, v := p.key.row(i)[head*d:][:d], p.value.row(i)[head*a.Cache.ValueDim:][:a.Cache.ValueDim]
	if p.qNorm != nil {
		p.qNorm.rows(e.kernels, queries, queries)
	}
	if p.kNorm != nil {
		p.kNorm.rows(e.kernels, k, k)
	}
	for at := 0; at < len(queries); at += d {
		turn.head(e.kernels, queries[at:][:d])
	}
	turn.head(e.kernels, k)
	page, offset := e.place(e.work.tokens[i])
	a.cache.enter(e.kernels, page, offset, head, k, v)
}

// turn is the rotation of one position: pair (i, i+Dims/2) by its angle.
type turn struct{ cos, sin []float32 }

func (e *engine) turn(rotary, i int) turn {
	dims := e.program.Rotary[rotary].Dims
	angles := e.work.angles[rotary][i*dims:][:dims]
	return turn{angles[:dims/2], angles[dims/2:]}
}

func (t turn) head(k *kernels, x []float32) {
	half := len(t.cos)
	k.turn(&x[0], &x[half], &t.cos[0], &t.sin[0], half)
}

// rotary is the number of one of the program's rotations.
func (e *engine) rotary(r *program.Rotary) int {
	for i, have := range e.program.Rotary {
		if have == r {
			return i
		}
	}
	return -1
}

// rope turns heads by itself.
func (e *engine) rope(o *program.Rope) func() {
	r := e.rotary(o.Rotary)
	var views []view
	for _, x := range o.X {
		views = append(views, e.plan.view(x))
	}
	return func() {
		e.each(len(e.work.tokens), 4, func(i int) {
			turn := e.turn(r, i)
			for _, v := range views {
				for row := v.row(i); len(row) > 0; row = row[o.HeadDim:] {
					turn.head(e.kernels, row[:o.HeadDim])
				}
			}
		})
	}
}

// store enters keys and values by itself.
func (e *engine) store(o *program.Store) func() {
	key, value, c := e.plan.view(o.Key), e.plan.view(o.Value), e.cache.of(o.Cache)
	return func() {
		e.each(len(e.work.tokens), 4, func(i int) {
			page, offset := e.place(e.work.tokens[i])
			for h := range c.Heads {
				v := value.row(i)[h*c.ValueDim:][:c.ValueDim] // shared ones are not looked at
				c.enter(e.kernels, page, offset, h, key.row(i)[h*c.KeyDim:][:c.KeyDim], v)
			}
		})
	}
}

// attendBlock computes, for the queries q of a block in the group of a head,
//
//	out = Σ_t softmax_t(Scale · q·K_t) V_t    t ≤ the query's position, and in its window
//
// page by page for all queries, so that a page is fetched once. Scores of the
// whole context are kept: online softmax would need no memory, but its bits
// would depend on where pages begin.
func (e *engine) attendBlock(worker int, a *attention, b queryBlock, head int) {
	k, c := e.kernels, a.cache
	group := a.Heads / c.Heads
	first := e.work.tokens[b.first]
	s := seen{before: int(first.position), n: b.n, window: c.Window, size: c.pageSize}
	m, from := b.n*group, s.low(0)
	context := s.before + b.n - from

	// Contiguous, query by query of token by token: queries, outputs, scores.
	// Behind them a page, as float32.
	grow(&e.pool.scratch[worker], m*(c.KeyDim+c.ValueDim+context)+c.pageSize*max(c.KeyDim, c.ValueDim))
	scratch := e.pool.scratch[worker]
	queries, out, scores := scratch[:m*c.KeyDim], scratch[m*c.KeyDim:][:m*c.ValueDim], scratch[m*(c.KeyDim+c.ValueDim):]
	wide := widener{c, k, scores[m*context:], -1}
	for i := range b.n {
		copy(queries[i*group*c.KeyDim:][:group*c.KeyDim], a.query.row(b.first + i)[head*group*c.KeyDim:])
	}
	clear(out)

	pages := e.table[int(first.slot)*e.perSlot:]
	// Pages lie apart, where no processor foresees them: a step at 256 positions of 28
	// layers spent 1.2 ms here for 2.2 when they were asked for in time.
	last := (context + from - 1) / s.size
	soon := func(page int, of func(page int32, head int) []byte, each int) {
		if page <= last {
			k.prefetch(&of(pages[page], head)[0], s.seenOf(page)*each)
		}
	}
	soon(from/s.size+1, c.keys, c.key)
	s.visit(func(page, i, n, t, end int) {
		soon(page+2, c.keys, c.key)
		keys := at(wide.keys(pages[page], head, s.seenOf(page)), (t-page*s.size)*c.KeyDim)
		k.scores(&scores[i*group*context+t-from], context, &queries[i*group*c.KeyDim], n*group, keys, end-t, c.KeyDim)
	})
	soon(from/s.size, c.values, c.valueBytes())
	soon(from/s.size+1, c.values, c.valueBytes())
	for i := range m {
		low, high := s.low(i/group), s.before+i/group+1
		z := &scores[i*context+low-from]
		top := k.maxOf(z, high-low)
		if a.sinks == nil {
			queries[i] = k.expSum(z, high-low, top, a.Scale) // queries have been used
			continue
		}
		sink := a.sinks[head*group+i%group]
		top = max(top, sink/a.Scale)
		queries[i] = k.expSum(z, high-low, top, a.Scale) + float32(math.Exp(float64(sink-top*a.Scale)))
	}
	wide.page = -1
	s.visit(func(page, i, n, t, end int) {
		soon(page+2, c.values, c.valueBytes())
		values := at(wide.values(pages[page], head, s.seenOf(page)), (t-page*s.size)*c.valueStride())
		c.add(k, &out[i*group*c.ValueDim], &scores[i*group*context+t-from], context, n*group, values, end-t)
	})
	for i := range m {
		to := a.out.row(b.first + i/group)[(head*group+i%group)*c.ValueDim:][:c.ValueDim]
		share := 1 / queries[i]
		for j, v := range out[i*c.ValueDim:][:c.ValueDim] {
			to[j] = v * share
		}
	}
}

// seen is which positions n consecutive tokens look at: token i, at position
// before+i, at those from low(i) up to itself.
type seen struct{ before, n, window, size int }

func (s *seen) low(i int) int {
	if s.window == 0 {
		return 0
	}
	return max(0, s.before+i+1-s.window)
}

// seenOf is how many leading positions of a page any of the tokens sees, or more.
func (s *seen) seenOf(page int) int { return min(s.size, s.before+s.n-page*s.size) }

// visit calls f for pages in order: for positions [t, end) of a page and the
// tokens [i, i+n) that see them; at once where all tokens see the same of it.
func (s *seen) visit(f func(page, i, n, t, end int)) {
	last := s.before + s.n - 1
	for page := s.low(0) / s.size; page <= last/s.size; page++ {
		t, end := page*s.size, (page+1)*s.size
		if end <= s.before+1 && s.low(s.n-1) <= t {
			f(page, 0, s.n, t, end)
			continue
		}
		for i := range s.n {
			if t, end := max(t, s.low(i)), min(end, s.before+i+1); t < end {
				f(page, i, 1, t, end)
			}
		}
	}
}

// multiplyHeads multiplies each head by its matrix.
func (e *engine) multiplyHeads(o *program.HeadProduct) func() {
	in, out, heads := e.plan.view(o.In.Value), e.plan.view(o.Out.Value), e.weights.matrices[o.Weight]
	return func() {
		n := len(e.work.tokens)
		e.pool.run(len(heads), func(worker, h int) {
			// Outputs come in whole panels, which would run over the next head's.
			m := heads[h]
			by := e.kernels.of(m.dtype)
			width, ldx := m.stride(), apart(by.words(m.in))
			grow(&e.pool.scratch[worker], n*(width+ldx))
			scratch := e.pool.scratch[worker]
			x, y := scratch[:n*ldx], scratch[n*ldx:][:n*width]
			for i := range n {
				to, from := x[i*ldx:][:by.words(m.in)], in.row(i)[h*o.In.Stride+o.In.At:][:m.in]
				if by.round != nil {
					by.round(to, from)
				} else {
					copy(to, from)
				}
			}
			for p := range m.panels() {
				tiles(by.gemm, y[p*panelWidth:], width, x, ldx, 0, n, m.panel(p), m.steps(m.in))
			}
			for i := range n {
				copy(out.row(i)[h*o.Out.Stride+o.Out.At:][:o.Out.Width], y[i*width:])
			}
		})
	}
}

// copyHeads copies columns of each head.
func (e *engine) copyHeads(o *program.CopyHeads) func() {
	in, out := e.plan.view(o.In.Value), e.plan.view(o.Out.Value)
	return func() {
		e.each(len(e.work.tokens), 4, func(i int) {
			from, to := in.row(i), out.row(i)
			for h := range len(from) / o.In.Stride {
				copy(to[h*o.Out.Stride+o.Out.At:][:o.Out.Width], from[h*o.In.Stride+o.In.At:])
			}
		})
	}
}

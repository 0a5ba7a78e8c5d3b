package cpu

import (
	"fmt"
	"math"
	"unsafe"

	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/model"
)

// cache is the keys and values of all pages:
//
//	float32 [Layers, NumPages, 2, KVHeads, PageSize, HeadDim]
//
// so that what one head reads of a page is contiguous. Not bfloat16, which
// would halve what attention reads: rounding keys and values to it moves the
// test checkpoints' logits by 0.015 to 0.1, where 0.002 is allowed.
type cache struct {
	memory   []byte
	pages    int
	pageSize int
	page     int // elements of one layer's page, keys and values
	head     int // elements of one head's keys in a page
	kvHeads  int
	dim      int
}

func newCache(c *model.Config, info *device.Info) (cache, error) {
	b, err := allocate(int(info.KVBytes))
	if err != nil {
		return cache{}, fmt.Errorf("cpu: memory for %d pages of keys and values (%d MiB): %w", info.NumPages, info.KVBytes>>20, err)
	}
	head := info.PageSize * c.HeadDim
	return cache{memory: b, pages: info.NumPages, pageSize: info.PageSize, page: 2 * c.KVHeads * head, head: head, kvHeads: c.KVHeads, dim: c.HeadDim}, nil
}

// keys and values return what a head has in a page: [PageSize, HeadDim].
func (c *cache) keys(layer int, page int32, head int) *float32 {
	i := (layer*c.pages+int(page))*c.page + head*c.head
	return (*float32)(unsafe.Pointer(&c.memory[4*i]))
}

func (c *cache) values(layer int, page int32, head int) *float32 {
	return at(c.keys(layer, page, head), c.kvHeads*c.head)
}

// queryBlock is some consecutive tokens of a row, which look at about the same
// keys: indices into workspace.tokens.
type queryBlock struct{ first, n int }

// attend turns queries and keys, enters keys and values into their pages and
// computes attention into mixed.
func (e *engine) attend(layer int, l *layer) {
	w, heads := &e.work, e.config.KVHeads
	if len(w.blocks) == len(w.tokens) {
		// One token a row: it alone needs the keys it brings.
		e.pool.run(len(w.blocks)*heads, func(worker, task int) {
			b, head := w.blocks[task/heads], task%heads
			for i := range b.n {
				e.enter(layer, l, b.first+i, head)
			}
			e.attendBlock(worker, layer, b, head)
		})
		return
	}
	e.each(len(w.tokens)*heads, 4, func(i int) { e.enter(layer, l, i/heads, i%heads) })
	// Head by head, so that its keys and values stay in the cache for all
	// blocks: block by block, prefill at 2000 positions took a Zen 4 core from
	// 87 down to 65 GFLOP/s.
	e.pool.run(len(w.blocks)*heads, func(worker, task int) {
		e.attendBlock(worker, layer, w.blocks[task%len(w.blocks)], task/len(w.blocks))
	})
}

// enter prepares one token's queries of one group and its key and value.
func (e *engine) enter(layer int, l *layer, i, head int) {
	c, w := e.config, &e.work
	d, group := c.HeadDim, c.Heads/c.KVHeads
	qkv := w.qkv[i*l.qkv.stride():]
	angles := w.angles[i*d:][:d]
	for g := range group {
		e.turn(qkv[(head*group+g)*d:][:d], l.qNorm, angles)
	}
	k, v := qkv[keysAt(c)+head*d:][:d], qkv[valuesAt(c)+head*d:][:d]
	e.turn(k, l.kNorm, angles)
	t := w.tokens[i]
	page := e.table[int(t.slot)*e.perSlot+int(t.position)/e.cache.pageSize]
	offset := int(t.position) % e.cache.pageSize * d
	copy(unsafe.Slice(at(e.cache.keys(layer, page, head), offset), d), k)
	copy(unsafe.Slice(at(e.cache.values(layer, page, head), offset), d), v)
}

// turn is the head's norm, if any, and RoPE: pair (i, i+D/2) by its angle.
func (e *engine) turn(x, norm, angles []float32) {
	if norm != nil {
		e.rmsNorm(x, x, norm)
	}
	half := len(x) / 2
	lo, hi, cos, sin := x[:half], x[half:][:half], angles[:half], angles[half:][:half]
	for i := range lo {
		a, b := lo[i], hi[i]
		// The conversions keep compilers from fusing: same bits everywhere.
		lo[i] = float32(a*cos[i]) - float32(b*sin[i])
		hi[i] = float32(b*cos[i]) + float32(a*sin[i])
	}
}

// attendBlock computes, for the queries q of a block in the group of a head,
//
//	mixed = Σ_t softmax_t(q·K_t/√D) V_t    t ≤ the query's position
//
// page by page for all queries, so that a page is fetched once. Scores of the
// whole context are kept: online softmax would need no memory, but its bits
// would depend on where pages begin.
func (e *engine) attendBlock(worker, layer int, b queryBlock, head int) {
	c, w, k := e.config, &e.work, e.kernels
	d, group := c.HeadDim, c.Heads/c.KVHeads
	first := w.tokens[b.first]
	before := int(first.position) // positions that all queries see, but their own
	m, context := b.n*group, before+b.n

	// Contiguous, query by query of token by token: queries, outputs, scores.
	grow(&e.pool.scratch[worker], m*(2*d+context))
	scratch := e.pool.scratch[worker]
	queries, out, scores := scratch[:m*d], scratch[m*d:2*m*d], scratch[2*m*d:]
	ldq := e.weights.layers[layer].qkv.stride()
	for i := range b.n {
		copy(queries[i*group*d:(i+1)*group*d], w.qkv[(b.first+i)*ldq+head*group*d:])
	}
	clear(out)

	// visit calls f for every page: queries [i, i+n) and positions [t, end).
	size := e.cache.pageSize
	pages := e.table[int(first.slot)*e.perSlot:][:(context+size-1)/size]
	visit := func(f func(page int32, i, n, t, end int)) {
		for j, page := range pages {
			t, end := j*size, (j+1)*size
			if end <= before+1 {
				f(page, 0, m, t, end)
				continue
			}
			for i := range b.n { // every token sees one more
				if end := min(end, before+i+1); t < end {
					f(page, i*group, group, t, end)
				}
			}
		}
	}
	visit(func(page int32, i, n, t, end int) {
		k.scores(&scores[i*context+t], context, &queries[i*d], n, e.cache.keys(layer, page, head), end-t, d)
	})
	scale := float32(1 / math.Sqrt(float64(d)))
	for i := range m {
		s, n := &scores[i*context], before+i/group+1
		queries[i] = k.expSum(s, n, k.maxOf(s, n), scale) // queries have been used
	}
	visit(func(page int32, i, n, t, end int) {
		k.values(&out[i*d], &scores[i*context+t], context, n, e.cache.values(layer, page, head), end-t, d)
	})
	for i := range m {
		to := w.mixed[(b.first+i/group)*apart(c.Heads*d)+(head*group+i%group)*d:][:d]
		share := 1 / queries[i]
		for j, v := range out[i*d:][:d] {
			to[j] = v * share
		}
	}
}

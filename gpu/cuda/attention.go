package cuda

import (
	"math"
	"slices"

	"github.com/troupe-llm/troupe/gpu/kernel"
	"github.com/troupe-llm/troupe/gpu/program"
)

// division is how the work of decode attention is divided among warps. It is a
// step's, one for all layers of a window.
type division struct{ first, runs kernel.Ptr }

// windowsOf are the windows of attention by heads, each once.
func windowsOf(p *program.Program) (windows []int) {
	for _, k := range p.Caches {
		if !k.Shared && !slices.Contains(windows, k.Window) {
			windows = append(windows, k.Window)
		}
	}
	return windows
}

// divisionOf is empty on a machine without memory.
func (m *machine) divisionOf(window int) division {
	if d := m.divisions[window]; d != nil {
		return *d
	}
	return division{}
}

// plan divides the work of decode attention, for all layers.
func (c *compiler) plan(p *program.Program) run {
	q, s, blocks := c.kernels, c.shape, c.decodeBlocks
	var list []kernel.PlanArgs
	for _, window := range windowsOf(p) {
		d := c.divisionOf(window)
		list = append(list, kernel.PlanArgs{Lens: c.rowLens, Slots: c.rowSlots, First: d.first, Runs: d.runs, Window: int32(window)})
	}
	return func(w *work) error {
		if w.decodes == 0 {
			return nil
		}
		for _, a := range list {
			a.Rows = int32(w.decodes)
			if err := kernel.DecodePlan(q, s, a, blocks); err != nil {
				return err
			}
		}
		return nil
	}
}

// columnsAt is where columns of a value begin, and how many elements rows are apart.
func (c *compiler) columnsAt(v *program.Value, element int) (at kernel.Ptr, stride int32) {
	whole := v.Whole()
	c.need(v.At%8 == 0 && columns(whole)%8 == 0, "columns from %d of %s, %d apart; the kernel takes multiples of 8", v.At, whole.Name, columns(whole))
	return c.value(whole, element).Plus(int64(v.At * element)), int32(columns(whole))
}

// ropeWrite turns queries and keys that lie side by side with the values, and
// enters keys and values into pages. Queries go to memory of their own.
func (c *compiler) ropeWrite(f *program.Fused) run {
	rope, store := part[*program.Rope](f), part[*program.Store](f)
	query, key, value, r := rope.X[0], store.Key, store.Value, rope.Rotary
	all := query.Whole()
	c.need(key.Base == all && value.Base == all && key.At == query.At+query.Width && value.At == key.At+key.Width,
		"queries, keys and values that do not lie side by side in one value")
	c.need(rope.HeadDim == c.shape.HeadDim && query.Width == c.shape.Heads*c.shape.HeadDim, "heads of %d; the kernels are for %d of %d", rope.HeadDim, c.shape.Heads, c.shape.HeadDim)
	c.cacheFits(store.Cache)
	qkv, stride := c.columnsAt(query, f32)
	a := kernel.RopeArgs{
		QKV: qkv, Q: c.queries, RowScales: c.sums[all].rows, Angles: c.angles[r], Positions: c.positions, Slots: c.tokenSlots, Table: c.table,
		KV: c.caches[store.Cache], KVScales: c.cacheScales[store.Cache], TableStride: int32(c.stride), Stride: stride, Dims: int32(r.Dims),
		KeyScale: c.knownScales[store.Cache.Name].Key, ValueScale: c.knownScales[store.Cache.Name].Value,
	}
	if s, sums := c.sums[all]; sums {
		a.QKV, a.ColumnScales = c.values[all].Plus(int64(bf16*query.At)), s.columns.Plus(int64(f32*query.At))
	}
	for _, op := range f.Ops {
		switch o := op.(type) {
		case *program.AddBias:
			c.need(o.X == all && query.At == 0, "a bias on %s alone; the kernel adds one to all of %s", o.X.Name, all.Name)
			a.Bias = c.weights[o.Bias]
		case *program.Norm:
			c.headNorm(&a, o, query, key)
		}
	}
	c.turned = query
	q, s := c.kernels, c.shape
	return func(w *work) error {
		a := a
		a.Tokens = int32(w.tokens)
		return kernel.RopeWrite(q, s, a)
	}
}

// headNorm is the norm of every head of queries or of keys, before RoPE.
func (c *compiler) headNorm(a *kernel.RopeArgs, o *program.Norm, query, key *program.Value) {
	c.need(o.Group == c.shape.HeadDim && o.Weight.Out() == o.Group, "a norm of every %d with %d weights; the kernel norms heads of %d", o.Group, o.Weight.Out(), c.shape.HeadDim)
	c.need(a.Eps == 0 || a.Eps == o.Eps, "norms of queries and keys that differ, %v and %v", a.Eps, o.Eps)
	a.Eps = o.Eps
	switch o.In {
	case query:
		a.QNorm = c.weights[o.Weight]
	case key:
		a.KNorm = c.weights[o.Weight]
	default:
		c.need(false, "a norm of heads of %s; the kernel norms queries and keys", o.In.Name)
	}
}

// rope turns heads where they lie.
func (c *compiler) rope(o *program.Rope) run {
	var list []kernel.TurnArgs
	for _, x := range o.X {
		at, stride := c.columnsAt(x, f32)
		list = append(list, kernel.TurnArgs{
			X: at, Angles: c.angles[o.Rotary], Positions: c.positions, Heads: int32(x.Width / o.HeadDim), HeadDim: int32(o.HeadDim),
			Dims: int32(o.Rotary.Dims), Stride: stride,
		})
	}
	q := c.kernels
	return func(w *work) error {
		for _, a := range list {
			a.Tokens = int32(w.tokens)
			if err := kernel.Turn(q, a); err != nil {
				return err
			}
		}
		return nil
	}
}

// store enters keys and values into pages, values that are keys' leading elements
// with these.
func (c *compiler) store(o *program.Store) run {
	k := o.Cache
	keys, stride := c.columnsAt(o.Key, f32)
	a := kernel.StoreArgs{
		Keys: keys, Positions: c.positions, Slots: c.tokenSlots, Table: c.table, KV: c.caches[k], Scales: c.cacheScales[k], Heads: int32(k.Heads), Dim: int32(k.KeyDim),
		PageSize: int32(c.shape.PageSize), TableStride: int32(c.stride), KeyStride: stride,
		KeyScale: c.knownScales[k.Name].Key, ValueScale: c.knownScales[k.Name].Value,
	}
	if k.Shared {
		c.latentFits(k)
	} else {
		c.cacheFits(k)
		a.Values, a.ValueStride = c.columnsAt(o.Value, f32)
	}
	q := c.kernels
	return func(w *work) error {
		a := a
		a.Tokens = int32(w.tokens)
		return kernel.Store(q, a)
	}
}

// cacheFits checks that a cache is like those that the kernels are compiled for.
func (c *compiler) cacheFits(k *program.Cache) {
	s := c.shape
	c.need(!k.Shared && k.Heads == s.KVHeads && k.KeyDim == s.HeadDim && k.ValueDim == s.HeadDim, "%d heads of keys of %d and values of %d, others in the model %d of %d; the kernels are for one shape",
		k.Heads, k.KeyDim, k.ValueDim, s.KVHeads, s.HeadDim)
}

// latentFits checks that there is a kernel for keys whose leading elements are
// values.
func (c *compiler) latentFits(k *program.Cache) {
	c.need(!c.shape.KVCodes, "keys whose leading elements are values are not kept in FP8")
	c.need(k.Heads == 1 && kernel.LatentFits(k.KeyDim, k.ValueDim), "%d shared heads of %d, of which %d are values; the kernel takes one, of up to 576 and 512, in multiples of 16", k.Heads, k.KeyDim, k.ValueDim)
}

// attend is attention of the decode rows, which come first, and of the others.
func (c *compiler) attend(o *program.Attend) run {
	if o.Cache.Shared {
		return c.attendLatent(o)
	}
	c.need(o.Heads == c.shape.Heads, "%d heads, others in the model %d; the kernels are for one shape", o.Heads, c.shape.Heads)
	c.cacheFits(o.Cache)
	round := c.roundQueries(o.Query)
	kv, out, sinks, d := c.caches[o.Cache], c.value(o.Out, bf16), kernel.Ptr(0), c.divisionOf(o.Cache.Window)
	if o.Sinks != nil {
		sinks = c.weights[o.Sinks]
	}
	scale, stride, window := float32(math.Log2E*float64(o.Scale)), int32(c.stride), int32(o.Cache.Window)
	decode := kernel.DecodeArgs{
		Q: c.queries, KV: kv, KVScales: c.cacheScales[o.Cache], Table: c.table, Slots: c.rowSlots, Lens: c.rowLens, First: d.first, Runs: d.runs, Out: out,
		Partial: c.partial, Stats: c.stats, Arrived: c.arrived, Sinks: sinks, TableStride: stride, Scale: scale, Window: window,
	}
	prefill := kernel.PrefillArgs{Q: c.queries, KV: kv, Table: c.table, Tiles: c.tiles, Count: c.counts, Out: out, Sinks: sinks, TableStride: stride, Scale: scale, Window: window, Kept: c.kept, Parts: c.parts, Arrived: c.joined}
	widen := c.widen(&prefill, o.Cache)
	q, s, blocks := c.kernels, c.shape, c.decodeBlocks
	return func(w *work) error {
		if err := round(w); err != nil {
			return err
		}
		if w.decodes > 0 {
			decode := decode
			decode.Rows = int32(w.decodes)
			if err := kernel.PagedDecode(q, s, decode, blocks); err != nil {
				return err
			}
		}
		if w.ntiles == 0 {
			return nil
		}
		if err := widen(w); err != nil {
			return err
		}
		return kernel.PagedPrefill(q, s, prefill, w.ntiles)
	}
}

// widen makes bf16 of the codes that prefill attention looks at.
func (c *compiler) widen(a *kernel.PrefillArgs, k *program.Cache) run {
	if !c.shape.KVCodes {
		return func(*work) error { return nil }
	}
	a.KV = c.widened
	q, to := c.kernels, kernel.WidenArgs{
		KV: c.caches[k], Scales: c.cacheScales[k], Spans: c.spans, Count: c.counts.Plus(4), Table: c.table, Out: c.widened, Heads: int32(k.Heads), Dim: int32(k.KeyDim),
		PageSize: int32(c.shape.PageSize), TableStride: int32(c.stride), Window: int32(k.Window),
	}
	return func(w *work) error { return kernel.WidenPages(q, to, w.nspans) }
}

// roundQueries leaves queries where attention reads them, unless RoPE has done so.
func (c *compiler) roundQueries(x *program.Value) run {
	if x == c.turned {
		return func(*work) error { return nil }
	}
	at, stride := c.columnsAt(x, f32)
	q, a := c.kernels, kernel.QueriesArgs{X: at, Y: c.queries, Width: int32(x.Width), Stride: stride}
	return func(w *work) error {
		a := a
		a.Tokens = int32(w.tokens)
		return kernel.RoundQueries(q, a)
	}
}

// attendLatent is attention of all tokens over one cached head whose values are
// its leading elements.
func (c *compiler) attendLatent(o *program.Attend) run {
	k := o.Cache
	c.latentFits(k)
	c.need(o.Sinks == nil, "sinks; the kernel of latent attention has none")
	a := kernel.LatentArgs{
		Q: c.value(o.Query, f32), KV: c.caches[k], Table: c.table, Positions: c.positions, Slots: c.tokenSlots, Heads: int32(o.Heads),
		KeyDim: int32(k.KeyDim), ValueDim: int32(k.ValueDim), PageSize: int32(c.shape.PageSize), TableStride: int32(c.stride),
		Window: int32(k.Window), Scale: float32(math.Log2E * float64(o.Scale)),
	}
	if c.elements[o.Out] == bf16 {
		a.Rounded, a.Out = 1, c.value(o.Out, bf16)
	} else {
		a.Out = c.value(o.Out, f32)
	}
	q := c.kernels
	return func(w *work) error { return kernel.LatentAttention(q, a, w.tokens) }
}

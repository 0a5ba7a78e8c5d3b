//go:build cuda

package cuda

import (
	"fmt"
	"math"

	"github.com/troupe-llm/troupe/gpu/kernel"
	"gorgonia.org/cu"
)

// work is how much a pass of the model computes. The numbers are fixed in a
// graph; what they stand for is read from the device's memory.
type work struct {
	tokens, decodes, draws int
	tiles                  kernel.Ptr // of prefill rows
	ntiles                 int
}

// enqueue puts a step on the compute stream: what changes, then the pass.
func (e *engine) enqueue(u *upload, result kernel.Ptr) error {
	for _, l := range u.lists {
		if err := cu.MemcpyDtoDAsync(cu.DevicePtr(l.to), cu.DevicePtr(l.from), l.bytes, e.compute); err != nil {
			return fmt.Errorf("copying a slot's lists: %w", err)
		}
	}
	for _, c := range u.counts {
		row := int64(4 * e.config.Vocab)
		c.args.Counts = e.counts.Plus(int64(c.slot) * row)
		if err := cu.MemsetD8Async(cu.DevicePtr(c.args.Counts), 0, row, e.compute); err != nil {
			return fmt.Errorf("clearing counts: %w", err)
		}
		if err := kernel.CountTokens(e.queue, c.args); err != nil {
			return err
		}
	}
	b := u.begin
	b.ToParams, b.Last, b.Table, b.ToTokens, b.ToPositions, b.ToSlots = e.slots, e.last, e.table, e.tokens, e.positions, e.tokenSlots
	b.ToRowSlots, b.ToRowLens, b.ToDraws, b.ToDrawTokens, b.ToResult = e.rowSlots, e.rowLens, e.draws, e.drawTokens, e.result
	b.Result = result
	if err := kernel.Begin(e.queue, b); err != nil {
		return err
	}
	if g, ok := e.graphs[u.graph]; ok && u.graph > 0 {
		return g.launch(e.compute)
	}
	return e.forward(work{u.tokens, u.decodes, u.draws, u.tiles, u.ntiles})
}

// forward is one pass of the model over the tokens that begin distributed.
func (e *engine) forward(w work) error {
	if w.tokens == 0 {
		return nil
	}
	c, q := e.config, e.queue
	heads, width := c.Heads*c.HeadDim, (c.Heads+2*c.KVHeads)*c.HeadDim
	product := func(out, in int) product { return product{out: out, n: w.tokens, in: in, ld: out} }
	norm := func(weight kernel.Ptr) error {
		return kernel.RMSNorm(q, kernel.NormArgs{X: e.x, W: weight, Y: e.normed, Hidden: int32(c.Hidden), Eps: c.NormEps}, w.tokens)
	}
	if err := kernel.Embed(q, kernel.EmbedArgs{Tokens: e.tokens, Table: e.weights.embed, Out: e.x, Hidden: int32(c.Hidden)}, w.tokens); err != nil {
		return err
	}
	if w.decodes > 0 {
		plan := kernel.PlanArgs{Lens: e.rowLens, First: e.first, Runs: e.runs, Rows: int32(w.decodes)}
		if err := kernel.DecodePlan(q, plan, e.decodeBlocks); err != nil {
			return err
		}
	}
	for i := range e.weights.layers {
		l := &e.weights.layers[i]
		kv := e.kv.Plus(int64(i) * e.info.KVBytes / int64(c.Layers))
		err := norm(l.attnNorm)
		if err == nil {
			err = e.blas.multiply(product(width, c.Hidden), l.qkv, e.normed, e.qkv, false)
		}
		if err == nil {
			err = kernel.RopeWrite(q, e.shape, kernel.RopeArgs{
				QKV: e.qkv, Bias: l.qkvBias, QNorm: l.qNorm, KNorm: l.kNorm, Angles: e.angles,
				Positions: e.positions, Slots: e.tokenSlots, Table: e.table, KV: kv,
				Tokens: int32(w.tokens), TableStride: int32(e.stride()), Eps: c.NormEps,
			})
		}
		if err == nil {
			err = e.attend(w, kv)
		}
		if err == nil {
			err = e.blas.multiply(product(c.Hidden, heads), l.o, e.mixed, e.x, true)
		}
		if err == nil {
			err = norm(l.mlpNorm)
		}
		if err == nil {
			err = e.blas.multiply(product(2*c.Intermediate, c.Hidden), l.gateUp, e.normed, e.gateUp, false)
		}
		if err == nil {
			err = kernel.SiluMul(q, kernel.SiluArgs{GateUp: e.gateUp, Out: e.activated, Intermediate: int32(c.Intermediate)}, w.tokens)
		}
		if err == nil {
			err = e.blas.multiply(product(c.Hidden, c.Intermediate), l.down, e.activated, e.x, true)
		}
		if err != nil {
			return fmt.Errorf("layer %d: %w", i, err)
		}
	}
	return e.sample(w)
}

// attend is attention of the decode rows, which come first, and of the others.
func (e *engine) attend(w work, kv kernel.Ptr) error {
	scale := float32(math.Log2E / math.Sqrt(float64(e.config.HeadDim)))
	if w.decodes > 0 {
		err := kernel.PagedDecode(e.queue, kernel.DecodeArgs{
			QKV: e.qkv, KV: kv, Table: e.table, Slots: e.rowSlots, Lens: e.rowLens, First: e.first, Runs: e.runs, Out: e.mixed,
			Partial: e.partial, Stats: e.stats, Arrived: e.arrived,
			Rows: int32(w.decodes), TableStride: int32(e.stride()), Scale: scale,
		}, e.decodeBlocks)
		if err != nil {
			return err
		}
	}
	if w.ntiles == 0 {
		return nil
	}
	return kernel.PagedPrefill(e.queue, e.shape, kernel.PrefillArgs{
		QKV: e.qkv, KV: kv, Table: e.table, Tiles: w.tiles, Out: e.mixed, TableStride: int32(e.stride()), Scale: scale,
	}, w.ntiles)
}

// sample computes the logits of the rows that draw a token, and draws.
func (e *engine) sample(w work) error {
	if w.draws == 0 {
		return nil
	}
	c := e.config
	err := kernel.RMSNorm(e.queue, kernel.NormArgs{
		X: e.x, W: e.weights.norm, Rows: e.drawTokens, Y: e.normed, Hidden: int32(c.Hidden), Eps: c.NormEps,
	}, w.draws)
	if err != nil {
		return err
	}
	p := product{out: c.Vocab, n: w.draws, in: c.Hidden, ld: e.ld, float: true}
	if err := e.blas.multiply(p, e.weights.head, e.normed, e.logits, false); err != nil {
		return fmt.Errorf("head: %w", err)
	}
	return kernel.Sample(e.queue, kernel.SampleArgs{
		Logits: e.logits, Shaped: e.shaped, Draws: e.draws, Slots: e.slots, Counts: e.counts, Parts: e.parts, Last: e.last, Result: e.result,
		Vocab: int32(c.Vocab), Ld: int32(e.ld), Rows: int32(e.info.Slots),
	}, w.draws)
}

// captureGraphs captures decode passes of the given sizes, the largest first:
// graphs share the memory pools of those before.
func (e *engine) captureGraphs(sizes []int) error {
	for i := len(sizes) - 1; i >= 0; i-- {
		n := sizes[i]
		w := work{tokens: n, decodes: n, draws: n}
		// Once for real, on rows that begin never filled in: padding. cuBLASLt
		// chooses and loads its kernels outside the capture.
		if err := e.pad(n); err != nil {
			return err
		}
		if err := e.forward(w); err != nil {
			return fmt.Errorf("cuda: decoding %d rows: %w", n, err)
		}
		pass := func() error { return e.forward(w) }
		g, err := capture(e.compute, pass)
		if err != nil && e.queue.overlap {
			// Drivers differ in what may overlap inside a graph.
			e.queue.overlap = false
			g, err = capture(e.compute, pass)
		}
		if err != nil {
			return fmt.Errorf("cuda: capturing %d rows: %w", n, err)
		}
		e.graphs[n] = g
	}
	if err := e.compute.Synchronize(); err != nil {
		return fmt.Errorf("cuda: capturing graphs: %w", err)
	}
	return nil
}

// pad makes n rows padding: zero tokens and lengths, slots and draws −1.
func (e *engine) pad(n int) error {
	for _, a := range []struct {
		at    kernel.Ptr
		value byte
		bytes int
	}{
		{e.tokens, 0, 4 * n},
		{e.positions, 0, 4 * n},
		{e.tokenSlots, 0xff, 4 * n},
		{e.rowSlots, 0, 4 * n},
		{e.rowLens, 0, 4 * n},
		{e.draws, 0xff, 24 * n},
		{e.drawTokens, 0, 4 * n},
	} {
		if err := cu.MemsetD8Async(cu.DevicePtr(a.at), a.value, int64(a.bytes), e.compute); err != nil {
			return fmt.Errorf("cuda: padding: %w", err)
		}
	}
	return nil
}

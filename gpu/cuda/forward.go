//go:build cuda

package cuda

import (
	"fmt"
	"math"
	"slices"

	"github.com/troupe-llm/troupe/gpu/kernel"
	"gorgonia.org/cu"
)

// work is how much a pass of the model computes. The numbers are fixed in a
// graph; what they stand for is read from the device's memory.
type work struct {
	tokens, decodes, draws int
	tiles                  kernel.Ptr // of prefill rows
	ntiles                 int
	// late leaves out the drawing, which waits for masks.
	late bool
}

// op is a kind of work in a pass.
type op string

const (
	opEmbed     op = "embed"
	opPlan      op = "plan"
	opNorm      op = "norm"
	opQKV       op = "qkv"
	opRope      op = "rope"
	opAttention op = "attention"
	opO         op = "o"
	opGateUp    op = "gate_up"
	opSilu      op = "silu"
	opDown      op = "down"
	opRouter    op = "router"
	opRoute     op = "route"
	opCombine   op = "combine"
	opHead      op = "head"
	opSample    op = "sample"
)

// run does a part of a pass, unless only other kinds of work are being timed.
func (e *engine) run(o op, f func() error) error {
	if len(e.only) > 0 && !slices.Contains(e.only, o) {
		return nil
	}
	return f()
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
	if u.graph > 0 {
		g, err := e.graphOf(u.graph, u.late > 0)
		if err != nil {
			return err
		}
		return g.launch(e.compute)
	}
	return e.forward(work{u.tokens, u.decodes, u.draws, u.tiles, u.ntiles, u.late > 0})
}

// graphOf is the graph of a decode pass, with the drawing or without. The latter
// is captured when it is first needed, by requests with a grammar; all that a
// pass of this size runs was loaded for the former.
func (e *engine) graphOf(rows int, late bool) (graph, error) {
	if !late {
		return e.graphs[rows], nil
	}
	if g, ok := e.undrawn[rows]; ok {
		return g, nil
	}
	g, err := capture(e.compute, func() error {
		return e.forward(work{tokens: rows, decodes: rows, draws: rows, late: true})
	})
	if err != nil {
		return graph{}, fmt.Errorf("capturing %d rows without drawing: %w", rows, err)
	}
	e.undrawn[rows] = g
	return g, nil
}

// forward is one pass of the model over the tokens that begin distributed.
func (e *engine) forward(w work) error {
	if w.tokens == 0 {
		return nil
	}
	c, q := e.config, e.queue
	if err := e.run(opEmbed, func() error {
		return kernel.Embed(q, kernel.EmbedArgs{Tokens: e.tokens, Table: e.weights.embed, Out: e.x, Hidden: int32(c.Hidden)}, w.tokens)
	}); err != nil {
		return err
	}
	if err := e.run(opPlan, func() error {
		if w.decodes == 0 {
			return nil
		}
		plan := kernel.PlanArgs{Lens: e.rowLens, Slots: e.rowSlots, First: e.first, Runs: e.runs, Rows: int32(w.decodes)}
		return kernel.DecodePlan(q, plan, e.decodeBlocks)
	}); err != nil {
		return err
	}
	for i := range e.weights.layers {
		if err := e.layer(w, i); err != nil {
			return fmt.Errorf("layer %d: %w", i, err)
		}
	}
	return e.sample(w)
}

// stage is one kind of work of a layer.
type stage struct {
	op  op
	run func() error
}

func (e *engine) layer(w work, i int) error {
	c, q, l := e.config, e.queue, &e.weights.layers[i]
	kv := e.kv.Plus(int64(i) * e.info.KVBytes / int64(c.Layers))
	rope := stage{opRope, func() error {
		return kernel.RopeWrite(q, e.shape, kernel.RopeArgs{
			QKV: e.qkv, Q: e.q, Bias: l.qkvBias, QNorm: l.qNorm, KNorm: l.kNorm, Angles: e.angles,
			Positions: e.positions, Slots: e.tokenSlots, Table: e.table, KV: kv,
			Tokens: int32(w.tokens), TableStride: int32(e.stride()), Eps: c.NormEps,
		})
	}}
	attention := stage{opAttention, func() error { return e.attend(w, kv) }}
	parts := e.attention(w, l, rope, attention)
	if c.MoE != nil {
		parts = append(parts, e.experts(w, l)...)
	} else {
		parts = append(parts, e.mlp(w, l)...)
	}
	for _, p := range parts {
		if err := e.run(p.op, p.run); err != nil {
			return fmt.Errorf("%s: %w", p.op, err)
		}
	}
	return nil
}

// attention are the stages of a layer up to the attention's output, around what
// does not depend on the number of tokens.
func (e *engine) attention(w work, l *layer, rope, attention stage) []stage {
	c, q := e.config, e.queue
	heads, width := c.Heads*c.HeadDim, (c.Heads+2*c.KVHeads)*c.HeadDim
	if w.tokens <= e.skinny {
		return []stage{
			{opQKV, func() error {
				return kernel.SkinnyNorm(q, e.skinnyArgs(w, e.x, l.qkv, l.attnNorm, e.qkv, c.Hidden, width), 2*e.gpu.SMs)
			}},
			rope, attention,
			{opO, func() error {
				return kernel.SkinnyAdd(q, e.skinnyArgs(w, e.mixed, l.o, 0, e.x, heads, c.Hidden), 2*e.gpu.SMs)
			}},
		}
	}
	return []stage{
		e.norm(w, l.attnNorm),
		e.product(w, opQKV, l), rope, attention, e.product(w, opO, l),
	}
}

// mlp are the stages behind them.
func (e *engine) mlp(w work, l *layer) []stage {
	c, q := e.config, e.queue
	if w.tokens <= e.skinny {
		return []stage{
			{opGateUp, func() error {
				return kernel.SkinnyGate(q, e.skinnyArgs(w, e.x, l.gateUp, l.mlpNorm, e.activated, c.Hidden, 2*c.Intermediate), 2*e.gpu.SMs)
			}},
			{opDown, func() error {
				return kernel.SkinnyAdd(q, e.skinnyArgs(w, e.activated, l.down, 0, e.x, c.Intermediate, c.Hidden), 2*e.gpu.SMs)
			}},
		}
	}
	return []stage{
		e.norm(w, l.mlpNorm),
		e.product(w, opGateUp, l),
		{opSilu, func() error {
			return kernel.SiluMul(q, kernel.SiluArgs{GateUp: e.gateUp, Out: e.activated, Intermediate: int32(c.Intermediate)}, w.tokens)
		}},
		e.product(w, opDown, l),
	}
}

func (e *engine) norm(w work, weight kernel.Ptr) stage {
	return stage{opNorm, func() error {
		a := kernel.NormArgs{X: e.x, W: weight, Y: e.normed, Hidden: int32(e.config.Hidden), Eps: e.config.NormEps}
		return kernel.RMSNorm(e.queue, a, w.tokens)
	}}
}

func (e *engine) skinnyArgs(w work, x, weights, norm, y kernel.Ptr, in, out int) kernel.SkinnyArgs {
	return kernel.SkinnyArgs{
		X: x, W: weights, Norm: norm, Y: y, N: int32(w.tokens), In: int32(in), Out: int32(out), Ld: int32(out), Eps: e.config.NormEps,
	}
}

// attend is attention of the decode rows, which come first, and of the others.
func (e *engine) attend(w work, kv kernel.Ptr) error {
	scale := float32(math.Log2E / math.Sqrt(float64(e.config.HeadDim)))
	if w.decodes > 0 {
		err := kernel.PagedDecode(e.queue, kernel.DecodeArgs{
			Q: e.q, KV: kv, Table: e.table, Slots: e.rowSlots, Lens: e.rowLens, First: e.first, Runs: e.runs, Out: e.mixed,
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
		Q: e.q, KV: kv, Table: e.table, Tiles: w.tiles, Out: e.mixed, TableStride: int32(e.stride()), Scale: scale,
	}, w.ntiles)
}

// sample computes the logits of the rows that draw a token, and draws, unless
// that waits for masks.
func (e *engine) sample(w work) error {
	if w.draws == 0 {
		return nil
	}
	if err := e.head(e.drawTokens, w.draws); err != nil || w.late {
		return err
	}
	return e.run(opSample, func() error { return e.draw(e.draws, w.draws) })
}

// draw draws n tokens, from the logits that the pass left.
func (e *engine) draw(draws kernel.Ptr, n int) error {
	return kernel.Sample(e.queue, kernel.SampleArgs{
		Logits: e.logits, Shaped: e.shaped, Draws: draws, Slots: e.slots, Counts: e.counts, Parts: e.parts, Last: e.last, Result: e.result,
		Vocab: int32(e.config.Vocab), Ld: int32(e.ld), Rows: int32(e.info.Slots),
	}, n)
}

// head computes logits, of the n tokens of the pass whose numbers are in rows.
func (e *engine) head(rows kernel.Ptr, n int) error {
	c := e.config
	if n <= e.skinny {
		return e.run(opHead, func() error {
			return kernel.SkinnyNorm(e.queue, kernel.SkinnyArgs{
				X: e.x, W: e.weights.head, Norm: e.weights.norm, Rows: rows, Y: e.logits,
				N: int32(n), In: int32(c.Hidden), Out: int32(c.Vocab), Ld: int32(e.ld), Eps: c.NormEps,
			}, 2*e.gpu.SMs)
		})
	}
	if err := e.run(opNorm, func() error {
		return kernel.RMSNorm(e.queue, kernel.NormArgs{
			X: e.x, W: e.weights.norm, Rows: rows, Y: e.normed, Hidden: int32(c.Hidden), Eps: c.NormEps,
		}, n)
	}); err != nil {
		return err
	}
	if err := e.run(opHead, func() error {
		return e.multiply(e.factors(opHead, nil), n)
	}); err != nil {
		return fmt.Errorf("head: %w", err)
	}
	return nil
}

// captureGraphs captures decode passes of the given sizes, the largest first:
// graphs share the memory pools of those before.
func (e *engine) captureGraphs(sizes []int, progress func(done, total int64)) error {
	for i := len(sizes) - 1; i >= 0; i-- {
		n := sizes[i]
		w := work{tokens: n, decodes: n, draws: n}
		// Once for real, on rows that begin never filled in: padding. What loads a
		// kernel must not be captured.
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
		if progress != nil {
			progress(int64(len(e.graphs)), int64(len(sizes)))
		}
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

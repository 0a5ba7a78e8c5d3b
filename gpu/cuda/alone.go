package cuda

import (
	"math"

	"github.com/troupe-llm/troupe/gpu/kernel"
	"github.com/troupe-llm/troupe/gpu/kernel/lower"
	"github.com/troupe-llm/troupe/gpu/program"
)

// alone is what a pass of one decode row has memory for, all of whose layers are one kernel:
// decode_pass. There is one of programs whose every layer is as that takes it.
type alone struct {
	layers, maps  kernel.Ptr // kernel.PassLayer [layers], kernel.TensorMap [5·layers+2]
	words, counts kernel.Ptr
}

// onePass is a pass of one decode row.
type onePass struct {
	stages []stage // nil: there is no kernel for it
	logits bool    // it makes them, too
	layers []kernel.PassLayer
	// matrices are those that the copy engine reads: of each layer, then the head.
	matrices []kernel.PassTensor
	words    int64 // bytes of alone.words
}

// onePass is of the ops that bodies and heads of few rows have. It is empty if any of them is not the
// kernel's, or something that this takes to be the same in all layers is not.
func (c *compiler) onePass(ops, head []program.Op) (p onePass) {
	const perLayer = 6
	s, n := c.shape, (len(ops)-1)/perLayer
	embed, is := ops[0].(*program.Embed)
	if c.deterministic || !is || n == 0 || len(ops) != 1+n*perLayer {
		return p
	}
	first := layerOf(c.machine, ops[1:], embed.Out)
	if first == nil || !s.PassFits(n, first.hidden, first.intermediate) {
		return p
	}
	for i := range n {
		l := layerOf(c.machine, ops[1+i*perLayer:], embed.Out)
		if l == nil || l.layerShape != first.layerShape {
			return onePass{}
		}
		p.layers = append(p.layers, l.at)
		p.matrices = append(p.matrices, s.PassTensors(l.matrices, l.at.KV, l.hidden, l.intermediate)...)
	}
	q, a := c.kernels, kernel.PassArgs{
		X: c.value(embed.Out, f32), Layers: c.alone.layers, Maps: c.alone.maps, Positions: c.positions, TokenSlots: c.tokenSlots, RowSlots: c.rowSlots, RowLens: c.rowLens, Table: c.table,
		Angles: c.angles[first.rotary], Words: c.alone.words, Counts: c.alone.counts, NLayers: int32(n), Hidden: int32(first.hidden), Intermediate: int32(first.intermediate),
		TableStride: int32(c.stride), Window: int32(first.window), Eps: first.eps, Scale: float32(math.Log2E * float64(first.scale)),
	}
	if f := fusedAs(head[0], lower.SkinnyNorm); f != nil && len(head) == 1 {
		p.logits = c.passHead(&p, &a, f, embed.Out)
	}
	p.words = s.PassWords(first.hidden, first.intermediate)
	p.stages = []stage{{embed.Name(), made(embed), c.op(embed)}, {"layers", "all layers", func(*work) error { return kernel.DecodePass(q, s, a) }}}
	return p
}

// isAlone says that a pass is of one decode row for which there is a kernel.
func (p *plans) isAlone(w *work) bool {
	return p.alone.stages != nil && w.tokens == 1 && w.decodes == 1
}

// layerShape is what all layers have in common.
type layerShape struct {
	hidden, intermediate, window int
	eps, scale                   float32
	rotary                       *program.Rotary
}

// passLayer is a layer that decode_pass takes.
type passLayer struct {
	layerShape
	at       kernel.PassLayer
	matrices kernel.PassMatrices
}

// layerOf is the layer that ops begin with, of the residual stream x; nil: it is another.
func layerOf(m *machine, ops []program.Op, x *program.Value) *passLayer {
	qkv, turn, out, gate, down := fusedAs(ops[0], lower.SkinnyNorm), fusedAs(ops[1], lower.RopeWrite), fusedAs(ops[3], lower.ProductAdd), fusedAs(ops[4], lower.SkinnyGate), fusedAs(ops[5], lower.ProductAdd)
	attend, is := ops[2].(*program.Attend)
	if !is || qkv == nil || turn == nil || out == nil || gate == nil || down == nil {
		return nil
	}
	l := &passLayer{layerShape: layerShape{hidden: x.Width, intermediate: part[*program.Gate](gate).Out.Width, window: attend.Cache.Window, scale: attend.Scale}}
	l.eps = part[*program.Norm](qkv).Eps
	ok := attend.Sinks == nil && l.norms(m, qkv, gate, x) && l.turns(m, turn, part[*program.Product](qkv).Out, attend)
	for _, f := range []*program.Fused{qkv, out, gate, down} {
		ok = ok && m.held.Codes(part[*program.Product](f).Weight) == program.NoCodes
	}
	for _, f := range []*program.Fused{out, down} {
		ok = ok && part[*program.Add](f).X == x
	}
	ok = ok && part[*program.Product](out).In == attend.Out && part[*program.Product](down).In == part[*program.Gate](gate).Out
	if !ok {
		return nil
	}
	weight := func(f *program.Fused) kernel.Ptr { return m.weights[part[*program.Product](f).Weight] }
	l.matrices = kernel.PassMatrices{QKV: weight(qkv), O: weight(out), GateUp: weight(gate), Down: weight(down)}
	return l
}

// passHead has logits made of the residual stream's row, if they are as the kernel makes them.
func (c *compiler) passHead(p *onePass, a *kernel.PassArgs, f *program.Fused, x *program.Value) bool {
	gather, norm, head := part[*program.Gather](f), part[*program.Norm](f), part[*program.Product](f)
	if gather == nil || gather.In != x || norm.Eps != a.Eps || !kernel.PassHeadFits(head.Weight.Out()) || c.held.Codes(head.Weight) != program.NoCodes || c.elements[head.Out] != f32 {
		return false
	}
	p.matrices = append(p.matrices, kernel.PassHead(c.weights[head.Weight], head.Weight.Out(), x.Width))
	a.HeadNorm, a.Logits, a.Vocab = c.weights[norm.Weight], c.value(head.Out, f32), int32(head.Weight.Out())
	return true
}

// fusedAs is an op if it is of a rule.
func fusedAs(op program.Op, rule *program.Rule) *program.Fused {
	if f, is := op.(*program.Fused); is && f.Rule == rule {
		return f
	}
	return nil
}

// norms takes the norms before the products, both of the residual stream, all with one
// epsilon.
func (l *passLayer) norms(m *machine, qkv, gate *program.Fused, x *program.Value) bool {
	first, second := part[*program.Norm](qkv), part[*program.Norm](gate)
	l.at.Norm, l.at.MLPNorm = m.weights[first.Weight], m.weights[second.Weight]
	return part[*program.Gather](qkv) == nil && first.In == x && second.In == x && second.Eps == l.eps
}

// turns takes what comes between the product and attention.
func (l *passLayer) turns(m *machine, f *program.Fused, qkv *program.Value, attend *program.Attend) bool {
	rope, store := part[*program.Rope](f), part[*program.Store](f)
	query, key, width := rope.X[0], store.Key, m.shape.HeadDim
	l.rotary, l.at.KV = rope.Rotary, m.caches[store.Cache]
	ok := query.Whole() == qkv && query.At == 0 && key.At == query.Width && store.Value.At == key.At+key.Width && qkv.Width == store.Value.At+store.Value.Width &&
		rope.HeadDim == width && rope.Rotary.Dims == width && attend.Query == query && attend.Cache == store.Cache && attend.Heads == m.shape.Heads &&
		store.Cache.Heads == m.shape.KVHeads && store.Cache.ValueDim == width
	for _, op := range f.Ops {
		switch o := op.(type) {
		case *program.AddBias:
			l.at.Bias, ok = m.weights[o.Bias], ok && o.X == qkv
		case *program.Norm:
			ok = ok && o.Eps == l.eps && (o.In == query || o.In == key)
			if o.In == query {
				l.at.QNorm = m.weights[o.Weight]
			} else {
				l.at.KNorm = m.weights[o.Weight]
			}
		}
	}
	return ok
}

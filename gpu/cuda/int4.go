package cuda

import (
	"math"

	"github.com/troupe-llm/troupe/gpu/kernel"
	"github.com/troupe-llm/troupe/gpu/kernel/lower"
	"github.com/troupe-llm/troupe/gpu/program"
)

// fours is what products of weights of 4 bits compute in.
type fours struct {
	partial, arrived kernel.Ptr // kernel.Int4Scratch
	// wide is the weight of one product in bfloat16.
	wide kernel.Ptr
	// order is the order that some weights have their inputs in: i32 [in].
	order map[*program.Weight]kernel.Ptr
}

// int4Product multiplies by weights of 4 bits, to out or in addition to it; with a gate
// that is what the gate makes.
func (c *compiler) int4Product(o *program.Product, gate *program.Gate, out *program.Value, element int, add bool) run {
	c.need(element == f32 || !add, "%s is added to, in bfloat16", out)
	x, cast := c.inOrder(o)
	a := kernel.Int4Args{
		W: c.weights[o.Weight], X: x, Y: c.value(out, element), Partial: c.fours.partial, Arrived: c.fours.arrived,
		In: int32(o.In.Width), Out: int32(o.Weight.Out()), Ld: int32(columns(out)),
	}
	switch {
	case add:
		a.Form = kernel.Int4Adds
	case element == bf16:
		a.Form = kernel.Int4Rounded
	}
	q, group, processors, hopper := c.kernels, c.held.Of(o.Weight).Columns, c.blocks/2, c.shape.Hopper
	wide, from := c.widened4(o, gate, out, a)
	return func(w *work) error {
		if cast != nil {
			if err := cast(w); err != nil {
				return err
			}
		}
		n := w.n(out)
		if n >= from {
			return wide(w)
		}
		a := a
		a.N = int32(n)
		return kernel.Int4Product(q, a, group, gate != nil, processors, hopper)
	}
}

// widened4 is the same by cuBLASLt, from so many rows on.
func (c *compiler) widened4(o *program.Product, gate *program.Gate, out *program.Value, a kernel.Int4Args) (wide run, from int) {
	from, most := lower.Int4Widened, c.rows(out.Rows, out.PerToken)
	if c.shape.Hopper == 0 {
		from = kernel.MaxInt4Few + 1
	}
	if most < from {
		return nil, math.MaxInt
	}
	c.wideBytes = max(c.wideBytes, bf16*o.Weight.Elements())
	sums := out
	if gate != nil {
		sums = o.Out
	}
	f := factors{
		product: product{in: o.In.Width, out: o.Weight.Out(), ld: columns(sums), float: a.Form != kernel.Int4Rounded}, w: c.fours.wide, x: a.X, y: a.Y,
		add: a.Form == kernel.Int4Adds, most: most,
	}
	if gate != nil {
		f.y = c.value(sums, bf16)
	}
	c.loadFrom(o.Name(), f, from)
	q, multiply, group := c.kernels, c.multiply, c.held.Of(o.Weight).Columns
	widen := kernel.Int4WidenArgs{W: a.W, Y: c.fours.wide, In: a.In, Out: a.Out}
	return func(w *work) error {
		if err := kernel.Int4Widen(q, widen, group); err != nil {
			return err
		}
		f := f
		f.n = w.n(out)
		if err := multiply(f); err != nil || gate == nil {
			return err
		}
		return kernel.SiluMul(q, kernel.SiluArgs{GateUp: f.y, Out: a.Y, Intermediate: a.Out / 2}, f.n)
	}, from
}

// inOrder is what a product reads, in bfloat16 and in the order of its weight's inputs:
// where it lies, or where cast copies it.
func (c *compiler) inOrder(o *program.Product) (at kernel.Ptr, cast run) {
	order := c.fours.order[o.Weight]
	if order == 0 {
		return c.rounded(o.In)
	}
	c.castRows = max(c.castRows, bf16*int64(c.rows(o.In.Rows, o.In.PerToken))*int64(o.In.Width))
	q, a := c.kernels, kernel.Int4OrderArgs{X: c.view(o.In), Order: order, Y: c.cast, In: int32(o.In.Width)}
	return c.cast, func(w *work) error { return kernel.Int4Order(q, a, w.n(o.In)) }
}

// int4Gate is a product of weights of 4 bits and its gate.
func (c *compiler) int4Gate(f *program.Fused) run {
	gate := part[*program.Gate](f)
	return c.int4Product(part[*program.Product](f), gate, gate.Out, bf16, false)
}

package cuda

import (
	"math"

	"github.com/troupe-llm/troupe/gpu/kernel"
	"github.com/troupe-llm/troupe/gpu/program"
)

// view is a value, whole or columns of another, of whatever elements.
func (c *compiler) view(v *program.Value) kernel.View {
	whole := v.Whole()
	element := c.elements[whole]
	c.need(element != 0, "%s has no memory of its own", v.Name)
	view := kernel.View{At: c.values[whole].Plus(int64(element * v.At)), Stride: int32(columns(whole))}
	if element == bf16 {
		view.Half = 1
	}
	return view
}

func (c *compiler) addBias(o *program.AddBias) run {
	q, a := c.kernels, kernel.AddBiasArgs{X: c.view(o.X), Bias: c.weights[o.Bias], Width: int32(o.X.Width)}
	return func(w *work) error {
		a := a
		a.Rows = int32(w.n(o.X))
		return kernel.AddBias(q, a)
	}
}

func (c *compiler) addRows(o *program.Add) run {
	q, a := c.kernels, kernel.AddRowsArgs{X: c.view(o.X), Y: c.view(o.Y), Width: int32(o.X.Width), Scale: o.Scale}
	return func(w *work) error {
		a := a
		a.Rows = int32(w.n(o.X))
		return kernel.AddRows(q, a)
	}
}

func (c *compiler) scale(o *program.Scale) run {
	return c.scaleRows(o.X, kernel.ScaleArgs{X: c.view(o.X), By: o.By})
}

func (c *compiler) positionScale(o *program.PositionScale) run {
	c.need(o.X.Rows == program.Tokens, "rows of %s have no positions", o.X)
	c.need(o.Original > 0 && o.Original <= math.MaxInt32, "positions in steps of %d", o.Original)
	return c.scaleRows(o.X, kernel.ScaleArgs{X: c.view(o.X), Positions: c.positions, By: float32(o.Beta), Original: int32(o.Original)})
}

func (c *compiler) scaleRows(x *program.Value, a kernel.ScaleArgs) run {
	q := c.kernels
	a.Width = int32(x.Width)
	return func(w *work) error {
		a := a
		a.Rows = int32(w.n(x))
		return kernel.ScaleRows(q, a)
	}
}

func (c *compiler) multiplyRows(o *program.Multiply) run {
	c.need(o.Activation == program.SiLU || o.Activation == program.Sigmoid, "an activation that the kernel has not: it has SiLU and the sigmoid")
	c.need(o.By.Width == 1 || o.By.Width == o.X.Width, "%s by %s", o.X, o.By)
	q, a := c.kernels, kernel.MultiplyArgs{
		X: c.view(o.X), By: c.view(o.By), Width: int32(o.X.Width), One: flagOf(o.By.Width == 1), Silu: flagOf(o.Activation == program.SiLU),
	}
	return func(w *work) error {
		a := a
		a.Rows = int32(w.n(o.X))
		return kernel.MultiplyRows(q, a)
	}
}

// flagOf is 1 for true, as kernels take it.
func flagOf(b bool) int32 {
	if b {
		return 1
	}
	return 0
}

// gather takes the rows that are looked at.
func (c *compiler) gather(o *program.Gather) run {
	q, a := c.kernels, kernel.CopyArgs{From: c.view(o.In), To: c.view(o.Out), Heads: 1, Width: int32(o.In.Width)}
	return func(w *work) error {
		a := a
		a.Which, a.Rows = w.rows, int32(w.n(o.Out))
		return kernel.CopyRows(q, a)
	}
}

// headsAt is the view of a value whose first head begins at its first column.
func (c *compiler) headsAt(h program.Heads) kernel.View {
	v := *h.Value
	if v.Base == nil {
		v.Base = h.Value
	}
	v.At += h.At
	return c.view(&v)
}

func (c *compiler) copyHeads(o *program.CopyHeads) run {
	heads := o.In.Value.Width / o.In.Stride
	c.need(o.In.Width == o.Out.Width && heads == o.Out.Value.Width/o.Out.Stride, "%d heads of %d to %s in heads of %d", heads, o.In.Width, o.Out.Value, o.Out.Width)
	q, a := c.kernels, kernel.CopyArgs{
		From: c.headsAt(o.In), To: c.headsAt(o.Out), Heads: int32(heads), Width: int32(o.In.Width), FromStride: int32(o.In.Stride), ToStride: int32(o.Out.Stride),
	}
	return func(w *work) error {
		a := a
		a.Rows = int32(w.n(o.Out.Value))
		return kernel.CopyRows(q, a)
	}
}

func (c *compiler) headProduct(o *program.HeadProduct) run {
	c.vectors("inputs of heads", o.In.Width)
	c.need(o.In.Stride%8 == 0 && o.In.At%8 == 0 && columns(o.In.Value.Whole())%8 == 0, "heads of %d, %d apart from %d on; the kernel takes multiples of 8", o.In.Width, o.In.Stride, o.In.At)
	q, heads := c.kernels, o.Weight.Experts()
	a := kernel.HeadProductArgs{
		X: c.headsAt(o.In), Y: c.headsAt(o.Out), W: c.weights[o.Weight], In: int32(o.Weight.In()), Out: int32(o.Weight.Out()),
		InStride: int32(o.In.Stride), OutStride: int32(o.Out.Stride),
	}
	return func(w *work) error {
		a := a
		a.Tokens = int32(w.n(o.Out.Value))
		return kernel.HeadProduct(q, a, heads)
	}
}

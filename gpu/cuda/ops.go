package cuda

import (
	"github.com/troupe-llm/troupe/gpu/kernel"
	"github.com/troupe-llm/troupe/gpu/program"
)

// part is an op of a type within a fused one, of which its rule says that it is
// there.
func part[T program.Op](f *program.Fused) T {
	op, _ := program.One[T](f)
	return op
}

func (c *compiler) embed(o *program.Embed) run {
	c.vectors("rows", o.Out.Width)
	q, a := c.kernels, kernel.EmbedArgs{Tokens: c.tokens, Table: c.weights[o.Table], Out: c.value(o.Out, f32), Hidden: int32(o.Out.Width), Scale: o.Scale, First: int32(o.First), Rows: int32(o.Table.Out())}
	return func(w *work) error { return kernel.Embed(q, a, w.tokens) }
}

// norm is of all rows of what it reads, or of those that are looked at.
func (c *compiler) norm(o *program.Norm, of *program.Gather) run {
	width, x := o.In.Width, o.In
	if of != nil {
		x = of.In
	} else if !c.fromResidual(o) {
		return c.groupNorm(o)
	}
	if of == nil && c.coding(o.Out) != program.NoCodes {
		return c.normCodes(o, 0, sums{})
	}
	c.wholeRows(o)
	c.need(width <= kernel.MaxHidden, "rows of %d; the kernel takes %d at most", width, kernel.MaxHidden)
	// Behind a norm are products: those of few rows by 4 bits have much to copy before they wait.
	q, fours := c.kernels, c.shape.Int4
	a := kernel.NormArgs{X: c.value(x, f32), W: c.weights[o.Weight], Y: c.value(o.Out, bf16), Hidden: int32(width), Eps: o.Eps}
	return func(w *work) error {
		a := a
		if of != nil {
			a.Rows = w.rows
		}
		if fours && w.n(o.Out) <= kernel.MaxInt4Few {
			a.Early = 1
		}
		return kernel.RMSNorm(q, a, w.n(o.Out))
	}
}

// fromResidual says of a norm that it is of whole rows of float32, to others of
// bf16.
func (c *compiler) fromResidual(o *program.Norm) bool {
	return o.In != o.Out && o.Group == o.In.Width && o.In.Base == nil && o.Out.Base == nil && c.elements[o.In] == f32 && c.elements[o.Out] == bf16
}

// groupNorm is any norm, of rows or of groups of their columns.
func (c *compiler) groupNorm(o *program.Norm) run {
	c.vectors("groups", o.Group)
	c.need(o.Group <= kernel.MaxHidden, "groups of %d; the kernel takes %d at most", o.Group, kernel.MaxHidden)
	groups := o.In.Width / o.Group
	q, a := c.kernels, kernel.GroupNormArgs{
		X: c.view(o.In), Y: c.view(o.Out), W: c.weights[o.Weight], Groups: int32(groups), Group: int32(o.Group), Every: flagOf(o.Weight.Out() > o.Group), Eps: o.Eps,
	}
	return func(w *work) error {
		a := a
		a.Rows = int32(w.n(o.Out))
		return kernel.GroupNorm(q, a)
	}
}

func (c *compiler) gatherNorm(f *program.Fused) run {
	return c.norm(part[*program.Norm](f), part[*program.Gather](f))
}

// wholeRows checks that a norm is of whole rows, each element with a weight.
func (c *compiler) wholeRows(o *program.Norm) {
	c.vectors("rows", o.In.Width)
	c.need(o.In != o.Out && o.Group == o.In.Width, "a norm of every %d of %d, in place: %v; the kernel takes rows, to others", o.Group, o.In.Width, o.In == o.Out)
}

// product multiplies by cuBLASLt, to out or in addition to it.
func (c *compiler) product(o *program.Product, out *program.Value, add bool) run {
	element := f32
	if c.elements[out] == bf16 {
		element = bf16
	}
	switch c.held.Codes(o.Weight) {
	case program.CodesByOutput, program.CodesByBlock:
		return c.codesProduct(o, out, element, c.value(out, element), add)
	case program.CodesInGroups:
		return c.int4Product(o, nil, out, element, add)
	}
	f, cast := c.factors(o, out, element, add)
	c.load(o.Name(), f)
	multiply := c.multiply
	return func(w *work) error {
		f := f
		f.n = w.n(out)
		if cast != nil {
			if err := cast(w); err != nil {
				return err
			}
		}
		return multiply(f)
	}
}

// factors are those of a product by a weight that is no codes, and what makes them of
// what it reads; nil: nothing has to.
func (c *compiler) factors(o *program.Product, out *program.Value, element int, add bool) (factors, run) {
	x, cast := c.rounded(o.In)
	f := factors{
		product: product{in: o.In.Width, out: out.Width, ld: columns(out), float: element == f32},
		w:       c.weights[o.Weight], x: x, y: c.value(out, element), add: add, most: c.rows(out.Rows, out.PerToken),
	}
	c.vectors("inputs", f.in)
	c.need(f.ld%4 == 0, "%d outputs; the product takes multiples of 4", f.out)
	return f, cast
}

// rounded is a value as products read it: where it lies, if in bf16, else
// memory of the machine's own, to which cast copies it.
func (c *compiler) rounded(v *program.Value) (at kernel.Ptr, cast run) {
	if c.elements[v.Whole()] == bf16 {
		return c.value(v, bf16), nil
	}
	c.castRows = max(c.castRows, bf16*int64(c.rows(v.Rows, v.PerToken))*int64(v.Width))
	q, a := c.kernels, kernel.CopyArgs{From: c.view(v), To: kernel.View{At: c.cast, Stride: int32(v.Width), Half: 1}, Heads: 1, Width: int32(v.Width)}
	return c.cast, func(w *work) error {
		a := a
		a.Rows = int32(w.n(v))
		return kernel.CopyRows(q, a)
	}
}

// productAdd adds a product to the residual stream.
func (c *compiler) productAdd(f *program.Fused) run {
	o, x := part[*program.Product](f), part[*program.Add](f).X
	if !c.skinny {
		return c.product(o, x, true)
	}
	q, blocks := c.kernels, c.blocks
	a := c.skinnyArgs(o, x, f32)
	a.X = c.value(o.In, bf16)
	return func(w *work) error {
		a := a
		a.N = int32(w.n(x))
		return kernel.SkinnyAdd(q, a, blocks)
	}
}

// skinnyArgs are a product of few rows, to out.
func (c *compiler) skinnyArgs(o *program.Product, out *program.Value, element int) kernel.SkinnyArgs {
	s := c.scales[o.Weight]
	return kernel.SkinnyArgs{
		W: c.weights[o.Weight], Scales: s.at, ScaleStride: s.stride, Y: c.value(out, element), In: int32(o.In.Width), Out: int32(o.Out.Width),
		Ld: int32(columns(o.Out)),
	}
}

// normed completes them where the rows are normed first.
func (c *compiler) normed(a kernel.SkinnyArgs, o *program.Norm, x *program.Value) kernel.SkinnyArgs {
	c.wholeRows(o)
	a.X, a.Norm, a.Eps = c.value(x, f32), c.weights[o.Weight], o.Eps
	return a
}

func (c *compiler) skinnyNorm(f *program.Fused) run {
	o, norm := part[*program.Product](f), part[*program.Norm](f)
	x, of := norm.In, part[*program.Gather](f)
	if of != nil {
		x = of.In
	}
	element := c.elements[o.Out]
	q, blocks, a := c.kernels, c.blocks, c.normed(c.skinnyArgs(o, o.Out, element), norm, x)
	a.Rounded = flagOf(element == bf16)
	return func(w *work) error {
		a := a
		a.N = int32(w.n(o.Out))
		if of != nil {
			a.Rows = w.rows
		}
		return kernel.SkinnyNorm(q, a, blocks)
	}
}

func (c *compiler) skinnyGate(f *program.Fused) run {
	o, norm, out := part[*program.Product](f), part[*program.Norm](f), part[*program.Gate](f).Out
	c.need(o.Weight.Out()%32 == 0, "%d outputs; the kernel takes multiples of 32", o.Weight.Out())
	q, blocks, a := c.kernels, c.blocks, c.normed(c.skinnyArgs(o, out, bf16), norm, norm.In)
	return func(w *work) error {
		a := a
		a.N = int32(w.n(out))
		return kernel.SkinnyGate(q, a, blocks)
	}
}

func (c *compiler) gate(o *program.Gate) run {
	c.vectors("gates", o.Out.Width)
	if c.gatesCodes(o) {
		return c.gateCodes(o)
	}
	q, a := c.kernels, kernel.SiluArgs{GateUp: c.value(o.In, bf16), Out: c.value(o.Out, bf16), Intermediate: int32(o.Out.Width)}
	multiply := kernel.SiluMul
	switch {
	case o.Activation == program.GELU:
		multiply = kernel.GeluMul
	case o.Activation == program.Clamped:
		multiply = kernel.ClampedMul
	case o.Activation != program.SiLU:
		c.need(false, "an activation that the kernels have not: they have SiLU, GELU and the clamped gate")
	case o.Out.Rows == program.Entries:
		multiply = kernel.SiluMulEntries
	}
	return func(w *work) error { return multiply(q, a, w.n(o.Out)) }
}

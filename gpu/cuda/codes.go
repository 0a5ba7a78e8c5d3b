package cuda

import (
	"slices"

	"github.com/troupe-llm/troupe/gpu/kernel"
	"github.com/troupe-llm/troupe/gpu/kernel/lower"
	"github.com/troupe-llm/troupe/gpu/program"
)

// coded is what is known, while a pass of many rows is compiled, of values
// that are not what ops say: codes of E4M3 where products of codes alone read
// them, which are made where the values are, and sums whose scales their reader
// multiplies by.
type coded struct {
	readers map[*program.Value][]program.Op
	codes   map[*program.Value]codes
	sums    map[*program.Value]sums
	turn    int // of machine.rowScales
}

// codes are a value's. By rows their scales stay until three other values have been
// quantised; by blocks they lie behind the codes.
type codes struct {
	kernel.Codes
	blocks bool
	most   int // rows that there is memory for
}

// of is the codes of a pass of n rows.
func (c codes) of(n int) kernel.Codes {
	if c.blocks {
		c.Stride = int32(rounded(n, c.most))
	}
	return c.Codes
}

// sums are what a value has to be multiplied by: f32 by row and by column.
type sums struct{ rows, columns kernel.Ptr }

func newCoded(ops []program.Op) coded {
	q := coded{map[*program.Value][]program.Op{}, map[*program.Value]codes{}, map[*program.Value]sums{}, 0}
	for _, op := range ops {
		for _, v := range op.Uses().Reads {
			if list := q.readers[v.Whole()]; len(list) == 0 || list[len(list)-1] != op { // once, of whichever columns
				q.readers[v.Whole()] = append(list, op)
			}
		}
	}
	return q
}

// coding is how a value is quantised where it is made: as all its readers want it,
// which are products of codes.
func (c *compiler) coding(v *program.Value) (kind program.Codes) {
	if c.skinny || v.Base != nil {
		return program.NoCodes
	}
	for i, op := range c.readers[v] {
		if f, is := op.(*program.Fused); is {
			op = f.Ops[0]
		}
		o, is := op.(*program.Product)
		if !is || o.In != v || i > 0 && c.held.Codes(o.Weight) != kind || !c.held.Codes(o.Weight).FP8() {
			return program.NoCodes
		}
		kind = c.held.Codes(o.Weight)
	}
	return kind
}

// place is where a value's codes go, from an address on.
func (c *compiler) place(v *program.Value, at kernel.Ptr, kind program.Codes) codes {
	k := codes{Codes: kernel.Codes{At: at}, blocks: kind == program.CodesByBlock, most: c.rows(v.Rows, v.PerToken)}
	if k.blocks {
		k.Scales = at.Plus(int64(k.most) * int64(v.Width))
	} else {
		k.Scales = c.rowScales[c.turn%len(c.rowScales)]
		c.turn++
	}
	return k
}

// read is a value as a product of codes reads it: quantised where it was made, or
// else by cast.
func (c *compiler) read(v *program.Value, kind program.Codes) (k codes, cast run) {
	if k, made := c.codes[v]; made {
		return k, nil
	}
	c.need(v.Width <= kernel.MaxCoded, "%s; the kernel quantises rows of %d at most", v, kernel.MaxCoded)
	k = c.place(v, c.cast, kind)
	c.castRows = max(c.castRows, int64(k.most)*int64(v.Width+4*v.Width/kernel.CodeGroup))
	q, a := c.kernels, kernel.CodeRowsArgs{X: c.view(v), Width: int32(v.Width)}
	return k, func(w *work) error {
		a := a
		n := w.n(v)
		a.Y = k.of(n)
		return kernel.CodeRows(q, a, n)
	}
}

// codesProduct multiplies codes by cuBLASLt, to out or in addition to it. Scales by
// vectors take it 10 to 20 % longer than none, with few rows twice as long: where
// who reads the sums can multiply by them, it does.
func (c *compiler) codesProduct(o *program.Product, out *program.Value, element int, at kernel.Ptr, add bool) run {
	x, cast := c.read(o.In, c.held.Codes(o.Weight))
	f := factors{
		product: product{in: o.In.Width, out: out.Width, ld: columns(out), float: element == f32, scaling: byVectors},
		w:       c.weights[o.Weight], ws: c.scales[o.Weight].at, x: x.At, xs: x.Scales, y: at, add: add, most: c.rows(out.Rows, out.PerToken),
	}
	if x.blocks {
		f.scaling = byBlocks
	} else if !add && c.multiplies(out) { // in bf16, which takes a tenth less than float32
		f.scaling, f.float, c.sums[out] = bare, false, sums{x.Scales, f.ws}
	}
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

// multiplies says whether what reads sums multiplies them by their scales.
func (c *compiler) multiplies(v *program.Value) bool {
	if c.skinny || v.Base != nil || len(c.readers[v]) == 0 {
		return false
	}
	others := c.readers[v][1:]
	switch o := c.readers[v][0].(type) {
	case *program.Gate:
		return len(others) == 0 && c.gatesCodes(o)
	case *program.Fused: // attention finds queries where RoPE leaves them
		return o.Rule == lower.RopeWrite && !slices.ContainsFunc(others, func(op program.Op) bool {
			a, is := op.(*program.Attend)
			return !is || a.Query != part[*program.Rope](o).X[0]
		})
	}
	return false
}

// gatesCodes says of a gate that its result is quantised at once.
func (c *compiler) gatesCodes(o *program.Gate) bool {
	return c.coding(o.Out) != program.NoCodes && o.Activation == program.SiLU && o.Out.Rows != program.Entries && o.Out.Width <= kernel.MaxCoded
}

func (c *compiler) gateCodes(o *program.Gate) run {
	y, s := c.place(o.Out, c.value(o.Out, bf16), c.coding(o.Out)), c.sums[o.In]
	c.codes[o.Out] = y
	blocks := c.blocks / 2
	q, a := c.kernels, kernel.SiluCodesArgs{GateUp: c.value(o.In, bf16), RowScales: s.rows, ColumnScales: s.columns, Intermediate: int32(o.Out.Width)}
	return func(w *work) error {
		a := a
		n := w.n(o.Out)
		a.Y = y.of(n)
		return kernel.SiluCodes(q, a, n, blocks)
	}
}

// normCodes is a norm whose result is quantised at once, if all that read it want
// it so, after sums that lie somewhere were added to its rows; 0: none.
func (c *compiler) normCodes(o *program.Norm, at kernel.Ptr, s sums) run {
	c.wholeRows(o)
	width, kind := o.In.Width, c.coding(o.Out)
	c.need(width <= kernel.MaxHidden, "rows of %d; the kernel takes %d at most", width, kernel.MaxHidden)
	y := codes{Codes: kernel.Codes{At: c.value(o.Out, bf16)}}
	if kind != program.NoCodes {
		y = c.place(o.Out, y.At, kind)
		c.codes[o.Out] = y
	}
	q, a := c.kernels, kernel.NormCodesArgs{
		X: c.value(o.In, f32), W: c.weights[o.Weight], Sums: at, RowScales: s.rows, ColumnScales: s.columns,
		Hidden: int32(width), Rounded: flagOf(kind == program.NoCodes), Eps: o.Eps,
	}
	return func(w *work) error {
		a := a
		n := w.n(o.Out)
		a.Y = y.of(n)
		return kernel.NormCodes(q, a, n)
	}
}

// productAddNorm adds a product of codes to the residual stream, with its scales,
// and takes the norm.
func (c *compiler) productAddNorm(f *program.Fused) run {
	o := part[*program.Product](f)
	at := c.values[o.Out]
	x, cast := c.read(o.In, program.CodesByOutput)
	p := factors{
		product: product{in: o.In.Width, out: o.Out.Width, ld: columns(o.Out), scaling: bare},
		w:       c.weights[o.Weight], x: x.At, y: at, most: c.rows(o.Out.Rows, o.Out.PerToken),
	}
	c.load(o.Name(), p)
	norm, multiply := c.normCodes(part[*program.Norm](f), at, sums{x.Scales, c.scales[o.Weight].at}), c.multiply
	return func(w *work) error {
		p := p
		p.n = w.n(o.Out)
		if cast != nil {
			if err := cast(w); err != nil {
				return err
			}
		}
		if err := multiply(p); err != nil {
			return err
		}
		return norm(w)
	}
}

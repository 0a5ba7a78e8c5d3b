package program

// Op is one operation of a pass. Ops are pointers, so that each is itself.
type Op interface {
	// Name says what is done, as timings and errors call it: "qkv", "attention".
	Name() string
	// Uses says what it reads and writes.
	Uses() Uses
	// Cost is what it must move and compute.
	Cost(*Pass) Cost
}

// Uses are an op's operands. What is changed in place is read and written.
type Uses struct {
	Reads, Writes []*Value
	Inside        []*Value // of fused ops: what none but them reads and writes
	Weights       []*Weight
	Stores, Looks *Cache // whose pages it writes; which it reads
}

func values(v ...*Value) []*Value    { return v }
func weights(w ...*Weight) []*Weight { return w }

// Embed looks up the new tokens' embeddings: out = Scale·table[token].
type Embed struct {
	Table *Weight // [vocabulary, width]
	Scale float32
	Out   *Value
	// The table has tokens from First on, of Vocab; the embeddings of others are
	// zeros. Vocab 0: all are there.
	First, Vocab int
}

func (o *Embed) Name() string { return "embed" }

func (o *Embed) Uses() Uses { return Uses{Writes: values(o.Out), Weights: weights(o.Table)} }

func (o *Embed) Cost(p *Pass) Cost {
	n := p.Rows(o.Out)
	return Cost{Weight: o.Table, Share: float64(p.Tokens) / float64(max(o.Table.Out(), o.Vocab)), Rows: n, FLOPs: n}
}

// Norm is RMSNorm of every Group elements of a row (arXiv:1910.07467):
//
//	out = in / √(mean(in²) + Eps) · weight
//
// Weight has an element for each of the group, or for each of the row.
type Norm struct {
	In, Out *Value
	Weight  *Weight
	Group   int
	Eps     float32
}

func (o *Norm) Name() string { return "norm" }

func (o *Norm) Uses() Uses {
	return Uses{Reads: values(o.In), Writes: values(o.Out), Weights: weights(o.Weight)}
}

func (o *Norm) Cost(p *Pass) Cost {
	n := p.Rows(o.In)
	return Cost{Weight: o.Weight, Share: 1, Rows: 2 * n, FLOPs: 4 * n}
}

// Product is out = in·Weightᵀ.
type Product struct {
	In, Out *Value
	Weight  *Weight // [out, in]
}

func (o *Product) Name() string { return o.Weight.Role }

func (o *Product) Uses() Uses {
	return Uses{Reads: values(o.In), Writes: values(o.Out), Weights: weights(o.Weight)}
}

func (o *Product) Cost(p *Pass) Cost {
	return Cost{
		Weight: o.Weight, Share: 1, Rows: p.Rows(o.In) + p.Rows(o.Out),
		FLOPs: 2 * p.Rows(o.In) * float64(o.Weight.Out()),
	}
}

// AddBias is x += bias, in place.
type AddBias struct {
	X    *Value
	Bias *Weight
}

func (o *AddBias) Name() string { return o.Bias.Role }

func (o *AddBias) Uses() Uses {
	return Uses{Reads: values(o.X), Writes: values(o.X), Weights: weights(o.Bias)}
}

func (o *AddBias) Cost(p *Pass) Cost {
	n := p.Rows(o.X)
	return Cost{Weight: o.Bias, Share: 1, Rows: 2 * n, FLOPs: n}
}

// Activation is the nonlinearity of a gate.
type Activation int

const (
	SiLU    Activation = iota // x·σ(x)
	GELU                      // x·(1 + tanh(√(2/π)·(x + 0.044715·x³)))/2, arXiv:1606.08415
	Clamped                   // see Gate
	Sigmoid                   // σ(x)
)

// Gate is out = act(in[:n])·in[n:], row by row, of rows of 2n. Clamped is
//
//	g·σ(1.702·g)·(u + 1)    g = min(in[:n], 7), u = in[n:] between −7 and 7
type Gate struct {
	In, Out    *Value
	Activation Activation
}

func (o *Gate) Name() string { return "gate" }

func (o *Gate) Uses() Uses { return Uses{Reads: values(o.In), Writes: values(o.Out)} }

func (o *Gate) Cost(p *Pass) Cost {
	n := p.Rows(o.Out)
	return Cost{Rows: 3 * n, FLOPs: 4 * n}
}

// Multiply is x *= act(by), in place. By is as wide as X, or one number a row.
type Multiply struct {
	X, By      *Value
	Activation Activation // SiLU or Sigmoid
}

func (o *Multiply) Name() string { return "multiply" }

func (o *Multiply) Uses() Uses { return Uses{Reads: values(o.X, o.By), Writes: values(o.X)} }

func (o *Multiply) Cost(p *Pass) Cost {
	n := p.Rows(o.X)
	return Cost{Rows: 2*n + p.Rows(o.By), FLOPs: 4 * n}
}

// Scale is x *= By, in place.
type Scale struct {
	X  *Value
	By float32
}

func (o *Scale) Name() string { return "scale" }

func (o *Scale) Uses() Uses { return Uses{Reads: values(o.X), Writes: values(o.X)} }

func (o *Scale) Cost(p *Pass) Cost {
	n := p.Rows(o.X)
	return Cost{Rows: 2 * n, FLOPs: n}
}

// Add is x += Scale·y, in place.
type Add struct {
	X, Y  *Value
	Scale float32
}

func (o *Add) Name() string { return "add" }

func (o *Add) Uses() Uses { return Uses{Reads: values(o.X, o.Y), Writes: values(o.X)} }

func (o *Add) Cost(p *Pass) Cost {
	n := p.Rows(o.X)
	return Cost{Rows: 3 * n, FLOPs: n}
}

// Gather takes the rows whose logits are looked at: nobody looks at the others'.
type Gather struct {
	In, Out *Value
}

func (o *Gather) Name() string { return "gather" }

func (o *Gather) Uses() Uses { return Uses{Reads: values(o.In), Writes: values(o.Out)} }

func (o *Gather) Cost(p *Pass) Cost { return Cost{Rows: 2 * p.Rows(o.Out)} }

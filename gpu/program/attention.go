package program

// Rope turns heads in place, those of each of X.
type Rope struct {
	X       []*Value
	HeadDim int
	Rotary  *Rotary
}

func (o *Rope) Name() string { return "rope" }

func (o *Rope) Uses() Uses { return Uses{Reads: o.X, Writes: o.X} }

func (o *Rope) Cost(p *Pass) (c Cost) {
	for _, x := range o.X {
		n := p.Rows(x)
		c.Rows += 2 * n
		c.FLOPs += 3 * n * float64(o.Rotary.Dims) / float64(o.HeadDim)
	}
	return c
}

// PositionScale is x *= 1 + Beta·ln(1 + ⌊position/Original⌋), in place: queries
// grow beyond the positions that were trained on.
type PositionScale struct {
	X        *Value
	Beta     float64
	Original int
}

func (o *PositionScale) Name() string { return "position_scale" }

func (o *PositionScale) Uses() Uses { return Uses{Reads: values(o.X), Writes: values(o.X)} }

func (o *PositionScale) Cost(p *Pass) Cost {
	n := p.Rows(o.X)
	return Cost{Rows: 2 * n, FLOPs: n}
}

// Heads are columns of a value, the same of each head: Width from At on, Stride
// apart.
type Heads struct {
	Value             *Value
	At, Width, Stride int
}

// HeadProduct multiplies each head by its matrix: out_h = in_h·Weight[h]ᵀ. Latent
// attention takes queries to the space of its compressed keys so, and what comes
// of compressed values back (arXiv:2405.04434).
type HeadProduct struct {
	In, Out Heads
	Weight  *Weight // [heads, out, in]
}

func (o *HeadProduct) Name() string { return o.Weight.Role }

func (o *HeadProduct) Uses() Uses {
	return Uses{Reads: values(o.In.Value), Writes: values(o.Out.Value), Weights: weights(o.Weight)}
}

func (o *HeadProduct) Cost(p *Pass) Cost {
	heads := float64(p.Tokens * o.Weight.Experts())
	in, out := float64(o.Weight.In()), float64(o.Weight.Out())
	return Cost{Weight: o.Weight, Share: 1, Rows: heads * (in + out), FLOPs: 2 * heads * in * out}
}

// CopyHeads copies columns of each head.
type CopyHeads struct{ In, Out Heads }

func (o *CopyHeads) Name() string { return "copy_heads" }

func (o *CopyHeads) Uses() Uses { return Uses{Reads: values(o.In.Value), Writes: values(o.Out.Value)} }

func (o *CopyHeads) Cost(p *Pass) Cost {
	return Cost{Rows: 2 * float64(p.Tokens*o.In.Value.Width/o.In.Stride*o.In.Width)}
}

// Store enters keys and values into the cache's pages.
type Store struct {
	Key, Value *Value
	Cache      *Cache
}

func (o *Store) Name() string { return "store" }

func (o *Store) Uses() Uses { return Uses{Reads: values(o.Key, o.Value), Stores: o.Cache} }

func (o *Store) Cost(p *Pass) Cost {
	n := float64(p.Tokens * o.Cache.Elements())
	return Cost{Rows: n, Cache: n}
}

// Attend is attention of queries over the cached keys and values of their
// request up to themselves, at most Cache.Window of them:
//
//	out = Σ_t softmax_t(Scale · q·K_t) V_t
//
// Query head h looks at cache head h/(Heads/Cache.Heads). With Sinks the sum under
// the softmax has exp(Sinks[h]) more, which no value comes from
// (arXiv:2309.17453). What is stored in the pass is seen: Store comes first.
type Attend struct {
	Query, Out *Value
	Cache      *Cache
	Heads      int
	Scale      float32
	Sinks      *Weight // [Heads]; nil: none
}

func (o *Attend) Name() string { return "attention" }

func (o *Attend) Uses() Uses {
	u := Uses{Reads: values(o.Query), Writes: values(o.Out), Looks: o.Cache}
	if o.Sinks != nil {
		u.Weights = weights(o.Sinks)
	}
	return u
}

func (o *Attend) Cost(p *Pass) Cost {
	look := p.Look(o.Cache.Window)
	c := Cost{
		Rows: p.Rows(o.Query) + p.Rows(o.Out), Cache: look.Positions * float64(o.Cache.Elements()),
		FLOPs: o.FLOPs(look.Pairs),
	}
	if o.Sinks != nil {
		c.Weight, c.Share = o.Sinks, 1
	}
	return c
}

// FLOPs is what so many pairs of a query and a position cost: a product with the
// key and one with the value for every head.
func (o *Attend) FLOPs(pairs float64) float64 {
	return 2 * float64(o.Heads) * float64(o.Cache.KeyDim+o.Cache.ValueDim) * pairs
}

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

// Store enters keys and values into the cache's pages.
type Store struct {
	Key, Value *Value
	Cache      *Cache
}

func (o *Store) Name() string { return "store" }

func (o *Store) Uses() Uses { return Uses{Reads: values(o.Key, o.Value), Stores: o.Cache} }

func (o *Store) Cost(p *Pass) Cost {
	n := p.Rows(o.Key) + p.Rows(o.Value)
	return Cost{Rows: n, Cache: n}
}

// Attend is attention of queries over the cached keys and values of their
// request up to themselves, at most Cache.Window of them:
//
//	out = Σ_t softmax_t(Scale · q·K_t) V_t
//
// Query head h looks at cache head h/(Heads/Cache.Heads). What is stored in the
// pass is seen: Store comes first.
type Attend struct {
	Query, Out *Value
	Cache      *Cache
	Heads      int
	Scale      float32
}

func (o *Attend) Name() string { return "attention" }

func (o *Attend) Uses() Uses {
	return Uses{Reads: values(o.Query), Writes: values(o.Out), Looks: o.Cache}
}

func (o *Attend) Cost(p *Pass) Cost {
	look := p.Look(o.Cache.Window)
	return Cost{
		Rows: p.Rows(o.Query) + p.Rows(o.Out), Cache: look.Positions * float64(o.Cache.Elements()),
		FLOPs: o.FLOPs(look.Pairs),
	}
}

// FLOPs is what so many pairs of a query and a position cost: a product with the
// key and one with the value for every head.
func (o *Attend) FLOPs(pairs float64) float64 {
	return 2 * float64(o.Heads) * float64(o.Cache.KeyDim+o.Cache.ValueDim) * pairs
}

package program

import (
	"fmt"
	"slices"
)

// cuts are which columns of values a rank has.
type cuts struct {
	p           *Program
	rank, ranks int
	block       int
	of          map[*Value][]Range // columns of the value itself; none: all of them
	views       map[*Value][]*Value
	grew        bool
	err         error
}

// cuts works out what a rank has: first where ops split, then wherever values have
// to fit.
func (p *Program) cuts(rank, ranks, block int) (*cuts, error) {
	c := &cuts{p: p, rank: rank, ranks: ranks, block: block, of: map[*Value][]Range{}, views: map[*Value][]*Value{}}
	writer, stores := map[*Value]Op{}, map[*Cache]*Store{}
	for _, op := range p.Ops {
		u := op.Uses()
		for _, list := range [][]*Value{u.Reads, u.Writes} {
			for _, v := range list {
				if v.Base != nil && !slices.Contains(c.views[v.Base], v) {
					c.views[v.Base] = append(c.views[v.Base], v)
				}
			}
		}
		for _, v := range u.Writes {
			if writer[v.Whole()] == nil {
				writer[v.Whole()] = op
			}
		}
		if st, is := op.(*Store); is {
			stores[st.Cache] = st
		}
	}
	for _, op := range p.Ops {
		if err := c.split(op, writer, stores); err != nil {
			return nil, fmt.Errorf("%s: %w", op.Name(), err)
		}
	}
	if p.Logits != nil {
		c.set(p.Logits, []Range{even(p.Logits.Width, rank, ranks, block)})
	}
	for c.grew = true; c.grew && c.err == nil; {
		c.grew = false
		for _, op := range p.Ops {
			c.spread(op)
		}
		c.join(false)
	}
	c.join(true)
	return c, c.err
}

// split decides on what an op can be split by.
func (c *cuts) split(op Op, writer map[*Value]Op, stores map[*Cache]*Store) error {
	switch o := op.(type) {
	case *Attend:
		return c.heads(o, stores[o.Cache])
	case *Delta:
		if o.Heads%c.ranks != 0 {
			return fmt.Errorf("%d heads cannot be shared by %d", o.Heads, c.ranks)
		}
		query, key := headsOf(o.Heads, o.KeyHeads, c.rank, c.ranks)
		keyDim, valueDim := o.Key.Width/o.KeyHeads, o.Value.Width/o.Heads
		for _, v := range []*Value{o.Query, o.Key} {
			c.set(v, units(key, keyDim))
		}
		for _, v := range []*Value{o.Value, o.Out} {
			c.set(v, units(query, valueDim))
		}
		for _, v := range []*Value{o.A, o.B} {
			c.set(v, units(query, 1))
		}
	case *Gate:
		if _, made := writer[o.In.Whole()].(*Product); made {
			n := o.Out.Width
			r := even(n, c.rank, c.ranks, c.block)
			if r.N == 0 {
				return fmt.Errorf("%d columns are too few for %d", n, c.ranks)
			}
			c.set(o.Out, []Range{r})
			c.set(o.In, []Range{r, {n + r.At, r.N}})
		}
	case *Route:
		if n := o.Logits.Width; n%c.ranks != 0 {
			return fmt.Errorf("%d experts cannot be shared by %d", n, c.ranks)
		}
	}
	return nil
}

// heads are those of attention and of what it looks at. One head that is shared by
// all queries, as latent attention has it, every rank keeps.
func (c *cuts) heads(o *Attend, store *Store) error {
	if o.Heads%c.ranks != 0 {
		return fmt.Errorf("%d heads cannot be shared by %d", o.Heads, c.ranks)
	}
	query, key := headsOf(o.Heads, o.Cache.Heads, c.rank, c.ranks)
	c.set(o.Query, units(query, o.Cache.KeyDim))
	c.set(o.Out, units(query, o.Cache.ValueDim))
	if !o.Cache.Shared {
		c.set(store.Key, units(key, o.Cache.KeyDim))
		c.set(store.Value, units(key, o.Cache.ValueDim))
	}
	return nil
}

// set notes which columns a value has.
func (c *cuts) set(v *Value, list []Range) {
	switch have := c.of[v]; {
	case have == nil:
		c.of[v], c.grew = list, true
	case !slices.Equal(have, list) && c.err == nil:
		c.err = fmt.Errorf("%s is to be cut at %v and at %v for %d ranks", v, have, list, c.ranks)
	}
}

// spread gives values the columns of those that they have to fit.
func (c *cuts) spread(op Op) {
	switch o := op.(type) {
	case *Norm:
		if o.Group < o.In.Width {
			c.same(o.In, o.Out)
		}
	case *Multiply:
		if o.X.Width == o.By.Width {
			c.same(o.X, o.By)
		}
	case *Conv:
		c.same(o.In, o.Out)
	case *HeadProduct:
		c.sameHeads(o.In, o.Out)
	case *CopyHeads:
		c.sameHeads(o.In, o.Out)
	}
}

func (c *cuts) same(a, b *Value) {
	if list := c.of[a]; list != nil {
		c.set(b, list)
	}
	if list := c.of[b]; list != nil {
		c.set(a, list)
	}
}

func (c *cuts) sameHeads(a, b Heads) {
	for _, pair := range [][2]Heads{{a, b}, {b, a}} {
		if list := c.of[pair[0].Value]; list != nil {
			if heads, whole := things(list, pair[0].Stride); whole {
				c.set(pair[1].Value, units(heads, pair[1].Stride))
			}
		}
	}
}

// join puts together what a value has from what its views have; at the end, of
// views that are not cut all.
func (c *cuts) join(end bool) {
	for base, views := range c.views {
		slices.SortFunc(views, func(a, b *Value) int { return a.At - b.At })
		cut, at := 0, 0
		var list []Range
		for _, v := range views {
			own := c.of[v]
			if own != nil {
				cut++
			} else {
				own = []Range{{0, v.Width}}
			}
			for _, r := range own {
				list = append(list, Range{v.At + r.At, r.N})
			}
			if cut > 0 && v.At != at && c.err == nil {
				c.err = fmt.Errorf("%s begins at column %d, behind %d", v, v.At, at)
			}
			at = v.At + v.Width
		}
		if cut == len(views) || end && cut > 0 {
			c.set(base, list)
		}
	}
}

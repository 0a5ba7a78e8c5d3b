package cuda

import (
	"math"
	"slices"
	"time"

	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/kernel"
	"github.com/troupe-llm/troupe/gpu/kernel/lower"
	"github.com/troupe-llm/troupe/gpu/program"
)

// meetings are a rank's place among those that share the model, and the memory in
// which they add up. Every rank compiles the same ops in the same order, so they
// learn each other's addresses as they go.
type meetings struct {
	rank    *device.Rank // nil: the model is whole
	links   kernel.Links
	inboxes [inboxes][kernel.MaxRanks]kernel.Ptr // of each rank
	landing landing
	// all sums where GPUs cannot reach each other's memory; nil: they can.
	all collective
	// of is where each rank has the value of an op, whatever passes it is compiled for.
	of  map[program.Op][kernel.MaxRanks]kernel.Ptr
	err error // of meeting the others
}

// collective is a library that adds up over ranks, each number once for all of them.
type collective interface {
	// sum makes n numbers, bf16 or (not half) f32, the sum over all ranks.
	sum(at kernel.Ptr, n int, half bool) error
	clear(at kernel.Ptr, bytes int64) error
}

// inboxes are so many that sums which follow each other have different ones, in a
// pass and from its last to the first of the next: see inboxOf.
const inboxes = 3

// inboxOf is which inbox the i-th of n sums of a pass takes; −1: none, for where
// there is one, it follows itself.
func inboxOf(i, n int) int {
	switch {
	case n == 1:
		return -1
	case i == 0 && n%2 == 1:
		return 2
	}
	return i % 2
}

// places are where the passes of a program have ranks meet, in order, and which of them copy
// there: they have to be the same on all ranks.
func (m *machine) places(p *program.Program) (list []string) {
	l := m.lowering(p)
	for _, tokens := range []int{l.Sent, math.MaxInt} {
		for _, op := range append(l.Body(tokens), l.Head(math.MaxInt)...) {
			f, fused := op.(*program.Fused)
			if sum, is := program.One[*program.AllReduce](op); is && fused && lower.Copies(f) {
				list = append(list, "the copied sum of "+sum.X.Name)
			} else if is {
				list = append(list, "the sum of "+sum.X.Name)
			} else if all, is := program.One[*program.AllGather](op); is {
				list = append(list, "all of "+all.In.Name)
			}
		}
	}
	return list
}

// unmet are the meetings of a rank before it meets the others, for trying what it
// would compile: every rank has all where this one has it.
func unmet(rank *device.Rank) meetings {
	if rank == nil {
		return meetings{}
	}
	l := kernel.Links{Rank: int32(rank.Index), Ranks: int32(rank.Ranks), Blocks: 1}
	return meetings{links: l, rank: &device.Rank{Index: rank.Index, Ranks: rank.Ranks, Meet: func(mine any, do func([]any)) (time.Duration, error) {
		all := make([]any, rank.Ranks)
		for i := range all {
			all[i] = mine
		}
		do(all)
		return 0, nil
	}}}
}

// addresses are where each rank has what this one has at an address.
func (m *meetings) addresses(at kernel.Ptr) (all [kernel.MaxRanks]kernel.Ptr) {
	if m.err != nil {
		return all
	}
	m.err = device.Meet(m.rank, at, func(ranks []kernel.Ptr) { copy(all[:], ranks) })
	return all
}

// addressesOf are those of an op's value.
func (m *meetings) addressesOf(op program.Op, at kernel.Ptr) [kernel.MaxRanks]kernel.Ptr {
	all, known := m.of[op]
	if !known {
		if m.of == nil {
			m.of = map[program.Op][kernel.MaxRanks]kernel.Ptr{}
		}
		all = m.addresses(at)
		m.of[op] = all
	}
	return all
}

// meets refuses what needs other ranks where there are none.
func (c *compiler) meets() bool {
	c.need(c.rank != nil, "the model is one rank's share, and there are no others")
	if c.rank == nil {
		return false
	}
	c.need(c.rank.Ranks <= kernel.MaxRanks, "%d ranks; there may be %d", c.rank.Ranks, kernel.MaxRanks)
	return c.rank.Ranks <= kernel.MaxRanks
}

// reduceAdd adds the sum of what ranks have to the residual stream.
func (c *compiler) reduceAdd(f *program.Fused) run {
	o, add := part[*program.AllReduce](f), part[*program.Add](f)
	if c.all != nil {
		return both(c.sumAll(o), c.addRows(add))
	}
	return c.reduce(o, add.X)
}

func both(first, second run) run {
	return func(w *work) error {
		if err := first(w); err != nil {
			return err
		}
		return second(w)
	}
}

// sumAll sums what ranks have in place, by the collective.
func (c *compiler) sumAll(o *program.AllReduce) run {
	view, all := c.view(o.X), c.all
	return func(w *work) error { return all.sum(view.At, w.n(o.X)*int(view.Stride), view.Half != 0) }
}

// skinnyReduce is a product of few rows and the sum of it over ranks, added to the
// residual stream.
func (c *compiler) skinnyReduce(f *program.Fused) run {
	o, sum := part[*program.Product](f), c.reduceAdd(f)
	q, blocks, a := c.kernels, c.blocks, c.skinnyArgs(o, o.Out, bf16)
	a.X, a.Rounded = c.value(o.In, bf16), 1
	return both(func(w *work) error {
		a := a
		a.N = int32(w.n(o.Out))
		return kernel.SkinnyAdd(q, a, blocks)
	}, sum)
}

// reduce sums what ranks have, in place or in addition to x.
func (c *compiler) reduce(o *program.AllReduce, x *program.Value) run {
	if c.all != nil {
		return c.sumAll(o)
	}
	sum, ok := c.sum(o, x)
	if !ok {
		return nil
	}
	q, l := c.kernels, &c.links
	return func(w *work) error {
		sum := sum
		sum.Vectors = int32(w.n(o.X) * o.X.Width / 8)
		return kernel.Reduce(q, l, sum)
	}
}

// sum is what an op adds up, of no rows.
func (c *compiler) sum(o *program.AllReduce, x *program.Value) (s kernel.Sum, ok bool) {
	if !c.meets() {
		return s, false
	}
	c.vectors("rows", o.X.Width)
	view := c.view(o.X)
	s = kernel.Sum{Part: c.addressesOf(o, view.At), Half: view.Half}
	if x != nil {
		s.X = c.value(x, f32)
	}
	if i := inboxOf(slices.Index(c.sumsOver, o), len(c.sumsOver)); i >= 0 {
		s.Inbox = c.inboxes[i]
	}
	return s, true
}

// reduceAddNorm is a sum over ranks that is added to the residual stream, and its
// norm: one kernel where few rows are sent, unless they must round as many do.
func (c *compiler) reduceAddNorm(f *program.Fused) run {
	o, x, norm := part[*program.AllReduce](f), part[*program.Add](f).X, part[*program.Norm](f)
	if c.all != nil {
		return both(both(c.sumAll(o), c.addRows(part[*program.Add](f))), c.norm(norm, nil))
	}
	sum, ok := c.sum(o, x)
	if !ok {
		return nil
	}
	c.wholeRows(norm)
	sum.W, sum.Y, sum.Hidden, sum.Eps = c.weights[norm.Weight], c.value(norm.Out, bf16), int32(o.X.Width), norm.Eps
	q, l, apart, alike := c.kernels, &c.links, c.norm(norm, nil), c.deterministic
	return func(w *work) error {
		sum := sum
		if sum.Vectors = int32(w.n(o.X) * o.X.Width / 8); sum.Norms() && !alike {
			return kernel.ReduceNorm(q, l, sum)
		}
		if err := kernel.Reduce(q, l, sum); err != nil {
			return err
		}
		return apart(w)
	}
}

// gatherRanks gives every rank this one's columns: a kernel for each of its ranges,
// and as many on ranks that bring fewer.
func (c *compiler) gatherRanks(o *program.AllGather) run {
	if !c.meets() {
		return nil
	}
	from, to := c.view(o.In), c.view(o.Out)
	if c.all != nil {
		return c.gatherAll(o, from, to)
	}
	c.need(from.Half == to.Half, "%s and %s are of different elements", o.In, o.Out)
	q, l, mine, most := c.kernels, &c.links, o.Brings[c.rank.Index], 0
	words := func(elements int) int32 { // of 32 bits
		c.need(from.Half == 0 || elements%2 == 0, "%d columns in bfloat16", elements)
		return int32(elements) >> from.Half
	}
	for _, b := range o.Brings {
		most = max(most, len(b.To))
	}
	base := kernel.GatherRanksArgs{To: c.addressesOf(o, to.At), FromStride: words(int(from.Stride)), ToStride: words(int(to.Stride))}
	all := make([]kernel.GatherRanksArgs, most)
	for i := range all {
		all[i] = base
		if all[i].From = from.At; i < len(mine.To) {
			all[i].From = from.At.Plus(4 * int64(words(mine.From[i])))
			all[i].At, all[i].Width = words(mine.To[i].At), words(mine.To[i].N)
		}
	}
	return func(w *work) error {
		for _, a := range all {
			a.Rows = int32(w.n(o.Out))
			if err := kernel.GatherRanks(q, l, a); err != nil {
				return err
			}
		}
		return nil
	}
}

// gatherAll puts columns together by the collective: as a sum, to which each rank
// brings its own and zeros.
func (c *compiler) gatherAll(o *program.AllGather, from, to kernel.View) run {
	q, all, mine := c.kernels, c.all, o.Brings[c.rank.Index]
	size := func(v kernel.View) int64 { return f32 >> v.Half }
	return func(w *work) error {
		n := w.n(o.Out)
		if err := all.clear(to.At, int64(n)*int64(to.Stride)*size(to)); err != nil {
			return err
		}
		for i, r := range mine.To {
			a := kernel.CopyArgs{From: from, To: to, Heads: 1, Width: int32(r.N), Rows: int32(n)}
			a.From.At, a.To.At = from.At.Plus(int64(mine.From[i])*size(from)), to.At.Plus(int64(r.At)*size(to))
			if err := kernel.CopyRows(q, a); err != nil {
				return err
			}
		}
		return all.sum(to.At, n*int(to.Stride), to.Half != 0)
	}
}

// partials gives what products leave to be summed over ranks and added to the
// residual stream in bf16: half of it goes over the links.
func partials(p *program.Program, elements map[*program.Value]int) {
	for _, op := range p.Ops {
		if o, is := op.(*program.AllReduce); is && onlyAdded(p, o.X) {
			elements[o.X] = bf16
		}
	}
}

// onlyAdded holds of the result of a product that none reads but to sum and add it.
func onlyAdded(p *program.Program, v *program.Value) bool {
	for _, op := range p.Ops {
		u := op.Uses()
		for _, list := range [][]*program.Value{u.Reads, u.Writes} {
			for _, used := range list {
				if used.Whole() != v {
					continue
				}
				switch o := op.(type) {
				case *program.AllReduce:
				case *program.Product:
					if o.In.Whole() == v {
						return false
					}
				case *program.Add:
					if o.X.Whole() == v || o.Scale != 1 {
						return false
					}
				default:
					return false
				}
			}
		}
	}
	return true
}

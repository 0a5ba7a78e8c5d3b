package cuda

import (
	"time"

	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/kernel"
	"github.com/troupe-llm/troupe/gpu/program"
)

// meetings are a rank's place among those that share the model, and the memory in
// which their kernels tell each other that they are there. Every rank compiles the
// same ops in the same order, so they learn each other's addresses as they go.
type meetings struct {
	rank  *device.Rank // nil: the model is whole
	flags [kernel.MaxRanks]kernel.Ptr
	turns kernel.Ptr // [MeetingBlocks], this rank's
	// of is where each rank has the value of an op, whatever passes it is compiled for.
	of  map[program.Op][kernel.MaxRanks]kernel.Ptr
	err error // of meeting the others
}

// unmet are the meetings of a rank before it meets the others, for trying what it
// would compile: every rank has all where this one has it.
func unmet(rank *device.Rank) meetings {
	if rank == nil {
		return meetings{}
	}
	return meetings{rank: &device.Rank{Index: rank.Index, Ranks: rank.Ranks, Meet: func(mine any, do func([]any)) (time.Duration, error) {
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
	_, m.err = m.rank.Meet(at, func(ranks []any) {
		for i, p := range ranks {
			all[i] = p.(kernel.Ptr)
		}
	})
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
	return c.reduce(part[*program.AllReduce](f), part[*program.Add](f).X)
}

// skinnyReduce is a product of few rows and the sum of it over ranks, added to the
// residual stream.
func (c *compiler) skinnyReduce(f *program.Fused) run {
	o, sum := part[*program.Product](f), c.reduceAdd(f)
	q, blocks, a := c.kernels, c.blocks, c.skinnyArgs(o, o.Out, bf16)
	a.X, a.Rounded = c.value(o.In, bf16), 1
	return func(w *work) error {
		a := a
		a.N = int32(w.n(o.Out))
		if err := kernel.SkinnyAdd(q, a, blocks); err != nil {
			return err
		}
		return sum(w)
	}
}

// reduce sums what ranks have, in place or in addition to x.
func (c *compiler) reduce(o *program.AllReduce, x *program.Value) run {
	if !c.meets() {
		return nil
	}
	c.vectors("rows", o.X.Width)
	view := c.view(o.X)
	q, a := c.kernels, kernel.ReduceArgs{
		Part: c.addressesOf(o, view.At), Flags: c.flags, Turns: c.turns, Half: view.Half, Rank: int32(c.rank.Index), Ranks: int32(c.rank.Ranks),
	}
	if x != nil {
		a.X = c.value(x, f32)
	}
	return func(w *work) error {
		a := a
		a.Vectors = int32(w.n(o.X) * o.X.Width / 8)
		return kernel.Reduce(q, a)
	}
}

// gatherRanks gives every rank this one's columns: a kernel for each of its ranges,
// and as many on ranks that bring fewer.
func (c *compiler) gatherRanks(o *program.AllGather) run {
	if !c.meets() {
		return nil
	}
	from, to := c.view(o.In), c.view(o.Out)
	c.need(from.Half == to.Half, "%s and %s are of different elements", o.In, o.Out)
	q, mine, most := c.kernels, o.Brings[c.rank.Index], 0
	words := func(elements int) int32 { // of 32 bits
		c.need(from.Half == 0 || elements%2 == 0, "%d columns in bfloat16", elements)
		return int32(elements) >> from.Half
	}
	for _, b := range o.Brings {
		most = max(most, len(b.To))
	}
	base := kernel.GatherRanksArgs{
		To: c.addressesOf(o, to.At), Flags: c.flags, Turns: c.turns, FromStride: words(int(from.Stride)), ToStride: words(int(to.Stride)),
		Rank: int32(c.rank.Index), Ranks: int32(c.rank.Ranks),
	}
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
			if err := kernel.GatherRanks(q, a); err != nil {
				return err
			}
		}
		return nil
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

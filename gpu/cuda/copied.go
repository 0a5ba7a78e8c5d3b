package cuda

import (
	"math/bits"
	"slices"

	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/kernel"
	"github.com/troupe-llm/troupe/gpu/kernel/lower"
	"github.com/troupe-llm/troupe/gpu/program"
)

// Sums over ranks of many rows are hidden behind the products that they are sums of. The
// rows are multiplied in two parts, and copy engines bring each to the other rank beside
// what is computed:
//
//	compute │ multiply A │ multiply B │ add up A │ add up B │
//	copies  │            │ A ──▶      │ B ──▶    │
//
// B is so small that A is on its way no longer than B is multiplied. What is left to see
// is adding up, in each rank's own memory.

// mostSent, above 0, is instead of lower.Lowering.Sent: tests have few rows copied.
var mostSent int

// lowered is a program as kernels.
func lowered(p *program.Program, codes lower.Codes) *lower.Lowering {
	l := lower.Of(p, codes)
	if l.Sent > 0 && mostSent > 0 {
		l.Sent = mostSent
	}
	return l
}

// landing is where other ranks copy to, and who copies there.
type landing struct {
	by      copier
	mine    kernel.Ptr                           //nolint:unused // this rank's inboxes: of the build tag cuda
	bytes   int64                                // of each
	inboxes [inboxes][kernel.MaxRanks]kernel.Ptr // of each rank
	// apart says that nothing is copied: GPUs cannot reach each other's memory, or ranks share
	// one, whose copies stand in one queue behind each other, however they wait for each other.
	apart bool
	told  [kernel.MaxRanks]kernel.Ptr // of each rank: u32 [inboxes, mostParts, MaxRanks]
}

// A sum is of so many parts at most, of each of which others are told.
const (
	mostParts = 2
	toldBytes = 4 * inboxes * mostParts * kernel.MaxRanks
)

// copier copies to other ranks beside what is computed.
type copier interface {
	// copy brings bytes to each other rank, behind what is enqueued, and tells it then.
	copy(from kernel.Ptr, to, told [kernel.MaxRanks]kernel.Ptr, bytes int64) error
	// join has what is enqueued from now on wait until all was copied.
	join() error
}

// copiedSums are the sums of a pass of many rows that are copied, in order.
func copiedSums(l *lower.Lowering) (list []*program.AllReduce) {
	for _, op := range l.Body(l.Sent + 1) {
		if f, is := op.(*program.Fused); is && lower.Copies(f) {
			list = append(list, part[*program.AllReduce](f))
		}
	}
	return list
}

// inputsOfCopy is how many inputs a product has that takes as long as copying what it
// makes: an H200 multiplies at 700 TFLOP/s while 391 GB/s go to the other.
const inputsOfCopy = 1790

// firstPart is how many of n rows the first of two parts has, of products over so many
// inputs: whole tiles of 256 where rows are many. n: there is one.
func firstPart(n, in int) int {
	tile := min(256, 1<<bits.Len(uint(n/8)))
	if n < 2*tile {
		return n
	}
	first := (n*in/(in+inputsOfCopy) + tile/2) / tile * tile
	return max(tile, min(first, (n-tile)/tile*tile))
}

// leastPart is the fewest rows of a part of more than so many.
func leastPart(sent int) int { return max(1, min(256, sent/8)) }

// place is where in the inbox of a rank what another copies goes.
func (c *landing) place(inbox, from, to, ranks int) kernel.Ptr {
	sender := from
	if from > to {
		sender--
	}
	return c.inboxes[inbox][to].Plus(int64(sender) * c.bytes / int64(ranks-1))
}

// tells is where a rank has been told, of a part of an inbox's rows.
func (c *landing) tells(rank, inbox, part int) kernel.Ptr {
	return c.told[rank].Plus(int64(4 * kernel.MaxRanks * (inbox*mostParts + part)))
}

// productReduce is a product of many rows and the sum of it over ranks, added to the
// residual stream, and maybe its norm.
func (c *compiler) productReduce(f *program.Fused) run {
	o, sum, norm := part[*program.Product](f), part[*program.AllReduce](f), part[*program.Norm](f)
	which := inboxOf(slices.Index(c.copiedSums, sum), len(c.copiedSums))
	if c.landing.apart || c.elements[sum.X] != bf16 || o.Out.Width%8 != 0 || o.Out.Width > kernel.MaxCopied || which < 0 {
		apart := c.reduceAdd
		if norm != nil {
			apart = c.reduceAddNorm
		}
		return both(c.product(o, o.Out, false), apart(f))
	}
	if !c.meets() {
		return nil
	}
	p, cast := c.factors(o, o.Out, bf16, false)
	c.loadParts(o.Name(), p)
	s := kernel.Copied{X: c.value(part[*program.Add](f).X, f32), Hidden: int32(o.Out.Width)}
	if norm != nil {
		c.wholeRows(norm)
		s.W, s.Y, s.Eps = c.weights[norm.Weight], c.value(norm.Out, bf16), norm.Eps
	}
	m := &copiedProduct{machine: c.machine, factors: p, sum: s, in: c.widest(o.In.Width), inbox: which}
	c.copied = max(c.copied, m.row()*int64(p.most)*int64(c.rank.Ranks-1))
	for r := range c.rank.Ranks {
		if m.sum.Part[r] = p.y; r != c.rank.Index {
			m.to[r] = c.landing.place(which, c.rank.Index, r, c.rank.Ranks)
			m.sum.Part[r] = c.landing.place(which, r, c.rank.Index, c.rank.Ranks)
		}
	}
	return func(w *work) error {
		if cast != nil {
			if err := cast(w); err != nil {
				return err
			}
		}
		return m.run(w.n(o.Out))
	}
}

// copiedProduct is a product whose parts are copied.
type copiedProduct struct {
	*machine
	factors
	sum   kernel.Copied
	in    int // inputs of the rank that has the most
	inbox int
	to    [kernel.MaxRanks]kernel.Ptr // of each other rank
}

// row is the bytes of one.
func (m *copiedProduct) row() int64 { return bf16 * int64(m.ld) }

func (m *copiedProduct) run(n int) error {
	first := firstPart(n, m.in)
	parts := [][2]int{{0, first}, {first, n - first}}
	if first == n {
		parts = parts[:1]
	}
	for i, p := range parts {
		if err := m.part(i, p[0], p[1]); err != nil {
			return err
		}
	}
	for i, p := range parts {
		if err := kernel.AddCopied(m.kernels, &m.links, m.sumOf(i, p[0], p[1])); err != nil {
			return err
		}
	}
	return m.landing.by.join()
}

// part multiplies n rows, the i-th part, and has them copied.
func (m *copiedProduct) part(i, first, n int) error {
	at := int64(first)
	f, to, told := m.of(n), m.to, m.to
	f.x, f.y, f.most = f.x.Plus(at*bf16*int64(f.product.in)), f.y.Plus(at*m.row()), f.most-first
	if err := m.multiply(f); err != nil {
		return err
	}
	for r := range to {
		if to[r] != 0 {
			to[r] = to[r].Plus(at * m.row())
			told[r] = m.landing.tells(r, m.inbox, i).Plus(4 * int64(m.rank.Index))
		}
	}
	return m.landing.by.copy(f.y, to, told, int64(n)*m.row())
}

// sumOf is the sum of n rows, the i-th part.
func (m *copiedProduct) sumOf(i, first, n int) kernel.Copied {
	s, elements := m.sum, int64(first)*int64(m.sum.Hidden)
	s.Rows, s.X, s.Told = int32(n), s.X.Plus(f32*elements), m.landing.tells(m.rank.Index, m.inbox, i)
	for r := range m.rank.Ranks {
		s.Part[r] = s.Part[r].Plus(int64(first) * m.row())
	}
	if s.W != 0 {
		s.Y = s.Y.Plus(bf16 * elements)
	}
	return s
}

// widest is the most that any rank has of something: ranks cut their rows alike.
func (m *meetings) widest(n int) int {
	most := n
	if m.err == nil {
		m.err = device.Meet(m.rank, n, func(ranks []int) { most = slices.Max(ranks) })
	}
	return most
}

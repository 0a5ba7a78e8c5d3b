package program

// Ranks are GPUs that share a model: each runs a program of its own (see Share)
// in which it has some heads, columns, tokens of the vocabulary and experts, and
// all meet in the two ops here. Every rank reaches these in the same order.

// AllReduce is x = Σ x over all ranks, in place. Every rank adds up in the order
// of ranks, so that all go on with the same bits.
type AllReduce struct {
	X     *Value
	Ranks int
}

func (o *AllReduce) Name() string { return "all_reduce" }

func (o *AllReduce) Uses() Uses { return Uses{Reads: values(o.X), Writes: values(o.X)} }

// Cost counts what a rank sends at least: its share of the sum is brought to it by
// all others, and taken from it by all others.
func (o *AllReduce) Cost(p *Pass) Cost {
	n, ranks := p.Rows(o.X), float64(o.Ranks)
	return Cost{Rows: 2 * n, Link: 2 * n * (ranks - 1) / ranks, FLOPs: n * (ranks - 1) / ranks}
}

// AllGather puts the columns that ranks have of a value together, on all of them.
type AllGather struct {
	In, Out *Value
	Brings  []Columns // of each rank
}

// Columns are ranges of Out's columns that lie in In one behind the other, From
// on. What several ranks have, the first brings.
type Columns struct {
	From []int
	To   []Range
}

func (o *AllGather) Name() string { return "all_gather" }

func (o *AllGather) Uses() Uses { return Uses{Reads: values(o.In), Writes: values(o.Out)} }

func (o *AllGather) Cost(p *Pass) Cost {
	in, out := p.Rows(o.In), p.Rows(o.Out)
	return Cost{Rows: in + out, Link: out - in}
}

// Range is columns of a value, or outputs of a weight: N from At on.
type Range struct{ At, N int }

// add appends a range, to the last one where it goes on from there.
func add(list []Range, r Range) []Range {
	if n := len(list); n > 0 && list[n-1].At+list[n-1].N == r.At {
		list[n-1].N += r.N
		return list
	}
	return append(list, r)
}

// units are the ranges of things of so many columns each.
func units(things []int, each int) (list []Range) {
	for _, i := range things {
		list = add(list, Range{i * each, each})
	}
	return list
}

// things are the numbers of those that ranges consist of; false: one is cut.
func things(list []Range, each int) (all []int, whole bool) {
	for _, r := range list {
		if r.At%each != 0 || r.N%each != 0 {
			return nil, false
		}
		for i := range r.N / each {
			all = append(all, r.At/each+i)
		}
	}
	return all, true
}

func width(list []Range) (n int) {
	for _, r := range list {
		n += r.N
	}
	return n
}

// even is a rank's share of n things, in whole units where there are enough.
func even(n, rank, ranks, unit int) Range {
	for unit > 1 && n < unit*ranks {
		unit /= 2
	}
	border := func(rank int) int {
		if rank == ranks {
			return n
		}
		return n / unit * rank / ranks * unit
	}
	at := border(rank)
	return Range{at, border(rank+1) - at}
}

// headsOf are the query heads of a rank, and which key heads they look at: as many
// query heads to each as divide both a rank's and a key head's, so that a key head
// may be there more than once, and on several ranks where these are more.
func headsOf(heads, keyHeads, rank, ranks int) (query, key []int) {
	mine, group := heads/ranks, heads/keyHeads
	each := gcd(mine, group)
	for i := range mine {
		h := rank*mine + i
		query = append(query, h)
		if i%each == 0 {
			key = append(key, h/group)
		}
	}
	return query, key
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

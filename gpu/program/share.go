package program

import (
	"fmt"
	"slices"
)

// Share is what one of several ranks runs of a program.
type Share struct {
	*Program
	// Whole is of each weight the one that it is cut out of, and From of each of its
	// parts the number of the part there.
	Whole map[*Weight]*Weight
	From  map[*Weight][]int
	// Cuts is how each weight was cut.
	Cuts map[*Weight]Cut
}

// Share rewrites a program for one of some ranks. Which columns of a value a rank
// has follows from the ops that can be split: attention and delta rules by heads,
// gates by columns, logits and embeddings by tokens of the vocabulary, mixtures by
// experts (layout.go's values have their memory as before). From there it spreads
// to all values that have to fit (spread.go), and from the values to the weights:
// a product whose outputs are cut has some outputs, one whose inputs are cut sums
// over some inputs. The sums of a rank are parts of the whole: where an op needs
// that, an AllReduce comes before it. So biases are added once, sums of sums are
// reduced once, and a norm over columns that are cut gathers them.
//
// block is how many columns or outputs share scales where weights are held in
// blocks, which are not cut where there are enough for all ranks; 0 or 1: none do.
// The error names what cannot be shared by so many.
func (p *Program) Share(rank, ranks, block int) (*Share, error) {
	s := &sharer{
		p: p, rank: rank, ranks: ranks, block: max(block, 64), partial: map[*Value]bool{}, made: map[*Value]*Value{},
		weights: map[*Weight]*Weight{}, caches: map[*Cache]*Cache{}, states: map[*State]*State{},
		out: &Share{Whole: map[*Weight]*Weight{}, From: map[*Weight][]int{}, Cuts: map[*Weight]Cut{}},
	}
	s.out.Program = &Program{Rotary: p.Rotary}
	for r := range ranks { // what others have a gather asks for
		cuts, err := p.cuts(r, ranks, s.block)
		if err != nil {
			return nil, err
		}
		s.all = append(s.all, cuts)
	}
	s.cuts = s.all[rank]
	if err := s.rewrite(); err != nil {
		return nil, err
	}
	return s.out, s.out.Check()
}

// sharer rewrites a program for a rank. Keys of maps are the whole program's.
type sharer struct {
	p           *Program
	rank, ranks int
	block       int
	all         []*cuts // of every rank
	cuts        *cuts   // of this one
	out         *Share

	partial map[*Value]bool // whole values of which each rank has a part of the sum
	made    map[*Value]*Value
	weights map[*Weight]*Weight
	caches  map[*Cache]*Cache
	states  map[*State]*State
}

func (s *sharer) rewrite() error {
	for _, op := range s.p.Ops {
		s.reduce(op)
		made, err := s.op(op)
		if err != nil {
			return fmt.Errorf("%s: %w", op.Name(), err)
		}
		if made != nil {
			s.do(made)
		}
	}
	logits := s.value(s.p.Logits)
	if s.cuts.of[s.p.Logits] != nil {
		logits = s.gather(s.p.Logits)
	}
	s.out.Logits = logits
	for _, c := range s.p.Caches {
		s.out.Caches = append(s.out.Caches, s.caches[c])
	}
	for _, st := range s.p.States {
		s.out.States = append(s.out.States, s.states[st])
	}
	return nil
}

func (s *sharer) do(op Op) { s.out.Ops = append(s.out.Ops, op) }

// reduce adds up what an op reads as a whole, and notes what is a part behind it.
func (s *sharer) reduce(op Op) {
	whole := func(v *Value) {
		if v = v.Whole(); s.partial[v] {
			s.do(&AllReduce{s.value(v), s.ranks})
			delete(s.partial, v)
		}
	}
	switch o := op.(type) {
	case *Scale: // of a part is a part
	case *Multiply:
		whole(o.By)
	case *Add:
		if s.partial[o.X.Whole()] != s.partial[o.Y.Whole()] {
			whole(o.X)
			whole(o.Y)
		}
	default:
		for _, v := range op.Uses().Reads {
			whole(v)
		}
	}
	switch o := op.(type) {
	case *Embed:
		s.partial[o.Out] = true
	case *Product:
		s.partial[o.Out] = s.cut(o.In) != nil
	case *Combine:
		s.partial[o.Out] = true
	}
}

func (s *sharer) cut(v *Value) []Range { return s.cuts.of[v] }

// value is the rank's of a value, as wide as what it has of it.
func (s *sharer) value(v *Value) *Value {
	if made := s.made[v]; made != nil {
		return made
	}
	own := *v
	if v.Base != nil {
		own.Base = s.value(v.Base)
		own.At = 0
		for _, before := range s.cuts.views[v.Base] {
			if before.At < v.At {
				own.At += s.width(before)
			}
		}
		if s.cut(v.Base) == nil {
			own.At = v.At
		}
	}
	own.Width = s.width(v)
	if v.Rows == Entries {
		own.Ranks = s.ranks
	}
	s.made[v] = &own
	return &own
}

func (s *sharer) width(v *Value) int {
	if c := s.cut(v); c != nil {
		return width(c)
	}
	return v.Width
}

// weight makes the rank's of a weight: some outputs, of experts one expert after
// the other, some inputs, or all of it.
func (s *sharer) weight(w *Weight, how Cut, outputs, inputs []Range) (*Weight, error) {
	if w == nil {
		return nil, nil
	}
	if made := s.weights[w]; made != nil {
		if s.out.Cuts[made] != how {
			return nil, fmt.Errorf("%s is cut by %s and by %s", w.Name, s.out.Cuts[made], how)
		}
		return made, nil
	}
	own := *w
	own.Shape = slices.Clone(w.Shape)
	from := make([]int, len(w.Parts))
	for i := range from {
		from[i] = i
	}
	switch {
	case outputs != nil:
		own.Parts, from = w.rows(outputs)
		if len(w.Shape) == 3 {
			own.Shape[0] = width(outputs) / w.Out()
		} else {
			own.Shape[max(len(w.Shape)-2, 0)] = width(outputs)
		}
	case inputs != nil:
		if len(inputs) != 1 {
			return nil, fmt.Errorf("%s: a rank's inputs, %v, do not lie together", w.Name, inputs)
		}
		own.Parts = w.columns(inputs[0])
		own.Shape[len(w.Shape)-1] = inputs[0].N
	}
	if w.Tied != nil {
		own.Tied = s.weights[w.Tied]
	}
	s.weights[w] = &own
	s.out.Weights = append(s.out.Weights, &own)
	s.out.Whole[&own], s.out.From[&own], s.out.Cuts[&own] = w, from, how
	return &own, nil
}

// by is a weight whose outputs are the columns of a value.
func (s *sharer) by(w *Weight, v *Value) (*Weight, error) {
	if c := s.cut(v); c != nil {
		return s.weight(w, ByOutput, c, nil)
	}
	return s.weight(w, Replicated, nil, nil)
}

// gather puts a value together, and returns the whole.
func (s *sharer) gather(v *Value) *Value {
	out := *v
	out.Base, out.At, out.Name = nil, 0, v.Name+".all"
	o := &AllGather{In: s.value(v), Out: &out}
	brought := map[int]bool{}
	for r := range s.ranks {
		var c Columns
		from := 0
		for _, to := range s.all[r].of[v] {
			if !brought[to.At] {
				brought[to.At] = true
				c.From, c.To = append(c.From, from), append(c.To, to)
			}
			from += to.N
		}
		o.Brings = append(o.Brings, c)
	}
	s.do(o)
	return &out
}

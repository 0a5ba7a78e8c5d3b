package program

import "fmt"

// op is the rank's of an op.
func (s *sharer) op(op Op) (Op, error) {
	switch o := op.(type) {
	case *Embed:
		r := even(o.Table.Out(), s.rank, s.ranks, s.block)
		table, err := s.weight(o.Table, ByVocabulary, []Range{r}, nil)
		return &Embed{Table: table, Scale: o.Scale, Out: s.value(o.Out), First: r.At, Vocab: o.Table.Out()}, err
	case *Norm:
		return s.norm(o)
	case *Product:
		return s.product(o)
	case *AddBias:
		bias, err := s.by(o.Bias, o.X)
		return &AddBias{s.value(o.X), bias}, err
	case *Gate:
		return &Gate{s.value(o.In), s.value(o.Out), o.Activation}, nil
	case *Multiply:
		if o.By.Width == 1 || (s.cut(o.X) == nil) == (s.cut(o.By) == nil) {
			return &Multiply{s.value(o.X), s.value(o.By), o.Activation}, nil
		}
	case *Scale:
		return &Scale{s.value(o.X), o.By}, nil
	case *PositionScale:
		return &PositionScale{s.value(o.X), o.Beta, o.Original}, nil
	case *Add:
		if s.width(o.X) == s.width(o.Y) {
			return &Add{s.value(o.X), s.value(o.Y), o.Scale}, nil
		}
	case *Gather:
		return &Gather{s.value(o.In), s.value(o.Out)}, nil
	case *Rope:
		made := &Rope{HeadDim: o.HeadDim, Rotary: o.Rotary}
		for _, x := range o.X {
			made.X = append(made.X, s.value(x))
		}
		return made, nil
	case *HeadProduct:
		return s.headProduct(o)
	case *CopyHeads:
		return &CopyHeads{s.heads(o.In), s.heads(o.Out)}, nil
	case *Store:
		c := *o.Cache
		if !c.Shared {
			c.Heads = s.width(o.Key) / c.KeyDim
		}
		s.caches[o.Cache] = &c
		return &Store{s.value(o.Key), s.value(o.Value), &c}, nil
	case *Attend:
		heads, _ := things(s.cut(o.Query), o.Cache.KeyDim)
		sinks, err := s.weight(o.Sinks, ByOutput, units(heads, 1), nil)
		return &Attend{s.value(o.Query), s.value(o.Out), s.caches[o.Cache], len(heads), o.Scale, sinks}, err
	case *Conv:
		w, err := s.by(o.Weight, o.Out)
		return &Conv{s.value(o.In), s.value(o.Out), w, s.state(o.State, s.width(o.Out)*(o.Weight.In()-1))}, err
	case *Delta:
		return s.delta(o)
	case *Route, *ExpertProduct, *ExpertBias, *Combine:
		return s.mixture(op)
	}
	return nil, fmt.Errorf("no rule says how %T is shared", op)
}

// product has some outputs, sums over some inputs, or is whole.
func (s *sharer) product(o *Product) (Op, error) {
	in, out := s.cut(o.In), s.cut(o.Out)
	made := &Product{In: s.value(o.In), Out: s.value(o.Out)}
	var err error
	switch {
	case in != nil && out != nil:
		err = fmt.Errorf("%s has some of the inputs, %v, and some of the outputs, %v", o.Weight.Name, in, out)
	case in != nil:
		made.Weight, err = s.weight(o.Weight, ByInput, nil, in)
	case out != nil && o.Out == s.p.Logits:
		made.Weight, err = s.weight(o.Weight, ByVocabulary, out, nil)
	default:
		made.Weight, err = s.by(o.Weight, o.Out)
	}
	return made, err
}

// norm of groups is each rank's own. One of whole rows that are cut is done by all,
// of the rows put together, and each goes on with its columns of what comes out.
func (s *sharer) norm(o *Norm) (Op, error) {
	list := s.cut(o.In)
	if list == nil || o.Group < o.In.Width {
		if _, whole := things(list, o.Group); !whole {
			return nil, fmt.Errorf("groups of %d are cut, at %v", o.Group, list)
		}
		if o.Weight.Out() > o.Group {
			w, err := s.by(o.Weight, o.In)
			return &Norm{s.value(o.In), s.value(o.Out), w, o.Group, o.Eps}, err
		}
		w, err := s.weight(o.Weight, Replicated, nil, nil)
		return &Norm{s.value(o.In), s.value(o.Out), w, o.Group, o.Eps}, err
	}
	if o.In != o.Out || len(list) != 1 {
		return nil, fmt.Errorf("a norm over all columns of %s, of which a rank has %v", o.In, list)
	}
	w, err := s.weight(o.Weight, Replicated, nil, nil)
	if err != nil {
		return nil, err
	}
	all := s.gather(o.In)
	own := *s.value(o.In)
	own.Base, own.At = all, list[0].At
	s.made[o.In] = &own
	return &Norm{all, all, w, o.Group, o.Eps}, nil
}

func (s *sharer) heads(h Heads) Heads {
	h.Value = s.value(h.Value)
	return h
}

func (s *sharer) headProduct(o *HeadProduct) (Op, error) {
	list := s.cut(o.In.Value)
	heads, whole := things(list, o.In.Stride)
	if !whole {
		return nil, fmt.Errorf("heads of %d are cut, at %v", o.In.Stride, list)
	}
	made := &HeadProduct{In: s.heads(o.In), Out: s.heads(o.Out)}
	var err error
	if list == nil {
		made.Weight, err = s.weight(o.Weight, Replicated, nil, nil)
	} else {
		made.Weight, err = s.weight(o.Weight, ByOutput, units(heads, o.Weight.Out()), nil)
	}
	return made, err
}

func (s *sharer) state(of *State, elements int) *State {
	own := *of
	own.Elements = elements
	s.states[of] = &own
	return &own
}

func (s *sharer) delta(o *Delta) (Op, error) {
	made := *o
	for _, v := range []**Value{&made.Query, &made.Key, &made.Value, &made.A, &made.B, &made.Out} {
		*v = s.value(*v)
	}
	keyDim := o.Key.Width / o.KeyHeads
	made.Heads, made.KeyHeads = o.Heads/s.ranks, made.Key.Width/keyDim
	made.State = s.state(o.State, made.Value.Width*keyDim)
	var err error
	if made.Decay, err = s.by(o.Decay, o.A); err != nil {
		return nil, err
	}
	made.StepBias, err = s.by(o.StepBias, o.A)
	return &made, err
}

// mixture is an op of a mixture of experts, of which each rank has some: all choose
// alike, each computes what goes to its own.
func (s *sharer) mixture(op Op) (Op, error) {
	own := func(w *Weight) (*Weight, error) {
		n := w.Shape[0] / s.ranks
		each := w.Out()
		if len(w.Shape) == 2 { // a row for each
			each = 1
		}
		return s.weight(w, ByExpert, []Range{{s.rank * n * each, n * each}}, nil)
	}
	switch o := op.(type) {
	case *Route:
		made := *o
		made.Logits, made.Routes = s.value(o.Logits), s.value(o.Routes)
		made.Here = o.Logits.Width / s.ranks
		made.First = s.rank * made.Here
		var err error
		made.Correction, err = s.weight(o.Correction, Replicated, nil, nil)
		return &made, err
	case *ExpertProduct:
		w, err := own(o.Weight)
		return &ExpertProduct{s.value(o.In), s.value(o.Routes), s.value(o.Out), w}, err
	case *ExpertBias:
		bias, err := own(o.Bias)
		return &ExpertBias{s.value(o.X), s.value(o.Routes), bias}, err
	case *Combine:
		return &Combine{s.value(o.In), s.value(o.Routes), s.value(o.Out)}, nil
	}
	return nil, nil
}

package program

import (
	"fmt"
	"slices"
	"strings"
)

// Rule is a sequence of ops that a device does in one kernel.
type Rule struct {
	Name string
	// As is what timings call it; "": as its op that reads the most weights, else
	// its last.
	As  string
	Ops []Pattern
	// Where says what else has to hold of the ops that match; nil: nothing.
	Where func([]Op) bool
	// Keeps says that the kernel leaves in memory what later ops read of the
	// values in between. Otherwise a sequence of which any is read later is not
	// this rule's.
	Keeps bool
}

// Pattern is one op of a rule.
type Pattern struct {
	matches  func(Op) bool
	optional bool
}

// A matches ops of a type that satisfy all conditions.
func A[T Op](where ...func(T) bool) Pattern {
	return Pattern{matches: func(o Op) bool {
		t, ok := o.(T)
		for _, holds := range where {
			ok = ok && holds(t)
		}
		return ok
	}}
}

// Maybe matches as its pattern does, or nothing.
func Maybe(p Pattern) Pattern { return Pattern{p.matches, true} }

// NormsHeads holds of a sequence with a Rope whose norms are in place, of each of
// the heads that it turns.
func NormsHeads(ops []Op) bool {
	for _, op := range ops {
		r, is := op.(*Rope)
		if !is {
			continue
		}
		return !slices.ContainsFunc(ops, func(op Op) bool {
			n, is := op.(*Norm)
			return is && (n.In != n.Out || n.Group != r.HeadDim || n.Weight.Out() != n.Group)
		})
	}
	return false
}

// AddsResult holds of a sequence whose last op adds what the first one makes.
func AddsResult(ops []Op) bool {
	add, is := ops[len(ops)-1].(*Add)
	return is && slices.Contains(ops[0].Uses().Writes, add.Y)
}

// Fused is ops that one kernel does.
type Fused struct {
	Rule *Rule
	Ops  []Op
	uses Uses
}

// Name is the rule's As, else that of the op that reads the most weights, else
// that of the last.
func (f *Fused) Name() string {
	if f.Rule.As != "" {
		return f.Rule.As
	}
	name, most := f.Ops[len(f.Ops)-1].Name(), int64(0)
	for _, o := range f.Ops {
		for _, w := range o.Uses().Weights {
			if n := w.Elements(); w.Matrix() && n > most {
				name, most = o.Name(), n
			}
		}
	}
	return name
}

// Uses are those of its ops but for what stays inside.
func (f *Fused) Uses() Uses { return f.uses }

// Cost adds up its ops', without the values that stay inside. Weight is that of
// the op that reads the most; Bytes of all are the sum over Ops.
func (f *Fused) Cost(p *Pass) (c Cost) {
	for _, o := range f.Ops {
		one := o.Cost(p)
		c.FLOPs += one.FLOPs
		c.Cache += one.Cache
		c.State += one.State
		c.Link += one.Link
		if one.Weight != nil && (c.Weight == nil || one.Weight.Elements() > c.Weight.Elements()) {
			c.Weight, c.Share = one.Weight, one.Share
		}
	}
	for _, list := range [][]*Value{f.uses.Reads, f.uses.Writes} {
		for _, v := range list {
			c.Rows += p.Rows(v)
		}
	}
	return c
}

func (f *Fused) String() string {
	var names []string
	for _, o := range f.Ops {
		names = append(names, o.Name())
	}
	return fmt.Sprintf("%s(%s)", f.Rule.Name, strings.Join(names, ", "))
}

// One returns the first op of a type within an op, fused or not.
func One[T Op](op Op) (t T, found bool) {
	if f, fused := op.(*Fused); fused {
		for _, o := range f.Ops {
			if t, found = One[T](o); found {
				return t, true
			}
		}
		return t, false
	}
	t, found = op.(T)
	return t, found
}

// Fuse replaces sequences by what does them in one kernel. At each op the first
// rule that matches is taken, the longest way it does.
//
// A sequence is one rule's only if every op in it but the first reads something
// that the ones before wrote, and, unless the rule keeps them, no op behind the
// sequence reads what is in between.
func Fuse(ops []Op, rules []*Rule) []Op {
	lives := livesOf(ops)
	var fused []Op
	for i := 0; i < len(ops); {
		n := 1
		op := ops[i]
		for _, r := range rules {
			if k := r.match(ops[i:]); k > 1 && r.fits(ops, i, k, lives) {
				op, n = &Fused{r, ops[i : i+k : i+k], usesOf(ops, i, k, lives)}, k
				break
			}
		}
		fused = append(fused, op)
		i += n
	}
	return fused
}

// match is how many ops of the list the rule takes; 0: it does not match.
func (r *Rule) match(ops []Op) int {
	n := 0
	for _, p := range r.Ops {
		switch {
		case n < len(ops) && p.matches(ops[n]):
			n++
		case !p.optional:
			return 0
		}
	}
	return n
}

func (r *Rule) fits(ops []Op, at, n int, l lives) bool {
	seq := ops[at : at+n]
	if r.Where != nil && !r.Where(seq) {
		return false
	}
	written := map[*Value]bool{}
	var stored *Cache
	for i, o := range seq {
		u, linked := o.Uses(), i == 0
		for _, v := range u.Reads {
			linked = linked || written[v.Whole()]
		}
		if linked = linked || u.Looks != nil && u.Looks == stored; !linked {
			return false
		}
		if u.Stores != nil {
			stored = u.Stores
		}
		for _, v := range u.Writes {
			// What the last op writes is the sequence's result, and what was there
			// before it is changed in place.
			whole := v.Whole()
			if !r.Keeps && i < n-1 && l.last[whole] >= at+n && l.first[whole] >= at && !writes(seq[n-1], whole) {
				return false
			}
			written[whole] = true
		}
	}
	return true
}

func writes(o Op, whole *Value) bool {
	for _, v := range o.Uses().Writes {
		if v.Whole() == whole {
			return true
		}
	}
	return false
}

// usesOf are the uses of a sequence: what it reads of others, and of what it
// writes what others read behind it.
func usesOf(ops []Op, at, n int, l lives) (u Uses) {
	inside := map[*Value]bool{}
	for _, o := range ops[at : at+n] {
		one := o.Uses()
		for _, v := range one.Reads {
			if !inside[v.Whole()] {
				u.Reads = with(u.Reads, v)
			}
		}
		for _, v := range one.Writes {
			inside[v.Whole()] = inside[v.Whole()] || l.first[v.Whole()] >= at
			switch whole := v.Whole(); {
			case l.last[whole] >= at+n:
				u.Writes = with(u.Writes, v)
			case l.first[whole] >= at:
				u.Inside = with(u.Inside, whole)
			}
		}
		u.Weights = append(u.Weights, one.Weights...)
		if one.Stores != nil {
			u.Stores = one.Stores
		}
		if one.Looks != nil {
			u.Looks = one.Looks
		}
	}
	return u
}

func with(list []*Value, v *Value) []*Value {
	for _, have := range list {
		if have == v {
			return list
		}
	}
	return append(list, v)
}

// lives is where in a list of ops the values with memory are first and last
// used.
type lives struct{ first, last map[*Value]int }

func livesOf(ops []Op) lives {
	l := lives{map[*Value]int{}, map[*Value]int{}}
	for i, o := range ops {
		u := o.Uses()
		for _, list := range [][]*Value{u.Reads, u.Writes} {
			for _, v := range list {
				if _, seen := l.first[v.Whole()]; !seen {
					l.first[v.Whole()] = i
				}
				l.last[v.Whole()] = i
			}
		}
	}
	return l
}

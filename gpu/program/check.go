package program

import (
	"errors"
	"fmt"
)

// Check says what is wrong with a program: a value read before it was written or
// two of a name, shapes that do not fit, attention over what is not yet stored,
// logits of rows that nobody looks at.
func (p *Program) Check() error {
	c := checker{written: map[*Value]bool{}, stored: map[*Cache]bool{}, names: map[string]bool{}}
	for i, o := range p.Ops {
		c.op(i, o)
	}
	for _, w := range p.Weights {
		c.weight(w)
	}
	if p.Logits == nil || !c.written[p.Logits] || p.Logits.Rows != Sampled {
		c.addf("no logits of sampled rows")
	}
	return errors.Join(c.faults...)
}

type checker struct {
	written map[*Value]bool // with memory of their own
	stored  map[*Cache]bool
	names   map[string]bool
	faults  []error
}

func (c *checker) addf(format string, args ...any) {
	c.faults = append(c.faults, fmt.Errorf(format, args...))
}

func (c *checker) op(i int, o Op) {
	u := o.Uses()
	for _, v := range u.Reads {
		if !c.written[v.Whole()] {
			c.addf("op %d, %s, reads %s, which nothing wrote", i, o.Name(), v)
		}
	}
	if u.Looks != nil && !c.stored[u.Looks] {
		c.addf("op %d, %s, looks at %s before this pass stored its keys and values there", i, o.Name(), u.Looks.Name)
	}
	if u.Stores != nil {
		c.stored[u.Stores] = true
	}
	for _, v := range u.Writes {
		c.written[v.Whole()] = true
		if v.At < 0 || v.Width <= 0 || v.At+v.Width > v.Whole().Width || v.Rows != v.Whole().Rows {
			c.addf("op %d, %s, writes %s, columns %d to %d of %s", i, o.Name(), v, v.At, v.At+v.Width, v.Whole())
		}
	}
	if fault := o.(shaped).shapes(); fault != "" {
		c.addf("op %d, %s: %s", i, o.Name(), fault)
	}
}

func (c *checker) weight(w *Weight) {
	if c.names[w.Name] {
		c.addf("two weights are called %s", w.Name)
	}
	c.names[w.Name] = true
	rows := 0
	for _, p := range w.Parts {
		rows += p.Rows
	}
	if want := w.Experts() * w.Out(); rows != want {
		c.addf("weight %s has %d outputs, its parts %d", w.Name, want, rows)
	}
	if w.Tied != nil && w.Tied.Elements() != w.Elements() {
		c.addf("weight %s, %v, is tied to %s, %v", w.Name, w.Shape, w.Tied.Name, w.Tied.Shape)
	}
}

// shaped is an op that says what is wrong with its operands' shapes.
type shaped interface{ shapes() string }

func wrong(bad bool, format string, args ...any) string {
	if !bad {
		return ""
	}
	return fmt.Sprintf(format, args...)
}

func (o *Embed) shapes() string {
	return wrong(o.Table.In() != o.Out.Width || o.Out.Rows != Tokens, "%v for %s", o.Table.Shape, o.Out)
}

func (o *Norm) shapes() string {
	n := o.Weight.Out()
	return wrong(o.In.Width != o.Out.Width || o.In.Rows != o.Out.Rows || o.Group <= 0 || o.In.Width%o.Group != 0 || n != o.Group && n != o.In.Width,
		"%s by %d with %d weights to %s", o.In, o.Group, n, o.Out)
}

func (o *Product) shapes() string {
	return wrong(o.In.Width != o.Weight.In() || o.Out.Width != o.Weight.Out() || o.In.Rows != o.Out.Rows || len(o.Weight.Shape) != 2,
		"%s by %v to %s", o.In, o.Weight.Shape, o.Out)
}

func (o *AddBias) shapes() string {
	return wrong(o.X.Width != o.Bias.Out(), "%s and %d biases", o.X, o.Bias.Out())
}

func (o *Gate) shapes() string {
	return wrong(o.In.Width != 2*o.Out.Width || o.In.Rows != o.Out.Rows, "%s to %s", o.In, o.Out)
}

func (o *Add) shapes() string {
	return wrong(o.X.Width != o.Y.Width || o.X.Rows != o.Y.Rows, "%s to %s", o.Y, o.X)
}

func (o *Gather) shapes() string {
	return wrong(o.In.Width != o.Out.Width || o.In.Rows != Tokens || o.Out.Rows != Sampled, "%s to %s", o.In, o.Out)
}

func (o *Rope) shapes() string {
	for _, x := range o.X {
		if o.HeadDim <= 0 || x.Width%o.HeadDim != 0 {
			return fmt.Sprintf("%s in heads of %d", x, o.HeadDim)
		}
	}
	return wrong(o.Rotary.Dims > o.HeadDim || o.Rotary.Dims != 2*len(o.Rotary.InvFreq), "%d of heads of %d are turned by %d frequencies",
		o.Rotary.Dims, o.HeadDim, len(o.Rotary.InvFreq))
}

func (o *Store) shapes() string {
	c := o.Cache
	if c.Shared {
		return wrong(o.Key != o.Value || o.Key.Width != c.Heads*c.KeyDim || c.ValueDim > c.KeyDim, "%s for %d shared heads of %d, values of %d", o.Key, c.Heads, c.KeyDim, c.ValueDim)
	}
	return wrong(o.Key.Width != c.Heads*c.KeyDim || o.Value.Width != c.Heads*c.ValueDim, "%s and %s for %d heads of %d and %d",
		o.Key, o.Value, c.Heads, c.KeyDim, c.ValueDim)
}

func (o *Attend) shapes() string {
	c := o.Cache
	return wrong(c.Heads <= 0 || o.Heads%c.Heads != 0 || o.Query.Width != o.Heads*c.KeyDim || o.Out.Width != o.Heads*c.ValueDim,
		"%s to %s by %d heads over %d of %d and %d", o.Query, o.Out, o.Heads, c.Heads, c.KeyDim, c.ValueDim)
}

func (o *Route) shapes() string {
	return wrong(o.Routes.Width > o.Logits.Width || o.Routes.Width <= 0, "%s from %s", o.Routes, o.Logits)
}

func (o *ExpertProduct) shapes() string {
	return wrong(len(o.Weight.Shape) != 3 || o.In.Width != o.Weight.In() || o.Out.Width != o.Weight.Out() || o.Out.Rows != Entries || o.Out.PerToken != o.Routes.Width,
		"%s by %v to %s", o.In, o.Weight.Shape, o.Out)
}

func (o *Combine) shapes() string {
	return wrong(o.In.Rows != Entries || o.Out.Rows != Tokens || o.In.Width != o.Out.Width, "%s to %s", o.In, o.Out)
}

func (o *Multiply) shapes() string {
	return wrong(o.X.Rows != o.By.Rows || o.By.Width != o.X.Width && o.By.Width != 1, "%s by %s", o.X, o.By)
}

func (o *Scale) shapes() string { return "" }
func (o *PositionScale) shapes() string {
	return wrong(o.X.Rows != Tokens || o.Original < 1, "%s by positions over %d", o.X, o.Original)
}

func (h *Heads) wrong(n int) bool {
	return h.Stride <= 0 || h.Value.Width != n*h.Stride || h.At < 0 || h.At+h.Width > h.Stride
}

func (o *HeadProduct) shapes() string {
	n := o.Weight.Experts()
	return wrong(len(o.Weight.Shape) != 3 || o.In.wrong(n) || o.Out.wrong(n) || o.In.Width != o.Weight.In() || o.Out.Width != o.Weight.Out(),
		"%d of each head of %s by %v to %d of %s", o.In.Width, o.In.Value, o.Weight.Shape, o.Out.Width, o.Out.Value)
}

func (o *CopyHeads) shapes() string {
	n := o.In.Value.Width / max(o.In.Stride, 1)
	return wrong(o.In.wrong(n) || o.Out.wrong(n) || o.In.Width != o.Out.Width, "%d of each head of %s to %d of %s", o.In.Width, o.In.Value, o.Out.Width, o.Out.Value)
}

func (o *ExpertBias) shapes() string {
	return wrong(len(o.Bias.Shape) != 2 || o.X.Rows != Entries || o.X.Width != o.Bias.Shape[1], "%s and biases %v", o.X, o.Bias.Shape)
}

func (o *Conv) shapes() string {
	return wrong(o.In.Width != o.Out.Width || o.In.Width != o.Weight.Out() || o.State.Elements != o.Weight.Out()*(o.Weight.In()-1),
		"%s by %v to %s, of which %d are kept", o.In, o.Weight.Shape, o.Out, o.State.Elements)
}

func (o *Delta) shapes() string {
	if o.Heads <= 0 || o.KeyHeads <= 0 || o.Heads%o.KeyHeads != 0 || o.Key.Width%o.KeyHeads != 0 || o.Value.Width%o.Heads != 0 {
		return fmt.Sprintf("%d heads of %s, %d of %s", o.Heads, o.Value, o.KeyHeads, o.Key)
	}
	return wrong(o.Query.Width != o.Key.Width || o.Out.Width != o.Value.Width || o.A.Width != o.Heads || o.B.Width != o.Heads ||
		o.Decay.Out() != o.Heads || o.StepBias.Out() != o.Heads || o.State.Elements != o.Key.Width/o.KeyHeads*o.Value.Width,
		"%s, %s, %s to %s by %s and %s, of which %d are kept", o.Query, o.Key, o.Value, o.Out, o.A, o.B, o.State.Elements)
}

func (o *AllReduce) shapes() string {
	return wrong(o.Ranks < 2 || o.X.Base != nil, "%s over %d ranks", o.X, o.Ranks)
}

func (o *AllGather) shapes() string {
	n := 0
	for _, c := range o.Brings {
		n += width(c.To)
	}
	return wrong(n != o.Out.Width || o.In.Rows != o.Out.Rows, "%s to %s, of which ranks bring %d columns", o.In, o.Out, n)
}

func (f *Fused) shapes() string { return "" }

package cuda

import (
	"fmt"
	"math"

	"github.com/troupe-llm/troupe/gpu/kernel"
	"github.com/troupe-llm/troupe/gpu/kernel/lower"
	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/gpu/program"
)

// Bytes of an element of values.
const (
	bf16 = 2
	f32  = 4
)

// sized is memory to allocate.
type sized struct {
	at    *kernel.Ptr
	bytes int64
	what  string
}

// elementsOf is the bytes of an element of each value with memory of its own,
// which its readers decide: what products and gates read, and what is summed of
// experts, is bf16; what none but norms, RoPE, recurrent layers, routing and
// sampling read, and what is added to, is float32; see partials. Routes lie in memory of the
// machine's own.
func elementsOf(p *program.Program) map[*program.Value]int {
	elements := map[*program.Value]int{}
	for _, op := range p.Ops {
		for _, v := range op.Uses().Writes {
			elements[v.Whole()] = f32
		}
	}
	for _, op := range p.Ops {
		switch o := op.(type) {
		case *program.Product:
			elements[o.In.Whole()] = bf16
		case *program.Gate:
			elements[o.In.Whole()] = bf16
		case *program.HeadProduct:
			elements[o.In.Value.Whole()] = bf16
		case *program.ExpertProduct:
			elements[o.In.Whole()] = bf16
		case *program.Combine:
			elements[o.In.Whole()] = bf16
		case *program.Route:
			elements[o.Routes] = 0
		}
	}
	for _, op := range p.Ops {
		if o, is := op.(*program.Add); is {
			elements[o.X.Whole()] = f32
		}
	}
	partials(p, elements)
	return elements
}

// layOut says which values share memory, in passes of any size: those of kernels
// for many rows, which leave the most in memory. The others use some of it.
func layOut(p *program.Program, held model.Held) (*program.Layout, error) {
	l, elements := lowered(p, held.Codes), elementsOf(p)
	// Logits of routers, and what ranks add up, are in memory even inside of one kernel.
	kept := map[*program.Value]bool{}
	for _, op := range p.Ops {
		if o, is := op.(*program.Route); is {
			kept[o.Logits] = true
		}
		if o, is := op.(*program.AllReduce); is {
			kept[o.X] = true
		}
	}
	size := func(v *program.Value, inside bool) int {
		if inside && !kept[v] {
			return 0
		}
		return elements[v] * columns(v)
	}
	pass := func(tokens, rows int) []program.Op { return append(l.Body(tokens), l.Head(rows)...) }
	many := pass(math.MaxInt, math.MaxInt)
	sums := sumsOf(many)
	layout := program.Lay(many, func(v *program.Value, inside bool) int { return size(v, inside && !sums[v]) }, p.Logits)
	for _, n := range l.Buckets() {
		if err := layout.Holds(pass(n, l.SkinnyHead), size, p.Logits); err != nil {
			return nil, fmt.Errorf("passes of %d tokens: %w", n, err)
		}
	}
	return layout, nil
}

// sumsOf are what kernels leave in memory for the norm that they are added before, or
// for the gate, where weights of 4 bits are widened.
func sumsOf(ops []program.Op) map[*program.Value]bool {
	list := map[*program.Value]bool{}
	for _, op := range ops {
		if f, is := op.(*program.Fused); is && (f.Rule.Name == lower.ProductAddNorm || f.Rule.Name == lower.Int4Gate) {
			list[f.Ops[0].(*program.Product).Out] = true
		}
	}
	return list
}

// columns is how far apart rows are: whole vectors of logits, whose number is
// anything, and of few numbers what products write at once.
func columns(v *program.Value) int {
	if v.Rows == program.Sampled {
		return (v.Width + 7) &^ 7
	}
	return (v.Width + 3) &^ 3
}

// value is where a value lies whose elements a kernel takes to be of so many
// bytes.
func (c *compiler) value(v *program.Value, element int) kernel.Ptr {
	types := map[int]string{bf16: "bfloat16", f32: "float32"}
	c.need(v.Base == nil, "%s is columns of %v; the kernel takes whole rows", v.Name, v.Base)
	has := c.elements[v.Whole()]
	c.need(has == element, "%s is in %s, as what reads it wants; the kernel takes %s", v.Name, types[has], types[element])
	return c.values[v.Whole()]
}

// vectors checks that rows are whole vectors of 16 bytes of bf16.
func (c *compiler) vectors(what string, width int) {
	c.need(width > 0 && width%8 == 0, "%s of %d; the kernel takes multiples of 8", what, width)
}

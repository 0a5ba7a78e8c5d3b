package program

import (
	"fmt"
	"slices"
)

// Program is one pass of a model. Who has one only reads it.
type Program struct {
	Ops     []Op
	Weights []*Weight // in the order in which a pass first uses them
	Caches  []*Cache
	States  []*State
	Rotary  []*Rotary
	Logits  *Value // [sampled, vocabulary]
}

// Body and Head are the ops up to the rows that are looked at, and those that
// make logits of them: the head may run again, on other rows of what the body
// left.
func (p *Program) Body() []Op { return p.Ops[:p.gather()] }

// Head: see Body.
func (p *Program) Head() []Op { return p.Ops[p.gather():] }

func (p *Program) gather() int {
	return slices.IndexFunc(p.Ops, func(o Op) bool { _, is := o.(*Gather); return is })
}

// Builder writes a program op by op. Names of values are made from the prefix
// that At sets.
type Builder struct {
	program Program
	prefix  string
	values  map[string]int
	weights map[*Weight]bool
}

// NewBuilder begins a program.
func NewBuilder() *Builder {
	return &Builder{values: map[string]int{}, weights: map[*Weight]bool{}}
}

// At sets what names of values begin with from here on: "layers.3.".
func (b *Builder) At(prefix string) { b.prefix = prefix }

// Done is the program, if it is sound.
func (b *Builder) Done() (*Program, error) {
	p := b.program
	if err := p.Check(); err != nil {
		return nil, fmt.Errorf("the program is at odds with itself: %w", err)
	}
	return &p, nil
}

// Do appends an op.
func (b *Builder) Do(o Op) {
	for _, w := range o.Uses().Weights {
		if !b.weights[w] {
			b.weights[w] = true
			b.program.Weights = append(b.program.Weights, w)
		}
	}
	b.program.Ops = append(b.program.Ops, o)
}

// Value is a new value.
func (b *Builder) Value(name string, rows Rows, width int) *Value {
	name = b.prefix + name
	b.values[name]++
	if n := b.values[name]; n > 1 {
		name = fmt.Sprintf("%s.%d", name, n)
	}
	return &Value{Name: name, Rows: rows, Width: width}
}

// Split cuts a value into columns of so many each.
func (b *Builder) Split(v *Value, widths ...int) []*Value {
	var parts []*Value
	at := 0
	for i, n := range widths {
		parts = append(parts, &Value{
			Name: fmt.Sprintf("%s[%d]", v.Name, i), Rows: v.Rows, Width: n, Base: v.Whole(), At: v.At + at, PerToken: v.PerToken,
		})
		at += n
	}
	return parts
}

// Embed appends the lookup.
func (b *Builder) Embed(table *Weight, scale float32) *Value {
	out := b.Value("x", Tokens, table.In())
	b.Do(&Embed{Table: table, Scale: scale, Out: out})
	return out
}

// Norm appends a norm of whole rows.
func (b *Builder) Norm(in *Value, w *Weight, eps float32) *Value {
	out := b.Value(w.Role, in.Rows, in.Width)
	b.Do(&Norm{in, out, w, in.Width, eps})
	return out
}

// NormHeads appends a norm of every head in place, each of group elements.
func (b *Builder) NormHeads(x *Value, w *Weight, group int, eps float32) {
	b.Do(&Norm{x, x, w, group, eps})
}

// Product appends a product.
func (b *Builder) Product(in *Value, w *Weight) *Value {
	out := b.Value(w.Role, in.Rows, w.Out())
	b.Do(&Product{in, out, w})
	return out
}

// AddBias appends the addition of a bias.
func (b *Builder) AddBias(x *Value, bias *Weight) { b.Do(&AddBias{x, bias}) }

// Rotary is the program's like r: heads that turn alike share it.
func (b *Builder) Rotary(r *Rotary) *Rotary {
	for _, have := range b.program.Rotary {
		if have.Equal(r) {
			return have
		}
	}
	b.program.Rotary = append(b.program.Rotary, r)
	return r
}

// Rope appends the rotation of heads in place.
func (b *Builder) Rope(r *Rotary, headDim int, x ...*Value) { b.Do(&Rope{x, headDim, b.Rotary(r)}) }

// Store appends the entering of keys and values into a cache of so many heads,
// which it makes.
func (b *Builder) Store(k, v *Value, heads, window int) *Cache {
	c := &Cache{Name: b.prefix + "cache", Heads: heads, KeyDim: k.Width / heads, ValueDim: v.Width / heads, Window: window}
	b.program.Caches = append(b.program.Caches, c)
	b.Do(&Store{k, v, c})
	return c
}

// StoreShared appends the entering of keys of one head, whose leading elements are
// values, into a cache, which it makes.
func (b *Builder) StoreShared(k *Value, valueDim int) *Cache {
	c := &Cache{Name: b.prefix + "cache", Heads: 1, KeyDim: k.Width, ValueDim: valueDim, Shared: true}
	b.program.Caches = append(b.program.Caches, c)
	b.Do(&Store{k, k, c})
	return c
}

// Attend appends attention; sinks may be nil.
func (b *Builder) Attend(q *Value, c *Cache, heads int, scale float32, sinks *Weight) *Value {
	out := b.Value("attention", Tokens, heads*c.ValueDim)
	b.Do(&Attend{q, out, c, heads, scale, sinks})
	return out
}

// State is a new state of a layer.
func (b *Builder) State(name string, elements int) *State {
	s := &State{b.prefix + name, elements}
	b.program.States = append(b.program.States, s)
	return s
}

// Gate appends a gate of a value's two halves.
func (b *Builder) Gate(in *Value, a Activation) *Value {
	out := b.Value("gate", in.Rows, in.Width/2)
	out.PerToken = in.PerToken
	b.Do(&Gate{in, out, a})
	return out
}

// Add appends an addition in place.
func (b *Builder) Add(x, y *Value, scale float32) { b.Do(&Add{x, y, scale}) }

// Route appends the choice of experts, as r says, by logits.
func (b *Builder) Route(logits *Value, perToken int, r Route) *Value {
	r.Logits, r.Routes = logits, b.Value("routes", Tokens, perToken)
	b.Do(&r)
	return r.Routes
}

// ExpertProduct appends a product of entries.
func (b *Builder) ExpertProduct(in, routes *Value, w *Weight) *Value {
	out := b.Value(w.Role, Entries, w.Out())
	out.PerToken = routes.Width
	b.Do(&ExpertProduct{in, routes, out, w})
	return out
}

// Combine appends the sum of entries.
func (b *Builder) Combine(in, routes *Value) *Value {
	out := b.Value("combine", Tokens, in.Width)
	b.Do(&Combine{in, routes, out})
	return out
}

// Logits are what Head made.
func (b *Builder) Logits() *Value { return b.program.Logits }

// Head appends what makes logits of the rows that are looked at: the last norm
// and the product with the head.
func (b *Builder) Head(x *Value, norm, head *Weight, eps float32) {
	rows := b.Value("rows", Sampled, x.Width)
	b.Do(&Gather{x, rows})
	b.program.Logits = b.Product(b.Norm(rows, norm, eps), head)
}

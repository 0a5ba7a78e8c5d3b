package cpu

import (
	"fmt"
	"slices"

	"github.com/troupe-llm/troupe/gpu/program"
)

// rules are what is done in one pass over memory: what follows a product while
// its outputs are in the cache, and all that a head's queries, key and value go
// through. Without any the same bits come out, as plan_test.go shows.
var rules = []*program.Rule{
	{Name: "product_bias", Ops: []program.Pattern{product, program.A[*program.AddBias]()}},
	{Name: "product_gate", Ops: []program.Pattern{product, gate}},
	{Name: "product_add", Ops: []program.Pattern{product, add}, Where: program.AddsResult},
	{Name: "experts_gate", Ops: []program.Pattern{program.A[*program.ExpertProduct](), gate}},
	{Name: "combine_add", Ops: []program.Pattern{program.A[*program.Combine](), add}, Where: program.AddsResult},
	{Name: "attend", Ops: []program.Pattern{
		program.Maybe(inPlace), program.Maybe(inPlace), program.A[*program.Rope](), program.A[*program.Store](), turned,
	}, Where: program.NormsHeads},
}

var (
	product = program.A[*program.Product]()
	gate    = program.A[*program.Gate]()
	add     = program.A[*program.Add]()
	turned  = program.A(func(a *program.Attend) bool { return !a.Cache.Shared })
	inPlace = program.A(func(n *program.Norm) bool { return n.In == n.Out })
)

// plan is a program compiled: functions in order, and the memory of the values
// they work on.
type plan struct {
	body, head []func() // up to the rows that are looked at, and their logits
	logits     view

	ops     []program.Op // fused, those of body and head
	heads   int          // of them are the head's
	layout  *program.Layout
	buffers [][]float32 // the layout's
	// gated are the weights whose gates and ups take turns, panel by panel, and
	// what comes of them: 2·padded(n) outputs.
	gated  map[*program.Weight]bool
	paired map[*program.Value]bool
	// plain are those of which each head has a matrix, which no whole numbers multiply.
	plain map[*program.Weight]bool
	// routers choose experts: where two are nearly as good, little rounding chooses
	// another.
	routers map[*program.Weight]bool
	group   int // the most query heads to a cache head
}

// newPlan fuses a program's ops and lays its values out. What the functions are
// is compiled when weights are there.
func newPlan(p *program.Program, rules []*program.Rule) *plan {
	head := program.Fuse(p.Head(), rules)
	pl := &plan{
		ops: slices.Concat(program.Fuse(p.Body(), rules), head), heads: len(head),
		gated: map[*program.Weight]bool{}, paired: map[*program.Value]bool{}, plain: map[*program.Weight]bool{}, routers: map[*program.Weight]bool{}, group: 1,
	}
	routes := map[*program.Value]bool{}
	for _, op := range p.Ops {
		if r, is := op.(*program.Route); is {
			routes[r.Logits] = true
		}
	}
	for _, op := range p.Ops {
		if o, is := op.(*program.Product); is && routes[o.Out] {
			pl.routers[o.Weight] = true
		}
	}
	for _, op := range pl.ops {
		if f, fused := op.(*program.Fused); fused {
			if _, gates := program.One[*program.Gate](f); gates {
				first := f.Ops[0].Uses()
				pl.gated[first.Weights[0]], pl.paired[first.Writes[0]] = true, true
			}
		}
		if h, heads := op.(*program.HeadProduct); heads {
			pl.plain[h.Weight] = true
		}
		if a, attends := program.One[*program.Attend](op); attends {
			pl.group = max(pl.group, a.Heads/a.Cache.Heads)
		}
	}
	// The residual stream is read again when a prompt's tokens are scored.
	residual := p.Head()[0].Uses().Reads[0]
	pl.layout = program.Lay(pl.ops, func(v *program.Value, _ bool) int { return pl.stride(v) }, residual, p.Logits)
	pl.buffers = make([][]float32, len(pl.layout.Buffers))
	pl.logits = pl.view(p.Logits)
	return pl
}

// stride is how far apart a value's rows are.
func (p *plan) stride(v *program.Value) int {
	if p.paired[v] {
		return apart(2 * padded(v.Width/2))
	}
	return apart(v.Width)
}

// view is a value where it lies: float32, row-major.
type view struct {
	rows              program.Rows
	perToken          int
	buffer            *[]float32
	at, width, stride int
}

func (p *plan) view(v *program.Value) view {
	whole := v.Whole()
	return view{v.Rows, v.PerToken, &p.buffers[p.layout.At[whole]], v.At, v.Width, p.stride(whole)}
}

// row is row i.
func (v *view) row(i int) []float32 { return (*v.buffer)[i*v.stride+v.at:][:v.width] }

// all is everything from the first row on.
func (v *view) all() []float32 { return (*v.buffer)[v.at:] }

// compile makes a plan's functions. Each op, fused or not, has one here.
func (e *engine) compile() error {
	p := e.plan
	for i, op := range p.ops {
		f, err := e.function(op)
		if err != nil {
			return err
		}
		if i < len(p.ops)-p.heads {
			p.body = append(p.body, f)
		} else {
			p.head = append(p.head, f)
		}
	}
	return nil
}

func (e *engine) function(op program.Op) (func(), error) {
	p := e.plan
	switch o := op.(type) {
	case *program.Fused:
		return e.fused(o)
	case *program.Embed:
		return e.embed(o), nil
	case *program.Norm:
		return e.norm(o), nil
	case *program.Product:
		return e.multiply(o, nil), nil
	case *program.AddBias:
		return e.rowwise(o.X, addBias(p.view(o.X), e.weights.vectors[o.Bias])), nil
	case *program.Gate:
		return e.rowwise(o.Out, e.gate(p.view(o.In), p.view(o.Out), o)), nil
	case *program.Add:
		return e.rowwise(o.X, addTo(e.kernels, p.view(o.X), p.view(o.Y), o.Scale)), nil
	case *program.Multiply:
		return e.rowwise(o.X, e.multiplyBy(o)), nil
	case *program.Scale:
		return e.rowwise(o.X, scale(p.view(o.X), o.By)), nil
	case *program.PositionScale:
		return e.rowwise(o.X, e.positionScale(o)), nil
	case *program.HeadProduct:
		return e.multiplyHeads(o), nil
	case *program.CopyHeads:
		return e.copyHeads(o), nil
	case *program.ExpertBias:
		return e.biasExperts(o), nil
	case *program.Conv:
		return e.convolve(o), nil
	case *program.Delta:
		return e.delta(o), nil
	case *program.Rope:
		return e.rope(o), nil
	case *program.Store:
		return e.store(o), nil
	case *program.Attend:
		return e.attend(e.attentionOf(o)), nil
	case *program.Route:
		return e.route(o), nil
	case *program.ExpertProduct:
		return e.multiplyExperts(o, nil), nil
	case *program.Combine:
		return e.combine(o, nil), nil
	case *program.Gather:
		return e.gather(o), nil
	case *program.AllReduce:
		return e.allReduce(o), nil
	case *program.AllGather:
		return e.allGather(o), nil
	}
	return nil, fmt.Errorf("cpu: the model needs %q (%T), which the CPU device does not compute", op.Name(), op)
}

func (e *engine) fused(f *program.Fused) (func(), error) {
	p := e.plan
	switch last := f.Ops[len(f.Ops)-1].(type) {
	case *program.AddBias:
		return e.multiply(f.Ops[0].(*program.Product), addBias(p.view(last.X), e.weights.vectors[last.Bias])), nil
	case *program.Gate:
		finish := e.gatePanels(p.view(last.In), p.view(last.Out), last)
		if x, experts := f.Ops[0].(*program.ExpertProduct); experts {
			return e.multiplyExperts(x, finish), nil
		}
		return e.multiply(f.Ops[0].(*program.Product), finish), nil
	case *program.Add:
		if c, combines := f.Ops[0].(*program.Combine); combines {
			return e.combine(c, last), nil
		}
		return e.multiply(f.Ops[0].(*program.Product), addTo(e.kernels, p.view(last.X), p.view(last.Y), last.Scale)), nil
	case *program.Attend:
		return e.attend(e.whole(f, last)), nil
	}
	return nil, fmt.Errorf("cpu: nothing does %s", f)
}

// count is how many rows a value has in the step at hand.
func (e *engine) count(rows program.Rows, perToken int) int {
	switch rows {
	case program.Sampled:
		return len(e.work.looked)
	case program.Entries:
		return len(e.work.tokens) * perToken
	}
	return len(e.work.tokens)
}

// grow makes the plan's memory hold the step at hand.
func (e *engine) grow(rows ...program.Rows) {
	for i, b := range e.plan.layout.Buffers {
		if slices.Contains(rows, b.Rows) {
			grow(&e.plan.buffers[i], e.count(b.Rows, b.PerToken)*b.Row)
		}
	}
}

// rowwise does in a pass of its own what finishes products elsewhere.
func (e *engine) rowwise(v *program.Value, f epilogue) func() {
	return func() {
		e.each(e.count(v.Rows, v.PerToken), 4, func(i int) { f(i, i+1, 0, v.Width) })
	}
}

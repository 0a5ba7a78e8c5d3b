// Package lower says of which kernels a pass on a GPU consists: which ops of a
// program one kernel does, and from how many rows on another one. Package cuda
// launches what it says, package sim prices it.
package lower

import (
	"slices"

	"github.com/troupe-llm/troupe/gpu/kernel"
	"github.com/troupe-llm/troupe/gpu/program"
)

// What kernels there are for several ops. Each rule is named after its kernel.
var (
	// SkinnyNorm is a norm with a product of few rows, and with the choice of
	// them.
	SkinnyNorm = &program.Rule{
		Name: "skinny_norm",
		Ops:  []program.Pattern{program.Maybe(gather), norm, product},
	}
	// SkinnyGate is a norm, a product of few rows and a gate.
	SkinnyGate = &program.Rule{
		Name: "skinny_gate",
		Ops:  []program.Pattern{norm, product, gate},
	}
	// ProductAdd is a product that is added to the residual stream. Of few rows
	// it is skinny_add, of many cuBLASLt's.
	ProductAdd = &program.Rule{
		Name:  "product_add",
		Ops:   []program.Pattern{product, add},
		Where: program.AddsResult,
	}
	// SkinnyReduce is a product of few rows whose sums over GPUs are added to the
	// residual stream: two kernels, skinny_add, which only writes then, and reduce_add.
	SkinnyReduce = &program.Rule{
		Name:  "skinny_reduce",
		Ops:   []program.Pattern{product, program.A[*program.AllReduce](), add},
		Where: program.AddsResult,
	}
	// ReduceAdd is a sum over GPUs that is added to the residual stream.
	ReduceAdd = &program.Rule{
		Name:  "reduce_add",
		As:    "all_reduce",
		Ops:   []program.Pattern{program.A[*program.AllReduce](), add},
		Where: program.AddsResult,
	}
	// GatherNorm is the norm of the rows whose logits are looked at.
	GatherNorm = &program.Rule{
		Name: "gather_norm",
		Ops:  []program.Pattern{gather, norm},
	}
	// RopeWrite is what comes between projections and attention.
	RopeWrite = &program.Rule{
		Name:  "rope_write",
		As:    "rope",
		Ops:   []program.Pattern{program.Maybe(bias), program.Maybe(inPlace), program.Maybe(inPlace), program.A[*program.Rope](), program.A[*program.Store]()},
		Where: func(ops []program.Op) bool { return program.NormsHeads(ops) && storesTurned(ops) },
		Keeps: true, // queries
	}
	// Route is the norm, the router's product and the grouping by experts of few
	// tokens; it leaves the normed tokens, too.
	Route = &program.Rule{
		Name:  "moe_route",
		As:    "route",
		Ops:   []program.Pattern{norm, product, program.A[*program.Route]()},
		Keeps: true,
	}
	// ExpertsUp is the experts' first product and their gate.
	ExpertsUp = &program.Rule{
		Name: "moe_up",
		Ops:  []program.Pattern{program.A[*program.ExpertProduct](), gate},
	}
	// Combine adds what experts made of tokens to the residual stream.
	Combine = &program.Rule{
		Name:  "moe_combine",
		As:    "combine",
		Ops:   []program.Pattern{program.A[*program.Combine](), add},
		Where: program.AddsResult,
	}
)

// storesTurned holds of a sequence that turns queries and the keys that it stores,
// as many elements of each as the kernel can. They lie in one value with the values
// that it stores, but where ranks gathered them for a norm of all heads.
func storesTurned(ops []program.Op) bool {
	rope, store := ops[len(ops)-2].(*program.Rope), ops[len(ops)-1].(*program.Store)
	all := store.Key.Whole()
	return len(rope.X) == 2 && rope.X[1] == store.Key && rope.X[0].Whole() == all && store.Value.Whole() == all && !store.Cache.Shared && kernel.RopeWriteTurns(rope.HeadDim, rope.Rotary.Dims)
}

var (
	gather  = program.A[*program.Gather]()
	product = program.A[*program.Product]()
	bias    = program.A[*program.AddBias]()
	norm    = program.A(func(n *program.Norm) bool { return n.Group == n.In.Width && n.In != n.Out })
	inPlace = program.A(func(n *program.Norm) bool { return n.In == n.Out })
	gate    = program.A(func(g *program.Gate) bool { return g.Activation == program.SiLU })
	add     = program.A(func(a *program.Add) bool { return a.Scale == 1 })
)

var (
	always = []*program.Rule{RopeWrite, ExpertsUp, Combine, ReduceAdd}
	few    = []*program.Rule{SkinnyGate, SkinnyNorm, ProductAdd, SkinnyReduce}
	many   = []*program.Rule{ProductAdd, GatherNorm}
)

// RoutedAtOnce is up to how many tokens one kernel does all of routing: 12 µs for
// 32 on an H200 and 18 for 64. Otherwise grouping takes 8, and norm and product
// an estimated 5 more.
const RoutedAtOnce = 32

// ProductAddNorm is a product of codes (FP8) that is added to the residual stream,
// whose norm the next products of codes read: the sums are scaled where they are
// added.
const ProductAddNorm = "product_add_norm"

// ReduceAddNorm is a sum over GPUs that is added to the residual stream, and the norm
// of that.
const ReduceAddNorm = "reduce_add_norm"

// reduceNorm is ReduceAddNorm, of norms that no product of codes reads: those are
// quantised.
func reduceNorm(p *program.Program, codes Codes) *program.Rule {
	coded := map[*program.Value]bool{}
	for _, op := range p.Ops {
		if o, is := op.(*program.Product); is && codes(o.Weight).FP8() {
			coded[o.In.Whole()] = true
		}
	}
	return &program.Rule{
		Name: ReduceAddNorm,
		As:   "all_reduce",
		Ops:  []program.Pattern{program.A[*program.AllReduce](), add, norm},
		Where: func(ops []program.Op) bool {
			last := ops[2].(*program.Norm)
			return program.AddsResult(ops[:2]) && last.In == ops[1].(*program.Add).X && !coded[last.Out.Whole()] && last.Out.Base == nil
		},
		Keeps: true, // the residual stream
	}
}

// ProductReduce and ProductReduceNorm are a product of many rows whose sums over GPUs are
// added to the residual stream, without and with the norm of that: what is done of the rows
// is copied to the other GPU while the rest is multiplied.
const (
	ProductReduce     = "product_reduce"
	ProductReduceNorm = "product_reduce_norm"
)

// Copies says whether a kernel is one of those.
func Copies(f *program.Fused) bool {
	return f.Rule.Name == ProductReduce || f.Rule.Name == ProductReduceNorm
}

// productReduces are both, of two GPUs and weights that are no codes. Of more GPUs each
// would send all it has to all others, which takes longer than multiplying.
func productReduces(p *program.Program, codes Codes) []*program.Rule {
	reduce := program.A(func(o *program.AllReduce) bool { return o.Ranks == 2 })
	plain := func(ops []program.Op) bool {
		o := ops[0].(*program.Product)
		return o.Out == ops[1].(*program.AllReduce).X && codes(o.Weight) == program.NoCodes
	}
	normed := reduceNorm(p, codes)
	return []*program.Rule{
		{
			Name: ProductReduceNorm, Ops: append([]program.Pattern{product, reduce}, normed.Ops[1:]...), Keeps: normed.Keeps,
			Where: func(ops []program.Op) bool { return plain(ops) && normed.Where(ops[1:]) },
		},
		{
			Name: ProductReduce, Ops: []program.Pattern{product, reduce, add},
			Where: func(ops []program.Op) bool { return plain(ops) && program.AddsResult(ops[1:]) },
		},
	}
}

// Int4Gate is a product of weights of 4 bits and its gate.
const Int4Gate = "int4_gate"

func int4Gate(codes Codes) *program.Rule {
	return &program.Rule{
		Name: Int4Gate,
		Ops:  []program.Pattern{product, gate},
		Where: func(ops []program.Op) bool {
			w := ops[0].(*program.Product).Weight
			return codes(w) == program.CodesInGroups && w.Out()%32 == 0
		},
	}
}

// Codes says which weights are codes, of FP8 or of 4 bits, and how they are scaled.
type Codes func(*program.Weight) program.Codes

// addNorm is ProductAddNorm of a program's codes. What norms make is quantised at
// once if none but products of codes read it.
func addNorm(p *program.Program, codes Codes) *program.Rule {
	others := map[*program.Value]bool{}
	for _, op := range p.Ops {
		if o, is := op.(*program.Product); is && codes(o.Weight).FP8() {
			continue
		}
		for _, v := range op.Uses().Reads {
			others[v.Whole()] = true
		}
	}
	return &program.Rule{
		Name: ProductAddNorm,
		Ops:  []program.Pattern{product, add, norm},
		Where: func(ops []program.Op) bool {
			first, last := ops[0].(*program.Product), ops[2].(*program.Norm)
			return codes(first.Weight) == program.CodesByOutput && program.AddsResult(ops[:2]) && last.In == ops[1].(*program.Add).X && !others[last.Out.Whole()]
		},
		Keeps: true, // the residual stream
	}
}

// Lowering is a program as kernels, for any number of rows.
type Lowering struct {
	program *program.Program
	many    []*program.Rule
	copied  []*program.Rule // of more tokens than Sent
	// Skinny is the most rows of passes that take skinny products, SkinnyHead of
	// heads.
	Skinny, SkinnyHead int
	// Sent is the most tokens of passes whose sums over GPUs are all by kernels; of more, what
	// ProductReduce sums is copied. 0: nothing ever is.
	Sent int
	// routes says that few tokens are routed at once.
	routes bool
}

// New finds what suits a program whose weights are no codes.
func New(p *program.Program) *Lowering {
	return Of(p, func(*program.Weight) program.Codes { return program.NoCodes })
}

// Of finds what suits a program.
func Of(p *program.Program, codes Codes) *Lowering {
	l := &Lowering{program: p, routes: routesAtOnce(p), many: append([]*program.Rule{addNorm(p, codes), reduceNorm(p, codes), int4Gate(codes)}, many...)}
	l.copies(p, codes)
	hidden, int4 := 0, false
	for _, op := range p.Ops {
		switch o := op.(type) {
		case *program.Embed:
			hidden = o.Out.Width
		case *program.Product:
			int4 = int4 || codes(o.Weight) == program.CodesInGroups
			if !kernel.SkinnyFits(o.In.Width) {
				return l
			}
		}
	}
	// With more rows, and weights that take longer than a launch, cuBLASLt is
	// faster: 7.0 ms for 7.8 in the products of Qwen3-14B, 16 rows, on an H200.
	// Weights in FP8 gain more: a step of one row takes 4.26 ms for 5.11 with cuBLASLt.
	l.Skinny, l.SkinnyHead = 8, 8
	if hidden <= 2048 {
		l.Skinny, l.SkinnyHead = kernel.MaxSkinny, kernel.MaxSkinny
	}
	if int4 { // which have kernels of their own for few rows
		l.Skinny = 0
	}
	return l
}

// copies finds what is copied, if anything is: where parts are more than kernels send.
func (l *Lowering) copies(p *program.Program, codes Codes) {
	rules := productReduces(p, codes)
	for _, op := range program.Fuse(p.Body(), rules) {
		if o, is := program.One[*program.AllReduce](op); is && op != program.Op(o) {
			l.copied, l.Sent = rules, kernel.SlotBytes/(2*o.X.Width)
		}
	}
}

// Invariant is Of with the same kernels for any number of rows: those for many. What
// becomes of a row must not depend on how many there are.
func Invariant(p *program.Program, codes Codes) *Lowering {
	l := Of(p, codes)
	l.Skinny, l.SkinnyHead, l.routes = 0, 0, false
	l.Sent, l.copied = 0, nil
	return l
}

// routesAtOnce says whether there is routing, and one kernel can do all of it: choices are by
// logits alone, and what it leaves, rows without the norm's factor, is read by none
// but the router and products that are gated at once, which know the factors.
func routesAtOnce(p *program.Program) (some bool) {
	for i, op := range p.Ops {
		r, is := op.(*program.Route)
		if !is {
			continue
		}
		some = true
		if r.Sigmoid || r.Correction != nil || r.Groups > 1 || r.Scale != 1 || i < 2 {
			return false
		}
		router, is := p.Ops[i-1].(*program.Product)
		if !is || router.Out != r.Logits {
			return false
		}
		for j, reader := range p.Ops {
			if slices.Contains(reader.Uses().Reads, router.In) && j != i-1 && !gatedAtOnce(p.Ops[j:]) {
				return false
			}
		}
	}
	return some
}

// gatedAtOnce says that ops begin with what ExpertsUp is.
func gatedAtOnce(ops []program.Op) bool {
	fused := program.Fuse(ops[:min(2, len(ops))], []*program.Rule{ExpertsUp})
	return len(fused) == 1
}

// Buckets are the numbers of tokens, each the most of its kind, for which bodies
// differ; more tokens than the last are of a kind, too.
func (l *Lowering) Buckets() (list []int) {
	if l.Skinny > 0 {
		list = append(list, l.Skinny)
	}
	if l.Skinny > 0 || l.routes {
		list = append(list, RoutedAtOnce)
	}
	if l.Sent > 0 {
		list = append(list, l.Sent)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// Body is the kernels of a pass of so many tokens, up to the rows that are
// looked at.
func (l *Lowering) Body(tokens int) []program.Op {
	var rules []*program.Rule
	if tokens <= RoutedAtOnce && l.SkinnyHead > 0 && l.routes {
		rules = append(rules, ReduceAdd, Route) // the norm is the route's
	}
	if l.Sent > 0 && tokens > l.Sent {
		rules = append(rules, l.copied...)
	}
	if tokens <= l.Skinny {
		rules = append(rules, few...)
	} else {
		rules = append(rules, l.many...)
	}
	rules = append(rules, always...)
	return program.Fuse(l.program.Body(), rules)
}

// Head is the kernels that make logits of so many rows.
func (l *Lowering) Head(rows int) []program.Op {
	if rows <= l.SkinnyHead {
		return program.Fuse(l.program.Head(), few)
	}
	return program.Fuse(l.program.Head(), l.many)
}

// ProductRows rounds the rows of products up, to what cuBLASLt's tiles take in
// any case. What is in the rows beyond, and what comes out, is nobody's.
func ProductRows(n int) int {
	if n > 256 {
		return roundUp(n, 64)
	}
	return roundUp(n, 16)
}

// AlikeRows rounds further, by an eighth at most: to those for whose number
// cuBLASLt is asked how to multiply.
func AlikeRows(n int) int {
	n = ProductRows(n)
	for to := 64; to <= n/8; to *= 2 {
		n = roundUp(n, to)
	}
	return n
}

func roundUp(n, to int) int { return (n + to - 1) / to * to }

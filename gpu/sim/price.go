package sim

import (
	"github.com/troupe-llm/troupe/gpu/kernel/lower"
	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/gpu/program"
)

// priced is a kernel of a pass as far as its time goes. Kernels of equal layers
// are equal: a pass has few that differ.
type priced struct {
	bound  bound
	starts float64 // beginnings and ends, counted in those of a plain kernel

	weights           float64 // bytes, of all experts
	experts, perToken int     // whose weights are read as tokens meet them; 0: all are read
	row               float64 // bytes of values, a row
	flops             float64 // a row
	tiled             bool    // rows are rounded up as cuBLASLt's are
	reduce            float64 // bytes a row that GPUs add up behind it

	look           int     // of attention: which of the Roofline's windows
	position, pair float64 // of attention: bytes of a position, FLOPs of a token that sees one
}

// bound is what bounds a kernel beside reading.
type bound int

const (
	byMemory bound = iota // nothing
	byProducts
	byExperts
	byAttention
)

// several are so many kernels alike.
type several struct {
	priced
	n float64
}

// pricer prices the kernels of a program on one of some GPUs that share it.
type pricer struct {
	tp     float64
	width  float64 // bytes of a weight, a key, a value, and what is multiplied with them
	held   model.Held
	narrow map[*program.Value]bool // values with memory that products and gates alone read: of that width
	cut    map[*program.Value]bool // of which each GPU has a share
	looks  []int                   // the windows there are
}

func newPricer(p *program.Program, tp int, dtype model.DType) *pricer {
	pr := &pricer{
		tp: float64(tp), width: float64(dtype.Size()), held: model.HeldAs(dtype),
		narrow: map[*program.Value]bool{}, cut: map[*program.Value]bool{},
	}
	for _, op := range p.Ops {
		u := op.Uses()
		switch op.(type) {
		case *program.Product, *program.ExpertProduct, *program.Gate, *program.Attend:
			for _, v := range u.Reads {
				pr.narrow[v] = true
			}
		}
		for _, v := range u.Writes {
			pr.cut[v.Whole()] = pr.cuts(op)
		}
	}
	return pr
}

// cuts says whether each GPU makes a share of an op's result.
func (pr *pricer) cuts(op program.Op) bool {
	u := op.Uses()
	for _, w := range u.Weights {
		if w.Matrix() {
			return w.Shard == program.ByOutput && len(u.Reads) > 0 // a token's embedding all have whole
		}
	}
	for _, v := range u.Reads {
		if pr.cut[v.Whole()] {
			return true
		}
	}
	return false
}

// all prices kernels; few says that products of a rule are skinny.
func (pr *pricer) all(ops []program.Op, few bool) (list []several) {
	at := map[priced]int{}
	for _, op := range ops {
		k := pr.kernel(op, few)
		i, known := at[k]
		if !known {
			i = len(list)
			at[k], list = i, append(list, several{k, 0})
		}
		list[i].n++
	}
	return list
}

func (pr *pricer) kernel(op program.Op, few bool) priced {
	k := priced{starts: 1}
	ops := []program.Op{op}
	f, fused := op.(*program.Fused)
	if fused {
		ops = f.Ops
	}
	for _, o := range ops {
		pr.add(&k, o)
	}
	_, routes := program.One[*program.Route](op)
	switch {
	case routes: // it counts and sorts
		k.starts = 3
	case k.bound == byProducts && !(few && fused):
		// cuBLASLt's wait for all they read, and many split their sums and add
		// them up at the end.
		k.starts, k.tiled = 2, true
	}
	u := op.Uses()
	for _, list := range [][]*program.Value{u.Reads, u.Writes} {
		for _, v := range list {
			k.row += pr.bytes(v)
		}
	}
	if k.bound == byProducts || k.bound == byAttention { // others of their rows stay in the caches
		k.row = 0
	}
	return k
}

// add counts what an op needs beside the values.
func (pr *pricer) add(k *priced, op program.Op) {
	for _, w := range op.Uses().Weights {
		k.weights += float64(pr.held.Of(w).Bytes(w.Shape)) / pr.sharers(w)
	}
	switch o := op.(type) {
	case *program.Embed:
		k.weights, k.row = 0, pr.width*float64(o.Out.Width)
	case *program.Product:
		k.bound = byProducts
		k.multiply(pr, o.Weight, o.Cost(one).FLOPs)
	case *program.ExpertProduct:
		k.bound, k.experts, k.perToken = byExperts, o.Weight.Experts(), o.Routes.Width
		k.multiply(pr, o.Weight, o.Cost(one).FLOPs)
	case *program.Store:
		k.row += pr.width * float64(o.Cache.Elements()) / pr.tp
	case *program.Attend:
		k.bound, k.look = byAttention, pr.window(o.Cache.Window)
		k.position = pr.width * float64(o.Cache.Elements()) / pr.tp
		k.pair = o.FLOPs(1) / pr.tp
	}
}

// one is a pass of one row: costs of products are by rows.
var one = program.NewPass([]program.Span{{Tokens: 1}}, 1)

// multiply counts a product that takes so many operations a row.
func (k *priced) multiply(pr *pricer, w *program.Weight, flops float64) {
	k.flops += flops / pr.sharers(w)
	if w.Shard == program.ByInput && pr.tp > 1 {
		// A ring moves 2(n−1)/n of the data over each link.
		k.reduce = 2 * (pr.tp - 1) / pr.tp * pr.width * float64(w.Out())
	}
}

func (pr *pricer) sharers(w *program.Weight) float64 {
	if w.Shard == program.Replicated {
		return 1
	}
	return pr.tp
}

// bytes is what a value takes for a row of the pass.
func (pr *pricer) bytes(v *program.Value) float64 {
	n := 4 * float64(v.Width)
	if pr.narrow[v] {
		n = pr.width * float64(v.Width)
	}
	if v.Rows == program.Entries {
		n *= float64(v.PerToken)
	}
	if pr.cut[v.Whole()] {
		n /= pr.tp
	}
	return n
}

// window is its index among those there are.
func (pr *pricer) window(n int) int {
	for i, have := range pr.looks {
		if have == n {
			return i
		}
	}
	pr.looks = append(pr.looks, n)
	return len(pr.looks) - 1
}

// bucket is the kernels of passes of at most so many rows; 0: of any number.
type bucket struct {
	most    int
	kernels []several
}

// bodies are priced by numbers of tokens, the least first.
func (pr *pricer) bodies(l *lower.Lowering) (list []bucket) {
	last := 0
	for _, n := range l.Buckets() {
		list = append(list, bucket{n, pr.all(l.Body(n), n <= l.Skinny)})
		last = n
	}
	return append(list, bucket{0, pr.all(l.Body(last+1), false)})
}

// heads are priced by numbers of rows that are looked at.
func (pr *pricer) heads(l *lower.Lowering) (list []bucket) {
	if l.Skinny > 0 {
		list = append(list, bucket{l.Skinny, pr.all(l.Head(l.Skinny), true)})
	}
	return append(list, bucket{0, pr.all(l.Head(l.Skinny+1), false)})
}

// find is the kernels of so many rows.
func find(list []bucket, rows int) []several {
	i := 0
	for list[i].most != 0 && rows > list[i].most {
		i++
	}
	return list[i].kernels
}

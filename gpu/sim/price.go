package sim

import (
	"cmp"

	"github.com/troupe-llm/troupe/gpu/device"
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
	wide              float64 // bytes of weights of 4 bits in bfloat16
	flops             float64 // a row
	tiled             bool    // rows are rounded up as cuBLASLt's are
	link              float64 // bytes a row that GPUs that share the model send each other; above 0: they meet
	added             float64 // bytes a row of what they add up, where they send it while they multiply; 0: they do not

	look           int     // of attention: which of the Roofline's windows
	position, pair float64 // of attention: bytes of a position, FLOPs of a token that sees one
}

// bound is what bounds a kernel beside reading.
type bound int

const (
	byMemory bound = iota // nothing
	byProducts
	byInt4 // products of weights of 4 bits
	byExperts
	byAttention
)

// several are so many kernels alike.
type several struct {
	priced
	n float64
}

// pricer prices the kernels of a program.
type pricer struct {
	width  float64 // bytes of a weight, a key, a value, and what is multiplied with them
	held   model.Held
	kv     float64                 // bytes of a number of keys and values
	codes  float64                 // how many times the rate of others products of codes are computed at
	narrow map[*program.Value]bool // values with memory that products and gates alone read: of that width
	looks  []int                   // the windows there are
}

func newPricer(p *program.Program, info *device.Info, codes float64) *pricer {
	pr := &pricer{width: float64(info.DType.Size()), held: info.Weights(), kv: float64(cmp.Or(info.KVDType, info.DType).Size()), codes: max(1, codes), narrow: map[*program.Value]bool{}}
	for _, op := range p.Ops {
		switch op.(type) {
		case *program.Product, *program.ExpertProduct, *program.Gate, *program.Attend:
			for _, v := range op.Uses().Reads {
				pr.narrow[v] = true
			}
		}
	}
	return pr
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
	case fused && f.Rule.Name == lower.ProductAddNorm: // and a kernel that adds
		k.starts, k.tiled = 3, true
	case k.bound == byInt4: // it waits for all it reads, and blocks for each other's sums
		k.starts = 3
	case routes: // it counts and sorts
		k.starts = 3
	case k.bound == byProducts && !(few && fused):
		// cuBLASLt's wait for all they read, and many split their sums and add
		// them up at the end.
		k.starts, k.tiled = 2, true
	}
	switch {
	case fused && lower.Copies(f): // two products, and two kernels that add up behind them
		k.starts, k.added = 6, pr.added(f)
	case k.link > 0 && (k.bound == byProducts || k.bound == byInt4): // a kernel of its own behind the product
		k.starts++
	}
	u := op.Uses()
	for _, list := range [][]*program.Value{u.Reads, u.Writes} {
		for _, v := range list {
			k.row += pr.bytes(v)
		}
	}
	if k.bound == byProducts || k.bound == byInt4 || k.bound == byAttention { // others of their rows stay in the caches
		k.row = 0
	}
	return k
}

// added is what moves of a row where each GPU adds up the parts that it has of all: they,
// the residual stream and its norm.
func (pr *pricer) added(f *program.Fused) (bytes float64) {
	for _, op := range f.Ops {
		switch o := op.(type) {
		case *program.AllReduce:
			bytes += pr.width * float64(o.X.Width*o.Ranks)
		case *program.Add:
			bytes += 2 * pr.bytes(o.X)
		case *program.Norm:
			bytes += pr.bytes(o.Out)
		}
	}
	return bytes
}

// add counts what an op needs beside the values.
func (pr *pricer) add(k *priced, op program.Op) {
	for _, w := range op.Uses().Weights {
		k.weights += float64(pr.held.Of(w).Bytes(w.Shape))
	}
	switch o := op.(type) {
	case *program.Embed:
		k.weights, k.row = 0, pr.width*float64(o.Out.Width)
	case *program.Product:
		k.bound = byProducts
		flops := o.Cost(one).FLOPs
		switch codes := pr.held.Codes(o.Weight); {
		case codes.FP8():
			flops /= pr.codes
		case codes == program.CodesInGroups:
			k.bound = byInt4
			k.wide += float64(model.Plain(model.BFloat16).Bytes(o.Weight.Shape))
		}
		k.flops += flops
	case *program.ExpertProduct:
		k.bound, k.experts, k.perToken = byExperts, o.Weight.Experts()*max(o.Out.Ranks, 1), o.Routes.Width
		k.flops += o.Cost(one).FLOPs
	case *program.AllReduce, *program.AllGather:
		k.link += pr.width * o.Cost(one).Link
	case *program.Store:
		k.row += pr.kv * float64(o.Cache.Elements())
	case *program.Attend:
		k.bound, k.look = byAttention, pr.window(o.Cache.Window)
		k.position = pr.kv * float64(o.Cache.Elements())
		k.pair = o.FLOPs(1)
	}
}

// one is a pass of one row: costs of products are by rows.
var one = program.NewPass([]program.Span{{Tokens: 1}}, 1)

// bytes is what a value takes for a row of the pass.
func (pr *pricer) bytes(v *program.Value) float64 {
	n := 4 * float64(v.Width)
	if pr.narrow[v] {
		n = pr.width * float64(v.Width)
	}
	if v.Rows == program.Entries {
		n *= float64(v.PerToken) / float64(max(v.Ranks, 1))
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
	if l.SkinnyHead > 0 {
		list = append(list, bucket{l.SkinnyHead, pr.all(l.Head(l.SkinnyHead), true)})
	}
	return append(list, bucket{0, pr.all(l.Head(l.SkinnyHead+1), false)})
}

// find is the kernels of so many rows.
func find(list []bucket, rows int) []several {
	i := 0
	for list[i].most != 0 && rows > list[i].most {
		i++
	}
	return list[i].kernels
}

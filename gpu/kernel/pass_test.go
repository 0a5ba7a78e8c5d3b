package kernel_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/troupe-llm/troupe/gpu/kernel"
	"github.com/troupe-llm/troupe/gpu/model"
)

// passCase is a model of random numbers with a token to compute, and what comes of it.
type passCase struct {
	layers, hidden, intermediate, heads, kvHeads, pageSize int
	length, window                                         int // positions, the token's included
	norms, biases                                          bool
	vocab                                                  int
	head, headNorm                                         []uint16
	list                                                   []passLayer
	x                                                      []float32
	angles                                                 []float32 // [length, 64, 2]
	table                                                  []int32
	pages                                                  int
}

type passLayer struct {
	qkv, o, gateUp, down, norm, mlpNorm, qNorm, kNorm, bias []uint16
	kv                                                      []uint16 // [pages, 2, kvHeads, pageSize, 128]
}

const passEps = 1e-6

func (c *passCase) fill(r *rand.Rand) {
	random := func(n int, scale, plus float64) []uint16 {
		bits := make([]uint16, n)
		for i := range bits {
			bits[i] = model.ToBF16(float32(r.NormFloat64()*scale + plus))
		}
		return bits
	}
	matrix := func(out, in int) []uint16 { return random(out*in, 1/math.Sqrt(float64(in)), 0) }
	width := (c.heads + 2*c.kvHeads) * 128
	c.pages = (c.length+c.pageSize-1)/c.pageSize + 2
	for range c.layers {
		l := passLayer{
			qkv: matrix(width, c.hidden), o: matrix(c.hidden, c.heads*128), gateUp: matrix(2*c.intermediate, c.hidden), down: matrix(c.hidden, c.intermediate),
			norm: random(c.hidden, 0.1, 1), mlpNorm: random(c.hidden, 0.1, 1), kv: random(c.pages*2*c.kvHeads*c.pageSize*128, 1, 0),
		}
		if c.norms {
			l.qNorm, l.kNorm = random(128, 0.1, 1), random(128, 0.1, 1)
		}
		if c.biases {
			l.bias = random(width, 0.5, 0)
		}
		c.list = append(c.list, l)
	}
	c.head, c.headNorm = matrix(c.vocab, c.hidden), random(c.hidden, 0.1, 1)
	c.x = make([]float32, c.hidden)
	for i := range c.x {
		c.x[i] = float32(r.NormFloat64())
	}
	for p := range c.length {
		for i := range 64 {
			angle := float64(p) * math.Pow(1e4, -float64(i)/64)
			c.angles = append(c.angles, float32(math.Cos(angle)), float32(math.Sin(angle)))
		}
	}
	for _, p := range r.Perm(c.pages)[:c.pages-2] {
		c.table = append(c.table, int32(p))
	}
}

func widened(bits []uint16) []float64 {
	f := make([]float64, len(bits))
	for i, b := range bits {
		f[i] = float64(model.FromBF16(b))
	}
	return f
}

func roundedTo(f []float64) []float64 {
	for i := range f {
		f[i] = float64(model.FromBF16(model.ToBF16(float32(f[i]))))
	}
	return f
}

func times(w []uint16, x []float64) []float64 {
	y := make([]float64, len(w)/len(x))
	for i := range y {
		for j, b := range w[i*len(x) : (i+1)*len(x)] {
			y[i] += float64(model.FromBF16(b)) * x[j]
		}
	}
	return y
}

// normed multiplies by the weights before it rounds, and by the norm's factor behind the
// product, as the kernels do.
func normed(x []float64, w []uint16) (y []float64, factor float64) {
	y, sum := make([]float64, len(x)), 0.0
	for i, v := range widened(w) {
		sum += x[i] * x[i]
		y[i] = x[i] * v
	}
	return y, 1 / math.Sqrt(sum/float64(len(x))+passEps)
}

// want is the residual stream after the last layer and logits; keys and values enter pages.
func (c *passCase) want() (x, logits []float64) {
	x = make([]float64, c.hidden)
	for i := range x {
		x[i] = float64(c.x[i])
	}
	for i := range c.list {
		l := &c.list[i]
		h, factor := normed(x, l.norm)
		qkv := times(l.qkv, roundedTo(h))
		for j := range qkv {
			qkv[j] *= factor
			if l.bias != nil {
				qkv[j] += float64(model.FromBF16(l.bias[j]))
			}
		}
		for j, y := range times(l.o, roundedTo(c.attend(l, qkv))) {
			x[j] += y
		}
		h, factor = normed(x, l.mlpNorm)
		gu := times(l.gateUp, roundedTo(h))
		gates := make([]float64, c.intermediate)
		for j := range gates {
			g := gu[j] * factor
			gates[j] = g / (1 + math.Exp(-g)) * gu[c.intermediate+j] * factor
		}
		for j, y := range times(l.down, roundedTo(gates)) {
			x[j] += y
		}
	}
	h, factor := normed(x, c.headNorm)
	for _, y := range times(c.head, roundedTo(h)) {
		logits = append(logits, y*factor)
	}
	return x, logits
}

func (c *passCase) attend(l *passLayer, qkv []float64) []float64 {
	position, out := c.length-1, make([]float64, c.heads*128)
	for h := range c.heads + c.kvHeads {
		x, norm := qkv[h*128:(h+1)*128], l.qNorm
		if h >= c.heads {
			norm = l.kNorm
		}
		if norm != nil {
			y, factor := normed(x, norm)
			for i := range y {
				x[i] = y[i] * factor
			}
		}
		for i := range 64 {
			cos, sin := float64(c.angles[(position*64+i)*2]), float64(c.angles[(position*64+i)*2+1])
			x[i], x[i+64] = x[i]*cos-x[i+64]*sin, x[i+64]*cos+x[i]*sin
		}
	}
	roundedTo(qkv)
	at := func(side, head, p int) []uint16 {
		page := int(c.table[p/c.pageSize])
		return l.kv[(((page*2+side)*c.kvHeads+head)*c.pageSize+p%c.pageSize)*128:][:128]
	}
	for side := range 2 {
		for h := range c.kvHeads {
			for i, v := range qkv[(c.heads+side*c.kvHeads+h)*128:][:128] {
				at(side, h, position)[i] = model.ToBF16(float32(v))
			}
		}
	}
	from := 0
	if c.window > 0 {
		from = max(0, c.length-c.window)
	}
	for h := range c.heads {
		q, kvHead, sum := qkv[h*128:][:128], h/(c.heads/c.kvHeads), 0.0
		weights, best := make([]float64, c.length), math.Inf(-1)
		for p := from; p < c.length; p++ {
			for i, b := range at(0, kvHead, p) {
				weights[p] += q[i] * float64(model.FromBF16(b)) / math.Sqrt(128)
			}
			best = max(best, weights[p])
		}
		for p := from; p < c.length; p++ {
			w := math.Exp(weights[p] - best)
			sum += w
			for i, b := range at(1, kvHead, p) {
				out[h*128+i] += w * float64(model.FromBF16(b))
			}
		}
		for i := range 128 {
			out[h*128+i] /= sum
		}
	}
	return out
}

// passCases are small, of everything that there is.
func passCases() []*passCase {
	return []*passCase{
		{layers: 2, hidden: 512, intermediate: 512, heads: 4, kvHeads: 2, pageSize: 16, length: 1, norms: true, vocab: 992},
		{layers: 2, hidden: 512, intermediate: 1024, heads: 4, kvHeads: 2, pageSize: 16, length: 600, norms: true, vocab: 48},
		{layers: 1, hidden: 1536, intermediate: 512, heads: 4, kvHeads: 2, pageSize: 16, length: 100, biases: true, vocab: 160},
		{layers: 1, hidden: 512, intermediate: 1536, heads: 4, kvHeads: 2, pageSize: 16, length: 533, window: 400, vocab: 16},
	}
}

// passJob is what testdata/emulate/pass.cpp runs.
type passJob struct{ Layers, Hidden, Intermediate, Blocks, Length, Window, Slot, Stride, Pages, Norms, Biases, Ring, Passes, Words, Vocab, Seed int32 }

// A pass, run on the processor by its own source, block beside block, is what is wanted:
// no copy is missed, no word taken for one of another layer or pass.
func TestEmulatedPass(t *testing.T) {
	program := emulated(t, "pass", "-DHEADS=4", "-DKV_HEADS=2", "-DHEAD_DIM=128", "-DPAGE_SIZE=16", "-DPASS_WARPS=8", "-DPASS_SPLITS=32")
	r := rand.New(rand.NewPCG(13, 14))
	for i, c := range passCases() {
		t.Run(fmt.Sprintf("%d of %d", c.length, c.window), func(t *testing.T) {
			c.fill(r)
			shape := kernel.Shape{Heads: 4, KVHeads: 2, HeadDim: 128, PageSize: 16, Hopper: []int{3, 4, 7, 5}[i]}
			j := passJob{
				int32(c.layers), int32(c.hidden), int32(c.intermediate), int32(shape.Hopper), int32(c.length), int32(c.window), 0, int32(len(c.table)), int32(c.pages),
				0, 0, int32(4 + i%2), int32(i * 1000), int32(shape.PassWords(c.hidden, c.intermediate)), int32(c.vocab), int32(i + 1),
			}
			var reads []any
			for i := range c.list {
				l := &c.list[i]
				for k, part := range [][]uint16{l.qkv, l.o, l.gateUp, l.down, l.norm, l.mlpNorm, l.qNorm, l.kNorm, l.bias} {
					if part == nil {
						continue
					}
					reads = append(reads, part)
					switch k {
					case 7:
						j.Norms = 1
					case 8:
						j.Biases = 1
					}
				}
			}
			reads = append(reads, c.table, c.angles, c.head, c.headNorm)
			y, _ := binary.Append(nil, binary.LittleEndian, c.x)
			y, _ = binary.Append(y, binary.LittleEndian, make([]float32, c.vocab))
			for i := range c.list {
				y, _ = binary.Append(y, binary.LittleEndian, c.list[i].kv)
			}
			got := emulate(t, program, j, y, reads...)
			x, logits := decoded[float32](t, got, c.hidden), decoded[float32](t, got[4*c.hidden:], c.vocab)
			got = got[4*(c.hidden+c.vocab):]
			c.check(t, x, logits, func(i int) []uint16 {
				n := len(c.list[i].kv)
				return decoded[uint16](t, got[2*i*n:], n)
			})
		})
	}
}

// decoded is the first n of what was written.
func decoded[T any](t *testing.T, b []byte, n int) []T {
	t.Helper()
	list := make([]T, n)
	if _, err := binary.Decode(b, binary.LittleEndian, list); err != nil {
		t.Fatal(err)
	}
	return list
}

// check holds what became of x, logits and a layer's pages against what is wanted.
func (c *passCase) check(t *testing.T, x, logits []float32, pages func(layer int) []uint16) {
	t.Helper()
	wantX, wantLogits := c.want()
	off := func(what string, got []float32, from []float32, want []float64) {
		sum, off := 0.0, 0.0
		for i, w := range want {
			off += math.Pow(float64(got[i])-w, 2)
			sum += math.Pow(w-float64(from[i]), 2)
		}
		rel := math.Sqrt(off / sum)
		t.Logf("%s off by %.5f", what, rel)
		if len(want) > 0 && !(rel < 0.01) {
			t.Errorf("%s off by %v", what, rel)
		}
	}
	off("what layers add", x, c.x, wantX)
	off("logits", logits, make([]float32, c.vocab), wantLogits)
	for i := range c.list {
		bits := pages(i)
		for j, w := range c.list[i].kv {
			g, w := float64(model.FromBF16(bits[j])), float64(model.FromBF16(w))
			if !(math.Abs(g-w) <= 0.05+0.05*math.Abs(w)) {
				t.Fatalf("layer %d: element %d of pages is %v, want %v", i, j, g, w)
			}
		}
	}
}

//go:build cuda

package kernel_test

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/troupe-llm/troupe/gpu/cuda"
	"github.com/troupe-llm/troupe/gpu/kernel"
)

// pass uploads a case.
func (b *bench) pass(c *passCase) (a kernel.PassArgs, kv []kernel.Ptr) {
	var layers []kernel.PassLayer
	var matrices []kernel.PassTensor
	up := func(bits []uint16) kernel.Ptr {
		if len(bits) == 0 {
			return 0
		}
		return upload(b, bits)
	}
	for i := range c.list {
		l := &c.list[i]
		p := kernel.PassLayer{Norm: up(l.norm), MLPNorm: up(l.mlpNorm), QNorm: up(l.qNorm), KNorm: up(l.kNorm), Bias: up(l.bias), KV: up(l.kv)}
		layers, kv = append(layers, p), append(kv, p.KV)
		matrices = append(matrices, b.shape.PassTensors(kernel.PassMatrices{QKV: up(l.qkv), O: up(l.o), GateUp: up(l.gateUp), Down: up(l.down)}, p.KV, c.hidden, c.intermediate)...)
	}
	if c.vocab > 0 {
		matrices = append(matrices, kernel.PassHead(up(c.head), c.vocab, c.hidden))
	}
	maps, err := b.PassMaps(matrices)
	b.must(err)
	one := func(v int) kernel.Ptr { return upload(b, []int32{int32(v)}) }
	a = kernel.PassArgs{
		X: upload(b, c.x), Layers: upload(b, layers), Maps: maps, Positions: one(c.length - 1), TokenSlots: one(0), RowSlots: one(0), RowLens: one(c.length),
		Table: upload(b, c.table), Angles: upload(b, c.angles), Words: b.zeros(b.shape.PassWords(c.hidden, c.intermediate)), Counts: b.zeros(8),
		NLayers: int32(c.layers), Hidden: int32(c.hidden), Intermediate: int32(c.intermediate), TableStride: int32(len(c.table)), Window: int32(c.window),
		HeadNorm: up(c.headNorm), Logits: b.zeros(int64(4*c.vocab + 16)), Vocab: int32(c.vocab), Eps: passEps, Scale: float32(math.Log2E / math.Sqrt(128)),
	}
	return a, kv
}

func TestDecodePass(t *testing.T) {
	cases := passCases()
	for _, n := range []int{5, 129, 600, 3001, 9000} {
		cases = append(cases, &passCase{layers: 3, hidden: 1024, intermediate: 3072, heads: 16, kvHeads: 8, pageSize: 16, length: n, norms: true, vocab: 3008})
	}
	cases = append(cases,
		&passCase{layers: 2, hidden: 5120, intermediate: 6144, heads: 40, kvHeads: 8, pageSize: 16, length: 777, norms: true, vocab: 1008},
		&passCase{layers: 2, hidden: 3584, intermediate: 4608, heads: 28, kvHeads: 4, pageSize: 32, length: 401, biases: true},
		&passCase{layers: 2, hidden: 1024, intermediate: 2048, heads: 32, kvHeads: 8, pageSize: 48, length: 1500, window: 700})
	for _, c := range cases {
		t.Run(fmt.Sprintf("%d layers of %d and %d, %d:%d, %d of %d", c.layers, c.hidden, c.intermediate, c.heads, c.kvHeads, c.length, c.window), func(t *testing.T) {
			b := open(t, kernel.Shape{Heads: c.heads, KVHeads: c.kvHeads, HeadDim: 128, PageSize: c.pageSize})
			if !b.shape.PassFits(c.layers, c.hidden, c.intermediate) {
				t.Skip("no kernel")
			}
			c.fill(b.rand)
			a, kv := b.pass(c)
			var first []float32
			for run := range 20 {
				if run > 0 {
					a.X = upload(b, c.x)
				}
				b.must(kernel.DecodePass(b, b.shape, a))
				got := make([]float32, c.hidden)
				b.must(cuda.Download(b.Workbench, got, a.X))
				if run == 0 {
					first = got
				} else if !slices.Equal(got, first) {
					t.Fatalf("run %d differs", run)
				}
			}
			logits := make([]float32, c.vocab+1)
			b.must(cuda.Download(b.Workbench, logits, a.Logits))
			c.check(t, first, logits, func(i int) []uint16 {
				bits := make([]uint16, len(c.list[i].kv))
				b.must(cuda.Download(b.Workbench, bits, kv[i]))
				return bits
			})
		})
	}
}

// BenchmarkPass reports microseconds of a step of one token of layers of some models' sizes, and the share of
// 4.43 TB/s.
func BenchmarkPass(tb *testing.B) {
	for _, m := range []struct {
		name                                                string
		layers, vocab, hidden, intermediate, heads, kvHeads int
	}{
		{"0.6b", 28, 151936, 1024, 3072, 16, 8},
		{"0.6b-layers", 28, 0, 1024, 3072, 16, 8},
		{"14b", 8, 151936, 5120, 17408, 40, 8},
		{"14b-layers", 8, 0, 5120, 17408, 40, 8},
	} {
		for _, length := range []int{100, 600, 8000, 32000} {
			tb.Run(fmt.Sprintf("%s/%d", m.name, length), func(tb *testing.B) {
				b := open(tb, kernel.Shape{Heads: m.heads, KVHeads: m.kvHeads, HeadDim: 128, PageSize: 16})
				if !b.shape.PassFits(m.layers, m.hidden, m.intermediate) {
					tb.Skip("no kernel")
				}
				sizes := []int{(m.heads + 2*m.kvHeads) * 128 * m.hidden, m.hidden * m.heads * 128, 2 * m.intermediate * m.hidden, m.hidden * m.intermediate, m.hidden, m.hidden, 128, 128}
				layer, pages := 0, (length+15)/16
				for _, n := range sizes {
					layer += n
				}
				head, cache := m.vocab*m.hidden, pages*2*m.kvHeads*16*128
				weights, kv := b.zeros(int64(2*(m.layers*layer+head))), b.zeros(int64(2*m.layers*cache))
				b.must(kernel.FillRandom(b, weights, int64(m.layers*layer+head), m.hidden, 1))
				b.must(kernel.FillRandom(b, kv, int64(m.layers*cache), 4, 2))
				var list []kernel.PassLayer
				var matrices []kernel.PassTensor
				at := weights
				next := func(j int) kernel.Ptr {
					p := at
					at = at.Plus(int64(2 * sizes[j]))
					return p
				}
				for i := range m.layers {
					pages := kv.Plus(int64(2 * i * cache))
					matrices = append(matrices, b.shape.PassTensors(kernel.PassMatrices{QKV: next(0), O: next(1), GateUp: next(2), Down: next(3)}, pages, m.hidden, m.intermediate)...)
					list = append(list, kernel.PassLayer{Norm: next(4), MLPNorm: next(5), QNorm: next(6), KNorm: next(7), KV: pages})
				}
				if m.vocab > 0 {
					matrices = append(matrices, kernel.PassHead(at, m.vocab, m.hidden))
				}
				maps, err := b.PassMaps(matrices)
				b.must(err)
				table := make([]int32, pages)
				for i, p := range b.rand.Perm(pages) {
					table[i] = int32(p)
				}
				_, x := b.randomFloats(m.hidden)
				one := func(v int) kernel.Ptr { return upload(b, []int32{int32(v)}) }
				a := kernel.PassArgs{
					X: x, Layers: upload(b, list), Maps: maps, Positions: one(length - 1), TokenSlots: one(0), RowSlots: one(0), RowLens: one(length), Table: upload(b, table),
					Angles: upload(b, make([]float32, 128*length)), HeadNorm: list[0].Norm, Logits: b.zeros(int64(4*m.vocab + 4)), Vocab: int32(m.vocab),
					Words: b.zeros(b.shape.PassWords(m.hidden, m.intermediate)), Counts: b.zeros(8),
					NLayers: int32(m.layers), Hidden: int32(m.hidden), Intermediate: int32(m.intermediate), TableStride: int32(pages), Eps: 1e-6,
					Scale: float32(math.Log2E / math.Sqrt(128)),
				}
				ns := b.median(tb, func() error { return kernel.DecodePass(b, b.shape, a) })
				bytes := 2 * float64(m.layers*(layer+2*length*m.kvHeads*128)+head)
				tb.ReportMetric(ns/1e3, "us-gpu/op")
				tb.ReportMetric(bytes/ns/4430, "of-H200-limit")
			})
		}
	}
}

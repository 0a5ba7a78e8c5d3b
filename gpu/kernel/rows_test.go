//go:build cuda

package kernel_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/troupe-llm/troupe/gpu/kernel"
	"github.com/troupe-llm/troupe/gpu/kernel/ref"
)

func TestRopeWrite(t *testing.T) {
	list := shapes
	for _, s := range shapes {
		s.KVCodes = true
		list = append(list, s)
	}
	for _, s := range list {
		for _, plain := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d:%d×%d/%d/plain=%v/codes=%v", s.Heads, s.KVHeads, s.HeadDim, s.PageSize, plain, s.KVCodes), func(t *testing.T) {
				b := open(t, s)
				const tokens, positions = 9, 70
				all, d := s.Heads+2*s.KVHeads, s.HeadDim
				dims, width := d, all*d
				if plain { // some of each head is turned, and rows have more than heads
					dims, width = 16*(d/32), (all+s.Heads)*d
				}
				x, qkv := b.randomFloats(tokens * width)
				bias, biasAt := b.random(all * d)
				qNorm, qNormAt := b.random(d)
				kNorm, kNormAt := b.random(d)
				if plain { // as Llama has it
					bias, qNorm, kNorm, biasAt, qNormAt, kNormAt = nil, nil, nil, 0, 0, 0
				}
				var angles []float32
				for p := range positions {
					for i := range dims / 2 {
						sin, cos := math.Sincos(float64(p) * math.Pow(1e4, -2*float64(i)/float64(dims)))
						angles = append(angles, float32(cos), float32(sin))
					}
				}
				stride := (positions + s.PageSize - 1) / s.PageSize
				var table []int32
				for _, p := range b.rand.Perm(3 * stride) {
					table = append(table, int32(p))
				}
				at := []int32{0, 1, 2, positions - 1, 5, 6, 40, 3, 33}
				slots := []int32{2, 2, 2, 0, 1, 1, -1, 0, 1}
				pool := 3 * stride * 2 * s.KVHeads * s.PageSize * d
				q, kv, kvScales := b.zeros(int64(2*tokens*s.Heads*d)), b.zeros(int64(2*pool)), b.zeros(int64(4*pool/d))
				var rowScales, columnScales kernel.Ptr
				var known [2]float32
				if plain { // sums of a product of codes
					var byRow, byColumn []float32
					x, qkv = b.random(tokens * width)
					known = [2]float32{0.25, 0.5}
					byRow, rowScales = b.randomFloats(tokens)
					byColumn, columnScales = b.randomFloats(all * d)
					for token := range tokens {
						for j := range byColumn {
							x[token*width+j] *= byRow[token] * byColumn[j]
						}
					}
				}
				b.must(kernel.RopeWrite(b, s, kernel.RopeArgs{
					RowScales: rowScales, ColumnScales: columnScales,
					QKV: qkv, Q: q, Bias: biasAt, QNorm: qNormAt, KNorm: kNormAt, Angles: upload(b, angles),
					Positions: upload(b, at), Slots: upload(b, slots), Table: upload(b, table), KV: kv, KVScales: kvScales,
					Tokens: tokens, TableStride: int32(stride), Eps: 1e-6, Stride: int32(width), Dims: int32(dims),
					KeyScale: known[0], ValueScale: known[1],
				}))
				wantQ, wantKV := []float32{}, make([]float32, pool) // what nobody entered stays zero
				for token, p := range at {
					turns := angles[int(p)*dims:][:dims]
					for head := range all {
						row := x[token*width+head*d:][:d]
						var added []float32
						if bias != nil {
							added = bias[head*d:][:d]
						}
						if head < s.Heads {
							wantQ = append(wantQ, ref.Rope(row, added, qNorm, turns, 1e-6)...)
							continue
						}
						if slots[token] < 0 {
							continue
						}
						norm := kNorm
						if head >= s.Heads+s.KVHeads {
							norm, turns = nil, nil
						}
						page := int(table[int(slots[token])*stride+int(p)/s.PageSize])
						copy(wantKV[((page*2*s.KVHeads+head-s.Heads)*s.PageSize+int(p)%s.PageSize)*d:], ref.Rope(row, added, norm, turns, 1e-6))
					}
				}
				b.same("queries", q, wantQ)
				if s.KVCodes {
					b.nearCodes("pages", kernel.Codes{At: kv, Scales: kvScales}, wantKV, d)
					b.haveScales("pages", kvScales, known, pool/d, s.KVHeads*s.PageSize)
				} else {
					b.same("pages", kv, wantKV)
				}
			})
		}
	}
}

// BenchmarkRows times what goes over rows, and the products of few rows, in
// Qwen3-14B's shapes. Rows of up to 256 tokens come from the caches, as in a
// step; a prompt's 8,192 do not fit there.
func BenchmarkRows(tb *testing.B) {
	const hidden, intermediate, vocab = 5120, 17408, 151936
	shape := kernel.Shape{Heads: 40, KVHeads: 8, HeadDim: 128, PageSize: 16}
	width := (shape.Heads + 2*shape.KVHeads) * shape.HeadDim
	skinny := func(f func(kernel.Queue, kernel.SkinnyArgs, int) error, in, out int) func(*bench, int) (func() error, int) {
		return func(b *bench, n int) (func() error, int) {
			w := b.zeros(int64(2 * in * out))
			b.must(kernel.FillRandom(b, w, int64(in*out), in, 1))
			a := kernel.SkinnyArgs{
				X: b.zeros(int64(4 * n * in)), W: w, Norm: w, Y: b.zeros(int64(4 * n * out)),
				N: int32(n), In: int32(in), Out: int32(out), Ld: int32(out), Eps: 1e-6,
			}
			return func() error { return f(b, a, 2*b.GPU.SMs) }, 2 * in * out
		}
	}
	for _, c := range []struct {
		name   string
		tokens []int
		set    func(b *bench, n int) (run func() error, bytes int)
	}{
		{"embed", []int{1, 256, 8192}, func(b *bench, n int) (func() error, int) {
			ids := make([]int32, n)
			for i := range ids {
				ids[i] = int32(b.rand.IntN(vocab))
			}
			a := kernel.EmbedArgs{Tokens: upload(b, ids), Table: b.zeros(2 * vocab * hidden), Out: b.zeros(int64(4 * n * hidden)), Hidden: hidden, Scale: 1}
			return func() error { return kernel.Embed(b, a, n) }, 6 * n * hidden
		}},
		{"rms_norm", []int{256, 8192}, func(b *bench, n int) (func() error, int) {
			a := kernel.NormArgs{X: b.zeros(int64(4 * n * hidden)), W: b.zeros(2 * hidden), Y: b.zeros(int64(2 * n * hidden)), Hidden: hidden, Eps: 1e-6}
			return func() error { return kernel.RMSNorm(b, a, n) }, 6 * n * hidden
		}},
		{"rope_write", []int{1, 256, 8192}, func(b *bench, n int) (func() error, int) {
			positions, slots := make([]int32, n), make([]int32, n) // one sequence, its pages in order
			for i := range positions {
				positions[i] = int32(i)
			}
			norm := b.zeros(int64(2 * shape.HeadDim))
			a := kernel.RopeArgs{
				QKV: b.zeros(int64(4 * n * width)), Q: b.zeros(int64(2 * n * b.width())), QNorm: norm, KNorm: norm,
				Angles: b.zeros(int64(4 * n * shape.HeadDim)), Positions: upload(b, positions), Slots: upload(b, slots), Table: upload(b, positions),
				KV: b.zeros(int64(2 * (n + shape.PageSize) * 2 * shape.KVHeads * shape.HeadDim)), Tokens: int32(n), Eps: 1e-6,
				Stride: int32(width), Dims: int32(shape.HeadDim),
			}
			return func() error { return kernel.RopeWrite(b, shape, a) }, 6 * n * width
		}},
		{"silu_mul", []int{256, 8192}, func(b *bench, n int) (func() error, int) {
			a := kernel.SiluArgs{GateUp: b.zeros(int64(4 * n * intermediate)), Out: b.zeros(int64(2 * n * intermediate)), Intermediate: intermediate}
			return func() error { return kernel.SiluMul(b, a, n) }, 6 * n * intermediate
		}},
		{"skinny_norm", []int{1, 8, 16}, skinny(kernel.SkinnyNorm, hidden, width)},
		{"skinny_gate", []int{1, 8, 16}, skinny(kernel.SkinnyGate, hidden, 2*intermediate)},
		{"skinny_add", []int{1, 8, 16}, skinny(kernel.SkinnyAdd, intermediate, hidden)},
		{"skinny_wide", []int{1, 8, 16}, skinny(kernel.SkinnyNorm, hidden, vocab)},
	} {
		for _, n := range c.tokens {
			tb.Run(fmt.Sprintf("%s/%d", c.name, n), func(tb *testing.B) {
				b := open(tb, shape)
				run, bytes := c.set(b, n)
				ns := b.median(tb, run)
				tb.ReportMetric(ns/1e3, "us-gpu/op")
				tb.ReportMetric(float64(bytes)/ns/4430, "of-H200-limit")
			})
		}
	}
}

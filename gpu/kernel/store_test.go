//go:build cuda

package kernel_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/troupe-llm/troupe/gpu/cuda"
	"github.com/troupe-llm/troupe/gpu/kernel"
	"github.com/troupe-llm/troupe/gpu/kernel/ref"
)

// Heads that lie in wider rows are turned in place, and nothing else is.
func TestRope(t *testing.T) {
	b := open(t, shapes[0])
	for _, c := range []struct{ heads, dim, dims, at, width int }{{4, 64, 64, 0, 256}, {3, 128, 32, 16, 512}, {1, 64, 64, 512, 576}, {2, 20, 6, 8, 56}} {
		const tokens = 5
		x, at := b.randomFloats(tokens * c.width)
		angles, anglesAt := b.randomFloats(8 * c.dims)
		positions := []int32{7, 0, 3, 3, 1}
		b.must(kernel.Turn(b, kernel.TurnArgs{
			X: at.Plus(int64(4 * c.at)), Angles: anglesAt, Positions: upload(b, positions), Tokens: tokens, Heads: int32(c.heads), HeadDim: int32(c.dim),
			Dims: int32(c.dims), Stride: int32(c.width),
		}))
		for token, p := range positions {
			for head := range c.heads {
				row := x[token*c.width+c.at+head*c.dim:][:c.dim]
				copy(row, ref.Rope(row, nil, nil, angles[int(p)*c.dims:][:c.dims], 0))
			}
		}
		b.sameFloats(fmt.Sprint(c), at, x, 1e-5)
	}
}

// Keys and values go from views to their pages, and keys alone where they hold
// the values; codes by scales that are known, or by those they need.
func TestStore(t *testing.T) {
	b := open(t, shapes[0])
	var none [2]float32
	for _, c := range []struct {
		heads, dim, page int
		shared, codes    bool
		known            [2]float32
	}{
		{2, 64, 16, false, false, none},
		{3, 96, 5, false, false, none},
		{1, 576, 16, true, false, none},
		{2, 64, 16, false, true, none},
		{3, 96, 5, false, true, none},
		{1, 256, 3, false, true, none},
		{3, 64, 5, false, true, [2]float32{0.02, 0.03}},
	} {
		const tokens, slots, stride = 6, 3, 4
		width, sides := 8+2*c.heads*c.dim, 2
		x, at := b.randomFloats(tokens * width)
		var table []int32
		for _, p := range b.rand.Perm(slots * stride) {
			table = append(table, int32(p))
		}
		positions, slot := []int32{0, 1, int32(stride*c.page - 1), 7, 3, 2}, []int32{2, 2, 0, -1, 1, 0}
		a := kernel.StoreArgs{
			Keys: at.Plus(4 * 8), Values: at.Plus(int64(4 * (8 + c.heads*c.dim))), Positions: upload(b, positions), Slots: upload(b, slot), Table: upload(b, table),
			Tokens: tokens, Heads: int32(c.heads), Dim: int32(c.dim), PageSize: int32(c.page), TableStride: stride, KeyStride: int32(width), ValueStride: int32(width),
		}
		if c.shared {
			a.Values, sides = 0, 1
		}
		want := make([]float32, slots*stride*sides*c.heads*c.page*c.dim) // what nobody entered stays zero
		a.KV = b.zeros(int64(2 * len(want)))
		if c.codes {
			a.Scales, a.KeyScale, a.ValueScale = b.zeros(int64(4*len(want)/c.dim)), c.known[0], c.known[1]
		}
		b.must(kernel.Store(b, a))
		for token, p := range positions {
			for i := range sides * c.heads {
				if slot[token] >= 0 {
					page := int(table[int(slot[token])*stride+int(p)/c.page])
					copy(want[((page*sides*c.heads+i)*c.page+int(p)%c.page)*c.dim:], x[token*width+8+i*c.dim:][:c.dim])
				}
			}
		}
		if c.codes {
			b.nearCodes(fmt.Sprint(c), kernel.Codes{At: a.KV, Scales: a.Scales}, want, c.dim)
			b.haveScales(fmt.Sprint(c), a.Scales, c.known, len(want)/c.dim, c.heads*c.page)
		} else {
			b.same(fmt.Sprint(c), a.KV, want)
		}
	}
}

// haveScales says whether keys and values of pages, of so many rows a side, have the scales
// that are known, if some are; 0 is of what nobody entered.
func (b *bench) haveScales(what string, at kernel.Ptr, known [2]float32, rows, side int) {
	b.t.Helper()
	if known[0] == 0 {
		return
	}
	for i, scale := range download[float32](b, rows, at) {
		if want := known[i/side%2]; scale != 0 && scale != want {
			b.t.Fatalf("%s: row %d has the scale %v, want %v", what, i, scale, want)
		}
	}
}

func TestRoundQueries(t *testing.T) {
	b := open(t, shapes[0])
	const tokens, width, stride = 7, 200, 328
	x, at := b.randomFloats(tokens * stride)
	y := b.zeros(2 * tokens * width)
	b.must(kernel.RoundQueries(b, kernel.QueriesArgs{X: at.Plus(4 * 64), Y: y, Tokens: tokens, Width: width, Stride: stride}))
	var want []float32
	for token := range tokens {
		want = append(want, x[token*stride+64:][:width]...)
	}
	b.same("queries", y, want)
}

// Latent attention of tokens anywhere in their sequences, padding among them.
func TestLatentAttention(t *testing.T) {
	b := open(t, shapes[0])
	for _, c := range []struct{ heads, key, value, page, window int }{{16, 576, 512, 16, 0}, {5, 64, 48, 3, 0}, {40, 192, 128, 16, 50}, {128, 576, 512, 64, 0}} {
		const slots, longest = 3, 300
		stride := (longest + c.page - 1) / c.page
		var table []int32
		for _, p := range b.rand.Perm(slots * stride) {
			table = append(table, int32(p))
		}
		pool, kv := b.random(slots * stride * c.page * c.key)
		positions, slot := []int32{0, 15, 16, 299, 17, 130, 131}, []int32{0, 1, 2, 1, -1, 0, 0}
		n := len(positions)
		// Queries of bf16 in float32: products are exact, as the reference's.
		rounded, _ := b.random(n * c.heads * c.key)
		a := kernel.LatentArgs{
			Q: upload(b, rounded), KV: kv, Table: upload(b, table), Positions: upload(b, positions), Slots: upload(b, slot),
			Heads: int32(c.heads), KeyDim: int32(c.key), ValueDim: int32(c.value), PageSize: int32(c.page), TableStride: int32(stride),
			Window: int32(c.window), Scale: float32(math.Log2E / math.Sqrt(float64(c.key))),
		}
		var want []float32
		for token, p := range positions {
			for head := range c.heads {
				if slot[token] < 0 {
					want = append(want, make([]float32, c.value)...)
					continue
				}
				first := 0
				if c.window > 0 {
					first = max(0, int(p)+1-c.window)
				}
				key := func(p int) []float32 {
					return pool[(int(table[int(slot[token])*stride+p/c.page])*c.page+p%c.page)*c.key:][:c.key]
				}
				value := func(p int) []float32 { return key(p)[:c.value] }
				want = append(want, ref.Windowed(rounded[(token*c.heads+head)*c.key:][:c.key], first, int(p)+1, math.Inf(-1), key, value)...)
			}
		}
		a.Out = b.zeros(int64(4 * len(want)))
		b.must(kernel.LatentAttention(b, a, n))
		got := make([]float32, len(want))
		b.must(cuda.Download(b.Workbench, got, a.Out))
		for i, w := range want {
			if d := math.Abs(float64(got[i] - w)); !(d <= absolute+relative*math.Abs(float64(w))) {
				t.Fatalf("%v: element %d is %v, want %v", c, i, got[i], w)
			}
		}
		a.Rounded, a.Out = 1, b.zeros(int64(2*len(want)))
		b.must(kernel.LatentAttention(b, a, n))
		b.same(fmt.Sprint(c), a.Out, want)
	}
}

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

// codings are by rows, and by groups whose scales lie so far apart.
var codings = []int32{0, 24}

// codes makes room for rows that are quantised, poisoned.
func (b *bench) codes(rows, width int, stride int32) kernel.Codes {
	b.t.Helper()
	poison := func(n int) []byte {
		p := make([]byte, n)
		for i := range p {
			p[i] = 0xff
		}
		return p
	}
	return kernel.Codes{At: upload(b, poison(rows*width)), Scales: upload(b, poison(4*max(rows, int(stride)*width/kernel.CodeGroup))), Stride: stride}
}

// nearCodes compares what rows were quantised to with what is wanted: to a sixteenth
// of each number, and half of the smallest step. It returns the most that each scale
// is used for, in scales.
func (b *bench) nearCodes(what string, y kernel.Codes, want []float32, width int) (most []float64) {
	b.t.Helper()
	rows := len(want) / width
	codes := make([]byte, len(want))
	b.must(cuda.Download(b.Workbench, codes, y.At))
	scales := make([]float32, max(rows, int(y.Stride)*width/kernel.CodeGroup))
	b.must(cuda.Download(b.Workbench, scales, y.Scales))
	group, scale := width, func(row, _ int) float32 { return scales[row] }
	if y.Stride > 0 {
		group, scale = kernel.CodeGroup, func(row, column int) float32 { return scales[column/kernel.CodeGroup*int(y.Stride)+row] }
	}
	for i, v := range ref.Widen(codes, width, scale) {
		s := float64(scale(i/width, i%width))
		if d := math.Abs(float64(v - want[i])); !(d <= math.Abs(float64(want[i]))*(1.0/16+1e-2)+s/1000) {
			b.t.Fatalf("%s: element %d of row %d is %v, want %v, in steps of %v", what, i%width, i/width, v, want[i], s)
		}
		if i%group == 0 {
			most = append(most, 0)
		}
		most[len(most)-1] = max(most[len(most)-1], math.Abs(float64(v))/s)
	}
	return most
}

// sameCodes is nearCodes where every scale has a number that it is the least for.
func (b *bench) sameCodes(what string, y kernel.Codes, want []float32, width int) {
	b.t.Helper()
	for i, most := range b.nearCodes(what, y, want, width) {
		if !(most >= 440 && most <= 448.01) {
			b.t.Fatalf("%s: the most by scale %d is %v", what, i, most)
		}
	}
}

func TestNormCodes(t *testing.T) {
	b := open(t, shapes[0])
	const rows = 7
	for _, hidden := range []int{128, 1024, 2048, 5120, 16384} {
		for _, stride := range codings {
			for _, adds := range []bool{false, true} {
				x, xp := b.randomFloats(rows * hidden)
				w, wp := b.random(hidden)
				y := b.codes(rows, hidden, stride)
				a := kernel.NormCodesArgs{X: xp, W: wp, Y: y, Hidden: int32(hidden), Eps: 1e-6}
				if adds {
					sums, sp := b.random(rows * hidden)
					byRow, rp := b.randomFloats(rows)
					byColumn, cp := b.randomFloats(hidden)
					a.Sums, a.RowScales, a.ColumnScales = sp, rp, cp
					for i := range x {
						x[i] += sums[i] * byRow[i/hidden] * byColumn[i%hidden]
					}
				}
				what := fmt.Sprintf("hidden %d, stride %d, adds %v", hidden, stride, adds)
				b.must(kernel.NormCodes(b, a, rows))
				b.sameCodes(what, y, ref.RMSNorm(x, w, 1e-6), hidden)
				b.sameFloats(what, xp, x, 1e-5)
				a.Sums, a.Rounded, a.Y.At = 0, 1, b.zeros(int64(2*rows*hidden))
				b.must(kernel.NormCodes(b, a, rows))
				b.same(what+", rounded", a.Y.At, ref.RMSNorm(x, w, 1e-6))
			}
		}
	}
	if kernel.NormCodes(b, kernel.NormCodesArgs{Hidden: 192, Y: kernel.Codes{Stride: 8}}, 1) == nil || kernel.NormCodes(b, kernel.NormCodesArgs{Hidden: 1 << 15}, 1) == nil {
		t.Error("half a group, or a row that is too wide, was accepted")
	}
}

func TestSiluCodes(t *testing.T) {
	b := open(t, shapes[0])
	const rows = 5
	for _, n := range []int{128, 3072, 8192, 17408, 25600} {
		for _, stride := range codings {
			for _, scaled := range []bool{false, true} {
				x, xp := b.random(rows * 2 * n)
				y := b.codes(rows, n, stride)
				a := kernel.SiluCodesArgs{GateUp: xp, Y: y, Intermediate: int32(n)}
				if scaled {
					byRow, rp := b.randomFloats(rows)
					byColumn, cp := b.randomFloats(2 * n)
					a.RowScales, a.ColumnScales = rp, cp
					for i := range x {
						x[i] *= byRow[i/(2*n)] * byColumn[i%(2*n)]
					}
				}
				b.must(kernel.SiluCodes(b, a, rows))
				b.sameCodes(fmt.Sprintf("%d, stride %d, scaled %v", n, stride, scaled), y, ref.SiluMul(x, n), n)
			}
		}
	}
}

func TestCodeRows(t *testing.T) {
	b := open(t, shapes[0])
	const rows = 9
	for _, n := range []int{128, 2048, 5120, 17408, 32768} {
		for _, stride := range codings {
			x, xp := b.random(rows * (n + 8))
			want := make([]float32, 0, rows*n)
			for r := range rows {
				want = append(want, x[r*(n+8)+8:][:n]...)
			}
			y := b.codes(rows, n, stride)
			b.must(kernel.CodeRows(b, kernel.CodeRowsArgs{X: kernel.View{At: xp.Plus(16), Stride: int32(n + 8), Half: 1}, Y: y, Width: int32(n)}, rows))
			b.sameCodes(fmt.Sprint(n, " ", stride), y, want, n)
		}
	}
}

// Products of few rows with weights in codes, scaled by output and by block: the
// weights are exact.
func TestSkinnyCodes(t *testing.T) {
	b := open(t, shapes[0])
	for _, in := range []int{128, 640, 1024, 5120} {
		for i, n := range []int{1, 3, 8, 9, 16} {
			most := []int{2, 200}[i%2]
			for _, blocks := range []bool{false, true} {
				for _, out := range []int{16, 272, 20000} {
					if out == 20000 && in != 640 {
						continue
					}
					const gates = 256
					codes := make([]byte, max(out, 2*gates)*in)
					for i := range codes {
						for codes[i] = byte(b.rand.Uint32()); codes[i]&127 == 127; codes[i]-- {
						}
					}
					stride := 0
					if blocks {
						stride = (in/128 + 3) &^ 3
					}
					scales := make([]float32, (max(out, 2*gates)+127)*max(1, stride))
					for i := range scales {
						scales[i] = (0.5 + b.rand.Float32()) / float32(64*math.Sqrt(float64(in)))
					}
					w := ref.Widen(codes, in, func(row, column int) float32 {
						if blocks {
							return scales[row/128*stride+column/128]
						}
						return scales[row]
					})
					a := kernel.SkinnyArgs{W: upload(b, codes), Scales: upload(b, scales), ScaleStride: int32(stride), N: int32(n), In: int32(in), Eps: 1e-6}
					what := fmt.Sprintf("%d×%d by %d, blocks %v", n, in, out, blocks)
					x, xp := b.randomFloats(n * in)
					norm, np := b.random(in)
					normed := ref.RMSNorm(x, norm, 1e-6)
					within := 0.03 // every x·norm is rounded to 8 bits

					y := b.zeros(int64(4 * n * out))
					a.X, a.Norm, a.Y, a.Out, a.Ld = xp, np, y, int32(out), int32(out)
					b.must(kernel.SkinnyNorm(b, a, most))
					b.sameFloats(what, y, ref.Product(normed, w[:out*in], in), within)

					mixed, mp := b.random(n * in)
					before, yp := b.randomFloats(n * out)
					sum := ref.Product(mixed, w[:out*in], in)
					for i := range sum {
						sum[i] += before[i]
					}
					a.X, a.Y = mp, yp
					b.must(kernel.SkinnyAdd(b, a, most))
					b.sameFloats(what+", added", yp, sum, 1e-4)

					gated := b.zeros(int64(2 * n * gates))
					a.X, a.Y, a.Out = xp, gated, 2*gates
					b.must(kernel.SkinnyGate(b, a, most))
					got, want := make([]uint16, n*gates), ref.SiluMul(ref.Product(normed, w[:2*gates*in], in), gates)
					b.must(cuda.Download(b.Workbench, got, gated))
					for i, v := range want {
						if d := math.Abs(float64(math.Float32frombits(uint32(got[i])<<16) - v)); !(d <= 0.05+0.02*math.Abs(float64(v))) {
							t.Fatalf("%s, gated: element %d is %v, want %v", what, i, math.Float32frombits(uint32(got[i])<<16), v)
						}
					}
				}
			}
		}
	}
}

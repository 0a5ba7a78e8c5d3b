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
				b.must(kernel.SiluCodes(b, a, rows, 2)) // blocks, one of three rows
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

// Products of few rows with weights in codes, of all kinds, share out among any number
// of blocks.
func TestSkinnyCodes(t *testing.T) {
	b := open(t, shapes[0])
	b.Overlap()
	run := func(c *codesCase) {
		t.Helper()
		a := c.args()
		a.W, a.Scales, a.Y = upload(b, c.codes), upload(b, c.scales), upload(b, c.y)
		if a.X = upload(b, c.bits); c.form != codesAdd {
			a.X, a.Norm = upload(b, c.x), upload(b, c.norm)
			if c.n > 1 { // the rows backwards
				var rows []int32
				for i := range c.n {
					rows = append(rows, int32(c.n-1-i))
				}
				a.Rows, c.backwards = upload(b, rows), true
			}
		}
		b.must([]func(kernel.Queue, kernel.SkinnyArgs, int) error{kernel.SkinnyNorm, kernel.SkinnyGate, kernel.SkinnyAdd}[c.form](b, a, c.most))
		got := make([]byte, len(c.y))
		b.must(cuda.Download(b.Workbench, got, a.Y))
		c.check(t, got)
	}
	for n := 1; n <= kernel.MaxSkinny; n++ {
		for i, s := range []struct{ out, in, most int }{{16, 64, 2}, {200, 640, 2}, {2144, 512, 264}, {90, 1152, 200}, {264, 2560, 264}} {
			for form := range 3 {
				for scaled := range 2 {
					if form == codesGate && s.out%32 != 0 {
						s.out = (s.out + 31) &^ 31
					}
					c := newCodesCase(b.rand, codesCase{n: n, out: s.out, in: s.in, form: form, blocks: scaled == 1, rounded: form != codesGate && (n+i)%3 == 0, most: s.most})
					run(c)
				}
			}
		}
	}
}

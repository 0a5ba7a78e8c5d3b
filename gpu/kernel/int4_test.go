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

// Products of weights of 4 bits, of few rows as they are, of many rounded to bfloat16:
// sums are off by float32's roundings. Blocks share tiles with others, or have
// several; what they count with is used again and again.
func TestInt4(t *testing.T) {
	b := open(t, shapes[0])
	partial, arrived := kernel.Int4Scratch(b.GPU.SMs, b.shape.Hopper)
	scratch := kernel.Int4Args{Partial: b.zeros(partial), Arrived: b.zeros(arrived)}
	for _, size := range [][2]int{{32, 128}, {272 * 2, 640}, {96, 5120}, {4128, 256}, {512, 384}} {
		for g, group := range []int{128, 64, 32} {
			out, in := size[0], size[1]
			exact, rounded, packed := random4(b.rand, out, in, group)
			wp := upload(b, packed)
			for i, n := range []int{1, 3, 8, 9, 16, 17, 64, 65, 200, 300} {
				if n > kernel.MaxInt4Few && (b.shape.Hopper == 0 || out > 4000 && g > 0) {
					continue
				}
				blocks := []int{b.GPU.SMs, 1}[i%2]
				x, xp := b.random(n * in)
				a := scratch
				a.W, a.X, a.N, a.In, a.Out = wp, xp, int32(n), int32(in), int32(out)
				what := fmt.Sprintf("%d×%d by %d in groups of %d, %d processors", n, in, out, group, blocks)
				w := exact
				if n > kernel.MaxInt4Few {
					w = rounded
				}
				exactly, within := ref.Product(x, w, in), make([]float64, n*out)
				want := exactly
				if n <= 4 && b.shape.Hopper > 0 { // in whole numbers
					ref.Sixteen(x)
					want = ref.Product(x, w, in)
				}
				squares := ref.Product(squared(x), squared(w), in)
				for i := range within {
					within[i] = 1e-5 * math.Sqrt(float64(squares[i])*float64(in))
				}
				way := ""
				run := func(form int32, gate bool, ld int, y kernel.Ptr) {
					a := a
					a.Form, a.Ld, a.Y = form, int32(ld), y
					b.must(kernel.Int4ProductBy(b, a, group, gate, blocks, b.shape.Hopper, way))
				}
				poison := func(count int) kernel.Ptr { // NaN, of either width
					bits := make([]uint32, count)
					for i := range bits {
						bits[i] = 0x7fc07fc0
					}
					return upload(b, bits)
				}
				var y kernel.Ptr
				for _, way = range waysOf(n, out, b.shape.Hopper) {
					y = poison(n * out)
					run(kernel.Int4Floats, false, out, y)
					want := want
					if way != "" {
						want = exactly
					}
					b.nearFloats(what+" "+way, y, want, within)
				}

				before, yp := b.randomFloats(n * out)
				run(kernel.Int4Adds, false, out, yp)
				sum := make([]float32, len(want))
				for i := range sum {
					sum[i] = want[i] + before[i]
				}
				b.nearFloats(what+", added", yp, sum, within)

				near := func(what string, y kernel.Ptr, ld int, want []float32, within func(i int) float64) {
					width := len(want) / n
					got := make([]uint16, n*ld)
					b.must(cuda.Download(b.Workbench, got, y))
					for i, v := range want {
						g := math.Float32frombits(uint32(got[i/width*ld+i%width]) << 16)
						if d := math.Abs(float64(g - v)); !(d <= within(i)+math.Abs(float64(v))/256) {
							t.Fatalf("%s: element %d is %v, want %v", what, i, g, v)
						}
					}
				}
				y = poison(n * (out + 4))
				run(kernel.Int4Rounded, false, out+4, y)
				near(what+", rounded", y, out+4, want, func(i int) float64 { return within[i] })
				y = poison(n * out / 2)
				run(kernel.Int4Rounded, true, out/2, y)
				near(what+", gated", y, out/2, ref.SiluMul(want, out/2), func(i int) float64 { // a gate's slope is 1.1 at most
					gate := i/(out/2)*out + i%(out/2)
					return 1e-5 + 1.1*within[gate]*math.Abs(float64(want[gate+out/2])) + within[gate+out/2]*(math.Abs(float64(want[gate]))+within[gate]*1.1)
				})
			}
			wide := b.zeros(int64(2 * out * in))
			b.must(kernel.Int4Widen(b, kernel.Int4WidenArgs{W: wp, Y: wide, In: int32(in), Out: int32(out)}, group))
			got := make([]uint16, out*in)
			b.must(cuda.Download(b.Workbench, got, wide))
			for i, v := range exact {
				if g := math.Float32frombits(uint32(got[i]) << 16); !(math.Abs(float64(g-v)) <= math.Abs(float64(v))/256) {
					t.Fatalf("widened: %d×%d: element %d is %v, want %v", out, in, i, g, v)
				}
			}
		}
	}
	for _, a := range []kernel.Int4Args{{N: 0, In: 128, Out: 16}, {N: 17, In: 128, Out: 16}, {N: 1, In: 64, Out: 16}, {N: 1, In: 128, Out: 24}} {
		if kernel.Int4Product(b, a, 128, false, 1, 0) == nil {
			t.Errorf("%+v: accepted", a)
		}
	}
	if kernel.Int4Product(b, kernel.Int4Args{N: 1, In: 128, Out: 16}, 96, false, 1, 0) == nil {
		t.Error("groups of 96 were accepted")
	}
}

func TestInt4Order(t *testing.T) {
	b := open(t, shapes[0])
	for _, in := range []int{128, 640, 17408} {
		const rows = 3
		order := make([]int32, in)
		for i, k := range b.rand.Perm(in) {
			order[i] = int32(k)
		}
		x, xp := b.random(rows * in)
		f, fp := b.randomFloats(rows * in)
		for half, from := range [][]float32{f, x} {
			y := b.zeros(int64(2 * rows * in))
			a := kernel.Int4OrderArgs{X: kernel.View{At: []kernel.Ptr{fp, xp}[half], Stride: int32(in), Half: int32(half)}, Order: upload(b, order), Y: y, In: int32(in)}
			b.must(kernel.Int4Order(b, a, rows))
			want := make([]float32, rows*in)
			for i := range want {
				want[i] = from[i/in*in+int(order[i%in])]
			}
			b.same(fmt.Sprint(in, half), y, want)
		}
	}
}

// waysOf are the ways to multiply so many rows without gates, the one that is chosen last.
func waysOf(n, out, hopper int) (ways []string) {
	if n <= kernel.MaxInt4Few || hopper > 0 {
		ways = append(ways, kernel.Int4Shared)
	}
	if hopper > 0 && n > kernel.MaxInt4Few {
		ways = append(ways, kernel.Int4Splits(n, out, hopper)...)
	}
	if hopper > 0 && n <= kernel.MaxInt4Few {
		ways = append(ways, kernel.Int4Rows)
	}
	return append(ways, "")
}

// nearFloats is sameFloats with a distance for each.
func (b *bench) nearFloats(what string, at kernel.Ptr, want []float32, within []float64) {
	b.t.Helper()
	got := make([]float32, len(want))
	b.must(cuda.Download(b.Workbench, got, at))
	for i, w := range want {
		if d := math.Abs(float64(got[i] - w)); !(d <= within[i]) {
			b.t.Fatalf("%s: element %d is %v, want %v, to %v", what, i, got[i], w, within[i])
		}
	}
}

//go:build cuda

package kernel_test

import (
	"math/rand/v2"
	"testing"

	"github.com/troupe-llm/troupe/gpu/kernel"
	"github.com/troupe-llm/troupe/gpu/kernel/ref"
)

// Products of codes of 1 to 64 rows are those of float64 in all ways, also where all
// numbers have one sign, and the same to the last bit again; nothing is written besides.
func TestCodesProducts(t *testing.T) {
	b := open(t, shapes[0])
	if b.shape.Hopper == 0 {
		t.Skip("not for this GPU")
	}
	b.Overlap()
	const most = 80
	for i, c := range []struct{ in, out int }{{1024, 416}, {640, 2000}, {4096, 272}} {
		r := rand.New(rand.NewPCG(3, uint64(i)))
		codes := func(n int) ([]float32, kernel.Ptr) {
			raw, f := make([]byte, n), make([]float32, n)
			for j := range raw {
				for raw[j] = byte(r.Uint32()); raw[j]&127 == 127; raw[j]-- {
				}
				if i == 2 {
					raw[j] &= 127
				}
				f[j] = ref.E4M3(raw[j])
			}
			return f, upload(b, raw)
		}
		w, wp := codes(c.out * c.in)
		x, xp := codes(most * c.in)
		sums, sizes := sums64(x, w, c.in)
		ld := c.out + 8
		y := b.zeros(int64(4 * (most + 1) * ld))
		for _, n := range []int{1, 9, 16, 17, 32, 33, 48, 64} {
			f := kernel.Factors{W: wp, X: xp, Y: y, N: n, In: c.in, Out: c.out, Ld: ld, Most: most, Form: kernel.ProductRounded, Codes: true}
			ways := append(kernel.Ways(f, b.shape.Hopper),
				kernel.Way{Tokens: 16, Rows: 48, Split: 3}, kernel.Way{Tokens: 32, Rows: 144, Split: 1}, kernel.Way{Tokens: 64, Rows: 112, Split: 2},
				kernel.Way{Tokens: 64, Rows: 272, Split: 1, Alone: true}, kernel.Way{Tokens: 64, Rows: 64, Split: 4})
			for _, way := range ways {
				b.checkProduct(f, way, sums, sizes)
			}
		}
	}
}

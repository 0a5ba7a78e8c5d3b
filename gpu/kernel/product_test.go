//go:build cuda

package kernel_test

import (
	"bytes"
	"fmt"
	"math"
	"testing"

	"github.com/troupe-llm/troupe/gpu/cuda"
	"github.com/troupe-llm/troupe/gpu/kernel"
	"github.com/troupe-llm/troupe/gpu/model"
)

// sums64 are x·wᵀ in float64 and the sums of what is added up, without signs.
func sums64(x, w []float32, in int) (sums, sizes []float64) {
	n, out := len(x)/in, len(w)/in
	sums, sizes = make([]float64, n*out), make([]float64, n*out)
	for i := range n {
		for o := range out {
			var s, a float64
			for k, v := range x[i*in : (i+1)*in] {
				p := float64(v) * float64(w[o*in+k])
				s, a = s+p, a+math.Abs(p)
			}
			sums[i*out+o], sizes[i*out+o] = s, a
		}
	}
	return sums, sizes
}

// Products of 1 to 512 rows are those of float64 in all ways, and the same to the last
// bit again; nothing is written besides.
func TestProducts(t *testing.T) {
	b := open(t, shapes[0])
	if b.shape.Hopper == 0 {
		t.Skip("not for this GPU")
	}
	b.Overlap()
	const most = 512
	for _, c := range []struct{ in, out, step int }{{1024, 416, 1}, {512, 800, 7}, {192, 2048, 31}} {
		if testing.Short() {
			c.step = 101
		}
		w, wp := b.random(c.out * c.in)
		x, xp := b.random(most * c.in)
		sums, sizes := sums64(x, w, c.in)
		ld := c.out + 8
		y := b.zeros(int64(4 * (most + 1) * ld))
		turn := 0
		for n := 1; n <= most; n += c.step {
			for range 4 {
				f := kernel.Factors{W: wp, X: xp, Y: y, N: n, In: c.in, Out: c.out, Ld: ld, Most: most, Form: int32(turn % 3)}
				ways := kernel.Ways(f, b.shape.Hopper)
				if n%16 == 0 { // others that take a few tiles
					ways = append(ways, kernel.Way{Tokens: 64, Rows: 64, Split: 2}, kernel.Way{Tokens: 16, Rows: 48, Split: 3}, kernel.Way{Tokens: 64, Rows: 272, Split: 1, Alone: true})
				}
				if len(ways) == 0 {
					ways = []kernel.Way{{Tokens: 64, Rows: 112, Split: 2}}
				}
				way := ways[turn/3%len(ways)]
				turn++
				b.checkProduct(f, way, sums, sizes)
			}
		}
	}
}

// checkProduct runs a product twice.
func (b *bench) checkProduct(f kernel.Factors, way kernel.Way, sums, sizes []float64) {
	b.t.Helper()
	what := fmt.Sprintf("%d rows, %d inputs, %d outputs by %v, form %d", f.N, f.In, f.Out, way, f.Form)
	const poison = 0x3b                // as float32 and as bf16 a number, 0.0029
	bytesOf := 4 * int64((f.N+1)*f.Ld) // a row behind the last is to stay as it is
	var got [2][]byte
	for i := range got {
		b.must(b.Fill(f.Y, poison, bytesOf))
		if err := kernel.Product(b, b.Map, f, way); err != nil {
			b.t.Fatalf("%s: %v", what, err)
		}
		got[i] = make([]byte, bytesOf)
		b.must(cuda.Download(b.Workbench, got[i], f.Y))
	}
	if !bytes.Equal(got[0], got[1]) {
		b.t.Errorf("%s: another result the second time", what)
	}
	at := func(i int) float64 {
		if f.Form == kernel.ProductRounded {
			return float64(model.FromBF16(uint16(got[0][2*i]) | uint16(got[0][2*i+1])<<8))
		}
		return float64(math.Float32frombits(uint32(got[0][4*i]) | uint32(got[0][4*i+1])<<8 | uint32(got[0][4*i+2])<<16 | uint32(got[0][4*i+3])<<24))
	}
	before := at((f.N+1)*f.Ld - 1)
	for row := range f.N + 1 {
		for column := range f.Ld {
			g := at(row*f.Ld + column)
			if column >= f.Out || row == f.N {
				if g != before {
					b.t.Fatalf("%s: row %d: column %d is nobody's and became %v", what, row, column, g)
				}
				continue
			}
			i := row*f.Out + column
			v, far := sums[i], 1e-6*sizes[i]+1e-6
			if f.Codes { // of which 128 are added up in some 14 bits
				far = 2e-3 * sizes[i]
			}
			switch f.Form {
			case kernel.ProductRounded:
				far += math.Abs(v) / 256
			case kernel.ProductAdds:
				v += before
			}
			if !(math.Abs(g-v) <= far) {
				b.t.Fatalf("%s: row %d, column %d is %v, want %v to %v", what, row, column, g, v, far)
			}
		}
	}
}

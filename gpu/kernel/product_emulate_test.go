package kernel_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/troupe-llm/troupe/gpu/kernel"
	"github.com/troupe-llm/troupe/gpu/kernel/ref"
	"github.com/troupe-llm/troupe/gpu/model"
)

// productJob is what testdata/emulate/product.cpp runs.
type productJob struct{ N, Most, In, Out, Ld, Form, Bytes, Tokens, Rows, Box, Split, Depth, Seed, Codes int32 }

// launched is a Queue that keeps what it is asked to launch.
type launched struct {
	launch kernel.Launch
	args   kernel.ProductArgs
}

func (l *launched) Launch(given kernel.Launch) error {
	l.launch, l.args = given, *(*kernel.ProductArgs)(given.Args)
	return nil
}

// The kernel for products of some rows, run on the processor by its own source, adds up
// what ref.Product does: however the work is shared out, in rings that are used again, with tiles
// that reach beyond the matrix, and nothing is written besides.
func TestEmulatedProducts(t *testing.T) {
	program := emulated(t, "product")
	r := rand.New(rand.NewPCG(11, 12))
	for i, c := range []struct {
		n, in, out int
		way        kernel.Way
	}{
		{13, 512, 208, kernel.Way{Tokens: 16, Rows: 48, Split: 1}},
		{16, 1024, 160, kernel.Way{Tokens: 16, Rows: 80, Split: 2}},
		{9, 768, 288, kernel.Way{Tokens: 16, Rows: 144, Split: 3}},
		{16, 256, 560, kernel.Way{Tokens: 16, Rows: 272, Split: 1}},
		{30, 640, 480, kernel.Way{Tokens: 32, Rows: 160, Split: 2}},
		{64, 640, 224, kernel.Way{Tokens: 64, Rows: 112, Split: 4}},
		{50, 448, 768, kernel.Way{Tokens: 64, Rows: 288, Split: 1, Alone: true}},
		{90, 256, 512, kernel.Way{Tokens: 64, Rows: 64, Split: 2, Alone: true}},
	} {
		for form := range int32(3) {
			if i > 1 && int(form) != i%3 { // these take long
				continue
			}
			f := kernel.Factors{N: c.n, In: c.in, Out: c.out, Most: c.n + i%3, Form: form, Ld: c.out + 4}
			t.Run(fmt.Sprintf("%d·%d·%d by %v, form %d", c.n, c.in, c.out, c.way, form), func(t *testing.T) {
				var l launched
				maps := func(k kernel.Tensor) (kernel.TensorMap, error) { return kernel.TensorMap{uint64(k.Box)}, nil }
				if err := kernel.Product(&l, maps, f, c.way); err != nil {
					t.Fatal(err)
				}
				a := l.args
				j := productJob{
					int32(f.N), int32(f.Most), int32(f.In), int32(f.Out), int32(f.Ld), form, 0, int32(c.way.Tokens), a.Rows, a.Box, a.Split, min(a.Depth, 2+int32(i)%3), int32(i + 1), 0,
				}
				if want := int32(c.way.Tokens); a.W[0] != uint64(a.Box) || a.X[0] != uint64(want) {
					t.Fatalf("maps of tiles of %d and %d rows, want %d and %d", a.W[0], a.X[0], a.Box, want)
				}
				checkProduct(t, program, j, r)
			})
		}
	}
}

// The same of codes, of which a chunk has twice as many.
func TestEmulatedCodesProducts(t *testing.T) {
	program := emulated(t, "product")
	r := rand.New(rand.NewPCG(13, 14))
	for i, c := range []struct {
		n, in, out int
		way        kernel.Way
	}{
		{13, 1024, 208, kernel.Way{Tokens: 16, Rows: 48, Split: 2}},
		{30, 640, 480, kernel.Way{Tokens: 32, Rows: 160, Split: 3}},
		{64, 768, 768, kernel.Way{Tokens: 64, Rows: 288, Split: 1, Alone: true}},
	} {
		f := kernel.Factors{N: c.n, In: c.in, Out: c.out, Most: c.n + i%3, Form: kernel.ProductRounded, Ld: c.out + 4, Codes: true}
		t.Run(fmt.Sprintf("%d·%d·%d by %v", c.n, c.in, c.out, c.way), func(t *testing.T) {
			var l launched
			maps := func(k kernel.Tensor) (kernel.TensorMap, error) {
				return kernel.TensorMap{uint64(k.Columns)}, nil
			}
			if err := kernel.Product(&l, maps, f, c.way); err != nil {
				t.Fatal(err)
			}
			a := l.args
			if want := uint64(c.in / 2); a.W[0] != want || a.X[0] != want || a.Chunks != int32(c.in/128) {
				t.Fatalf("maps of %d and %d columns, %d chunks; want %d pairs of codes", a.W[0], a.X[0], a.Chunks, want)
			}
			checkProduct(t, program, productJob{
				N: int32(f.N), Most: int32(f.Most), In: int32(f.In), Out: int32(f.Out), Ld: int32(f.Ld), Form: f.Form, Tokens: int32(c.way.Tokens),
				Rows: a.Rows, Box: a.Box, Split: a.Split, Depth: min(a.Depth, 2+int32(i)%3), Seed: int32(i + 1), Codes: 1,
			}, r)
		})
	}
}

// checkProduct holds a job against ref.Product.
func checkProduct(t *testing.T, program string, j productJob, r *rand.Rand) {
	n, in, out, ld := int(j.N), int(j.In), int(j.Out), int(j.Ld)
	draw := func(n int) ([]float32, any) {
		f, bits := make([]float32, n), make([]uint16, n)
		for i := range f {
			bits[i] = model.ToBF16(float32(r.NormFloat64() + 0.3))
			f[i] = model.FromBF16(bits[i])
		}
		return f, bits
	}
	var w, x []float32
	var wBits, xBits any
	if j.Codes > 0 {
		w, wBits = drawCodes(r, out*in)
		x, xBits = drawCodes(r, int(j.Most)*in)
	} else {
		w, wBits = draw(out * in)
		x, xBits = draw(int(j.Most) * in)
	}
	size := 4
	if j.Form == kernel.ProductRounded {
		size = 2
	}
	y := bytes.Repeat([]byte{0xff}, n*ld*size)
	before := make([]float32, n*ld)
	if j.Form == kernel.ProductAdds {
		for i := range before {
			before[i] = float32(r.NormFloat64())
			binary.LittleEndian.PutUint32(y[4*i:], math.Float32bits(before[i]))
		}
	}
	j.Bytes = int32(len(y))
	got := emulate(t, program, j, y, wBits, xBits)
	want := ref.Product(x[:n*in], w, in)
	loss := 1e-5 * math.Sqrt(float64(in))
	for row := range n {
		for column := range ld {
			at := row*ld + column
			if column >= out {
				if !bytes.Equal(got[at*size:][:size], y[at*size:][:size]) {
					t.Fatalf("row %d: column %d behind the last is written", row, column)
				}
				continue
			}
			i := row*out + column
			g, v, far := 0.0, float64(want[i]), loss*math.Sqrt(float64(in))
			if size == 4 {
				g = float64(math.Float32frombits(binary.LittleEndian.Uint32(got[4*at:])))
			} else {
				g = float64(model.FromBF16(binary.LittleEndian.Uint16(got[2*at:])))
			}
			if j.Form == kernel.ProductAdds {
				v += float64(before[at])
			}
			if size == 2 {
				far += math.Abs(v) / 256
			}
			if !(math.Abs(g-v) <= far) {
				t.Fatalf("row %d, column %d is %v, want %v to %v", row, column, g, v, far)
			}
		}
	}
}

// drawCodes draws numbers of E4M3 up to 15.
func drawCodes(r *rand.Rand, n int) ([]float32, any) {
	f, codes := make([]float32, n), make([]byte, n)
	for i := range f {
		codes[i] = byte(r.IntN(0x50) | r.IntN(2)<<7)
		f[i] = ref.E4M3(codes[i])
	}
	return f, codes
}

package kernel_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/troupe-llm/troupe/gpu/kernel"
	"github.com/troupe-llm/troupe/gpu/kernel/ref"
	"github.com/troupe-llm/troupe/gpu/model"
)

// The kinds of products of few rows with weights in codes.
const (
	codesNorm = iota
	codesGate
	codesAdd
)

// codesCase is one such product, of numbers made up.
type codesCase struct {
	n, out, in, form int
	blocks           bool // scales are of 128 × 128, else of outputs
	rounded          bool // to bf16, which is not added to
	backwards        bool // y's rows
	most             int  // see SkinnyNorm

	ld, stride int
	codes      []byte
	scales     []float32
	x          []float32 // of codesAdd what bits are
	bits, norm []uint16
	y          []byte // before
}

func newCodesCase(r *rand.Rand, c codesCase) *codesCase {
	bf16 := func(n int) []uint16 {
		bits := make([]uint16, n)
		for i := range bits {
			bits[i] = model.ToBF16(float32(r.NormFloat64() + 0.2))
		}
		return bits
	}
	c.codes = make([]byte, c.out*c.in)
	for i := range c.codes {
		for c.codes[i] = byte(r.Uint32()); c.codes[i]&127 == 127; c.codes[i]-- {
		}
	}
	c.scales = make([]float32, c.out)
	if c.blocks {
		c.stride = (c.in/128 + 4) &^ 3
		c.scales = make([]float32, (c.out+127)/128*c.stride)
	}
	for i := range c.scales {
		c.scales[i] = (0.5 + r.Float32()) / float32(64*math.Sqrt(float64(c.in)))
	}
	c.bits, c.norm, c.x = bf16(c.n*c.in), bf16(c.in), make([]float32, c.n*c.in)
	for i := range c.x {
		c.x[i] = model.FromBF16(c.bits[i])
		if c.form != codesAdd {
			c.x[i] += float32(r.NormFloat64())
		}
	}
	c.ld = c.out
	if c.form == codesGate {
		c.ld /= 2
	} else {
		c.ld += 4
	}
	c.y = make([]byte, c.n*c.ld*c.size())
	for i := 0; i < len(c.y); i += c.size() {
		if c.size() == 4 {
			binary.LittleEndian.PutUint32(c.y[i:], math.Float32bits(float32(r.NormFloat64())))
		}
	}
	return &c
}

func (c *codesCase) size() int {
	if c.rounded || c.form == codesGate {
		return 2
	}
	return 4
}

func (c *codesCase) args() kernel.SkinnyArgs {
	a := kernel.SkinnyArgs{N: int32(c.n), In: int32(c.in), Out: int32(c.out), Ld: int32(c.ld), ScaleStride: int32(c.stride), Eps: 1e-6}
	if c.rounded {
		a.Rounded = 1
	}
	return a
}

func (c *codesCase) at(y []byte, i int) float64 {
	if c.size() == 2 {
		return float64(model.FromBF16(binary.LittleEndian.Uint16(y[2*i:])))
	}
	return float64(math.Float32frombits(binary.LittleEndian.Uint32(y[4*i:])))
}

// check holds a result against the products of what codes and scales are, to what is
// lost when x is made halves, and sums in float32.
func (c *codesCase) check(t *testing.T, got []byte) {
	t.Helper()
	w := ref.Widen(c.codes, c.in, func(row, column int) float32 {
		if c.blocks {
			return c.scales[row/128*c.stride+column/128]
		}
		return c.scales[row]
	})
	x, loss := c.x, 1e-6*math.Sqrt(float64(c.in))
	if c.form != codesAdd {
		norm := make([]float32, c.in)
		for i := range norm {
			norm[i] = model.FromBF16(c.norm[i])
		}
		x, loss = ref.RMSNorm(x, norm, 1e-6), loss+6.0/4096
	}
	want, squares := ref.Product(x, w, c.in), ref.Product(squared(x), squared(w), c.in)
	columns := c.out
	if c.form == codesGate {
		columns /= 2
	}
	what := fmt.Sprintf("%d × %d by %d, form %d, blocks %v, rounded %v, most %d", c.n, c.in, c.out, c.form, c.blocks, c.rounded, c.most)
	for i := range c.n * c.ld {
		row, column := i/c.ld, i%c.ld
		g := c.at(got, i)
		if column >= columns {
			if g != c.at(c.y, i) {
				t.Fatalf("%s: column %d of row %d, behind the last, is written", what, column, row)
			}
			continue
		}
		if c.backwards {
			row = c.n - 1 - row
		}
		at := row*c.out + column
		v, far := float64(want[at]), 1e-5+loss*math.Sqrt(float64(squares[at]))
		switch {
		case c.form == codesGate:
			u, up := float64(want[at+columns]), 1e-5+loss*math.Sqrt(float64(squares[at+columns]))
			far = 1.1*far*math.Abs(u) + up*(math.Abs(v)+1.1*far)
			v = v / (1 + math.Exp(-v)) * u
		case c.form == codesAdd && !c.rounded:
			v += c.at(c.y, i)
		}
		if c.size() == 2 {
			far += math.Abs(v) / 256
		}
		if !(math.Abs(g-v) <= far) {
			t.Fatalf("%s: column %d of row %d is %v, want %v to %v", what, column, i/c.ld, g, v, far)
		}
	}
}

// The kernels, run thread by thread on the processor by their own source, do each part
// of the work once, whatever it is shared out among, and wait for every copy.
func TestEmulatedCodes(t *testing.T) {
	program := emulated(t, "codes")
	r := rand.New(rand.NewPCG(5, 6))
	for i, s := range []struct{ n, out, in, blocks int }{{1, 128, 1088, 2}, {5, 224, 128, 1}, {8, 64, 64, 2}, {9, 160, 1152, 2}, {16, 96, 128, 1}} {
		for form := range 3 {
			c := newCodesCase(r, codesCase{n: s.n, out: s.out, in: s.in, form: form, blocks: (i+form)%2 == 1 && s.in%128 == 0, rounded: form != codesGate && i%2 == 1})
			if form == codesAdd {
				c = newCodesCase(r, codesCase{n: s.n, out: s.out - 6, in: s.in, form: form, rounded: i%2 == 1})
			}
			c.check(t, c.emulate(t, program, s.blocks, i))
		}
	}
}

// emulate is what y becomes.
func (c *codesCase) emulate(t *testing.T, program string, blocks, seed int) []byte {
	t.Helper()
	a := c.args()
	x := any(c.x)
	if c.form == codesAdd {
		x = c.bits
	}
	job := []int32{
		a.N, a.In, a.Out, a.Ld, int32(c.form), a.ScaleStride, a.Rounded, int32(blocks),
		int32(len(c.codes)), int32(binary.Size(x)), int32(4 * len(c.scales)), int32(len(c.y)), int32(seed + 1),
	}
	return emulate(t, program, job, c.y, c.codes, x, c.norm, c.scales)
}

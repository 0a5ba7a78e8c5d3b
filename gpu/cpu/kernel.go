package cpu

import (
	"fmt"
	"math"
	"unsafe"

	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/gpu/program"
)

// panelWidth is the number of outputs whose weights lie together; see pack.go.
const panelWidth = 32

// gemmFunc multiplies m rows of a by one panel of weights:
//
//	c[i·ldc + j] = Σ_k a[i·lda + k] · w[k][j]    i < m, j < panelWidth
//
// in the order of k, by fused multiply-add from zero. k ≥ 1; strides count
// words of 32 bits.
//
// Weights of bfloat16 are multiplied by a rounded to it, which products.round has
// made: k counts pairs, of which the odd one comes first, and numbers below the smallest
// normal one are zero, in a, w and every sum. So it is what AVX512-BF16 multiplies.
type gemmFunc func(c *float32, ldc int, a *float32, lda int, w *byte, k int)

// gemvFunc multiplies one row by four adjacent panels: c[0:4·panelWidth].
type gemvFunc func(c *float32, a *float32, w *byte, k int)

// products are those of one type of weights.
type products struct {
	gemm []gemmFunc // gemm[m-1] takes m rows at once
	gemv gemvFunc
	// round makes of x what is multiplied, perPair words of two elements, of an odd
	// last one and zero; nil: it is as it is.
	round   func(to, x []float32)
	perPair int
}

// words is how many words of 32 bits a row of so many elements takes.
func (p *products) words(n int) int {
	if p.round == nil {
		return n
	}
	return (n + 1) / 2 * p.perPair
}

// kernels are the innermost loops for one instruction set. All sets give the
// same bits; kernel_test.go holds them to it.
type kernels struct {
	name string // "AVX-512", "AVX2", "portable"

	bf16, f32 products
	whole     whole

	// widenBF16 and widenInt8 make float32 of keys and values; see cache.go.
	widenBF16 func(to *float32, from *byte, n int)
	widenInt8 func(to *float32, from *byte, n int, scale float32)
	// scores writes s[i·lds+t] = Σ_d q[i·dim+d]·k[t·dim+d] for i < m, t < n.
	scores func(s *float32, lds int, q *float32, m int, k *float32, n, dim int)
	// values adds out[i·dim+d] += Σ_t p[i·ldp+t]·v[t·dim+d] for i < m, t < n,
	// in the order of t.
	values func(out, p *float32, ldp, m int, v *float32, n, dim int)
	// expSum replaces s[i] by exp((s[i]−top)·scale) and returns their sum.
	expSum func(s *float32, n int, top, scale float32) float32
	// prefetch asks for n bytes that are used soon.
	prefetch func(p *byte, n int)
	// maxOf is the largest element; n ≥ 1.
	maxOf func(s *float32, n int) float32
	// sumSquares is Σ x².
	sumSquares func(x *float32, n int) float32
	// mulScale writes y[i] = x[i]·scale·w[i].
	mulScale func(y, x, w *float32, scale float32, n int)
	// turn writes (lo[i]·cos[i]−hi[i]·sin[i], hi[i]·cos[i]+lo[i]·sin[i]) to lo and hi.
	turn func(lo, hi, cos, sin *float32, n int)
	// swiglu writes y[i] = g[i]/(1+exp(−g[i]))·u[i].
	swiglu func(y, g, u *float32, n int)
}

// lanes is the number of chains in a reduction.
const lanes = 16

// portable is the definition of every kernel, and what runs where there is no
// assembly.
var portable = kernels{
	name:       "portable",
	bf16:       portableProducts(gemmBF16, roundBF16),
	f32:        portableProducts(gemmF32, nil),
	whole:      portableWhole,
	widenBF16:  widenBF16,
	widenInt8:  widenInt8,
	prefetch:   func(*byte, int) {},
	scores:     scores,
	values:     values,
	expSum:     expSum,
	maxOf:      maxOf,
	sumSquares: sumSquares,
	mulScale:   mulScale,
	turn:       turnPairs,
	swiglu:     swiglu,
}

// activation is the gate that has it: y[i] = act(g[i])·u[i].
func (k *kernels) activation(a program.Activation) func(y, g, u *float32, n int) {
	switch a {
	case program.SiLU:
		return k.swiglu
	case program.GELU:
		return geglu
	case program.Clamped:
		return clampedGate
	}
	panic(fmt.Sprintf("cpu: no gate with activation %d", a))
}

// of is the products with weights of a type that are not whole numbers.
func (k *kernels) of(dtype model.DType) *products {
	if dtype == model.BFloat16 {
		return &k.bf16
	}
	return &k.f32
}

func portableProducts(f func(m int, c *float32, ldc int, a *float32, lda int, w *byte, k int), round func(to, x []float32)) products {
	table := make([]gemmFunc, 4)
	for i := range table {
		table[i] = func(c *float32, ldc int, a *float32, lda int, w *byte, k int) { f(i+1, c, ldc, a, lda, w, k) }
	}
	return products{table, func(c, a *float32, w *byte, k int) {
		for p := range 4 {
			f(1, at(c, p*panelWidth), 0, a, 0, (*byte)(unsafe.Add(unsafe.Pointer(w), p*k*panelWidth*4)), k)
		}
	}, round, 2}
}

// roundBF16 rounds to bfloat16, as float32.
func roundBF16(to, x []float32) {
	for i, v := range x {
		to[i] = model.FromBF16(toBF16(v))
	}
	if len(x)%2 == 1 {
		to[len(x)] = 0
	}
}

// toBF16 rounds to bfloat16, and what is below the smallest normal number to zero.
func toBF16(x float32) uint16 {
	return uint16(math.Float32bits(normal(model.FromBF16(model.ToBF16(normal(x))))) >> 16)
}

// normal is x, or zero where it is below the smallest normal number.
func normal(x float32) float32 {
	if b := math.Float32bits(x); b&0x7f800000 == 0 {
		return math.Float32frombits(b & (1 << 31))
	}
	return x
}

// flushed is t, the sum fma(x, y, z), or zero where that is below the smallest normal number.
// So is what rounds up to that one only because those below it are coarse: processors round
// first as if they were not. Callers ask where t is so small, since most sums are not.
func flushed(x, y, z, t float32) float32 {
	const larger = 0x1p32
	if math.Abs(float64(fma(x*larger, y, z*larger))) < 0x1p-126*larger {
		return math.Float32frombits(math.Float32bits(t) & (1 << 31))
	}
	return t
}

// small says that x is no more than the smallest normal number, and not zero.
func small(x float32) bool { return math.Float32bits(x)<<1-1 < 0x800000<<1 }

func gemmBF16(m int, c *float32, ldc int, a *float32, lda int, w *byte, k int) {
	ws := unsafe.Slice((*uint16)(unsafe.Pointer(w)), 2*k*panelWidth)
	for i := range m {
		var sum [panelWidth]float32
		x := unsafe.Slice(at(a, i*lda), 2*k)
		for j := range k {
			row, even, odd := ws[2*j*panelWidth:][:2*panelWidth], x[2*j], x[2*j+1]
			for l := range sum {
				first, second := normal(model.FromBF16(row[2*l+1])), normal(model.FromBF16(row[2*l]))
				t := fma(odd, first, sum[l])
				if small(t) {
					t = flushed(odd, first, sum[l], t)
				}
				u := fma(even, second, t)
				if small(u) {
					u = flushed(even, second, t, u)
				}
				sum[l] = u
			}
		}
		copy(unsafe.Slice(at(c, i*ldc), panelWidth), sum[:])
	}
}

func gemmF32(m int, c *float32, ldc int, a *float32, lda int, w *byte, k int) {
	ws := unsafe.Slice((*float32)(unsafe.Pointer(w)), k*panelWidth)
	for i := range m {
		var sum [panelWidth]float32
		for j, x := range unsafe.Slice(at(a, i*lda), k) {
			row := ws[j*panelWidth:][:panelWidth]
			for l := range sum {
				sum[l] = fma(x, row[l], sum[l])
			}
		}
		copy(unsafe.Slice(at(c, i*ldc), panelWidth), sum[:])
	}
}

func scores(s *float32, lds int, q *float32, m int, k *float32, n, dim int) {
	for i := range m {
		qs := unsafe.Slice(at(q, i*dim), dim)
		for t := range n {
			ks := unsafe.Slice(at(k, t*dim), dim)
			var sum [lanes]float32
			for d := range qs {
				sum[d%lanes] = fma(qs[d], ks[d], sum[d%lanes])
			}
			*at(s, i*lds+t) = fold(&sum)
		}
	}
}

func values(out, p *float32, ldp, m int, v *float32, n, dim int) {
	for i := range m {
		o := unsafe.Slice(at(out, i*dim), dim)
		for t := range n {
			x, row := *at(p, i*ldp+t), unsafe.Slice(at(v, t*dim), dim)
			for d := range o {
				o[d] = fma(x, row[d], o[d])
			}
		}
	}
}

func maxOf(s *float32, n int) float32 {
	m := *s
	for _, v := range unsafe.Slice(s, n) {
		m = max(m, v)
	}
	return m
}

func expSum(s *float32, n int, top, scale float32) float32 {
	var sum [lanes]float32
	for i, v := range unsafe.Slice(s, n) {
		e := exp32(float32(float32(v-top) * scale))
		*at(s, i) = e
		sum[i%lanes] += e
	}
	return fold(&sum)
}

func sumSquares(x *float32, n int) float32 {
	var sum [lanes]float32
	for i, v := range unsafe.Slice(x, n) {
		sum[i%lanes] = fma(v, v, sum[i%lanes])
	}
	return fold(&sum)
}

func mulScale(y, x, w *float32, scale float32, n int) {
	for i := range n {
		*at(y, i) = float32(float32(*at(x, i)*scale) * *at(w, i))
	}
}

func turnPairs(lo, hi, cos, sin *float32, n int) {
	l, h, c, s := unsafe.Slice(lo, n), unsafe.Slice(hi, n), unsafe.Slice(cos, n), unsafe.Slice(sin, n)
	for i := range l {
		a, b := l[i], h[i]
		// The conversions keep compilers from fusing: same bits everywhere.
		l[i] = float32(a*c[i]) - float32(b*s[i])
		h[i] = float32(b*c[i]) + float32(a*s[i])
	}
}

func swiglu(y, g, u *float32, n int) {
	for i := range n {
		v := *at(g, i)
		*at(y, i) = float32(float32(v/float32(1+exp32(-v))) * *at(u, i))
	}
}

// fold adds the chains of a reduction: 16→8→4→2→1.
func fold(sum *[lanes]float32) float32 {
	for w := lanes / 2; w > 0; w /= 2 {
		for i := range w {
			sum[i] += sum[i+w]
		}
	}
	return sum[0]
}

// Constants of exp32: Cody and Waite's two-part ln 2 and Cephes' minimax
// polynomial for expf on [−ln2/2, ln2/2].
const (
	expLo    = -87
	expHi    = 88
	log2e    = 1.44269504088896341
	ln2Hi    = 0.693359375
	ln2Lo    = -2.12194440e-4
	expRound = 12582912 // 1.5·2²³: adding it rounds to an integer
	expP0    = 1.9875691500e-4
	expP1    = 1.3981999507e-3
	expP2    = 8.3334519073e-3
	expP3    = 4.1665795894e-2
	expP4    = 1.6666665459e-1
	expP5    = 5.0000001201e-1
)

// exp32 is eˣ to about 1 ulp on [−87, 88], zero below, constant above.
func exp32(x float32) float32 {
	if x < expLo {
		return 0
	}
	x = min(x, expHi)
	t := fma(x, log2e, expRound)
	n := t - expRound
	r := fma(n, -ln2Lo, fma(n, -ln2Hi, x))
	p := fma(expP0, r, expP1)
	p = fma(p, r, expP2)
	p = fma(p, r, expP3)
	p = fma(p, r, expP4)
	p = fma(p, r, expP5)
	p = fma(p, float32(r*r), r) + 1
	return math.Float32frombits(math.Float32bits(p) + math.Float32bits(t)<<23)
}

// at is p + i elements.
func at(p *float32, i int) *float32 {
	return (*float32)(unsafe.Add(unsafe.Pointer(p), i*4))
}

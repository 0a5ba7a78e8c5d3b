package cpu

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"

	"github.com/troupe-llm/troupe/gpu/model"
)

// guard stands behind every output: a kernel that writes too far disturbs it.
const guard = float32(-12345)

func random(r *rand.Rand, n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(r.NormFloat64())
	}
	return v
}

func guarded(n int) []float32 {
	v := make([]float32, n+lanes)
	for i := n; i < len(v); i++ {
		v[i] = guard
	}
	return v
}

// randomPanels are n of them, one behind the other: of so many steps.
func randomPanels(r *rand.Rand, dtype model.DType, n, steps int) []byte {
	b := make([]byte, n*steps*panelWidth*4)
	for i, f := range random(r, len(b)/dtype.Size()) {
		if i%7 == 0 {
			f *= 0x1p-130 // below the smallest normal number, or a product is
		}
		if dtype == model.Float32 {
			binary.LittleEndian.PutUint32(b[4*i:], math.Float32bits(f))
		} else {
			binary.LittleEndian.PutUint16(b[2*i:], model.ToBF16(f))
		}
	}
	return b
}

// rows are m of n elements each as they are multiplied, and how far apart they lie.
func (p *products) rows(a []float32, m, n int) (rows []float32, ld int) {
	ld = p.words(n) + 2
	rows = make([]float32, m*ld)
	for i := range m {
		to := rows[i*ld:][:p.words(n)]
		if p.round == nil {
			copy(to, a[i*n:][:n])
		} else {
			p.round(to, a[i*n:][:n])
		}
	}
	return rows, ld
}

// Every kernel of every instruction set, for awkward sizes, against its
// portable twin: bit for bit.
func TestKernelsGiveTheSameBits(t *testing.T) {
	for _, k := range variants() {
		t.Run(k.name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 2))
			compare := func(what string, run func(k *kernels, out []float32), n int) {
				t.Helper()
				want, got := guarded(n), guarded(n)
				run(&portable, want)
				run(k, got)
				if !sameBits(got, want) {
					for i := range want {
						if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
							t.Fatalf("%s: element %d of %d is %v, want %v", what, i, n, got[i], want[i])
						}
					}
				}
			}
			for _, inner := range []int{1, 3, 4, 7, 64, 129} {
				a := random(r, 16*inner)
				for i := range a {
					if i%5 == 0 {
						a[i] *= 0x1p-128
					}
				}
				for _, dtype := range []model.DType{model.BFloat16, model.Float32} {
					steps := format{dtype: dtype}.steps(inner)
					w := &randomPanels(r, dtype, 4, steps)[0]
					for m := 1; m <= len(k.of(dtype).gemm); m++ {
						ldc := panelWidth + 5
						compare(fmt.Sprintf("gemm of %s, %d rows, k=%d", dtype, m, inner), func(which *kernels, out []float32) {
							by := which.of(dtype)
							rows, ld := by.rows(a, m, inner)
							if which == &portable {
								tiles(by.gemm, out, ldc, rows, ld, 0, m, w, steps)
							} else {
								by.gemm[m-1](&out[0], ldc, &rows[0], ld, w, steps)
							}
						}, (m-1)*ldc+panelWidth)
					}
					compare(fmt.Sprintf("gemv of %s, k=%d", dtype, inner), func(which *kernels, out []float32) {
						by := which.of(dtype)
						rows, _ := by.rows(a, 1, inner)
						by.gemv(&out[0], &rows[0], w, steps)
					}, 4*panelWidth)
				}
			}
			for _, dim := range []int{8, 16, 48, 64, 80, 96, 128, 256, 272} {
				for _, n := range []int{1, 3, 4, 5, 16, 33} {
					for _, m := range []int{1, 4, 7} {
						ld := n + 3
						q, rows, p := random(r, m*dim), random(r, n*dim), random(r, m*ld)
						at := fmt.Sprintf(", m=%d, n=%d, dim=%d", m, n, dim)
						compare("scores"+at, func(k *kernels, out []float32) {
							k.scores(&out[0], ld, &q[0], m, &rows[0], n, dim)
						}, (m-1)*ld+n)
						compare("values"+at, func(k *kernels, out []float32) {
							copy(out, q)
							k.values(&out[0], &p[0], ld, m, &rows[0], n, dim)
						}, m*dim)
					}
				}
			}
			for _, n := range []int{1, 15, 16, 17, 31, 32, 100, 1024} {
				x, y := random(r, n), random(r, n)
				for i := range x { // some where exp begins and ends
					if i%5 == 0 {
						x[i] *= 60
					}
				}
				x[n/2] = float32(math.Inf(-1))
				top := max(slices.Max(x), 0)
				compare(fmt.Sprint("expSum, n=", n), func(k *kernels, out []float32) {
					copy(out, x)
					out[n] = k.expSum(&out[0], n, top, 0.7)
				}, n+1)
				compare(fmt.Sprint("maxOf, n=", n), func(k *kernels, out []float32) { out[0] = k.maxOf(&x[0], n) }, 1)
				x[n/2] = 1
				compare(fmt.Sprint("sumSquares, n=", n), func(k *kernels, out []float32) { out[0] = k.sumSquares(&x[0], n) }, 1)
				compare(fmt.Sprint("mulScale, n=", n), func(k *kernels, out []float32) { k.mulScale(&out[0], &x[0], &y[0], 0.3, n) }, n)
				compare(fmt.Sprint("turn, n=", n), func(k *kernels, out []float32) {
					copy(out, x)
					copy(out[n:], y)
					k.turn(&out[0], &out[n], &y[0], &x[0], n)
				}, 2*n)
				compare(fmt.Sprint("widenBF16, n=", n), func(k *kernels, out []float32) {
					k.widenBF16(&out[0], (*byte)(unsafe.Pointer(&y[0])), n)
				}, n)
				compare(fmt.Sprint("widenInt8, n=", n), func(k *kernels, out []float32) {
					k.widenInt8(&out[0], (*byte)(unsafe.Pointer(&y[0])), n, 0.3)
				}, n)
				compare(fmt.Sprint("sizeOf, n=", n), func(k *kernels, out []float32) {
					out[0] = math.Float32frombits(k.whole.sizeOf(&x[0], n))
				}, 1)
				compare(fmt.Sprint("round, n=", n), func(k *kernels, out []float32) {
					numbers := make([]byte, n+1)
					out[n] = float32(k.whole.round(&numbers[0], &y[0], 20, n))
					for i := range n {
						out[i] = float32(int8(numbers[i]))
					}
					if numbers[n] != 0 {
						t.Fatal("round wrote too far")
					}
				}, n+1)
				compare(fmt.Sprint("swiglu, n=", n), func(k *kernels, out []float32) { k.swiglu(&out[0], &x[0], &y[0], n) }, n)
			}
		})
	}
}

// Sums next to the smallest normal number, above which they are kept and below which
// they are zero.
func TestSumsNextToZero(t *testing.T) {
	const one, other = 0x1p-63, 0x1p-76
	for _, input := range []int{2, 3} { // of the second pair
		for _, less := range []float64{0x1p-152, 0x1p-151, 0x1.4p-151, 0x1.8p-151, 0x1.fcp-151, 0x1p-150, 0x1.4p-150, 0x1p-149} {
			want := float32(0x1p-126)
			if less > 0x1p-151 { // up to there, 24 bits round up
				want = 0
			}
			x, w := make([]float32, 4), make([]byte, 2*panelWidth*4)
			for sign := range 2 {
				side := float32(1 - 2*sign)
				x[0], x[input] = one*side, -other*side
				for j := range panelWidth {
					binary.LittleEndian.PutUint16(w[2*inPairs(j, 0):], model.ToBF16(one))
					binary.LittleEndian.PutUint16(w[2*inPairs(j, input):], model.ToBF16(float32(less/other)))
				}
				for _, k := range variants() {
					rows, ld := k.bf16.rows(x, 1, len(x))
					y := make([]float32, panelWidth)
					k.bf16.gemm[0](&y[0], panelWidth, &rows[0], ld, &w[0], 2)
					if got := y[panelWidth-1]; got != want*side {
						t.Errorf("%s, input %d: ±2⁻¹²⁶ less %b is %b, want %b", k.name, input, less, got, want*side)
					}
				}
			}
		}
	}
}

func TestExp(t *testing.T) {
	worst := 0.0
	for x := -87.0; x <= 88; x += 0.00137 {
		f := float32(x)
		want := math.Exp(float64(f))
		worst = max(worst, math.Abs(float64(exp32(f))-want)/want)
	}
	if worst > 2e-7 {
		t.Errorf("relative error %v, want at most 2e-7", worst)
	}
	if exp32(float32(math.Inf(-1))) != 0 || exp32(-88) != 0 || exp32(0) != 1 || exp32(1000) != exp32(88) {
		t.Errorf("exp(−∞) = %v, exp(−88) = %v, exp(0) = %v", exp32(float32(math.Inf(-1))), exp32(-88), exp32(0))
	}
}

// fma must round once: checked with exact arithmetic, on numbers made so that
// rounding twice would go wrong.
func TestFMARoundsOnce(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	twice := 0
	for range 50000 {
		// x·y is half a unit of z's last place, but for 2⁻³⁰ of it or less.
		e := float32(math.Ldexp(1, -15-r.IntN(8)))
		x, y := (1+e)*0x1p-12, (1-e)*0x1p-12
		z := 1 + float32(r.IntN(1<<22))*0x1p-23
		if r.IntN(2) == 0 {
			x = -x
		}
		if r.IntN(4) == 0 {
			x = float32(r.NormFloat64())
		}
		exact := new(big.Float).SetPrec(300).Mul(big.NewFloat(float64(x)), big.NewFloat(float64(y)))
		exact.Add(exact, big.NewFloat(float64(z)))
		want, _ := exact.Float32()
		if got := fma(x, y, z); got != want {
			t.Fatalf("fma(%b, %b, %b) = %b, want %b", x, y, z, got, want)
		}
		if float32(float64(x)*float64(y)+float64(z)) != want {
			twice++
		}
	}
	if twice == 0 {
		t.Error("no case in which rounding twice differs: the test shows nothing")
	}
}

package cpu

import (
	"math"
	"unsafe"

	"golang.org/x/sys/cpu"
)

// choose returns the widest kernels the processor can run.
func choose() *kernels { return variants()[0] }

// variants returns all kernels the processor can run, the widest first.
func variants() []*kernels {
	var list []*kernels
	if haveTiles() {
		list = append(list, &kernelsAMX)
	}
	if haveBF16 {
		list = append(list, &kernelsBF16)
	}
	if haveAVX512 {
		list = append(list, &kernelsAVX512)
	}
	if haveAVXVNNI {
		list = append(list, &kernelsAVXVNNI)
	}
	if haveAVX2 {
		list = append(list, &kernelsAVX2)
	}
	return append(list, &portable)
}

// x/sys/cpu also asks whether the system saves the registers.
var (
	haveAVX2    = cpu.X86.HasAVX2 && cpu.X86.HasFMA && cpu.X86.HasF16C
	haveBF16    = haveAVX512 && cpu.X86.HasAVX512BF16
	haveAVXVNNI = haveAVX2 && cpu.X86.HasAVXVNNI
	haveVNNI    = haveAVX512 && cpu.X86.HasAVX512VNNI
	haveAVX512  = haveAVX2 && cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW && cpu.X86.HasAVX512VL && cpu.X86.HasAVX512DQ
)

// features are those that matter here.
func features() []string {
	var list []string
	for _, f := range []struct {
		has  bool
		name string
	}{
		{cpu.X86.HasAVX2, "AVX2"},
		{cpu.X86.HasFMA, "FMA"},
		{haveAVX512, "AVX-512"},
		{haveVNNI, "AVX512-VNNI"},
		{cpu.X86.HasAVX512BF16, "AVX512-BF16"},
		{haveAVXVNNI, "AVX-VNNI"},
		{haveTiles(), "AMX-INT8"},
	} {
		if f.has {
			list = append(list, f.name)
		}
	}
	return list
}

func why() string {
	switch {
	case haveVNNI:
		return "the processor has AVX-512, with dot products of " + map[bool]string{true: "bfloat16 and ", false: ""}[haveBF16] + "bytes (VNNI)" +
			map[bool]string{true: " and products of tiles of them (AMX)", false: ""}[haveTiles()]
	case haveAVX512:
		return "the processor has AVX-512"
	case haveAVXVNNI:
		return "the processor has AVX2 and FMA, with dot products of bytes (AVX-VNNI), not AVX-512"
	case haveAVX2:
		return "the processor has AVX2 and FMA, not AVX-512"
	}
	return "the processor lacks AVX2, FMA or F16C"
}

var kernelsAVX512 = kernels{
	name:  "AVX-512",
	whole: wholeAVX512,
	bf16: products{[]gemmFunc{
		gemmBF16x1AVX512, gemmBF16x2AVX512, gemmBF16x3AVX512, gemmBF16x4AVX512, gemmBF16x5AVX512, gemmBF16x6AVX512,
		gemmBF16x7AVX512, gemmBF16x8AVX512, gemmBF16x9AVX512, gemmBF16x10AVX512, gemmBF16x11AVX512, gemmBF16x12AVX512,
	}, gemvBF16AVX512, roundBF16, 2},
	f32: products{gemm: []gemmFunc{
		gemmF32x1AVX512, gemmF32x2AVX512, gemmF32x3AVX512, gemmF32x4AVX512, gemmF32x5AVX512, gemmF32x6AVX512,
		gemmF32x7AVX512, gemmF32x8AVX512, gemmF32x9AVX512, gemmF32x10AVX512, gemmF32x11AVX512, gemmF32x12AVX512,
	}, gemv: gemvF32AVX512},
	widenBF16:  groupedWidenBF16(widenBF16AVX512),
	widenInt8:  groupedWidenInt8(widenInt8AVX512),
	prefetch:   prefetch,
	scores:     scores512,
	values:     values512,
	expSum:     expSum512,
	maxOf:      groupedMaxOf(maxOfAVX512),
	sumSquares: sumSquares512,
	mulScale:   groupedMulScale(mulScaleAVX512),
	turn:       groupedTurn(turnAVX512),
	swiglu:     groupedSwiglu(swigluAVX512),
}

// kernelsBF16 are those of AVX-512 with dot products of pairs of bfloat16.
var kernelsBF16 = func() kernels {
	k := kernelsAVX512
	k.name = "AVX-512 with BF16"
	k.bf16 = products{[]gemmFunc{
		gemmBF16Dotx1AVX512, gemmBF16Dotx2AVX512, gemmBF16Dotx3AVX512, gemmBF16Dotx4AVX512, gemmBF16Dotx5AVX512, gemmBF16Dotx6AVX512,
		gemmBF16Dotx7AVX512, gemmBF16Dotx8AVX512, gemmBF16Dotx9AVX512, gemmBF16Dotx10AVX512, gemmBF16Dotx11AVX512, gemmBF16Dotx12AVX512,
	}, gemvBF16DotAVX512, roundPairs, 1}
	return k
}()

// roundPairs is roundBF16 whose pairs are words.
func roundPairs(to, x []float32) {
	const some = 32
	whole := len(x) &^ (some - 1)
	if whole > 0 {
		pairsAVX512(&to[0], &x[0], whole)
	}
	half := func(i int) uint32 {
		if i == len(x) {
			return 0
		}
		return uint32(toBF16(x[i]))
	}
	for i := whole; i < len(x); i += 2 {
		to[i/2] = math.Float32frombits(half(i) | half(i+1)<<16)
	}
}

var kernelsAVX2 = kernels{
	name:       "AVX2",
	whole:      wholeAVX2,
	bf16:       products{[]gemmFunc{gemmBF16x1AVX2, gemmBF16x2AVX2, gemmBF16x3AVX2}, gemvBF16AVX2, roundBF16, 2},
	f32:        products{gemm: []gemmFunc{gemmF32x1AVX2, gemmF32x2AVX2, gemmF32x3AVX2}, gemv: gemvF32AVX2},
	widenBF16:  groupedWidenBF16(widenBF16AVX2),
	widenInt8:  groupedWidenInt8(widenInt8AVX2),
	prefetch:   prefetch,
	scores:     scores256,
	values:     values256,
	expSum:     expSum256,
	maxOf:      groupedMaxOf(maxOfAVX2),
	sumSquares: sumSquares256,
	mulScale:   groupedMulScale(mulScaleAVX2),
	turn:       groupedTurn(turnAVX2),
	swiglu:     groupedSwiglu(swigluAVX2),
}

// wholeAVX512 takes dot products of bytes, which not all that have AVX-512 have.
var wholeAVX512 = func() whole {
	if !haveVNNI {
		return wholeAVX2
	}
	return grouped(whole{name: "VNNI", by: productsVNNI, sizeOf: sizeOfAVX512, round: roundAVX512})
}()

var wholeAVX2 = grouped(whole{name: "AVX2", by: productsAVX2, sizeOf: sizeOfAVX2, round: roundAVX2})

// The assembly works on whole groups of 16. These add what is left over, in
// the same chains.

func scores512(s *float32, lds int, q *float32, m int, k *float32, n, dim int) {
	if dim%lanes != 0 {
		scores(s, lds, q, m, k, n, dim)
		return
	}
	i, whole := 0, n&^3
	for ; i+4 <= m && whole > 0; i += 4 {
		scores4AVX512(at(s, i*lds), lds, at(q, i*dim), k, whole, dim)
		for j := i; j < i+4 && whole < n; j++ {
			scoresAVX512(at(s, j*lds+whole), at(q, j*dim), at(k, whole*dim), n-whole, dim)
		}
	}
	for ; i < m; i++ {
		scoresAVX512(at(s, i*lds), at(q, i*dim), k, n, dim)
	}
}

func values512(out, p *float32, ldp, m int, v *float32, n, dim int) {
	if dim%lanes != 0 {
		values(out, p, ldp, m, v, n, dim)
		return
	}
	i := 0
	for ; i+4 <= m && dim%64 == 0; i += 4 {
		values4AVX512(at(out, i*dim), at(p, i*ldp), ldp, v, n, dim)
	}
	for ; i < m; i++ {
		valuesAVX512(at(out, i*dim), at(p, i*ldp), v, n, dim)
	}
}

func scores256(s *float32, lds int, q *float32, m int, k *float32, n, dim int) {
	if dim%lanes != 0 {
		scores(s, lds, q, m, k, n, dim)
		return
	}
	for i := range m {
		scoresAVX2(at(s, i*lds), at(q, i*dim), k, n, dim)
	}
}

func values256(out, p *float32, ldp, m int, v *float32, n, dim int) {
	if dim%lanes != 0 {
		values(out, p, ldp, m, v, n, dim)
		return
	}
	for i := range m {
		valuesAVX2(at(out, i*dim), at(p, i*ldp), v, n, dim)
	}
}

func expSum512(s *float32, n int, top, scale float32) float32 {
	var sums [lanes]float32
	expSumAVX512(s, n&^(lanes-1), top, scale, &sums)
	return expSumRest(s, n, top, scale, &sums)
}

func expSum256(s *float32, n int, top, scale float32) float32 {
	var sums [lanes]float32
	expSumAVX2(s, n&^(lanes-1), top, scale, &sums)
	return expSumRest(s, n, top, scale, &sums)
}

func expSumRest(s *float32, n int, top, scale float32, sums *[lanes]float32) float32 {
	whole := n &^ (lanes - 1)
	for i, p := range unsafe.Slice(s, n)[whole:] {
		e := exp32(float32(float32(p-top) * scale))
		*at(s, whole+i) = e
		sums[i] += e
	}
	return fold(sums)
}

func groupedMaxOf(f func(s *float32, n int) float32) func(*float32, int) float32 {
	return func(s *float32, n int) float32 {
		m := float32(math.Inf(-1))
		whole := n &^ (lanes - 1)
		if whole > 0 {
			m = f(s, whole)
		}
		for _, v := range unsafe.Slice(s, n)[whole:] {
			m = max(m, v)
		}
		return m
	}
}

func sumSquares512(x *float32, n int) float32 {
	var sums [lanes]float32
	sumSquaresAVX512(x, n&^(lanes-1), &sums)
	return sumSquaresRest(x, n, &sums)
}

func sumSquares256(x *float32, n int) float32 {
	var sums [lanes]float32
	sumSquaresAVX2(x, n&^(lanes-1), &sums)
	return sumSquaresRest(x, n, &sums)
}

func sumSquaresRest(x *float32, n int, sums *[lanes]float32) float32 {
	for i, v := range unsafe.Slice(x, n)[n&^(lanes-1):] {
		sums[i] = fma(v, v, sums[i])
	}
	return fold(sums)
}

func groupedMulScale(f func(y, x, w *float32, scale float32, n int)) func(y, x, w *float32, scale float32, n int) {
	return func(y, x, w *float32, scale float32, n int) {
		whole := n &^ (lanes - 1)
		f(y, x, w, scale, whole)
		if whole < n { // there is no pointer past the end
			mulScale(at(y, whole), at(x, whole), at(w, whole), scale, n-whole)
		}
	}
}

func groupedTurn(f func(lo, hi, cos, sin *float32, n int)) func(lo, hi, cos, sin *float32, n int) {
	return func(lo, hi, cos, sin *float32, n int) {
		whole := n &^ (lanes - 1)
		f(lo, hi, cos, sin, whole)
		if whole < n {
			turnPairs(at(lo, whole), at(hi, whole), at(cos, whole), at(sin, whole), n-whole)
		}
	}
}

func groupedSwiglu(f func(y, g, u *float32, n int)) func(y, g, u *float32, n int) {
	return func(y, g, u *float32, n int) {
		whole := n &^ (lanes - 1)
		f(y, g, u, whole)
		if whole < n {
			swiglu(at(y, whole), at(g, whole), at(u, whole), n-whole)
		}
	}
}

func groupedWidenBF16(f func(to *float32, from *byte, n int)) func(to *float32, from *byte, n int) {
	return func(to *float32, from *byte, n int) {
		whole := n &^ (lanes - 1)
		f(to, from, whole)
		if whole < n {
			widenBF16(at(to, whole), (*byte)(unsafe.Add(unsafe.Pointer(from), 2*whole)), n-whole)
		}
	}
}

func groupedWidenInt8(f func(to *float32, from *byte, n int, scale float32)) func(to *float32, from *byte, n int, scale float32) {
	return func(to *float32, from *byte, n int, scale float32) {
		whole := n &^ (lanes - 1)
		f(to, from, whole, scale)
		if whole < n {
			widenInt8(at(to, whole), (*byte)(unsafe.Add(unsafe.Pointer(from), whole)), n-whole, scale)
		}
	}
}

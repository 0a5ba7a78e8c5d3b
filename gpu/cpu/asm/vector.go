package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// exponential holds the constants of exp32 in ../kernel.go.
type exponential struct {
	*set
	lo, hi, log2e, round, ln2Hi, ln2Lo, one reg.VecPhysical
	poly                                    []reg.VecPhysical // AVX-512: registers; AVX2: none left
	t, n, p                                 reg.VecPhysical
}

var polynomial = []float32{1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1}

func (v *vectors) exponential() *exponential {
	constant := func(f float32) reg.VecPhysical {
		r := v.one()
		v.fill(r, math.Float32bits(f))
		return r
	}
	e := &exponential{
		set: v.set,
		lo:  constant(-87), hi: constant(88), log2e: constant(1.44269504088896341), round: constant(12582912),
		ln2Hi: constant(-0.693359375), ln2Lo: constant(2.12194440e-4), one: constant(1),
	}
	if v.set == avx512 {
		for _, f := range polynomial {
			e.poly = append(e.poly, constant(f))
		}
	}
	e.t, e.n, e.p = v.one(), v.one(), v.one()
	return e
}

// coefficient is where the i-th coefficient can be read from.
func (e *exponential) coefficient(i int) Op {
	if e.set == avx512 {
		return e.poly[i]
	}
	return polynomialTable().Offset(32 * i)
}

var table *Mem

// polynomialTable is the coefficients in memory, each eight times.
func polynomialTable() Mem {
	if table == nil {
		m := GLOBL("polynomial", 8|16) // RODATA|NOPTR
		for i, f := range polynomial {
			for j := range 8 {
				DATA(32*i+4*j, F32(f))
			}
		}
		table = &m
	}
	return *table
}

// exp replaces x by its exponential: one register.
func (e *exponential) exp(x reg.VecPhysical) {
	t, n, p := e.t, e.n, e.p
	// Zero below lo, in the end; what is computed there does not matter.
	if e.set == avx512 {
		VCMPPS(U8(21), e.lo, x, reg.K1) // not x < lo
	} else {
		VCMPPS(U8(21), e.lo, x, p)
		VANDPS(p, x, x) // exp(0), to be removed
		VMOVUPS(p, stash)
	}
	VMINPS(e.hi, x, x)
	VMOVAPS(e.round, t)
	VFMADD231PS(e.log2e, x, t)
	VSUBPS(e.round, t, n)
	VFMADD231PS(e.ln2Hi, n, x)
	VFMADD231PS(e.ln2Lo, n, x) // r
	VMOVUPS(e.coefficient(0), p)
	for i := 1; i < len(polynomial); i++ {
		VFMADD213PS(e.coefficient(i), x, p)
	}
	VMULPS(x, x, n)
	VFMADD213PS(x, n, p)
	VADDPS(e.one, p, p)
	VPSLLD(U8(23), t, t)
	if e.set == avx512 {
		VPADDD_Z(t, p, reg.K1, x)
	} else {
		VPADDD(t, p, x)
		VANDPS(stash, x, x)
	}
}

// stash is the frame's memory for a mask.
var stash Mem

func (e *exponential) frame() {
	if e.set == avx2 {
		stash = AllocLocal(32)
	}
}

// expSum: whole groups only; the caller folds the 16 sums and does the rest.
func (s *set) expSum() {
	v := s.function("expSum", "func(s *float32, n int, top float32, scale float32, sums *[16]float32)",
		"replaces s by exp((s−top)·scale) and adds element i to sum i%16. n is a multiple of 16.")
	top, scale := v.one(), v.one()
	VBROADCASTSS(parameter("top"), top)
	VBROADCASTSS(parameter("scale"), scale)
	sums, x := v.some(s.parts), v.one()
	e := v.exponential()
	e.frame()
	s.zero(sums...)
	p, n := argument("s"), argument("n")
	loop("groups", n, 16, func() {
		for i, sum := range sums {
			VMOVUPS(at(p, i*s.bytes), x)
			VSUBPS(top, x, x)
			VMULPS(scale, x, x)
			e.exp(x)
			VMOVUPS(x, at(p, i*s.bytes))
			VADDPS(x, sum, sum)
		}
		ADDQ(I32(64), p)
	})
	s.store(sums, argument("sums"))
	VZEROUPPER()
	RET()
}

// parameter is the memory of a parameter.
func parameter(name string) Mem {
	b, err := Param(name).Resolve()
	if err != nil {
		panic(err)
	}
	return b.Addr
}

func (s *set) store(rs []reg.VecPhysical, to reg.Register) {
	for i, r := range rs {
		VMOVUPS(r, at(to, i*s.bytes))
	}
}

// swiglu: y = g/(1+exp(−g))·u.
func (s *set) swiglu() {
	v := s.function("swiglu", "func(y *float32, gate *float32, up *float32, n int)",
		"writes gate/(1+exp(−gate))·up. n is a multiple of 16.")
	x := v.one()
	e := v.exponential()
	e.frame()
	y, g, u, n := argument("y"), argument("gate"), argument("up"), argument("n")
	loop("groups", n, 16, func() {
		for i := range s.parts {
			s.zero(x)
			VSUBPS(at(g, i*s.bytes), x, x)
			e.exp(x)
			VADDPS(e.one, x, x)
			VMOVUPS(at(g, i*s.bytes), e.t)
			VDIVPS(x, e.t, x)
			VMULPS(at(u, i*s.bytes), x, x)
			VMOVUPS(x, at(y, i*s.bytes))
		}
		for _, r := range []reg.GPVirtual{y, g, u} {
			ADDQ(I32(64), r)
		}
	})
	VZEROUPPER()
	RET()
}

func (s *set) maxOf() {
	v := s.function("maxOf", "func(s *float32, n int) float32",
		"is the largest element. n is a multiple of 16, not 0.")
	top, x := v.some(s.parts), v.one()
	p, n := argument("s"), argument("n")
	for i, r := range top {
		VMOVUPS(at(p, i*s.bytes), r)
	}
	loop("groups", n, 16, func() {
		for i, r := range top {
			VMAXPS(at(p, i*s.bytes), r, r)
		}
		ADDQ(I32(64), p)
	})
	if s == avx512 {
		VEXTRACTF64X4(U8(1), top[0], x.AsY())
		VMAXPS(x.AsY(), top[0].AsY(), top[0].AsY())
	} else {
		VMAXPS(top[1], top[0], top[0])
	}
	a, b := top[0].AsX(), x.AsX()
	VEXTRACTF128(U8(1), top[0].AsY(), b)
	VMAXPS(b, a, a)
	VMOVHLPS(a, b, b)
	VMAXPS(b, a, a)
	VPSHUFD(U8(1), a, b)
	VMAXPS(b, a, a)
	Store(a, ReturnIndex(0))
	VZEROUPPER()
	RET()
}

func (s *set) sumSquares() {
	v := s.function("sumSquares", "func(x *float32, n int, sums *[16]float32)",
		"adds the square of element i to sum i%16. n is a multiple of 16.")
	sums, x := v.some(s.parts), v.one()
	s.zero(sums...)
	p, n := argument("x"), argument("n")
	loop("groups", n, 16, func() {
		for i, r := range sums {
			VMOVUPS(at(p, i*s.bytes), x)
			VFMADD231PS(x, x, r)
		}
		ADDQ(I32(64), p)
	})
	s.store(sums, argument("sums"))
	VZEROUPPER()
	RET()
}

func (s *set) mulScale() {
	v := s.function("mulScale", "func(y *float32, x *float32, w *float32, scale float32, n int)",
		"writes x·scale·w. n is a multiple of 16.")
	scale, t := v.one(), v.one()
	VBROADCASTSS(parameter("scale"), scale)
	y, x, w, n := argument("y"), argument("x"), argument("w"), argument("n")
	loop("groups", n, 16, func() {
		for i := range s.parts {
			VMULPS(at(x, i*s.bytes), scale, t)
			VMULPS(at(w, i*s.bytes), t, t)
			VMOVUPS(t, at(y, i*s.bytes))
		}
		for _, r := range []reg.GPVirtual{y, x, w} {
			ADDQ(I32(64), r)
		}
	})
	VZEROUPPER()
	RET()
}

// turn: pairs by an angle each. Products are rounded by themselves, as in its twin.
func (s *set) turn() {
	v := s.function("turn", "func(lo, hi, cos, sin *float32, n int)", "turns n pairs, a multiple of 16.")
	a, b, c, d, t, u := v.one(), v.one(), v.one(), v.one(), v.one(), v.one()
	lo, hi, cos, sin, n := argument("lo"), argument("hi"), argument("cos"), argument("sin"), argument("n")
	loop("groups", n, 16, func() {
		for i := range s.parts {
			VMOVUPS(at(lo, i*s.bytes), a)
			VMOVUPS(at(hi, i*s.bytes), b)
			VMOVUPS(at(cos, i*s.bytes), c)
			VMOVUPS(at(sin, i*s.bytes), d)
			VMULPS(c, a, t)
			VMULPS(d, b, u)
			VSUBPS(u, t, t)
			VMOVUPS(t, at(lo, i*s.bytes))
			VMULPS(c, b, t)
			VMULPS(d, a, u)
			VADDPS(u, t, t)
			VMOVUPS(t, at(hi, i*s.bytes))
		}
		for _, p := range []reg.GPVirtual{lo, hi, cos, sin} {
			ADDQ(I32(64), p)
		}
	})
	VZEROUPPER()
	RET()
}

// widenBF16 and widenInt8 make float32 of keys and values.
func (s *set) widenBF16() {
	v := s.function("widenBF16", "func(to *float32, from *byte, n int)", "widens n elements, a multiple of 16.")
	x := v.one()
	to, from, n := argument("to"), argument("from"), argument("n")
	loop("groups", n, 16, func() {
		for i := range s.parts {
			VPMOVZXWD(at(from, i*s.bytes/2), x)
			VPSLLD(U8(16), x, x)
			VMOVUPS(x, at(to, i*s.bytes))
		}
		ADDQ(I32(32), from)
		ADDQ(I32(64), to)
	})
	VZEROUPPER()
	RET()
}

func (s *set) widenInt8() {
	v := s.function("widenInt8", "func(to *float32, from *byte, n int, scale float32)",
		"writes n whole numbers times what one counts. n is a multiple of 16.")
	x, scale := v.one(), v.one()
	VBROADCASTSS(parameter("scale"), scale)
	to, from, n := argument("to"), argument("from"), argument("n")
	loop("groups", n, 16, func() {
		for i := range s.parts {
			VPMOVSXBD(at(from, i*s.bytes/4), x)
			VCVTDQ2PS(x, x)
			VMULPS(scale, x, x)
			VMOVUPS(x, at(to, i*s.bytes))
		}
		ADDQ(I32(16), from)
		ADDQ(I32(64), to)
	})
	VZEROUPPER()
	RET()
}

// read and peak are what benchmarks compare with: memory read and nothing
// done with it, and multiplications of registers alone.
func (s *set) read() {
	v := s.function("read", "func(p *byte, n int)", "reads n bytes, a multiple of 512.")
	rs := v.some(8)
	p, n := argument("p"), argument("n")
	loop("lines", n, 512, func() {
		for i := 0; i < 512; i += s.bytes {
			VMOVUPS(at(p, i), rs[i/s.bytes%len(rs)])
		}
		ADDQ(I32(512), p)
	})
	VZEROUPPER()
	RET()
}

func (s *set) peak() {
	v := s.function("peak", "func(n int)", "does n rounds of 12 independent vector fused multiply-adds.")
	acc, x := v.some(12), v.one()
	s.zero(acc...)
	s.zero(x)
	n := argument("n")
	loop("rounds", n, 1, func() {
		for _, r := range acc {
			VFMADD231PS(x, x, r)
		}
	})
	VZEROUPPER()
	RET()
}

// peakDots is peak for dot products of bytes.
func peakDots() {
	TEXT("peakVNNI", noSplit, "func(n int)")
	Doc("peakVNNI does n rounds of 12 independent dot products of 64 bytes.")
	v := avx512.vectors()
	acc, x := v.some(12), v.one()
	avx512.zero(acc...)
	avx512.zero(x)
	n := argument("n")
	loop("rounds", n, 1, func() {
		for _, r := range acc {
			vpdpbusd(x, x, r)
		}
	})
	VZEROUPPER()
	RET()
}

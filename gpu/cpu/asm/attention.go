package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// scores: s[t] = q·k[t], four positions at a time. dim is a multiple of 16.
func (s *set) scores() {
	v := s.function("scores", "func(s *float32, q *float32, k *float32, n int, dim int)",
		"writes the dot products of q with n rows of k.")
	acc := v.some(4 * s.parts) // [position][part]
	x := v.some(s.parts)
	out, keys, n, dim := argument("s"), argument("k"), argument("n"), argument("dim")
	SHLQ(U8(2), dim) // bytes
	for _, positions := range []int{4, 1} {
		name := numbered("positions", positions)
		loop(name, n, positions, func() {
			acc := acc[:positions*s.parts]
			s.zero(acc...)
			q, left, third := argument("q"), GP64(), GP64()
			MOVQ(dim, left)
			rows := []Mem{{Base: keys}}
			if positions == 4 {
				rows = fourRows(keys, third, dim)
			}
			loop(name+"dim", left, 64, func() {
				for p := range s.parts {
					VMOVUPS(at(q, p*s.bytes), x[p])
					for i, r := range rows {
						VFMADD231PS(r.Offset(p*s.bytes), x[p], acc[i*s.parts+p])
					}
				}
				ADDQ(I32(64), q)
				ADDQ(I32(64), keys)
				if positions == 4 {
					ADDQ(I32(64), third)
				}
			})
			if positions == 4 {
				MOVQ(third, keys) // the fourth row's end is the fifth's beginning
				for i := range 4 {
					s.quarter(acc[i*s.parts:], x[0])
				}
				a := func(i int) reg.Register { return acc[i*s.parts].AsX() }
				s.transposeAdd(a(0), a(1), a(2), a(3), x[0].AsX())
				VMOVUPS(a(0), at(out, 0))
			} else {
				s.fold(acc, x[0])
				VMOVSS(acc[0].AsX(), at(out, 0))
			}
			ADDQ(I32(4*positions), out)
		})
	}
	VZEROUPPER()
	RET()
}

// fourRows is the memory of four rows ld bytes apart; third is to be moved
// along with base.
func fourRows(base, third, ld reg.GPVirtual) []Mem {
	LEAQ(Mem{Base: base, Index: ld, Scale: 2}, third)
	ADDQ(ld, third)
	return []Mem{{Base: base}, {Base: base, Index: ld, Scale: 1}, {Base: base, Index: ld, Scale: 2}, {Base: third}}
}

// quarter folds a group's 16 chains to the four of r[0]'s low part.
func (s *set) quarter(r []reg.VecPhysical, scratch reg.VecPhysical) {
	if s == avx512 {
		VEXTRACTF64X4(U8(1), r[0], scratch.AsY())
		VADDPS(scratch.AsY(), r[0].AsY(), r[0].AsY())
	} else {
		VADDPS(r[1], r[0], r[0])
	}
	VEXTRACTF128(U8(1), r[0].AsY(), scratch.AsX())
	VADDPS(scratch.AsX(), r[0].AsX(), r[0].AsX())
}

// fold folds a group's 16 chains to the lowest element of r[0].
func (s *set) fold(r []reg.VecPhysical, scratch reg.VecPhysical) {
	s.quarter(r, scratch)
	x, y := r[0].AsX(), scratch.AsX()
	VMOVHLPS(x, y, y)
	VADDPS(y, x, x)
	VPSHUFD(U8(1), x, y)
	VADDSS(y, x, x)
}

// transposeAdd finishes four folds at once: element i of a becomes
// (x0+x2)+(x1+x3) of the i-th register.
func (s *set) transposeAdd(a, b, c, d, scratch reg.Register) {
	half := func(x, y reg.Register) { // x = x0+x2, x1+x3, y0+y2, y1+y3
		VMOVLHPS(y, x, scratch)
		VMOVHLPS(x, y, y) // x2, x3, y2, y3
		VADDPS(y, scratch, x)
	}
	half(a, b)
	half(c, d)
	VSHUFPS(U8(0x88), c, a, scratch)
	VSHUFPS(U8(0xdd), c, a, a)
	VADDPS(a, scratch, a)
}

// values: out += Σ p[t]·v[t], the outputs of up to eight registers at a time.
// dim is a multiple of 16.
func (s *set) values() {
	v := s.function("values", "func(out *float32, p *float32, v *float32, n int, dim int)",
		"adds n rows of v, each times its p, to out.")
	acc, x := v.some(8), v.one()
	out, vals, dim := argument("out"), argument("v"), argument("dim")
	stride := GP64()
	MOVQ(dim, stride)
	SHLQ(U8(2), stride)
	per := s.bytes / 4
	for _, width := range []int{8, 4, s.parts} {
		acc := acc[:width]
		name := numbered("width", width)
		loop(name, dim, width*per, func() {
			p, row, n := argument("p"), GP64(), argument("n")
			MOVQ(vals, row)
			for i, r := range acc {
				VMOVUPS(at(out, i*s.bytes), r)
			}
			loop(name+"t", n, 1, func() {
				VBROADCASTSS(at(p, 0), x)
				for i, r := range acc {
					VFMADD231PS(at(row, i*s.bytes), x, r)
				}
				ADDQ(I32(4), p)
				ADDQ(stride, row)
			})
			for i, r := range acc {
				VMOVUPS(r, at(out, i*s.bytes))
			}
			ADDQ(I32(width*s.bytes), out)
			ADDQ(I32(width*s.bytes), vals)
		})
	}
	VZEROUPPER()
	RET()
}

// scores4 is scores for four queries at a time: a key is loaded once for all,
// and 16 folds share their shuffles. n is a multiple of 4. AVX-512 only: it
// takes 21 registers.
func scores4() {
	v := avx512.function("scores4", "func(s *float32, lds int, q *float32, k *float32, n int, dim int)",
		"writes the dot products of four queries, rows of q, with n rows of k.")
	acc, q, key := v.some(16), v.some(4), v.one() // acc[4·position + query]
	out, lds, keys, n, dim := argument("s"), argument("lds"), argument("k"), argument("n"), argument("dim")
	SHLQ(U8(2), dim)
	SHLQ(U8(2), lds)
	loop("positions", n, 4, func() {
		avx512.zero(acc...)
		queries, left, thirdQuery, thirdKey := argument("q"), GP64(), GP64(), GP64()
		MOVQ(dim, left)
		queryRows, keyRows := fourRows(queries, thirdQuery, dim), fourRows(keys, thirdKey, dim)
		loop("dims", left, 64, func() {
			for i, r := range queryRows {
				VMOVUPS(r, q[i])
			}
			for t, r := range keyRows {
				VMOVUPS(r, key)
				for i := range q {
					VFMADD231PS(key, q[i], acc[4*t+i])
				}
			}
			for _, r := range []reg.GPVirtual{queries, thirdQuery, keys, thirdKey} {
				ADDQ(I32(64), r)
			}
		})
		MOVQ(thirdKey, keys)
		foldAll(acc, key)
		to := GP64()
		MOVQ(out, to)
		for i := range 4 {
			if i == 0 {
				VMOVUPS(acc[0].AsX(), at(to, 0))
			} else {
				VEXTRACTF32X4(U8(i), acc[0], at(to, 0))
			}
			ADDQ(lds, to)
		}
		ADDQ(I32(16), out)
	})
	VZEROUPPER()
	RET()
}

// foldAll folds 16 registers, element j+4i of the result is the fold of the
// (4j+i)-th: each step adds two halves of two registers side by side.
func foldAll(r []reg.VecPhysical, scratch reg.VecPhysical) {
	step := func(x, y reg.VecPhysical, shuffle func(...Op), low, high uint64) {
		shuffle(U8(low), y, x, scratch)
		shuffle(U8(high), y, x, x)
		VADDPS(x, scratch, x)
	}
	for i := 0; i < 16; i += 2 {
		step(r[i], r[i+1], VSHUFF64X2, 0x44, 0xee) // 16→8: x, y
	}
	for i := 0; i < 16; i += 4 {
		step(r[i], r[i+2], VSHUFF64X2, 0x88, 0xdd) // 8→4: four folds, 128 bits each
	}
	for i := 0; i < 16; i += 8 {
		step(r[i], r[i+4], VSHUFPS, 0x44, 0xee) // 4→2
	}
	step(r[0], r[8], VSHUFPS, 0x88, 0xdd) // 2→1
}

// values4 is values for four queries at a time. dim is a multiple of 64.
// AVX-512 only.
func values4() {
	v := avx512.function("values4", "func(out *float32, p *float32, ldp int, v *float32, n int, dim int)",
		"adds n rows of v, each times its p, to four rows of out.")
	acc, x := v.some(16), v.some(4) // acc[4·query + register]
	value := v.some(4)
	out, vals, ldp, stride := argument("out"), argument("v"), argument("ldp"), argument("dim")
	left := GP64()
	MOVQ(stride, left)
	SHLQ(U8(2), stride)
	SHLQ(U8(2), ldp)
	loop("dims", left, 64, func() {
		thirdOut, p, thirdP, row, n := GP64(), argument("p"), GP64(), GP64(), argument("n")
		outs, ps := fourRows(out, thirdOut, stride), fourRows(p, thirdP, ldp)
		MOVQ(vals, row)
		each := func(f func(m Mem, r reg.VecPhysical)) {
			for i, o := range outs {
				for j := range 4 {
					f(o.Offset(64*j), acc[4*i+j])
				}
			}
		}
		each(func(m Mem, r reg.VecPhysical) { VMOVUPS(m, r) })
		loop("positions", n, 1, func() {
			for j := range value {
				VMOVUPS(at(row, 64*j), value[j])
			}
			for i, m := range ps {
				VBROADCASTSS(m, x[i])
				for j := range value {
					VFMADD231PS(value[j], x[i], acc[4*i+j])
				}
			}
			ADDQ(I32(4), p)
			ADDQ(I32(4), thirdP)
			ADDQ(stride, row)
		})
		each(func(m Mem, r reg.VecPhysical) { VMOVUPS(r, m) })
		ADDQ(I32(256), out)
		ADDQ(I32(256), vals)
	})
	VZEROUPPER()
	RET()
}

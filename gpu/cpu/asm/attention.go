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
				LEAQ(Mem{Base: keys, Index: dim, Scale: 2}, third)
				ADDQ(dim, third)
				rows = append(rows, Mem{Base: keys, Index: dim, Scale: 1}, Mem{Base: keys, Index: dim, Scale: 2}, Mem{Base: third})
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

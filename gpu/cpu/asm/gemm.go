package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// weights is how a panel's weights are kept; see ../pack.go.
type weights struct {
	name string
	line int // bytes of one inner index: 32 outputs
}

var (
	bf16 = weights{"BF16", 64}
	f32  = weights{"F32", 128}
)

// unpack loads part p of a line: into lo the outputs from p·width on, into hi
// those from 16+p·width on, as float32. mask keeps the upper half of a word.
func (s *set) unpack(w weights, line Mem, p int, lo, hi, mask reg.VecPhysical) {
	part := line.Offset(p * s.bytes)
	switch {
	case w == f32:
		VMOVUPS(part, lo)
		VMOVUPS(line.Offset(64+p*s.bytes), hi)
	case s == avx512:
		VMOVDQU32(part, hi)
		VPSLLD(U8(16), hi, lo)
		VPANDD(mask, hi, hi)
	default:
		VMOVDQU(part, hi)
		VPSLLD(U8(16), hi, lo)
		VPAND(mask, hi, hi)
	}
}

// finish stores part p of a panel's sums, from lo and hi.
func (s *set) finish(p int, lo, hi reg.VecPhysical, c Mem) {
	c = c.Offset(p * s.bytes)
	VMOVUPS(lo, c)
	VMOVUPS(hi, c.Offset(64))
}

// gemm: m rows by a panel, c[i][j] = Σ_k a[i][k]·w[k][j]. Two groups of
// accumulators a row, all in registers; a line of weights is widened once for
// all rows.
//
// VDPBF16PS would need activations in bfloat16; as a sum of two, to keep their
// accuracy, it takes two of them for what two fused multiply-adds do, and it
// rounds otherwise.
func (s *set) gemm(w weights, m int) {
	v := s.function(fmt.Sprintf("gemm%sx%d", w.name, m), "func(c *float32, ldc int, a *float32, lda int, w *byte, k int)",
		fmt.Sprintf("multiplies %d row(s) of a by a panel of weights.", m))
	acc := v.some(m * 2 * s.parts) // [row][part][lo, hi]
	lo, hi, x, mask := v.one(), v.one(), v.one(), v.one()
	s.zero(acc...)
	if w == bf16 {
		s.fill(mask, 0xffff0000)
	}
	a, lda, panel, k := argument("a"), argument("lda"), argument("w"), argument("k")
	SHLQ(U8(2), lda)
	// A pointer for every third row: rows are at 0, 1 and 2 times lda.
	rows := []reg.GPVirtual{a}
	for i := 3; i < m; i += 3 {
		r := GP64()
		LEAQ(Mem{Base: rows[len(rows)-1], Index: lda, Scale: 2}, r)
		ADDQ(lda, r)
		rows = append(rows, r)
	}
	inner := func(j int) { // the j-th inner index from here
		for p := range s.parts {
			s.unpack(w, at(panel, j*w.line), p, lo, hi, mask)
			for i := range m {
				element := Mem{Base: rows[i/3], Disp: 4 * j}
				if i%3 > 0 {
					element.Index, element.Scale = lda, uint8(i%3)
				}
				VBROADCASTSS(element, x)
				VFMADD231PS(x, lo, acc[(i*s.parts+p)*2])
				VFMADD231PS(x, hi, acc[(i*s.parts+p)*2+1])
			}
		}
	}
	for _, unroll := range []int{4, 1} {
		loop(numbered("inner", unroll), k, unroll, func() {
			for j := range unroll {
				inner(j)
			}
			for _, r := range rows {
				ADDQ(I32(4*unroll), r)
			}
			ADDQ(I32(w.line*unroll), panel)
		})
	}
	c, ldc := argument("c"), argument("ldc")
	SHLQ(U8(2), ldc)
	for i := range m {
		for p := range s.parts {
			s.finish(p, acc[(i*s.parts+p)*2], acc[(i*s.parts+p)*2+1], at(c, 0))
		}
		ADDQ(ldc, c)
	}
	VZEROUPPER()
	RET()
}

// gemv: one row by four adjacent panels, as many at a time as there are
// registers for. Each panel is a stream of its own, which the processor follows
// by itself: fetching 512 to 4096 bytes ahead in software took a Zen 4 core
// from 30 GB/s down to 26 to 23.
func (s *set) gemv(w weights) {
	v := s.function("gemv"+w.name, "func(c *float32, a *float32, w *byte, k int)",
		"multiplies a row by four adjacent panels of weights.")
	streams := 4 / s.parts
	acc := v.some(streams * 2 * s.parts)
	lo, hi, x, mask := v.one(), v.one(), v.one(), v.one()
	if w == bf16 {
		s.fill(mask, 0xffff0000)
	}
	c, panel := argument("c"), argument("w")
	for first := 0; first < 4; first += streams {
		s.zero(acc...)
		a, k := argument("a"), argument("k")
		panels := []reg.GPVirtual{panel}
		for range streams - 1 {
			next := GP64()
			MOVQ(k, next)
			SHLQ(U8(shift(w.line)), next)
			ADDQ(panels[len(panels)-1], next)
			panels = append(panels, next)
		}
		for _, unroll := range []int{4, 1} {
			loop(numbered(numbered("panel", first)+"by", unroll), k, unroll, func() {
				for j := range unroll {
					VBROADCASTSS(at(a, 4*j), x)
					for i, stream := range panels {
						for p := range s.parts {
							s.unpack(w, at(stream, j*w.line), p, lo, hi, mask)
							VFMADD231PS(x, lo, acc[(i*s.parts+p)*2])
							VFMADD231PS(x, hi, acc[(i*s.parts+p)*2+1])
						}
					}
				}
				ADDQ(I32(4*unroll), a)
				for _, stream := range panels {
					ADDQ(I32(w.line*unroll), stream)
				}
			})
		}
		for i := range streams {
			for p := range s.parts {
				s.finish(p, acc[(i*s.parts+p)*2], acc[(i*s.parts+p)*2+1], at(c, (first+i)*128))
			}
		}
		panel = panels[streams-1] // the end of the last is where the next begins
	}
	VZEROUPPER()
	RET()
}

func shift(n int) (bits int) {
	for ; n > 1; n /= 2 {
		bits++
	}
	return bits
}

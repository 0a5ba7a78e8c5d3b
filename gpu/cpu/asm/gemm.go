package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/ir"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// weights is how a panel's weights are kept; see ../pack.go.
type weights struct {
	name string
	line int // bytes of a step: an inner index of 32 outputs, of BF16 a pair of them
	step int // inner indices
	// dots says that products of pairs are one instruction, which takes a row's pairs as
	// words; others take them as two float32.
	dots bool
}

var (
	bf16    = weights{"BF16", 128, 2, false}
	bf16dot = weights{"BF16Dot", 128, 2, true}
	f32     = weights{"F32", 128, 1, false}
)

// words is how many words of a row a step takes.
func (w weights) words() int {
	if w.dots {
		return 1
	}
	return w.step
}

// line is what a step of a panel becomes in registers: outputs p·width on, and those
// from 16+p·width on, of each inner index. Of pairs the odd one comes first, as in the
// instruction that multiplies pairs.
func (s *set) line(w weights, line Mem, p int, to []reg.VecPhysical, mask reg.VecPhysical) {
	for half := range 2 {
		part := line.Offset(64*half + p*s.bytes)
		switch {
		case w != bf16:
			VMOVUPS(part, to[half])
		case s == avx512:
			VMOVDQU32(part, to[half])
			VPSLLD(U8(16), to[half], to[2+half])
			VPANDD(mask, to[half], to[half])
		default:
			VMOVDQU(part, to[half])
			VPSLLD(U8(16), to[half], to[2+half])
			VPAND(mask, to[half], to[half])
		}
	}
}

// multiply adds a step's products of a row, whose elements lie at x.
func (s *set) multiply(w weights, x Mem, line []reg.VecPhysical, t reg.VecPhysical, lo, hi reg.VecPhysical) {
	for i := range w.words() {
		VBROADCASTSS(x.Offset(4*(w.words()-1-i)), t)
		for half, acc := range []reg.VecPhysical{lo, hi} {
			if w.dots {
				vdpbf16ps(t, line[half], acc)
			} else {
				VFMADD231PS(t, line[2*i+half], acc)
			}
		}
	}
}

// registers are those that a step needs beside sums.
func (v *vectors) registers(w weights) (line []reg.VecPhysical, x, mask reg.VecPhysical) {
	line, x = v.some(2*w.words()), v.one()
	if w == bf16 {
		mask = v.one()
		v.fill(mask, 0xffff0000)
	}
	return line, x, mask
}

// finish stores part p of a panel's sums, from lo and hi.
func (s *set) finish(p int, lo, hi reg.VecPhysical, c Mem) {
	c = c.Offset(p * s.bytes)
	VMOVUPS(lo, c)
	VMOVUPS(hi, c.Offset(64))
}

// flushing has the function take and leave nothing below the smallest normal number, as
// the instruction that multiplies pairs does, until what it returns is called.
func flushing(w weights) (end func()) {
	if w != bf16 {
		return func() {}
	}
	was, now, g := AllocLocal(4), AllocLocal(4), GP32()
	STMXCSR(was)
	MOVL(was, g)
	ORL(U32(0x8040), g)
	MOVL(g, now)
	LDMXCSR(now)
	return func() { LDMXCSR(was) }
}

// gemm: m rows by a panel, c[i][j] = Σ_k a[i][k]·w[k][j]. Two groups of
// accumulators a row, all in registers; a line of weights is widened once for
// all rows. AVX2 has registers for one inner index of a pair at a time.
func (s *set) gemm(w weights, m int) {
	v := s.function(fmt.Sprintf("gemm%sx%d", w.name, m), "func(c *float32, ldc int, a *float32, lda int, w *byte, k int)",
		fmt.Sprintf("multiplies %d row(s) of a by a panel of weights.", m))
	acc := v.some(m * 2 * s.parts) // [row][part][lo, hi]
	inTurn := w == bf16 && s == avx2
	var line []reg.VecPhysical
	var x, mask reg.VecPhysical
	if inTurn {
		line, x, mask = v.some(2), v.one(), v.one()
		v.fill(mask, 0xffff0000)
	} else {
		line, x, mask = v.registers(w)
	}
	s.zero(acc...)
	end := flushing(w)
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
	inner := func(j int) { // the j-th step from here
		element := func(i int) Mem {
			e := Mem{Base: rows[i/3], Disp: 4 * w.words() * j}
			if i%3 > 0 {
				e.Index, e.Scale = lda, uint8(i%3)
			}
			return e
		}
		fetch(panel, j*w.line, w.line)
		for p := range s.parts {
			if inTurn {
				s.inTurn(at(panel, j*w.line), p, m, element, acc, line, x, mask)
				continue
			}
			s.line(w, at(panel, j*w.line), p, line, mask)
			for i := range m {
				s.multiply(w, element(i), line, x, acc[(i*s.parts+p)*2], acc[(i*s.parts+p)*2+1])
			}
		}
	}
	for _, unroll := range []int{4, 1} {
		loop(numbered("inner", unroll), k, unroll, func() {
			for j := range unroll {
				inner(j)
			}
			for _, r := range rows {
				ADDQ(I32(4*w.words()*unroll), r)
			}
			ADDQ(I32(w.line*unroll), panel)
		})
	}
	end()
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

// inTurn is a step of pairs with registers for one inner index of a part's line, the odd
// one first: it is read once more for the even one, and an element of a row once.
func (s *set) inTurn(line Mem, p, m int, element func(i int) Mem, acc, both []reg.VecPhysical, x, mask reg.VecPhysical) {
	for even := range 2 {
		for half, w := range both {
			part := line.Offset(64*half + p*s.bytes)
			if even == 0 {
				VPAND(part, mask, w)
				continue
			}
			VMOVDQU(part, w)
			VPSLLD(U8(16), w, w)
		}
		for i := range m {
			VBROADCASTSS(element(i).Offset(4*(1-even)), x)
			for half, w := range both {
				VFMADD231PS(x, w, acc[(i*s.parts+p)*2+half])
			}
		}
	}
}

// gemv: one row by four adjacent panels, as many at a time as there are
// registers for. Each panel is a stream of its own, which the processor follows
// by itself: fetching 512 to 4096 bytes ahead in software took a Zen 4 core
// from 30 GB/s down to 26 to 23. What has one stream is otherwise: see fetch.
func (s *set) gemv(w weights) {
	v := s.function("gemv"+w.name, "func(c *float32, a *float32, w *byte, k int)",
		"multiplies a row by four adjacent panels of weights.")
	streams := 4 / s.parts
	acc := v.some(streams * 2 * s.parts)
	line, x, mask := v.registers(w)
	end := flushing(w)
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
					for i, stream := range panels {
						for p := range s.parts {
							s.line(w, at(stream, j*w.line), p, line, mask)
							s.multiply(w, at(a, 4*w.words()*j), line, x, acc[(i*s.parts+p)*2], acc[(i*s.parts+p)*2+1])
						}
					}
				}
				ADDQ(I32(4*w.words()*unroll), a)
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
	end()
	VZEROUPPER()
	RET()
}

// pairs: two rounded to bfloat16 are a word, as vdpbf16ps takes them.
func pairs() {
	v := avx512.function("pairs", "func(to, x *float32, n int)", "writes x as pairs of bfloat16. n is a multiple of 32.")
	low, high := v.one(), v.one()
	to, x, n := argument("to"), argument("x"), argument("n")
	loop("some", n, 32, func() {
		VMOVUPS(at(x, 0), low)
		VMOVUPS(at(x, 64), high)
		evex(0x72, 3, low, high, low)
		VMOVUPS(low, at(to, 0))
		ADDQ(I32(128), x)
		ADDQ(I32(64), to)
	})
	VZEROUPPER()
	RET()
}

// vdpbf16ps adds to each word of sum the products of a pair of x by one of w: the odd
// ones, then the even ones, each rounded.
func vdpbf16ps(x, w, sum reg.VecPhysical) { evex(0x52, 2, x, w, sum) }

// evex is an instruction of AVX512-BF16 on registers, which neither avo nor Go's
// assembler know: its opcode in map 0F38, its prefix (2: F3, 3: F2), both sources and
// where the result goes.
func evex(opcode, prefix byte, rm, vvvv, to reg.VecPhysical) {
	bit := func(r reg.VecPhysical, n int) byte { return byte(r.PhysicalIndex()) >> n & 1 }
	for _, b := range []byte{
		0x62,
		(1-bit(to, 3))<<7 | (1-bit(rm, 4))<<6 | (1-bit(rm, 3))<<5 | (1-bit(to, 4))<<4 | 2,
		(15-byte(vvvv.PhysicalIndex())&15)<<3 | 1<<2 | prefix,
		2<<5 | (1-bit(vvvv, 4))<<3,
		opcode,
		3<<6 | byte(to.PhysicalIndex())&7<<3 | byte(rm.PhysicalIndex())&7,
	} {
		Instruction(&ir.Instruction{Opcode: "BYTE", Operands: []Op{U8(b)}})
	}
}

func shift(n int) (bits int) {
	for ; n > 1; n /= 2 {
		bits++
	}
	return bits
}

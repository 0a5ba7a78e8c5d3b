package main

import (
	"fmt"
	"go/format"
	"os"
	"strings"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/ir"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// scaling is what groups' scales and offsets are: float32, float16, or bytes that count
// float16s of 256 inputs.
type scaling int

const (
	floats scaling = iota
	halves
	times
)

// whole is how a panel keeps whole numbers; see ../blocks.go.
type whole struct {
	name    string
	bits    int
	offsets bool // groups have offsets behind their scales
	scales  scaling
}

var wholes = []whole{
	{"Int8", 8, false, floats},
	{"Int8Offset", 8, true, floats},
	{"Int4", 4, false, floats},
	{"Int4Offset", 4, true, floats},
	{"Int4Halves", 4, false, halves},
	{"Int4HalvesOffset", 4, true, halves},
	{"Int6Halves", 6, false, halves},
	{"Int6HalvesOffset", 6, true, halves},
	{"Int8Halves", 8, false, halves},
	{"Int4Times", 4, false, times},
	{"Int4TimesOffset", 4, true, times},
	{"Int6Times", 6, false, times},
	{"Int6TimesOffset", 6, true, times},
	{"Int8Times", 8, false, times},
}

// line is the bytes of four inner indices of a panel's 32 outputs.
func (w whole) line() int { return 16 * w.bits }

// twice is n, or twice as much for offsets.
func (w whole) twice(n int) int {
	if w.offsets {
		return 2 * n
	}
	return n
}

// size is the bytes of a scale of a group.
func (w whole) size() int { return []int{4, 2, 1}[w.scales] }

// head is the bytes before a group's lines, super those before the groups of 256 inputs.
func (w whole) head() int { return w.twice(32 * w.size()) }

func (w whole) super() int {
	if w.scales == times {
		return w.twice(64)
	}
	return 0
}

// rowHead is the bytes before a group of a row's numbers: scale, correction, sum.
const rowHead = 12

// dots is an instruction set with dot products of bytes.
type dots struct {
	*set
	name string
	rows int // that a product takes at most
	// dot adds to each word of sum the products of four bytes of x, signed, by four of
	// w, unsigned; nil: there is no such instruction.
	dot func(x, w, sum reg.VecPhysical)
}

var (
	vnni     = &dots{avx512, "VNNI", 6, vpdpbusd}
	avxVNNI  = &dots{avx2, "AVXVNNI", 3, vpdpbusdVEX}
	avx2Dots = &dots{avx2, "AVX2", 2, nil}
)

var sets = []*dots{vnni, avxVNNI, avx2Dots}

// rowsOf is how many rows a product takes at most, as there are registers.
func (d *dots) rowsOf(w whole) int {
	if d == avxVNNI && w.bits == 6 {
		return 2
	}
	return d.rows
}

// product: m rows of whole numbers by a panel, group by group: sums of a group are
// whole, exact, and in registers; so are those over groups, in float32. AVX-512
// does a panel at a time, others half of one: outputs p·8 to p·8+7 and 16 more, twice.
//
// With the sums over groups in memory twelve rows would fit into the registers;
// six keep the multipliers busy, too. A row by four panels at once, each a stream of its
// own as in gemv, read 0.73 to 0.93 of what a Zen 4 core reads, where panels one behind the other
// are 0.84 to 0.97.
func (d *dots) product(w whole, m int) {
	name := fmt.Sprintf("rows%sx%d%s", w.name, m, d.name)
	TEXT(name, noSplit, "func(c *float32, ldc int, a *byte, lda int, w *byte, k int, group int)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s multiplies %d row(s) of whole numbers by a panel.", name, m))
	v := &vectors{set: d.set}
	p := &blockProduct{dots: d, whole: w, sums: v.some(2 * m), total: v.some(2 * m), lo: v.one(), hi: v.one(), x: v.one()}
	p.wholes = w.bits == 4 && m == 1 && d.dot != nil
	switch {
	case p.wholes:
		p.mask = v.one()
		p.fill(p.mask, 0xf0f0f0f0)
	case w.bits < 8:
		p.mask = v.one()
		p.fill(p.mask, 0x0f0f0f0f)
	case d == avx2Dots:
		p.mask, p.size = v.one(), v.one()
		p.fill(p.mask, 0x80808080)
	}
	if d == avx2Dots || w.bits == 6 {
		p.t = v.one()
	}
	if d == avx2Dots {
		p.ones = v.one()
		p.fill(p.ones, 0x00010001)
	}
	if w.bits == 6 {
		p.upper, p.twos = v.one(), v.one()
		p.fill(p.upper, 0x30303030)
	}
	for part := range d.parts {
		p.panel(m, part)
	}
	VZEROUPPER()
	RET()
}

type blockProduct struct {
	*dots
	whole
	sums, total []reg.VecPhysical // [row][lo, hi]: of a group, over groups
	lo, hi, x   reg.VecPhysical
	mask        reg.VecPhysical // of less than 8 bits: the lower four; of 8 without VNNI: the sign
	upper, twos reg.VecPhysical // of 6 bits: the fifth and sixth, those of two lines
	t           reg.VecPhysical
	// wholes says that sums are of whole bytes and of upper halves in place: see bytes4.
	wholes bool
	// Without VNNI:
	ones, size reg.VecPhysical
}

// panel is one part of a panel.
func (p *blockProduct) panel(m, part int) {
	id := func(s string) string { return fmt.Sprint(s, part) }
	p.zero(p.total...)
	a, lda, w, k := argument("a"), argument("lda"), argument("w"), argument("k")
	rows := []reg.GPVirtual{a}
	for range m - 1 {
		r := GP64()
		MOVQ(rows[len(rows)-1], r)
		ADDQ(lda, r)
		rows = append(rows, r)
	}
	if part > 0 {
		ADDQ(I32(part*p.bytes), w)
	}
	var above reg.GPVirtual
	if p.scales == times {
		above = GP64()
		XORQ(above, above)
	}
	Label(id("group"))
	CMPQ(k, I32(0))
	JLE(LabelRef(id("groupEnd")))
	n, j, scales := argument("group"), GP64(), GP64()
	if p.scales == times { // another 256 inputs begin
		TESTQ(U32(63), k)
		JNZ(LabelRef(id("within")))
		MOVQ(w, above)
		ADDQ(I32(p.super()), w)
		Label(id("within"))
	}
	CMPQ(n, k)
	CMOVQGT(k, n)
	SUBQ(n, k)
	XORQ(j, j)
	MOVQ(w, scales)
	ADDQ(I32(p.head()), w)
	p.begin(rows)
	for _, unroll := range []int{4, 1} {
		if p.bits == 6 && unroll == 1 { // groups are of 16 inputs or more
			continue
		}
		loop(fmt.Sprint("lines", part, "by", unroll), n, unroll, func() {
			for l := range unroll {
				p.inner(rows, w, j, l)
			}
			ADDQ(I32(unroll*p.line()), w)
			ADDQ(I32(unroll*4), j)
		})
	}
	p.end(rows, scales, above, part)
	for _, r := range rows {
		LEAQ(Mem{Base: r, Index: j, Scale: 1, Disp: rowHead}, r)
	}
	JMP(LabelRef(id("group")))
	Label(id("groupEnd"))
	c, ldc := argument("c"), argument("ldc")
	SHLQ(U8(2), ldc)
	for i := range rows {
		VMOVUPS(p.total[2*i], at(c, part*p.bytes))
		VMOVUPS(p.total[2*i+1], at(c, 64+part*p.bytes))
		ADDQ(ldc, c)
	}
}

// signed says that products are made of signed weights: nothing is to be corrected.
func (p *blockProduct) signed() bool { return p.dots == avx2Dots && p.bits == 8 }

// begin sets a group's sums to the corrections of its rows.
func (p *blockProduct) begin(rows []reg.GPVirtual) {
	if p.signed() {
		p.zero(p.sums...)
		return
	}
	if p.wholes { // 17 times the correction and 16: once is left for each half
		VPBROADCASTD(at(rows[0], 4), p.sums[0])
		VPSLLD(U8(4), p.sums[0], p.sums[1])
		VPADDD(p.sums[1], p.sums[0], p.sums[0])
		return
	}
	for i, r := range rows {
		VPBROADCASTD(at(r, 4), p.sums[2*i])
		if p.set == avx512 {
			VMOVDQA32(p.sums[2*i], p.sums[2*i+1])
		} else {
			VMOVDQA(p.sums[2*i], p.sums[2*i+1])
		}
	}
}

// inner adds four inner indices, line l from here.
func (p *blockProduct) inner(rows []reg.GPVirtual, w, j reg.GPVirtual, l int) {
	first := (l*p.line() + 63) / 64 * 64 // of 6 bits two lines share three of the cache's
	fetch(w, first, (l+1)*p.line()-first)
	if p.wholes {
		p.bytes4(at(w, l*p.line()), Mem{Base: rows[0], Index: j, Scale: 1, Disp: rowHead + 4*l})
		return
	}
	p.unpack(w, l)
	element := func(i int) Mem { return Mem{Base: rows[i], Index: j, Scale: 1, Disp: rowHead + 4*l} }
	if p.signed() {
		p.innerSigned(len(rows), element)
		return
	}
	for i := range rows {
		VPBROADCASTD(element(i), p.x)
		for half, r := range []reg.VecPhysical{p.lo, p.hi} {
			sum := p.sums[2*i+half]
			if p.dot != nil {
				p.dot(p.x, r, sum)
				continue
			}
			VPMADDUBSW(p.x, r, p.t) // at most 2·63·127
			VPMADDWD(p.ones, p.t, p.t)
			VPADDD(p.t, sum, sum)
		}
	}
}

// bytes4 adds four inner indices of a row by two halves of bytes: x·(lower + 16·upper) to the
// first sum, 16·x·upper to the second, which for few rows is less work than taking bytes apart.
func (p *blockProduct) bytes4(line, x Mem) {
	if p.set == avx512 {
		VMOVDQU32(line, p.lo)
		VPANDD(p.mask, p.lo, p.hi)
	} else {
		VMOVDQU(line, p.lo)
		VPAND(p.mask, p.lo, p.hi)
	}
	VPBROADCASTD(x, p.x)
	p.dot(p.x, p.lo, p.sums[0])
	p.dot(p.x, p.hi, p.sums[1])
}

// unpack has line l in lo and hi.
func (p *blockProduct) unpack(w reg.GPVirtual, l int) {
	line := at(w, l*p.line())
	switch {
	case p.bits == 6:
		p.inner6(w, l)
	case p.bits == 4:
		p.nibbles(line)
	case p.set == avx512:
		VMOVDQU32(line, p.lo)
		VMOVDQU32(line.Offset(64), p.hi)
	default:
		VMOVDQU(line, p.lo)
		VMOVDQU(line.Offset(64), p.hi)
	}
}

// nibbles has the lower halves of bytes in lo, the upper ones in hi.
func (p *blockProduct) nibbles(line Mem) {
	if p.set == avx512 {
		VMOVDQU32(line, p.hi)
		VPANDD(p.mask, p.hi, p.lo)
		VPSRLW(U8(4), p.hi, p.hi)
		VPANDD(p.mask, p.hi, p.hi)
		return
	}
	VMOVDQU(line, p.hi)
	VPAND(p.mask, p.hi, p.lo)
	VPSRLW(U8(4), p.hi, p.hi)
	VPAND(p.mask, p.hi, p.hi)
}

// inner6 has line l in lo and hi: of two lines the fifth and sixth bits come first.
func (p *blockProduct) inner6(w reg.GPVirtual, l int) {
	pair, second := at(w, l/2*2*p.line()), l%2
	if second == 0 {
		if p.set == avx512 {
			VMOVDQU32(pair, p.twos)
		} else {
			VMOVDQU(pair, p.twos)
		}
	}
	p.nibbles(pair.Offset(64 * (1 + second)))
	for half, r := range []reg.VecPhysical{p.lo, p.hi} {
		moved := p.t
		switch left := 4 - 4*second - 2*half; {
		case left > 0:
			VPSLLW(U8(left), p.twos, p.t)
		case left < 0:
			VPSRLW(U8(-left), p.twos, p.t)
		default:
			moved = p.twos
		}
		if p.set == avx512 {
			VPTERNLOGD(U8(0xf8), p.upper, moved, r) // r or both
			continue
		}
		VPAND(p.upper, moved, p.t)
		VPOR(p.t, r, r)
	}
}

// innerSigned multiplies sizes of weights by numbers that have taken their signs:
// two products are at most 2·128·127, which 16 bits hold.
func (p *blockProduct) innerSigned(m int, element func(i int) Mem) {
	for half, r := range []reg.VecPhysical{p.lo, p.hi} {
		VPXOR(p.mask, r, r)
		VPABSB(r, p.size)
		for i := range m {
			VPBROADCASTD(element(i), p.x)
			VPSIGNB(r, p.x, p.x)
			VPMADDUBSW(p.x, p.size, p.t)
			VPMADDWD(p.ones, p.t, p.t)
			VPADDD(p.t, p.sums[2*i+half], p.sums[2*i+half])
		}
	}
}

// end adds a group's sums, times both scales, to those over groups.
func (p *blockProduct) end(rows []reg.GPVirtual, scales, above reg.GPVirtual, part int) {
	if p.wholes {
		VPSUBD(p.sums[1], p.sums[0], p.sums[0])
		VPSRAD(U8(4), p.sums[1], p.sums[1])
	}
	p.scale(scales, above, 0, part)
	for i, r := range rows {
		VBROADCASTSS(at(r, 0), p.x)
		for half, scale := range []reg.VecPhysical{p.lo, p.hi} {
			sum := p.sums[2*i+half]
			VCVTDQ2PS(sum, sum)
			VMULPS(scale, sum, sum)
			VFMADD231PS(p.x, sum, p.total[2*i+half])
		}
		if p.offsets && p.scales == floats {
			VBROADCASTSS(at(r, 8), p.x)
			VFMADD231PS(at(scales, 128), p.x, p.total[2*i])
			VFMADD231PS(at(scales, 192), p.x, p.total[2*i+1])
		}
	}
	if !p.offsets || p.scales == floats {
		return
	}
	p.scale(scales, above, 1, part)
	for i, r := range rows {
		VBROADCASTSS(at(r, 8), p.x)
		VFMADD231PS(p.lo, p.x, p.total[2*i])
		VFMADD231PS(p.hi, p.x, p.total[2*i+1])
	}
}

// scale has a group's scales, or what is the second in its head, in lo and hi. Pointers
// are part registers of bytes further than the head begins.
func (p *blockProduct) scale(scales, above reg.GPVirtual, which, part int) {
	for half, r := range []reg.VecPhysical{p.lo, p.hi} {
		output := 16*half + part*p.bytes/4 // of the panel
		from := func(base reg.GPVirtual, size int) Mem { return at(base, size*(32*which+output)-part*p.bytes) }
		switch p.scales {
		case floats:
			VMOVUPS(from(scales, 4), r)
		case halves:
			VCVTPH2PS(from(scales, 2), r)
		case times:
			VPMOVSXBD(from(scales, 1), r)
			VCVTDQ2PS(r, r)
			VCVTPH2PS(from(above, 2), p.x)
			VMULPS(p.x, r, r)
		}
	}
}

// packing is how ../blocks.go writes it.
func (w whole) packing() string {
	return fmt.Sprintf("{%d, %v, model.%s}", w.bits, w.offsets, []string{"Floats", "Halves", "Times"}[w.scales])
}

// tables writes which product takes which packing.
func tables() {
	var s strings.Builder
	s.WriteString("// Code generated by command: go generate. DO NOT EDIT.\n\npackage cpu\n\nimport \"github.com/troupe-llm/troupe/gpu/model\"\n")
	for _, d := range sets {
		fmt.Fprintf(&s, "\nvar products%s = map[packing]blockProducts{\n", d.name)
		for _, w := range wholes {
			fmt.Fprintf(&s, "\t%s: {", w.packing())
			for m := 1; m <= d.rowsOf(w); m++ {
				if m > 1 {
					s.WriteString(", ")
				}
				fmt.Fprintf(&s, "rows%sx%d%s", w.name, m, d.name)
			}
			s.WriteString("},\n")
		}
		s.WriteString("}\n")
	}
	text, err := format.Source([]byte(s.String()))
	if err == nil {
		err = os.WriteFile("../blocks_amd64.go", text, 0o644)
	}
	if err != nil {
		panic(err)
	}
}

// vpdpbusd is dots.dot of AVX-512. avo does not know it, Go's assembler does.
func vpdpbusd(x, w, sum reg.VecPhysical) {
	Instruction(&ir.Instruction{
		Opcode: "VPDPBUSD", Operands: []Op{x, w, sum}, Inputs: []Op{x, w, sum}, Outputs: []Op{sum},
	})
}

// sizes: the largest of the absolute values' bits.
func (s *set) sizes() {
	v := s.function("sizeOf", "func(x *float32, n int) uint32", "is the largest of the bits without signs. n is a multiple of 32, not 0.")
	top, x, mask := v.some(2), v.one(), v.one()
	s.zero(top...)
	s.fill(mask, 0x7fffffff)
	p, n := argument("x"), argument("n")
	loop("some", n, s.bytes/2, func() {
		for i, r := range top {
			if s == avx512 {
				VPANDD(at(p, i*s.bytes), mask, x)
				VPMAXUD(x, r, r)
			} else {
				VPAND(at(p, i*s.bytes), mask, x)
				VPMAXUD(x, r, r)
			}
		}
		ADDQ(I32(2*s.bytes), p)
	})
	VPMAXUD(top[1], top[0], top[0])
	if s == avx512 {
		VEXTRACTI64X4(U8(1), top[0], x.AsY())
		VPMAXUD(x.AsY(), top[0].AsY(), top[0].AsY())
	}
	VEXTRACTI128(U8(1), top[0].AsY(), x.AsX())
	a, b := top[0].AsX(), x.AsX()
	VPMAXUD(b, a, a)
	VPSHUFD(U8(0x4e), a, b)
	VPMAXUD(b, a, a)
	VPSHUFD(U8(0xb1), a, b)
	VPMAXUD(b, a, a)
	g := GP32()
	VMOVD(a, g)
	Store(g, ReturnIndex(0))
	VZEROUPPER()
	RET()
}

// round: x·by to the nearest whole number, as bytes, and their sum: adding
// 1.5·2²³ rounds, ties to even, and leaves the number in the lowest bits.
func (s *set) round() {
	v := s.function("round", "func(to *byte, x *float32, by float32, n int) int32",
		"writes x·by as whole numbers of 8 bits and returns their sum. n is a multiple of 32.")
	by, magic, sum := v.one(), v.one(), v.one()
	x := v.some(4)
	VBROADCASTSS(parameter("by"), by)
	s.fill(magic, 0x4b400000)
	s.zero(sum)
	order := v.one()
	if s == avx2 {
		VMOVDQU(orderTable(), order)
	}
	to, p, n := argument("to"), argument("x"), argument("n")
	loop("some", n, 32, func() {
		for i := range 128 / s.bytes {
			r := x[i]
			VMULPS(at(p, i*s.bytes), by, r)
			VADDPS(magic, r, r)
			VPSUBD(magic, r, r)
			VPADDD(r, sum, sum)
			if s == avx512 {
				VPMOVDB(r, at(to, 16*i))
			}
		}
		if s == avx2 {
			VPACKSSDW(x[1], x[0], x[0])
			VPACKSSDW(x[3], x[2], x[2])
			VPACKSSWB(x[2], x[0], x[0])
			VPERMD(x[0], order, x[0])
			VMOVDQU(x[0], at(to, 0))
		}
		ADDQ(I32(128), p)
		ADDQ(I32(32), to)
	})
	t := x[0]
	if s == avx512 {
		VEXTRACTI64X4(U8(1), sum, t.AsY())
		VPADDD(t.AsY(), sum.AsY(), sum.AsY())
	}
	VEXTRACTI128(U8(1), sum.AsY(), t.AsX())
	a, b := sum.AsX(), t.AsX()
	VPADDD(b, a, a)
	VPSHUFD(U8(0x4e), a, b)
	VPADDD(b, a, a)
	VPSHUFD(U8(0xb1), a, b)
	VPADDD(b, a, a)
	g := GP32()
	VMOVD(a, g)
	Store(g, ReturnIndex(0))
	VZEROUPPER()
	RET()
}

var orders *Mem

// orderTable puts words in order that packing twice has left in turns.
func orderTable() Mem {
	if orders == nil {
		m := GLOBL("packed", 8|16) // RODATA|NOPTR
		for i, word := range []uint32{0, 4, 1, 5, 2, 6, 3, 7} {
			DATA(4*i, U32(word))
		}
		orders = &m
	}
	return *orders
}

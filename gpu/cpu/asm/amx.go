package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// tiled: up to 16 rows of whole numbers, or 32 as two tiles, by a panel of 8 bits, with
// registers of tiles (AMX): those of rows by two of 16 outputs each make two or four of
// sums. It adds to c.
//
// Sums of a group go through memory, as there is no other way from tiles to vectors.
// Vectors scale them while tiles multiply the next group, whose sums are stored only
// then: loads behind stores that wait for tiles would wait, too. Sums over groups are
// in memory, side by side.
//
// Nothing stays in tiles behind it: no system call or other goroutine finds any.
// Registers are named since the assembler's bytes are.
func tiled(w whole, tiles int) {
	name := fmt.Sprintf("tiles%sx%dAMX", w.name, tiles)
	TEXT(name, noSplit,
		"func(config *byte, c *float32, ldc int, a *byte, lda int, w *byte, k int, group int, step int, first int, rows int, sums *byte)")
	Pragma("noescape")
	Doc("tiles"+w.name+"AMX adds products of rows by a panel to c. Tiles take step inner indices at a time; first is the rows",
		"of the first tile, sums 8 KiB of room.")
	t := &tiling{
		whole: w, tiles: tiles,
		a: reg.RDI, w: reg.RSI, k: reg.RDX, lda: reg.R10, second: reg.R15, line: reg.RBX,
		rowHeads: reg.R8, scales: reg.R9, sums: reg.R11, total: reg.R13,
		n: reg.RCX, x: reg.RAX,
	}
	t.begin()
	t.multiply("first")
	t.store()
	Label("group")
	TESTQ(t.k, t.k)
	JE(LabelRef("last"))
	t.multiply("next")
	t.scale("scale")
	t.store()
	t.next()
	JMP(LabelRef("group"))
	Label("last")
	t.scale("scaleLast")
	release()
	t.move("out", func(c, total Mem, r reg.VecPhysical) {
		VMOVUPS(total, r)
		VMOVUPS(r, c)
	})
	VZEROUPPER()
	RET()
}

// tiling is where things are.
type tiling struct {
	whole
	tiles       int            // of rows
	a, w, k     reg.GPPhysical // of the group that is multiplied, and inner indices left
	lda, second reg.GPPhysical // how far apart rows lie, and tiles of rows
	line        reg.GPPhysical // 128: how far apart lines and rows of sums lie
	rowHeads    reg.GPPhysical // of the group before, which is scaled
	scales      reg.GPPhysical
	sums, total reg.GPPhysical // of a group, and over groups
	n, x        reg.GPPhysical // for this and that
}

func (t *tiling) begin() {
	load := func(name string, r reg.Register) { Load(Param(name), r) }
	load("config", t.x)
	configure(t.x)
	load("lda", t.lda)
	load("first", t.second)
	IMULQ(t.lda, t.second)
	load("sums", t.sums)
	LEAQ(at(t.sums, 4096), t.total)
	t.move("in", func(c, total Mem, r reg.VecPhysical) {
		VMOVUPS(c, r)
		VMOVUPS(r, total)
	})
	load("a", t.a)
	load("w", t.w)
	load("k", t.k)
	MOVQ(t.a, t.rowHeads)
	MOVQ(t.w, t.scales)
	MOVQ(I32(128), t.line)
}

// move goes through c and the sums over groups, row by row. It changes a, w, k and n.
func (t *tiling) move(name string, each func(c, total Mem, r reg.VecPhysical)) {
	c, ldc, rows := t.a, t.w, t.k
	Load(Param("c"), c)
	Load(Param("ldc"), ldc)
	Load(Param("rows"), rows)
	XORQ(t.n, t.n)
	Label(name)
	each(at(c, 0), Mem{Base: t.total, Index: t.n, Scale: 1}, reg.Z0)
	each(at(c, 64), Mem{Base: t.total, Index: t.n, Scale: 1, Disp: 64}, reg.Z1)
	LEAQ(Mem{Base: c, Index: ldc, Scale: 4}, c)
	ADDQ(I32(128), t.n)
	DECQ(rows)
	JNE(LabelRef(name))
}

// multiply makes a group's sums, and goes on to the next one of the rows and the panel.
func (t *tiling) multiply(step string) {
	c, b, a := t.sumTiles(), []tile{4, 5}, []tile{6, 7}
	Load(Param("group"), t.n)
	CMPQ(t.n, t.k)
	CMOVQGT(t.k, t.n)
	SUBQ(t.n, t.k)
	for _, r := range c {
		r.zero()
	}
	ADDQ(I32(t.head()), t.w)
	ADDQ(I32(rowHead), t.a)
	Label(step)
	b[0].load(Mem{Base: t.w, Index: t.line, Scale: 1})
	a[0].load(Mem{Base: t.a, Index: t.lda, Scale: 1})
	c[0].dot(a[0], b[0])
	b[1].load(Mem{Base: t.w, Index: t.line, Scale: 1, Disp: 64})
	c[1].dot(a[0], b[1])
	if t.tiles == 2 {
		LEAQ(Mem{Base: t.a, Index: t.second, Scale: 1}, t.x)
		a[1].load(Mem{Base: t.x, Index: t.lda, Scale: 1})
		c[2].dot(a[1], b[0])
		c[3].dot(a[1], b[1])
	}
	Load(Param("step"), t.x)
	ADDQ(t.x, t.a)
	SUBQ(t.x, t.n)
	SHLQ(U8(5), t.x)
	ADDQ(t.x, t.w)
	TESTQ(t.n, t.n)
	JNE(LabelRef(step))
}

// sumTiles are a group's: of the first rows and outputs, those and more outputs, and so
// of more rows.
func (t *tiling) sumTiles() []tile { return []tile{0, 1, 2, 3}[:2*t.tiles] }

// store takes a group's sums to memory.
func (t *tiling) store() {
	Load(Param("first"), t.x)
	SHLQ(U8(7), t.x)
	ADDQ(t.sums, t.x)
	for i, r := range t.sumTiles() {
		base := []reg.GPPhysical{t.sums, t.x}[i/2]
		r.store(Mem{Base: base, Index: t.line, Scale: 1, Disp: i % 2 * 64})
	}
}

// next goes on to the row's and the panel's next group to scale: all before the last are whole.
func (t *tiling) next() {
	Load(Param("group"), t.x)
	LEAQ(Mem{Base: t.rowHeads, Index: t.x, Scale: 1, Disp: rowHead}, t.rowHeads)
	SHLQ(U8(5), t.x)
	LEAQ(Mem{Base: t.scales, Index: t.x, Scale: 1, Disp: t.head()}, t.scales)
}

// scale adds sums of the group before, times both scales, to those over groups.
func (t *tiling) scale(name string) {
	lo, hi, offsetLo, offsetHi := reg.Z16, reg.Z17, reg.Z18, reg.Z19
	VMOVUPS(at(t.scales, 0), lo)
	VMOVUPS(at(t.scales, 64), hi)
	if t.offsets {
		VMOVUPS(at(t.scales, 128), offsetLo)
		VMOVUPS(at(t.scales, 192), offsetHi)
	}
	rows := t.line
	Load(Param("rows"), rows)
	MOVQ(t.rowHeads, t.x)
	XORQ(t.n, t.n)
	Label(name)
	correction, sumLo, sumHi, by, totalLo, totalHi := reg.Z0, reg.Z1, reg.Z2, reg.Z3, reg.Z4, reg.Z5
	in := func(base reg.Register, disp int) Mem { return Mem{Base: base, Index: t.n, Scale: 1, Disp: disp} }
	VPBROADCASTD(at(t.x, 4), correction)
	VPADDD(in(t.sums, 0), correction, sumLo)
	VPADDD(in(t.sums, 64), correction, sumHi)
	VCVTDQ2PS(sumLo, sumLo)
	VCVTDQ2PS(sumHi, sumHi)
	VMULPS(lo, sumLo, sumLo)
	VMULPS(hi, sumHi, sumHi)
	VBROADCASTSS(at(t.x, 0), by)
	VMOVUPS(in(t.total, 0), totalLo)
	VMOVUPS(in(t.total, 64), totalHi)
	VFMADD231PS(by, sumLo, totalLo)
	VFMADD231PS(by, sumHi, totalHi)
	if t.offsets {
		VBROADCASTSS(at(t.x, 8), by)
		VFMADD231PS(offsetLo, by, totalLo)
		VFMADD231PS(offsetHi, by, totalHi)
	}
	VMOVUPS(totalLo, in(t.total, 0))
	VMOVUPS(totalHi, in(t.total, 64))
	ADDQ(t.lda, t.x)
	ADDQ(I32(128), t.n)
	DECQ(rows)
	JNE(LabelRef(name))
	MOVQ(I32(128), t.line)
}

// eight says that tiles take a panel as it is: numbers are bytes, scales float32.
func (w whole) eight() bool { return w.bits == 8 && w.scales == floats }

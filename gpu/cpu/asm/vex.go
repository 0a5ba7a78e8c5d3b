package main

import (
	"encoding/binary"
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/ir"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Instructions that Go's assembler does not know are written byte by byte: those of
// tiles (AMX), and dot products of bytes as VEX has them (AVX-VNNI), of which it knows
// the EVEX form alone. All are of the map 0F38 with W0.

// prefix is the one that VEX implies.
type prefix byte

const (
	plain prefix = iota
	prefix66
	prefixF3
	prefixF2
)

// vex is an instruction: its prefix, opcode, and whether it is of 256 bits.
type vex struct {
	prefix prefix
	opcode byte
	wide   bool
}

var (
	ldtilecfg   = vex{plain, 0x49, false}
	tilerelease = vex{plain, 0x49, false}
	tilezero    = vex{prefixF2, 0x49, false}
	tileloadd   = vex{prefixF2, 0x4b, false}
	tilestored  = vex{prefixF3, 0x4b, false}
	tdpbsud     = vex{prefixF3, 0x5e, false}
	vpdpbusdY   = vex{prefix66, 0x50, true}
)

// registers encodes an instruction of registers: reg and rm as in ModRM, second as in VEX.
func (v vex) registers(reg, second, rm int) []byte {
	return append(v.head(reg, second, 0, rm), 0xc0|byte(reg&7<<3|rm&7))
}

// memory encodes one of a register and memory: base + index + disp, which is below 128;
// index −1: none.
func (v vex) memory(reg, base, index, disp int) []byte {
	b, rm := v.head(reg, 0, max(index, 0), base), byte(base&7)
	if index >= 0 {
		rm = 4 // both follow
	}
	near := disp != 0 || base&7 == 5 // or there would be no base
	mod := byte(0)
	if near {
		mod = 0x40
	}
	b = append(b, mod|byte(reg&7<<3)|rm)
	switch {
	case index >= 0:
		b = append(b, byte(index&7<<3|base&7))
	case rm == 4:
		b = append(b, 0x24)
	}
	if near {
		b = append(b, byte(disp))
	}
	return b
}

// head is all before ModRM: the registers' highest bits and the second register are
// written inverted.
func (v vex) head(reg, second, index, base int) []byte {
	const map0F38 = 2
	top := ^byte(reg>>3<<7|index>>3<<6|base>>3<<5)&0xe0 | map0F38
	last := byte(^second&15)<<3 | byte(v.prefix)
	if v.wide {
		last |= 4
	}
	return []byte{0xc4, top, last, v.opcode}
}

// emit writes bytes, of which the last say which registers are read and changed.
func emit(code []byte, comment string, inputs, outputs []Op) {
	Comment(comment)
	Instruction(&ir.Instruction{Opcode: "LONG", Operands: []Op{U32(binary.LittleEndian.Uint32(code))}, Inputs: inputs})
	for _, b := range code[4:] {
		Instruction(&ir.Instruction{Opcode: "BYTE", Operands: []Op{U8(b)}, Inputs: inputs, Outputs: outputs})
	}
}

// numberOf is how a physical register is encoded.
func numberOf(r reg.Register) int { return int(reg.ToPhysical(r).PhysicalIndex()) }

// vpdpbusdVEX is vpdpbusd of AVX-VNNI.
func vpdpbusdVEX(x, w, sum reg.VecPhysical) {
	code := vpdpbusdY.registers(numberOf(sum), numberOf(w), numberOf(x))
	emit(code, fmt.Sprintf("VPDPBUSD %s, %s, %s", x.Asm(), w.Asm(), sum.Asm()), []Op{x, w, sum}, []Op{sum})
}

// tile is a register of up to 16 rows of 64 bytes.
type tile int

func (t tile) zero() {
	emit(tilezero.registers(int(t), 0, 0), fmt.Sprintf("TILEZERO T%d", t), nil, nil)
}

// load and store take rows that lie stride bytes apart.
func (t tile) load(from Mem) { t.move(tileloadd, "TILELOADD", from) }
func (t tile) store(to Mem)  { t.move(tilestored, "TILESTORED", to) }

func (t tile) move(v vex, name string, m Mem) {
	code := v.memory(int(t), numberOf(m.Base), numberOf(m.Index), m.Disp)
	emit(code, fmt.Sprintf("%s %s, T%d", name, m.Asm(), t), []Op{m.Base, m.Index}, nil)
}

// dot adds products of four signed bytes of a by four unsigned ones of b.
func (t tile) dot(a, b tile) {
	emit(tdpbsud.registers(int(t), int(b), int(a)), fmt.Sprintf("TDPBSUD T%d, T%d, T%d", b, a, t), nil, nil)
}

func configure(at reg.Register) {
	emit(ldtilecfg.memory(0, numberOf(at), -1, 0), "LDTILECFG", []Op{at}, nil)
}

func release() { emit(tilerelease.registers(0, 0, 0), "TILERELEASE", nil, nil) }

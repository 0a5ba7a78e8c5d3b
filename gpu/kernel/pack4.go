package kernel

import (
	"encoding/binary"
	"math"
)

// Whole4 are outputs of a weight of 4 bits as products take them: 16 of them, over so
// many inputs, a multiple of 128, of which every group has a scale and a zero point. A
// number is (code − zero point)·scale.
type Whole4 struct {
	In, Group     int
	Codes         []byte    // [16, In], each below 16
	Scales, Zeros []float32 // [16, In/Group]
}

// Int4Bytes is what outputs, a multiple of 16, of so many inputs take.
func Int4Bytes(out, in, group int) int64 {
	return int64(out/16) * int64(in/128) * int64(1024+64*int4Groups(group))
}

// Pack writes them into Int4Bytes bytes, as int4.cuh has it: words whose bits are
// where the tensor cores' operands want them, then scales. Scales lose their last 8
// bits, of which those of 16 bits have none.
func (w *Whole4) Pack(to []byte) {
	groups := int4Groups(w.Group)
	size := 1024 + 64*groups
	for c := range w.In / 128 {
		block := to[c*size:][:size]
		for word := range 256 {
			half, lane, step := word/128, word/4%32, word%4
			k := c*128 + half*64 + step*16 + lane%4*2
			var bits uint32
			for register := range 4 {
				row, at := lane/4+register%2*8, k+register/2*8
				pair := w.Codes[row*w.In+at:]
				bits |= uint32(pair[0])<<(4*register) | uint32(pair[1])<<(4*register+16)
			}
			binary.LittleEndian.PutUint32(block[4*word:], bits)
		}
		for i := range 16 * groups {
			group, row := i/16, i%16
			at := row*(w.In/w.Group) + c*groups + group
			binary.LittleEndian.PutUint32(block[1024+4*i:], scaleWord(w.Scales[at], w.Zeros[at]))
		}
	}
}

// scaleWord is a group's scale, rounded to nearest in its upper 24 bits, and zero
// point.
func scaleWord(scale, zero float32) uint32 {
	bits := math.Float32bits(scale)
	if up := bits + 0x7f + bits>>8&1; up&0x7f800000 != 0x7f800000 { // but to no infinity
		bits = up
	}
	return bits&^0xff | uint32(zero)
}

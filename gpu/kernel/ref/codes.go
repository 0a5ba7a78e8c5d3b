package ref

import (
	"encoding/binary"
	"math"
	"math/bits"
)

// E4M3 is the number of a code of FP8: sign, 4 bits of exponent, 3 of fraction.
func E4M3(code byte) float32 {
	exponent, fraction := int(code>>3&15), float64(code&7)
	v := math.Ldexp(8+fraction, exponent-10)
	if exponent == 0 {
		v = math.Ldexp(fraction, -9)
	}
	if code&127 == 127 {
		v = math.NaN()
	}
	if code > 127 {
		v = -v
	}
	return float32(v)
}

// ExpertCodes are the numbers of codes of experts as products take them (moe_tiles.cuh),
// but for their scales: of E2M1 or E4M3.
func ExpertCodes(codes []byte, e2m1 bool) []float32 {
	each, pairs := 16, pairs8
	if e2m1 {
		each, pairs = 32, pairs4
	}
	var numbers []float32
	for ; len(codes) > 0; codes = codes[each:] {
		var rows [4][]uint32
		for lane := range rows {
			rows[lane] = pairs(codes[4*lane : each-12+4*lane])
		}
		for pair := range rows[0] {
			for _, lane := range rows {
				numbers = append(numbers, placed(lane[pair], e2m1), placed(lane[pair]>>16, e2m1))
			}
		}
	}
	return numbers
}

// pairs8 are the pairs of E4M3 in a lane's word, in the places of bf16.
func pairs8(codes []byte) []uint32 {
	w := binary.LittleEndian.Uint32(codes)
	return []uint32{w, bits.RotateLeft32(w, 8)&0x07700770 | bits.RotateLeft32(w, 12)&0x80808080}
}

// pairs4 are those of E2M1 in a lane's two words, 16 bytes apart.
func pairs4(codes []byte) []uint32 {
	a, b := binary.LittleEndian.Uint32(codes), binary.LittleEndian.Uint32(codes[16:])
	rest, turn := a&0x06030603|bits.RotateLeft32(b, 2)&^0x06030603, bits.RotateLeft32
	return []uint32{a, turn(a, 4), turn(a, 10), turn(rest, 6), b, turn(b, 4), turn(b, 10), turn(rest, 12)}
}

// placed is the number whose code's bits are where bf16 has them.
func placed(v uint32, e2m1 bool) float32 {
	sign := byte(v>>15&1) << 7
	if !e2m1 {
		return E4M3(sign | byte(v>>4&127))
	}
	number := [8]float32{0, .5, 1, 1.5, 2, 3, 4, 6}[v>>6&7]
	if sign != 0 {
		return -number
	}
	return number
}

// Widen is// Widen is the numbers of codes, of which in lie in a row; scale is of a row's
// column.
func Widen(codes []byte, in int, scale func(row, column int) float32) []float32 {
	out := make([]float32, len(codes))
	for i, c := range codes {
		out[i] = E4M3(c) * scale(i/in, i%in)
	}
	return out
}

package ref

import (
	"encoding/binary"
	"math"
	"slices"
)

// Int4 is the numbers of a weight of 4 bits that lies as kernel int4.cuh has it,
// [out, in], row by row. It looks each one up by itself.
func Int4(blocks []byte, out, in, group int) []float32 {
	groups := 128 / group
	size := 1024 + 64*groups
	w := make([]float32, out*in)
	for i := range w {
		row, k := i/in, i%in
		block := blocks[(row/16*(in/128)+k/128)*size:]
		r, at := row%16, k%128
		// multiply_add: a lane has rows g and g+8, columns 2t, 2t+1 and 8 more.
		lane := r%8*4 + at%8/2
		register := r/8 + at%16/8*2
		word := binary.LittleEndian.Uint32(block[at/64*512+lane*16+at%64/16*4:])
		code := word >> (4*register + at%2*16) & 15
		scale := binary.LittleEndian.Uint32(block[1024+at/group*64+r*4:])
		w[i] = (float32(code) - float32(scale&255)) * math.Float32frombits(scale&^255)
	}
	return w
}

// Sixteen rounds each 128 values to 16 bits of the largest, as int4_bytes.cuh does.
func Sixteen(x []float32) {
	for chunk := range slices.Chunk(x, 128) {
		most := float32(0)
		for _, v := range chunk {
			most = max(most, float32(math.Abs(float64(v))))
		}
		for i, v := range chunk {
			if unit := most / 32512; unit > 0 {
				chunk[i] = float32(math.RoundToEven(float64(v/unit)) * float64(unit))
			}
		}
	}
}

package model

import "math"

// DType is the type of a tensor's elements, named as config.json names it.
type DType string

const (
	Float32  DType = "float32"
	Float16  DType = "float16"
	BFloat16 DType = "bfloat16"
	// Int8 is how a device may hold matrices, not a checkpoint: whole numbers
	// up to 127 either way, times one float32 for each output.
	Int8 DType = "int8"
)

// Size is the bytes of one element.
func (d DType) Size() int {
	switch d {
	case Float32:
		return 4
	case Int8:
		return 1
	}
	return 2
}

// FromBF16 widens a bfloat16.
func FromBF16(b uint16) float32 { return math.Float32frombits(uint32(b) << 16) }

// ToBF16 rounds to the nearest bfloat16, ties to even; NaN stays NaN.
func ToBF16(f float32) uint16 {
	b := math.Float32bits(f)
	if f != f {
		return uint16(b>>16) | 0x40
	}
	return uint16((b + 0x7fff + b>>16&1) >> 16)
}

// FromF16 widens an IEEE half.
func FromF16(h uint16) float32 {
	sign, exponent, fraction := uint32(h>>15)<<31, uint32(h>>10&0x1f), uint32(h&0x3ff)
	switch exponent {
	case 0x1f:
		return math.Float32frombits(sign | 0xff<<23 | fraction<<13)
	case 0: // zero and what is below the smallest normal: fraction · 2⁻²⁴, exact
		return math.Float32frombits(sign | math.Float32bits(float32(fraction)/(1<<24)))
	}
	return math.Float32frombits(sign | (exponent+112)<<23 | fraction<<13)
}

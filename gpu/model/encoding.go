package model

import (
	"encoding/binary"
	"math"

	"github.com/troupe-llm/troupe/gpu/program"
)

// DType is the type of a tensor's elements, named as config.json names it.
type DType string

const (
	Float32  DType = "float32"
	Float16  DType = "float16"
	BFloat16 DType = "bfloat16"
	// Int8 is whole numbers from −127 to 127, which count what their scale says.
	Int8 DType = "int8"
)

// traits are all there is to know of a type of elements.
type traits struct {
	bits int
	file string // what safetensors call it; "": they have none
	// read widens elements, little endian; exact.
	read func(dst []float32, from []byte)
}

var types = map[DType]traits{
	Float32: {32, "F32", func(dst []float32, from []byte) {
		for i := range dst {
			dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(from[4*i:]))
		}
	}},
	Float16: {16, "F16", func(dst []float32, from []byte) {
		for i := range dst {
			dst[i] = FromF16(binary.LittleEndian.Uint16(from[2*i:]))
		}
	}},
	BFloat16: {16, "BF16", func(dst []float32, from []byte) {
		for i := range dst {
			dst[i] = FromBF16(binary.LittleEndian.Uint16(from[2*i:]))
		}
	}},
	Int8: {8, "", func(dst []float32, from []byte) {
		for i := range dst {
			dst[i] = float32(int8(from[i]))
		}
	}},
}

// Size is the bytes of one element, of types of whole bytes.
func (d DType) Size() int { return types[d].bits / 8 }

// Encoding says how a tensor's numbers lie in bytes: elements of a type, row by
// row, little endian; with scales, a number is its element times its block's
// scale. In which type a device computes and adds up, and how it packs numbers
// for speed, is its own affair.
type Encoding struct {
	Element DType
	Scale   DType // "": there are no scales
	// Rows and Columns are the block that shares a scale; 0: all of them.
	Rows, Columns int
}

// Plain is elements without scales.
func Plain(d DType) Encoding { return Encoding{Element: d} }

// ByOutput is elements with a scale of type float32 for every row.
func ByOutput(d DType) Encoding { return Encoding{Element: d, Scale: Float32, Rows: 1} }

// Bytes is what a tensor of that shape takes, scales included: of three
// dimensions each matrix by itself.
func (e Encoding) Bytes(shape []int) int64 {
	n := int64(1)
	for _, d := range shape {
		n *= int64(d)
	}
	return (n*int64(types[e.Element].bits)+7)/8 + e.scales(shape)*int64(types[e.Scale].bits/8)
}

// scales is how many there are.
func (e Encoding) scales(shape []int) int64 {
	if e.Scale == "" {
		return 0
	}
	last := len(shape) - 1
	n := blocks(shape[last], e.Columns)
	if last > 0 {
		n *= blocks(shape[last-1], e.Rows)
	}
	for _, d := range shape[:max(last-1, 0)] {
		n *= int64(d)
	}
	return n
}

func blocks(n, each int) int64 {
	if each == 0 {
		return 1
	}
	return int64((n + each - 1) / each)
}

func (e Encoding) String() string {
	switch {
	case e.Scale == "":
		return string(e.Element)
	case e.Columns == 0 && e.Rows == 1:
		return string(e.Element) + " by output"
	case e.Columns == 0:
		return string(e.Element) + " by tensor"
	}
	return string(e.Element) + " by blocks"
}

// Held says how a device holds weights: matrices in one encoding, vectors, which
// are norms and biases, in another.
type Held struct{ Matrix, Vector Encoding }

// HeldAs is how weights are held of which a type is asked for: of Int8 are
// matrices alone, each output with a scale of its own.
func HeldAs(d DType) Held {
	if d == Int8 {
		return Held{ByOutput(Int8), Plain(Float32)}
	}
	return Held{Plain(d), Plain(d)}
}

// Of is the encoding of a slot.
func (h Held) Of(w *program.Weight) Encoding {
	if w.Matrix() {
		return h.Matrix
	}
	return h.Vector
}

// Sizes are what a program's elements take that is held so, with keys and values
// of that type.
func (h Held) Sizes(cache DType) program.Sizes {
	return program.Sizes{
		Weight: func(w *program.Weight) float64 { return float64(h.Of(w).Bytes(w.Shape)) },
		Cache:  float64(types[cache].bits) / 8,
	}
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

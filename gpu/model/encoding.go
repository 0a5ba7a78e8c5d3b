package model

import (
	"encoding/binary"
	"math"

	"github.com/troupe-llm/troupe/gpu/program"
)

// DType is the type of a tensor's elements and how those lie in words, named as
// config.json names it where it does.
type DType string

const (
	Float32  DType = "float32"
	Float16  DType = "float16"
	BFloat16 DType = "bfloat16"
	// Int8 is whole numbers from −128 to 127, which count what their scale says, Int6
	// from −32 to 31, which only a processor has, and Int4 from −8 to 7.
	Int8 DType = "int8"
	Int6 DType = "int6"
	Int4 DType = "int4"

	// Of published quantised checkpoints. MXFP4's elements are E2M1;
	// Exponent8 is powers of two, which scales alone are.
	Float8    DType = "float8_e4m3"
	MXFP4     DType = "mxfp4"
	Exponent8 DType = "float8_e8m0"
	// Whole numbers from 0 on, less a zero point, in words of 32 bits, the lowest
	// bits first: along the inputs, by output as matrices are or by input, or along
	// the outputs in an order of their own.
	Packed4 DType = "packed int4"
	Packed8 DType = "packed int8"
	GPTQ4   DType = "GPTQ int4"
	GPTQ8   DType = "GPTQ int8"
	AWQ4    DType = "AWQ int4"
)

// Quantized are the elements of published quantised checkpoints.
var Quantized = append([]DType{Float8, MXFP4, Packed4, Packed8, GPTQ4, GPTQ8, AWQ4}, Blocks...)

// traits are all there is to know of a type of elements.
type traits struct {
	bits int
	file string // what safetensors call it; "": they have none
	// read widens elements that lie one behind the other, little endian; exact.
	// None begins within a byte.
	read func(dst []float32, from []byte)
	// word is how elements share words of 32 bits; 0: they do not.
	word packing
	// block is how many elements of a row lie in so many bytes together with their
	// scales, and are read whole; 0: each lies by itself.
	block, bytes int
}

// packing is how elements of a matrix share words.
type packing int

const (
	unpacked packing = iota
	byOutput         // [out, in/n]; zero points are [out/n, groups], scales [out, groups]
	byInput          // [in/n, out]; zero points are [groups, out/n], scales [groups, out]
	awqOrder         // [in, out/n], even outputs before odd ones; zero points and scales as before
)

var types = map[DType]traits{
	Float32: {bits: 32, file: "F32", read: func(dst []float32, from []byte) {
		for i := range dst {
			dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(from[4*i:]))
		}
	}},
	Float16: {bits: 16, file: "F16", read: func(dst []float32, from []byte) {
		for i := range dst {
			dst[i] = FromF16(binary.LittleEndian.Uint16(from[2*i:]))
		}
	}},
	BFloat16: {bits: 16, file: "BF16", read: func(dst []float32, from []byte) {
		for i := range dst {
			dst[i] = FromBF16(binary.LittleEndian.Uint16(from[2*i:]))
		}
	}},
	Int8: {bits: 8, read: func(dst []float32, from []byte) {
		for i := range dst {
			dst[i] = float32(int8(from[i]))
		}
	}},
	Int6: {bits: 6}, // in no file
	Int4: {bits: 4, read: func(dst []float32, from []byte) {
		nibbles(dst, from, &signed4)
	}},
	Float8: {bits: 8, file: "F8_E4M3", read: func(dst []float32, from []byte) {
		for i := range dst {
			dst[i] = float8[from[i]]
		}
	}},
	MXFP4: {bits: 4, read: func(dst []float32, from []byte) {
		nibbles(dst, from, &float4)
	}},
	Exponent8: {bits: 8, file: "F8_E8M0", read: func(dst []float32, from []byte) {
		for i := range dst {
			dst[i] = fromE8M0(from[i])
		}
	}},
	Packed4: {bits: 4, word: byOutput, read: func(dst []float32, from []byte) {
		nibbles(dst, from, &whole4)
	}},
	Packed8: {bits: 8, word: byOutput, read: func(dst []float32, from []byte) {
		for i := range dst {
			dst[i] = float32(int32(from[i]))
		}
	}},
	GPTQ4: {bits: 4, word: byInput},
	GPTQ8: {bits: 8, word: byInput},
	AWQ4:  {bits: 4, word: awqOrder},
}

// line is the bytes of that many elements of a row that do not share words.
func (t traits) line(elements int) int {
	if t.block > 0 {
		return elements / t.block * t.bytes
	}
	return elements * t.bits / 8
}

// perWord is how many elements share a word.
func (t traits) perWord() int { return 32 / t.bits }

// Size is the bytes of one element, of types of whole bytes.
func (d DType) Size() int { return types[d].bits / 8 }

// Block is how many elements of a row lie together in how many bytes, their scales
// among them; of other types than GGUF's blocks it is 0.
func (d DType) Block() (elements, bytes int) { return types[d].block, types[d].bytes }

// Encoding says how a tensor's numbers lie in bytes: elements of a type, row by
// row, little endian, or packed as their type says, or in blocks that hold their own
// scales; with scales beside them, a number is its
// element, less its block's zero point, times its block's scale. In which type a
// device computes and adds up, and how it packs numbers for speed, is its own
// affair.
type Encoding struct {
	Element DType
	Scale   DType // "": there are no scales
	// Rows and Columns are the block that shares a scale; 0: all of them.
	Rows, Columns int
	Zeros         Zeros
}

// Zeros says where zero points are, packed as the elements are.
type Zeros string

const (
	// NoZeros: there are none; of whole numbers from 0 on the middle stands for zero.
	NoZeros Zeros = ""
	// ZerosStored and ZerosLessOne: each block's is stored, as it is or less one.
	ZerosStored  Zeros = "as they are"
	ZerosLessOne Zeros = "less one"
)

// Plain is elements without scales.
func Plain(d DType) Encoding { return Encoding{Element: d} }

// ByOutput is elements with a scale of type float32 for every row.
func ByOutput(d DType) Encoding { return Encoding{Element: d, Scale: Float32, Rows: 1} }

// InGroups is elements with a scale of type float32 for every so many inputs of a row.
func InGroups(d DType, inputs int) Encoding {
	return Encoding{Element: d, Scale: Float32, Rows: 1, Columns: inputs}
}

// HalvesInGroups is InGroups with scales of type float16.
func HalvesInGroups(d DType, inputs int) Encoding {
	return Encoding{Element: d, Scale: Float16, Rows: 1, Columns: inputs}
}

// Microscaled is elements of MXFP4, with a power of two for every 32 inputs of a row.
func Microscaled() Encoding {
	return Encoding{Element: MXFP4, Scale: Exponent8, Rows: 1, Columns: 32}
}

// Bytes is what a tensor of that shape takes, scales and zero points included: of
// three dimensions each matrix by itself.
func (e Encoding) Bytes(shape []int) int64 {
	elements, scales, zeros := e.sizes(shape)
	return elements + scales + zeros
}

// sizes are the bytes of a tensor's elements, scales and zero points.
func (e Encoding) sizes(shape []int) (elements, scales, zeros int64) {
	t, last := types[e.Element], len(shape)-1
	rows, columns, matrices := 1, shape[last], int64(1)
	if last > 0 {
		rows = shape[last-1]
	}
	for _, d := range shape[:max(last-1, 0)] {
		matrices *= int64(d)
	}
	groups := blocks(columns, e.Columns)
	switch {
	case t.block > 0:
		elements = matrices * int64(rows) * blocks(columns, t.block) * int64(t.bytes)
	case t.word == unpacked:
		elements = matrices * ((int64(rows)*int64(columns)*int64(t.bits) + 7) / 8)
	default:
		n := t.perWord()
		packedRows, packedColumns := int64(rows), int64(columns)
		if t.word == awqOrder {
			packedRows = blocks(rows, n)
		} else {
			packedColumns = blocks(columns, n)
		}
		elements = 4 * matrices * packedRows * packedColumns
		if e.Zeros != NoZeros {
			zeros = 4 * matrices * groups * blocks(rows, n)
		}
	}
	if e.Scale != "" {
		scales = matrices * groups * blocks(rows, e.Rows) * int64(types[e.Scale].bits/8)
	}
	return elements, scales, zeros
}

func blocks(n, each int) int64 {
	if each == 0 {
		return 1
	}
	return int64((n + each - 1) / each)
}

// Quantized tells numbers that were rounded to few bits from others.
func (e Encoding) Quantized() bool { return e.Scale != "" || types[e.Element].block > 0 }

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

// ByBlock is elements with a scale of type float32 for every 128 rows and columns.
func ByBlock(d DType) Encoding {
	return Encoding{Element: d, Scale: Float32, Rows: 128, Columns: 128}
}

// Held says how a device holds weights: matrices in one encoding, those of the
// vocabulary perhaps in another, vectors, which are norms and biases, in a third.
type Held struct {
	Matrix, Vocabulary, Vector Encoding
	// Own are the encodings of slots that are held otherwise, by their names; nil:
	// there are none.
	Own map[string]Encoding
}

// Inputs that share a scale where weights are rounded while they are loaded.
const (
	GroupOfInt8 = 128
	GroupOfInt4 = 64
)

// HeldAs is how weights are held of which a type is asked for: whole numbers are
// of matrices alone, by groups, and of 6 bits where 4 are asked for those of the
// vocabulary, which suffer the most.
func HeldAs(d DType) Held {
	switch d {
	case Int6:
		return Held{Matrix: InGroups(Int6, 32), Vocabulary: InGroups(Int6, 32), Vector: Plain(Float32)}
	case Int8:
		return Held{Matrix: InGroups(Int8, GroupOfInt8), Vocabulary: InGroups(Int8, GroupOfInt8), Vector: Plain(Float32)}
	case Int4:
		return Held{Matrix: HalvesInGroups(Int4, GroupOfInt4), Vocabulary: HalvesInGroups(Int6, GroupOfInt4), Vector: Plain(Float32)}
	}
	return Held{Matrix: Plain(d), Vocabulary: Plain(d), Vector: Plain(d)}
}

// InputsOfInt6 is the inputs that products take at a time of Int6: they have no others.
const InputsOfInt6 = 16

// Of is the encoding of a slot; where it would be of Int6, and the inputs are none for it, of Int8.
func (h Held) Of(w *program.Weight) Encoding {
	if e, own := h.Own[w.Name]; own {
		return e
	}
	e := h.Matrix
	switch {
	case w.Exact:
		return Plain(Float32)
	case !w.Matrix():
		return h.Vector
	case w.Role == "embed" || w.Role == "head":
		e = h.Vocabulary
	}
	if e.Element == Int6 && w.In()%InputsOfInt6 != 0 {
		return InGroups(Int8, GroupOfInt8)
	}
	return e
}

// Codes is how a slot's numbers are scaled if they are E4M3 or of 4 bits, as HeldInFP8,
// HeldInInt4 and HeldExperts have them.
func (h Held) Codes(w *program.Weight) program.Codes {
	switch h.Of(w) {
	case ByOutput(Float8):
		return program.CodesByOutput
	case ByBlock(Float8):
		return program.CodesByBlock
	case Microscaled():
		return program.CodesMXFP4
	}
	if e := h.Of(w); e.Element == Int4 && e == InGroups(Int4, e.Columns) {
		return program.CodesInGroups
	}
	return program.NoCodes
}

// Sizes are what a program's elements take that is held so, with keys and values
// of that type.
func (h Held) Sizes(cache DType) program.Sizes {
	return program.Sizes{
		Weight: func(w *program.Weight) float64 { return float64(h.Of(w).Bytes(w.Shape)) },
		Cache:  float64(types[cache].bits) / 8,
	}
}

// float8 are E4M3's numbers: sign, 4 bits of exponent, 3 of fraction; the last of
// each sign is no number, and none is infinite (arXiv:2209.05433).
var float8 = func() (values [256]float32) {
	for b := range values {
		exponent, fraction := b>>3&15, float64(b&7)
		v := math.Ldexp(8+fraction, exponent-10)
		if exponent == 0 {
			v = math.Ldexp(fraction, -9)
		}
		if b&127 == 127 {
			v = math.NaN()
		}
		values[b] = float32(math.Copysign(v, float64(127-b)))
	}
	return values
}()

// ToFloat8 rounds to the nearest E4M3, ties to even, and what is beyond to the
// most; NaN stays NaN.
func ToFloat8(f float32) byte {
	bits := math.Float32bits(f)
	sign, bits := byte(bits>>24&0x80), bits&^(1<<31)
	switch {
	case bits > 0x7f800000:
		return sign | 0x7f
	case bits >= 0x43e00000: // 448
		return sign | 0x7e
	case bits < 0x3c800000: // 2⁻⁶: eighths of the smallest normal
		return sign | byte(math.RoundToEven(float64(math.Float32frombits(bits)*512)))
	}
	return sign | byte((bits+0x7ffff+bits>>20&1)>>20-(127-7)<<3)
}

// float4 are E2M1's numbers (OCP Microscaling Formats, 1.0).
var float4 = [16]float32{0, .5, 1, 1.5, 2, 3, 4, 6, float32(math.Copysign(0, -1)), -.5, -1, -1.5, -2, -3, -4, -6}

// whole4 are the numbers of 4 bits.
var whole4 = [16]float32{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}

// signed4 are those of 4 bits of which the highest is the sign.
var signed4 = [16]float32{0, 1, 2, 3, 4, 5, 6, 7, -8, -7, -6, -5, -4, -3, -2, -1}

// nibbles widens elements of 4 bits, of a byte the lower ones first.
func nibbles(dst []float32, from []byte, numbers *[16]float32) {
	pairs := len(dst) / 2
	for i, b := range from[:pairs] {
		two := dst[2*i:][:2]
		two[0], two[1] = numbers[b&15], numbers[b>>4]
	}
	if len(dst)%2 == 1 {
		dst[2*pairs] = numbers[from[pairs]&15]
	}
}

// fromE8M0 is 2 to the power of the byte less 127; the last is no number.
func fromE8M0(b byte) float32 {
	switch b {
	case 0: // below the smallest normal
		return 0x1p-127
	case 255:
		return float32(math.NaN())
	}
	return math.Float32frombits(uint32(b) << 23)
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

// ToF16 rounds to the nearest IEEE half, ties to even; what is too large is infinite, NaN
// stays NaN.
func ToF16(f float32) uint16 {
	const (
		infinite, smallest = 0x7f800000, 0x38800000 // 2⁻¹⁴ is the smallest normal half
		tooLarge           = 0x477ff000             // 65,520
	)
	b := math.Float32bits(f)
	sign, size := uint16(b>>16)&0x8000, b&^(1<<31)
	switch {
	case size > infinite:
		return sign | 0x7e00
	case size >= tooLarge:
		return sign | 0x7c00
	case size < smallest: // the sum's last bit counts 2⁻²⁴
		return sign | uint16(math.Float32bits(math.Float32frombits(size)+0.5)-math.Float32bits(0.5))
	}
	size -= 112 << 23
	return sign | uint16((size+0xfff+size>>13&1)>>13)
}

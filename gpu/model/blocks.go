package model

import (
	"encoding/binary"
	"math"
)

// The blocks of GGUF files: some elements lie together with what scales them, as
// ggml's structs have it. A number is computed in float32 in the order of ggml's
// reference, each product rounded by itself (a conversion keeps processors from fusing
// it with a sum), so that it is the same to the bit.

// Of GGUF files. What K stands for are blocks of 256 with scales of 16 or 32 of
// their elements.
const (
	Q4_0   DType = "Q4_0"
	Q4_1   DType = "Q4_1"
	Q5_0   DType = "Q5_0"
	Q5_1   DType = "Q5_1"
	Q8_0   DType = "Q8_0"
	Q2_K   DType = "Q2_K"
	Q3_K   DType = "Q3_K"
	Q4_K   DType = "Q4_K"
	Q5_K   DType = "Q5_K"
	Q6_K   DType = "Q6_K"
	IQ4_NL DType = "IQ4_NL"
	IQ4_XS DType = "IQ4_XS"
	// BlockMXFP4 are the numbers of MXFP4 in another order, each block behind its scale.
	BlockMXFP4 DType = "MXFP4 blocks"
)

// Blocks are the elements of GGUF files that are quantised.
var Blocks = []DType{Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, IQ4_NL, IQ4_XS, BlockMXFP4}

// blockTypes are what there is to know of them.
var blockTypes = map[DType]traits{
	Q4_0:       {block: 32, bytes: 18, read: each(32, 18, readQ4_0)},
	Q4_1:       {block: 32, bytes: 20, read: each(32, 20, readQ4_1)},
	Q5_0:       {block: 32, bytes: 22, read: each(32, 22, readQ5_0)},
	Q5_1:       {block: 32, bytes: 24, read: each(32, 24, readQ5_1)},
	Q8_0:       {block: 32, bytes: 34, read: each(32, 34, readQ8_0)},
	Q2_K:       {block: 256, bytes: 84, read: each(256, 84, readQ2_K)},
	Q3_K:       {block: 256, bytes: 110, read: each(256, 110, readQ3_K)},
	Q4_K:       {block: 256, bytes: 144, read: each(256, 144, readQ4_K)},
	Q5_K:       {block: 256, bytes: 176, read: each(256, 176, readQ5_K)},
	Q6_K:       {block: 256, bytes: 210, read: each(256, 210, readQ6_K)},
	IQ4_NL:     {block: 32, bytes: 18, read: each(32, 18, readIQ4_NL)},
	IQ4_XS:     {block: 256, bytes: 136, read: each(256, 136, readIQ4_XS)},
	BlockMXFP4: {block: 32, bytes: 17, read: each(32, 17, readMXFP4)},
}

func init() {
	for d, t := range blockTypes {
		t.bits = (8*t.bytes + t.block - 1) / t.block
		types[d] = t
	}
}

// each widens whole blocks.
func each(elements, size int, read func(dst []float32, b []byte)) func(dst []float32, from []byte) {
	return func(dst []float32, from []byte) {
		for ; len(dst) >= elements; dst, from = dst[elements:], from[size:] {
			read(dst[:elements], from[:size])
		}
	}
}

func half(b []byte) float32 { return FromF16(binary.LittleEndian.Uint16(b)) }

// of4 are the lower elements of 16 bytes, then the upper ones, each of a table.
func of4(dst []float32, qs []byte, table *[16]float32) {
	low, high := dst[:16], dst[16:32]
	for i, q := range qs[:16] {
		low[i], high[i] = table[q&15], table[q>>4]
	}
}

// scaled is a table times a scale.
func scaled(numbers *[16]float32, d float32) (t [16]float32) {
	for i, x := range numbers {
		t[i] = float32(d * x)
	}
	return t
}

var (
	less8 = [16]float32{-8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7}
	// uneven are the sixteen numbers of IQ4, which lie closer about zero.
	uneven = [16]float32{-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113}
	// doubled are E2M1's numbers times two.
	doubled = [16]float32{0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12}
)

// readQ4_0: scale, 16 bytes.
func readQ4_0(dst []float32, b []byte) {
	t := scaled(&less8, half(b))
	of4(dst, b[2:], &t)
}

// readQ4_1: scale, what is added, 16 bytes.
func readQ4_1(dst []float32, b []byte) {
	t := scaled(&whole4, half(b))
	plus := half(b[2:])
	for i := range t {
		t[i] += plus
	}
	of4(dst, b[4:], &t)
}

// readQ5_0: scale, fifth bits, 16 bytes.
func readQ5_0(dst []float32, b []byte) {
	d, high := half(b), binary.LittleEndian.Uint32(b[2:])
	for i, q := range b[6:22] {
		dst[i] = d * float32(int32(q&15)|int32(high>>i&1)<<4-16)
		dst[i+16] = d * float32(int32(q>>4)|int32(high>>(i+16)&1)<<4-16)
	}
}

// readQ5_1: scale, what is added, fifth bits, 16 bytes.
func readQ5_1(dst []float32, b []byte) {
	d, plus, high := half(b), half(b[2:]), binary.LittleEndian.Uint32(b[4:])
	for i, q := range b[8:24] {
		dst[i] = float32(d*float32(int32(q&15)|int32(high>>i&1)<<4)) + plus
		dst[i+16] = float32(d*float32(int32(q>>4)|int32(high>>(i+16)&1)<<4)) + plus
	}
}

// readQ8_0: scale, 32 whole numbers.
func readQ8_0(dst []float32, b []byte) {
	d := half(b)
	for i, q := range b[2:34] {
		dst[i] = d * float32(int8(q))
	}
}

// readQ2_K: 16 pairs of scale and minimum, 64 bytes of four elements, two scales of those.
func readQ2_K(dst []float32, b []byte) {
	scales, qs, d, least := b[:16], b[16:80], half(b[80:]), half(b[82:])
	for s, sc := range scales {
		scale, minimum := d*float32(sc&15), float32(least*float32(sc>>4))
		shift := s % 8 / 2 * 2
		to := dst[16*s:][:16]
		for i, q := range qs[s/8*32+s%2*16:][:16] {
			to[i] = float32(scale*float32(int32(q>>shift&3))) - minimum
		}
	}
}

// readQ3_K: 32 bytes of third bits, 64 bytes of four elements, 16 scales of 6 bits, a
// scale of those.
func readQ3_K(dst []float32, b []byte) {
	high, qs, packed, d := b[:32], b[32:96], b[96:108], half(b[108:])
	for s := range 16 {
		six := int32(packed[s%8]>>(s/8*4)&15) | int32(packed[8+s%4]>>(s/4*2)&3)<<4
		scale := d * float32(six-32)
		shift, bit := s%8/2*2, s/2
		to, hi := dst[16*s:][:16], high[s%2*16:][:16]
		for i, q := range qs[s/8*32+s%2*16:][:16] {
			to[i] = scale * float32(int32(q>>shift&3)|int32(hi[i]>>bit&1)<<2-4)
		}
	}
}

// sixBits are the scale and the minimum of 32 elements: eight pairs of 6 bits in 12
// bytes.
func sixBits(packed []byte, i int) (scale, minimum float32) {
	if i < 4 {
		return float32(packed[i] & 63), float32(packed[i+4] & 63)
	}
	return float32(packed[i+4]&15 | packed[i-4]>>6<<4), float32(packed[i+4]>>4 | packed[i]>>6<<4)
}

// readQ4_K: two scales of scales, those and minima, 128 bytes.
func readQ4_K(dst []float32, b []byte) {
	d, least, packed, qs := half(b), half(b[2:]), b[4:16], b[16:144]
	for s := range 8 {
		scale, minimum := sixBits(packed, s)
		scale, minimum = d*scale, float32(least*minimum)
		shift := s % 2 * 4
		to := dst[32*s:][:32]
		for i, q := range qs[s/2*32:][:32] {
			to[i] = float32(scale*float32(int32(q>>shift&15))) - minimum
		}
	}
}

// readQ5_K: as Q4_K with 32 bytes of fifth bits.
func readQ5_K(dst []float32, b []byte) {
	d, least, packed, high, qs := half(b), half(b[2:]), b[4:16], b[16:48], b[48:176]
	for s := range 8 {
		scale, minimum := sixBits(packed, s)
		scale, minimum = d*scale, float32(least*minimum)
		shift := s % 2 * 4
		to := dst[32*s:][:32]
		for i, q := range qs[s/2*32:][:32] {
			to[i] = float32(scale*float32(int32(q>>shift&15)|int32(high[i]>>s&1)<<4)) - minimum
		}
	}
}

// readQ6_K: 128 bytes of lower and 64 of upper bits, 16 scales, a scale of those.
func readQ6_K(dst []float32, b []byte) {
	low, high, scales, d := b[:128], b[128:192], b[192:208], half(b[208:])
	for s, sc := range scales {
		scale := d * float32(int8(sc))
		quarter := s % 8 / 2 // of 128 elements
		at := s%2*16 + s/8*32
		lows, highs := low[s/8*64+quarter%2*32+s%2*16:][:16], high[at:][:16]
		shift := quarter / 2 * 4
		to := dst[16*s:][:16]
		for i, q := range lows {
			to[i] = scale * float32(int32(q>>shift&15)|int32(highs[i]>>(2*quarter)&3)<<4-32)
		}
	}
}

// readIQ4_NL: scale, 16 bytes.
func readIQ4_NL(dst []float32, b []byte) {
	t := scaled(&uneven, half(b))
	of4(dst, b[2:], &t)
}

// readIQ4_XS: a scale of scales, eight of those of 6 bits, 128 bytes.
func readIQ4_XS(dst []float32, b []byte) {
	d, high, low := half(b), binary.LittleEndian.Uint16(b[2:]), b[4:8]
	for s := range 8 {
		six := int32(low[s/2]>>(s%2*4)&15) | int32(high>>(2*s)&3)<<4
		t := scaled(&uneven, d*float32(six-32))
		of4(dst[32*s:], b[8+16*s:], &t)
	}
}

// readMXFP4: an exponent, 16 bytes of E2M1.
func readMXFP4(dst []float32, b []byte) {
	d := math.Float32frombits(uint32(0x00200000) << b[0]) // half of two to the power of the byte less 127
	if b[0] > 1 {
		d = math.Float32frombits(uint32(b[0]-1) << 23)
	}
	t := scaled(&doubled, d)
	of4(dst, b[1:], &t)
}

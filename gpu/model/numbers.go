package model

import (
	"encoding/binary"
	"math"
)

// Blocks as whole numbers: what they stand for is scale·n + offset exactly, but that
// products of two scales, and an offset beside a middle of numbers, are rounded to
// float32.

// wholeBlocks are blocks of whole numbers: of so many bits, in groups that share a
// scale. read takes them of a block, or, of those with scales elsewhere, of as many as
// there are; Source.ReadNumbers says as what.
type wholeBlocks struct {
	bits, group int
	offsets     bool
	read        func(numbers []uint8, scales, offsets []float32, b []byte)
}

var wholes = map[DType]wholeBlocks{
	Q4_0: {4, 32, false, func(n []uint8, scales, offsets []float32, b []byte) {
		nibblesOf(n, b[2:18])
		scales[0], offsets[0] = half(b), 0
	}},
	Q4_1: {4, 32, true, func(n []uint8, scales, offsets []float32, b []byte) {
		nibblesOf(n, b[4:20])
		scales[0] = half(b)
		offsets[0] = 8*scales[0] + half(b[2:])
	}},
	Q5_0: {8, 32, false, func(n []uint8, scales, offsets []float32, b []byte) {
		fives(n, b[6:22], b[2:6])
		scales[0], offsets[0] = half(b), 0
	}},
	Q5_1: {8, 32, true, func(n []uint8, scales, offsets []float32, b []byte) {
		fives(n, b[8:24], b[4:8])
		scales[0] = half(b)
		offsets[0] = 16*scales[0] + half(b[2:])
	}},
	Q8_0: {8, 32, false, func(n []uint8, scales, offsets []float32, b []byte) {
		for i := 0; i < 32; i += 8 {
			binary.LittleEndian.PutUint64(n[i:], binary.LittleEndian.Uint64(b[2+i:])^0x80*ones)
		}
		scales[0], offsets[0] = half(b), 0
	}},
	Q2_K: {4, 16, true, numbersQ2_K},
	Q3_K: {4, 16, false, numbersQ3_K},
	Q4_K: {4, 32, true, numbersQ4_K},
	Q5_K: {8, 32, true, numbersQ5_K},
	Q6_K: {8, 16, false, numbersQ6_K},
	IQ4_NL: {8, 32, false, func(n []uint8, scales, offsets []float32, b []byte) {
		nibblesOf(n, b[2:18])
		replace(n, &uneven8)
		scales[0], offsets[0] = half(b), 0
	}},
	IQ4_XS: {8, 32, false, numbersIQ4_XS},
	BlockMXFP4: {8, 32, false, func(n []uint8, scales, offsets []float32, b []byte) {
		nibblesOf(n, b[1:17])
		replace(n, &doubled8)
		scales[0], offsets[0] = halfOf(b[0]), 0
	}},
	MXFP4: {8, 32, false, func(n []uint8, _, _ []float32, b []byte) {
		for i := range len(n) / 2 {
			n[2*i], n[2*i+1] = doubled8[b[i]&15], doubled8[b[i]>>4]
		}
	}},
}

// part reads a part of a block, from an element on where a group begins.
func (w *wholeBlocks) part(numbers []uint8, scales, offsets []float32, b []byte, begin, block int) {
	var n [256]uint8
	var both [2][256]float32
	w.read(n[:block], both[0][:block/w.group], both[1][:block/w.group], b)
	copy(numbers, n[begin:])
	for g := range len(numbers) / w.group {
		scales[g], offsets[g] = both[0][begin/w.group+g], both[1][begin/w.group+g]
	}
}

// ones is one in each of eight bytes, which readers take at once.
const ones = 0x0101010101010101

// lower4 writes the lower halves of bytes, upper4 the upper ones, eight at a time.
func lower4(n []uint8, b []byte) {
	for i := 0; i < len(b); i += 8 {
		binary.LittleEndian.PutUint64(n[i:], binary.LittleEndian.Uint64(b[i:])&(15*ones))
	}
}

func upper4(n []uint8, b []byte) {
	for i := 0; i < len(b); i += 8 {
		binary.LittleEndian.PutUint64(n[i:], binary.LittleEndian.Uint64(b[i:])>>4&(15*ones))
	}
}

// nibblesOf are the lower elements of 16 bytes, then the upper ones.
func nibblesOf(n []uint8, b []byte) {
	lower4(n[:16], b[:16])
	upper4(n[16:32], b[:16])
}

// spread has each bit of a byte in the lowest of a byte of its own.
var spread = func() (t [256]uint64) {
	for b := range t {
		for i := range 8 {
			t[b] |= uint64(b>>i&1) << (8 * i)
		}
	}
	return t
}()

// fives are nibblesOf with 32 fifth bits: from 16 below the middle on.
func fives(n []uint8, b, high []byte) {
	nibblesOf(n, b)
	for i, bits := range high[:4] {
		add(n[8*i:], spread[bits]<<4+(128-16)*ones)
	}
}

// add adds to eight numbers.
func add(n []uint8, what uint64) {
	binary.LittleEndian.PutUint64(n, binary.LittleEndian.Uint64(n)+what)
}

// replace looks numbers up.
func replace(n []uint8, table *[16]uint8) {
	for i, v := range n {
		n[i] = table[v&15]
	}
}

// uneven8 and doubled8 are uneven and doubled, stored from 0 on.
var (
	uneven8  = from128(&uneven)
	doubled8 = from128(&doubled)
)

func from128(numbers *[16]float32) (t [16]uint8) {
	for i, v := range numbers {
		t[i] = uint8(int(v) + 128)
	}
	return t
}

// halfOf is half of what an exponent says, of numbers that are doubled.
func halfOf(exponent byte) float32 {
	if exponent > 1 {
		return math.Float32frombits(uint32(exponent-1) << 23)
	}
	return math.Float32frombits(uint32(0x00200000) << exponent)
}

func numbersQ2_K(n []uint8, scales, offsets []float32, b []byte) {
	d, least := half(b[80:]), half(b[82:])
	for s, sc := range b[:16] {
		scales[s] = d * float32(sc&15)
		offsets[s] = 2*scales[s] - float32(least*float32(sc>>4))
		shift, from := s%8/2*2, b[16+s/8*32+s%2*16:][:16]
		for i := 0; i < 16; i += 8 {
			two := binary.LittleEndian.Uint64(from[i:]) >> shift & (3 * ones)
			binary.LittleEndian.PutUint64(n[16*s+i:], two+(8-2)*ones)
		}
	}
}

func numbersQ3_K(n []uint8, scales, offsets []float32, b []byte) {
	high, qs, packed, d := b[:32], b[32:96], b[96:108], half(b[108:])
	for s := range 16 {
		six := int32(packed[s%8]>>(s/8*4)&15) | int32(packed[8+s%4]>>(s/4*2)&3)<<4
		scales[s], offsets[s] = d*float32(six-32), 0
		shift, bit, from := s%8/2*2, s/2, qs[s/8*32+s%2*16:][:16]
		for i := 0; i < 16; i += 8 {
			three := binary.LittleEndian.Uint64(from[i:])>>shift&(3*ones) + binary.LittleEndian.Uint64(high[s%2*16+i:])>>bit&ones<<2
			binary.LittleEndian.PutUint64(n[16*s+i:], three+(8-4)*ones)
		}
	}
}

func numbersQ4_K(n []uint8, scales, offsets []float32, b []byte) {
	d, least, packed := half(b), half(b[2:]), b[4:16]
	for s := range 8 {
		scale, minimum := sixBits(packed, s)
		scales[s] = d * scale
		offsets[s] = 8*scales[s] - float32(least*minimum)
		from, to := b[16+s/2*32:][:32], n[32*s:][:32]
		if s%2 == 0 {
			lower4(to, from)
		} else {
			upper4(to, from)
		}
	}
}

func numbersQ5_K(n []uint8, scales, offsets []float32, b []byte) {
	d, least, packed, high := half(b), half(b[2:]), b[4:16], b[16:48]
	for s := range 8 {
		scale, minimum := sixBits(packed, s)
		scales[s] = d * scale
		offsets[s] = 16*scales[s] - float32(least*minimum)
		from, to, shift := b[48+s/2*32:][:32], n[32*s:][:32], s%2*4
		for i := 0; i < 32; i += 8 {
			four := binary.LittleEndian.Uint64(from[i:]) >> shift & (15 * ones)
			fifth := binary.LittleEndian.Uint64(high[i:]) >> s & ones << 4
			binary.LittleEndian.PutUint64(to[i:], four+fifth+(128-16)*ones)
		}
	}
}

func numbersQ6_K(n []uint8, scales, offsets []float32, b []byte) {
	low, high, d := b[:128], b[128:192], half(b[208:])
	for s, sc := range b[192:208] {
		scales[s], offsets[s] = d*float32(int8(sc)), 0
		quarter := s % 8 / 2 // of 128 elements
		from, twos := low[s/8*64+quarter%2*32+s%2*16:][:16], high[s%2*16+s/8*32:][:16]
		for i := 0; i < 16; i += 8 {
			four := binary.LittleEndian.Uint64(from[i:]) >> (quarter / 2 * 4) & (15 * ones)
			two := binary.LittleEndian.Uint64(twos[i:]) >> (2 * quarter) & (3 * ones) << 4
			binary.LittleEndian.PutUint64(n[16*s+i:], four+two+(128-32)*ones)
		}
	}
}

func numbersIQ4_XS(n []uint8, scales, offsets []float32, b []byte) {
	d, high, low := half(b), binary.LittleEndian.Uint16(b[2:]), b[4:8]
	for s := range 8 {
		six := int32(low[s/2]>>(s%2*4)&15) | int32(high>>(2*s)&3)<<4
		scales[s], offsets[s] = d*float32(six-32), 0
		nibblesOf(n[32*s:], b[8+16*s:][:16])
		replace(n[32*s:][:32], &uneven8)
	}
}

package model

import (
	"encoding/binary"
	"math"
)

// wholeBlocks are blocks as whole numbers, of so many bits at most, from 0 on, in groups
// that share a scale. With offsets a number counts its scale and the offset is added;
// without, the middle of what so many bits can be stands for zero.
type wholeBlocks struct {
	bits, group int
	offsets     bool
	read        func(numbers []uint8, head *blockHead, b []byte)
	// exponent says that a block's scale is half of the power of two that its first byte
	// says, or of one that lies elsewhere; what is in its head does not count.
	exponent bool
}

// blockHead is what scales a block's numbers: float16s, which its groups, where a block
// has several, count so many times.
type blockHead struct {
	scale, offset           uint16
	scaleTimes, offsetTimes [16]int8
}

// middle is what stands for zero.
func (w *wholeBlocks) middle() int {
	if w.offsets {
		return 0
	}
	return 1 << (w.bits - 1)
}

var wholes = map[DType]wholeBlocks{
	Q4_0: {bits: 4, group: 32, read: func(n []uint8, h *blockHead, b []byte) {
		nibblesOf(n, b[2:18])
		h.scale = word(b)
	}},
	Q4_1: {bits: 4, group: 32, offsets: true, read: func(n []uint8, h *blockHead, b []byte) {
		nibblesOf(n, b[4:20])
		h.scale, h.offset = word(b), word(b[2:])
	}},
	Q5_0: {bits: 6, group: 32, read: func(n []uint8, h *blockHead, b []byte) {
		fives(n, b[6:22], b[2:6], 32-16)
		h.scale = word(b)
	}},
	Q5_1: {bits: 6, group: 32, offsets: true, read: func(n []uint8, h *blockHead, b []byte) {
		fives(n, b[8:24], b[4:8], 0)
		h.scale, h.offset = word(b), word(b[2:])
	}},
	Q8_0: {bits: 8, group: 32, read: func(n []uint8, h *blockHead, b []byte) {
		for i := 0; i < 32; i += 8 {
			binary.LittleEndian.PutUint64(n[i:], binary.LittleEndian.Uint64(b[2+i:])^128*ones)
		}
		h.scale = word(b)
	}},
	Q2_K: {bits: 4, group: 16, offsets: true, read: numbersQ2_K},
	Q3_K: {bits: 4, group: 16, read: numbersQ3_K},
	Q4_K: {bits: 4, group: 32, offsets: true, read: numbersQ4_K},
	Q5_K: {bits: 6, group: 32, offsets: true, read: numbersQ5_K},
	Q6_K: {bits: 6, group: 16, read: numbersQ6_K},
	IQ4_NL: {bits: 8, group: 32, read: func(n []uint8, h *blockHead, b []byte) {
		nibblesOf(n, b[2:18])
		replace(n, &uneven8)
		h.scale = word(b)
	}},
	IQ4_XS: {bits: 8, group: 32, read: numbersIQ4_XS},
	BlockMXFP4: {bits: 8, group: 32, exponent: true, read: func(n []uint8, _ *blockHead, b []byte) {
		nibblesOf(n, b[1:17])
		replace(n, &doubled8)
	}},
	MXFP4: {bits: 8, group: 32, exponent: true, read: func(n []uint8, _ *blockHead, b []byte) {
		for i := range len(n) / 2 {
			n[2*i], n[2*i+1] = doubled8[b[i]&15], doubled8[b[i]>>4]
		}
	}},
}

func word(b []byte) uint16 { return binary.LittleEndian.Uint16(b) }

// negative is a float16 with the other sign.
func negative(half uint16) uint16 { return half ^ 0x8000 }

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

// fives are nibblesOf with 32 fifth bits, plus a number.
func fives(n []uint8, b, high []byte, plus uint64) {
	nibblesOf(n, b)
	for i, bits := range high[:4] {
		eight := n[8*i:]
		binary.LittleEndian.PutUint64(eight, binary.LittleEndian.Uint64(eight)+spread[bits]<<4+plus*ones)
	}
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

func numbersQ2_K(n []uint8, h *blockHead, b []byte) {
	h.scale, h.offset = word(b[80:]), negative(word(b[82:]))
	for s, sc := range b[:16] {
		h.scaleTimes[s], h.offsetTimes[s] = int8(sc&15), int8(sc>>4)
		shift, from := s%8/2*2, b[16+s/8*32+s%2*16:][:16]
		for i := 0; i < 16; i += 8 {
			binary.LittleEndian.PutUint64(n[16*s+i:], binary.LittleEndian.Uint64(from[i:])>>shift&(3*ones))
		}
	}
}

func numbersQ3_K(n []uint8, h *blockHead, b []byte) {
	high, qs, packed := b[:32], b[32:96], b[96:108]
	h.scale = word(b[108:])
	for s := range 16 {
		h.scaleTimes[s] = int8(packed[s%8]>>(s/8*4)&15|packed[8+s%4]>>(s/4*2)&3<<4) - 32
		shift, bit, from := s%8/2*2, s/2, qs[s/8*32+s%2*16:][:16]
		for i := 0; i < 16; i += 8 {
			three := binary.LittleEndian.Uint64(from[i:])>>shift&(3*ones) + binary.LittleEndian.Uint64(high[s%2*16+i:])>>bit&ones<<2
			binary.LittleEndian.PutUint64(n[16*s+i:], three+(8-4)*ones)
		}
	}
}

// eightPairs are the scales and minima of 8 groups.
func eightPairs(h *blockHead, packed []byte) {
	for s := range 8 {
		scale, minimum := sixBits(packed, s)
		h.scaleTimes[s], h.offsetTimes[s] = int8(scale), int8(minimum)
	}
}

func numbersQ4_K(n []uint8, h *blockHead, b []byte) {
	h.scale, h.offset = word(b), negative(word(b[2:]))
	eightPairs(h, b[4:16])
	for s := 0; s < 8; s += 2 {
		from, to := b[16+s/2*32:][:32], n[32*s:][:64]
		lower4(to[:32], from)
		upper4(to[32:], from)
	}
}

func numbersQ5_K(n []uint8, h *blockHead, b []byte) {
	h.scale, h.offset = word(b), negative(word(b[2:]))
	eightPairs(h, b[4:16])
	high := b[16:48]
	for s := range 8 {
		from, to, shift := b[48+s/2*32:][:32], n[32*s:][:32], s%2*4
		for i := 0; i < 32; i += 8 {
			four := binary.LittleEndian.Uint64(from[i:]) >> shift & (15 * ones)
			fifth := binary.LittleEndian.Uint64(high[i:]) >> s & ones << 4
			binary.LittleEndian.PutUint64(to[i:], four+fifth)
		}
	}
}

func numbersQ6_K(n []uint8, h *blockHead, b []byte) {
	low, high := b[:128], b[128:192]
	h.scale = word(b[208:])
	for s, sc := range b[192:208] {
		h.scaleTimes[s] = int8(sc)
		quarter := s % 8 / 2 // of 128 elements
		from, twos := low[s/8*64+quarter%2*32+s%2*16:][:16], high[s%2*16+s/8*32:][:16]
		for i := 0; i < 16; i += 8 {
			four := binary.LittleEndian.Uint64(from[i:]) >> (quarter / 2 * 4) & (15 * ones)
			two := binary.LittleEndian.Uint64(twos[i:]) >> (2 * quarter) & (3 * ones) << 4
			binary.LittleEndian.PutUint64(n[16*s+i:], four+two)
		}
	}
}

func numbersIQ4_XS(n []uint8, h *blockHead, b []byte) {
	high, low := word(b[2:]), b[4:8]
	h.scale = word(b)
	for s := range 8 {
		h.scaleTimes[s] = int8(low[s/2]>>(s%2*4)&15|byte(high>>(2*s)&3)<<4) - 32
		nibblesOf(n[32*s:], b[8+16*s:][:16])
		replace(n[32*s:][:32], &uneven8)
	}
}

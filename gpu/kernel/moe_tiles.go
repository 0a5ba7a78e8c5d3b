package kernel

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

// Arguments of products of experts, and of what widens their codes: see moe_tiles.cuh.
type (
	ExpertArgs struct {
		X, W, Scales, Entries, Tiles, Count, Y Ptr
		In, Out, Stride                        int32
	}
	WidenExpertsArgs struct {
		W, Scales, Y Ptr
		Rows         int64
		In, Stride   int32
	}
)

// What weights of experts are: bits of a number.
const (
	ExpertsWide  = 16 // bfloat16
	ExpertsFP8   = 8
	ExpertsMXFP4 = 4
)

// MaxCodedTile is the most rows of tiles of which codes are multiplied as they are. Those of
// fewer than MinAlikeTile add up an output's halves of inputs apart, larger ones all alike.
const (
	MaxCodedTile = 64
	MinAlikeTile = 32
)

const minExpertRows = 16

// tileKernel is what a product's kernel is for: weights of so many bits, tiles of so many
// entries.
type tileKernel struct{ bits, rows int }

// expertKernel is a product, in blocks of so many threads, of which so many fit on a
// multiprocessor.
type expertKernel struct {
	*Kernel
	threads, fit int
}

func newExperts(name string) map[tileKernel]expertKernel {
	kernels := map[tileKernel]expertKernel{}
	for _, k := range []struct {
		bits, rows int
		weights    int // rows of them
		inputs     int // that pass at once
		stages     int
		threads    int
		fit        int // blocks on a multiprocessor
	}{
		{ExpertsWide, 16, 64, 64, 8, 128, 2},
		{ExpertsWide, 32, 128, 64, 4, 128, 2},
		{ExpertsWide, 64, 128, 64, 4, 128, 2},
		{ExpertsWide, 128, 128, 64, 3, 256, 2},
		{ExpertsFP8, 16, 32, 256, 3, 128, 4},
		{ExpertsFP8, 32, 128, 128, 3, 128, 3},
		{ExpertsFP8, 64, 128, 128, 3, 128, 2},
		{ExpertsMXFP4, 16, 32, 256, 4, 128, 4},
		{ExpertsMXFP4, 32, 128, 128, 4, 128, 3},
		{ExpertsMXFP4, 64, 128, 128, 4, 128, 2},
	} {
		row := k.inputs * k.bits / 8
		if k.bits == ExpertsMXFP4 {
			row += k.inputs / 32 // scales
		}
		shared := k.stages * (k.weights*row + k.rows*k.inputs*2)
		if k.bits != ExpertsWide && k.rows == minExpertRows {
			shared += k.weights * k.rows * 4 // sums of half of the inputs
		}
		name := fmt.Sprint(name, k.rows, expertSuffixes[k.bits])
		kernels[tileKernel{k.bits, k.rows}] = expertKernel{newKernel[ExpertArgs](expertSources[k.bits], name, func(Shape) int { return shared }), k.threads, k.fit}
	}
	return kernels
}

var (
	expertSources  = map[int]string{ExpertsWide: "moe_tiles.cu", ExpertsFP8: "moe_fp8.cu", ExpertsMXFP4: "moe_mxfp4.cu"}
	expertSuffixes = map[int]string{ExpertsFP8: "_fp8", ExpertsMXFP4: "_mxfp4"}

	expertsUp    = newExperts("moe_up_")
	expertsPlain = newExperts("moe_plain_")
	expertsDown  = newExperts("moe_down_")

	widenExperts = map[int]*Kernel{
		ExpertsFP8:   newKernel[WidenExpertsArgs]("moe_fp8.cu", "moe_widen_fp8", nil),
		ExpertsMXFP4: newKernel[WidenExpertsArgs]("moe_mxfp4.cu", "moe_widen_mxfp4", nil),
	}
)

// ExpertRows is the rows of tiles for so many entries of so many experts:
// enough that most experts have one tile, until there is enough to compute.
func ExpertRows(entries, experts int) int {
	switch {
	case entries <= 2*experts:
		return 16
	case entries <= 16*experts:
		return 32
	case entries <= 192*experts:
		return 64
	default:
		return 128
	}
}

// MoEUp is the first product of experts and their gate, of weights of so many bits, for
// tiles of so many rows; Out counts gates. It runs in so many blocks, of which two fit on a
// multiprocessor, or in more where more do.
func MoEUp(q Queue, a ExpertArgs, bits, rows, blocks int) error {
	return experts(q, expertsUp, a, bits, rows, blocks)
}

// MoEPlain is the first product without gates; Out counts all outputs. Entries'
// scales have to be 1, as MoEGroup leaves them.
func MoEPlain(q Queue, a ExpertArgs, bits, rows, blocks int) error {
	return experts(q, expertsPlain, a, bits, rows, blocks)
}

// MoEDown is the second product.
func MoEDown(q Queue, a ExpertArgs, bits, rows, blocks int) error {
	return experts(q, expertsDown, a, bits, rows, blocks)
}

func experts(q Queue, kernels map[tileKernel]expertKernel, a ExpertArgs, bits, rows, blocks int) error {
	if err := a.check(rows); err != nil {
		return err
	}
	k, is := kernels[tileKernel{bits, rows}]
	if !is || int(a.In)%expertInputs(bits) != 0 {
		return fmt.Errorf("kernel moe_tiles: tiles of %d rows, weights of %d bits, %d inputs; those of 8 and 4 bits have tiles of %d rows at most, and inputs a multiple of 128 and 64",
			rows, bits, a.In, MaxCodedTile)
	}
	return launch(q, k.Kernel, blocks*k.fit/2, 1, k.threads, &a)
}

// expertInputs is what numbers of inputs are multiples of.
func expertInputs(bits int) int {
	switch bits {
	case ExpertsFP8:
		return 128
	case ExpertsMXFP4:
		return 64
	}
	return 8
}

func (a *ExpertArgs) check(rows int) error {
	if _, ok := expertsUp[tileKernel{ExpertsWide, rows}]; !ok || a.In <= 0 || a.Out <= 0 || a.In%8 != 0 || a.Out%8 != 0 {
		return fmt.Errorf("kernel moe_tiles: tiles of %d rows, %d inputs, %d outputs; rows are 16, 32, 64 or 128, the others multiples of 8", rows, a.In, a.Out)
	}
	return nil
}

// WidenExperts makes codes of so many bits bfloat16.
func WidenExperts(q Queue, a WidenExpertsArgs, bits int) error {
	k := widenExperts[bits]
	if k == nil || a.In <= 0 || int(a.In)%expertInputs(bits) != 0 {
		return fmt.Errorf("kernel moe_widen: weights of %d bits, %d inputs; there are kernels for 8 and 4, of a multiple of 128 and 64", bits, a.In)
	}
	return launch(q, k, ceil(int(a.Rows), 8), 1, 256, &a)
}

// PackFP8 puts codes of E4M3, of whole rows of a multiple of 16, in the order in which
// products of experts take them: every lane of a quarter of a row's 16 has its pairs of
// neighbours, eight apart, in a word, whose bits are those of bf16 (pair8 of moe_tiles.cuh).
func PackFP8(codes []byte) {
	place := func(code byte) uint32 { return uint32(code)>>7<<15 | uint32(code)&127<<4 }
	var from [16]byte
	for at := 0; at < len(codes); at += 16 {
		copy(from[:], codes[at:])
		for q := range 4 {
			of := from[2*q:]
			first, second := place(of[0])|place(of[1])<<16, place(of[8])|place(of[9])<<16
			word := first | bits.RotateLeft32(second&0x07700770, -8) | bits.RotateLeft32(second&0x80808080, -12)
			binary.LittleEndian.PutUint32(codes[at+4*q:], word)
		}
	}
}

// PackMXFP4 does it with numbers of E2M1, two a byte, the first in the lower four bits: of
// rows of a multiple of 64, of which a lane has eight pairs in two words (pair4).
func PackMXFP4(codes []byte) {
	const rest = 0x06030603
	place := func(code byte) uint32 { return uint32(code)>>3<<15 | uint32(code)&7<<6 }
	var from [32]byte
	for at := 0; at < len(codes); at += 32 {
		copy(from[:], codes[at:])
		for q := range 4 {
			var words [2]uint32
			var left uint32       // of both words
			for pair := range 8 { // of inputs 8·pair + 2q and one more
				two := from[4*pair+q]
				bf16 := bits.RotateLeft32(place(two&15)|place(two>>4)<<16, -[8]int{0, 4, 10, 6, 0, 4, 10, 12}[pair])
				if pair%4 == 3 {
					left |= bf16
				} else {
					words[pair/4] |= bf16
				}
			}
			binary.LittleEndian.PutUint32(codes[at+4*q:], words[0]|left&rest)
			binary.LittleEndian.PutUint32(codes[at+16+4*q:], words[1]|bits.RotateLeft32(left&^rest, -2))
		}
	}
}

// MostMXFP4 is the largest scale, a power of two with 127 added, that PackScale takes: 2.
const MostMXFP4 = 128

// PackScale is the exponent of what makes codes of E2M1 bf16, of a scale as E8M0 has it,
// MostMXFP4 at most.
func PackScale(scale byte) byte { return byte(min(int(scale), MostMXFP4) + 126) }

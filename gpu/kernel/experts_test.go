package kernel_test

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/troupe-llm/troupe/gpu/kernel"
	"github.com/troupe-llm/troupe/gpu/kernel/ref"
)

// codedExperts are matrices of experts in codes, packed, and what they stand for.
type codedExperts struct {
	bits, stride int
	w, scales    []byte
	numbers      []float32
}

// float4 are E2M1's numbers.
var float4 = [8]float32{0, .5, 1, 1.5, 2, 3, 4, 6}

// randomExperts are so many outputs, of all experts, of inputs; byBlock is of FP8 alone.
// Products of rows of ones with them are about 1.
func randomExperts(r *rand.Rand, outputs, in, bits int, byBlock bool) codedExperts {
	e := codedExperts{bits: bits, w: make([]byte, outputs*in*bits/8), numbers: make([]float32, outputs*in)}
	small := 1 / math.Sqrt(float64(in))
	if bits == kernel.ExpertsMXFP4 {
		e.stride = (in + 127) / 128 * 4
		e.scales = make([]byte, outputs*e.stride)
		of := make([]byte, len(e.scales))
		for i := range of {
			of[i] = byte(127 + math.Round(math.Log2(small/3)) + float64(r.IntN(4)) - 2)
			if r.IntN(50) == 0 {
				of[i] = byte(r.IntN(40)) // next to nothing
			}
			e.scales[i] = kernel.PackScale(of[i])
		}
		for i := range e.numbers {
			code := byte(r.IntN(16))
			e.w[i/2] |= code << (i % 2 * 4)
			v := math.Ldexp(float64(float4[code&7]), int(of[i/in*e.stride+i%in/32])-127)
			if code > 7 {
				v = -v
			}
			e.numbers[i] = float32(v)
		}
		kernel.PackMXFP4(e.w)
		return e
	}
	scales := make([]float32, outputs)
	of := func(i int) int { return i / in }
	if byBlock {
		e.stride = (in/128 + 3) &^ 3
		scales = make([]float32, (outputs+127)/128*e.stride)
		of = func(i int) int { return i/in/128*e.stride + i%in/128 }
	}
	for i := range scales {
		scales[i] = float32(small / 100 * (0.5 + r.Float64()))
		e.scales = binary.LittleEndian.AppendUint32(e.scales, math.Float32bits(scales[i]))
	}
	for i := range e.numbers {
		code := byte(r.Uint32())
		if code&127 == 127 { // no number
			code--
		}
		if code&127 > 0x70 { // seldom so large
			code &^= 0x20
		}
		e.w[i] = code
		e.numbers[i] = ref.E4M3(code) * scales[of(i)]
	}
	kernel.PackFP8(e.w)
	return e
}

// group is what routing has to make of choices; negative ones go nowhere.
func group(choice []int32, share, scales []float32, experts, chosen, rows int) (entries []kernel.ExpertEntry, place []int32, tiles []kernel.ExpertTile) {
	place = slices.Repeat([]int32{-1}, len(choice))
	for e := range int32(experts) {
		first := len(entries)
		for i, c := range choice {
			if c == e {
				place[i] = int32(len(entries))
				entries = append(entries, kernel.ExpertEntry{Token: int32(i / chosen), Share: share[i], Scale: scales[i/chosen], Expert: e})
			}
		}
		for at := first; at < len(entries); at += rows {
			tiles = append(tiles, kernel.ExpertTile{Expert: e, First: int32(at), Count: int32(min(rows, len(entries)-at))})
		}
	}
	return entries, place, tiles
}

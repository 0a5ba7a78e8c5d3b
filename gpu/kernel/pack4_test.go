package kernel_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/troupe-llm/troupe/gpu/kernel"
	"github.com/troupe-llm/troupe/gpu/kernel/ref"
	"github.com/troupe-llm/troupe/gpu/model"
)

// random4 is a weight of 4 bits: what it stands for, that as Hopper's kernels round it,
// and packed.
func random4(r *rand.Rand, out, in, group int) (numbers, rounded []float32, packed []byte) {
	bf16 := func(v float32) float32 { return model.FromBF16(model.ToBF16(v)) }
	packed = make([]byte, kernel.Int4Bytes(out, in, group))
	each := len(packed) / (out / 16)
	for p := range out / 16 {
		w := kernel.Whole4{In: in, Group: group, Codes: make([]byte, 16*in)}
		for range 16 * in / group {
			// Of 16 bits, and of zero points one is beyond all codes, as GPTQ has it.
			scale := math.Float32frombits(math.Float32bits((0.5+r.Float32())/float32(8*math.Sqrt(float64(in)))) &^ 0x1fff)
			w.Scales, w.Zeros = append(w.Scales, scale), append(w.Zeros, float32(r.IntN(17)))
		}
		for i := range w.Codes {
			w.Codes[i] = byte(r.IntN(16))
			g := i / group
			whole := float32(w.Codes[i]) - w.Zeros[g]
			numbers, rounded = append(numbers, whole*w.Scales[g]), append(rounded, bf16(whole*bf16(w.Scales[g])))
		}
		w.Pack(packed[p*each:][:each])
	}
	return numbers, rounded, packed
}

// What is packed is read back, number by number, by who knows the layout by its
// description alone, and it fills all bytes once.
func TestPack4(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, group := range []int{32, 64, 128} {
		for _, size := range [][2]int{{16, 128}, {48, 640}} {
			want, _, packed := random4(r, size[0], size[1], group)
			for i, v := range ref.Int4(packed, size[0], size[1], group) {
				if v != want[i] {
					t.Fatalf("%v in groups of %d: number %d is %v, want %v", size, group, i, v, want[i])
				}
			}
		}
	}
}

// Scales are rounded to the nearest of 24 bits, and never to an infinity.
func TestPack4Scales(t *testing.T) {
	for scale, want := range map[float32]float32{
		math.Float32frombits(0x3f80007f): 1, math.Float32frombits(0x3f800081): math.Float32frombits(0x3f800100),
		math.MaxFloat32: math.Float32frombits(0x7f7fff00), 0: 0,
	} {
		w := kernel.Whole4{In: 128, Group: 128, Codes: make([]byte, 16*128), Scales: make([]float32, 16), Zeros: make([]float32, 16)}
		for i := range w.Codes {
			w.Codes[i] = 1
		}
		for i := range w.Scales {
			w.Scales[i] = scale
		}
		packed := make([]byte, kernel.Int4Bytes(16, 128, 128))
		w.Pack(packed)
		if got := ref.Int4(packed, 16, 128, 128)[5]; got != want {
			t.Errorf("scale %v becomes %v, want %v", scale, got, want)
		}
	}
}

func squared(list []float32) []float32 {
	s := make([]float32, len(list))
	for i, v := range list {
		s[i] = v * v
	}
	return s
}

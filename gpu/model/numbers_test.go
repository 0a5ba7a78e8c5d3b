package model

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/troupe-llm/troupe/gpu/program"
)

// Blocks, and MXFP4 with its scales beside, are whole numbers that stand for what they are
// in float32, to the bit; in parts of blocks and in another order of inputs, whose scales
// are float32, but for a rounding of offsets.
func TestNumbers(t *testing.T) {
	const rows, in = 5, 1024
	tensors := map[DType]*Tensor{MXFP4: mxfp4Tensor(rows, in)}
	for _, c := range blockSums {
		n, _ := c.dtype.Block()
		tensors[c.dtype] = blockTensor(c.dtype, c.name, c.halfs, rows, in/n)
	}
	for dtype, tensor := range tensors {
		plain := program.Whole("w", rows, in)
		some := plain
		some.Column = 288
		ordered := plain
		ordered.Step, ordered.Run = 2, 32
		backwards := program.Some("w", plain.Shape, 2, 1, 1, 2)
		for _, c := range []struct {
			part  program.Part
			width int
		}{{plain, in}, {some, 320}, {ordered, in}, {backwards, in}} {
			slot := &Slot{Weight: &program.Weight{Shape: []int{c.part.Rows, c.width}}, Sources: []Source{{Part: c.part, Tensor: tensor}}}
			slot.index()
			s := &slot.Sources[0]
			n, are := s.Numbers()
			if !are || n.Group < 16 || n.Bits != 4 && n.Bits != 6 && n.Bits != 8 {
				t.Fatalf("%s: %+v, %v", dtype, n, are)
			}
			many := c.part.Rows
			want, groups := make([]float32, many*c.width), many*c.width/n.Group
			to := WholeRows{
				Numbers: make([]uint8, len(want)), Scales: make([]float32, groups), Offsets: make([]float32, groups), Halves: make([]uint16, groups),
				HalfOffsets: make([]uint16, groups), ScaleTimes: make([]int8, groups), OffsetTimes: make([]int8, groups),
			}
			s.ReadNumbers(0, many, &to)
			s.ReadRows(0, many, want)
			if whole := c.width == in && c.part.Step == 0; whole && n.Scales == Floats && dtype != MXFP4 && dtype != BlockMXFP4 {
				t.Errorf("%s: scales are float32", dtype)
			}
			for k, q := range to.Numbers {
				g, middle := k/n.Group, 1<<(n.Bits-1)
				scale, offset := to.Scales[g], to.Offsets[g]
				if n.Offsets && n.Scales != Floats {
					middle = 0
				}
				switch n.Scales {
				case Halves:
					scale, offset = FromF16(to.Halves[g]), FromF16(to.HalfOffsets[g])
				case Times:
					scale = FromF16(to.Halves[k/Super]) * float32(to.ScaleTimes[g])
					offset = FromF16(to.HalfOffsets[k/Super]) * float32(to.OffsetTimes[g])
				}
				if int(q) >= 1<<n.Bits {
					t.Fatalf("%s: a number of %d bits is %d", dtype, n.Bits, q)
				}
				got := float32(float32(int(q)-middle)*scale) + offset
				exact := n.Scales != Floats || !n.Offsets
				largest := 16*math.Abs(float64(scale)) + math.Abs(float64(offset))
				if exact && got != want[k] || math.Abs(float64(got-want[k])) > largest*0x1p-22 {
					t.Fatalf("%s, %+v: number %d is %v, want %v", dtype, c.part, k, got, want[k])
				}
			}
		}
	}
}

// mxfp4Tensor is one as checkpoints have them.
func mxfp4Tensor(rows, in int) *Tensor {
	r := rand.New(rand.NewPCG(41, 42))
	t := &Tensor{Name: "w", Encoding: Encoding{Element: MXFP4, Scale: Exponent8, Rows: 1, Columns: 32}, Shape: []int{rows, in}}
	for range rows * in / 2 {
		t.Data = append(t.Data, byte(r.Uint32()))
	}
	for g := range rows * in / 32 {
		t.Scales = append(t.Scales, []byte{0, 1, 2, 120, 127, 200, byte(r.Uint32N(255))}[g%7])
	}
	return t
}

// What does not lie so is not read so: parts that begin within a group, transposed
// matrices, what is added to, numbers that are no whole ones.
func TestNoNumbers(t *testing.T) {
	tensor := blockTensor(Q6_K, "Q6_K", []int{208}, 4, 2)
	plain := program.Whole("w", 4, 512)
	within, transposed, pieces := plain, plain, plain
	within.Column, transposed.Transposed = 8, true
	pieces.Step, pieces.Run = 2, 8
	for i, s := range []Source{
		{Part: within, Tensor: tensor, in: 256},
		{Part: transposed, Tensor: tensor, in: 4},
		{Part: pieces, Tensor: tensor, in: 512},
		{Part: plain, Tensor: tensor, in: 512, plus: 1},
		{Part: plain, Tensor: &Tensor{Encoding: Plain(BFloat16), Shape: plain.Shape}, in: 512},
	} {
		if n, are := s.Numbers(); are {
			t.Errorf("source %d is read as %+v", i, n)
		}
	}
	// On a GPU only those with a scale of each block, and no offset, are whole.
	var whole []DType
	for _, e := range Blocks {
		s := Source{Tensor: &Tensor{Encoding: Plain(e), Shape: []int{1, 256}}, in: 256}
		if bits, _ := s.Whole(); bits == 4 {
			whole = append(whole, e)
		}
	}
	if !slices.Equal(whole, []DType{Q4_0}) {
		t.Errorf("%v are whole numbers of 4 bits", whole)
	}
}

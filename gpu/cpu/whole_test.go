package cpu

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/gpu/model/modeltest"
)

// packed is a tensor of random words in an encoding, [out, in]; groups says which
// group each input is of, nil: they lie one behind the other.
func packed(r *rand.Rand, e model.Encoding, out, in int, groups []int32) *model.Tensor {
	t := &model.Tensor{Name: "w", File: "f", Encoding: e, Shape: []int{out, in}}
	bits, each := 4, e.Columns
	if e.Element == model.Packed8 || e.Element == model.GPTQ8 {
		bits = 8
	}
	if each == 0 {
		each = in
	}
	n, g := 32/bits, (in+each-1)/each
	up := func(a, b int) int { return (a + b - 1) / b }
	random := func(words int) (b []byte) {
		for range words {
			b = binary.LittleEndian.AppendUint32(b, r.Uint32())
		}
		return b
	}
	switch e.Element {
	case model.Packed4, model.Packed8:
		t.Data, t.Zeros = random(out*up(in, n)), random(up(out, n)*g)
	case model.AWQ4:
		t.Data, t.Zeros = random(in*up(out, n)), random(g*up(out, n))
	default:
		t.Data, t.Zeros = random(up(in, n)*out), random(g*up(out, n))
	}
	if e.Zeros == model.NoZeros {
		t.Zeros = nil
	}
	for range out * g {
		t.Scales = binary.LittleEndian.AppendUint32(t.Scales, math.Float32bits(r.Float32()+0.5))
	}
	for _, one := range groups {
		t.Groups = binary.LittleEndian.AppendUint32(t.Groups, uint32(one))
	}
	return t
}

// Every published way to pack whole numbers, with zero points of any kind, groups
// of any size and inputs in any order: they are kept in as many bits, and stand for
// what the tensor says.
func TestWholeNumbersAreKept(t *testing.T) {
	r := rand.New(rand.NewPCG(21, 22))
	const out, in = 72, 256
	shuffled := func(each int) []int32 {
		g := make([]int32, in)
		for i, at := range r.Perm(in) {
			g[at] = int32(i / each)
		}
		return g
	}
	for _, element := range []model.DType{model.Packed4, model.Packed8, model.GPTQ4, model.GPTQ8, model.AWQ4} {
		for _, zeros := range []model.Zeros{model.NoZeros, model.ZerosStored, model.ZerosLessOne} {
			if zeros == model.NoZeros && !strings.HasPrefix(string(element), "packed") {
				continue // there it is always stored
			}
			for _, each := range []int{0, 32, 64, 128, 256} {
				for _, ordered := range []bool{true, false} {
					if !ordered && (each == 0 || element == model.AWQ4) {
						continue
					}
					var groups []int32
					if !ordered {
						groups = shuffled(each)
					}
					e := model.Encoding{Element: element, Scale: model.Float32, Rows: 1, Columns: each, Zeros: zeros}
					tensor := packed(r, e, out, in, groups)
					if err := tensor.Check(); err != nil {
						t.Fatal(err)
					}
					name := fmt.Sprintf("%s, zeros %q, groups of %d, in order %v", element, zeros, each, ordered)
					slot := slotOf(tensor)
					b := &builder{asked: ""}
					held, _ := b.holdings(slot.Weight, slot, false)
					m := &matrix{out: out, in: in, holding: held[0]}
					bits := map[model.DType]model.DType{model.Packed8: model.Int8, model.GPTQ8: model.Int8}[element]
					if bits == "" {
						bits = model.Int4
					}
					if !m.kept || m.dtype != bits || (m.order != nil) == ordered || m.offsets != (zeros != model.NoZeros) {
						t.Fatalf("%s: held as %v, kept %v, order %v", name, m.format, m.kept, m.order != nil)
					}
					m.data = make([]byte, m.panels()*m.panelBytes())
					for p := range m.panels() {
						m.packPanel(p, func(i int) row {
							if i >= out {
								return row{}
							}
							return rowOf(slot, i)
						}, new(scratch))
					}
					got, want := make([]float32, in), make([]float32, in)
					for i := range m.stride() {
						m.row(got, i)
						if clear(want); i < out {
							slot.Sources[0].Read(i, want)
						}
						for k := range want {
							if math.Abs(float64(got[k]-want[k])) > 1e-4 {
								t.Fatalf("%s: output %d, input %d is %v, want %v", name, i, k, got[k], want[k])
							}
						}
					}
				}
			}
		}
	}
}

// Zero points that are all in the middle need no offsets.
func TestCentredNumbersHaveNoOffsets(t *testing.T) {
	r := rand.New(rand.NewPCG(23, 24))
	for _, c := range []struct {
		element model.DType
		zeros   model.Zeros
		zero    byte
	}{
		{model.GPTQ4, model.ZerosLessOne, 0x77},
		{model.GPTQ4, model.ZerosStored, 0x88},
		{model.AWQ4, model.ZerosStored, 0x88},
		{model.GPTQ8, model.ZerosLessOne, 0x7f},
		{model.Packed8, model.ZerosStored, 0x80},
	} {
		tensor := packed(r, model.Encoding{Element: c.element, Scale: model.Float32, Rows: 1, Columns: 32, Zeros: c.zeros}, 32, 64, nil)
		for i := range tensor.Zeros {
			tensor.Zeros[i] = c.zero
		}
		if f, ok := keeping(&slotOf(tensor).Sources[0], 4, 8); !ok || f.offsets {
			t.Errorf("%s of %#x: %+v, %v", c.element, c.zero, f, ok)
		}
		tensor.Zeros[3]++
		if f, ok := keeping(&slotOf(tensor).Sources[0], 4, 8); !ok || !f.offsets {
			t.Errorf("%s, one zero point apart: %+v, %v", c.element, f, ok)
		}
	}
}

// What no product takes is not kept: groups of odd sizes, groups that are not of as many
// inputs; and what is asked for otherwise.
func TestWholeNumbersThatAreNotKept(t *testing.T) {
	r := rand.New(rand.NewPCG(25, 26))
	of := func(each int, groups []int32) *model.Tensor {
		e := model.Encoding{Element: model.GPTQ4, Scale: model.Float32, Rows: 1, Columns: each, Zeros: model.ZerosStored}
		return packed(r, e, 32, 96, groups)
	}
	uneven := make([]int32, 96) // 40 inputs of the first group
	for i := range uneven {
		uneven[i] = int32(min((i+24)/32, 2))
	}
	uneven[95] = 0
	backwards := make([]int32, 96)
	for i := range backwards {
		backwards[i] = int32(2 - i/32)
	}
	for name, c := range map[string]struct {
		slot  *model.Slot
		asked model.DType
		want  model.DType
	}{
		"groups of 6":   {slotOf(of(6, nil)), "", model.BFloat16},
		"uneven groups": {slotOf(of(32, uneven)), "", model.BFloat16},
		"8 bits asked":  {slotOf(of(32, nil)), model.Int8, model.Int8},
		"float32 asked": {slotOf(of(32, nil)), model.Float32, model.Float32},
	} {
		b := &builder{asked: c.asked, model: &model.Model{Config: model.Config{DType: model.GPTQ4}}}
		held, _ := b.holdings(c.slot.Weight, c.slot, false)
		m := held[len(held)-1]
		if m.kept || m.dtype != c.want {
			t.Errorf("%s: held as %v, kept %v", name, m.format, m.kept)
		}
	}
	two := slotOf(of(32, backwards), of(32, backwards))
	if held, _ := new(builder).holdings(two.Weight, two, false); len(held) != 1 || !held[0].kept {
		t.Error("two tensors in the same order are not kept together")
	}
	two = slotOf(of(32, backwards), of(32, nil))
	if held, _ := new(builder).holdings(two.Weight, two, false); len(held) != 2 || !held[0].kept || !held[1].kept {
		t.Error("two tensors in two orders are not kept each")
	}
}

// A checkpoint that is kept in 4 bits takes less memory than in bfloat16, and
// says so.
func TestQuantizedCheckpointsStaySmall(t *testing.T) {
	for _, c := range modeltest.Families(t) {
		if !slices.Contains([]string{"qwen3-awq", "qwen3-gptq", "qwen3-pack"}, c.Name[strings.LastIndexByte(c.Name, '/')+1:]) {
			continue
		}
		own := newRig(t, device.Spec{Model: c.Open(t), Slots: 1}, choose(), 1).info
		wide := newRig(t, device.Spec{Model: c.Open(t), Slots: 1, DType: model.BFloat16}, choose(), 1).info
		if own.DType != model.Int4 || own.WeightBytes >= wide.WeightBytes {
			t.Errorf("%s: %s in %d bytes, as bfloat16 %d", c.Name, own.DType, own.WeightBytes, wide.WeightBytes)
		}
	}
}

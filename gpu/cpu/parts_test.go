package cpu

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/troupe-llm/troupe/gpu/internal/gguf"
	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/gpu/model/modeltest"
	"github.com/troupe-llm/troupe/gpu/program"
)

// blockTensor is one of random blocks, or of random bfloat16.
func blockTensor(r *rand.Rand, kind gguf.Type, out, in int) *model.Tensor {
	if kind == gguf.BF16 {
		t, _ := tensor(r, model.BFloat16, out, in)
		return t
	}
	encodings := map[gguf.Type]model.DType{
		gguf.Q4_0: model.Q4_0, gguf.Q4_1: model.Q4_1, gguf.Q5_0: model.Q5_0, gguf.Q5_1: model.Q5_1, gguf.Q8_0: model.Q8_0,
		gguf.Q2_K: model.Q2_K, gguf.Q3_K: model.Q3_K, gguf.Q4_K: model.Q4_K, gguf.Q5_K: model.Q5_K, gguf.Q6_K: model.Q6_K,
		gguf.IQ4_NL: model.IQ4_NL, gguf.IQ4_XS: model.IQ4_XS, gguf.MXFP4: model.BlockMXFP4,
	}
	shape := []int{out, in}
	return &model.Tensor{Name: kind.String(), Encoding: model.Plain(encodings[kind]), Shape: shape, Data: modeltest.Blocks(kind, shape, r)}
}

// packedOf is a slot's matrix, filled.
func packedOf(t *testing.T, slot *model.Slot, gated bool) *matrix {
	t.Helper()
	b := &builder{model: &model.Model{Config: model.Config{DType: model.Q4_K}}}
	b.weights.matrices = map[*program.Weight][]*matrix{}
	b.matrix(slot.Weight, slot, &plan{gated: map[*program.Weight]bool{slot.Weight: gated}})
	p := newPool(2)
	defer p.close()
	w, err := b.load(p, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := release(w.memory); err != nil {
			t.Error(err)
		}
	})
	return w.matrix(slot.Weight)
}

// Every type of block is held in the format that it should be, and stands for what its
// numbers are in float32, to the bit.
func TestBlocksAreKept(t *testing.T) {
	r := rand.New(rand.NewPCG(31, 32))
	const out, in = 72, 512
	for kind, want := range wholeOf {
		blocks := blockTensor(r, kind, out, in)
		slot := slotOf(blocks)
		m := packedOf(t, slot, false)
		if !m.kept || m.format != want || m.parts != nil {
			t.Errorf("%s is held as %v, kept %v, want %v", kind, m.format, m.kept, want)
		}
		if e, err := Formats.Held(blocks.Encoding); err != nil || e != model.InGroups(want.dtype, want.group) {
			t.Errorf("%s is said to be held as %v, %v", kind, e, err)
		}
		got, exact := make([]float32, in), make([]float32, in)
		for i := range out {
			m.row(got, i)
			slot.Sources[0].Read(i, exact)
			for k, v := range exact {
				if got[k] != v {
					t.Fatalf("%s: output %d, input %d is %v, want %v", kind, i, k, got[k], v)
				}
			}
		}
	}
}

// A matrix whose tensors are in blocks of several types has each as it would be alone:
// the same bits in any number of rows and for every instruction set; tensors of like
// ones share parts, one in bfloat16 has its own.
func TestMatricesOfParts(t *testing.T) {
	r := rand.New(rand.NewPCG(33, 34))
	p := newPool(2)
	defer p.close()
	const in = 512
	for name, c := range map[string]struct {
		kinds []gguf.Type
		outs  []int
		gated bool
		parts int
	}{
		"values apart":     {[]gguf.Type{gguf.Q4_K, gguf.Q4_K, gguf.Q6_K}, []int{128, 64, 70}, false, 2},
		"all apart":        {[]gguf.Type{gguf.Q4_K, gguf.BF16, gguf.Q8_0}, []int{64, 32, 32}, false, 3},
		"gates and ups":    {[]gguf.Type{gguf.Q3_K, gguf.Q5_K}, []int{75, 75}, true, 2},
		"like ones":        {[]gguf.Type{gguf.Q5_0, gguf.Q5_0}, []int{64, 32}, false, 0},
		"a panel of both":  {[]gguf.Type{gguf.Q4_K, gguf.Q6_K}, []int{48, 48}, false, 0},
		"gated and paired": {[]gguf.Type{gguf.Q6_K, gguf.Q6_K}, []int{64, 64}, true, 0},
	} {
		var tensors []*model.Tensor
		for i, kind := range c.kinds {
			tensors = append(tensors, blockTensor(r, kind, c.outs[i], in))
		}
		m := packedOf(t, slotOf(tensors...), c.gated)
		if len(m.parts) != c.parts {
			t.Errorf("%s: %d parts, want %d", name, len(m.parts), c.parts)
		}
		if name == "a panel of both" {
			if m.kept || m.dtype != model.BFloat16 {
				t.Errorf("%s: held as %v", name, m.format)
			}
			continue
		}
		// Where a tensor's output is among the matrix's.
		at := func(i, j int) int {
			if c.gated {
				return j/panelWidth*2*panelWidth + i*panelWidth + j%panelWidth
			}
			for _, n := range c.outs[:i] {
				j += n
			}
			return j
		}
		for _, rows := range []int{1, 2, 7, 13} {
			x := random(r, rows*in)
			for _, k := range variants() {
				e := &engine{kernels: k, pool: p}
				y := guarded(rows * m.stride())
				e.linear(y, m.stride(), x, in, rows, m, nil)
				if y[rows*m.stride()] != guard {
					t.Fatalf("%s, %s: wrote too far", k.name, name)
				}
				for i, one := range tensors {
					alone := packedOf(t, slotOf(one), false)
					want := make([]float32, rows*alone.stride())
					e.linear(want, alone.stride(), x, in, rows, alone, nil)
					got, exact := make([]float32, in), make([]float32, in)
					for j := range c.outs[i] {
						for l := range rows {
							if a, b := y[l*m.stride()+at(i, j)], want[l*alone.stride()+j]; math.Float32bits(a) != math.Float32bits(b) {
								t.Fatalf("%s, %s, %d rows: output %d of tensor %d is %v, alone %v", k.name, name, rows, j, i, a, b)
							}
						}
						m.row(got, at(i, j))
						if alone.row(exact, j); !slices.Equal(got, exact) {
							t.Fatalf("%s: row %d of tensor %d differs", name, j, i)
						}
					}
				}
			}
		}
	}
}

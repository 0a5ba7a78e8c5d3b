package model

import (
	"testing"

	"github.com/troupe-llm/troupe/gpu/internal/arch"
	"github.com/troupe-llm/troupe/gpu/program"
)

// Matrices of experts are held in codes as they are where these lie so that products take
// them; else as h says, or quantised where that is asked for.
func TestHeldExperts(t *testing.T) {
	tensor := func(e Encoding, shape ...int) *Tensor {
		t := &Tensor{Encoding: e, Shape: shape}
		elements, scales, _ := e.sizes(shape)
		t.Data, t.Scales = make([]byte, elements), make([]byte, scales)
		return t
	}
	for name, c := range map[string]struct {
		out, in    int // of one expert
		encoding   Encoding
		transposed bool
		want       Encoding
		all        bool // it is quantised where that is asked for
	}{
		"MXFP4":            {72, 128, Microscaled(), false, Microscaled(), false},
		"half a chunk":     {72, 96, Microscaled(), false, Plain(BFloat16), false},
		"transposed MXFP4": {128, 128, Microscaled(), true, Plain(BFloat16), true},
		"blocks":           {256, 128, ByBlock(Float8), false, ByBlock(Float8), false},
		"half a block":     {384, 128, ByBlock(Float8), false, Plain(BFloat16), true},
		"outputs":          {72, 128, ByOutput(Float8), false, ByOutput(Float8), false},
		"too few inputs":   {72, 64, ByOutput(Float8), false, Plain(BFloat16), false},
		"bfloat16":         {72, 128, Plain(BFloat16), false, Plain(BFloat16), true},
	} {
		w := &program.Weight{Name: "layers.0.experts_up", Shape: []int{2, c.out, c.in}}
		m := &Model{Config: Config{Program: &program.Program{Ops: []program.Op{&program.ExpertProduct{Weight: w}}}}}
		slot := &Slot{Weight: w}
		for expert := range 2 {
			part := program.Whole("w", c.out, c.in)
			part.Slab, part.Transposed = expert, c.transposed
			slot.Sources = append(slot.Sources, Source{Part: part, Tensor: tensor(c.encoding, 2, c.out, c.in)})
		}
		if c.encoding.Element == Float8 { // a tensor for each expert
			for i := range slot.Sources {
				slot.Sources[i] = Source{Part: program.Whole("w", c.out, c.in), Tensor: tensor(c.encoding, c.out, c.in)}
			}
		}
		m.Weights = NewWeights(slot)
		wide := HeldAs(BFloat16)
		if got := m.HeldExperts(wide, false).Of(w); got != c.want {
			t.Errorf("%s: held as %s, want %s", name, got, c.want)
		}
		want := c.want
		if c.all {
			want = ByOutput(Float8)
		}
		if got := m.HeldExperts(wide, true).Of(w); got != want {
			t.Errorf("%s, when all are asked for: held as %s, want %s", name, got, want)
		}
	}
	m, err := Open("gpt-oss-20b", true)
	if err != nil {
		t.Fatal(err)
	}
	if m.Config.Scheme.Method != arch.MXFP4 {
		t.Fatalf("gpt-oss is published in %q", m.Config.Scheme.Method)
	}
	// Of a layer's experts 32 inputs take 17 bytes.
	const experts = 24 * 32 * (5760 + 2880) * 2880
	held := m.HeldExperts(HeldAs(BFloat16), false)
	if wide, got := m.WeightBytes(HeldAs(BFloat16)), m.WeightBytes(held); wide-got != 2*experts-experts/32*17 {
		t.Errorf("%d bytes, in bfloat16 %d", got, wide)
	}
}

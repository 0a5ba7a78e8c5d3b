package device

import (
	"strings"
	"testing"

	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/gpu/program"
)

func TestFormats(t *testing.T) {
	bf16, f16 := model.Plain(model.BFloat16), model.Plain(model.Float16)
	groups := model.Encoding{Element: model.AWQ4, Scale: model.Float16, Rows: 1, Columns: 128, Zeros: model.ZerosStored}
	f := Formats{{model.BFloat16, bf16}, {model.Float16, bf16}, {model.AWQ4, bf16}}
	for _, e := range []model.Encoding{bf16, f16, groups} {
		if held, err := f.Held(e); err != nil || held != bf16 {
			t.Errorf("%s is held as %s, %v", e, held, err)
		}
	}
	w := &program.Weight{Name: "w", Shape: []int{2, 2}, Parts: []program.Part{program.Whole("w", 2, 2)}}
	c := model.Config{Program: &program.Program{Weights: []*program.Weight{w}}}
	one := func(e model.Encoding, bytes int) *model.Weights {
		t := &model.Tensor{Name: "odd", File: "f", Encoding: e, Shape: []int{2, 2}, Data: make([]byte, bytes), Zeros: make([]byte, 4)}
		if e == f16 {
			t.Zeros = nil
		}
		return model.NewWeights(&model.Slot{Weight: w, Sources: []model.Source{{Part: w.Parts[0], Tensor: t}}})
	}
	for want, weights := range map[string]*model.Weights{
		`tensor "odd" in f: weights in int8 by output; the device takes bfloat16; float16 and AWQ int4 as bfloat16`: one(model.ByOutput(model.Int8), 12),
		`tensor "odd" in f has 7 bytes; [2 2] of float16 are 8`:                                                     one(f16, 7),
		`tensor "odd" in f has 0 bytes of scales; [2 2] of AWQ int4 by blocks are 4`:                                one(groups, 8),
		"no tensors for w": model.NewWeights(),
	} {
		if err := f.Check(&model.Model{Config: c, Weights: weights}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if err := f.Check(&model.Model{Config: c, Weights: one(f16, 8)}); err != nil {
		t.Error(err)
	}
	if err := f.Check(&model.Model{Config: c}); err != nil {
		t.Error(err)
	}
}

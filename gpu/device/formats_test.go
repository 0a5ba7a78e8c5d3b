package device

import (
	"strings"
	"testing"

	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/gpu/program"
)

func TestFormats(t *testing.T) {
	bf16, f16 := model.Plain(model.BFloat16), model.Plain(model.Float16)
	f := Formats{{bf16, bf16}, {f16, bf16}}
	for _, e := range []model.Encoding{bf16, f16} {
		if held, err := f.Held(e); err != nil || held != bf16 {
			t.Errorf("%s is held as %s, %v", e, held, err)
		}
	}
	w := &program.Weight{Name: "w"}
	c := model.Config{Program: &program.Program{Weights: []*program.Weight{w}}}
	odd := &model.Slot{Weight: w, Sources: []model.Source{{Tensor: &model.Tensor{Name: "odd", Encoding: model.ByOutput(model.Int8)}}}}
	for want, weights := range map[string]*model.Weights{
		`tensor "odd": weights in int8 by output; the device takes bfloat16, float16 as bfloat16`: model.NewWeights(odd),
		"no tensors for w": model.NewWeights(),
	} {
		if err := f.Check(&model.Model{Config: c, Weights: weights}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if err := f.Check(&model.Model{Config: c}); err != nil {
		t.Error(err)
	}
}

package device

import (
	"fmt"

	"github.com/troupe-llm/troupe/gpu/model"
)

// Hopper is the compute capability of GPUs whose products of FP8 are used.
const Hopper = 90

// HeldOnGPU is how a GPU of that compute capability, real or simulated, holds a model's
// weights that are asked for as dtype, "" or "auto" for as they are, and quantised: in
// bfloat16, projections as they are in 4 bits, and on Hopper in FP8, experts as they are in
// FP8 and MXFP4.
func HeldOnGPU(m *model.Model, dtype model.DType, quantization string, capability int) (model.Held, error) {
	return m.HeldByAll(func(m *model.Model) (model.Held, error) { return heldOnGPU(m, dtype, quantization, capability) })
}

func heldOnGPU(m *model.Model, dtype model.DType, quantization string, capability int) (model.Held, error) {
	held := model.HeldAs(model.BFloat16)
	if err := model.CheckQuantization(quantization); err != nil {
		return held, err
	}
	switch {
	case dtype == model.Int4 && quantization == model.FP8:
		return held, fmt.Errorf("weights of type %q and quantization %q; one of them", dtype, quantization)
	case quantization == model.FP8 && capability != Hopper:
		return held, fmt.Errorf("quantization %q on compute capability %d.%d; products of FP8 are computed on 9.0", model.FP8, capability/10, capability%10)
	}
	if capability == Hopper {
		held = m.HeldInFP8(held, quantization == model.FP8)
	}
	if dtype == model.BFloat16 {
		return held, nil
	}
	return m.HeldExperts(m.HeldInInt4(held, dtype == model.Int4), quantization == model.FP8), nil
}

package cuda

import (
	"fmt"

	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/kernel"
	"github.com/troupe-llm/troupe/gpu/model"
)

// settle fills in the sizes that do not depend on free memory and checks what
// is asked for.
func settle(spec *device.Spec) (device.Info, error) {
	info, err := device.GPU.Settle(spec)
	info.DType, info.Scores = model.BFloat16, true
	c := &spec.Model.Config
	switch {
	case err != nil:
	case spec.DType != "" && spec.DType != "auto" && spec.DType != model.BFloat16:
		err = fmt.Errorf("weights of type %q; the kernels take bfloat16, the processor (\"cpu\") float32 and int8 as well", spec.DType)
	case c.Hidden <= 0 || c.Hidden%8 != 0 || c.Hidden > kernel.MaxHidden:
		err = fmt.Errorf("hidden size %d; it must be a multiple of 8, at most %d", c.Hidden, kernel.MaxHidden)
	case c.MoE == nil && (c.Intermediate <= 0 || c.Intermediate%8 != 0):
		err = fmt.Errorf("intermediate size %d; it must be a multiple of 8", c.Intermediate)
	case c.MoE != nil && (c.MoE.Intermediate <= 0 || c.MoE.Intermediate%8 != 0):
		err = fmt.Errorf("experts of intermediate size %d; it must be a multiple of 8", c.MoE.Intermediate)
	case c.MoE != nil && (c.MoE.Experts%4 != 0 || c.MoE.Experts > kernel.MaxExperts || c.MoE.PerToken > kernel.MaxChosen):
		err = fmt.Errorf("%d of %d experts per token; there may be %d of %d, a multiple of 4", c.MoE.PerToken, c.MoE.Experts, kernel.MaxChosen, kernel.MaxExperts)
	case c.Vocab <= 0 || c.Vocab > kernel.MaxVocab:
		err = fmt.Errorf("a vocabulary of %d; at most %d", c.Vocab, kernel.MaxVocab)
	}
	return info, err
}

// stages is how many copies attention keeps under way in the shared memory
// that two blocks of a multiprocessor leave each other, or one block alone.
func stages(headDim, shared int) int {
	tile := 2 * 64 * (2*headDim + 16)
	return max(2, min(3, shared/tile))
}

// productRows rounds the rows of products up, to what cuBLASLt's tiles take in
// any case. What is in the rows beyond, and what comes out, is nobody's.
func productRows(n int) int {
	if n > 256 {
		return roundUp(n, 64)
	}
	return roundUp(n, 16)
}

// alikeRows rounds further, by an eighth at most: to those for whose number
// cuBLASLt is asked how to multiply.
func alikeRows(n int) int {
	n = productRows(n)
	for to := 64; to <= n/8; to *= 2 {
		n = roundUp(n, to)
	}
	return n
}

func roundUp(n, to int) int { return (n + to - 1) / to * to }

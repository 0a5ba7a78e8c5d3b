package cuda

import (
	"fmt"
	"math"

	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/kernel"
	"github.com/troupe-llm/troupe/gpu/model"
)

// Defaults of what a Spec leaves open.
const (
	defaultSlots      = 256
	defaultPageSize   = 16
	defaultStepTokens = 8192
	defaultRatio      = 0.9
	// reserveBytes are left for graphs, modules and the library's own.
	reserveBytes = 1 << 30
)

// settle fills in the sizes that do not depend on free memory and checks what
// is asked for.
func settle(spec *device.Spec, c *model.Config) (device.Info, error) {
	info := device.Info{
		DType: model.BFloat16, Slots: spec.Slots, PageSize: spec.PageSize, NumPages: spec.NumPages,
		MaxSeqLen: spec.MaxSeqLen, MaxStepTokens: spec.MaxStepTokens, Vocab: c.Vocab, Scores: true,
	}
	switch {
	case spec.DType != "" && spec.DType != "auto" && spec.DType != model.BFloat16:
		return info, fmt.Errorf("cuda: weights of type %q; the kernels take bfloat16", spec.DType)
	case min(info.Slots, info.PageSize, info.NumPages, info.MaxSeqLen, info.MaxStepTokens) < 0:
		return info, fmt.Errorf("cuda: %d slots, pages of %d, %d pages, sequences of %d, steps of %d tokens: none may be negative",
			info.Slots, info.PageSize, info.NumPages, info.MaxSeqLen, info.MaxStepTokens)
	case spec.MemoryRatio < 0 || spec.MemoryRatio > 1 || math.IsNaN(spec.MemoryRatio):
		return info, fmt.Errorf("cuda: memory ratio %v is not between 0 and 1", spec.MemoryRatio)
	case c.Hidden <= 0 || c.Hidden%8 != 0 || c.Hidden > kernel.MaxHidden:
		return info, fmt.Errorf("cuda: hidden size %d; it must be a multiple of 8, at most %d", c.Hidden, kernel.MaxHidden)
	case c.MoE == nil && (c.Intermediate <= 0 || c.Intermediate%8 != 0):
		return info, fmt.Errorf("cuda: intermediate size %d; it must be a multiple of 8", c.Intermediate)
	case c.MoE != nil && (c.MoE.Intermediate <= 0 || c.MoE.Intermediate%8 != 0):
		return info, fmt.Errorf("cuda: experts of intermediate size %d; it must be a multiple of 8", c.MoE.Intermediate)
	case c.MoE != nil && (c.MoE.Experts%4 != 0 || c.MoE.Experts > kernel.MaxExperts || c.MoE.PerToken > kernel.MaxChosen):
		return info, fmt.Errorf("cuda: %d of %d experts per token; there may be %d of %d, a multiple of 4", c.MoE.PerToken, c.MoE.Experts, kernel.MaxChosen, kernel.MaxExperts)
	case c.Vocab <= 0 || c.Vocab > kernel.MaxVocab:
		return info, fmt.Errorf("cuda: a vocabulary of %d; at most %d", c.Vocab, kernel.MaxVocab)
	}
	or := func(v *int, other int) {
		if *v == 0 {
			*v = other
		}
	}
	if info.MaxStepTokens > 0 { // of which half are left for prompts
		or(&info.Slots, min(defaultSlots, max(1, info.MaxStepTokens/2)))
	}
	or(&info.Slots, defaultSlots)
	or(&info.PageSize, defaultPageSize)
	or(&info.MaxStepTokens, max(defaultStepTokens, 2*info.Slots))
	if info.MaxStepTokens < info.Slots {
		return info, fmt.Errorf("cuda: %d tokens per step are fewer than the %d slots, which may all decode", info.MaxStepTokens, info.Slots)
	}
	if info.MaxSeqLen > c.MaxPositions && c.MaxPositions > 0 {
		return info, fmt.Errorf("cuda: sequences of %d tokens; the model has %d positions", info.MaxSeqLen, c.MaxPositions)
	}
	or(&info.MaxSeqLen, max(c.MaxPositions, 1))
	return info, nil
}

// pageCount decides how many pages there are, given the free memory before
// anything was allocated and now, in bytes.
func pageCount(spec *device.Spec, info *device.Info, c *model.Config, before, now int64) error {
	bytes := pageBytes(c, info.PageSize)
	if info.NumPages == 0 {
		ratio := spec.MemoryRatio
		if ratio == 0 {
			ratio = defaultRatio
		}
		budget := min(int64(ratio*float64(before))-(before-now), now-reserveBytes)
		perSlot := (info.MaxSeqLen + info.PageSize - 1) / info.PageSize
		info.NumPages = int(min(budget/bytes, int64(info.Slots)*int64(perSlot)))
		if info.NumPages <= 0 {
			return fmt.Errorf("cuda: no memory for pages: of %d MiB free at first, of which a share of %.2g may be used, %d MiB are left beside the weights; choose a smaller model or a larger share",
				before>>20, ratio, now>>20)
		}
	}
	if all := info.NumPages * info.PageSize; info.MaxSeqLen > all {
		if spec.MaxSeqLen != 0 {
			return fmt.Errorf("cuda: sequences of %d tokens do not fit in %d pages of %d", info.MaxSeqLen, info.NumPages, info.PageSize)
		}
		info.MaxSeqLen = all
	}
	return nil
}

// pageBytes is a page's memory over all layers.
func pageBytes(c *model.Config, pageSize int) int64 {
	return c.KVBytesPerToken(model.BFloat16) * int64(pageSize)
}

// stages is how many copies attention keeps under way in the shared memory
// that two blocks of a multiprocessor leave each other, or one block alone.
func stages(headDim, shared int) int {
	tile := 2 * 64 * (2*headDim + 16)
	return max(2, min(3, shared/tile))
}

package kernel

// A warp of skinny_codes.cu has so many pairs of tiles of 8 outputs at a time, and as many
// copies of a pair's 64 inputs, 1 KiB, on their way.
type codesSizes struct{ tokens, pairs, depth int }

// codesOf is what those for so many rows have, on Hopper and where a block may have
// less shared memory.
func (s Shape) codesOf(tokens int) codesSizes {
	switch {
	case s.Hopper > 0 && tokens == 8:
		return codesSizes{8, 6, 8}
	case s.Hopper > 0:
		return codesSizes{16, 3, 8}
	case tokens == 8:
		return codesSizes{8, 3, 3}
	}
	return codesSizes{16, 2, 2}
}

// codesWarps are a block's.
const codesWarps = 16

// bytes is a block's memory: its warps' copies, then what they have of sums and of
// squares. It is so much on Hopper that two do not fit on a multiprocessor.
func (s codesSizes) bytes() int {
	return codesWarps * (s.depth*1024 + s.pairs*2*s.tokens*8*4 + s.tokens*4)
}

// skinnyCodes are kernels of codes: by scales of outputs, and of blocks.
type skinnyCodes [2]skinnyKernels

func newSkinnyCodes(name string) (k skinnyCodes) {
	for i, scales := range []string{"_codes", "_blocks"} {
		k[i] = skinnyKernels{
			newKernel[SkinnyArgs]("skinny_codes.cu", name+"_8"+scales, func(s Shape) int { return s.codesOf(8).bytes() }),
			newKernel[SkinnyArgs]("skinny_codes.cu", name+"_16"+scales, func(s Shape) int { return s.codesOf(16).bytes() }),
		}
	}
	return k
}

var (
	skinnyNormCodes = newSkinnyCodes("skinny_norm")
	skinnyGateCodes = newSkinnyCodes("skinny_gate")
	skinnyAddCodes  = newSkinnyCodes("skinny_add")
)

// run is a product of so many outputs, or gates, in no more blocks than half of most.
func (k skinnyCodes) run(q Queue, a SkinnyArgs, most, outputs int) error {
	return skinny(q, k[flag(a.ScaleStride > 0)], a, codesBlocks(most, outputs), 32*codesWarps)
}

// codesBlocks is one block on each multiprocessor: most are two each.
func codesBlocks(most, outputs int) int { return min(max(most/2, 1), ceil(outputs, 8)) }

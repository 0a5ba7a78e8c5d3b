package kernel

import "fmt"

// CombineArgs: see moe_combine.cu.
type CombineArgs struct {
	X, Y, Place    Ptr
	Hidden, Chosen int32
}

var (
	combineKernel     = newKernel[CombineArgs]("moe_combine.cu", "moe_combine", nil)
	combineHalfKernel = newKernel[CombineArgs]("moe_combine.cu", "moe_combine_half", nil)
)

// MoECombine adds what a token's experts made of it, in float32 or, with half,
// in bf16, to the residual stream.
func MoECombine(q Queue, a CombineArgs, tokens int, half bool) error {
	if a.Hidden <= 0 || a.Hidden%4 != 0 {
		return fmt.Errorf("kernel moe_combine: rows of %d; they must be multiples of 4", a.Hidden)
	}
	k := combineKernel
	if half {
		k = combineHalfKernel
	}
	return launch(q, k, ceil(int(a.Hidden), 512), tokens, 128, &a)
}

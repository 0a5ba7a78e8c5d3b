package kernel

import "fmt"

// CombineArgs: see moe_combine.cu.
type CombineArgs struct {
	X, Y, Share, Place  Ptr
	Hidden, Chosen, Add int32
}

var combineKernel = newKernel[CombineArgs]("moe_combine.cu", "moe_combine", nil)

// MoECombine sums what a token's experts made of it, with Add to what is there.
func MoECombine(q Queue, a CombineArgs, tokens int) error {
	if a.Hidden <= 0 || a.Hidden%4 != 0 {
		return fmt.Errorf("kernel moe_combine: rows of %d; they must be multiples of 4", a.Hidden)
	}
	return launch(q, combineKernel, ceil(int(a.Hidden), 512), tokens, 128, &a)
}

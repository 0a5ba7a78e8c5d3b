package kernel

import "fmt"

// ExpertOneArgs: see moe_one.cu.
type ExpertOneArgs struct {
	Y, W, Choice, Place, X  Ptr
	In, Out, Chosen, Tokens int32
}

// MaxOne is up to how many tokens MoEOne is for: they seldom share an expert,
// whose weights it would read again for each.
const MaxOne = 2

var oneKernel = newKernel[ExpertOneArgs]("moe_one.cu", "moe_one", func(Shape) int { return 10 * 72 * 128 })

// MoEOne is the second product of experts for few tokens, added to the residual
// stream. It runs in no more blocks than most; two fit on a multiprocessor.
func MoEOne(q Queue, a ExpertOneArgs, most int) error {
	if a.In <= 0 || a.In%64 != 0 || a.Out%8 != 0 || a.Chosen <= 0 || a.Tokens <= 0 {
		return fmt.Errorf("kernel moe_one: %d tokens at %d experts, %d inputs, %d outputs; these are multiples of 64 and of 8", a.Tokens, a.Chosen, a.In, a.Out)
	}
	return launch(q, oneKernel, min(most, int(a.Tokens*a.Out/8)), 1, 128, &a)
}

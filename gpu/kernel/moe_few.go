package kernel

import "fmt"

// ExpertArgs: see moe_few.cu and moe_tiles.cu.
type ExpertArgs struct {
	X, W, Entries, Tiles, Count, Y Ptr
	In, Out                        int32
}

// FewRows is the rows of the tiles of MoEFewUp and MoEFewDown.
const FewRows = 8

func fewShared(Shape) int { return 8 * 3 * 3072 }

var (
	fewUpKernel   = newKernel[ExpertArgs]("moe_few.cu", "moe_few_up", fewShared)
	fewDownKernel = newKernel[ExpertArgs]("moe_few.cu", "moe_few_down", fewShared)
)

// MoEFewUp is the first product of experts with few tokens each, and their gate;
// Out counts gates. It runs in so many blocks; two fit on a multiprocessor.
func MoEFewUp(q Queue, a ExpertArgs, blocks int) error {
	if a.Out%8 != 0 {
		return fmt.Errorf("kernel moe_few_up: %d outputs; they must be a multiple of 8", a.Out)
	}
	return few(q, fewUpKernel, a, blocks)
}

// MoEFewDown is the second product.
func MoEFewDown(q Queue, a ExpertArgs, blocks int) error { return few(q, fewDownKernel, a, blocks) }

func few(q Queue, k *Kernel, a ExpertArgs, blocks int) error {
	if !SkinnyFits(int(a.In)) {
		return fmt.Errorf("kernel %s: rows of %d; they must be a multiple of 64", k.Name, a.In)
	}
	return launch(q, k, blocks, 1, 256, &a)
}

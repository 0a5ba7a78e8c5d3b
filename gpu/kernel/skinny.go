package kernel

import "fmt"

// SkinnyArgs: see skinny.cu.
type SkinnyArgs struct {
	X, W, Norm, Rows, Y Ptr
	Scales              Ptr // of W's codes; 0: W is bf16
	N, In, Out, Ld      int32
	ScaleStride         int32 // 0: each output has a scale; else blocks of 128 × 128 have
	Eps                 float32
	Rounded             int32 // 1: SkinnyNorm and SkinnyAdd write bf16
}

// MaxSkinny is the most rows that skinny products take.
const MaxSkinny = 16

// wideFrom is from how many outputs on a block takes 32 of them.
const wideFrom = 16384

// skinnyKernels are those for 8 and for 16 rows.
type skinnyKernels [2]*Kernel

// newSkinny makes them; each of their blocks has shared memory for so many copies
// of 2 KiB a warp.
func newSkinny(name string, copies8, copies16 int) skinnyKernels {
	one := func(rows string, copies int) *Kernel {
		return newKernel[SkinnyArgs]("skinny.cu", name+rows, func(Shape) int { return 8 * copies * 2048 })
	}
	return skinnyKernels{one("_8", copies8), one("_16", copies16)}
}

var (
	skinnyNorm = newSkinny("skinny_norm", 5, 5)
	skinnyWide = newSkinny("skinny_wide", 2*3, 2*2)
	skinnyGate = newSkinny("skinny_gate", 2*3, 2*2)
	skinnyAdd  = newSkinny("skinny_add", 5, 5)
)

// SkinnyNorm is y = rms_norm(x)·wᵀ in float32, or Rounded. Skinny products run in no more
// blocks than most; two fit on a multiprocessor.
func SkinnyNorm(q Queue, a SkinnyArgs, most int) error {
	switch {
	case a.Scales != 0:
		return skinnyNormCodes.run(q, a, most, int(a.Out))
	case a.Out >= wideFrom:
		return skinny(q, skinnyWide, a, min(most, ceil(int(a.Out), 32)), 256)
	}
	return skinny(q, skinnyNorm, a, min(most, ceil(int(a.Out), 16)), 256)
}

// SkinnyGate is y = silu(g)·u in bf16, where g|u = rms_norm(x)·wᵀ; Out counts both.
func SkinnyGate(q Queue, a SkinnyArgs, most int) error {
	if a.Out%32 != 0 {
		return fmt.Errorf("kernel skinny_gate: %d outputs; they must be a multiple of 32", a.Out)
	}
	if a.Scales != 0 {
		return skinnyGateCodes.run(q, a, most, int(a.Out)/2)
	}
	return skinny(q, skinnyGate, a, min(most, int(a.Out)/32), 256)
}

// SkinnyAdd is y += x·wᵀ in float32, of x in bf16; Rounded y = x·wᵀ.
func SkinnyAdd(q Queue, a SkinnyArgs, most int) error {
	if a.Scales != 0 {
		return skinnyAddCodes.run(q, a, most, int(a.Out))
	}
	return skinny(q, skinnyAdd, a, min(most, ceil(int(a.Out), 16)), 256)
}

// SkinnyFits says whether products over so many inputs can be skinny.
func SkinnyFits(inputs ...int) bool {
	for _, n := range inputs {
		if n%64 != 0 {
			return false
		}
	}
	return true
}

func skinny(q Queue, k skinnyKernels, a SkinnyArgs, blocks, threads int) error {
	if a.N <= 0 || a.N > MaxSkinny || !SkinnyFits(int(a.In)) {
		return fmt.Errorf("kernel skinny: %d rows of %d; at most %d, of a multiple of 64", a.N, a.In, MaxSkinny)
	}
	return launch(q, k[(a.N-1)/8], blocks, 1, threads, &a)
}

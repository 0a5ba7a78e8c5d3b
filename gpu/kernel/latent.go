package kernel

import "fmt"

// LatentArgs: see latent.cu.
type LatentArgs struct {
	Q, KV, Table, Positions, Slots, Out Ptr

	Heads, KeyDim, ValueDim, PageSize, TableStride int32
	Window                                         int32 // 0: all positions
	Rounded                                        int32 // Out is bf16, not f32
	Scale                                          float32
}

var latentKernel = newKernel[LatentArgs]("latent.cu", "latent_attention", nil)

// LatentFits says whether there is a kernel for cached heads of so many elements,
// the leading ones of which are values.
func LatentFits(key, value int) bool {
	return key > 0 && key <= 576 && value > 0 && value <= min(key, 512) && key%16 == 0 && value%16 == 0
}

// LatentAttention is attention of tokens over one cached head.
func LatentAttention(q Queue, a LatentArgs, tokens int) error {
	if !LatentFits(int(a.KeyDim), int(a.ValueDim)) || a.Heads <= 0 {
		return fmt.Errorf("kernel latent_attention: %d heads of %d, values of %d", a.Heads, a.KeyDim, a.ValueDim)
	}
	a.Window = window(a.Window)
	return launch(q, latentKernel, tokens, ceil(int(a.Heads), 16), 128, &a)
}

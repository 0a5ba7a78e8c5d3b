package kernel

// SiluArgs: see silu.cu.
type SiluArgs struct {
	GateUp, Out  Ptr
	Intermediate int32
}

var (
	siluKernel        = newKernel[SiluArgs]("silu.cu", "silu_mul", nil)
	siluEntriesKernel = newKernel[SiluArgs]("silu.cu", "silu_mul_entries", nil)
	geluKernel        = newKernel[SiluArgs]("silu.cu", "gelu_mul", nil)
	clampedKernel     = newKernel[SiluArgs]("silu.cu", "clamped_mul", nil)
)

// SiluMul gates the tokens of a SwiGLU block.
func SiluMul(q Queue, a SiluArgs, tokens int) error {
	if err := vectors("silu_mul", int(a.Intermediate)); err != nil {
		return err
	}
	return launch(q, siluKernel, ceil(int(a.Intermediate), 8*256), tokens, 256, &a)
}

// SiluMulEntries is SiluMul of more rows than 65,535, as entries of experts may be.
func SiluMulEntries(q Queue, a SiluArgs, rows int) error { return gate(q, siluEntriesKernel, a, rows) }

// GeluMul gates by GELU, in its approximation by tanh.
func GeluMul(q Queue, a SiluArgs, rows int) error { return gate(q, geluKernel, a, rows) }

// ClampedMul gates as gpt-oss does: see silu.cu.
func ClampedMul(q Queue, a SiluArgs, rows int) error { return gate(q, clampedKernel, a, rows) }

func gate(q Queue, k *Kernel, a SiluArgs, rows int) error {
	if err := vectors(k.Name, int(a.Intermediate)); err != nil {
		return err
	}
	return launch(q, k, rows*ceil(int(a.Intermediate), 8*256), 1, 256, &a)
}

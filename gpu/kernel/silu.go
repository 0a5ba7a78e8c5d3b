package kernel

// SiluArgs: see silu.cu.
type SiluArgs struct {
	GateUp, Out  Ptr
	Intermediate int32
}

var siluKernel = newKernel[SiluArgs]("silu.cu", "silu_mul", nil)

// SiluMul gates the tokens of a SwiGLU block.
func SiluMul(q Queue, a SiluArgs, tokens int) error {
	if err := vectors("silu_mul", int(a.Intermediate)); err != nil {
		return err
	}
	return launch(q, siluKernel, ceil(int(a.Intermediate), 8*256), tokens, 256, &a)
}

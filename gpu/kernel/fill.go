package kernel

import "math"

// FillArgs: see fill.cu.
type FillArgs struct {
	Out   Ptr
	N     int64
	Seed  uint64
	Scale float32
}

var fillKernel = newKernel[FillArgs]("fill.cu", "fill_random", nil)

// FillRandom fills n bf16 weights of products over the given number of inputs.
// n is rounded down to a multiple of 8.
func FillRandom(q Queue, out Ptr, n int64, inputs int, seed uint64) error {
	a := FillArgs{Out: out, N: n, Seed: seed, Scale: float32(math.Sqrt(3 / float64(inputs)))}
	return launch(q, fillKernel, int(min(n/8/256+1, 4096)), 1, 256, &a)
}

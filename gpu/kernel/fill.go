package kernel

import "math"

// FillArgs: see fill.cu.
type FillArgs struct {
	Out   Ptr
	N     int64
	Seed  uint64
	Scale float32
}

var (
	fillKernel      = newKernel[FillArgs]("fill.cu", "fill_random", nil)
	fillCodesKernel = newKernel[FillArgs]("fill.cu", "fill_codes", nil)
)

// FillRandom fills n bf16 weights of products over the given number of inputs.
// n is rounded down to a multiple of 8.
func FillRandom(q Queue, out Ptr, n int64, inputs int, seed uint64) error {
	a := FillArgs{Out: out, N: n, Seed: seed, Scale: randomScale(inputs)}
	return launch(q, fillKernel, int(min(n/8/256+1, 4096)), 1, 256, &a)
}

func randomScale(inputs int) float32 { return float32(math.Sqrt(3 / float64(inputs))) }

// FillCodes fills n weights in E4M3, rounded down to a multiple of 8. Times scale
// they are those of products over the given number of inputs.
func FillCodes(q Queue, out Ptr, n int64, inputs int, seed uint64) (scale float32, err error) {
	const most = 448
	a := FillArgs{Out: out, N: n, Seed: seed, Scale: most}
	return randomScale(inputs) / most, launch(q, fillCodesKernel, int(min(n/8/256+1, 4096)), 1, 256, &a)
}

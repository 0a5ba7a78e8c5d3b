package kernel

import "math"

// FillArgs: see fill.cu.
type FillArgs struct {
	Out   Ptr
	N     int64
	Seed  uint64
	Scale float32
}

// FillInt4Args: see fill.cu.
type FillInt4Args struct {
	Out   Ptr
	N     int64
	Seed  uint64
	Block int32
	Scale uint32
}

var (
	fillKernel      = newKernel[FillArgs]("fill.cu", "fill_random", nil)
	fillCodesKernel = newKernel[FillArgs]("fill.cu", "fill_codes", nil)
	fillInt4Kernel  = newKernel[FillInt4Args]("fill.cu", "fill_int4", nil)
)

// FillRandom fills n bf16 weights of products over the given number of inputs.
// n is rounded down to a multiple of 8.
func FillRandom(q Queue, out Ptr, n int64, inputs int, seed uint64) error {
	a := FillArgs{Out: out, N: n, Seed: seed, Scale: randomScale(inputs)}
	return launch(q, fillKernel, int(min(n/8/256+1, 4096)), 1, 256, &a)
}

func randomScale(inputs int) float32 { return float32(math.Sqrt(3 / float64(inputs))) }

// FillCodes fills n weights in E4M3, rounded down to a multiple of 8. Times scale
// they are those of products over the given number of inputs. Read in the order of
// experts' (PackFP8) they are other numbers, half as large.
func FillCodes(q Queue, out Ptr, n int64, inputs int, seed uint64) (scale float32, err error) {
	const most = 448
	a := FillArgs{Out: out, N: n, Seed: seed, Scale: most}
	return randomScale(inputs) / most, launch(q, fillCodesKernel, int(min(n/8/256+1, 4096)), 1, 256, &a)
}

// FillMXFP4 fills n numbers of MXFP4, a multiple of 8. With the scale for all groups, as
// PackScale has it, they are of products over the given number of inputs.
func FillMXFP4(q Queue, out Ptr, n int64, inputs int, seed uint64) (scale byte, err error) {
	const size = 2.93 // the root of the mean square of all numbers of E2M1
	a := FillInt4Args{Out: out, N: n / 8, Seed: seed, Block: 256}
	exponent := math.Round(-math.Log2(size * math.Sqrt(float64(inputs))))
	return PackScale(byte(127 + exponent)), launch(q, fillInt4Kernel, int(min(a.N/256+1, 4096)), 1, 256, &a)
}

// FillInt4 fills weights of 4 bits of products of that shape.
func FillInt4(q Queue, out Ptr, outputs, inputs, group int, seed uint64) error {
	groups := int4Groups(group)
	a := FillInt4Args{
		Out: out, N: Int4Bytes(outputs, inputs, group) / 4, Seed: seed, Block: int32(256 + 16*groups), Scale: scaleWord(randomScale(inputs)/8, 8),
	}
	return launch(q, fillInt4Kernel, int(min(a.N/256+1, 4096)), 1, 256, &a)
}

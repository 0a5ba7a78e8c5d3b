package kernel

import "fmt"

// Arguments of what multiplies weights of 4 bits: see int4.cuh and int4.cu.
type (
	Int4Args struct {
		W, X, Y          Ptr
		Partial, Arrived Ptr // Int4Scratch
		N, In, Out, Ld   int32
		Form             int32
	}
	Int4WidenArgs struct {
		W, Y            Ptr
		In, Out, Groups int32
	}
	Int4OrderArgs struct {
		X        View
		Order, Y Ptr
		In       int32
	}
)

// What products of weights of 4 bits write: Int4Args.Form.
const (
	Int4Floats int32 = iota
	Int4Rounded
	Int4Adds // to float32
)

const (
	// MaxInt4Few is the most rows that the portable kernels take; MaxInt4 that
	// Hopper's do.
	MaxInt4Few = 16
	MaxInt4    = 1 << 16

	// manyShared is the most that stages take of a block's shared memory.
	manyShared = 215 << 10
	int4Tiles  = 1 << 16
)

// Int4Scratch is the bytes that products need to add up what blocks have of a sum,
// of which fewer than so many run, and to count who has added; the latter are zero.
func Int4Scratch(blocks, hopper int) (partial, arrived int64) {
	const few, many = 2 * 2 * 4 * 256 * 4, 2 * 64 * 256 * 4 // bytes of a block's sums
	return 2 * int64(max(blocks*few, hopper*many)), 4 * int64(int4Tiles)
}

// int4Kernels are those of a name by the rows that they take, few or many, and by
// how many groups of weights 128 inputs have.
type int4Kernels map[[2]int]*Kernel

func newInt4(name, source string, rows [2]int, shared func(rows, groups int) int) int4Kernels {
	all := int4Kernels{}
	for _, n := range rows {
		for _, groups := range []int{1, 2, 4} {
			all[[2]int{n, groups}] = newKernel[Int4Args](source, fmt.Sprintf("%s_%d_%d", name, n, groups), func(Shape) int { return shared(n, groups) })
		}
	}
	return all
}

// fewShared is what a block of int4_few has: stages of halves of 128 outputs, and
// 128 inputs of rows.
func fewShared(halves, stages int) func(rows, groups int) int {
	return func(rows, groups int) int { return stages * (8*halves*(1024+64*groups) + rows*256) }
}

func manySharedOf(int, int) int { return manyShared + 2048 }

var (
	int4Few      = newInt4("int4_few", "int4.cu", [2]int{8, 16}, fewShared(1, 6))
	int4FewGate  = newInt4("int4_few_gate", "int4.cu", [2]int{8, 16}, fewShared(2, 4))
	int4Many     = newInt4("int4_many", "int4_hopper.cu", [2]int{64, 128}, manySharedOf)
	int4ManyGate = newInt4("int4_many_gate", "int4_hopper.cu", [2]int{64, 128}, manySharedOf)

	int4WidenKernel = newKernel[Int4WidenArgs]("int4.cu", "int4_widen", nil)
	int4OrderKernel = newKernel[Int4OrderArgs]("int4.cu", "int4_order", nil)
)

// int4Groups is how many groups 128 inputs have of so many each; 0: no product takes
// those.
func int4Groups(group int) int {
	switch group {
	case 32, 64, 128:
		return 128 / group
	}
	return 0
}

// Int4Product is y = x·wᵀ of weights in groups of so many inputs, or, gated, y =
// silu(g)·u in bf16, where g|u = x·wᵀ. Products of few rows run in at most so many
// blocks, of which two fit on a multiprocessor; of more than MaxInt4Few in hopper
// ones.
func Int4Product(q Queue, a Int4Args, group int, gate bool, blocks, hopper int) error {
	few, many, halves := int4Few, int4Many, 1
	if gate {
		few, many, halves = int4FewGate, int4ManyGate, 2
	}
	groups := int4Groups(group)
	if groups == 0 || a.In <= 0 || a.In%128 != 0 || int(a.Out)%(16*halves) != 0 {
		return fmt.Errorf("kernel int4: %d outputs of %d inputs in groups of %d; there are kernels for multiples of %d and 128 in groups of 32, 64 and 128", a.Out, a.In, group, 16*halves)
	}
	tiles := ceil(int(a.Out)/halves, 128)
	chunks := int(a.In) / 128
	fits := func(tiles, blocks int) bool { return tiles <= int4Tiles && (tiles*chunks+1)*(blocks+1) < 1<<32 }
	switch n := int(a.N); {
	case n <= 0 || n > MaxInt4 || n > MaxInt4Few && hopper == 0:
		return fmt.Errorf("kernel int4: %d rows; at most %d, on Hopper %d", n, MaxInt4Few, MaxInt4)
	case n <= MaxInt4Few && fits(tiles, blocks):
		return launch(q, few[[2]int{ceil(n, 8) * 8, groups}], min(blocks, tiles*chunks), 1, 256, &a)
	case n > MaxInt4Few && fits(tiles*ceil(n, 64), hopper):
		rows := 64
		if n > 64 {
			rows = 128
		}
		return launch(q, many[[2]int{rows, groups}], min(hopper, tiles*ceil(n, rows)*chunks), 1, 384, &a)
	default:
		return fmt.Errorf("kernel int4: %d rows by %d outputs are too many", n, a.Out)
	}
}

// Int4Widen makes weights bf16, row by row.
func Int4Widen(q Queue, a Int4WidenArgs, group int) error {
	a.Groups = int32(int4Groups(group))
	if a.Groups == 0 || a.In%128 != 0 || a.Out%16 != 0 {
		return fmt.Errorf("kernel int4_widen: %d outputs of %d inputs in groups of %d", a.Out, a.In, group)
	}
	return launch(q, int4WidenKernel, min(ceil(int(a.Out)/16*(int(a.In)/128), 8), 1<<14), 1, 256, &a)
}

// Int4Order puts inputs of rows in another order, and rounds them to bf16.
func Int4Order(q Queue, a Int4OrderArgs, rows int) error {
	if a.In%2 != 0 {
		return fmt.Errorf("kernel int4_order: rows of %d", a.In)
	}
	return launch(q, int4OrderKernel, ceil(int(a.In), 512), rows, 256, &a)
}

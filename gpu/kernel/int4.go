package kernel

import "fmt"

// Arguments of what multiplies weights of 4 bits: see int4.cuh and int4.cu.
type (
	Int4Args struct {
		W, X, Y          Ptr
		Partial, Arrived Ptr // Int4Scratch
		N, In, Out, Ld   int32
		Groups           int32 // set by Int4Product
		Form             int32
		Split            int32  // set by Int4Product
		Inverse          uint32 // set by Int4Product
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
	// MaxInt4Few is the most rows that the portable kernels take.
	MaxInt4Few = 16

	// manyShared is the most that stages take of a block's shared memory.
	manyShared = 215 << 10
	int4Tiles  = 1 << 16
	// fewBlocks of int4_few are on a multiprocessor, if they fit.
	fewBlocks = 3
)

// Int4Scratch is the bytes that products on a device need to add up what blocks have of
// sums, and to count who has; the latter are zero.
func Int4Scratch(processors, hopper int) (partial, arrived int64) {
	const few, many = 2 * 2 * 4 * 256 * 4, 2 * 64 * 256 * 4 // bytes of a block's sums
	return 2 * int64(max(fewBlocks*processors*few, hopper*many)), 4 * int64(int4Tiles)
}

// int4Kernels are those for few rows by how many they take, and by how many groups of
// weights 128 inputs have.
type int4Kernels map[[2]int]*Kernel

func newInt4(name string, gate bool) int4Kernels {
	all := int4Kernels{}
	for _, n := range []int{8, 16} {
		for _, groups := range []int{1, 2, 4} {
			all[[2]int{n, groups}] = newKernel[Int4Args]("int4.cu", fmt.Sprintf("%s_%d_%d", name, n, groups), func(Shape) int { return fewShared(gate, n, groups) })
		}
	}
	return all
}

// newInt4Many makes those for many rows, by how many they take at a time.
func newInt4Many(name string) map[int]*Kernel {
	all := map[int]*Kernel{}
	for _, n := range []int{64, 128} {
		all[n] = newKernel[Int4Args]("int4_hopper.cu", fmt.Sprintf("%s_%d", name, n), func(Shape) int { return manyShared + 2048 })
	}
	return all
}

// fewShared is what a block of int4_few has: stages of 128 outputs, of gates and ups each,
// and 128 inputs of rows.
func fewShared(gate bool, rows, groups int) int {
	halves, stages := 1, 6
	if gate {
		halves, stages = 2, 3
	}
	return stages * (8*halves*(1024+64*groups) + rows*256)
}

var (
	int4Few      = newInt4("int4_few", false)
	int4FewGate  = newInt4("int4_few_gate", true)
	int4Many     = newInt4Many("int4_many")
	int4ManyGate = newInt4Many("int4_many_gate")

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
// silu(g)·u in bf16, where g|u = x·wᵀ. A device has so many multiprocessors, and hopper
// of them if it has those kernels, for more than MaxInt4Few rows.
func Int4Product(q Queue, a Int4Args, group int, gate bool, processors, hopper int) error {
	return Int4ProductBy(q, a, group, gate, processors, hopper, "")
}

const (
	// Int4Shared has blocks share sums through memory, whatever the device.
	Int4Shared = "shared"
	// Int4Rows has Hopper multiply few rows in bfloat16, however few.
	Int4Rows = "rows"
)

// Int4ProductBy is the same by one of Int4Splits, Int4Shared or Int4Rows; "" is what suits.
func Int4ProductBy(q Queue, a Int4Args, group int, gate bool, processors, hopper int, way string) error {
	few, many, each := int4Few, int4Many, 16
	if gate {
		few, many, each = int4FewGate, int4ManyGate, 32
	}
	groups := int4Groups(group)
	if groups == 0 || a.In <= 0 || a.In%128 != 0 || int(a.Out)%each != 0 {
		return fmt.Errorf("kernel int4: %d outputs of %d inputs in groups of %d; there are kernels for multiples of %d and 128 in groups of 32, 64 and 128", a.Out, a.In, group, each)
	}
	a.Groups = int32(groups)
	if hopper > 0 && way != Int4Shared {
		if a.N > 0 && a.N <= maxInt4Bytes && way == "" {
			few := a
			if l, fits := int4BytesLaunch(&few, gate, min(processors, hopper)); fits {
				return q.Launch(l)
			}
		}
		if a.N > 0 && a.N <= MaxInt4Few {
			return int4RowsProduct(q, a, groups, gate, min(processors, hopper))
		}
		if way == "" && !gate && splits(&a) {
			way = Int4Splits(int(a.N), int(a.Out), hopper)[0]
		}
		if is, err := int4SplitProduct(q, a, hopper, way); is {
			return err
		}
	}
	n, chunks := int(a.N), int(a.In)/128
	k, tiles, threads, blocks := few[[2]int{ceil(n, 8) * 8, groups}], ceil(int(a.Out), 8*each), 256, fewBlocks*processors
	if n > MaxInt4Few {
		rows := 64
		if n > 64 {
			rows = 128
		}
		k, tiles, threads, blocks = many[rows], ceil(int(a.Out), 256)*ceil(n, rows), 384, hopper
	}
	if n <= 0 || n > MaxInt4Few && hopper == 0 || tiles > int4Tiles || (tiles*chunks+1)*(blocks+1) >= 1<<32 {
		return fmt.Errorf("kernel int4: %d rows by %d outputs of %d inputs; at most %d rows, on Hopper as many as give %d tiles of 256 by 128", n, a.Out, a.In, MaxInt4Few, int4Tiles)
	}
	return launch(q, k, min(blocks, tiles*chunks), 1, threads, &a)
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

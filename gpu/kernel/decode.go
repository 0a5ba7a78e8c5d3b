package kernel

import "fmt"

// DecodeTile is the positions that decode attention takes at once; MinRun the
// fewest tiles a warp is given.
const (
	DecodeTile  = 16
	MinRun      = 4
	decodeWarps = 4
)

// PlanArgs: see decode.cu.
type PlanArgs struct {
	Lens, Slots, First, Runs Ptr
	Rows, Workers            int32
}

// DecodeArgs: see decode.cu.
type DecodeArgs struct {
	Q, KV, Table, Slots, Lens, First, Runs, Out, Partial, Stats, Arrived Ptr

	Rows, TableStride int32
	Scale             float32
}

var (
	planKernel   = newKernel[PlanArgs]("decode.cu", "decode_plan", nil)
	decodeKernel = newKernel[DecodeArgs]("decode.cu", "paged_decode", func(s Shape) int {
		return decodeWarps * s.Stages * 2 * DecodeTile * (2*s.HeadDim + 16)
	})
)

// DecodeScratch is the memory that decode attention needs beside its data.
type DecodeScratch struct{ First, Runs, Partial, Stats, Arrived int64 }

// DecodeWorkers is how many warps share the work when blocks of them run.
func DecodeWorkers(blocks int) int { return blocks * decodeWarps }

// ScratchFor sizes it, in bytes, for the most rows. Arrived must be zeroed once.
func ScratchFor(s Shape, rows, blocks int) DecodeScratch {
	w, group := int64(DecodeWorkers(blocks)), int64(s.Heads/s.KVHeads)
	return DecodeScratch{
		First: 4 * int64(rows), Runs: 32 * w, Partial: 4 * 2 * w * group * int64(s.HeadDim),
		Stats: 4 * 2 * w * group * 2, Arrived: 4 * int64(rows*s.KVHeads),
	}
}

// DecodePlan divides the work of decode attention among blocks. It serves all
// layers of a step.
func DecodePlan(q Queue, a PlanArgs, blocks int) error {
	a.Workers = int32(DecodeWorkers(blocks))
	return launch(q, planKernel, 1, 1, 1024, &a)
}

// PagedDecode is attention of one token a row, in as many blocks as were planned.
func PagedDecode(q Queue, a DecodeArgs, blocks int) error {
	if a.Rows <= 0 || blocks <= 0 {
		return fmt.Errorf("kernel paged_decode: %d rows in %d blocks", a.Rows, blocks)
	}
	return launch(q, decodeKernel, blocks, 1, 32*decodeWarps, &a)
}

// DecodeKernel is paged_decode, for asking how many of its blocks fit.
func DecodeKernel() (k *Kernel, threads int) { return decodeKernel, 32 * decodeWarps }

package kernel

import (
	"fmt"
	"math"
)

// DecodeTile is the positions that decode attention takes at once.
const DecodeTile = 16

// NewestTokens is how many tokens of a sequence, side by side, a step may have as rows of
// decode attention: a decode row's, and as many drafts as are worth making.
const NewestTokens = 9

// shortestOfWarp is the shortest run of tiles of a warp.
const shortestOfWarp = 4

// runsOfBlock are the shortest runs of tiles, and up to how many tiles a row and head is
// not parted where blocks share the work: merging costs as much as a warp's taking some
// tiles.
func (s Shape) runsOfBlock() (shortest, whole int32) {
	n := int32(s.decodeWarps())
	return max(8, n), max(16, 2*n)
}

// PlanArgs: see decode.cu.
type PlanArgs struct {
	Lens, Slots, First, Runs Ptr
	Rows, Workers            int32
	Window                   int32 // 0: all positions
	Shortest, Whole          int32 // runs, in tiles; Shortest 0: what is best
}

// DecodeArgs: see decode.cu.
type DecodeArgs struct {
	Q, KV, KVScales, Table, Slots, Lens, First, Runs, Out, Partial, Stats, Arrived Ptr

	Sinks             Ptr // 0: none
	Rows, TableStride int32
	Scale             float32
	Window            int32 // that of the plan; 0: all positions
}

var (
	planKernel   = newKernel[PlanArgs]("decode.cu", "decode_plan", nil)
	decodeKernel = newKernel[DecodeArgs]("decode.cu", "paged_decode", func(s Shape) int {
		return s.Stages * s.decodeWarps() * s.decodeStage()
	})
	decodeBlocksKernel = newKernel[DecodeArgs]("decode_blocks.cu", "paged_decode_blocks", func(s Shape) int {
		return s.decodeWarps() * s.decodeRing()
	})
)

// decodeWarps is how many warps a block of decode attention has, which have
// shared memory of their own. On Hopper one block has all that a multiprocessor takes,
// twice as many of codes, of which a copy has half as many bytes: the fewer blocks share
// a row, the fewer partial results there are to merge.
func (s Shape) decodeWarps() int {
	switch {
	case s.wide():
		return 2
	case s.Hopper == 0 || s.HeadDim != 128 || s.Heads/s.KVHeads > 8:
		return 4
	case s.KVCodes:
		return 16
	}
	return 8
}

// decodeStage is the shared memory of one of a warp's Stages in decode attention.
func (s Shape) decodeStage() int {
	row, scales := 2*s.HeadDim, 0
	if s.KVCodes {
		row, scales = s.HeadDim, 2*DecodeTile*4
	}
	return 2*DecodeTile*(row+16) + scales
}

// decodeRing is a warp's where its sums take the place of the last stage.
func (s Shape) decodeRing() int {
	return (s.Stages-1)*s.decodeStage() + max(s.decodeStage(), 4*s.Heads/s.KVHeads*(s.HeadDim+4))
}

// DecodeShared is the shared memory of a block of decode attention, where blocks share
// rows or where warps do.
func DecodeShared(s Shape, byBlocks bool) int {
	if byBlocks {
		return decodeBlocksKernel.Shared(s)
	}
	return decodeKernel.Shared(s)
}

// decodeByBlocks says that blocks share the work of so many rows, not warps: where
// there is a block for each row and head. With more, whose warps add up too often,
// 64 rows of 100 to 1,100 take 53 µs for 52 on an H200, and 40 for 36 in FP8.
func (s Shape) decodeByBlocks(rows, blocks int) bool { return rows*s.KVHeads <= blocks }

// DecodeScratch is the memory that decode attention needs beside its data.
type DecodeScratch struct{ First, Runs, Partial, Stats, Arrived int64 }

// DecodeWorkers is how many warps share the work when blocks of them run.
func (s Shape) DecodeWorkers(blocks int) int { return blocks * s.decodeWarps() }

// ScratchFor sizes it, in bytes, for the most rows. First and Runs are a plan's,
// of which there is one for each window; Arrived must be zeroed once.
func ScratchFor(s Shape, rows, blocks int) DecodeScratch {
	w, group := int64(s.DecodeWorkers(blocks)), int64(s.Heads/s.KVHeads)
	return DecodeScratch{
		First: 4 * int64(rows), Runs: 32 * w, Partial: 4 * 2 * w * group * int64(s.HeadDim),
		Stats: 4 * 2 * w * group * 2, Arrived: 4 * int64(rows*s.KVHeads),
	}
}

// DecodePlan divides the work of decode attention among blocks. It serves all
// layers of a step that have its window.
func DecodePlan(q Queue, s Shape, a PlanArgs, blocks int) error {
	a.Workers, a.Window = int32(s.DecodeWorkers(blocks)), window(a.Window)
	shortest, whole := int32(shortestOfWarp), int32(0)
	if s.decodeByBlocks(int(a.Rows), blocks) {
		a.Workers = int32(blocks)
		shortest, whole = s.runsOfBlock()
	}
	if a.Shortest == 0 {
		a.Shortest, a.Whole = shortest, whole
	}
	return launch(q, planKernel, 1, 1, 1024, &a)
}

// PagedDecode is attention of one token a row, in as many blocks as were planned.
func PagedDecode(q Queue, s Shape, a DecodeArgs, blocks int) error {
	if a.Rows <= 0 || blocks <= 0 {
		return fmt.Errorf("kernel paged_decode: %d rows in %d blocks", a.Rows, blocks)
	}
	k := decodeKernel
	if s.decodeByBlocks(int(a.Rows), blocks) {
		k = decodeBlocksKernel
	}
	a.Window = window(a.Window)
	return launch(q, k, blocks, 1, 32*s.decodeWarps(), &a)
}

// DecodeKernel is paged_decode, for asking how many of its blocks fit.
func DecodeKernel(s Shape) (k *Kernel, threads int) { return decodeKernel, 32 * s.decodeWarps() }

// window is how many positions kernels take a window to have.
func window(n int32) int32 {
	if n == 0 {
		return math.MaxInt32
	}
	return n
}

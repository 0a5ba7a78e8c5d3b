package kernel

import "fmt"

// Ranks that share a model are at most so many; they meet in so many blocks.
const (
	MaxRanks      = 8
	MeetingBlocks = 64
)

// Memory that meetings take on each rank, zeroed once.
const (
	FlagBytes = 4 * MeetingBlocks * MaxRanks
	TurnBytes = 4 * MeetingBlocks
)

// ReduceArgs: see reduce.cu. X 0: parts become the sum.
type ReduceArgs struct {
	Part, Flags                [MaxRanks]Ptr
	Turns, X                   Ptr
	Vectors, Half, Rank, Ranks int32
}

// GatherRanksArgs: see reduce.cu.
type GatherRanksArgs struct {
	To, Flags                                          [MaxRanks]Ptr
	Turns, From                                        Ptr
	Rows, Width, FromStride, ToStride, At, Rank, Ranks int32
}

var (
	reduceAddKernel   = newKernel[ReduceArgs]("reduce.cu", "reduce_add", nil)
	reduceKernel      = newKernel[ReduceArgs]("reduce.cu", "reduce", nil)
	gatherRanksKernel = newKernel[GatherRanksArgs]("reduce.cu", "gather_ranks", nil)
)

// oneShot is up to how many bytes of a part each rank reads all parts, where there
// are more than two: then others' parts cross the links N−1 times instead of
// 2(N−1)/N, but nothing is written to them. Not measured.
const oneShot = 512 << 10

// Reduce adds up what ranks have, to X if there is one. Every rank launches it with
// the same sizes.
func Reduce(q Queue, a ReduceArgs) error {
	if err := ranks("reduce", a.Rank, a.Ranks); err != nil {
		return err
	}
	element := int32(4)
	if a.Half != 0 {
		element = 2
	}
	k := reduceKernel
	if a.X != 0 && (a.Ranks == 2 || a.Vectors*8*element <= oneShot) {
		k = reduceAddKernel
	}
	return launch(q, k, min(ceil(int(a.Vectors), 512), MeetingBlocks), 1, 512, &a)
}

// GatherRanks gives all ranks this one's columns.
func GatherRanks(q Queue, a GatherRanksArgs) error {
	if err := ranks("gather_ranks", a.Rank, a.Ranks); err != nil {
		return err
	}
	if a.Width < 0 || a.At < 0 || a.At+a.Width > a.ToStride || a.Width > a.FromStride {
		return fmt.Errorf("kernel gather_ranks: %d words of %d to %d of %d", a.Width, a.FromStride, a.At, a.ToStride)
	}
	if a.Width == 0 {
		a.Width, a.Rows = 1, 0
	}
	return launch(q, gatherRanksKernel, MeetingBlocks, 1, 512, &a)
}

func ranks(kernel string, rank, ranks int32) error {
	if ranks < 2 || ranks > MaxRanks || rank < 0 || rank >= ranks {
		return fmt.Errorf("kernel %s: rank %d of %d; there may be 2 to %d", kernel, rank, ranks, MaxRanks)
	}
	return nil
}

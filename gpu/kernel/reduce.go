package kernel

import "fmt"

// Ranks that share a model are at most so many; they meet in at most so many blocks.
const (
	MaxRanks      = 8
	MeetingBlocks = 128
)

// What ranks keep for their sums, zeroed once.
const (
	FlagBytes  = 4 * MeetingBlocks * MaxRanks
	TurnBytes  = 4 * MeetingBlocks
	SpentBytes = 2 * 8
)

// SlotBytes is the most of a part that is sent to the inbox of another rank: 819
// rows of 5,120 in bf16. Inboxes are filled with ones.
const SlotBytes = 8 << 20

// InboxBytes is what an inbox for parts of so many ranks takes.
func InboxBytes(ranks int) int64 { return int64(ranks) * SlotBytes }

// Links are how a rank reaches the others: what each of them has, and where in their
// order it is.
type Links struct {
	Flags       [MaxRanks]Ptr
	Turns       Ptr
	Spent       Ptr // see push.cu; 0: nobody wants to know
	Done        Ptr // u32, of parts that are copied: see copied.cu
	Rank, Ranks int32
	// Blocks are how many of 512 threads fit on the device at once, of this rank; two on
	// a multiprocessor.
	Blocks int
}

// Sum is what ranks add up, Vectors of eight elements.
type Sum struct {
	Part    [MaxRanks]Ptr // of each rank
	Inbox   [MaxRanks]Ptr // of each rank; none: parts are not sent
	Half    int32         // 1: parts are bf16, else float32
	X       Ptr           // f32, to which the sum is added; 0: parts become it
	Vectors int32
	// Of ReduceNorm: Y bf16 is the norm of rows of X, Hidden wide.
	W, Y   Ptr
	Hidden int32
	Eps    float32
}

// ReduceArgs: see reduce.cu.
type ReduceArgs struct {
	Part, Flags                [MaxRanks]Ptr
	Turns, X, Spent            Ptr
	Vectors, Half, Rank, Ranks int32
}

// PushArgs: see push.cu.
type PushArgs struct {
	Inbox                                      [MaxRanks]Ptr
	Part, X, W, Y, Spent                       Ptr
	Vectors, Width, Slot, TwoShot, Rank, Ranks int32
	Eps                                        float32
}

// GatherRanksArgs: see reduce.cu.
type GatherRanksArgs struct {
	To, Flags                                          [MaxRanks]Ptr
	Turns, From, Spent                                 Ptr
	Rows, Width, FromStride, ToStride, At, Rank, Ranks int32
}

var (
	reduceAddKernel   = newKernel[ReduceArgs]("reduce.cu", "reduce_add", nil)
	reduceKernel      = newKernel[ReduceArgs]("reduce.cu", "reduce", nil)
	gatherRanksKernel = newKernel[GatherRanksArgs]("reduce.cu", "gather_ranks", nil)

	// Of parts in float32 and bf16; of rows up to 7,168 and 14,336.
	pushKernels     = [2]*Kernel{newPush("push_floats"), newPush("push")}
	pushNormKernels = [2]*Kernel{newPush("push_norm"), newPush("push_norm_wide")}
)

func newPush(name string) *Kernel { return newKernel[PushArgs]("push.cu", name, nil) }

// oneShot is how many bytes cross a link while a second crossing takes: about 2 µs.
const oneShot = 780 << 10

// Reduce adds up what ranks have, to X if there is one. Every rank launches it with
// the same sizes.
func Reduce(q Queue, l *Links, s Sum) error {
	if err := l.check("reduce"); err != nil {
		return err
	}
	if s.Sends() {
		return push(q, l, &s, pushKernels[s.Half], 256, 256, l.Blocks)
	}
	k := reduceKernel
	if s.X != 0 && (l.Ranks == 2 || s.bytes() <= oneShot) {
		k = reduceAddKernel
	}
	a := ReduceArgs{Part: s.Part, Flags: l.Flags, Turns: l.Turns, X: s.X, Spent: l.Spent, Vectors: s.Vectors, Half: s.Half, Rank: l.Rank, Ranks: l.Ranks}
	return launch(q, k, min(ceil(int(s.Vectors), 512), l.meeting()), 1, 512, &a)
}

// Sends says whether parts are small enough to be sent.
func (s *Sum) Sends() bool { return s.Inbox[0] != 0 && s.bytes() <= SlotBytes }

func (s *Sum) bytes() int { return int(s.Vectors) * (32 - 16*int(s.Half)) }

// Norms says whether ReduceNorm takes the sum.
func (s *Sum) Norms() bool {
	return s.Sends() && s.Half == 1 && s.X != 0 && s.Hidden > 0 && s.Hidden%8 == 0 && s.Hidden <= 2*896*8
}

// ReduceNorm is Reduce and a norm of X's rows, of a sum that Norms.
func ReduceNorm(q Queue, l *Links, s Sum) error {
	if err := l.check("push_norm"); err != nil {
		return err
	}
	width := int(s.Hidden) / 8
	if !s.Norms() || int(s.Vectors)%width != 0 {
		return fmt.Errorf("kernel push_norm: %d vectors in rows of %d; rows are multiples of 8 up to %d, in bf16, of %d bytes together", s.Vectors, s.Hidden, 2*896*8, SlotBytes)
	}
	wide, fit := 0, l.Blocks
	if width > 2*448 {
		wide, fit = 1, max(1, l.Blocks/2)
	}
	return push(q, l, &s, pushNormKernels[wide], width, ceil(ceil(width, 2), 32)*32, fit)
}

func push(q Queue, l *Links, s *Sum, k *Kernel, width, block, fit int) error {
	a := PushArgs{
		Inbox: s.Inbox, Part: s.Part[l.Rank], X: s.X, W: s.W, Y: s.Y, Spent: l.Spent, Vectors: s.Vectors, Width: int32(width), Slot: SlotBytes / 16,
		Rank: l.Rank, Ranks: l.Ranks, Eps: s.Eps,
	}
	// All parts to all, or a part and a sum of all: what goes over a link from a rank.
	if n := int(l.Ranks); s.bytes()*(n-1)*(n-2)/n > oneShot {
		a.TwoShot = 1
	}
	return launch(q, k, min(ceil(int(s.Vectors), width), fit), 1, block, &a)
}

// GatherRanks gives all ranks this one's columns.
func GatherRanks(q Queue, l *Links, a GatherRanksArgs) error {
	if err := l.check("gather_ranks"); err != nil {
		return err
	}
	if a.Width < 0 || a.At < 0 || a.At+a.Width > a.ToStride || a.Width > a.FromStride {
		return fmt.Errorf("kernel gather_ranks: %d words of %d to %d of %d", a.Width, a.FromStride, a.At, a.ToStride)
	}
	if a.Width == 0 {
		a.Width, a.Rows = 1, 0
	}
	a.Flags, a.Turns, a.Spent, a.Rank, a.Ranks = l.Flags, l.Turns, l.Spent, l.Rank, l.Ranks
	return launch(q, gatherRanksKernel, l.meeting(), 1, 512, &a)
}

// meeting is how many blocks ranks meet in: of kernels of which one fits on a
// multiprocessor.
func (l *Links) meeting() int { return min(MeetingBlocks, max(1, l.Blocks/2)) }

func (l *Links) check(kernel string) error {
	if l.Ranks < 2 || l.Ranks > MaxRanks || l.Rank < 0 || l.Rank >= l.Ranks || l.Blocks < 1 {
		return fmt.Errorf("kernel %s: rank %d of %d with %d blocks; there may be 2 to %d ranks", kernel, l.Rank, l.Ranks, l.Blocks, MaxRanks)
	}
	return nil
}

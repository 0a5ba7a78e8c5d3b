package kernel

import "fmt"

// copiedThreads are the threads of add_copied on a multiprocessor.
const copiedThreads = 768

// MaxCopied is the most elements of a row that AddCopied takes.
const MaxCopied = 2 * 8 * copiedThreads

// Copied is what ranks add up of rows whose parts are in this rank's memory.
type Copied struct {
	Part [MaxRanks]Ptr // bf16 [Rows, Hidden], of each rank
	Told Ptr           // u32 [MaxRanks]: see copied.cu
	X    Ptr           // f32, to which the sum is added
	W, Y Ptr           // Y bf16 is the norm of X's rows; 0: there is none
	// Hidden is a multiple of 8.
	Rows, Hidden int32
	Eps          float32
}

// CopiedArgs: see copied.cu.
type CopiedArgs struct {
	Part                       [MaxRanks]Ptr
	Told, Done, X, W, Y, Spent Ptr
	Rows, Width, Rank, Ranks   int32
	Eps                        float32
}

// Of rows up to 6,144 and 12,288.
var copiedKernels = [2]*Kernel{newCopied("add_copied"), newCopied("add_copied_wide")}

func newCopied(name string) *Kernel { return newKernel[CopiedArgs]("copied.cu", name, nil) }

// AddCopied waits until every other rank's part is there, and adds up what ranks have of rows.
func AddCopied(q Queue, l *Links, s Copied) error {
	if err := l.check("add_copied"); err != nil {
		return err
	}
	if s.Rows < 1 || s.Hidden < 8 || s.Hidden%8 != 0 || s.Hidden > MaxCopied {
		return fmt.Errorf("kernel add_copied: %d rows of %d; they are multiples of 8 up to %d", s.Rows, s.Hidden, MaxCopied)
	}
	a := CopiedArgs{
		Part: s.Part, Told: s.Told, Done: l.Done, X: s.X, W: s.W, Y: s.Y, Spent: l.Spent, Rows: s.Rows, Width: s.Hidden / 8,
		Rank: l.Rank, Ranks: l.Ranks, Eps: s.Eps,
	}
	block := max(32, ceil(ceil(int(a.Width), 2), 32)*32)
	fit, wide := max(1, l.Blocks/2)*(copiedThreads/block), flag(block > copiedThreads/2)
	return launch(q, copiedKernels[wide], min(int(s.Rows), fit), 1, block, &a)
}

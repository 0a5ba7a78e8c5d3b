package kernel

import "fmt"

// DeltaArgs: see delta.cu.
type DeltaArgs struct {
	Query, Key, Value, A, B, Y                             View
	Decay, StepBias, State, Slots, Positions, Spans, Count Ptr
	Heads, KeyHeads, KeyDim, ValueDim                      int32
}

const (
	// MaxKeyDim is the longest keys that Delta takes.
	MaxKeyDim = 128
	// deltaMemory is the shared memory of a block of delta_spans.
	deltaMemory = 2*(64*MaxKeyDim+MaxKeyDim*64+2*32*64+32*32) + 4*(32*32+32*68+4*32)
)

var (
	deltaKernel      = newKernel[DeltaArgs]("delta.cu", "delta", nil)
	deltaStepsKernel = newKernel[DeltaArgs]("delta.cu", "delta_steps", nil)
	deltaSpansKernel = newKernel[DeltaArgs]("delta_spans.cu", "delta_spans", func(Shape) int { return deltaMemory })
)

// Delta moves the states of so many rows on: those of Spans or, without, one
// token each.
func Delta(q Queue, a DeltaArgs, rows int) error {
	if a.Spans != 0 {
		return a.launch(q, deltaSpansKernel, 64, rows)
	}
	return a.launch(q, deltaKernel, 32, rows)
}

// DeltaSteps does so token by token, of so many Spans, or of as many as Count says, at most
// so many: what becomes of a token is the same to the bit however its request is cut.
func DeltaSteps(q Queue, a DeltaArgs, spans int) error {
	return a.launch(q, deltaStepsKernel, 32, spans)
}

// launch has a block for so many columns of each head of each row.
func (a *DeltaArgs) launch(q Queue, k *Kernel, columns, rows int) error {
	if a.KeyDim <= 0 || a.KeyDim > MaxKeyDim || a.KeyDim%8 != 0 || a.ValueDim <= 0 || a.ValueDim%4 != 0 || a.KeyHeads <= 0 || a.Heads%a.KeyHeads != 0 {
		return fmt.Errorf("kernel delta: %d heads of %d for %d of %d; keys have a multiple of 8 up to %d, values of 4", a.Heads, a.ValueDim, a.KeyHeads, a.KeyDim, MaxKeyDim)
	}
	return launch(q, k, int(a.Heads)*ceil(int(a.ValueDim), columns), rows, 128, a)
}

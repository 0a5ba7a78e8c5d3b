package kernel

import "fmt"

// DeltaArgs: see delta.cu.
type DeltaArgs struct {
	Query, Key, Value, A, B, Y                      View
	Decay, StepBias, State, Slots, Positions, Spans Ptr
	Heads, KeyHeads, KeyDim, ValueDim               int32
}

const (
	// MaxKeyDim is the longest keys that Delta takes.
	MaxKeyDim = 128
	// deltaMemory is the shared memory of a block of delta_spans.
	deltaMemory = 2*(64*MaxKeyDim+MaxKeyDim*64+2*32*64+32*32) + 4*(32*32+32*68+4*32)
)

var (
	deltaKernel      = newKernel[DeltaArgs]("delta.cu", "delta", nil)
	deltaSpansKernel = newKernel[DeltaArgs]("delta_spans.cu", "delta_spans", func(Shape) int { return deltaMemory })
)

// Delta moves the states of so many rows on: those of Spans or, without, one
// token each.
func Delta(q Queue, a DeltaArgs, rows int) error {
	if a.KeyDim <= 0 || a.KeyDim > MaxKeyDim || a.KeyDim%8 != 0 || a.ValueDim <= 0 || a.ValueDim%4 != 0 || a.KeyHeads <= 0 || a.Heads%a.KeyHeads != 0 {
		return fmt.Errorf("kernel delta: %d heads of %d for %d of %d; keys have a multiple of 8 up to %d, values of 4", a.Heads, a.ValueDim, a.KeyHeads, a.KeyDim, MaxKeyDim)
	}
	k, columns := deltaKernel, 32
	if a.Spans != 0 {
		k, columns = deltaSpansKernel, 64
	}
	return launch(q, k, int(a.Heads)*ceil(int(a.ValueDim), columns), rows, 128, &a)
}

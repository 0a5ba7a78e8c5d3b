package kernel

import "fmt"

// ConvArgs: see conv.cu.
type ConvArgs struct {
	X, Y                              View
	W, Slots, Positions, State, Spans Ptr
	First, Tokens, Channels, K, Keep  int32
}

var (
	convKernel     = newKernel[ConvArgs]("conv.cu", "conv", nil)
	convKeepKernel = newKernel[ConvArgs]("conv.cu", "conv_keep", nil)
)

// Conv convolves channels of tokens, each a request's only one, and moves their
// states on.
func Conv(q Queue, a ConvArgs) error {
	if err := a.check(); err != nil {
		return err
	}
	a.Keep = 1
	return overRows(q, convKernel, int(a.Tokens), int(a.Channels), &a)
}

// ConvSpans does so for tokens of so many Spans.
func ConvSpans(q Queue, a ConvArgs, spans int) error {
	if err := a.check(); err != nil {
		return err
	}
	a.Keep = 0
	if err := overRows(q, convKernel, int(a.Tokens), int(a.Channels), &a); err != nil {
		return err
	}
	a.Tokens = int32(spans)
	return overRows(q, convKeepKernel, spans, int(a.Channels), &a)
}

func (a *ConvArgs) check() error {
	if a.K < 2 || a.Channels <= 0 {
		return fmt.Errorf("kernel conv: %d channels, each over %d inputs; there must be 2 inputs", a.Channels, a.K)
	}
	return nil
}

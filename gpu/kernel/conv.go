package kernel

import "fmt"

// ConvArgs: see conv.cu.
type ConvArgs struct {
	X, Y                                     View
	W, Slots, Positions, State, Spans, Count Ptr
	First, Tokens, Channels, K               int32
}

var (
	convKernel      = newKernel[ConvArgs]("conv.cu", "conv", nil)
	convSpansKernel = newKernel[ConvArgs]("conv.cu", "conv_spans", nil)
	convKeepKernel  = newKernel[ConvArgs]("conv.cu", "conv_keep", nil)
)

// convRun is how many tokens of prompts a thread does: each needs the inputs before
// the first, too.
const convRun = 16

// ConvFits says whether there is a kernel that looks at so many inputs.
func ConvFits(inputs int) bool { return inputs >= 2 && inputs <= 4 }

// Conv convolves channels of tokens, each a request's only one, and moves their
// states on.
func Conv(q Queue, a ConvArgs) error {
	if err := a.check(); err != nil {
		return err
	}
	return overChannels(q, convKernel, int(a.Tokens), &a)
}

// ConvSpans does so for tokens of so many Spans, or of as many as Count says, at most so many.
func ConvSpans(q Queue, a ConvArgs, spans int) error {
	if err := a.check(); err != nil {
		return err
	}
	if err := overChannels(q, convSpansKernel, ceil(int(a.Tokens), convRun), &a); err != nil {
		return err
	}
	a.Tokens = int32(spans)
	return overChannels(q, convKeepKernel, spans, &a)
}

// overChannels gives every four channels of every row a thread.
func overChannels(q Queue, k *Kernel, rows int, a *ConvArgs) error {
	return launch(q, k, ceil(rows*ceil(int(a.Channels), 4), 256), 1, 256, a)
}

func (a *ConvArgs) check() error {
	if !ConvFits(int(a.K)) || a.Channels <= 0 {
		return fmt.Errorf("kernel conv: %d channels, each over %d inputs; there may be 2 to 4", a.Channels, a.K)
	}
	return nil
}

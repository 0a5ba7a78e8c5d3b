package cuda

import (
	"github.com/troupe-llm/troupe/gpu/kernel"
	"github.com/troupe-llm/troupe/gpu/program"
)

// others is how many tokens are not of decode rows, behind which they come.
func (w *work) others() int { return w.tokens - w.decodes }

// conv is of the decode rows, which come first, and of the others.
func (c *compiler) conv(o *program.Conv) run {
	c.need(kernel.ConvFits(o.Weight.In()) && o.Weight.Out() == o.In.Width, "%d channels of %d, each over %d inputs; the kernel takes 2 to 4", o.In.Width, o.Weight.Out(), o.Weight.In())
	q, a := c.kernels, kernel.ConvArgs{
		X: c.view(o.In), Y: c.view(o.Out), W: c.weights[o.Weight], Slots: c.tokenSlots, Positions: c.positions, State: c.states[o.State],
		Count: c.counts.Plus(4), Channels: int32(o.In.Width), K: int32(o.Weight.In()),
	}
	return func(w *work) error {
		if w.decodes > 0 {
			a := a
			a.Tokens = int32(w.decodes)
			if err := kernel.Conv(q, a); err != nil {
				return err
			}
		}
		if w.nspans == 0 {
			return nil
		}
		a := a
		a.First, a.Tokens, a.Spans = int32(w.decodes), int32(w.others()), c.spans
		return kernel.ConvSpans(q, a, w.nspans)
	}
}

// delta is the gated delta rule, of the decode rows and of the others.
func (c *compiler) delta(o *program.Delta) run {
	key, value := o.Key.Width/o.KeyHeads, o.Value.Width/o.Heads
	c.need(key%8 == 0 && key <= kernel.MaxKeyDim && value%4 == 0, "keys of %d and values of %d; the kernel takes multiples of 8 up to %d, and of 4", key, value, kernel.MaxKeyDim)
	q, a := c.kernels, kernel.DeltaArgs{
		Query: c.view(o.Query), Key: c.view(o.Key), Value: c.view(o.Value), A: c.view(o.A), B: c.view(o.B), Y: c.view(o.Out),
		Decay: c.weights[o.Decay], StepBias: c.weights[o.StepBias], State: c.states[o.State], Slots: c.tokenSlots, Positions: c.positions,
		Count: c.counts.Plus(4), Heads: int32(o.Heads), KeyHeads: int32(o.KeyHeads), KeyDim: int32(key), ValueDim: int32(value),
	}
	spans := kernel.Delta
	if c.deterministic {
		spans = kernel.DeltaSteps
	}
	return func(w *work) error {
		if w.decodes > 0 {
			if err := kernel.Delta(q, a, w.decodes); err != nil {
				return err
			}
		}
		if w.nspans == 0 {
			return nil
		}
		a := a
		a.Spans = c.spans
		return spans(q, a, w.nspans)
	}
}

//go:build cuda

package cuda

import (
	"fmt"
	"slices"

	"github.com/troupe-llm/troupe/gpu/kernel"
	"gorgonia.org/cu"
)

// do runs stages, unless only other kinds of work are being timed.
func (e *engine) do(stages []stage, w *work) error {
	for i := range stages {
		s := &stages[i]
		if len(e.only) > 0 && !slices.Contains(e.only, s.name) {
			continue
		}
		if err := s.run(w); err != nil {
			return fmt.Errorf("%s, %s: %w", s.name, s.at, err)
		}
	}
	return nil
}

// enqueue puts a step on the compute stream: what changes, then the pass.
func (e *engine) enqueue(u *upload, result kernel.Ptr) error {
	for _, l := range u.lists {
		if err := cu.MemcpyDtoDAsync(cu.DevicePtr(l.to), cu.DevicePtr(l.from), l.bytes, e.compute); err != nil {
			return fmt.Errorf("copying a slot's lists: %w", err)
		}
	}
	for _, c := range u.counts {
		row := int64(4 * e.info.Vocab)
		c.args.Counts = e.tokenCounts.Plus(int64(c.slot) * row)
		if err := cu.MemsetD8Async(cu.DevicePtr(c.args.Counts), 0, row, e.compute); err != nil {
			return fmt.Errorf("clearing counts: %w", err)
		}
		if err := kernel.CountTokens(e.queue, c.args); err != nil {
			return err
		}
	}
	b := u.begin
	b.ToParams, b.Last, b.Table, b.ToTokens, b.ToPositions, b.ToSlots = e.slots, e.last, e.table, e.tokens, e.positions, e.tokenSlots
	b.ToRowSlots, b.ToRowLens, b.ToDraws, b.ToDrawTokens, b.ToResult = e.rowSlots, e.rowLens, e.draws, e.drawTokens, e.result
	b.ToTiles, b.ToSpans, b.ToCounts, b.Result = e.tiles, e.spans, e.counts, result
	if err := kernel.Begin(e.queue, b); err != nil {
		return err
	}
	if err := e.copyStates(u.restores, u.nrestores); err != nil {
		return err
	}
	if err := e.pass(u); err != nil {
		return err
	}
	return e.copyStates(u.saves, u.nsaves)
}

// pass enqueues the pass of a step.
func (e *engine) pass(u *upload) error {
	if u.replays {
		return e.replay(u)
	}
	if u.graph == 0 {
		return e.forward(u.pass())
	}
	g, err := e.graphOf(u.graph, u.late > 0)
	if err != nil {
		return err
	}
	return g.launch(e.compute)
}

func (u *upload) pass() pass {
	return pass{work{tokens: u.tokens, decodes: u.decodes, ntiles: u.ntiles, nspans: u.nspans}, u.draws, u.late > 0}
}

// graphOf is the graph of a decode pass, with the drawing or without. The latter
// is captured when it is first needed, by requests with a grammar; all that a
// pass of this size runs was loaded for the former.
func (e *engine) graphOf(rows int, late bool) (graph, error) {
	if !late {
		return e.graphs[rows], nil
	}
	if g, ok := e.undrawn[rows]; ok {
		return g, nil
	}
	p := e.decoding(rows)
	p.late = true
	g, err := capture(e.compute, func() error { return e.forward(p) })
	if err != nil {
		return graph{}, fmt.Errorf("capturing %d rows without drawing: %w", rows, err)
	}
	e.undrawn[rows] = g
	return g, nil
}

// pass is all that forward does.
type pass struct {
	work
	draws int
	late  bool // leaves out the drawing, which waits for masks
}

// decoding is a pass of so many decode rows, all of which draw.
func (m *machine) decoding(rows int) pass { return pass{work: m.decodes(rows), draws: rows} }

// forward is one pass of the model over the tokens that begin distributed.
func (e *engine) forward(p pass) error {
	if p.tokens == 0 {
		return nil
	}
	if err := e.do(e.plans.body(&p.work), &p.work); err != nil {
		return err
	}
	if e.plans.isAlone(&p.work) && e.plans.alone.logits {
		return e.sample(p.draws, p.late)
	}
	return e.drawn(p.draws, p.late)
}

// drawn computes what the last tokens of rows are drawn from, and unless the masks
// are late draws them.
func (e *engine) drawn(draws int, late bool) error {
	if draws == 0 {
		return nil
	}
	if err := e.head(e.drawTokens, draws); err != nil {
		return err
	}
	return e.sample(draws, late)
}

// sample draws tokens from the logits, unless the masks are late.
func (e *engine) sample(draws int, late bool) error {
	if draws == 0 || late {
		return nil
	}
	return e.do(e.sampling, &work{sampled: draws})
}

// draw draws n tokens, from the logits that the pass left.
func (e *engine) draw(draws kernel.Ptr, n int) error {
	return kernel.Sample(e.queue, kernel.SampleArgs{
		Logits: e.values[e.logits], Shaped: e.shaped, Draws: draws, Slots: e.slots, Counts: e.tokenCounts, Parts: e.sums, Last: e.last, Result: e.result,
		Tokens: e.tokens, DrawTokens: e.drawTokens, Drawn: e.tokensDrawn, Arrived: e.drawsDone,
		Vocab: int32(e.info.Vocab), Ld: int32(columns(e.logits)), Rows: int32(e.info.Draws()),
	}, n)
}

// head computes logits, of the n tokens of the pass whose numbers are in rows.
func (e *engine) head(rows kernel.Ptr, n int) error {
	return e.do(e.plans.head(n), &work{rows: rows, sampled: n})
}

// captureGraphs captures decode passes of the given sizes, the largest first:
// graphs share the memory pools of those before.
func (e *engine) captureGraphs(sizes []int, progress func(done, total int64)) error {
	for i := len(sizes) - 1; i >= 0; i-- {
		n := sizes[i]
		p := e.decoding(n)
		// Once for real, on rows that begin never filled in: padding. What loads a
		// kernel must not be captured.
		if err := e.pad(n); err != nil {
			return err
		}
		if err := e.forward(p); err != nil {
			return fmt.Errorf("cuda: decoding %d rows: %w", n, err)
		}
		if err := e.together(); err != nil {
			return err
		}
		decode := func() error { return e.forward(p) }
		g, err := capture(e.compute, decode)
		if err != nil && e.queue.overlap {
			// Drivers differ in what may overlap inside a graph.
			e.queue.overlap = false
			g, err = capture(e.compute, decode)
		}
		if err != nil {
			return fmt.Errorf("cuda: capturing %d rows: %w", n, err)
		}
		e.graphs[n] = g
		if err := e.together(); err != nil {
			return err
		}
		if progress != nil {
			progress(int64(len(e.graphs)), int64(len(sizes)))
		}
	}
	if err := e.compute.Synchronize(); err != nil {
		return fmt.Errorf("cuda: capturing graphs: %w", err)
	}
	return nil
}

// pad makes n rows padding: zero tokens and lengths, slots and draws −1.
func (e *engine) pad(n int) error {
	for _, a := range []struct {
		at    kernel.Ptr
		value byte
		bytes int
	}{
		{e.tokens, 0, 4 * n},
		{e.positions, 0, 4 * n},
		{e.tokenSlots, 0xff, 4 * n},
		{e.rowSlots, 0, 4 * n},
		{e.rowLens, 0, 4 * n},
		{e.draws, 0xff, 24 * n},
		{e.drawTokens, 0, 4 * n},
	} {
		if err := cu.MemsetD8Async(cu.DevicePtr(a.at), a.value, int64(a.bytes), e.compute); err != nil {
			return fmt.Errorf("cuda: padding: %w", err)
		}
	}
	return nil
}

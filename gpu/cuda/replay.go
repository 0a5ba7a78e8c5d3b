//go:build cuda

package cuda

import "fmt"

// A pass with prompts is replayed in two parts, each a graph: up to the rows that are
// looked at, by how many tokens and decode rows there are, padded, and from there on,
// by how many tokens are drawn. Launching its kernels one by one takes the host 1.4 to
// 2.2 ms with 28 layers, longer than the device takes for few tokens. Which tokens are whose is
// read from the device's memory.
//
// A part is launched kernel by kernel when it is met first, and captured when that step
// has been enqueued: opening does not wait for it, and nor does the step. It is the
// step behind that may.

// replayedTokens is the most tokens of steps with prompts that are replayed: with more
// the device takes longer than the host.
const replayedTokens = 2048

// segment is a part of a pass, by what its graph has: tokens, or else draws.
type segment struct {
	tokens, decodes int
	draws           int
	late            bool // without the drawing, which waits for masks
}

// replayed are the parts that were met: captured ones, and those of the step at hand
// that are to be.
type replayed struct {
	graphs map[segment]graph
	fresh  []segment
}

// mostReplayed is the most tokens of passes with prompts that are replayed; 0: none are.
// How recurrent layers divide their work depends on the prompts, and kernels that wait
// for other ranks are launched by all at once.
func (e *engine) mostReplayed() int {
	if e.rank != nil || len(e.config.Program.States) > 0 {
		return 0
	}
	return min(replayedTokens, e.info.MaxStepTokens)
}

// replay enqueues a pass with prompts.
func (e *engine) replay(u *upload) error {
	if err := e.replaySegment(segment{tokens: u.tokens, decodes: u.decodes}); err != nil {
		return err
	}
	if u.draws == 0 {
		return nil
	}
	return e.replaySegment(segment{draws: u.draws, late: u.late > 0})
}

func (e *engine) replaySegment(p segment) error {
	if g, ok := e.replayed.graphs[p]; ok {
		return g.launch(e.compute)
	}
	e.replayed.fresh = append(e.replayed.fresh, p)
	return e.segment(p)
}

// segment enqueues a part's kernels.
func (e *engine) segment(p segment) error {
	if p.draws > 0 {
		return e.drawn(p.draws, p.late)
	}
	runs := min(p.tokens, e.info.Slots)
	w := work{tokens: p.tokens, decodes: p.decodes, ntiles: e.shape.MostTiles(p.tokens, e.info.Draws()), nspans: runs}
	return e.do(e.plans.body(&w), &w)
}

// captureFresh captures the parts that the step at hand met first.
func (e *engine) captureFresh() error {
	for _, p := range e.replayed.fresh {
		g, err := capture(e.compute, func() error { return e.segment(p) })
		if err != nil {
			return fmt.Errorf("capturing %d tokens with %d decode rows, %d draws: %w", p.tokens, p.decodes, p.draws, err)
		}
		e.replayed.graphs[p] = g
	}
	e.replayed.fresh = e.replayed.fresh[:0]
	return nil
}

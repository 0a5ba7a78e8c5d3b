package cuda

import (
	"errors"
	"fmt"

	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/kernel/lower"
	"github.com/troupe-llm/troupe/gpu/program"
)

// A deterministic device computes a row to the same bits whatever else is in its step,
// wherever in it the row is, and whether it is one of a prompt or decodes. So a
// request's text depends neither on its neighbours nor on how its prompt is cut, on
// what of it is cached, on having been computed before. This takes
//
//   - one list of kernels for any number of rows (lower.Invariant): none for few;
//   - one kernel of attention, that of prompts, for all rows: a decode row is a prompt of
//     one token (encoder.asPrompts). It looks at keys in blocks that begin at fixed
//     positions, and what it does with a row depends on no other row;
//   - products whose sums are added in one order by any number of rows (pin.go);
//   - experts by one kind of kernel (machine.mixture);
//   - recurrent layers token by token, in prompts, too (kernel.DeltaSteps);
//   - of two ranks' sums, which have but one order, norms by a kernel of their own, which
//     adds up squares in one order.
//
// Norms, rotations, gates, sums over experts and drawing are a row's own anyway.
// TestDeterministic holds all of it, to the bit.

// undetermined refuses what would depend on other rows.
func undetermined(spec *device.Spec, held func(*program.Weight) program.Codes) error {
	p := spec.Model.Config.Program
	if spec.Rank != nil && spec.Rank.Ranks > 2 {
		return errors.New("deterministic: more than two GPUs that share a model add up in an order that depends on how much there is; take one or two (--tp 2)")
	}
	for _, w := range p.Weights {
		if held(w) == program.CodesInGroups {
			return fmt.Errorf("deterministic: products of weights of 4 bits (%s) are added up in an order that depends on the rows; --dtype bfloat16 widens them", w.Role)
		}
	}
	return nil
}

// lowering is a program as the machine's kernels.
func (m *machine) lowering(p *program.Program) *lower.Lowering {
	if m.deterministic {
		return lower.Invariant(p, m.held.Codes)
	}
	return lowered(p, m.held.Codes)
}

// decodes is the work of so many decode rows.
func (m *machine) decodes(rows int) work {
	if m.deterministic {
		return work{tokens: rows, ntiles: m.shape.MostTiles(rows, rows), nspans: rows}
	}
	return work{tokens: rows, decodes: rows}
}

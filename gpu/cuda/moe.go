//go:build cuda

package cuda

import (
	"github.com/troupe-llm/troupe/gpu/kernel"
	"github.com/troupe-llm/troupe/gpu/model"
)

// mixture is what a step's tokens are sent to experts with. Which experts have
// work is decided on the device and read by nobody else, so passes with a
// mixture of experts are captured like others.
type mixture struct {
	logits, scales, choice, share, entries, place, counts, tiles, count, arrived kernel.Ptr

	y kernel.Ptr // bf16 [tokens·PerToken, Hidden]: of each entry
}

// sized is memory to allocate.
type sized struct {
	at    *kernel.Ptr
	bytes int64
	what  string
}

// sizes lists the memory for the most tokens of a step.
func (x *mixture) sizes(c *model.Config, tokens int) []sized {
	m := c.MoE
	s := kernel.RouteScratchFor(tokens, m.Experts, m.PerToken)
	const routes = "routes to experts"
	return []sized{
		{&x.logits, s.Logits, routes},
		{&x.scales, s.Scales, routes},
		{&x.choice, s.Choice, routes},
		{&x.share, s.Share, routes},
		{&x.entries, s.Entries, routes},
		{&x.place, s.Place, routes},
		{&x.counts, s.Counts, routes},
		{&x.tiles, s.Tiles, routes},
		{&x.count, s.Count, routes},
		{&x.arrived, s.Arrived, routes},
		{&x.y, 2 * int64(tokens*m.PerToken) * int64(c.Hidden), "experts' results"},
	}
}

// routedAtOnce is up to how many tokens one kernel does all of routing: 12 µs for
// 32 on an H200 and 18 for 64. Otherwise grouping takes 8, and norm and product
// an estimated 5 more.
const routedAtOnce = 32

// experts are the stages of a layer behind attention, of a mixture of experts.
func (e *engine) experts(w work, l *layer) []stage {
	c, m, q, x := e.config, e.config.MoE, e.queue, &e.mixture
	rows, blocks := kernel.ExpertRows(w.tokens*m.PerToken, m.Experts), 2*e.gpu.SMs
	hopper := e.shape.Hopper > 0 && w.tokens*m.PerToken >= kernel.HopperFrom*m.Experts
	if hopper {
		rows = kernel.HopperRows
	}
	route := kernel.RouteArgs{
		X: e.x, Norm: l.mlpNorm, W: l.router, Slots: e.tokenSlots, Logits: x.logits, Normed: e.normed, Scales: x.scales, Choice: x.choice,
		Share: x.share, Entries: x.entries, Place: x.place, Counts: x.counts, Tiles: x.tiles, Count: x.count, Arrived: x.arrived,
		Tokens: int32(w.tokens), Hidden: int32(c.Hidden), Experts: int32(m.Experts), Chosen: int32(m.PerToken), Rows: int32(rows), Eps: c.NormEps,
	}
	if m.Normalize {
		route.Normalize = 1
	}
	args := func(from, weights, y kernel.Ptr, in, out int) kernel.ExpertArgs {
		return kernel.ExpertArgs{X: from, W: weights, Entries: x.entries, Tiles: x.tiles, Count: x.count, Y: y, In: int32(in), Out: int32(out)}
	}
	up, down := args(e.normed, l.gateUp, e.activated, c.Hidden, m.Intermediate), args(e.activated, l.down, x.y, m.Intermediate, c.Hidden)
	var list []stage
	if w.tokens <= routedAtOnce && kernel.SkinnyFits(c.Hidden) {
		list = append(list, stage{opRoute, func() error { return kernel.MoERoute(q, route) }})
	} else {
		list = append(list, e.norm(w, l.mlpNorm), e.product(w, opRouter, l), stage{opRoute, func() error { return kernel.MoEGroup(q, route) }})
	}
	list = append(list, stage{opGateUp, func() error {
		if hopper {
			return kernel.MoEUpHopper(q, up, e.shape.Hopper)
		}
		return kernel.MoEUp(q, up, rows, blocks)
	}})
	return append(list, stage{opDown, func() error {
		if hopper {
			return kernel.MoEDownHopper(q, down, e.shape.Hopper)
		}
		return kernel.MoEDown(q, down, rows, blocks)
	}}, stage{opCombine, func() error {
		return kernel.MoECombine(q, kernel.CombineArgs{X: e.x, Y: x.y, Place: x.place, Hidden: int32(c.Hidden), Chosen: int32(m.PerToken)}, w.tokens)
	}})
}

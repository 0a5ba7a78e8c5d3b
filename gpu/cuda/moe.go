package cuda

import (
	"github.com/troupe-llm/troupe/gpu/kernel"
	"github.com/troupe-llm/troupe/gpu/program"
)

// routes is what a layer's tokens are sent to experts with. Which experts have
// work is decided on the device and read by nobody else, so passes with a
// mixture of experts are captured like others.
type routes struct {
	scales, choice, share, entries, place, counts, tiles, count, arrived kernel.Ptr
}

// sizes lists the memory of the largest routes of a program.
func (r *routes) sizes(p *program.Program, tokens int) []sized {
	experts, chosen := 0, 0
	for _, op := range p.Ops {
		if o, is := op.(*program.Route); is {
			experts, chosen = max(experts, o.Logits.Width), max(chosen, o.Routes.Width)
		}
	}
	if experts == 0 {
		return nil
	}
	s := kernel.RouteScratchFor(tokens, experts, chosen)
	const what = "routes to experts"
	return []sized{
		{&r.scales, s.Scales, what},
		{&r.choice, s.Choice, what},
		{&r.share, s.Share, what},
		{&r.entries, s.Entries, what},
		{&r.place, s.Place, what},
		{&r.counts, s.Counts, what},
		{&r.tiles, s.Tiles, what},
		{&r.count, s.Count, what},
		{&r.arrived, s.Arrived, what},
	}
}

// mixture says how a mixture's entries are cut into tiles.
type mixture struct {
	experts, chosen int
	hopper          int  // multiprocessors with kernels of their own; 0: none
	coded           bool // some of its matrices are codes
	alike           bool // sums are added up in one order, whatever the tokens
}

// widenExpertsFrom is how many entries an expert has in the mean from where on codes are
// widened, on other GPUs than Hopper's, whose products of many take them as they are, too.
const widenExpertsFrom = 256

// mixtureOf is that of routes to so many experts. A deterministic machine has kernels of
// one kind alone: tiles of all sizes add up alike, but the smallest ones of codes; Hopper's,
// and those of codes that were widened, need not.
func (c *compiler) mixtureOf(routes *program.Value, experts int) mixture {
	m := mixture{experts: experts, chosen: routes.Width, hopper: c.shape.Hopper, alike: c.deterministic}
	if c.deterministic {
		m.hopper = 0
	}
	for _, op := range c.readers[routes.Whole()] {
		if f, is := op.(*program.Fused); is {
			op = f.Ops[0]
		}
		if o, is := op.(*program.ExpertProduct); is && c.held.Codes(o.Weight) != program.NoCodes {
			m.coded = true
		}
	}
	return m
}

// tiles is the rows of tiles, and whether kernels of Hopper take them.
func (m mixture) tiles(tokens int) (rows int, hopper bool) {
	if m.hopper > 0 && tokens*m.chosen >= kernel.HopperFrom*m.experts {
		return kernel.HopperRows, true
	}
	rows = kernel.ExpertRows(tokens*m.chosen, m.experts)
	if m.coded && !m.widens(tokens) {
		rows = min(rows, kernel.MaxCodedTile)
		if m.alike {
			rows = max(rows, kernel.MinAlikeTile)
		}
	}
	return rows, false
}

// widens says that so many tokens' products are of codes that were widened.
func (m mixture) widens(tokens int) bool {
	return m.coded && !m.alike && m.hopper == 0 && tokens*m.chosen >= widenExpertsFrom*m.experts
}

// routing is a choice of experts: its arguments but for the number of tokens.
func (c *compiler) routing(o *program.Route) (kernel.RouteArgs, mixture) {
	m := c.mixtureOf(o.Routes, o.Logits.Width)
	c.need(m.experts%4 == 0 && m.experts <= kernel.MaxExperts && m.chosen <= kernel.MaxChosen,
		"%d of %d experts per token; there may be %d of %d, a multiple of 4", m.chosen, m.experts, kernel.MaxChosen, kernel.MaxExperts)
	r := &c.routes
	a := kernel.RouteArgs{
		Slots: c.tokenSlots, Logits: c.value(o.Logits, f32), Scales: r.scales, Choice: r.choice, Share: r.share, Entries: r.entries,
		Place: r.place, Counts: r.counts, Tiles: r.tiles, Count: r.count, Arrived: r.arrived,
		Experts: int32(m.experts), Chosen: int32(m.chosen),
	}
	a.First, a.Here = int32(o.First), int32(o.Here)
	a.Normalize, a.Sigmoid, a.Scale, a.Groups, a.GroupsTaken = flagOf(o.Normalize), flagOf(o.Sigmoid), o.Scale, int32(o.Groups), int32(o.GroupsTaken)
	if o.Correction != nil {
		a.Correction = c.weights[o.Correction]
	}
	c.need(o.Groups <= kernel.MaxGroups, "%d groups of experts; there may be %d", o.Groups, kernel.MaxGroups)
	c.routed, c.shared = o.Routes, false
	return a, m
}

// group chooses experts by logits and groups tokens by them.
func (c *compiler) group(o *program.Route) run {
	q := c.kernels
	a, m := c.routing(o)
	return func(w *work) error {
		a := a
		rows, _ := m.tiles(w.tokens)
		a.Tokens, a.Rows = int32(w.tokens), int32(rows)
		return kernel.MoEGroup(q, a)
	}
}

// routeAtOnce is norm, router and grouping of few tokens.
func (c *compiler) routeAtOnce(f *program.Fused) run {
	norm, router := part[*program.Norm](f), part[*program.Product](f)
	c.wholeRows(norm)
	q := c.kernels
	a, m := c.routing(part[*program.Route](f))
	a.X, a.Norm, a.W, a.Normed = c.value(norm.In, f32), c.weights[norm.Weight], c.weights[router.Weight], c.value(norm.Out, bf16)
	a.Hidden, a.Eps = int32(norm.In.Width), norm.Eps
	return func(w *work) error {
		a := a
		rows, _ := m.tiles(w.tokens)
		a.Tokens, a.Rows = int32(w.tokens), int32(rows)
		return kernel.MoERoute(q, a)
	}
}

// experts are a layer's matrices of experts and what they are multiplied with, of numbers
// of so many bits.
type experts struct {
	kernel.ExpertArgs
	mixture
	bits  int
	widen kernel.WidenExpertsArgs // of codes
}

// of is what a pass of so many tokens multiplies: of many codes are widened before.
func (e *experts) of(q kernel.Queue, tokens int) (a kernel.ExpertArgs, bits int, err error) {
	if e.bits == kernel.ExpertsWide || !e.widens(tokens) {
		return e.ExpertArgs, e.bits, nil
	}
	a = e.ExpertArgs
	a.W = e.widen.Y
	return a, kernel.ExpertsWide, kernel.WidenExperts(q, e.widen, e.bits)
}

// expertArgs are a product of experts, to out.
func (c *compiler) expertArgs(o *program.ExpertProduct, out *program.Value) experts {
	c.need(o.Routes == c.routed, "entries by other than the last routes")
	c.vectors("inputs", o.In.Width)
	c.vectors("outputs", out.Width)
	r, s := &c.routes, c.scales[o.Weight]
	e := experts{bits: kernel.ExpertsWide, mixture: c.mixtureOf(o.Routes, o.Weight.Experts()*max(1, o.Out.Ranks))} // of all ranks, as the router cuts tiles
	e.ExpertArgs = kernel.ExpertArgs{
		X: c.value(o.In, bf16), W: c.weights[o.Weight], Scales: s.at, Entries: r.entries, Tiles: r.tiles, Count: r.count, Y: c.value(out, bf16),
		In: int32(o.In.Width), Out: int32(out.Width), Stride: s.stride,
	}
	switch codes := c.held.Codes(o.Weight); {
	case codes.FP8():
		e.bits = kernel.ExpertsFP8
	case codes == program.CodesMXFP4:
		e.bits = kernel.ExpertsMXFP4
	}
	if e.bits != kernel.ExpertsWide && e.widens(c.most[program.Tokens]) {
		c.wideBytes = max(c.wideBytes, bf16*o.Weight.Elements())
		e.widen = kernel.WidenExpertsArgs{W: e.W, Scales: s.at, Y: c.fours.wide, Rows: int64(o.Weight.Experts() * o.Weight.Out()), In: e.In, Stride: s.stride}
	}
	return e
}

// expertsUp is the experts' first product, of tokens, and their gate.
func (c *compiler) expertsUp(f *program.Fused) run {
	o := part[*program.ExpertProduct](f)
	c.need(o.In.Rows == program.Tokens, "a gated product of entries; the kernel gates one of tokens")
	c.shared = true
	q, s, blocks := c.kernels, c.shape, c.blocks
	e := c.expertArgs(o, part[*program.Gate](f).Out)
	return func(w *work) error {
		a, bits, err := e.of(q, w.tokens)
		if err != nil {
			return err
		}
		if rows, hopper := e.tiles(w.tokens); !hopper {
			return kernel.MoEUp(q, a, bits, rows, blocks)
		}
		return kernel.MoEUpHopper(q, a, bits, s.Hopper)
	}
}

// experts is a product of entries, or one of tokens that is not gated at once.
func (c *compiler) experts(o *program.ExpertProduct) run {
	q, s, blocks := c.kernels, c.shape, c.blocks
	e := c.expertArgs(o, o.Out)
	plain := o.In.Rows == program.Tokens
	return func(w *work) error {
		a, bits, err := e.of(q, w.tokens)
		if err != nil {
			return err
		}
		rows, hopper := e.tiles(w.tokens)
		switch {
		case plain && hopper:
			return kernel.MoEPlainHopper(q, a, bits, s.Hopper)
		case plain:
			return kernel.MoEPlain(q, a, bits, rows, blocks)
		case hopper:
			return kernel.MoEDownHopper(q, a, bits, s.Hopper)
		default:
			return kernel.MoEDown(q, a, bits, rows, blocks)
		}
	}
}

// expertBias adds to each entry its expert's bias.
func (c *compiler) expertBias(o *program.ExpertBias) run {
	c.need(o.Routes == c.routed, "entries by other than the last routes")
	q, a := c.kernels, kernel.AddBiasArgs{
		X: c.view(o.X), Bias: c.weights[o.Bias], Entries: c.routes.entries, Width: int32(o.X.Width), Experts: int32(o.Bias.Shape[0]),
	}
	return func(w *work) error {
		a := a
		a.Rows = int32(w.n(o.X))
		return kernel.AddBias(q, a)
	}
}

// combineAdd adds what a token's experts made of it to the residual stream.
func (c *compiler) combineAdd(f *program.Fused) run {
	return c.combine(part[*program.Combine](f), part[*program.Add](f).X, true)
}

// combine sums what a token's experts made of it, to x or in addition to it.
func (c *compiler) combine(o *program.Combine, x *program.Value, add bool) run {
	c.need(o.Routes == c.routed, "entries by other than the last routes")
	q := c.kernels
	a := kernel.CombineArgs{
		X: c.value(x, f32), Y: c.value(o.In, bf16), Place: c.routes.place, Hidden: int32(x.Width), Chosen: int32(o.Routes.Width), Add: flagOf(add),
	}
	if !c.shared {
		a.Share = c.routes.share
	}
	return func(w *work) error { return kernel.MoECombine(q, a, w.tokens) }
}

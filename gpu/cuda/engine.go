//go:build cuda

package cuda

import (
	"fmt"
	"slices"
	"unsafe"

	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/kernel"
	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/gpu/program"
	"gorgonia.org/cu"
)

// engine is the model with its memory on the device, and how a step runs.
type engine struct {
	*context
	machine
	config   *model.Config
	info     device.Info
	queue    *queue
	blas     *blas
	own      own
	nccl     *communicator // of a rank, where GPUs cannot reach each other's memory
	plans    *plans
	sampling []stage

	slots, last       kernel.Ptr     // sampling parameters and last tokens, by slot
	draws, drawTokens kernel.Ptr     // [Draws], of the step
	tokensDrawn       kernel.Ptr     // [Draws], of the step
	drawsDone         kernel.Ptr     // by slot, of one whose row has drafts
	result            kernel.Ptr     // u64: where the step's result goes
	kv                kernel.Ptr     // of all caches, one behind the other
	stateList         kernel.Ptr     // kernel.State of each recurrent layer
	logits            *program.Value // f32 [Draws, columns]
	shaped            kernel.Ptr     // like logits
	tokenCounts, sums kernel.Ptr     // of drawing
	lists             map[int32]slotList
	graphs, undrawn   map[int]graph // by rows; undrawn ones without the drawing
	replayed          replayed
	only              []string // kinds of work that passes are limited to, for timing; empty: everything
}

// slotList is the memory of a slot's lists.
type slotList struct {
	at    kernel.Ptr
	bytes int64
}

func newEngine(ctx *context, spec *device.Spec) (*engine, error) {
	config := spec.Model.Config // a copy: the model may be closed
	info, err := settle(spec, ctx.gpu.Capability)
	if err != nil {
		return nil, fmt.Errorf("cuda: %w", err)
	}
	e := &engine{
		machine: machine{held: info.Weights(), deterministic: spec.Deterministic, knownScales: spec.Model.Weights.CacheScales()},
		context: ctx, config: &config, info: info, logits: config.Program.Logits,
		lists: map[int32]slotList{}, graphs: map[int]graph{}, undrawn: map[int]graph{}, replayed: replayed{graphs: map[segment]graph{}},
	}
	if err := e.settleShape(spec.Attention); err != nil {
		return nil, fmt.Errorf("cuda: %w", err)
	}
	before, _, err := freeBytes()
	if err != nil {
		return nil, err
	}
	m, err := loadModules(e.shape, ctx.gpu.architecture())
	if err != nil {
		return nil, err
	}
	// Kernels that begin early on one GPU leave no room for what another rank's wait for.
	alone := ctx.common == nil || ctx.common.ranks == 1
	e.queue = &queue{modules: m, stream: ctx.compute, overlap: ctx.gpu.Capability >= 90 && alone}
	if e.decodeBlocks, err = m.decodeBlocks(e.shape, ctx.gpu); err != nil {
		return nil, err
	}
	e.kernels, e.multiply, e.blocks = e.queue, e.multiplyFastest, 2*ctx.gpu.SMs
	e.most = map[program.Rows]int{program.Tokens: info.MaxStepTokens, program.Sampled: info.Draws(), program.Entries: info.MaxStepTokens}
	p, err := loadWeights(ctx, e.queue, spec.Model, e.held, spec.Progress)
	if err != nil {
		return nil, err
	}
	e.weights, e.scales, e.fours.order, e.info.WeightBytes = p.at, p.scales, p.order, p.bytes
	if err := e.allocateSteps(spec.Rank); err != nil {
		return nil, err
	}
	now, _, err := freeBytes()
	if err != nil {
		return nil, err
	}
	memory := device.Memory{All: before, Taken: before - now, Token: device.GPUToken(&config, info.KVDType)}
	if err := device.GPU.FitPages(&e.info, spec, memory); err != nil {
		return nil, fmt.Errorf("cuda: %w", err)
	}
	if err := e.allocatePages(); err != nil {
		return nil, err
	}
	if err := e.join(spec.Rank); err != nil {
		return nil, err
	}
	if e.plans, err = compile(config.Program, &e.machine); err != nil {
		return nil, fmt.Errorf("cuda: %w", err)
	}
	if e.meetings.err != nil {
		return nil, e.meetings.err
	}
	if err := e.prepareAlone(); err != nil {
		return nil, err
	}
	e.sampling = []stage{{"sample", "tokens", func(w *work) error { return e.draw(e.draws, w.sampled) }}}
	return e, nil
}

// settleShape decides what kernels are compiled for.
func (e *engine) settleShape(attention string) error {
	s, gpu := shapeOf(e.config.Program), &e.gpu
	s.PageSize, s.Stages, s.Hopper, s.KVCodes = e.info.PageSize, stages(s, e.shared), gpu.hopper(), e.info.KVDType == model.Float8
	s.Invariant = e.deterministic
	s.ExpertsFP8, s.ExpertsMXFP4 = expertsIn(e.config.Program, e.held)
	s.Int4 = slices.ContainsFunc(e.config.Program.Weights, func(w *program.Weight) bool { return e.held.Codes(w) == program.CodesInGroups })
	switch attention {
	case "", "auto":
	case "portable":
		s.Hopper = 0
	case "hopper":
		if s.Hopper == 0 {
			return fmt.Errorf("attention by hopper kernels on %s, which has compute capability %d.%d; they need 9.0", gpu.Name, gpu.Capability/10, gpu.Capability%10)
		}
		if !s.HopperAttention() {
			return fmt.Errorf("attention by hopper kernels for heads of %d; they are for 64 and 128", s.HeadDim)
		}
	default:
		return fmt.Errorf("attention by %q; there are auto, hopper and portable", attention)
	}
	e.shape = s
	return s.Check()
}

// expertsIn says of which codes a program's matrices of experts are.
func expertsIn(p *program.Program, held model.Held) (fp8, mxfp4 bool) {
	for _, op := range p.Ops {
		if o, is := op.(*program.ExpertProduct); is {
			codes := held.Codes(o.Weight)
			fp8, mxfp4 = fp8 || codes.FP8(), mxfp4 || codes == program.CodesMXFP4
		}
	}
	return fp8, mxfp4
}

// allocateSteps allocates what steps compute in.
func (e *engine) allocateSteps(rank *device.Rank) error {
	p, t, s, draws := e.config.Program, int64(e.info.MaxStepTokens), int64(e.info.Slots), int64(e.info.Draws())
	layout, err := layOut(p, e.held)
	if err != nil {
		return fmt.Errorf("cuda: %w", err)
	}
	if err := rank.Same("where ranks meet", e.places(p)); err != nil {
		return fmt.Errorf("cuda: %w", err)
	}
	before := unmet(rank)
	e.landing.apart = e.primary != nil || e.common != nil && e.common.ranks > 1
	before.landing.apart = e.landing.apart
	dry, err := compile(p, &machine{shape: e.shape, held: e.held, most: e.most, fours: e.fours, deterministic: e.deterministic, meetings: before})
	if err != nil {
		return fmt.Errorf("cuda: %w", err)
	}
	scratch := kernel.ScratchFor(e.shape, e.info.Draws(), e.decodeBlocks)
	var workspace kernel.Ptr
	list := []sized{
		{&e.slots, s * int64(unsafe.Sizeof(kernel.Slot{})), "sampling parameters"},
		{&e.last, 4 * s, "last tokens"},
		{&e.tokens, 4 * t, "tokens"},
		{&e.positions, 4 * t, "positions"},
		{&e.tokenSlots, 4 * t, "slots"},
		{&e.rowSlots, 4 * draws, "rows"},
		{&e.rowLens, 4 * draws, "lengths"},
		{&e.draws, draws * int64(unsafe.Sizeof(kernel.Draw{})), "draws"},
		{&e.drawTokens, 4 * draws, "draws"},
		{&e.tokensDrawn, 4 * draws, "draws"},
		{&e.drawsDone, 4 * s, "draws"},
		{&e.result, 8, "results"},
		{&e.queries, bf16 * t * int64(e.shape.Heads*e.shape.HeadDim), "queries"},
		{&e.shaped, f32 * draws * int64(columns(e.logits)), "shaped logits"},
		{&e.tokenCounts, 4 * s * int64(e.info.Vocab), "token counts"},
		{&e.sums, draws * kernel.PartBytes, "sampling"},
		{&e.tiles, int64(e.shape.MostTiles(int(t), int(draws))) * int64(unsafe.Sizeof(kernel.Tile{})), "prompts"},
		{&e.spans, s * int64(unsafe.Sizeof(kernel.Span{})), "prompts"},
		{&e.counts, 8, "prompts"},
		{&e.partial, scratch.Partial, "decode attention"},
		{&e.stats, scratch.Stats, "decode attention"},
		{&e.arrived, scratch.Arrived, "decode attention"},
		{&workspace, workspaceBytes, "cuBLASLt"},
	}
	if kept, parts, joined := e.shape.SplitScratch(); kept > 0 {
		const what = "deterministic attention"
		list = append(list, sized{&e.kept, kept, what}, sized{&e.parts, parts, what}, sized{&e.joined, joined, what})
	}
	list = append(list, e.routes.sizes(p, e.info.MaxStepTokens)...)
	e.divisions = map[int]*division{}
	for _, window := range windowsOf(p) {
		d := &division{}
		e.divisions[window] = d
		list = append(list, sized{&d.first, scratch.First, "decode attention"}, sized{&d.runs, scratch.Runs, "decode attention"})
	}
	if dry.castBytes > 0 {
		list = append(list, sized{&e.cast, dry.castBytes, "what products read"})
	}
	if e.shape.Int4 {
		partial, arrived := kernel.Int4Scratch(e.blocks/2, e.shape.Hopper)
		list = append(list, sized{&e.fours.partial, partial, "sums of products"}, sized{&e.fours.arrived, arrived, "sums of products"})
	}
	if dry.wideBytes > 0 {
		list = append(list, sized{&e.fours.wide, dry.wideBytes, "a weight in bfloat16"})
	}
	list = append(list, e.alone.sizes(&dry.alone)...)
	if e.landing.bytes = dry.copied; dry.copied > 0 {
		list = append(list, sized{&e.landing.mine, inboxes * dry.copied, "what other ranks copy"})
	}
	for i := range e.rowScales {
		list = append(list, sized{&e.rowScales[i], f32 * t, "scales"})
	}
	buffers := make([]kernel.Ptr, len(layout.Buffers))
	for i, b := range layout.Buffers {
		list = append(list, sized{&buffers[i], int64(e.rows(b.Rows, b.PerToken)) * int64(b.Row), "what layers compute"})
	}
	for _, a := range list {
		if *a.at, err = e.allocate(a.bytes, a.what); err != nil {
			return err
		}
	}
	e.values = map[*program.Value]kernel.Ptr{}
	for v, buffer := range layout.At {
		e.values[v] = buffers[buffer]
	}
	e.blas, err = newBlas(workspace, e.compute)
	return err
}

// allocatePages allocates what grows with pages and sequences.
func (e *engine) allocatePages() (err error) {
	p := e.config.Program
	if e.kv, err = e.allocate(e.info.KVBytes, "pages of keys and values"); err != nil {
		return err
	}
	e.caches, e.cacheScales = map[*program.Cache]kernel.Ptr{}, map[*program.Cache]kernel.Ptr{}
	at, positions := e.kv, int64(e.info.NumPages*e.info.PageSize)
	for _, c := range p.Caches {
		e.caches[c] = at
		at = at.Plus(positions * int64(c.Elements()*e.info.KVDType.Size()))
		if e.shape.KVCodes {
			e.cacheScales[c] = at
			at = at.Plus(positions * int64(2*c.Heads*f32))
		}
	}
	e.widened = at
	if err := e.allocateStates(p); err != nil {
		return err
	}
	e.stride = e.info.PagesPerSlot()
	if e.table, err = e.allocate(4*int64(e.info.Slots*e.stride), "the page table"); err != nil {
		return err
	}
	return e.fillAngles(p.Rotary)
}

// fillAngles makes the tables of cosines and sines: f32 [MaxSeqLen, Dims/2, 2].
func (e *engine) fillAngles(all []*program.Rotary) (err error) {
	e.angles = map[*program.Rotary]kernel.Ptr{}
	for _, r := range all {
		angles := ropeAngles(r.Frequencies(e.info.MaxSeqLen), r.Scale, e.info.MaxSeqLen)
		if e.angles[r], err = allocateWith(e.context, angles, "angles"); err != nil {
			return err
		}
	}
	return nil
}

// allocateWith allocates memory for data, and copies it there.
func allocateWith[T any](c *context, data []T, what string) (kernel.Ptr, error) {
	bytes := int64(len(data)) * int64(unsafe.Sizeof(data[0]))
	at, err := c.allocate(bytes, what)
	if err != nil {
		return 0, err
	}
	return at, copyTo(c, at, data, what)
}

// copyTo copies data to memory that is there.
func copyTo[T any](c *context, at kernel.Ptr, data []T, what string) error {
	if err := c.compute.Synchronize(); err != nil {
		return fmt.Errorf("cuda: clearing memory: %w", err)
	}
	bytes := int64(len(data)) * int64(unsafe.Sizeof(data[0]))
	if err := cu.MemcpyHtoD(cu.DevicePtr(at), unsafe.Pointer(&data[0]), bytes); err != nil {
		return fmt.Errorf("cuda: copying %s: %w", what, err)
	}
	return settled()
}

// reserve returns memory for a slot's lists. Growing waits for the device,
// which a longer list than any before in this slot may cost.
func (e *engine) reserve(slot int32, bytes int64) (kernel.Ptr, error) {
	l := e.lists[slot]
	if l.bytes >= bytes {
		return l.at, nil
	}
	if l.at != 0 {
		if err := e.free(l.at); err != nil {
			return 0, fmt.Errorf("cuda: freeing a slot's lists: %w", err)
		}
	}
	l.bytes = max(2*bytes, 4096)
	var err error
	if l.at, err = e.allocate(l.bytes, "a slot's lists"); err != nil {
		return 0, err
	}
	e.lists[slot] = l
	return l.at, nil
}

// allocateStates makes room for what recurrent layers keep of each slot's request,
// and behind the slots for snapshots. Kernels begin at zero where a request does.
func (e *engine) allocateStates(p *program.Program) (err error) {
	if len(p.States) == 0 {
		return nil
	}
	e.states = map[*program.State]kernel.Ptr{}
	places, list := int64(e.info.Slots+e.info.Snapshots), make([]kernel.State, len(p.States))
	for i, s := range p.States {
		at, err := e.allocate(f32*places*int64(s.Elements), "states of recurrent layers")
		if err != nil {
			return err
		}
		e.states[s], list[i] = at, kernel.State{At: at, Elements: int64(s.Elements)}
	}
	e.stateList, err = allocateWith(e.context, list, "the list of states")
	return err
}

// copyStates copies, of all layers, what a step's list of copies says.
func (e *engine) copyStates(copies kernel.Ptr, n int) error {
	if n == 0 {
		return nil
	}
	return kernel.CopyStates(e.queue, kernel.CopyStatesArgs{States: e.stateList, Copies: copies}, len(e.config.Program.States), n)
}

//go:build cuda

package cuda

import (
	"fmt"
	"unsafe"

	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/kernel"
	"github.com/troupe-llm/troupe/gpu/model"
	"gorgonia.org/cu"
)

// engine is the model with its memory on the device, and how a step runs.
type engine struct {
	*context
	config  *model.Config
	info    device.Info
	shape   kernel.Shape
	queue   *queue
	blas    *blas
	weights *weights

	kv     kernel.Ptr // bf16 [Layers, NumPages, 2, KVHeads, PageSize, HeadDim]
	angles kernel.Ptr // f32 [MaxSeqLen, HeadDim/2, 2]

	// What begin distributes and kernels read.
	slots, last, table                   kernel.Ptr
	tokens, positions, tokenSlots        kernel.Ptr // i32 [MaxStepTokens]
	rowSlots, rowLens, draws, drawTokens kernel.Ptr // [Slots]
	result                               kernel.Ptr // u64: where the step's result goes
	x, qkv                               kernel.Ptr // f32 [MaxStepTokens, ·]; x is the residual stream
	normed, q, mixed, gateUp, activated  kernel.Ptr // bf16 [MaxStepTokens, ·]
	logits, shaped                       kernel.Ptr // f32 [Slots, ld]
	counts, parts                        kernel.Ptr
	mixture                              mixture
	ld                                   int

	decodeBlocks                         int
	first, runs, partial, stats, arrived kernel.Ptr
	lists                                map[int32]slotList
	graphs, undrawn                      map[int]graph // by rows; undrawn ones without the drawing
	skinny                               int           // most tokens of a pass that takes skinny products
	only                                 []op          // what passes are limited to, for timing; empty: everything
}

// slotList is the memory of a slot's lists.
type slotList struct {
	at    kernel.Ptr
	bytes int64
}

func newEngine(ctx *context, spec *device.Spec) (*engine, error) {
	config := spec.Model.Config // a copy: the model may be closed
	info, err := settle(spec)
	if err != nil {
		return nil, fmt.Errorf("cuda: %w", err)
	}
	e := &engine{context: ctx, config: &config, info: info, lists: map[int32]slotList{}, graphs: map[int]graph{}, undrawn: map[int]graph{}}
	e.shape = kernel.Shape{
		Heads: config.Heads, KVHeads: config.KVHeads, HeadDim: config.HeadDim, PageSize: info.PageSize,
		Stages: stages(config.HeadDim, ctx.shared), Hopper: ctx.gpu.hopper(), Experts: config.MoE != nil,
	}
	switch spec.Attention {
	case "", "auto":
	case "portable":
		e.shape.Hopper = 0
	case "hopper":
		if e.shape.Hopper == 0 {
			return nil, fmt.Errorf("cuda: attention by hopper kernels on %s, which has compute capability %d.%d; they need 9.0", ctx.gpu.Name, ctx.gpu.Capability/10, ctx.gpu.Capability%10)
		}
	default:
		return nil, fmt.Errorf("cuda: attention by %q; there are auto, hopper and portable", spec.Attention)
	}
	if err := e.shape.Check(); err != nil {
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
	e.queue = &queue{modules: m, stream: ctx.compute, overlap: ctx.gpu.Capability >= 90}
	if e.decodeBlocks, err = m.decodeBlocks(ctx.gpu); err != nil {
		return nil, err
	}
	if kernel.SkinnyFits(config.Hidden, config.Heads*config.HeadDim) && (config.MoE != nil || kernel.SkinnyFits(config.Intermediate)) {
		// With more rows, and weights that take longer than a launch, cuBLASLt is
		// faster: 7.0 ms for 7.8 in the products of Qwen3-14B, 16 rows, on an H200.
		e.skinny = 8
		if config.Hidden <= 2048 {
			e.skinny = kernel.MaxSkinny
		}
	}
	if e.weights, err = loadWeights(ctx, e.queue, spec.Model, spec.Progress); err != nil {
		return nil, err
	}
	if err := e.allocateSteps(); err != nil {
		return nil, err
	}
	now, _, err := freeBytes()
	if err != nil {
		return nil, err
	}
	memory := device.Memory{All: before, Taken: before - now, Token: config.KVBytesPerToken(info.DType)}
	if err := device.GPU.FitPages(&e.info, spec, memory); err != nil {
		return nil, fmt.Errorf("cuda: %w", err)
	}
	if err := e.allocatePages(); err != nil {
		return nil, err
	}
	e.info.WeightBytes = e.weights.bytes
	return e, nil
}

// allocateSteps allocates what steps compute in.
func (e *engine) allocateSteps() error {
	c, t, s := e.config, int64(e.info.MaxStepTokens), int64(e.info.Slots)
	e.ld = (c.Vocab + 7) &^ 7
	scratch := kernel.ScratchFor(e.shape, e.info.Slots, e.decodeBlocks)
	width := int64((c.Heads + 2*c.KVHeads) * c.HeadDim)
	var workspace kernel.Ptr
	list := []sized{
		{&e.slots, s * int64(unsafe.Sizeof(kernel.Slot{})), "sampling parameters"},
		{&e.last, 4 * s, "last tokens"},
		{&e.tokens, 4 * t, "tokens"},
		{&e.positions, 4 * t, "positions"},
		{&e.tokenSlots, 4 * t, "slots"},
		{&e.rowSlots, 4 * s, "rows"},
		{&e.rowLens, 4 * s, "lengths"},
		{&e.draws, s * int64(unsafe.Sizeof(kernel.Draw{})), "draws"},
		{&e.drawTokens, 4 * s, "draws"},
		{&e.result, 8, "results"},
		{&e.x, 4 * t * int64(c.Hidden), "hidden states"},
		{&e.normed, 2 * t * int64(c.Hidden), "normed states"},
		{&e.qkv, 4 * t * width, "queries, keys, values"},
		{&e.q, 2 * t * int64(c.Heads*c.HeadDim), "queries"},
		{&e.mixed, 2 * t * int64(c.Heads*c.HeadDim), "attention"},
		{&e.logits, 4 * s * int64(e.ld), "logits"},
		{&e.shaped, 4 * s * int64(e.ld), "shaped logits"},
		{&e.counts, 4 * s * int64(c.Vocab), "token counts"},
		{&e.parts, s * kernel.PartBytes, "sampling"},
		{&e.first, scratch.First, "decode attention"},
		{&e.runs, scratch.Runs, "decode attention"},
		{&e.partial, scratch.Partial, "decode attention"},
		{&e.stats, scratch.Stats, "decode attention"},
		{&e.arrived, scratch.Arrived, "decode attention"},
		{&workspace, workspaceBytes, "cuBLASLt"},
	}
	if m := c.MoE; m != nil {
		list = append(list, e.mixture.sizes(c, e.info.MaxStepTokens)...)
		list = append(list, sized{&e.activated, 2 * t * int64(m.PerToken*m.Intermediate), "activations"})
	} else {
		list = append(list, sized{&e.gateUp, 4 * t * int64(c.Intermediate), "gates"}, sized{&e.activated, 2 * t * int64(c.Intermediate), "activations"})
	}
	for _, a := range list {
		p, err := e.allocate(a.bytes, a.what)
		if err != nil {
			return err
		}
		*a.at = p
	}
	var err error
	e.blas, err = newBlas(workspace, e.compute)
	return err
}

// allocatePages allocates what grows with pages and sequences.
func (e *engine) allocatePages() (err error) {
	c := e.config
	if e.kv, err = e.allocate(e.info.KVBytes, "pages of keys and values"); err != nil {
		return err
	}
	if e.table, err = e.allocate(4*int64(e.info.Slots)*int64(e.stride()), "the page table"); err != nil {
		return err
	}
	angles := ropeAngles(c, e.info.MaxSeqLen)
	if e.angles, err = e.allocate(4*int64(len(angles)), "angles"); err != nil {
		return err
	}
	if err := e.compute.Synchronize(); err != nil {
		return fmt.Errorf("cuda: clearing memory: %w", err)
	}
	if err := cu.MemcpyHtoD(cu.DevicePtr(e.angles), unsafe.Pointer(&angles[0]), 4*int64(len(angles))); err != nil {
		return fmt.Errorf("cuda: copying angles: %w", err)
	}
	return settled()
}

// stride is the page table's row length.
func (e *engine) stride() int { return e.info.PagesPerSlot() }

// reserve returns memory for a slot's lists. Growing waits for the device,
// which a longer list than any before in this slot may cost.
func (e *engine) reserve(slot int32, bytes int64) (kernel.Ptr, error) {
	l := e.lists[slot]
	if l.bytes >= bytes {
		return l.at, nil
	}
	if l.at != 0 {
		if err := cu.MemFree(cu.DevicePtr(l.at)); err != nil {
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

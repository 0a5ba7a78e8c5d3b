package cuda

import (
	"fmt"
	"math"
	"slices"

	"github.com/troupe-llm/troupe/gpu/kernel"
	"github.com/troupe-llm/troupe/gpu/kernel/lower"
	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/gpu/program"
)

// plans are a program compiled: for every kind of pass its kernels in order, with
// everything that does not change from step to step.
type plans struct {
	skinny    int // most rows of the head for few
	bodies    []body
	alone     onePass    // instead of the first of bodies where a decode row is all there is
	few, many []stage    // heads
	products  []loadable // by cuBLASLt
	castBytes int64      // that machine.cast must have
	wideBytes int64      // that machine.fours.wide must have
	copied    int64      // that each of machine.landing.inboxes must have
}

// body is a pass up to the rows that are looked at, for up to so many tokens.
type body struct {
	most   int
	stages []stage
}

// stage is what one kernel does, or two that belong together.
type stage struct {
	name string // of the kind of work, which timings go by: "qkv"
	at   string // what it writes: "layers.3.qkv"
	run  run
}

type run func(*work) error

// work is how much a pass of the model computes. The numbers are fixed in a
// graph; what they stand for is read from the device's memory.
type work struct {
	tokens, decodes int
	ntiles, nspans  int // of prefill rows; at most, in a graph
	// Of the head: the numbers of the tokens whose logits it makes, and how many.
	rows    kernel.Ptr
	sampled int
}

// n is how many rows a value has.
func (w *work) n(v *program.Value) int {
	switch v.Rows {
	case program.Sampled:
		return w.sampled
	case program.Entries:
		return w.tokens * v.PerToken
	default:
		return w.tokens
	}
}

func (p *plans) body(w *work) []stage {
	if p.isAlone(w) {
		return p.alone.stages
	}
	i := slices.IndexFunc(p.bodies, func(b body) bool { return w.tokens <= b.most })
	return p.bodies[i].stages
}

func (p *plans) head(rows int) []stage {
	if rows <= p.skinny {
		return p.few
	}
	return p.many
}

// machine is what stages run kernels on, and the memory that these find things
// in, of which begin fills the first lines.
type machine struct {
	meetings
	kernels kernel.Queue
	// deterministic says that a row's values may depend on no other row: see deterministic.go.
	deterministic bool
	multiply      func(factors) error // by cuBLASLt
	shape         kernel.Shape
	blocks        int // of kernels that fill the device, of which two fit on a multiprocessor
	decodeBlocks  int
	most          map[program.Rows]int // that there is memory for; of Entries if a token had one
	stride        int                  // of the page table's rows

	tokens, positions, tokenSlots kernel.Ptr        // i32 [MaxStepTokens]
	rowSlots, rowLens             kernel.Ptr        // [Slots]
	table                         kernel.Ptr        // i32 [Slots, stride]
	tiles, spans                  kernel.Ptr        // kernel.Tile and kernel.Span of prefill rows, in order
	counts                        kernel.Ptr        // i32: how many tiles, and spans
	queries                       kernel.Ptr        // bf16 [MaxStepTokens, Heads, HeadDim], as RoPE leaves them
	partial, stats, arrived       kernel.Ptr        // of decode attention
	kept, parts, joined           kernel.Ptr        // of deterministic attention: kernel.Shape.SplitScratch
	divisions                     map[int]*division // by window
	routes                        routes
	cast                          kernel.Ptr    // what a product reads of values that are not as it wants them
	rowScales                     [4]kernel.Ptr // f32 [MaxStepTokens] each, in turns: of rows that are quantised

	fours   fours
	alone   alone
	held    model.Held
	weights map[*program.Weight]kernel.Ptr
	scales  map[*program.Weight]scales    // of those that are codes
	values  map[*program.Value]kernel.Ptr // those with memory of their own
	caches  map[*program.Cache]kernel.Ptr // bf16 [NumPages, 2, KVHeads, PageSize, HeadDim]; shared ones without the 2
	// Of keys and values in codes, which caches are then: their scales, f32 [NumPages,
	// 2, KVHeads, PageSize], and pages in bf16 for the layer at hand.
	cacheScales map[*program.Cache]kernel.Ptr
	knownScales map[string]model.CacheScales // by caches' names, of those whose scales are not measured
	widened     kernel.Ptr
	angles      map[*program.Rotary]kernel.Ptr
	states      map[*program.State]kernel.Ptr // f32 [Slots + Snapshots, Elements]
}

// rows is the most that a value with so many entries per token has.
func (m *machine) rows(r program.Rows, perToken int) int { return m.most[r] * max(1, perToken) }

// scales are a weight's: see kernel.SkinnyArgs.
type scales struct {
	at     kernel.Ptr
	stride int32
}

// compiler turns ops into stages. Functions for ops note what no kernel does and
// go on.
type compiler struct {
	*machine
	elements map[*program.Value]int
	products []loadable
	castRows int64 // bytes that cast takes
	// wideBytes are those that fours.wide takes.
	wideBytes int64
	coded
	from   int  // the fewest rows of what is being compiled
	skinny bool // products are of few rows
	// What lies in the machine's own memory: the last queries and routes.
	turned, routed *program.Value
	sumsOver       []*program.AllReduce // of a pass, in order
	copiedSums     []*program.AllReduce // those that are copied
	copied         int64                // bytes that an inbox of copies takes
	// shared says that the product of the last routes put shares into its rows.
	shared bool
	err    error // the first
}

// compile makes a program's plans, or says which of its ops has no kernel. A
// machine without memory will do for the answer.
func compile(p *program.Program, m *machine) (*plans, error) {
	l := m.lowering(p)
	c := compiler{machine: m, elements: elementsOf(p), from: 1}
	for _, op := range p.Body() {
		if o, is := op.(*program.AllReduce); is {
			c.sumsOver = append(c.sumsOver, o)
		}
	}
	c.copiedSums = copiedSums(l)
	out := &plans{skinny: l.SkinnyHead}
	for _, most := range append(l.Buckets(), math.MaxInt) {
		c.skinny = most <= l.Skinny
		stages := c.stages(l.Body(most))
		out.bodies = append(out.bodies, body{most, slices.Insert(stages, 1, stage{"plan", "of decode attention", c.plan(p)})})
		c.from = most + 1
	}
	if l.Skinny > 0 {
		out.alone = c.onePass(l.Body(1), l.Head(1))
	}
	if l.SkinnyHead > 0 {
		c.from, c.skinny = 1, true
		out.few = c.stages(l.Head(l.SkinnyHead))
	}
	c.from, c.skinny = l.SkinnyHead+1, false
	out.many = c.stages(l.Head(math.MaxInt))
	out.products, out.castBytes, out.wideBytes, out.copied = c.products, c.castRows, c.wideBytes, c.copied
	return out, c.err
}

func (c *compiler) stages(ops []program.Op) []stage {
	var list []stage
	c.coded = newCoded(ops)
	for _, op := range ops {
		sound := c.err == nil
		s := stage{op.Name(), made(op), c.op(op)}
		if sound && c.err != nil {
			c.err = fmt.Errorf("%s (%s): %w", s.at, kernelName(op), c.err)
		}
		list = append(list, s)
	}
	return list
}

// made is the name of what an op makes, the first of several, or else of what it
// reads.
func made(op program.Op) string {
	if f, is := op.(*program.Fused); is {
		op = f.Ops[0]
	}
	u := op.Uses()
	return slices.Concat(u.Writes, u.Reads)[0].Name
}

func kernelName(op program.Op) string {
	if f, is := op.(*program.Fused); is {
		return f.String()
	}
	return op.Name()
}

// need refuses an op for which something does not hold that its kernel needs.
func (c *compiler) need(holds bool, format string, args ...any) {
	if !holds && c.err == nil {
		c.err = fmt.Errorf(format, args...)
	}
}

func (c *compiler) op(op program.Op) run {
	switch o := op.(type) {
	case *program.Embed:
		return c.embed(o)
	case *program.Norm:
		return c.norm(o, nil)
	case *program.Product:
		return c.product(o, o.Out, false)
	case *program.AddBias:
		return c.addBias(o)
	case *program.Gate:
		return c.gate(o)
	case *program.Rope:
		return c.rope(o)
	case *program.Store:
		return c.store(o)
	case *program.Add:
		return c.addRows(o)
	case *program.Multiply:
		return c.multiplyRows(o)
	case *program.Scale:
		return c.scale(o)
	case *program.PositionScale:
		return c.positionScale(o)
	case *program.Gather:
		return c.gather(o)
	case *program.CopyHeads:
		return c.copyHeads(o)
	case *program.HeadProduct:
		return c.headProduct(o)
	case *program.Conv:
		return c.conv(o)
	case *program.Delta:
		return c.delta(o)
	case *program.Attend:
		return c.attend(o)
	case *program.Route:
		return c.group(o)
	case *program.ExpertProduct:
		return c.experts(o)
	case *program.ExpertBias:
		return c.expertBias(o)
	case *program.Combine:
		return c.combine(o, o.Out, false)
	case *program.AllReduce:
		return c.reduce(o, nil)
	case *program.AllGather:
		return c.gatherRanks(o)
	case *program.Fused:
		if f := fused[o.Rule.Name]; f != nil {
			return f(c, o)
		}
	}
	c.need(false, "there is no kernel for it")
	return nil
}

// fused is what compiles which kernel of several ops.
var fused = map[string]func(*compiler, *program.Fused) run{
	lower.SkinnyNorm.Name:   (*compiler).skinnyNorm,
	lower.SkinnyGate.Name:   (*compiler).skinnyGate,
	lower.ProductAdd.Name:   (*compiler).productAdd,
	lower.ProductAddNorm:    (*compiler).productAddNorm,
	lower.Int4Gate:          (*compiler).int4Gate,
	lower.GatherNorm.Name:   (*compiler).gatherNorm,
	lower.RopeWrite.Name:    (*compiler).ropeWrite,
	lower.Route.Name:        (*compiler).routeAtOnce,
	lower.ExpertsUp.Name:    (*compiler).expertsUp,
	lower.Combine.Name:      (*compiler).combineAdd,
	lower.ReduceAdd.Name:    (*compiler).reduceAdd,
	lower.SkinnyReduce.Name: (*compiler).skinnyReduce,
	lower.ReduceAddNorm:     (*compiler).reduceAddNorm,
	lower.ProductReduce:     (*compiler).productReduce,
	lower.ProductReduceNorm: (*compiler).productReduce,
}

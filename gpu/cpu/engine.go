package cpu

import (
	"fmt"
	"time"

	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/gpu/program"
)

var defaults = device.Defaults{
	Slots:       64,
	PageSize:    16,
	MaxSeqLen:   32768,
	StepTokens:  256,      // keeps a step of a 0.6 B model near a second on two cores
	MemoryRatio: 0.5,      // the host has other things to do
	PageBytes:   16 << 30, // they cost memory when first written, not before
	Snapshots:   0.25,
}

// engine is the model with its memory: everything a step reads and writes.
// One goroutine owns it.
type engine struct {
	info    device.Info
	program *program.Program
	plan    *plan
	weights *weights
	kernels *kernels
	pool    *pool
	rank    *device.Rank // nil: it has the model to itself

	cache   cache
	states  states
	slots   []slot
	table   []int32 // [Slots, perSlot]
	perSlot int

	work workspace
	// Of the step at hand: how long it met other ranks, and waited for them in that.
	reducing, waiting time.Duration
	// inspect, when set by a test, sees the logits of every sampled row
	// before anything is done to them.
	inspect func(step *batch.Step, row int, logits []float32)
}

// slot is what the device keeps for a request from step to step.
type slot struct {
	sampling batch.Sampling
	last     int32 // the token sampled last
	// seen counts, for penalties: the occurrences in the output, or 0 for a
	// token of the prompt only. Nil when the slot has no penalty.
	seen map[int32]int32
}

func newEngine(spec device.Spec, k *kernels, p *pool) (*engine, device.Info, error) {
	return newEngineBy(spec, k, p, rules)
}

// newEngineBy is of a program that is fused by rules.
func newEngineBy(spec device.Spec, k *kernels, p *pool, rules []*program.Rule) (*engine, device.Info, error) {
	m := spec.Model
	asked, dtype, err := weightType(spec.DType, m.Config.DType)
	if err != nil {
		return nil, device.Info{}, err
	}
	info, err := defaults.Settle(&spec)
	if err != nil {
		return nil, info, fmt.Errorf("cpu: %w", err)
	}
	if info.KVDType, err = cacheType(spec.KVDType, dtype); err != nil {
		return nil, info, err
	}
	info.Name, info.Hardware, info.Scores = "cpu", Probe().hardware(k, p.size), true
	pl := newPlan(m.Config.Program, rules)
	b, err := newBuilder(m, asked, pl)
	if err != nil {
		return nil, info, err
	}
	info.DType, info.Beside = b.types(dtype)
	_, available := memory()
	available /= int64(beside(&spec))
	room := device.Memory{All: available, Taken: b.bytes(), Token: m.Config.CacheBytes(info.KVDType)}
	if err := defaults.FitPages(&info, &spec, room); err != nil {
		return nil, info, fmt.Errorf("cpu: %w", err)
	}
	if err := ranked(m.Config.Program, spec.Rank); err != nil {
		return nil, info, err
	}
	e := &engine{info: info, program: m.Config.Program, plan: pl, kernels: k, pool: p, rank: spec.Rank, perSlot: info.PagesPerSlot()}
	e.work.angles = make([][]float32, len(e.program.Rotary))
	if e.weights, err = b.load(p, spec.Progress); err != nil {
		return nil, info, err
	}
	e.slots = make([]slot, info.Slots)
	e.table = make([]int32, info.Slots*e.perSlot)
	e.states = newStates(e.program, info.Slots+info.Snapshots)
	if e.cache, err = newCache(e.program, &info); err == nil {
		err = e.compile()
	}
	if err != nil {
		_, _ = release(e.weights.memory), release(e.cache.memory)
		return nil, info, err
	}
	info.WeightBytes = int64(len(e.weights.memory))
	_, free := memory()
	info.FreeBytes = max(free-info.KVBytes-info.StateBytes*int64(info.Slots+info.Snapshots), 0)
	e.info = info
	return e, info, nil
}

// Size says as what a processor holds the weights of a model of which that type is
// asked for, "" for as they are, and how many bytes their matrices take there.
func Size(m *model.Model, asked model.DType) (held string, bytes int64, err error) {
	asked, mostly, err := weightType(asked, m.Config.DType)
	if err != nil {
		return "", 0, err
	}
	b, err := newBuilder(m, asked, newPlan(m.Config.Program, rules))
	if err != nil {
		return "", 0, err
	}
	var info device.Info
	info.DType, info.Beside = b.types(mostly)
	return info.Formats(), b.bytes(), nil
}

// weightType decides how weights lie in memory: as is asked for, or, left open, as
// they are; float16, which has no kernels of its own, becomes float32. What they
// mostly are then is held.
func weightType(want, own model.DType) (asked, held model.DType, err error) {
	switch want {
	case model.Float32, model.BFloat16, model.Int8, model.Int4:
		return want, want, nil
	case "", "auto":
		e, err := Formats.Held(model.Plain(own))
		return "", e.Element, err
	}
	return "", "", fmt.Errorf("cpu: weights of type %q; the CPU device keeps float32, bfloat16, int8 or int4", want)
}

// free gives all memory back.
func (e *engine) free() error {
	e.pool.close()
	err := release(e.weights.memory)
	if err2 := release(e.cache.memory); err == nil {
		err = err2
	}
	e.weights, e.cache = nil, cache{}
	return err
}

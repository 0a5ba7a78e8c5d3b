package cpu

import (
	"fmt"
	"math"

	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/model"
)

// Defaults of sizes the Spec leaves open.
const (
	defaultSlots      = 64
	defaultPageSize   = 16
	defaultStepTokens = 256 // keeps a step of a 0.6 B model near a second on two cores
	maxSeqLen         = 32768
	// defaultRatio of the available memory goes to weights and pages: the
	// host has other things to do.
	defaultRatio = 0.5
	// defaultKV bounds the pages when nothing is asked for. Pages cost memory
	// when first written, not before.
	defaultKV = 16 << 30
)

// engine is the model with its memory: everything a step reads and writes.
// One goroutine owns it.
type engine struct {
	config  *model.Config
	weights *weights
	kernels *kernels
	pool    *pool

	invFreq []float32 // [HeadDim/2]
	cache   cache
	slots   []slot
	table   []int32 // [Slots, pagesPerSlot]
	perSlot int

	work workspace
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
	m := spec.Model
	c := m.Config // a copy: the model may be closed
	dtype, err := weightType(spec.DType, c.DType)
	if err != nil {
		return nil, device.Info{}, err
	}
	info := device.Info{
		Name: "cpu", Hardware: Probe().hardware(k, p.size), DType: dtype,
		Slots: spec.Slots, PageSize: spec.PageSize, NumPages: spec.NumPages,
		MaxSeqLen: spec.MaxSeqLen, MaxStepTokens: spec.MaxStepTokens,
		Vocab: c.Vocab, Scores: true,
	}
	_, available := memory()
	if err := size(&info, &c, &spec, available); err != nil {
		return nil, info, err
	}
	w, err := load(m, dtype, p, spec.Progress)
	if err != nil {
		return nil, info, err
	}
	e := &engine{config: &c, weights: w, kernels: k, pool: p, perSlot: pagesPerSlot(&info)}
	for _, f := range c.Rope.InvFreq(c.HeadDim) {
		e.invFreq = append(e.invFreq, float32(f))
	}
	e.slots = make([]slot, info.Slots)
	e.table = make([]int32, info.Slots*e.perSlot)
	if e.cache, err = newCache(&c, info.PageSize, info.NumPages); err != nil {
		_ = release(w.memory)
		return nil, info, err
	}
	info.WeightBytes, info.KVBytes = int64(len(w.memory)), int64(len(e.cache.memory))
	_, free := memory()
	info.FreeBytes = max(free-info.KVBytes, 0)
	return e, info, nil
}

// weightType decides how weights lie in memory. Left open it loses nothing:
// float16, which has no kernels of its own, becomes float32.
func weightType(asked, own model.DType) (model.DType, error) {
	switch asked {
	case model.Float32, model.BFloat16:
		return asked, nil
	case "", "auto":
		if own == model.BFloat16 {
			return own, nil
		}
		return model.Float32, nil
	}
	return "", fmt.Errorf("cpu: weights of type %q; the CPU device keeps float32 or bfloat16", asked)
}

// size fills in what the Spec left open and checks the rest, given the
// available memory in bytes.
func size(info *device.Info, c *model.Config, spec *device.Spec, available int64) error {
	for _, f := range []struct {
		name  string
		value int
	}{
		{"slots", info.Slots},
		{"page size", info.PageSize},
		{"pages", info.NumPages},
		{"maximal sequence length", info.MaxSeqLen},
		{"tokens per step", info.MaxStepTokens},
	} {
		if f.value < 0 {
			return fmt.Errorf("cpu: %s is %d; it must be positive, or 0 for a default", f.name, f.value)
		}
	}
	if spec.MemoryRatio < 0 || spec.MemoryRatio > 1 || math.IsNaN(spec.MemoryRatio) {
		return fmt.Errorf("cpu: memory ratio %v is not between 0 and 1", spec.MemoryRatio)
	}
	or := func(v *int, other int) {
		if *v == 0 {
			*v = other
		}
	}
	if info.MaxStepTokens > 0 { // of which half are left for prompts
		or(&info.Slots, min(defaultSlots, max(1, info.MaxStepTokens/2)))
	}
	or(&info.Slots, defaultSlots)
	or(&info.PageSize, defaultPageSize)
	or(&info.MaxStepTokens, max(defaultStepTokens, 2*info.Slots))
	if info.MaxStepTokens < info.Slots {
		return fmt.Errorf("cpu: %d tokens per step are fewer than the %d slots, which may all decode", info.MaxStepTokens, info.Slots)
	}
	limit := c.MaxPositions
	if limit <= 0 {
		limit = maxSeqLen
	}
	if info.MaxSeqLen > limit {
		return fmt.Errorf("cpu: sequences of %d tokens; the model has %d positions", info.MaxSeqLen, limit)
	}
	or(&info.MaxSeqLen, min(limit, maxSeqLen))

	page := pageBytes(c, info.PageSize)
	if info.NumPages == 0 {
		ratio, most := spec.MemoryRatio, int64(math.MaxInt64)
		if ratio == 0 {
			ratio, most = defaultRatio, defaultKV
		}
		budget := min(int64(ratio*float64(available))-c.WeightBytes(info.DType), most)
		info.NumPages = int(min(budget/page, int64(info.Slots*pagesPerSlot(info))))
		if info.NumPages <= 0 {
			return fmt.Errorf("cpu: %d MiB of weights leave no memory for pages: %d MiB available, of which a share of %.2g may be used; choose a smaller model or a larger share",
				c.WeightBytes(info.DType)>>20, available>>20, ratio)
		}
	}
	// A sequence that outgrows all pages could never finish.
	if all := info.NumPages * info.PageSize; info.MaxSeqLen > all {
		if spec.MaxSeqLen != 0 {
			return fmt.Errorf("cpu: sequences of %d tokens do not fit in %d pages of %d", info.MaxSeqLen, info.NumPages, info.PageSize)
		}
		info.MaxSeqLen = all
	}
	return nil
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

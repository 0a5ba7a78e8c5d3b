package device

import (
	"cmp"
	"fmt"
	"math"

	"github.com/troupe-llm/troupe/gpu/model"
)

// Defaults are the sizes that suit a device, for those a Spec leaves open.
type Defaults struct {
	Slots       int
	PageSize    int
	MaxSeqLen   int     // or the model's positions, if these are fewer
	StepTokens  int     // or two a slot, if that is more
	MemoryRatio float64 // share of the memory for weights and pages

	PageBytes int64 // for pages at most, unless a share is asked for; 0: no bound
	Reserve   int64 // bytes that no share includes

	// Snapshots is how many bytes of snapshots of states there are for one of pages;
	// 0: the device takes none.
	Snapshots float64
	// Drafts is for how many draft tokens of a step there is room at most, where Spec.Drafts
	// asks for any; 0: for as many as there are tokens, whatever is asked for.
	Drafts int
}

// maxDrafts is how many draft tokens of a slot Spec.Drafts makes room for.
const maxDrafts = 8

// GPU suits a GPU, real or simulated.
var GPU = Defaults{
	Slots: 256, PageSize: 16, MaxSeqLen: math.MaxInt, StepTokens: 8192, MemoryRatio: 0.9,
	Reserve:   1 << 30, // for graphs, modules and the libraries' own
	Snapshots: 0.25,
	Drafts:    256, // with more a step is bound by arithmetic, and drafts do not pay
}

// Settle decides on the sizes that do not depend on memory, for spec.Model, and
// refuses what cannot be had. The Info has nothing else yet.
func (d *Defaults) Settle(spec *Spec) (Info, error) {
	for _, f := range []struct {
		name  string
		value int
	}{
		{"slots", spec.Slots},
		{"page size", spec.PageSize},
		{"pages", spec.NumPages},
		{"maximal sequence length", spec.MaxSeqLen},
		{"tokens per step", spec.MaxStepTokens},
	} {
		if f.value < 0 {
			return Info{}, fmt.Errorf("%s is %d; it must be positive, or 0 for a default", f.name, f.value)
		}
	}
	if !(spec.MemoryRatio >= 0 && spec.MemoryRatio <= 1) {
		return Info{}, fmt.Errorf("memory ratio %v is not between 0 and 1", spec.MemoryRatio)
	}
	positions := spec.Model.Config.MaxPositions
	if spec.MaxSeqLen > positions {
		return Info{}, fmt.Errorf("sequences of %d tokens; the model has %d positions", spec.MaxSeqLen, positions)
	}
	slots := d.Slots
	if spec.MaxStepTokens > 0 { // of which half are left for prompts
		slots = min(slots, max(1, spec.MaxStepTokens/2))
	}
	slots = cmp.Or(spec.Slots, slots)
	info := Info{
		Slots:         slots,
		PageSize:      cmp.Or(spec.PageSize, d.PageSize),
		NumPages:      spec.NumPages,
		MaxSeqLen:     cmp.Or(spec.MaxSeqLen, min(d.MaxSeqLen, positions)),
		MaxStepTokens: cmp.Or(spec.MaxStepTokens, max(d.StepTokens, 2*slots)),
		Vocab:         spec.Model.Config.Vocab,
		Deterministic: spec.Deterministic,
	}
	if p := spec.Model.Config.Program; p != nil {
		info.StateBytes, info.Window = stateBytes*p.StateElements(), p.Window()
	}
	if info.MaxStepTokens < slots {
		return Info{}, fmt.Errorf("%d tokens per step are fewer than the %d slots, which may all decode", info.MaxStepTokens, slots)
	}
	if info.StateBytes == 0 { // states cannot go back to before a rejected draft
		info.MaxDraws = d.draws(spec, &info)
	}
	return info, nil
}

// draws is how many tokens a step may draw. Each takes a row of logits, of which without
// Spec.Drafts there are no more than slots.
func (d *Defaults) draws(spec *Spec, info *Info) int {
	switch {
	case d.Drafts == 0:
		return info.MaxStepTokens
	case spec.Drafts:
		return min(info.Slots+min(maxDrafts*info.Slots, d.Drafts), info.MaxStepTokens)
	}
	return info.Slots
}

// GPUToken is what a position takes on a GPU: its keys and values in all layers and,
// of FP8, one layer's in bfloat16, to which those are widened that attention over
// prompts reads.
func GPUToken(c *model.Config, kv model.DType) int64 {
	n, most := c.CacheBytes(kv), 0
	if kv == model.Float8 {
		for _, l := range c.Program.Caches {
			most = max(most, l.Elements())
		}
	}
	return n + int64(most*model.BFloat16.Size())
}

// stateBytes is what an element of a state takes: float32 on every device, since
// what is rounded off would add up over a sequence.
const stateBytes = 4

// Memory is what pages are taken from, in bytes.
type Memory struct {
	All   int64 // of which a share may be used
	Taken int64 // of that, by weights and whatever else is neither page nor state
	Token int64 // what one position's keys and values take, in all layers
}

// FitPages decides how many pages of a settled Info there are: what was asked
// for, or what memory has room for beside the states of all slots, and all slots
// can fill; and how many snapshots of states go with them.
func (d *Defaults) FitPages(info *Info, spec *Spec, m Memory) error {
	m.Taken += int64(info.Slots) * info.StateBytes
	page := m.Token * int64(info.PageSize)
	snapshots := d.Snapshots
	if info.StateBytes == 0 {
		snapshots = 0
	}
	if info.NumPages == 0 {
		ratio := cmp.Or(spec.MemoryRatio, d.MemoryRatio)
		usable := min(int64(ratio*float64(m.All)), m.All-d.Reserve)
		room := usable - m.Taken
		if spec.MemoryRatio == 0 && d.PageBytes > 0 {
			room = min(room, d.PageBytes)
		}
		room = int64(float64(room) / (1 + snapshots))
		info.NumPages = int(min(room/page, int64(info.Slots)*int64(info.PagesPerSlot())))
		if info.NumPages <= 0 {
			return fmt.Errorf("no memory for pages: weights and what goes with them take %d MiB of %d that may be used, at most a share of %.2g of %d; choose a smaller model or a larger share",
				m.Taken>>20, usable>>20, ratio, m.All>>20)
		}
	}
	var err error
	if info.NumPages, err = spec.Rank.least(info.NumPages); err != nil {
		return err
	}
	info.KVBytes = page * int64(info.NumPages)
	if snapshots > 0 { // a page has use for one
		info.Snapshots = min(info.NumPages, int(snapshots*float64(info.KVBytes))/int(info.StateBytes))
	}
	// A sequence that outgrows all pages could never finish.
	if all := info.NumPages * info.PageSize; info.MaxSeqLen > all {
		if spec.MaxSeqLen != 0 {
			return fmt.Errorf("sequences of %d tokens do not fit in %d pages of %d", info.MaxSeqLen, info.NumPages, info.PageSize)
		}
		info.MaxSeqLen = all
	}
	return nil
}

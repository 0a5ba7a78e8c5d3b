package device

import (
	"math"
	"strings"
	"testing"

	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/gpu/program"
)

const (
	gib   = 1 << 30
	token = 1 << 10 // bytes
	page  = 16 * token
)

// Room for draws is for all that a step may have where they cost nothing; on a GPU for those of
// idle slots, and for drafts of all where they are asked for.
func TestDraws(t *testing.T) {
	for _, c := range []struct {
		defaults Defaults
		spec     Spec
		want     int
	}{
		{small, Spec{Slots: 3}, 256},
		{GPU, Spec{Slots: 3}, 3},
		{GPU, Spec{Slots: 3, Drafts: true}, 27},
		{GPU, Spec{Slots: 100, Drafts: true}, 356},
		{GPU, Spec{Slots: 100, MaxStepTokens: 200, Drafts: true}, 200},
	} {
		if info, err := sizes(c.defaults, c.spec, 512, 80*gib); err != nil || info.MaxDraws != c.want {
			t.Errorf("%+v: %d draws, want %d; %v", c.spec, info.MaxDraws, c.want, err)
		}
	}
}

var small = Defaults{Slots: 64, PageSize: 16, MaxSeqLen: 2048, StepTokens: 256, MemoryRatio: 0.5, PageBytes: gib}

// sizes settles a spec for a model of some positions, its weights taking 1 GiB.
func sizes(d Defaults, spec Spec, positions int, all int64) (Info, error) {
	spec.Model = &model.Model{Config: model.Config{MaxPositions: positions, Vocab: 100}}
	info, err := d.Settle(&spec)
	if err != nil {
		return info, err
	}
	return info, d.FitPages(&info, &spec, Memory{All: all, Taken: gib, Token: token})
}

func TestSizes(t *testing.T) {
	for name, c := range map[string]struct {
		defaults Defaults
		spec     Spec
		memory   int64
		want     Info
	}{
		"all defaults": {small, Spec{}, 8 * gib, Info{Slots: 64, PageSize: 16, MaxSeqLen: 512, MaxStepTokens: 256, NumPages: 64 * 32}},
		"of a GPU":     {GPU, Spec{}, 80 * gib, Info{Slots: 256, PageSize: 16, MaxSeqLen: 512, MaxStepTokens: 8192, NumPages: 256 * 32}},
		"what is asked": {
			small,
			Spec{Slots: 3, PageSize: 8, NumPages: 50, MaxSeqLen: 100, MaxStepTokens: 77},
			gib,
			Info{Slots: 3, PageSize: 8, NumPages: 50, MaxSeqLen: 100, MaxStepTokens: 77},
		},
		"steps hold all slots":   {small, Spec{Slots: 300, NumPages: 64}, gib, Info{Slots: 300, PageSize: 16, MaxSeqLen: 512, MaxStepTokens: 600, NumPages: 64}},
		"small steps, few slots": {small, Spec{MaxStepTokens: 40, NumPages: 64}, gib, Info{Slots: 20, PageSize: 16, MaxSeqLen: 512, MaxStepTokens: 40, NumPages: 64}},
		"the smallest step":      {small, Spec{MaxStepTokens: 1, NumPages: 64}, gib, Info{Slots: 1, PageSize: 16, MaxSeqLen: 512, MaxStepTokens: 1, NumPages: 64}},
		// A quarter of 4 GiB and 40 pages is the weights and 10 pages.
		"a share of memory":       {small, Spec{MemoryRatio: 0.25}, 4*gib + 40*page, Info{Slots: 64, PageSize: 16, MaxSeqLen: 160, MaxStepTokens: 256, NumPages: 10}},
		"half of it unless asked": {small, Spec{}, 2*gib + 20*page, Info{Slots: 64, PageSize: 16, MaxSeqLen: 160, MaxStepTokens: 256, NumPages: 10}},
		"sequences as pages":      {small, Spec{NumPages: 3}, gib, Info{Slots: 64, PageSize: 16, MaxSeqLen: 48, MaxStepTokens: 256, NumPages: 3}},
		"a reserve":               {GPU, Spec{MemoryRatio: 1}, 2*gib + 5*page, Info{Slots: 256, PageSize: 16, MaxSeqLen: 80, MaxStepTokens: 8192, NumPages: 5}},
	} {
		t.Run(name, func(t *testing.T) {
			c.want.Vocab, c.want.KVBytes = 100, int64(c.want.NumPages*c.want.PageSize*token)
			if c.want.MaxDraws = 256; c.defaults.Drafts == 0 {
				c.want.MaxDraws = c.want.MaxStepTokens
			}
			if got, err := sizes(c.defaults, c.spec, 512, c.memory); err != nil || got != c.want {
				t.Errorf("%+v, %v\nwant %+v", got, err, c.want)
			}
		})
	}
}

// Long contexts are for who asks for them; and so is more than a bound of
// memory.
func TestSizesAreBounded(t *testing.T) {
	for _, c := range []struct {
		spec          Spec
		length, pages int
	}{
		{Spec{Slots: 1 << 12}, 2048, gib / page},
		{Spec{Slots: 1 << 12, MaxSeqLen: 5000}, 5000, gib / page},
		{Spec{Slots: 1 << 12, MemoryRatio: 0.5}, 2048, 7 * gib / page},
	} {
		got, err := sizes(small, c.spec, 1<<20, 16*gib)
		if err != nil || got.MaxSeqLen != c.length || got.NumPages != c.pages {
			t.Errorf("%+v: %+v, %v; want sequences of %d, %d pages", c.spec, got, err, c.length, c.pages)
		}
	}
}

func TestSizesRefuseWhatCannotBe(t *testing.T) {
	for want, c := range map[string]struct {
		spec   Spec
		memory int64
	}{
		"slots is -1; it must be positive, or 0 for a default": {Spec{Slots: -1}, gib},
		"page size is -2":                                                        {Spec{PageSize: -2}, gib},
		"pages is -3":                                                            {Spec{NumPages: -3}, gib},
		"maximal sequence length is -4":                                          {Spec{MaxSeqLen: -4}, gib},
		"tokens per step is -5":                                                  {Spec{MaxStepTokens: -5}, gib},
		"memory ratio 1.5 is not between 0 and 1":                                {Spec{MemoryRatio: 1.5}, gib},
		"memory ratio NaN":                                                       {Spec{MemoryRatio: math.NaN()}, gib},
		"sequences of 513 tokens; the model has 512 positions":                   {Spec{MaxSeqLen: 513}, gib},
		"sequences of 100 tokens do not fit in 6 pages of 16":                    {Spec{MaxSeqLen: 100, NumPages: 6}, gib},
		"8 tokens per step are fewer than the 9 slots, which may all":            {Spec{Slots: 9, MaxStepTokens: 8}, gib},
		"take 1024 MiB of 1024 that may be used, at most a share of 0.5 of 2048": {Spec{}, 2 * gib},
	} {
		if got, err := sizes(small, c.spec, 512, c.memory); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v, %v; want an error with %q", got, err, want)
		}
	}
}

// States of all slots are there before pages are: here they take half of what
// weights leave.
func TestSizesWithStates(t *testing.T) {
	p := &program.Program{States: []*program.State{{Elements: 100}, {Elements: 1<<20 - 100}}}
	spec := Spec{MaxSeqLen: 1 << 16, Model: &model.Model{Config: model.Config{MaxPositions: 1 << 20, Vocab: 100, Program: p}}}
	info, err := small.Settle(&spec)
	if err == nil {
		err = small.FitPages(&info, &spec, Memory{All: 3 * gib, Taken: gib, Token: token})
	}
	if err != nil || info.StateBytes != 4<<20 || info.NumPages != gib/4/page {
		t.Errorf("%+v, %v; want states of 4 MiB for each of 64 slots, and pages in the 256 MiB that are left", info, err)
	}
	if info.Snapshots != 0 {
		t.Errorf("%d snapshots of a device that takes none", info.Snapshots)
	}
	d := small
	d.Snapshots = 1.0 / 3
	info.NumPages = 0
	err = d.FitPages(&info, &spec, Memory{All: 3 * gib, Taken: gib, Token: token})
	if err != nil || info.NumPages != 3*gib/16/page || info.Snapshots != 16 {
		t.Errorf("%+v, %v; want a quarter of those 256 MiB for snapshots of 4 MiB, the rest for pages", info, err)
	}
}

// Where all layers have windows, the widest counts.
func TestWindow(t *testing.T) {
	p := &program.Program{Caches: []*program.Cache{{Window: 512}, {Window: 1024}}}
	info, err := GPU.Settle(&Spec{Model: &model.Model{Config: model.Config{MaxPositions: 4096, Program: p}}})
	if err != nil || info.Window != 1024 {
		t.Errorf("%+v, %v; want a window of 1024", info, err)
	}
}

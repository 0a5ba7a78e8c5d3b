package cpu

import (
	"strings"
	"testing"

	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/model"
)

// enter gives a slot its first n pages.
func enter(s *batch.Step, slot int32, n int) {
	for i := range int32(n) {
		s.Pages = append(s.Pages, batch.PageEntry{Slot: slot, Index: i, Page: i})
	}
}

func tinySpec() device.Spec {
	return device.Spec{Model: tiny(), Slots: 4, PageSize: 4, NumPages: 40, MaxSeqLen: 32, MaxStepTokens: 16}
}

// Every way a step can be wrong, and the words that say so. Slot 0 holds four
// tokens and has drawn one; slot 1 holds two and has not.
func TestLaunchRefusesFaultySteps(t *testing.T) {
	for name, c := range map[string]struct {
		fault func(s *batch.Step)
		want  string
	}{
		"no such slot":        {func(s *batch.Step) { s.Rows[0].Slot = 4 }, "row 0 (slot 4): slot 4; the device has 4"},
		"slot never given":    {func(s *batch.Step) { s.Rows[1].Slot = 3 }, "never given"},
		"slot twice":          {func(s *batch.Step) { s.Rows[1].Slot = 0 }, "has a row in this step already"},
		"start too late":      {func(s *batch.Step) { s.Rows[1].Start = 3 }, "start 3; the slot holds 2 tokens"},
		"start too early":     {func(s *batch.Step) { s.Rows[0].Start = 3 }, "start 3; the slot holds 4 tokens"},
		"negative start":      {func(s *batch.Step) { s.Rows[0].Start = -1 }, "negative"},
		"nothing to decode":   {func(s *batch.Step) { s.Rows = s.Rows[1:]; s.Rows[0].Tokens = nil; s.NumTokens = 1 }, "drew no token"},
		"decode out of place": {func(s *batch.Step) { s.NumDecode = 0 }, "come first"},
		"too many decodes":    {func(s *batch.Step) { s.NumDecode = 3 }, "NumDecode is 3, with 2 rows"},
		"empty prefill":       {func(s *batch.Step) { s.Rows[1].Tokens = []int32{} }, "without tokens"},
		"unknown token":       {func(s *batch.Step) { s.Rows[1].Tokens = []int32{101, 1} }, "token 101; the vocabulary has 101"},
		"wrong count":         {func(s *batch.Step) { s.NumTokens = 4 }, "NumTokens is 4, its rows have 3"},
		"too many tokens":     {func(s *batch.Step) { enter(s, 1, 5); s.Rows[1].Tokens = make([]int32, 16); s.NumTokens = 17 }, "17 tokens; a step may have 16"},
		"past the end":        {func(s *batch.Step) { s.Rows[1].Tokens = make([]int32, 31); s.NumTokens = 32 }, "a sequence may have 32 tokens"},
		"page not entered":    {func(s *batch.Step) { s.Pages = nil }, "need page 1 of the slot, which was never entered"},
		"page out of range":   {func(s *batch.Step) { s.Pages[0].Page = 40 }, "page entry 0: page 40; the device has 40"},
		"index out of range":  {func(s *batch.Step) { s.Pages[0].Index = 8 }, "index 8; a slot has 8 pages"},
		"entry of no slot":    {func(s *batch.Step) { s.Pages[0].Slot = -1 }, "slot -1; the device has 4"},
		"init of no slot":     {func(s *batch.Step) { s.Slots = []batch.SlotInit{{Slot: 9}} }, "slot init 0: slot 9"},
		"bias of no token": {func(s *batch.Step) {
			s.Slots = []batch.SlotInit{{Slot: 2, Sampling: batch.Sampling{Bias: []batch.TokenBias{{Token: -1}}}}}
		}, "token -1"},
		"suppressing no token": {func(s *batch.Step) {
			s.Slots = []batch.SlotInit{{Slot: 2, Sampling: batch.Sampling{Suppress: []int32{500}}}}
		}, "token 500"},
		"unknown history": {func(s *batch.Step) { s.Slots = []batch.SlotInit{{Slot: 2, Output: []int32{500}}} }, "token 500"},
		"late and there":  {func(s *batch.Step) { s.Rows[0].Late, s.Rows[0].Allow = true, make([]uint32, 4) }, "has its mask already"},
		"late, undrawn":   {func(s *batch.Step) { s.Rows[1].Late, s.Rows[1].Sample = true, false }, "draws nothing"},
		"short allow":     {func(s *batch.Step) { s.Rows[0].Allow = make([]uint32, 3) }, "allow has 3 words; the vocabulary needs 4"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, tinySpec(), choose(), 1)
			s := &batch.Step{}
			r.give(s, 0, batch.Sampling{}, nil)
			r.give(s, 1, batch.Sampling{}, nil)
			r.row(s, 0, 0, []int32{1, 2, 3, 4}, true)
			r.row(s, 1, 0, []int32{5, 6}, false)
			r.run(s)
			next := &batch.Step{Seq: 2}
			r.row(next, 0, 4, nil, true)
			r.row(next, 1, 2, []int32{7, 8}, true)
			c.fault(next)
			err := r.d.Launch(next)
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "step 2") {
				t.Errorf("error %q, want one with %q", err, c.want)
			}
		})
	}
}

func TestOutstandingSteps(t *testing.T) {
	r := newRig(t, tinySpec(), choose(), 1)
	if err := r.d.Wait(&batch.Result{}); err == nil || !strings.Contains(err.Error(), "no step is outstanding") {
		t.Errorf("Wait for nothing: %v", err)
	}
	var steps [3]batch.Step
	r.give(&steps[0], 0, batch.Sampling{}, nil)
	r.row(&steps[0], 0, 0, []int32{1}, true)
	r.row(&steps[1], 0, 1, nil, true)
	r.row(&steps[2], 0, 2, nil, true)
	r.launch(&steps[0])
	r.launch(&steps[1])
	if err := r.d.Launch(&steps[2]); err == nil || !strings.Contains(err.Error(), "2 are outstanding") {
		t.Errorf("third launch: %v", err)
	}
	first, second := r.wait(), r.wait()
	if first.Seq != 1 || second.Seq != 2 {
		t.Errorf("results %d, %d; want 1, 2", first.Seq, second.Seq)
	}
	if first.Began > first.Ended || first.Ended > second.Began || second.Began > second.Ended || second.Ended > batch.Now() {
		t.Errorf("times %d–%d, %d–%d", first.Began, first.Ended, second.Began, second.Ended)
	}
}

// Steps may be outstanding at Close; afterwards nothing is launched.
func TestClose(t *testing.T) {
	d, err := open(tinySpec(), choose(), 2)
	if err != nil {
		t.Fatal(err)
	}
	s := &batch.Step{
		Slots: []batch.SlotInit{{Slot: 0}}, Pages: []batch.PageEntry{{}},
		Rows: []batch.Row{{Tokens: []int32{1, 2}, Sample: true}}, NumTokens: 2,
	}
	if err := d.Launch(s); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := d.Launch(s); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("Launch after Close: %v", err)
	}
}

// A step without rows only hands slots over.
func TestStepWithoutRows(t *testing.T) {
	r := newRig(t, tinySpec(), choose(), 1)
	s := &batch.Step{}
	r.give(s, 0, batch.Sampling{}, nil)
	if res := r.run(s); len(res.Tokens) != 0 || len(res.Logprobs) != 0 {
		t.Errorf("result %+v", res)
	}
}

func TestSizes(t *testing.T) {
	const gib = 1 << 30
	c := tiny().Config
	page := pageBytes(&c, 16)
	for name, k := range map[string]struct {
		spec      device.Spec
		positions int
		available int64
		want      device.Info
		err       string
	}{
		"all defaults": {device.Spec{}, 512, 8 * gib, device.Info{Slots: 64, PageSize: 16, MaxSeqLen: 512, MaxStepTokens: 256, NumPages: 64 * 32}, ""},
		"what is asked": {
			device.Spec{Slots: 3, PageSize: 8, NumPages: 50, MaxSeqLen: 100, MaxStepTokens: 77},
			512, gib,
			device.Info{Slots: 3, PageSize: 8, NumPages: 50, MaxSeqLen: 100, MaxStepTokens: 77},
			"",
		},
		"long contexts are capped": {device.Spec{NumPages: 1 << 20}, 1 << 20, gib, device.Info{Slots: 64, PageSize: 16, MaxSeqLen: maxSeqLen, MaxStepTokens: 256, NumPages: 1 << 20}, ""},
		"steps hold all slots":     {device.Spec{Slots: 300, NumPages: 64}, 512, gib, device.Info{Slots: 300, PageSize: 16, MaxSeqLen: 512, MaxStepTokens: 600, NumPages: 64}, ""},
		"small steps, few slots":   {device.Spec{MaxStepTokens: 40, NumPages: 64}, 512, gib, device.Info{Slots: 20, PageSize: 16, MaxSeqLen: 512, MaxStepTokens: 40, NumPages: 64}, ""},
		"a share of memory": {
			device.Spec{MemoryRatio: 0.25},
			512, 4 * (c.WeightBytes(model.BFloat16) + 10*page),
			device.Info{Slots: 64, PageSize: 16, MaxSeqLen: 160, MaxStepTokens: 256, NumPages: 10},
			"",
		},
		"no memory":             {device.Spec{}, 512, 1000, device.Info{}, "leave no memory for pages"},
		"ratio":                 {device.Spec{MemoryRatio: 1.5}, 512, gib, device.Info{}, "memory ratio 1.5 is not between 0 and 1"},
		"negative":              {device.Spec{PageSize: -1}, 512, gib, device.Info{}, "page size is -1"},
		"more than positions":   {device.Spec{MaxSeqLen: 513}, 512, gib, device.Info{}, "the model has 512 positions"},
		"more than pages":       {device.Spec{MaxSeqLen: 100, NumPages: 6}, 512, gib, device.Info{}, "do not fit in 6 pages of 16"},
		"slots that cannot run": {device.Spec{Slots: 9, MaxStepTokens: 8}, 512, gib, device.Info{}, "8 tokens per step are fewer than the 9 slots"},
	} {
		t.Run(name, func(t *testing.T) {
			c.MaxPositions = k.positions
			s := k.spec
			got := device.Info{DType: model.BFloat16, Slots: s.Slots, PageSize: s.PageSize, NumPages: s.NumPages, MaxSeqLen: s.MaxSeqLen, MaxStepTokens: s.MaxStepTokens}
			err := size(&got, &c, &s, k.available)
			if k.err != "" {
				if err == nil || !strings.Contains(err.Error(), k.err) {
					t.Fatalf("error %v, want one with %q", err, k.err)
				}
				return
			}
			k.want.DType = model.BFloat16
			if err != nil || got != k.want {
				t.Errorf("%+v, %v\nwant %+v", got, err, k.want)
			}
		})
	}
}

func TestProbe(t *testing.T) {
	f := Probe()
	if f.Cores < 1 || f.Kernels != choose().name || f.Why == "" || f.MemoryTotal < f.MemoryAvailable || f.MemoryAvailable <= 0 {
		t.Errorf("%+v", f)
	}
	r := newRig(t, tinySpec(), choose(), 2)
	if h := r.info.Hardware; !strings.Contains(h, "2 cores") || !strings.Contains(h, f.Kernels) {
		t.Errorf("hardware %q", h)
	}
	if r.info.WeightBytes <= 0 || r.info.KVBytes != 40*pageBytes(r.d.engine.config, 4) || r.info.Vocab != 101 {
		t.Errorf("info %+v", r.info)
	}
}

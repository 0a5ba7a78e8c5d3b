package cpu

import (
	"strings"
	"testing"

	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/model"
)

func tinySpec(t testing.TB) device.Spec {
	return device.Spec{Model: tiny(t), Slots: 4, PageSize: 4, NumPages: 40, MaxSeqLen: 32, MaxStepTokens: 16}
}

// A faulty step is refused whole, by its number and what is wrong with it; what
// can be, device.Checker's tests say.
func TestLaunchRefusesFaultySteps(t *testing.T) {
	r := newRig(t, tinySpec(t), choose(), 1)
	s := &batch.Step{}
	r.give(s, 0, batch.Sampling{}, nil)
	r.row(s, 0, 0, []int32{1, 2, 3, 4}, true)
	r.run(s)
	next := &batch.Step{Seq: 2}
	r.row(next, 0, 3, nil, true)
	const want = "cpu: step 2: row 0 (slot 0): start 3; the slot holds 4 tokens"
	if err := r.d.Launch(next); err == nil || err.Error() != want {
		t.Errorf("error %q, want %q", err, want)
	}
}

func TestOutstandingSteps(t *testing.T) {
	r := newRig(t, tinySpec(t), choose(), 1)
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
	d, err := open(tinySpec(t), choose(), 2)
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
	r := newRig(t, tinySpec(t), choose(), 1)
	s := &batch.Step{}
	r.give(s, 0, batch.Sampling{}, nil)
	if res := r.run(s); len(res.Tokens) != 0 || len(res.Logprobs) != 0 {
		t.Errorf("result %+v", res)
	}
}

func TestSizes(t *testing.T) {
	spec := device.Spec{Model: tiny(t), NumPages: 1 << 10}
	spec.Model.Config.MaxPositions = 1 << 20
	want := device.Info{Slots: 64, PageSize: 16, NumPages: 1 << 10, MaxSeqLen: 1 << 14, MaxStepTokens: 256, Vocab: 101, Scores: true, MaxDraws: 256, DType: model.BFloat16, KVDType: model.BFloat16}
	got := newRig(t, spec, choose(), 1).info
	want.Name, want.Hardware, want.FreeBytes = got.Name, got.Hardware, got.FreeBytes
	want.WeightBytes = got.WeightBytes
	want.KVBytes = 1 << 14 * 2 * 2 * 2 * 24 * 2 // keys and values of 2 layers, 2 heads of 24, bfloat16
	if got != want {
		t.Errorf("%+v\nwant %+v", got, want)
	}
	for want, spec := range map[string]device.Spec{
		"cpu: slots is -1":          {Slots: -1},
		"cpu: sequences of 600":     {MaxSeqLen: 600},
		"cpu: no memory for pages:": {MemoryRatio: 1e-9},
	} {
		spec.Model = tiny(t)
		if _, err := Open(spec); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want an error with %q", err, want)
		}
	}
}

// Keys and values take what they are asked to, and what there is not is refused.
func TestCacheTypes(t *testing.T) {
	for _, c := range []struct {
		weights, asked, want model.DType
		each                 int // bytes of a head's key of 24
	}{
		{"", "", model.BFloat16, 48},
		{model.Int8, "auto", model.BFloat16, 48},
		{model.Float32, "", model.Float32, 96},
		{"", model.Float32, model.Float32, 96},
		{model.Float32, model.BFloat16, model.BFloat16, 48},
		{"", model.Int8, model.Int8, 28},
	} {
		info := newRig(t, device.Spec{Model: tiny(t), DType: c.weights, KVDType: c.asked, NumPages: 10, PageSize: 2}, choose(), 1).info
		if info.KVDType != c.want || info.KVBytes != int64(10*2*2*2*2*c.each) {
			t.Errorf("weights of %q, keys and values of %q: %s, %d bytes", c.weights, c.asked, info.KVDType, info.KVBytes)
		}
	}
	_, err := Open(device.Spec{Model: tiny(t), KVDType: model.Float8})
	if err == nil || !strings.Contains(err.Error(), `keys and values of type "float8_e4m3"; the CPU device keeps float32, bfloat16 or int8`) {
		t.Errorf("float8: %v", err)
	}
}

func TestProbe(t *testing.T) {
	f := Probe()
	if f.Cores < 1 || f.Kernels != choose().name || f.Why == "" || f.MemoryTotal < f.MemoryAvailable || f.MemoryAvailable <= 0 {
		t.Errorf("%+v", f)
	}
	r := newRig(t, tinySpec(t), choose(), 2)
	if h := r.info.Hardware; !strings.Contains(h, "2 cores") || !strings.Contains(h, f.Kernels) {
		t.Errorf("hardware %q", h)
	}
	if r.info.WeightBytes <= 0 || r.info.KVBytes != int64(len(r.d.engine.cache.memory)) || r.info.Vocab != 101 {
		t.Errorf("info %+v", r.info)
	}
}

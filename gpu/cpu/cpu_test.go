package cpu

import (
	"maps"
	"math"
	"slices"
	"testing"

	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/gpu/model/modeltest"
)

// rig drives a device the way a scheduler does, one slot a sequence, with
// pages handed out in an order that is nobody's neighbour.
type rig struct {
	t      testing.TB
	d      *Device
	info   device.Info
	seq    uint64
	free   []int32
	pages  map[int32][]int32
	logits map[int32][]float32 // by slot: of its last sampled row
	// restore is the snapshot that the next computation begins with; nil: none.
	restore *int32
}

func newRig(t testing.TB, spec device.Spec, k *kernels, cores int) *rig {
	t.Helper()
	if spec.NumPages == 0 {
		spec.NumPages = 4096/max(spec.PageSize, 1) + 64
	}
	d, err := open(spec, k, cores)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	r := &rig{t: t, d: d, info: d.Info(), pages: map[int32][]int32{}, logits: map[int32][]float32{}}
	r.forget()
	d.engine.inspect = func(s *batch.Step, row int, z []float32) {
		r.logits[s.Rows[row].Slot] = slices.Clone(z)
	}
	return r
}

// give hands a slot to a request that begins with shared pages.
func (r *rig) give(s *batch.Step, slot int32, sampling batch.Sampling, shared []int32) {
	s.Slots = append(s.Slots, batch.SlotInit{Slot: slot, Sampling: sampling})
	r.pages[slot] = nil
	for _, p := range shared {
		r.enter(s, slot, p)
	}
}

// forget ends all requests.
func (r *rig) forget() {
	r.pages = map[int32][]int32{}
	r.free = r.free[:0]
	for i := range r.info.NumPages {
		r.free = append(r.free, int32(i))
	}
	for i := range r.free { // so that neighbours part
		j := (i * 31) % len(r.free)
		r.free[i], r.free[j] = r.free[j], r.free[i]
	}
}

func (r *rig) enter(s *batch.Step, slot, page int32) {
	s.Pages = append(s.Pages, batch.PageEntry{Slot: slot, Index: int32(len(r.pages[slot])), Page: page})
	r.pages[slot] = append(r.pages[slot], page)
}

// row adds a row and the pages it needs; nil tokens are a decode row.
func (r *rig) row(s *batch.Step, slot, start int32, tokens []int32, sample bool) {
	row := batch.Row{Slot: slot, Start: start, Tokens: tokens, Sample: sample}
	for len(r.pages[slot])*r.info.PageSize < int(start)+row.Len() {
		r.enter(s, slot, r.free[len(r.free)-1])
		r.free = r.free[:len(r.free)-1]
	}
	if tokens == nil {
		s.Rows = slices.Insert(s.Rows, s.NumDecode, row)
		s.NumDecode++
	} else {
		s.Rows = append(s.Rows, row)
	}
	s.NumTokens += row.Len()
}

func (r *rig) launch(s *batch.Step) {
	r.t.Helper()
	r.seq++
	s.Seq = r.seq
	if err := r.d.Launch(s); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) wait() *batch.Result {
	r.t.Helper()
	var res batch.Result
	if err := r.d.Wait(&res); err != nil {
		r.t.Fatal(err)
	}
	return &res
}

func (r *rig) run(s *batch.Step) *batch.Result {
	r.t.Helper()
	r.launch(s)
	return r.wait()
}

// tiny is a model of odd sizes with random weights of the device's own: more
// than one panel everywhere, none of them full. Fields bend its configuration.
func tiny(t testing.TB, fields ...map[string]any) *model.Model {
	t.Helper()
	all := map[string]any{
		"architectures": []string{"Qwen3ForCausalLM"}, "num_hidden_layers": 2, "hidden_size": 48, "intermediate_size": 72,
		"num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 24, "vocab_size": 101, "max_position_embeddings": 512,
		"tie_word_embeddings": true, "rope_theta": 10000, "dtype": "bfloat16",
	}
	for _, f := range fields {
		maps.Copy(all, f)
	}
	return &model.Model{Name: "tiny", Config: modeltest.Config(t, all)}
}

func sameBits(a, b []float32) bool {
	return slices.EqualFunc(a, b, func(x, y float32) bool { return math.Float32bits(x) == math.Float32bits(y) })
}

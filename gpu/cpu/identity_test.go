package cpu

import (
	"fmt"
	"slices"
	"testing"

	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/gpu/model/modeltest"
)

// The sequence whose bits must never change: a prompt and how many tokens
// follow it.
const (
	promptLength = 37
	generated    = 6
)

func prompt(n, vocab int, seed int32) []int32 {
	p := make([]int32, n)
	for i := range p {
		seed = seed*1103515245 + 12345
		p[i] = int32(uint32(seed)>>8) % int32(vocab)
	}
	return p
}

// trace is what a request's computation left behind.
type trace struct {
	logits [][]float32 // of every sampled row
	tokens []int32
}

func (a trace) same(b trace) bool {
	return slices.Equal(a.tokens, b.tokens) && slices.EqualFunc(a.logits, b.logits, sameBits)
}

// seeded sampling, so that drawing is held to the same bits as the logits.
var seeded = batch.Sampling{Temperature: 0.9, TopK: 40, TopP: 0.95, MinP: 0.01, Seed: 11}

// compute runs the sequence in slot 0: the prompt in chunks, then decode rows,
// ahead of results when overlap is set, while others fill the steps.
func compute(r *rig, chunk int, overlap bool, others int, shared []int32, cached int) trace {
	tokens := prompt(promptLength, r.info.Vocab, 7)
	var tr trace
	note := func(res *batch.Result, s *batch.Step) {
		for i, row := range s.Rows {
			if row.Slot == 0 && row.Sample {
				tr.tokens = append(tr.tokens, res.Tokens[i])
			}
		}
	}
	inspect := r.d.engine.inspect
	r.d.engine.inspect = func(s *batch.Step, row int, z []float32) {
		if s.Rows[row].Slot == 0 {
			tr.logits = append(tr.logits, slices.Clone(z))
		}
	}
	defer func() { r.d.engine.inspect = inspect }()

	var steps []*batch.Step
	first := &batch.Step{}
	if r.restore != nil {
		first.Restores = append(first.Restores, batch.StateCopy{Slot: 0, Snapshot: *r.restore})
		r.restore = nil
	}
	r.give(first, 0, seeded, shared)
	for i := range others {
		r.give(first, int32(1+i), batch.Sampling{}, nil)
	}
	at, n := cached, 0
	for len(steps) == 0 || n < generated {
		s := &batch.Step{}
		if len(steps) == 0 {
			s = first
		}
		if at < promptLength {
			end := min(at+chunk, promptLength)
			r.row(s, 0, int32(at), tokens[at:end], end == promptLength)
			at = end
		} else {
			r.row(s, 0, int32(at), nil, true)
			at++
		}
		if s.Rows[0].Sample {
			n++
		}
		for i := range others {
			slot := int32(1 + i)
			if k := len(steps); k == 0 {
				r.row(s, slot, 0, prompt(3+2*i, r.info.Vocab, slot), true)
			} else {
				r.row(s, slot, int32(3+2*i+k-1), nil, true)
			}
		}
		steps = append(steps, s)
	}
	for i, s := range steps {
		r.launch(s)
		if overlap {
			if i > 0 {
				note(r.wait(), steps[i-1])
			}
			if i == len(steps)-1 {
				note(r.wait(), s)
			}
		} else {
			note(r.wait(), s)
		}
	}
	return tr
}

// A row's logits, and so its tokens, depend on its request alone: not on the
// chunking, the page size, the other rows, overlap, a cached prefix, the
// number of cores or the instruction set.
func TestSameBitsWhateverTheBatch(t *testing.T) {
	models := map[string]*model.Model{"odd sizes": tiny(t), "odd experts": tinyMoE(t)}
	for _, c := range modeltest.Own(t) {
		if !raceDetector {
			models[c.Name] = c.Open(t)
		}
	}
	for name, m := range models {
		for _, dtypes := range [][2]model.DType{{}, {model.Int8, ""}, {model.Int4, model.Int8}} {
			t.Run(fmt.Sprintf("%s/%s/%s", name, dtypes[0], dtypes[1]), func(t *testing.T) {
				sameBitsWhateverTheBatch(t, m, dtypes, variants())
			})
		}
	}
}

// So do those of other families, by the instruction set that is used.
func TestSameBitsOfFamilies(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector finds what it finds in the models above")
	}
	for _, c := range modeltest.Families(t) {
		t.Run(c.Name, func(t *testing.T) { sameBitsWhateverTheBatch(t, c.Open(t), [2]model.DType{}, []*kernels{choose()}) })
	}
}

// sameBitsWhateverTheBatch holds a model, with types of weights and of keys and
// values, to it.
func sameBitsWhateverTheBatch(t *testing.T, m *model.Model, dtypes [2]model.DType, variants []*kernels) {
	spec := device.Spec{Model: m, DType: dtypes[0], KVDType: dtypes[1], Slots: 32, PageSize: 16, NumPages: 160, MaxSeqLen: 128, MaxStepTokens: 1024}
	want := compute(newRig(t, spec, &portable, 1), promptLength, false, 0, nil, 0)
	if len(want.tokens) != generated {
		t.Fatalf("%d tokens, want %d", len(want.tokens), generated)
	}
	for _, k := range variants {
		if k == &portable && len(variants) > 1 {
			continue // slow, and what the others are compared with
		}
		for _, pageSize := range []int{16, 1, 5, 64} {
			spec.PageSize, spec.NumPages = pageSize, 32*(128/pageSize+1)
			r := newRig(t, spec, k, 2)
			check := func(what string, got trace) {
				t.Helper()
				if !got.same(want) {
					t.Fatalf("%s, pages of %d, %s: tokens %v, want %v", k.name, pageSize, what, got.tokens, want.tokens)
				}
				r.forget()
			}
			for chunk := 1; chunk <= promptLength; chunk++ {
				if (pageSize != 16 || raceDetector) && chunk%5 != 1 {
					continue // a sample will do
				}
				check(fmt.Sprint("chunks of ", chunk), compute(r, chunk, chunk%2 == 0, chunk%4, nil, 0))
			}
			for _, others := range []int{1, 2, 12, 24} {
				check(fmt.Sprint("others: ", others), compute(r, promptLength, true, others, nil, 0))
			}
			// A prefix computed for another request.
			cached := promptLength / pageSize * pageSize
			if cached == 0 || cached == promptLength {
				cached = 2 * pageSize
			}
			if cached < promptLength && len(m.Config.Program.States) == 0 { // states are not in pages
				s := &batch.Step{}
				r.give(s, 9, batch.Sampling{}, nil)
				r.row(s, 9, 0, prompt(promptLength, r.info.Vocab, 7)[:cached], false)
				r.run(s)
				check("cached prefix", compute(r, 8, true, 3, r.pages[9], cached))
			}
		}
	}
}

// Who goes on from a snapshot of the states after a prefix, in any chunks and
// beside any others, computes the bits of who computed all by itself; and so does
// who began with the prefix and was saved on the way.
func TestSameBitsBehindASnapshot(t *testing.T) {
	m := tiny(t, map[string]any{
		"architectures": []string{"Qwen3_5ForCausalLM"}, "model_type": "qwen3_5_text", "hidden_act": "silu", "num_hidden_layers": 4,
		"layer_types":            []string{"linear_attention", "linear_attention", "full_attention", "linear_attention"},
		"linear_conv_kernel_dim": 4, "linear_key_head_dim": 12, "linear_num_key_heads": 2, "linear_num_value_heads": 6, "linear_value_head_dim": 20,
		"rope_parameters": map[string]any{"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.25},
	})
	spec := device.Spec{Model: m, Slots: 8, PageSize: 4, NumPages: 400, MaxSeqLen: 128, MaxStepTokens: 128}
	want := compute(newRig(t, spec, choose(), 1), promptLength, false, 0, nil, 0)
	r := newRig(t, spec, choose(), 2)
	if r.info.Snapshots < 2 || r.info.StateBytes != 4*3*(6*12*20+3*(2*2*12+6*20)) {
		t.Fatalf("%+v: want snapshots of three layers' states", r.info)
	}
	tokens := prompt(promptLength, r.info.Vocab, 7)
	for _, cached := range []int{4, 16, 36} {
		r.forget()
		snapshot := int32(cached/4) % int32(r.info.Snapshots)
		s := &batch.Step{Saves: []batch.StateCopy{{Slot: 7, Snapshot: snapshot}}}
		r.give(s, 7, seeded, nil)
		r.row(s, 7, 0, tokens[:cached], false)
		r.run(s)
		s = &batch.Step{} // whoever was saved goes on, and its states with it
		r.row(s, 7, int32(cached), tokens[cached:], true)
		if res := r.run(s); res.Tokens[0] != want.tokens[0] || !sameBits(r.logits[7], want.logits[0]) {
			t.Errorf("saved after %d tokens: drew %d, want %d", cached, res.Tokens[0], want.tokens[0])
		}
		for i, chunk := range []int{promptLength, 3, 1} {
			r.restore = &snapshot
			if got := compute(r, chunk, i%2 == 0, i+1, r.pages[7][:cached/4], cached); !got.same(want) {
				t.Errorf("behind %d tokens, in chunks of %d: %v, want %v", cached, chunk, got.tokens, want.tokens)
			}
		}
	}
}

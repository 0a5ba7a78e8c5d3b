//go:build cuda

package cuda

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/cpu"
	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/gpu/model/modeltest"
)

// Random models in random sizes go through random steps on the GPU and on the
// processor: prompts in chunks, prompts that begin with pages others computed,
// decodes, all mixed, one step at a time and two ahead, with graphs and without.
// Masks that allow one token alone keep both on the same text, and the
// log-probabilities of the twenty likeliest tell whether both computed the same.
func TestAgainstCPU(t *testing.T) {
	require(t)
	for seed := range uint64(24) {
		r := rand.New(rand.NewPCG(seed, 7))
		spec := randomSpec(t, r, seed%4 != 3)
		p := spec.Model.Config.Program
		shape := shapeOf(p)
		name := fmt.Sprintf("%d/%d:%d×%d-hidden%d-pages%d-slots%d", seed, shape.Heads, shape.KVHeads, shape.HeadDim, p.Weights[0].In(), spec.PageSize, spec.Slots)
		t.Run(name, func(t *testing.T) {
			steps := newScript(r, &spec).steps(60)
			host, err := cpu.Open(spec)
			want := openRig(t, host, err).replay(steps, 1)
			got := openCUDA(t, spec).replay(steps, 1+int(seed%2))
			sum, n, worst := 0.0, 0, 0.0
			for i, s := range steps {
				for j := range s.Rows {
					g, w := got[i].Tokens[j], want[i].Tokens[j]
					if g != w {
						t.Fatalf("step %d, row %d: token %d, want %d", i, j, g, w)
					}
					if w == batch.NoToken {
						continue
					}
					a, b := got[i].Logprobs[j], want[i].Logprobs[j]
					if len(a.Top) != len(b.Top) {
						t.Fatalf("step %d, row %d: %d alternatives, want %d", i, j, len(a.Top), len(b.Top))
					}
					differ := func(x, y float32) {
						d := math.Abs(float64(x) - float64(y))
						sum, n, worst = sum+d, n+1, max(worst, d)
						if !(d < 0.25) { // the farthest seen is 0.204, of a model with large biases
							t.Fatalf("step %d, row %d of slot %d at %d: log-probability %v, want %v", i, j, s.Rows[j].Slot, s.Rows[j].Start, x, y)
						}
					}
					differ(a.Token, b.Token)
					for k := range a.Top {
						differ(a.Top[k].Logprob, b.Top[k].Logprob)
					}
				}
			}
			t.Logf("log-probabilities differ by %.4f at most, %.4f in the mean of %d", worst, sum/float64(n), n)
			if mean := sum / float64(n); n < 100 || mean > 0.02 {
				t.Errorf("%d log-probabilities differ by %.4f in the mean", n, mean)
			}
		})
	}
}

func pick(r *rand.Rand, from ...int) int { return from[r.IntN(len(from))] }

// randomSpec is a device of random sizes for a random model.
func randomSpec(t testing.TB, r *rand.Rand, graphs bool) device.Spec {
	c := randomConfig(t, r)
	spec := device.Spec{
		Model: modeltest.Random(r, c), DType: model.BFloat16, Slots: 1 + r.IntN(20), PageSize: pick(r, 1, 5, 16, 64),
		MaxSeqLen: c.MaxPositions, MaxStepTokens: 400, NumPages: 20000,
	}
	spec.NumPages /= spec.PageSize
	if !graphs {
		spec.GraphRows = -1
	}
	return spec
}

// randomConfig is a small model of a form and sizes that some architecture has.
func randomConfig(t testing.TB, r *rand.Rand) model.Config {
	heads := [][2]int{{4, 2}, {6, 1}, {8, 8}, {14, 2}, {5, 1}, {3, 3}, {16, 4}}[r.IntN(7)]
	fields := map[string]any{
		"num_hidden_layers": 1 + r.IntN(3), "hidden_size": pick(r, 72, 128, 192, 264, 512), "intermediate_size": pick(r, 40, 128, 352),
		"num_attention_heads": heads[0], "num_key_value_heads": heads[1], "head_dim": pick(r, 64, 128), "vocab_size": pick(r, 35, 501, 4100),
		"max_position_embeddings": 700, "tie_word_embeddings": r.IntN(2) == 0, "rope_theta": 1e4,
	}
	is := func(name string) { fields["architectures"] = []string{name} }
	switch r.IntN(4) {
	case 0:
		is("LlamaForCausalLM")
		fields["rope_scaling"] = map[string]any{
			"rope_type": "llama3", "factor": 8, "low_freq_factor": 1, "high_freq_factor": 4, "original_max_position_embeddings": 64,
		}
	case 1:
		is("Qwen2ForCausalLM")
	case 2:
		// All experts for everybody: no token goes elsewhere by a rounding.
		n := pick(r, 4, 8)
		is("Qwen3MoeForCausalLM")
		fields["num_experts"], fields["num_experts_per_tok"], fields["moe_intermediate_size"] = n, n, pick(r, 40, 64, 192)
		fields["norm_topk_prob"] = r.IntN(2) == 0
	default:
		is("Qwen3ForCausalLM")
	}
	return modeltest.Config(t, fields)
}

// script makes steps up as a scheduler might, of texts that are known to the end.
type script struct {
	r         *rand.Rand
	spec      *device.Spec
	next      int32 // page never used
	sequences []sequence
}

type sequence struct {
	text   []int32
	prompt int // of the text
	done   int // tokens whose keys and values are in pages
	before int // those of steps before this one
	pages  []int32
}

func newScript(r *rand.Rand, spec *device.Spec) *script {
	return &script{r: r, spec: spec, sequences: make([]sequence, spec.Slots)}
}

func (s *script) steps(n int) []*batch.Step {
	var list []*batch.Step
	for len(list) < n {
		step, left := &batch.Step{Seq: uint64(len(list) + 1)}, s.spec.MaxStepTokens
		decodes := s.r.IntN(3) > 0 && len(list) > 5 // steps of nothing else: graphs
		for i := range s.sequences {
			s.sequences[i].before = s.sequences[i].done
		}
		for _, i := range s.r.Perm(len(s.sequences)) {
			if s.r.IntN(8) == 0 {
				continue
			}
			if q := &s.sequences[i]; q.done == len(q.text)-1 || q.text == nil {
				if decodes || !s.begin(step, int32(i)) {
					continue
				}
			}
			if decodes && s.sequences[i].done < s.sequences[i].prompt {
				continue
			}
			left -= s.row(step, int32(i), left)
		}
		if len(step.Rows) > 0 {
			list = append(list, step)
		}
	}
	return list
}

// begin gives a slot to a new text, which may begin as another's did.
func (s *script) begin(step *batch.Step, slot int32) bool {
	if int(s.next)+s.spec.MaxSeqLen/s.spec.PageSize+1 > s.spec.NumPages {
		return false
	}
	q := sequence{}
	if from := &s.sequences[s.r.IntN(len(s.sequences))]; s.r.IntN(2) == 0 && from.before >= s.spec.PageSize {
		shared := 1 + s.r.IntN(from.before/s.spec.PageSize)
		q.done = shared * s.spec.PageSize
		q.text = slices.Clone(from.text[:q.done])
		q.pages = slices.Clone(from.pages[:shared])
		for i, p := range q.pages {
			step.Pages = append(step.Pages, batch.PageEntry{Slot: slot, Index: int32(i), Page: p})
		}
	}
	more := 1 + s.r.IntN(pick(s.r, 4, 60, 300))
	for range more + 1 + s.r.IntN(30) {
		q.text = append(q.text, int32(s.r.IntN(s.spec.Model.Config.Vocab)))
	}
	q.text = q.text[:min(len(q.text), s.spec.MaxSeqLen)]
	q.prompt = min(q.done+more, len(q.text)-1)
	if q.prompt <= q.done {
		return false
	}
	q.before = 0 // nobody shares what this step computes
	s.sequences[slot] = q
	step.Slots = append(step.Slots, batch.SlotInit{Slot: slot, Sampling: batch.Sampling{
		Temperature: float32(s.r.IntN(2)), Seed: s.r.Uint64(), Logprobs: 21,
	}})
	return true
}

// row adds a slot's next tokens, at most so many, and returns how many.
func (s *script) row(step *batch.Step, slot int32, most int) int {
	q := &s.sequences[slot]
	n := 1
	if q.done < q.prompt {
		n = min(q.prompt-q.done, 1+s.r.IntN(pick(s.r, 1, 20, 200)))
	}
	if n > most {
		return 0
	}
	row := batch.Row{Slot: slot, Start: int32(q.done)}
	if q.done < q.prompt {
		row.Tokens = q.text[q.done : q.done+n]
	}
	for len(q.pages)*s.spec.PageSize < q.done+n {
		step.Pages = append(step.Pages, batch.PageEntry{Slot: slot, Index: int32(len(q.pages)), Page: s.next})
		q.pages = append(q.pages, s.next)
		s.next++
	}
	q.done += n
	if row.Sample = q.done >= q.prompt; row.Sample {
		token := q.text[q.done]
		row.Allow = make([]uint32, batch.MaskWords(s.spec.Model.Config.Vocab))
		row.Allow[token/32] = 1 << (token % 32)
	}
	if row.Tokens == nil {
		step.Rows = slices.Insert(step.Rows, step.NumDecode, row)
		step.NumDecode++
	} else {
		step.Rows = append(step.Rows, row)
	}
	step.NumTokens += n
	return n
}

// replay runs steps, so many outstanding.
func (r *rig) replay(steps []*batch.Step, depth int) []*batch.Result {
	r.t.Helper()
	var results []*batch.Result
	for i, s := range steps {
		if err := r.d.Launch(s); err != nil {
			r.t.Fatalf("step %d: %v", i, err)
		}
		if i+1-len(results) >= depth {
			results = append(results, r.wait())
		}
	}
	for len(results) < len(steps) {
		results = append(results, r.wait())
	}
	return results
}

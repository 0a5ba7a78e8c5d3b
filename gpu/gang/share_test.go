package gang

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/gpu/model/modeltest"
	"github.com/troupe-llm/troupe/gpu/program"
)

func published(t *testing.T, name string) *program.Program {
	t.Helper()
	m, err := model.Open(name, true)
	if err != nil {
		t.Fatal(err)
	}
	return m.Config.Program
}

func share(t *testing.T, p *program.Program, rank, ranks int) *program.Share {
	t.Helper()
	s, err := p.Share(rank, ranks, 0)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// How families' weights are cut, each by the ops it is used in.
func TestCutsOfFamilies(t *testing.T) {
	want := map[string]string{
		"qwen3": `embed vocabulary, input_layernorm replicated, qkv outputs, q_norm replicated, k_norm replicated, o inputs,
			post_attention_layernorm replicated, gate_up outputs, down inputs, norm replicated, head vocabulary`,
		"families/deepseek-v3": `embed vocabulary, input_layernorm replicated, q_a replicated, q_a_norm replicated, q_b outputs, kv_a replicated,
			kv_a_norm replicated, k_b outputs, v_b outputs, o inputs, post_attention_layernorm replicated, gate_up outputs, down inputs, router replicated,
			router_correction replicated, experts_gate_up experts, experts_down experts, shared_gate_up outputs, shared_down inputs, norm replicated, head vocabulary`,
		"families/gpt-oss": `embed vocabulary, input_layernorm replicated, qkv outputs, qkv_bias outputs, sinks outputs, o inputs, o_bias replicated,
			post_attention_layernorm replicated, router replicated, router_bias replicated, experts_gate_up experts, experts_gate_up_bias experts,
			experts_down experts, experts_down_bias experts, norm replicated, head vocabulary`,
		"families/qwen3.5-moe": `embed vocabulary, input_layernorm replicated, delta_in outputs, conv outputs, delta_decay outputs, delta_step outputs,
			delta_norm replicated, delta_out inputs, post_attention_layernorm replicated, shared_gate_up outputs, shared_down inputs, shared_gate replicated,
			router replicated, experts_gate_up experts, experts_down experts, qkv outputs, q_norm replicated, k_norm replicated, o inputs, norm replicated, head vocabulary`,
		"families/olmo3": `embed vocabulary, qkv outputs, q_norm replicated, k_norm replicated, o inputs, post_attention_layernorm replicated,
			gate_up outputs, down inputs, post_feedforward_layernorm replicated, norm replicated, head vocabulary`,
	}
	for _, c := range append(modeltest.Own(t), modeltest.Families(t)...) {
		list, has := want[c.Name]
		if !has {
			continue
		}
		var got []string
		s := share(t, c.Open(t).Config.Program, 1, 2)
		for _, w := range s.Weights {
			if one := w.Role + " " + s.Cuts[w].String(); !slices.Contains(got, one) {
				got = append(got, one)
			}
		}
		if all := strings.Join(got, ", "); all != strings.Join(strings.Fields(list), " ") {
			t.Errorf("%s: %s", c.Name, all)
		}
	}
}

// All ranks together hold a model once but for what is replicated, compute as much
// as one device but for that, and keep as many keys and values.
func TestSharesAddUp(t *testing.T) {
	for _, name := range []string{"qwen3-0.6b", "qwen3-14b", "qwen3-32b", "qwen3-30b-a3b", "llama-3.1-8b"} {
		p := published(t, name)
		pass := program.NewPass([]program.Span{{Start: 700, Tokens: 1}, {Start: 100, Tokens: 300}}, 2)
		for _, ranks := range []int{2, 4, 8} {
			if p.Caches[0].Heads < ranks { // they are on several
				continue
			}
			elements, of := map[*program.Weight]int64{}, map[*program.Weight]program.Cut{}
			var flops, link, cache float64
			var kept int64
			for rank := range ranks {
				s := share(t, p, rank, ranks)
				for _, w := range s.Weights {
					elements[s.Whole[w]] += w.Elements()
					of[s.Whole[w]] = s.Cuts[w]
				}
				kept += s.CacheElements()
				for _, op := range s.Ops {
					c := op.Cost(pass)
					link += c.Link
					cache += c.Cache
					if u := op.Uses(); len(u.Weights) == 1 && s.Cuts[u.Weights[0]] != program.Replicated || u.Looks != nil {
						flops += c.FLOPs
					}
				}
			}
			for _, w := range p.Weights {
				if n := elements[w]; n != w.Elements() && (of[w] != program.Replicated || n != int64(ranks)*w.Elements()) {
					t.Errorf("%s by %d: %d elements of %s, %s, of %d", name, ranks, n, w.Name, of[w], w.Elements())
				}
			}
			var once, looked float64
			reduced := 0.0
			for _, op := range p.Ops {
				c := op.Cost(pass)
				looked += c.Cache
				if u := op.Uses(); len(u.Weights) == 1 && of[u.Weights[0]] != program.Replicated || u.Looks != nil {
					once += c.FLOPs
				}
				if u := op.Uses(); len(u.Weights) == 1 && slices.Contains([]string{"embed", "o", "down", "experts_down"}, u.Weights[0].Role) {
					reduced += 301 * float64(u.Weights[0].Out())
					if u.Weights[0].Role == "embed" {
						reduced += 301 * (float64(u.Weights[0].In()) - float64(u.Weights[0].Out()))
					}
				}
			}
			// The embeddings' lookup counts rows' elements on every rank.
			once += 301 * float64(p.Weights[0].In()) * float64(ranks-1)
			near(t, fmt.Sprintf("%s by %d: operations", name, ranks), flops, once)
			near(t, fmt.Sprintf("%s by %d: keys and values read", name, ranks), cache, looked)
			if kept != p.CacheElements() {
				t.Errorf("%s by %d: a position takes %d elements, by itself %d", name, ranks, kept, p.CacheElements())
			}
			// Each rank sends 2(N−1)/N of every sum; of two rows of logits what it has to
			// every other.
			n := float64(ranks)
			near(t, fmt.Sprintf("%s by %d: elements sent", name, ranks), link, 2*(n-1)*reduced+2*(n-1)*float64(p.Logits.Width))
		}
	}
}

func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > 1e-9*want {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// Random models: heads and key heads that share nothing, windows, experts, norms of
// all heads, vocabularies that no number divides.
func TestSharedRandomModels(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	families := []string{"Qwen3ForCausalLM", "Qwen2ForCausalLM", "MistralForCausalLM", "Olmo3ForCausalLM", "Qwen3MoeForCausalLM"}
	shared, models := 0, 40
	if raceDetector {
		models = 5
	}
	for range models {
		kv := 1 + r.IntN(3)
		heads := kv * (1 + r.IntN(6))
		f := map[string]any{
			"architectures": []string{families[r.IntN(len(families))]}, "num_hidden_layers": 2, "hidden_size": 16 * (1 + r.IntN(4)), "intermediate_size": 40 + 8*r.IntN(9),
			"num_attention_heads": heads, "num_key_value_heads": kv, "head_dim": 8 * (1 + r.IntN(3)), "vocab_size": 97 + r.IntN(60), "max_position_embeddings": 256,
			"tie_word_embeddings": r.IntN(2) == 0, "rope_theta": 10000, "dtype": "bfloat16", "rms_norm_eps": 1e-6,
			"num_experts": 12, "num_experts_per_tok": 1 + r.IntN(4), "moe_intermediate_size": 24, "norm_topk_prob": true, "use_sliding_window": true, "sliding_window": 5 + r.IntN(20),
			"max_window_layers": 1, "bos_token_id": 1, "eos_token_id": 2,
		}
		m := modeltest.Random(r, modeltest.Config(t, f))
		prompts := [][]int32{tokensBelow(r, 97, 1+r.IntN(40)), tokensBelow(r, 97, 1+r.IntN(40))}
		d, err := open(t, m, 1)
		if err != nil {
			t.Fatal(err)
		}
		want, drawn := run(t, d, prompts, 3)
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		for ranks := 2; ranks <= 6; ranks++ {
			if heads%ranks != 0 {
				continue
			}
			g, err := open(t, m, ranks)
			if err != nil {
				if strings.Contains(err.Error(), "12 experts cannot be shared by 5") || strings.Contains(err.Error(), "a norm over all columns") {
					continue
				}
				t.Fatalf("%v by %d: %v", f, ranks, err)
			}
			got, tokens := run(t, g, prompts, 3)
			compare(t, ranks, want, got, drawn, tokens, len(prompts))
			if err := g.Close(); err != nil {
				t.Error(err)
			}
			shared++
		}
	}
	if shared < models {
		t.Errorf("%d models were shared", shared)
	}
}

func tokensBelow(r *rand.Rand, vocab, n int) (list []int32) {
	for range n {
		list = append(list, int32(r.IntN(vocab)))
	}
	return list
}

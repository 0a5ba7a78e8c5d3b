package cuda

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/troupe-llm/troupe/gpu/kernel"
	"github.com/troupe-llm/troupe/gpu/kernel/lower"
	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/gpu/model/modeltest"
	"github.com/troupe-llm/troupe/gpu/program"
)

// attends says whether an op is of attention: RoPE, the cache or looking at it.
func attends(op program.Op) bool {
	u := op.Uses()
	_, turns := program.One[*program.Rope](op)
	return turns || u.Stores != nil || u.Looks != nil
}

// attention runs the stages of attention in a pass of so many tokens, the first
// of them decode rows, and names the ops that are refused.
func attention(p *program.Program, q kernel.Queue, tokens, decodes int) (refused []string, err error) {
	m := &machine{kernels: q, shape: shapeOf(p), decodeBlocks: 8, most: map[program.Rows]int{program.Tokens: 1024, program.Sampled: 512}}
	m.shape.PageSize = 16
	c := compiler{machine: m, elements: elementsOf(p), from: 1}
	w := &work{tokens: tokens, decodes: decodes, ntiles: min(1, tokens-decodes)}
	runs := []run{c.plan(p)}
	for _, op := range lower.New(p).Body(math.MaxInt) {
		if !attends(op) {
			continue
		}
		if r := c.op(op); c.err == nil {
			runs = append(runs, r)
			continue
		}
		refused = append(refused, fmt.Sprintf("%s: %v", kernelName(op), c.err))
		c.err = nil
	}
	for _, run := range runs {
		if err := run(w); err != nil {
			return refused, err
		}
	}
	return refused, nil
}

// Attention of all families whose checkpoints are there, and of all that is
// published, has kernels, for the shape that it says.
func TestFamiliesAttend(t *testing.T) {
	check := func(name string, p *program.Program) {
		s := shapeOf(p)
		s.PageSize, s.Stages = 16, 2
		if err := s.Check(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if refused, err := attention(p, &recorder{}, 5, 3); len(refused) > 0 || err != nil {
			t.Errorf("%s: %v, %v", name, refused, err)
		}
	}
	for _, c := range modeltest.Families(t) {
		if strings.HasPrefix(c.Name, "families/") { // the repository's own have sizes that none has
			check(c.Name, c.Open(t).Config.Program)
		}
	}
	for _, name := range model.Published() {
		m, err := model.Open(name, true)
		if err != nil {
			t.Fatal(err)
		}
		check(name, m.Config.Program)
	}
}

// launches is a queue that takes down windows, too.
type launches struct{ names []string }

func (r *launches) Launch(l kernel.Launch) error {
	name := l.Kernel.Name
	switch name {
	case "decode_plan":
		name += fmt.Sprint(" ", (*kernel.PlanArgs)(l.Args).Window)
	case "paged_decode", "paged_decode_blocks":
		name += fmt.Sprint(" ", (*kernel.DecodeArgs)(l.Args).Window)
	case "paged_prefill":
		name += fmt.Sprint(" ", (*kernel.PrefillArgs)(l.Args).Window)
	case "rope_write":
		a := (*kernel.RopeArgs)(l.Args)
		name += fmt.Sprintf(" %d/%d", a.Dims, a.Stride)
	case "rope":
		a := (*kernel.TurnArgs)(l.Args)
		name += fmt.Sprintf(" %d×%d/%d/%d", a.Heads, a.Dims, a.HeadDim, a.Stride)
	case "store":
		a := (*kernel.StoreArgs)(l.Args)
		name += fmt.Sprintf(" %d×%d/%d", a.Heads, a.Dim, a.KeyStride)
	}
	r.names = append(r.names, name)
	return nil
}

// Decode attention is divided once for each window, and looks at that of its
// layer; what RoPE does not leave for attention is rounded for it.
func TestAttentionLaunches(t *testing.T) {
	const all = math.MaxInt32
	for _, tc := range []struct {
		architecture string
		more         map[string]any
		want         string
	}{
		{"LlamaForCausalLM", nil, fmt.Sprintf("decode_plan %[1]d, rope_write 64/512, paged_decode_blocks %[1]d, paged_prefill %[1]d", all)},
		{"MistralForCausalLM", map[string]any{"sliding_window": 100}, "decode_plan 100, rope_write 64/512, paged_decode_blocks 100, paged_prefill 100"},
		{
			"Olmo3ForCausalLM",
			map[string]any{"num_hidden_layers": 2, "sliding_window": 50, "layer_types": []string{"sliding_attention", "full_attention"}},
			fmt.Sprintf("decode_plan 50, decode_plan %[1]d, rope_write 64/512, paged_decode_blocks 50, paged_prefill 50, rope_write 64/512, paged_decode_blocks %[1]d, paged_prefill %[1]d", all),
		},
		{
			"SmolLM3ForCausalLM",
			map[string]any{"no_rope_layers": []int{0}},
			fmt.Sprintf("decode_plan %[1]d, store 2×64/512, round_queries, paged_decode_blocks %[1]d, paged_prefill %[1]d", all),
		},
		{
			"Glm4MoeForCausalLM",
			map[string]any{"n_routed_experts": 16, "num_experts_per_tok": 4, "moe_intermediate_size": 64, "n_shared_experts": 1},
			fmt.Sprintf("decode_plan %[1]d, rope_write 32/512, paged_decode_blocks %[1]d, paged_prefill %[1]d", all),
		},
		{
			"DeepseekV3ForCausalLM",
			map[string]any{
				"n_routed_experts": 16, "num_experts_per_tok": 4, "moe_intermediate_size": 64, "n_shared_experts": 1, "kv_lora_rank": 64, "q_lora_rank": nil,
				"qk_nope_head_dim": 32, "qk_rope_head_dim": 16, "v_head_dim": 32, "first_k_dense_replace": 1,
			},
			"rope 1×16/16/80, store 1×80/80, rope 4×16/16/64, latent_attention",
		},
	} {
		q := &launches{}
		refused, err := attention(oneLayer(t, tc.architecture, tc.more), q, 9, 3)
		if got := strings.Join(q.names, ", "); err != nil || len(refused) > 0 || got != tc.want {
			t.Errorf("%s: %v, %v\n got %s\nwant %s", tc.architecture, refused, err, got, tc.want)
		}
	}
}

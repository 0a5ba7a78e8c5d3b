package arch

import (
	"errors"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/troupe-llm/troupe/gpu/program"
)

// old and new are the same model in the layouts of transformers 4 and 5.
const (
	oldLayout = `{
  "architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": "bfloat16",
  "vocab_size": 1000, "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 3, "num_attention_heads": 4,
  "num_key_value_heads": 2, "max_position_embeddings": 131072, "rms_norm_eps": 1e-05, "hidden_act": "silu", "tie_word_embeddings": true,
  "rope_theta": 500000, "rope_scaling": {"type": "llama3", "factor": 8, "low_freq_factor": 1, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192},
  "bos_token_id": 1, "eos_token_id": [2, 3], "attention_bias": false, "mlp_bias": false, "pretraining_tp": 1}`
	newLayout = `{
  "architectures": ["LlamaForCausalLM"], "model_type": "llama", "dtype": "bfloat16",
  "vocab_size": 1000, "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 3, "num_attention_heads": 4,
  "num_key_value_heads": 2, "max_position_embeddings": 131072, "rms_norm_eps": 1e-05, "hidden_act": "silu", "tie_word_embeddings": true, "head_dim": 64,
  "rope_parameters": {"rope_theta": 500000.0, "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192},
  "bos_token_id": 1, "eos_token_id": [2, 3]}`
)

func TestConfigLayoutsAgree(t *testing.T) {
	var both []*Config
	for name, text := range map[string]string{"transformers 4": oldLayout, "transformers 5": newLayout} {
		c, err := Read([]byte(text), "config.json")
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if c.Architecture != "LlamaForCausalLM" || c.Layers != 3 || c.Hidden != 256 || c.Intermediate != 512 || c.Heads != 4 || c.KVHeads != 2 ||
			c.HeadDim != 64 || c.Vocab != 1000 || c.MaxPositions != 131072 || c.NormEps != 1e-5 || !c.TieEmbedding || c.DType != "bfloat16" ||
			c.BOS != 1 || !slices.Equal(c.EOS, []int32{2, 3}) || len(c.Notes) > 0 {
			t.Errorf("%s: got %+v", name, c)
		}
		both = append(both, c)
	}
	if !reflect.DeepEqual(both[0].Program, both[1].Program) {
		t.Error("the programs differ")
	}
}

// base is a Qwen3 configuration that tests bend: edit replaces one field.
const base = `{"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "vocab_size": 1000, "hidden_size": 256, "intermediate_size": 512,
  "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 64, "max_position_embeddings": 8192,
  "rms_norm_eps": 1e-6, "hidden_act": "silu", "rope_theta": 1000000, "eos_token_id": 7}`

// with returns base with fields (`"name": value, …`) overriding its own: the
// last of two equal names counts.
func with(fields string) string {
	if fields == "" {
		return base
	}
	return strings.TrimSuffix(base, "}") + ", " + fields + "}"
}

// experts makes base a mixture of experts; more fields may follow.
const experts = `"architectures": ["Qwen3MoeForCausalLM"], "num_experts": 16, "num_experts_per_tok": 4, "moe_intermediate_size": 96, "mlp_only_layers": [], `

func TestConfigDefaults(t *testing.T) {
	for _, tc := range []struct {
		name, fields string
		check        func(*Config) bool
	}{
		{"features follow the architecture", ``, func(c *Config) bool { return has(c, "q_norm") && !has(c, "qkv_bias") && !c.TieEmbedding && c.BOS == -1 }},
		{"model_type stands in for architectures", `"architectures": null, "model_type": "qwen2"`, func(c *Config) bool {
			return has(c, "qkv_bias") && !has(c, "q_norm") && c.Architecture == "Qwen2ForCausalLM"
		}},
		{"head_dim by size", `"architectures": ["LlamaForCausalLM"], "head_dim": null`, func(c *Config) bool { return c.HeadDim == 64 }},
		{"head_dim of Qwen3", `"head_dim": null`, func(c *Config) bool { return c.HeadDim == 128 }},
		{"no experts", `"num_experts": 8`, func(c *Config) bool { return c.MoE == nil }},
		{
			"experts", experts + `"norm_topk_prob": true, "decoder_sparse_step": 1`,
			func(c *Config) bool {
				return *c.MoE == mixture{Experts: 16, PerToken: 4, Intermediate: 96, Normalize: true, Scale: 1} && has(c, "q_norm") && !has(c, "gate_up")
			},
		},
		{"experts as transformers 5 counts them", experts + `"num_experts": null, "num_local_experts": 32`, func(c *Config) bool { return *c.MoE == mixture{Experts: 32, PerToken: 4, Intermediate: 96, Scale: 1} }},
		{"heads of Qwen3 MoE", experts + `"head_dim": null, "num_key_value_heads": null`, func(c *Config) bool { return c.HeadDim == 64 && c.KVHeads == 4 }},
		{"key heads of Llama", `"architectures": ["LlamaForCausalLM"], "num_key_value_heads": null`, func(c *Config) bool { return c.KVHeads == 4 }},
		{"theta and epsilon", `"rope_theta": null, "rms_norm_eps": null`, func(c *Config) bool { return theta(c) == 10000 && c.NormEps == 1e-6 }},
		{"theta beside rope_parameters", `"rope_parameters": {"rope_type": "default"}`, func(c *Config) bool { return theta(c) == 1e6 }},
		{"null scaling", `"rope_scaling": null`, func(c *Config) bool { return theta(c) == 1e6 }},
		{
			"original positions default to all", `"rope_scaling": {"rope_type": "llama3", "factor": 2, "low_freq_factor": 1, "high_freq_factor": 4}`,
			func(c *Config) bool {
				return reflect.DeepEqual(c.Rotary[0], stretched(rotary(64, 1e6), llama3{2, 1, 4, 8192}))
			},
		},
		{"dtype auto", `"dtype": "auto"`, func(c *Config) bool { return c.DType == "" }},
		{"dtype of torch", `"torch_dtype": "torch.float16"`, func(c *Config) bool { return c.DType == "float16" }},
		{"one end", ``, func(c *Config) bool { return slices.Equal(c.EOS, []int32{7}) }},
		{"no end", `"eos_token_id": null`, func(c *Config) bool { return c.EOS == nil }},
		{
			"ends outside the vocabulary", `"eos_token_id": [7, 1000, -1, 7], "bos_token_id": 5000`,
			func(c *Config) bool { return slices.Equal(c.EOS, []int32{7}) && c.BOS == -1 && len(c.Notes) == 3 },
		},
	} {
		c, err := Read([]byte(with(tc.fields)), "config.json")
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
		} else if !tc.check(c) {
			t.Errorf("%s: got %+v", tc.name, c)
		}
	}
}

func has(c *Config, role string) bool {
	return slices.ContainsFunc(c.Program.Weights, func(w *program.Weight) bool { return w.Role == role })
}

// theta is the base that an unscaled rotation's frequencies have.
func theta(c *Config) float64 {
	return math.Round(math.Pow(c.Rotary[0].InvFreq[1], -float64(c.HeadDim)/2))
}

func stretched(r *program.Rotary, l llama3) *program.Rotary {
	l.stretch(r)
	return r
}

// A model of text and images is its text model's family; what stands beside the
// text model's configuration counts for it, too.
func TestWrappers(t *testing.T) {
	inner := func(fields string) string { return with(`"architectures": null, ` + fields) }
	for _, tc := range []struct{ text, want string }{
		{`{"architectures": ["Mistral3ForConditionalGeneration"], "text_config": ` + inner(`"model_type": "mistral"`) + `}`, "MistralForCausalLM"},
		{`{"architectures": ["Mistral3ForConditionalGeneration"], "text_config": ` + inner(`"model_type": "ministral3"`) + `}`, "Ministral3ForCausalLM"},
		{`{"architectures": ["Gemma3ForConditionalGeneration"], "text_config": ` + inner(`"model_type": "gemma3_text"`) + `, "eos_token_id": [1, 9]}`, "Gemma3ForCausalLM"},
		{`{"architectures": ["Gemma3ForConditionalGeneration"], "text_config": {"hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 34,
			"sliding_window": 1024, "rope_scaling": {"factor": 8.0, "rope_type": "linear"}}}`, "Gemma3ForCausalLM"},
	} {
		c, err := Read([]byte(tc.text), "config.json")
		if err != nil {
			t.Errorf("%s: %v", tc.want, err)
			continue
		}
		if c.Architecture != tc.want {
			t.Errorf("%s, want %s", c.Architecture, tc.want)
		}
		if strings.Contains(tc.text, "9]}") && !slices.Equal(c.EOS, []int32{1, 9}) {
			t.Errorf("ends at %v", c.EOS)
		}
		// Gemma 3's layers with windows turn by a base of their own, unscaled.
		if strings.Contains(tc.text, "linear") && (c.Rotary[0].InvFreq[0] != 1 || c.Rotary[5].InvFreq[0] != 0.125 || c.Windows[0] != 1024 || c.Windows[5] != 0 || c.HeadDim != 256) {
			t.Errorf("rotations %v and %v, windows %v, heads of %d", c.Rotary[0].InvFreq[0], c.Rotary[5].InvFreq[0], c.Windows[:6], c.HeadDim)
		}
	}
}

// Published families have what sets them apart: against what is known of each.
func TestFamilies(t *testing.T) {
	c, err := Read([]byte(with(`"architectures": ["Gemma3ForCausalLM"]`)), "config.json")
	if err != nil {
		t.Fatal(err)
	}
	if e := c.Program.Ops[0].(*program.Embed); e.Scale != 16 || c.Activation != program.GELU || c.AttentionScale != 1.0/16 {
		t.Errorf("Gemma 3: embeddings times %v, attention times %v, gate %v", e.Scale, c.AttentionScale, c.Activation)
	}
	yarn := `"rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}, "max_position_embeddings": 40960`
	if c, err = Read([]byte(with(yarn)), "config.json"); err != nil {
		t.Fatal(err)
	}
	if want := 0.1*math.Log(4) + 1; c.MaxPositions != 131072 || math.Abs(c.Rotary[0].Scale-want) > 1e-12 {
		t.Errorf("YaRN: %d positions, cosines times %v", c.MaxPositions, c.Rotary[0].Scale)
	}
	both := `"rope_parameters": {"rope_type": "default", "rope_theta": 5000}, "rope_scaling": {"rope_type": "linear", "factor": 2.0, "rope_theta": 7000}`
	if c, err = Read([]byte(with(both)), "config.json"); err != nil {
		t.Fatal(err)
	}
	if got := c.Rotary[0].InvFreq[0]; got != 0.5 {
		t.Errorf("rope_scaling beside rope_parameters: the first frequency is %v, want 0.5", got)
	}
}

func TestSlidingWindows(t *testing.T) {
	const mistral = `"architectures": ["MistralForCausalLM"], "sliding_window": `
	all := func(n int) []int { return []int{n, n, n, n} }
	for _, tc := range []struct {
		name, fields string
		want         []int
	}{
		{"Qwen, not used", `"sliding_window": 512, "use_sliding_window": false, "max_window_layers": 0`, all(0)},
		{"Qwen, unsaid", `"sliding_window": 512, "max_window_layers": 0`, all(0)},
		{"Qwen, used", `"sliding_window": 512, "use_sliding_window": true, "max_window_layers": 2`, []int{0, 0, 512, 512}},
		{"Qwen, used from a layer it lacks", `"sliding_window": 512, "use_sliding_window": true, "max_window_layers": 4`, all(0)},
		{
			"Qwen, used but in no layer's type",
			`"sliding_window": 512, "use_sliding_window": true, "layer_types": ["full_attention", "full_attention", "full_attention", "full_attention"], "max_window_layers": 0`, all(0),
		},
		{
			"Qwen, used in some layers' type",
			`"sliding_window": 512, "use_sliding_window": true, "layer_types": ["full_attention", "sliding_attention", "full_attention", "sliding_attention"]`,
			[]int{0, 512, 0, 512},
		},
		{"Qwen, used, null", `"sliding_window": null, "use_sliding_window": true, "max_window_layers": 0`, all(0)},
		{"Mistral", mistral + `1024`, all(1024)},
		{"Mistral, null", mistral + `null`, all(0)},
		{"Mistral, unsaid: 4096", `"architectures": ["MistralForCausalLM"]`, all(4096)},
		{"Mistral, as large as the context", mistral + `8192`, all(0)},
		{"Llama has none", `"architectures": ["LlamaForCausalLM"], "sliding_window": 16`, all(0)},
	} {
		c, err := Read([]byte(with(tc.fields)), "config.json")
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		var windows []int
		for _, cache := range c.Program.Caches {
			windows = append(windows, cache.Window)
		}
		if c.MaxPositions != 8192 || !slices.Equal(windows, tc.want) {
			t.Errorf("%s: windows %v of %d positions, want %v of 8192", tc.name, windows, c.MaxPositions, tc.want)
		}
	}
}

func TestConfigFaults(t *testing.T) {
	for _, tc := range []struct {
		fields      string
		want        string
		unsupported bool
	}{
		{`"architectures": ["GPT2LMHeadModel"]`, `architecture "GPT2LMHeadModel" is not supported; supported: DeepseekV3ForCausalLM, Gemma3ForCausalLM, `, true},
		{experts + `"num_experts": null`, `num_experts: missing`, false},
		{experts + `"num_experts": 0`, `num_experts: 0, want 1 to`, false},
		{experts + `"num_experts_per_tok": null`, `num_experts_per_tok: missing`, false},
		{experts + `"num_experts_per_tok": 17`, `num_experts_per_tok: 17, of 16 experts`, false},
		{experts + `"moe_intermediate_size": 99999`, `moe_intermediate_size: 99999, want 1 to`, false},
		{experts + `"decoder_sparse_step": 2`, `decoder_sparse_step: 2 is not supported, only 1`, true},
		{experts + `"mlp_only_layers": [0, 3]`, `mlp_only_layers: [0 3] is not supported`, true},
		{`"architectures": [], "model_type": ""`, `architectures: missing`, false},
		{`"rope_scaling": {"rope_type": "spiral", "factor": 4}`, `rope_scaling: RoPE type "spiral" is not supported, only "default", "linear",`, true},
		{`"rope_scaling": {"type": "linear"}`, `rope_scaling: factor is missing`, false},
		{`"rope_scaling": {"type": "yarn", "factor": 0.5}`, `rope_scaling: factor is 0.5, want at least 1`, false},
		{`"rope_scaling": {"type": "yarn", "factor": 2, "original_max_position_embeddings": -1}`, `original_max_position_embeddings is -1, want at least 1`, false},
		{`"rope_scaling": {"type": "yarn", "factor": 2, "twist": 1}`, `rope_scaling: twist is not understood`, true},
		{`"rope_parameters": {"rope_type": "dynamic"}`, `rope_parameters: factor is missing`, false},
		{`"rope_parameters": {"rope_type": "longrope"}`, `rope_parameters: short_factor has 0 factors, want 32`, false},
		{`"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 1.5}`, `partial_rotary_factor: 96 of heads of 64 would be turned`, false},
		{`"rope_scaling": {"rope_type": "llama3", "low_freq_factor": 1, "high_freq_factor": 4}`, `rope_scaling: factor is missing`, false},
		{`"rope_scaling": {"rope_type": "llama3", "factor": 0.5, "low_freq_factor": 1, "high_freq_factor": 4}`, `factor is 0.5, want at least 1`, false},
		{`"rope_scaling": {"rope_type": "llama3", "factor": 2, "low_freq_factor": 4, "high_freq_factor": 4}`, `high_freq_factor 4 is not above low_freq_factor 4`, false},
		{`"rope_scaling": {"rope_type": "llama3", "factor": 2, "low_freq_factor": 1, "high_freq_factor": 4, "original_max_position_embeddings": 0}`, `original_max_position_embeddings is 0`, false},
		{`"rope_theta": 0`, `rope_theta: 0, want above 1`, false},
		{`"hidden_act": "gelu"`, `hidden_act: "gelu" is not supported, only "silu" and "gelu_pytorch_tanh"`, true},
		{`"attention_bias": true`, `attention_bias: `, true},
		{`"mlp_bias": true`, `mlp_bias: `, true},
		{`"quantization_config": {"quant_method": "aqlm"}`, `quantization_config: "aqlm" weights are not supported, only awq, compressed-tensors, fp8, gptq, modelopt, mxfp4`, true},
		{`"quantization_config": {}`, `quantization_config: "unnamed" weights`, true},
		{`"dtype": "float8_e4m3fn"`, `dtype: "float8_e4m3fn" is not supported`, true},
		{`"use_sliding_window": true, "layer_types": ["full_attention"]`, `layer_types: 1 of 4 layers`, false},
		{`"layer_types": ["linear_attention"]`, `layer_types: 1 of 4 layers`, false},
		{`"layer_types": ["linear_attention", "full_attention", "full_attention", "full_attention"]`, `layer_types: "linear_attention" layers are not supported`, true},
		{`"num_key_value_heads": 3`, `num_attention_heads: 4 is no multiple of num_key_value_heads, 3`, false},
		{`"head_dim": 63`, `head_dim: 63 is odd`, false},
		{`"head_dim": 0`, `head_dim: 0, want 1 to`, false},
		{`"hidden_size": null`, `hidden_size: missing`, false},
		{`"num_attention_heads": 0`, `num_attention_heads: 0, want 1 to`, false},
		{`"num_hidden_layers": 99999999999`, `num_hidden_layers: 99999999999, want 1 to 1024`, false},
		{`"vocab_size": -5`, `vocab_size: -5, want 1 to`, false},
		{`"rms_norm_eps": 0`, `rms_norm_eps: 0, want between 0 and 1`, false},
		{`"use_sliding_window": true, "max_window_layers": 0, "sliding_window": 0`, `sliding_window: 0, want at least 1`, false},
		{`"vocab_size": "many"`, `vocab_size is a string, want an integer`, false},
		{`"vocab_size": 2.5`, `vocab_size is a number 2.5, want an integer`, false},
		{`"rope_scaling": 3`, `rope_scaling is a number, want an object`, false},
		{`"eos_token_id": "</s>"`, `eos_token_id`, false},
	} {
		_, err := Read([]byte(with(tc.fields)), "some/config.json")
		if err == nil {
			t.Errorf("%s: accepted", tc.fields)
			continue
		}
		if !strings.HasPrefix(err.Error(), "some/config.json: ") || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: error %q lacks %q", tc.fields, err, tc.want)
		}
		if errors.Is(err, ErrUnsupported) != tc.unsupported {
			t.Errorf("%s: wraps ErrUnsupported: %v, want %v", tc.fields, !tc.unsupported, tc.unsupported)
		}
	}
}

func TestConfigReportsAllFaultsAtOnce(t *testing.T) {
	_, err := Read([]byte(with(`"hidden_size": 0, "hidden_act": "relu", "rope_scaling": {"type": "spiral"}, "mlp_bias": true`)), "config.json")
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"4 faults", "hidden_size", "hidden_act", "spiral", "mlp_bias"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error lacks %q:\n%v", want, err)
		}
	}
	if _, err := Read([]byte("{\n\"a\": 1,\n}"), "config.json"); err == nil || !strings.Contains(err.Error(), "not JSON: line 3") {
		t.Errorf("syntax error: %v", err)
	}
}

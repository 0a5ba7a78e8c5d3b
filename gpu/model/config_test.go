package model

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
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
	want := Config{
		Architecture: "LlamaForCausalLM", Layers: 3, Hidden: 256, Intermediate: 512, Heads: 4, KVHeads: 2, HeadDim: 64, Vocab: 1000,
		MaxPositions: 131072, NormEps: 1e-5, TieEmbedding: true, DType: BFloat16, BOS: 1, EOS: []int32{2, 3},
		Rope: Rope{Theta: 500000, Llama3: &Llama3Rope{Factor: 8, LowFreqFactor: 1, HighFreqFactor: 4, OriginalMaxPositions: 8192}},
	}
	for name, text := range map[string]string{"transformers 4": oldLayout, "transformers 5": newLayout} {
		got, err := parseConfig([]byte(text), "config.json")
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n got %+v\nwant %+v", name, got, want)
		}
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
		{"features follow the architecture", ``, func(c *Config) bool { return c.QKNorm && !c.QKVBias && !c.TieEmbedding && c.BOS == -1 }},
		{"model_type stands in for architectures", `"architectures": null, "model_type": "qwen2"`, func(c *Config) bool { return c.QKVBias && !c.QKNorm && c.Architecture == "Qwen2ForCausalLM" }},
		{"head_dim by size", `"architectures": ["LlamaForCausalLM"], "head_dim": null`, func(c *Config) bool { return c.HeadDim == 64 }},
		{"head_dim of Qwen3", `"head_dim": null`, func(c *Config) bool { return c.HeadDim == 128 }},
		{"no experts", `"num_experts": 8`, func(c *Config) bool { return c.MoE == nil }},
		{
			"experts", experts + `"norm_topk_prob": true, "decoder_sparse_step": 1`,
			func(c *Config) bool { return *c.MoE == MoE{16, 4, 96, true} && c.QKNorm && c.Intermediate == 512 },
		},
		{"experts as transformers 5 counts them", experts + `"num_experts": null, "num_local_experts": 32`, func(c *Config) bool { return *c.MoE == MoE{32, 4, 96, false} }},
		{"heads of Qwen3 MoE", experts + `"head_dim": null, "num_key_value_heads": null`, func(c *Config) bool { return c.HeadDim == 64 && c.KVHeads == 4 }},
		{"key heads of Llama", `"architectures": ["LlamaForCausalLM"], "num_key_value_heads": null`, func(c *Config) bool { return c.KVHeads == 4 }},
		{"theta and epsilon", `"rope_theta": null, "rms_norm_eps": null`, func(c *Config) bool { return c.Rope.Theta == 10000 && c.NormEps == 1e-6 }},
		{"theta beside rope_parameters", `"rope_parameters": {"rope_type": "default"}`, func(c *Config) bool { return c.Rope.Theta == 1e6 && c.Rope.Llama3 == nil }},
		{"null scaling", `"rope_scaling": null`, func(c *Config) bool { return c.Rope.Llama3 == nil }},
		{
			"original positions default to all", `"rope_scaling": {"rope_type": "llama3", "factor": 2, "low_freq_factor": 1, "high_freq_factor": 4}`,
			func(c *Config) bool { return c.Rope.Llama3.OriginalMaxPositions == 8192 },
		},
		{"dtype auto", `"dtype": "auto"`, func(c *Config) bool { return c.DType == "" }},
		{"dtype of torch", `"torch_dtype": "torch.float16"`, func(c *Config) bool { return c.DType == Float16 }},
		{"one end", ``, func(c *Config) bool { return slices.Equal(c.EOS, []int32{7}) }},
		{"no end", `"eos_token_id": null`, func(c *Config) bool { return c.EOS == nil }},
		{
			"ends outside the vocabulary", `"eos_token_id": [7, 1000, -1, 7], "bos_token_id": 5000`,
			func(c *Config) bool { return slices.Equal(c.EOS, []int32{7}) && c.BOS == -1 && len(c.Notes) == 3 },
		},
	} {
		c, err := parseConfig([]byte(with(tc.fields)), "config.json")
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
		} else if !tc.check(&c) {
			t.Errorf("%s: got %+v", tc.name, c)
		}
	}
}

func TestSlidingWindowClampsTheContext(t *testing.T) {
	const mistral = `"architectures": ["MistralForCausalLM"], "sliding_window": `
	for _, tc := range []struct {
		name, fields string
		want         int
	}{
		{"Qwen, not used", `"sliding_window": 512, "use_sliding_window": false, "max_window_layers": 0`, 8192},
		{"Qwen, unsaid", `"sliding_window": 512, "max_window_layers": 0`, 8192},
		{"Qwen, used", `"sliding_window": 512, "use_sliding_window": true, "max_window_layers": 2`, 512},
		{"Qwen, used from a layer it lacks", `"sliding_window": 512, "use_sliding_window": true, "max_window_layers": 4`, 8192},
		{"Qwen, used but in no layer's type", `"sliding_window": 512, "use_sliding_window": true, "layer_types": ["full_attention", "full_attention"], "max_window_layers": 0`, 8192},
		{"Qwen, used in one layer's type", `"sliding_window": 512, "use_sliding_window": true, "layer_types": ["full_attention", "sliding_attention"]`, 512},
		{"Qwen, used, null", `"sliding_window": null, "use_sliding_window": true, "max_window_layers": 0`, 8192},
		{"Mistral", mistral + `1024`, 1024},
		{"Mistral, null", mistral + `null`, 8192},
		{"Mistral, unsaid: 4096", `"architectures": ["MistralForCausalLM"]`, 4096},
		{"Mistral, as large as the context", mistral + `8192`, 8192},
		{"Llama has none", `"architectures": ["LlamaForCausalLM"], "sliding_window": 16`, 8192},
	} {
		c, err := parseConfig([]byte(with(tc.fields)), "config.json")
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		if c.MaxPositions != tc.want || (len(c.Notes) > 0) != (tc.want < 8192) {
			t.Errorf("%s: %d positions, want %d; notes %q", tc.name, c.MaxPositions, tc.want, c.Notes)
		}
	}
}

func TestConfigFaults(t *testing.T) {
	for _, tc := range []struct {
		fields      string
		want        string
		unsupported bool
	}{
		{`"architectures": ["GPT2LMHeadModel"]`, `architecture "GPT2LMHeadModel" is not supported; supported: LlamaForCausalLM, MistralForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM, Qwen3MoeForCausalLM`, true},
		{experts + `"num_experts": null`, `num_experts: missing`, false},
		{experts + `"num_experts": 0`, `num_experts: 0, want 1 to`, false},
		{experts + `"num_experts_per_tok": null`, `num_experts_per_tok: missing`, false},
		{experts + `"num_experts_per_tok": 17`, `num_experts_per_tok: 17, of 16 experts`, false},
		{experts + `"moe_intermediate_size": 99999`, `moe_intermediate_size: 99999, want 1 to`, false},
		{experts + `"decoder_sparse_step": 2`, `decoder_sparse_step: 2 is not supported, only 1`, true},
		{experts + `"mlp_only_layers": [0, 3]`, `mlp_only_layers: [0 3] is not supported`, true},
		{`"architectures": [], "model_type": ""`, `architectures: missing`, false},
		{`"rope_scaling": {"rope_type": "yarn", "factor": 4}`, `rope_scaling: RoPE type "yarn" is not supported, only "default" and "llama3"`, true},
		{`"rope_scaling": {"type": "linear", "factor": 4}`, `RoPE type "linear"`, true},
		{`"rope_parameters": {"rope_type": "dynamic"}`, `rope_parameters: RoPE type "dynamic"`, true},
		{`"rope_parameters": {"rope_type": "longrope"}`, `RoPE type "longrope"`, true},
		{`"rope_parameters": {"full_attention": {"rope_type": "default"}}`, `rope_parameters: RoPE that differs by layer type`, true},
		{`"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5}`, `partial_rotary_factor: 0.5`, true},
		{`"rope_scaling": {"rope_type": "llama3", "low_freq_factor": 1, "high_freq_factor": 4}`, `rope_scaling: factor is missing`, false},
		{`"rope_scaling": {"rope_type": "llama3", "factor": 0.5, "low_freq_factor": 1, "high_freq_factor": 4}`, `factor is 0.5, want at least 1`, false},
		{`"rope_scaling": {"rope_type": "llama3", "factor": 2, "low_freq_factor": 4, "high_freq_factor": 4}`, `high_freq_factor 4 is not above low_freq_factor 4`, false},
		{`"rope_scaling": {"rope_type": "llama3", "factor": 2, "low_freq_factor": 1, "high_freq_factor": 4, "original_max_position_embeddings": 0}`, `original_max_position_embeddings is 0`, false},
		{`"rope_theta": 0`, `rope_theta: 0, want above 1`, false},
		{`"hidden_act": "gelu"`, `hidden_act: "gelu" is not supported, only "silu"`, true},
		{`"attention_bias": true`, `attention_bias: `, true},
		{`"mlp_bias": true`, `mlp_bias: `, true},
		{`"quantization_config": {"quant_method": "awq", "bits": 4}`, `quantization_config: "awq" weights are not supported`, true},
		{`"quantization_config": {}`, `quantization_config: "unnamed" weights`, true},
		{`"dtype": "float8_e4m3fn"`, `dtype: "float8_e4m3fn" is not supported`, true},
		{`"layer_types": ["linear_attention"]`, `layer_types: "linear_attention" layers are not supported`, true},
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
		_, err := parseConfig([]byte(with(tc.fields)), "some/config.json")
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
	_, err := parseConfig([]byte(with(`"hidden_size": 0, "hidden_act": "relu", "rope_scaling": {"type": "yarn"}, "mlp_bias": true`)), "config.json")
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"4 faults", "hidden_size", "hidden_act", "yarn", "mlp_bias"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error lacks %q:\n%v", want, err)
		}
	}
	if _, err := parseConfig([]byte("{\n\"a\": 1,\n}"), "config.json"); err == nil || !strings.Contains(err.Error(), "not JSON: line 3") {
		t.Errorf("syntax error: %v", err)
	}
}

func TestGeneration(t *testing.T) {
	c := Config{Vocab: 10, EOS: []int32{1}}
	g, err := parseGeneration([]byte(`{"eos_token_id": [2, 3, 11], "temperature": 0.6, "top_k": 20, "top_p": 0.95, "min_p": 0.1, "repetition_penalty": 1.05}`), "g", &c)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(g.EOS, []int32{2, 3}) || !slices.Equal(c.EOS, g.EOS) || len(c.Notes) != 1 {
		t.Errorf("ends %v in the generation, %v in the configuration, notes %q; want [2 3] in both and a note on 11", g.EOS, c.EOS, c.Notes)
	}
	if *g.Temperature != 0.6 || *g.TopK != 20 || *g.TopP != 0.95 || *g.MinP != 0.1 || *g.Repetition != 1.05 {
		t.Errorf("got %+v", g)
	}

	c = Config{Vocab: 10, EOS: []int32{1}}
	g, err = parseGeneration([]byte(`{"do_sample": false, "temperature": 0.6}`), "g", &c)
	if err != nil || g.Temperature != nil || !slices.Equal(c.EOS, []int32{1}) {
		t.Errorf("without sampling: %+v, ends %v, %v; want no temperature and ends kept", g, c.EOS, err)
	}

	_, err = parseGeneration([]byte(`{"temperature": -1, "top_p": 2, "top_k": -3}`), "g.json", &c)
	if err == nil || !strings.Contains(err.Error(), "g.json: 3 faults") {
		t.Errorf("faults: %v", err)
	}
}

// TestPythonsNumbers: Infinity and NaN, which Python's json writes, are read; where a
// number of theirs matters it is out of bounds, or absent.
func TestPythonsNumbers(t *testing.T) {
	c, err := parseConfig([]byte(with(`"time_step_limit": [0.0, Infinity], "x": -Infinity, "NaN": "\"NaN Infinity", "rms_norm_eps": NaN, "hidden_act": "swish"`)), "config.json")
	if err != nil || c.NormEps != 1e-6 {
		t.Errorf("%v, eps %v; want transformers' default", err, c.NormEps)
	}
	if _, err := parseConfig([]byte(with(`"rms_norm_eps": Infinity`)), "config.json"); err == nil || !strings.Contains(err.Error(), "rms_norm_eps: 1.79") {
		t.Errorf("an infinite eps: %v", err)
	}
	g, err := parseGeneration([]byte(`{"top_k": -1, "top_p": NaN, "length_penalty": Infinity}`), "g.json", &c)
	if err != nil || g.TopK == nil || *g.TopK != 0 || g.TopP != nil {
		t.Errorf("%+v, %v; want a top_k of 0, all", g, err)
	}
	if got := string(finite([]byte(`{"a\\": NaN, "NaN\"": "Infinity"}`))); got != `{"a\\": null, "NaN\"": "Infinity"}` {
		t.Errorf("got %s", got)
	}
}

func TestDeepConfig(t *testing.T) {
	deep := strings.Repeat("[", 1_000_000)
	for _, text := range []string{deep, `{"x": ` + deep + strings.Repeat("]", 1_000_000) + `}`} {
		if _, err := parseConfig([]byte(text), "config.json"); err == nil || len(err.Error()) > 500 {
			t.Errorf("%.200v", err)
		}
	}
}

// FuzzConfig: whatever config.json and generation_config.json say, the sizes that come
// of them are within bounds.
func FuzzConfig(f *testing.F) {
	for _, dir := range []string{"qwen3", "qwen3moe", "llama3", "mistral"} {
		config, err := os.ReadFile(filepath.Join("testdata", dir, "config.json"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(config, []byte(`{"eos_token_id": [2, 3], "top_k": -1, "temperature": Infinity}`))
	}
	f.Fuzz(func(t *testing.T, config, generation []byte) {
		c, err := parseConfig(config, "config.json")
		if err != nil {
			return
		}
		if c.Layers < 1 || c.Layers > maxLayers || c.Vocab < 1 || c.Vocab > maxSize || c.Heads%c.KVHeads != 0 || c.MaxPositions < 1 {
			t.Errorf("%+v", c)
		}
		g, err := parseGeneration(generation, "generation_config.json", &c)
		if err != nil {
			return
		}
		for _, id := range g.EOS {
			if id < 0 || int(id) >= c.Vocab {
				t.Errorf("end %d of %d", id, c.Vocab)
			}
		}
	})
}

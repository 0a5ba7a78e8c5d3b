package arch

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// compressed is compressed-tensors' configuration of one group of modules.
func compressed(format, weights string) string {
	return fmt.Sprintf(`{"quant_method": "compressed-tensors", "format": %q, "config_groups": {"group_0": {"targets": ["Linear"], "weights": {%s}}}}`, format, weights)
}

func TestSchemes(t *testing.T) {
	const activations = "activations are computed in more bits"
	for _, tc := range []struct {
		text string
		want Scheme
		note string
	}{
		{"null", Scheme{}, ""},
		{`{"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic", "weight_block_size": [128, 64]}`, Scheme{Method: FP8, Block: [2]int{128, 64}}, activations},
		{`{"quant_method": "fp8", "activation_scheme": "static", "ignored_layers": ["lm_head"]}`, Scheme{Method: FP8}, activations},
		{`{"quant_method": "modelopt", "quant_algo": "FP8", "kv_cache_scheme": {"num_bits": 8}}`, Scheme{Method: FP8}, "keys and values are kept in more bits"},
		{
			`{"quant_method": "gptq", "bits": 4, "group_size": 128, "desc_act": true, "sym": true}`,
			Scheme{Method: GPTQ, Bits: 4, Group: 128, Symmetric: true, Reordered: true, LessOne: true},
			"",
		},
		{`{"quant_method": "gptq", "bits": 8, "group_size": -1, "sym": false, "checkpoint_format": "gptq_v2", "dynamic": {"-:lm_head": {}}}`, Scheme{Method: GPTQ, Bits: 8}, ""},
		{`{"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": true, "version": "GEMM"}`, Scheme{Method: AWQ, Bits: 4, Group: 128}, ""},
		{`{"quant_method": "awq", "w_bit": 4, "q_group_size": 64}`, Scheme{Method: AWQ, Bits: 4, Group: 64}, ""},
		{compressed("float-quantized", `"num_bits": 8, "type": "float", "strategy": "channel"`), Scheme{Method: FP8, Bits: 8, Symmetric: true}, ""},
		{compressed("naive-quantized", `"num_bits": 8, "type": "float", "strategy": "tensor", "group_size": null`), Scheme{Method: FP8, Bits: 8, Symmetric: true}, ""},
		{
			compressed("float-quantized", `"num_bits": 8, "type": "float", "strategy": "block", "block_structure": [128, 128]`),
			Scheme{Method: FP8, Bits: 8, Symmetric: true, Block: [2]int{128, 128}},
			"",
		},
		{
			compressed("pack-quantized", `"num_bits": 4, "type": "int", "strategy": "group", "group_size": 32, "symmetric": false, "actorder": "group"`),
			Scheme{Method: PackQuantized, Bits: 4, Group: 32, Reordered: true},
			"",
		},
		{
			compressed("pack-quantized", `"num_bits": 8, "type": "int", "strategy": "channel", "symmetric": true, "actorder": "weight"`),
			Scheme{Method: PackQuantized, Bits: 8, Symmetric: true},
			"",
		},
	} {
		c, err := Read([]byte(with(`"quantization_config": `+tc.text)), "config.json")
		if err != nil {
			t.Errorf("%s: %v", tc.text, err)
			continue
		}
		if notes := strings.Join(c.Notes, "\n"); c.Scheme != tc.want || !strings.Contains(notes, tc.note) || (notes == "") != (tc.note == "") {
			t.Errorf("%s: %+v, noted %q; want %+v", tc.text, c.Scheme, notes, tc.want)
		}
	}
}

func TestSchemeFaults(t *testing.T) {
	for _, tc := range []struct {
		text, want  string
		unsupported bool
	}{
		{`{"quant_method": "fp8", "fmt": "e5m2"}`, `fmt "e5m2" is not supported, only "e4m3"`, true},
		{`{"quant_method": "fp8", "weight_block_size": [128]}`, `weight_block_size is [128], want two sizes`, false},
		{`{"quant_method": "fp8", "weight_block_size": [128, 0]}`, `weight_block_size is [128 0], want two sizes`, false},
		{`{"quant_method": "modelopt", "quant_algo": "NVFP4"}`, `quant_algo "NVFP4" is not supported`, true},
		{`{"quant_method": "gptq", "group_size": 128}`, `bits: missing`, false},
		{`{"quant_method": "gptq", "bits": 3, "group_size": 128}`, `bits: 3 is not supported, only 4 and 8`, true},
		{`{"quant_method": "gptq", "bits": 4}`, `group_size: missing`, false},
		{`{"quant_method": "gptq", "bits": 4, "group_size": 0}`, `group_size: 0, want at least 1, or -1`, false},
		{`{"quant_method": "gptq", "bits": 4, "group_size": 64, "checkpoint_format": "marlin"}`, `checkpoint_format "marlin" is not supported`, true},
		{`{"quant_method": "gptq", "bits": 4, "group_size": 64, "dynamic": {"+:.*down": {"bits": 8}}}`, `dynamic: other settings for modules "+:.*down"`, true},
		{`{"quant_method": "awq", "bits": 8, "group_size": 64}`, `bits: 8 is not supported, only 4`, true},
		{`{"quant_method": "awq", "bits": 4, "group_size": 64, "version": "gemv"}`, `version "gemv" is not supported`, true},
		{`{"quant_method": "mxfp4"}`, `mxfp4 is not supported of "qwen3", only of "gpt_oss"`, true},
		{`{"quant_method": "compressed-tensors"}`, `config_groups: missing`, false},
		{`{"quant_method": "compressed-tensors", "config_groups": {"a": {}}}`, `config_groups: a without weights`, true},
		{compressed("int-quantized", `"num_bits": 8, "type": "int", "strategy": "channel"`), `format "int-quantized" of type "int" is not supported`, true},
		{compressed("float-quantized", `"num_bits": 8, "type": "float", "strategy": "group", "group_size": 64`), `strategy "group" of fp8 is not supported`, true},
		{compressed("float-quantized", `"num_bits": 8, "type": "float", "strategy": "channel", "symmetric": false`), `zero points of FP8`, true},
		{compressed("pack-quantized", `"num_bits": 2, "type": "int", "strategy": "channel"`), `num_bits: 2 is not supported`, true},
		{compressed("pack-quantized", `"num_bits": 4, "type": "int", "strategy": "group"`), `group_size: missing`, false},
		{compressed("pack-quantized", `"num_bits": 4, "type": "int", "strategy": "tensor"`), `strategy "tensor" of pack-quantized`, true},
		{
			`{"quant_method": "compressed-tensors", "format": "pack-quantized", "sparsity_config": {"format": "sparse-24-bitmask"}, "transform_config": {"a": 1}, "config_groups": {
			"a": {"weights": {"num_bits": 4, "type": "int", "strategy": "channel"}}, "b": {"weights": {"num_bits": 8, "type": "int", "strategy": "channel"}}}}`,
			`config_groups: b differs from the others`, true,
		},
	} {
		_, err := Read([]byte(with(`"quantization_config": `+tc.text)), "config.json")
		if err == nil || !strings.Contains(err.Error(), "quantization_config: "+tc.want) || errors.Is(err, ErrUnsupported) != tc.unsupported {
			t.Errorf("%s: %v, want %q", tc.text, err, tc.want)
		}
	}
}

// Experts in MXFP4 lie output by output, those in bfloat16 input by input.
func TestSlabs(t *testing.T) {
	const fields = `"architectures": ["GptOssForCausalLM"], "model_type": "gpt_oss", "num_local_experts": 4, "num_experts_per_tok": 2, "intermediate_size": 96`
	for text, transposed := range map[string]bool{`{"quant_method": "mxfp4"}`: false, "null": true} {
		c, err := Read([]byte(with(fields+`, "quantization_config": `+text)), "config.json")
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range c.Program.Weights {
			want := "[4 192 256]"
			if transposed {
				want = "[4 256 192]"
			}
			if p := &w.Parts[0]; w.Role == "experts_gate_up" && (p.Transposed != transposed || fmt.Sprint(p.Shape) != want || p.Row(1) != 2) {
				t.Errorf("%s: %+v", text, p)
			}
		}
	}
}

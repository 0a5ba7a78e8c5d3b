package gguf

import (
	"regexp"
	"strings"
)

// names are what the tensors of a layer are called, by what checkpoints of Hugging
// Face call them, without ".weight" or ".bias". Of several the first that is there
// counts: what is called post_attention_layernorm stands before the MLP in most
// families, and behind attention in some.
var names = map[string][]string{
	"input_layernorm":            {"attn_norm"},
	"post_attention_layernorm":   {"post_attention_norm", "ffn_norm"},
	"pre_feedforward_layernorm":  {"ffn_norm"},
	"post_feedforward_layernorm": {"post_ffw_norm"},

	"self_attn.q_proj": {"attn_q"}, "self_attn.k_proj": {"attn_k"}, "self_attn.v_proj": {"attn_v"}, "self_attn.o_proj": {"attn_output"},
	"self_attn.qkv_proj": {"attn_qkv"}, "self_attn.q_norm": {"attn_q_norm"}, "self_attn.k_norm": {"attn_k_norm"},
	"self_attn.sinks": {"attn_sinks.weight"},

	"self_attn.q_a_proj": {"attn_q_a"}, "self_attn.q_a_layernorm": {"attn_q_a_norm"}, "self_attn.q_b_proj": {"attn_q_b"},
	"self_attn.kv_a_proj_with_mqa": {"attn_kv_a_mqa"}, "self_attn.kv_a_layernorm": {"attn_kv_a_norm"}, "self_attn.kv_b_proj": {"attn_kv_b"},

	"mlp.gate_proj": {"ffn_gate"}, "mlp.up_proj": {"ffn_up"}, "mlp.down_proj": {"ffn_down"},
	"mlp.gate_up_proj": {"ffn_up"}, // of families that have both in one

	"mlp.gate": {"ffn_gate_inp"}, "mlp.router": {"ffn_gate_inp"}, "block_sparse_moe.gate": {"ffn_gate_inp"},
	"mlp.gate.e_score_correction_bias": {"exp_probs_b.bias", "exp_probs_b"}, "block_sparse_moe.e_score_correction_bias": {"exp_probs_b.bias", "exp_probs_b"},
	"mlp.shared_expert.gate_proj": {"ffn_gate_shexp"}, "mlp.shared_expert.up_proj": {"ffn_up_shexp"}, "mlp.shared_expert.down_proj": {"ffn_down_shexp"},
	"mlp.shared_expert_gate":       {"ffn_gate_inp_shexp"},
	"mlp.shared_experts.gate_proj": {"ffn_gate_shexp"}, "mlp.shared_experts.up_proj": {"ffn_up_shexp"}, "mlp.shared_experts.down_proj": {"ffn_down_shexp"},

	"linear_attn.in_proj_qkv": {"attn_qkv"}, "linear_attn.in_proj_z": {"attn_gate"}, "linear_attn.in_proj_a": {"ssm_alpha"}, "linear_attn.in_proj_b": {"ssm_beta"},
	"linear_attn.conv1d": {"ssm_conv1d"}, "linear_attn.A_log": {"ssm_a"}, "linear_attn.dt_bias": {"ssm_dt.bias"}, "linear_attn.norm": {"ssm_norm"}, "linear_attn.out_proj": {"ssm_out"},

	// All experts of a layer are one tensor.
	"mlp.experts.gate_proj": {"ffn_gate_exps"}, "mlp.experts.up_proj": {"ffn_up_exps"}, "mlp.experts.down_proj": {"ffn_down_exps"},
	"block_sparse_moe.experts.w1": {"ffn_gate_exps"}, "block_sparse_moe.experts.w3": {"ffn_up_exps"}, "block_sparse_moe.experts.w2": {"ffn_down_exps"},
	"mlp.experts.down_proj_bias": {"ffn_down_exps.bias"},
}

// outside are the tensors outside the layers.
var outside = map[string]string{
	"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight", "lm_head.weight": "output.weight",
}

var (
	ofLayer  = regexp.MustCompile(`^model\.layers\.(\d+)\.(.+)$`)
	ofExpert = regexp.MustCompile(`\.experts\.(\d+)\.`)
)

// Name is what a tensor of Hugging Face's name is called here; "" when there is none
// by that name. Of an expert's tensor, which is one of many in a tensor here, its
// number comes with it.
func (f *File) Name(tensor string) (name, expert string) {
	if name, is := outside[tensor]; is {
		return name, ""
	}
	m := ofLayer.FindStringSubmatch(tensor)
	if m == nil {
		return "", ""
	}
	rest := m[2]
	if e := ofExpert.FindStringSubmatch(rest); e != nil {
		expert = e[1]
		rest = ofExpert.ReplaceAllLiteralString(rest, ".experts.")
	}
	prefix, end := "blk."+m[1]+".", ""
	for _, suffix := range []string{".weight", ".bias"} {
		if cut, is := strings.CutSuffix(rest, suffix); is {
			rest, end = cut, suffix
		}
	}
	known := names[rest]
	if family := families[f.Architecture()]; family != nil && family.names[rest] != nil {
		known = family.names[rest]
	}
	for _, n := range known {
		if name == "" || f.Tensors[name] == nil {
			name = prefix + n + end
		}
	}
	return name, expert
}

// Tiled says that value heads of recurrent layers take turns by their key head.
func (f *File) Tiled() bool {
	family := families[f.Architecture()]
	return family != nil && family.tiled
}

// Turned says that rows of queries and keys lie as llama.cpp turns them: in pairs of
// (i, i+n/2) of a head of n.
func (f *File) Turned() bool {
	family := families[f.Architecture()]
	return family != nil && family.turned
}

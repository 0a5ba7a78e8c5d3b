package gguf

// family is an architecture of llama.cpp whose models are run here.
type family struct {
	name string // in config.json's "architectures"
	// turned says that rows of queries and keys lie in pairs (2i, 2i+1) of a head's
	// halves (i, i+n/2), as llama.cpp turns them.
	turned bool
	// tiled says that value heads of recurrent layers take turns by their key head, as
	// llama.cpp repeats keys: value head v·keyHeads + k is the v-th of key head k.
	tiled bool
	read  func(*configuration) // what config.json has beyond the common fields; nil: nothing
	// names are what tensors are called where that is not what others call them.
	names map[string][]string
}

// families by "general.architecture".
var families = map[string]*family{
	"llama": {name: "LlamaForCausalLM", turned: true, read: func(c *configuration) {
		if n, _ := c.whole("expert_count"); n > 0 {
			c.fields["architectures"] = []string{"MixtralForCausalLM"}
			c.localExperts()
		}
	}},
	"qwen2": {name: "Qwen2ForCausalLM", read: noBias},
	"qwen3": {name: "Qwen3ForCausalLM", read: noBias},
	"qwen3moe": {name: "Qwen3MoeForCausalLM", read: func(c *configuration) {
		noBias(c)
		c.experts()
		c.fields["norm_topk_prob"] = true
	}},
	"qwen35": {name: "Qwen3_5ForCausalLM", tiled: true, read: (*configuration).recurrent},
	"qwen35moe": {name: "Qwen3_5MoeForCausalLM", tiled: true, read: func(c *configuration) {
		c.recurrent()
		c.experts()
		c.need("shared_expert_intermediate_size", "expert_shared_feed_forward_length")
	}},
	"gemma3": {name: "Gemma3ForCausalLM", read: func(c *configuration) {
		c.windows(6)
		scalar := c.fields["head_dim"]
		if hidden, _ := c.fields["hidden_size"].(int); c.fields["num_hidden_layers"] == 62 { // the largest, alone
			heads, _ := c.fields["num_attention_heads"].(int)
			scalar = hidden / max(heads, 1)
		}
		c.fields["query_pre_attn_scalar"] = scalar
		if p, _ := c.fields["rope_parameters"].(map[string]any); p != nil && p[sliding] == nil {
			c.fields["rope_local_base_freq"] = 10000.0
		}
	}},
	"phi3": {name: "Phi3ForCausalLM", read: func(c *configuration) {
		c.fields["sliding_window"] = nil
		if n, _ := c.whole("attention.sliding_window"); n > 0 {
			c.fields["sliding_window"] = n
		}
	}},
	"gpt-oss": {name: "GptOssForCausalLM", read: func(c *configuration) {
		c.windows(2)
		c.localExperts()
		c.need("intermediate_size", "expert_feed_forward_length")
		if p, _ := c.fields["rope_parameters"].(map[string]any); p["rope_type"] == "yarn" {
			p["truncate"] = false // of all that were published; metadata has no key for it
		}
	}},
	"granite": {name: "GraniteForCausalLM", turned: true, read: func(c *configuration) {
		c.takeNumber("embedding_multiplier", "embedding_scale")
		c.takeNumber("residual_multiplier", "residual_scale")
		c.takeNumber("attention_multiplier", "attention.scale")
		c.takeNumber("logits_scaling", "logit_scale")
	}},
	// OLMo 2 is OLMo 3 without windows.
	"olmo2":   {name: "Olmo3ForCausalLM", read: func(c *configuration) { c.windows(4) }},
	"smollm3": {name: "SmolLM3ForCausalLM", turned: true},
	"mistral3": {name: "Ministral3ForCausalLM", turned: true, read: func(c *configuration) {
		if x, ok := c.number("attention.temperature_scale"); ok && x != 0 {
			p, _ := c.fields["rope_parameters"].(map[string]any)
			p["llama_4_scaling_beta"] = x
		}
	}},
	"glm4": {name: "Glm4ForCausalLM", names: map[string][]string{
		"post_self_attn_layernorm": {"post_attention_norm"}, "post_attention_layernorm": {"ffn_norm"}, "post_mlp_layernorm": {"post_ffw_norm"},
	}, read: func(c *configuration) {
		if c.has("rope.dimension_sections") {
			c.faults.Unsupportedf("metadata: %q: models of images, whose queries and keys lie in another order, are not supported", c.own("rope.dimension_sections"))
		}
	}},
	"glm4moe": {name: "Glm4MoeForCausalLM", read: func(c *configuration) {
		c.fields["use_qk_norm"] = c.f.Tensors["blk.0.attn_q_norm.weight"] != nil
		c.corrected()
	}},
	"deepseek2": {name: "DeepseekV3ForCausalLM", read: (*configuration).latent},
	"minimax-m2": {name: "MiniMaxM2ForCausalLM", read: func(c *configuration) {
		c.localExperts()
		c.need("intermediate_size", "expert_feed_forward_length")
	}},
}

// noBias leaves biases to families that have them whatever config.json says.
func noBias(c *configuration) { delete(c.fields, "attention_bias") }

// localExperts are the fields of a mixture under Mixtral's names.
func (c *configuration) localExperts() {
	c.need("num_local_experts", "expert_count")
	c.need("num_experts_per_tok", "expert_used_count")
}

// recurrent are the sizes of Gated DeltaNet, and which layers are that.
func (c *configuration) recurrent() {
	noBias(c)
	c.need("linear_conv_kernel_dim", "ssm.conv_kernel")
	c.need("linear_key_head_dim", "ssm.state_size")
	c.need("linear_num_key_heads", "ssm.group_count")
	heads := c.need("linear_num_value_heads", "ssm.time_step_rank")
	width, _ := c.whole("ssm.inner_size")
	if heads < 1 || width < 1 || width%heads != 0 {
		c.faults.Addf("metadata: %q is %s for %d heads", c.own("ssm.inner_size"), c.f.Metadata[c.own("ssm.inner_size")], heads)
		return
	}
	c.fields["linear_value_head_dim"] = width / heads
	c.layers("attention.recurrent_layers", "linear_attention", c.every("full_attention_interval", 4))
}

// corrected are experts chosen by corrected scores of a sigmoid.
func (c *configuration) corrected() {
	c.need("n_routed_experts", "expert_count")
	c.need("num_experts_per_tok", "expert_used_count")
	c.need("moe_intermediate_size", "expert_feed_forward_length")
	c.take("n_shared_experts", "expert_shared_count")
	c.take("first_k_dense_replace", "leading_dense_block_count")
	c.take("n_group", "expert_group_count")
	c.take("topk_group", "expert_group_used_count")
	c.takeNumber("routed_scaling_factor", "expert_weights_scale")
	c.takeTruth("norm_topk_prob", "expert_weights_norm")
	const sigmoid = 2
	if n, ok := c.whole("expert_gating_func"); ok && n != sigmoid {
		c.faults.Unsupportedf("metadata: %q is %d, only 2 is supported: experts chosen by sigmoids", c.own("expert_gating_func"), n)
	}
}

// latent is latent attention. Older files have the sizes of heads where newer ones
// have those of what is kept.
func (c *configuration) latent() {
	c.corrected()
	c.fields["num_key_value_heads"] = c.fields["num_attention_heads"]
	c.take("q_lora_rank", "attention.q_lora_rank")
	c.need("kv_lora_rank", "attention.kv_lora_rank")
	rope := c.need("qk_rope_head_dim", "rope.dimension_count")
	key, keys := c.whole("attention.key_length_mla")
	value, values := c.whole("attention.value_length_mla")
	if !keys || !values {
		key, _ = c.whole("attention.key_length")
		value, _ = c.whole("attention.value_length")
	}
	c.fields["qk_nope_head_dim"], c.fields["v_head_dim"] = key-rope, value
	c.fields["head_dim"] = rope
	p, _ := c.fields["rope_parameters"].(map[string]any)
	if x, ok := p["mscale_all_dim"].(float64); ok { // a tenth of it is stored
		p["mscale"], p["mscale_all_dim"] = 10*x, 10*x
	}
}

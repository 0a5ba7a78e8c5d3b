package arch

// qwen2 is Qwen2 and Qwen2.5 (arXiv:2412.15115): biases on queries, keys and
// values.
var qwen2 = family{
	name: "Qwen2ForCausalLM", modelType: "qwen2", kvHeads: 32, window: windowIfUsed,
	build: func(_ *Config, d *decoder) { d.plain(attention{bias: true}, d.mlp) },
}

// qwen3 is Qwen3 (arXiv:2505.09388): norms of queries and keys.
var qwen3 = family{
	name: "Qwen3ForCausalLM", modelType: "qwen3", headDim: 128, kvHeads: 32, window: windowIfUsed,
	build: func(_ *Config, d *decoder) { d.plain(attention{norms: true}, d.mlp) },
}

// qwen3MoE has experts in place of the MLP.
var qwen3MoE = family{
	name: "Qwen3MoeForCausalLM", modelType: "qwen3_moe", kvHeads: 4, window: windowIfUsed,
	read:  (*Config).mixture,
	build: func(_ *Config, d *decoder) { d.plain(attention{norms: true}, d.experts) },
}

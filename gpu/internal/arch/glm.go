package arch

// glm4 is GLM-4 of 2025 (9B and 32B, GLM-Z1): norms before and behind attention and
// MLP, of which positions turn half, neighbour with neighbour.
var glm4 = family{
	name: "Glm4ForCausalLM", modelType: "glm4", kvHeads: 2, headDim: 128, bias: true, unsaid: `{"partial_rotary_factor": 0.5, "attention_bias": true}`,
	build: func(c *Config, d *decoder) {
		x, table := d.embed(1)
		d.layers(func() {
			h := d.attend(d.norm(x, "input_layernorm"), attention{bias: c.AttentionBias, pairs: true})
			d.Add(x, d.norm(h, "post_self_attn_layernorm"), 1)
			d.Add(x, d.norm(d.fusedMLP(d.norm(x, "post_attention_layernorm")), "post_mlp_layernorm"), 1)
		})
		d.head(x, table)
	},
}

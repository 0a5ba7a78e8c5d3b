package arch

import "github.com/troupe-llm/troupe/gpu/program"

// llama is Llama 2 and 3 (arXiv:2407.21783), and what is built like them.
var llama = family{
	name: "LlamaForCausalLM", modelType: "llama", bias: true,
	build: func(c *Config, d *decoder) {
		d.plain(attention{bias: c.AttentionBias, outBias: c.AttentionBias}, d.mlp)
	},
}

// mistral is Mistral 7B (arXiv:2310.06825) and its successors' text models: Llama
// with windows.
var mistral = family{
	name: "MistralForCausalLM", modelType: "mistral", kvHeads: 8, window: windowIfNumber, wrapper: "Mistral3ForConditionalGeneration",
	build: func(_ *Config, d *decoder) { d.plain(attention{}, d.mlp) },
}

// mixtral is Mixtral 8x7B and 8x22B (arXiv:2401.04088): Mistral with experts in place
// of the MLP.
var mixtral = family{
	name: "MixtralForCausalLM", modelType: "mixtral", kvHeads: 8, window: windowIfNumber,
	unsaid: `{"sliding_window": null, "num_local_experts": 8, "num_experts_per_tok": 2}`,
	read: func(c *Config) {
		c.json.ExpertSize = c.json.Intermediate
		c.mixture()
	},
	build: func(_ *Config, d *decoder) {
		d.plain(attention{}, func(x *program.Value) *program.Value {
			r := program.Route{Normalize: true, Scale: 1}
			return d.mix(x, d.router(x, "block_sparse_moe.gate.weight"), r, oneByOne("block_sparse_moe.experts.", "w1", "w3", "w2"))
		})
	},
}

// ministral3 is Ministral 3: queries grow beyond the positions that were trained
// on.
var ministral3 = family{
	name: "Ministral3ForCausalLM", modelType: "ministral3", kvHeads: 8, window: windowIfNumber,
	unsaid: `{"sliding_window": null}`,
	build: func(c *Config, d *decoder) {
		p := firstOf(c.json.RopeScaling, c.json.RopeParameters)
		has := attention{}
		if p != nil && p.Llama4Beta != nil {
			original := *firstOf(p.OriginalMaxPos, c.json.OriginalMaxPos, &c.MaxPositions)
			has.query = func(q *program.Value) { d.Do(&program.PositionScale{X: q, Beta: *p.Llama4Beta, Original: original}) }
		}
		d.plain(has, d.mlp)
	},
}

// smolLM3 is SmolLM3: in some layers positions turn nothing (arXiv:2501.18795).
var smolLM3 = family{
	name: "SmolLM3ForCausalLM", modelType: "smollm3", kvHeads: 4, window: windowIfUsed, bias: true,
	unsaid: `{"no_rope_layer_interval": 4}`,
	read: func(c *Config) {
		if n := len(c.json.NoRopeLayers); n > 0 && n != c.Layers {
			c.faults.Addf("no_rope_layers: %d of %d layers", n, c.Layers)
		}
	},
	build: func(c *Config, d *decoder) {
		x, table := d.embed(1)
		d.layers(func() {
			has := attention{bias: c.AttentionBias, outBias: c.AttentionBias}
			if list := c.json.NoRopeLayers; len(list) > 0 {
				has.noRope = list[d.layer] == 0
			} else {
				has.noRope = (d.layer+1)%max(*c.json.NoRopeInterval, 1) == 0
			}
			d.Add(x, d.attend(d.norm(x, "input_layernorm"), has), 1)
			d.Add(x, d.mlp(d.norm(x, "post_attention_layernorm")), 1)
		})
		d.head(x, table)
	},
}

// phi3 is Phi-3 and Phi-4 (arXiv:2404.14219): fused projections, LongRoPE.
var phi3 = family{
	name: "Phi3ForCausalLM", modelType: "phi3", window: windowIfNumber, unsaid: `{"sliding_window": null}`,
	build: func(_ *Config, d *decoder) { d.plain(attention{fused: true}, d.fusedMLP) },
}

// granite is Granite 3 (arXiv:2405.04324): Llama with four numbers more.
var granite = family{
	name: "GraniteForCausalLM", modelType: "granite", bias: true,
	read: func(c *Config) {
		if s := c.json.LogitsScaling; s != nil && !(*s > 0) {
			c.faults.Addf("logits_scaling: %v, want above 0", *s)
		}
	},
	build: func(c *Config, d *decoder) {
		c.AttentionScale = float32(or(c.json.AttentionMultiplier, 1))
		residual := float32(or(c.json.ResidualMultiplier, 1))
		x, table := d.embed(float32(or(c.json.EmbeddingMultiplier, 1)))
		has := attention{bias: c.AttentionBias, outBias: c.AttentionBias}
		d.layers(func() {
			d.Add(x, d.attend(d.norm(x, "input_layernorm"), has), residual)
			d.Add(x, d.mlp(d.norm(x, "post_attention_layernorm")), residual)
		})
		d.head(x, table)
		if s := or(c.json.LogitsScaling, 1); s != 1 {
			d.Do(&program.Scale{X: d.Logits(), By: float32(1 / s)})
		}
	},
}

// olmo3 is OLMo 3: norms behind attention and MLP instead of before them, and of
// all queries and keys together.
var olmo3 = family{
	name: "Olmo3ForCausalLM", modelType: "olmo3", window: windowByType, bias: true,
	build: func(c *Config, d *decoder) {
		has := attention{norms: widthNorms, bias: c.AttentionBias, outBias: c.AttentionBias}
		x, table := d.embed(1)
		d.layers(func() {
			d.Add(x, d.norm(d.attend(x, has), "post_attention_layernorm"), 1)
			d.Add(x, d.norm(d.mlp(x), "post_feedforward_layernorm"), 1)
		})
		d.head(x, table)
	},
}

package arch

import "github.com/troupe-llm/troupe/gpu/program"

// qwen2 is Qwen2 and Qwen2.5 (arXiv:2412.15115): biases on queries, keys and
// values.
var qwen2 = family{
	name: "Qwen2ForCausalLM", modelType: "qwen2", kvHeads: 32, window: windowIfUsed,
	build: func(_ *Config, d *decoder) { d.plain(attention{bias: true}, d.mlp) },
}

// qwen3 is Qwen3 (arXiv:2505.09388): norms of queries and keys.
var qwen3 = family{
	name: "Qwen3ForCausalLM", modelType: "qwen3", headDim: 128, kvHeads: 32, window: windowIfUsed,
	build: func(_ *Config, d *decoder) { d.plain(attention{norms: headNorms}, d.mlp) },
}

// qwen3MoE has experts in place of the MLP.
var qwen3MoE = family{
	name: "Qwen3MoeForCausalLM", modelType: "qwen3_moe", kvHeads: 4, window: windowIfUsed,
	read:  (*Config).mixture,
	build: func(_ *Config, d *decoder) { d.plain(attention{norms: headNorms}, d.experts) },
}

// linear is the type of Qwen3.5's recurrent layers.
const linear = "linear_attention"

// qwen35 is the text model of Qwen3.5: three layers in four are Gated DeltaNet,
// the others gated attention of which positions turn a quarter. Norms' weights are
// stored less one.
var qwen35 = family{
	name: "Qwen3_5ForCausalLM", modelType: "qwen3_5_text", wrapper: "Qwen3_5ForConditionalGeneration", layers: []string{linear}, unsaid: qwen35Unsaid,
	read:  (*Config).deltaNet,
	build: func(_ *Config, d *decoder) { d.hybrid(d.mlp) },
}

// qwen35MoE has experts in place of the MLP, and one that all tokens go through.
var qwen35MoE = family{
	name: "Qwen3_5MoeForCausalLM", modelType: "qwen3_5_moe_text", wrapper: "Qwen3_5MoeForConditionalGeneration", layers: []string{linear}, unsaid: qwen35Unsaid,
	read: func(c *Config) {
		c.deltaNet()
		c.mixture()
		c.MoE.Shared = c.faults.Size("shared_expert_intermediate_size", c.json.SharedSize, maxSize)
	},
	build: func(c *Config, d *decoder) {
		d.hybrid(func(x *program.Value) *program.Value {
			shared := d.gated(x, "shared_gate_up", "shared_down", "mlp.shared_expert.", c.MoE.Shared)
			share := d.linear(x, "shared_gate", "mlp.shared_expert_gate.weight", 1)
			d.Do(&program.Multiply{X: shared, By: share, Activation: program.Sigmoid})
			y := d.mix(x, d.router(x, "mlp.gate.weight"), program.Route{Normalize: true, Scale: 1}, oneByOne("mlp.experts.", "gate_proj", "up_proj", "down_proj"))
			d.Add(y, shared, 1)
			return y
		})
	},
}

const qwen35Unsaid = `{"linear_conv_kernel_dim": 4, "linear_key_head_dim": 128, "linear_value_head_dim": 128, "linear_num_key_heads": 16,
	"linear_num_value_heads": 32, "head_dim": 256, "num_key_value_heads": 4, "full_attention_interval": 4}`

// deltaNet checks the sizes of recurrent layers.
func (c *Config) deltaNet() {
	j, f := &c.json, c.faults
	keys, vals := f.Size("linear_num_key_heads", j.LinearKeyHeads, 1<<12), f.Size("linear_num_value_heads", j.LinearValueHeads, 1<<12)
	f.Size("linear_key_head_dim", j.LinearKeyDim, 1<<12)
	f.Size("linear_value_head_dim", j.LinearValueDim, 1<<12)
	if k := f.Size("linear_conv_kernel_dim", j.ConvKernel, 64); k == 1 {
		f.Addf("linear_conv_kernel_dim: 1, want at least 2")
	}
	if keys > 0 && vals%keys != 0 {
		f.Addf("linear_num_value_heads: %d is no multiple of linear_num_key_heads, %d", vals, keys)
	}
	if len(j.LayerTypes) > 0 {
		return
	}
	every := max(or(j.FullInterval, 4), 1)
	for i := range c.LayerTypes {
		if (i+1)%every != 0 {
			c.LayerTypes[i] = linear
		}
	}
}

// hybrid is a decoder whose layers are recurrent or gated attention.
func (d *decoder) hybrid(behind func(*program.Value) *program.Value) {
	d.plus = 1
	x, table := d.embed(1)
	d.layers(func() {
		h := d.norm(x, "input_layernorm")
		if d.c.LayerTypes[d.layer] == linear {
			d.Add(x, d.delta(h), 1)
		} else {
			d.Add(x, d.attend(h, attention{norms: headNorms, gated: true}), 1)
		}
		d.Add(x, behind(d.norm(x, "post_attention_layernorm")), 1)
	})
	d.head(x, table)
}

// delta is a layer of Gated DeltaNet (arXiv:2412.06464): queries, keys and values
// pass a short convolution and a state that forgets and corrects itself.
func (d *decoder) delta(x *program.Value) *program.Value {
	j := &d.c.json
	heads, keyHeads, kernel := *j.LinearValueHeads, *j.LinearKeyHeads, *j.ConvKernel
	keys, vals := keyHeads**j.LinearKeyDim, heads**j.LinearValueDim
	channels := 2*keys + vals
	in := d.Product(x, d.weight("delta_in", []int{channels + vals + 2*heads, x.Width}, program.Random,
		d.whole("linear_attn.in_proj_qkv.weight", channels, x.Width), d.whole("linear_attn.in_proj_z.weight", vals, x.Width),
		d.whole("linear_attn.in_proj_a.weight", heads, x.Width), d.whole("linear_attn.in_proj_b.weight", heads, x.Width)))
	parts := d.Split(in, channels, vals, heads, heads)
	mixed := d.Value("conv", program.Tokens, channels)
	conv := d.weight("conv", []int{channels, kernel}, program.Random, d.whole("linear_attn.conv1d.weight", channels, 1, kernel))
	conv.Elementwise = true
	d.Do(&program.Conv{In: parts[0], Out: mixed, Weight: conv, State: d.State("conv", channels*(kernel-1))})
	qkv := d.Split(mixed, keys, keys, vals)
	out := d.Value("delta", program.Tokens, vals)
	decay := d.weight("delta_decay", []int{heads}, program.Zeros, d.whole("linear_attn.A_log", heads))
	step := d.weight("delta_step", []int{heads}, program.Ones, d.whole("linear_attn.dt_bias", heads))
	decay.Exact, step.Exact = true, true
	d.Do(&program.Delta{
		Query: qkv[0], Key: qkv[1], Value: qkv[2], A: parts[2], B: parts[3], Out: out, Heads: heads, KeyHeads: keyHeads,
		Decay: decay, StepBias: step, State: d.State("delta", vals**j.LinearKeyDim),
	})
	n := *j.LinearValueDim
	norm := d.vector("delta_norm", "linear_attn.norm.weight", n)
	norm.Plus = 0
	d.NormHeads(out, norm, n, d.c.NormEps)
	d.Do(&program.Multiply{X: out, By: parts[1], Activation: program.SiLU})
	return d.linear(out, "delta_out", "linear_attn.out_proj.weight", d.c.Hidden)
}

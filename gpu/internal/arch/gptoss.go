package arch

import "github.com/troupe-llm/troupe/gpu/program"

// gptOSS is gpt-oss (arXiv:2508.10925): attention has sinks and biases, every
// other layer a window; all experts of a layer are two tensors, whose gates and ups
// take turns.
var gptOSS = family{
	name: "GptOssForCausalLM", modelType: "gpt_oss", window: windowByType, bias: true, unsaid: `{"sliding_window_pattern": 2, "sliding_window": 128, "attention_bias": true}`,
	read: func(c *Config) {
		c.json.ExpertSize = c.json.Intermediate
		c.mixture()
	},
	build: func(c *Config, d *decoder) {
		d.plain(attention{bias: c.AttentionBias, outBias: c.AttentionBias, sinks: true}, d.clampedExperts)
	},
}

// clampedExperts are experts with biases and clamped gates.
func (d *decoder) clampedExperts(x *program.Value) *program.Value {
	m := d.c.MoE
	n, inner, hidden := m.Experts, m.Intermediate, x.Width
	logits := d.router(x, "mlp.router.weight")
	d.bias(logits, "router_bias", d.whole("mlp.router.bias", n))
	// Of the softmax over all experts, normalised: that over the chosen ones.
	routes := d.Route(logits, m.PerToken, program.Route{Normalize: true, Scale: 1})

	var up, down []program.Part
	for i := range n {
		for turn := range 2 {
			up = append(up, d.slab("mlp.experts.gate_up_proj", n, 2*inner, hidden, i, inner, turn, 1, 2))
		}
		down = append(down, d.slab("mlp.experts.down_proj", n, hidden, inner, i, hidden, 0, hidden, hidden))
	}
	upBias := d.whole("mlp.experts.gate_up_proj_bias", n, 2*inner)
	upBias.Step = 2
	entries := d.ExpertProduct(x, routes, d.weight("experts_gate_up", []int{n, 2 * inner, hidden}, program.Random, up...))
	d.Do(&program.ExpertBias{X: entries, Routes: routes, Bias: d.biases("experts_gate_up_bias", upBias)})
	out := d.ExpertProduct(d.Gate(entries, program.Clamped), routes, d.weight("experts_down", []int{n, hidden, inner}, program.Random, down...))
	d.Do(&program.ExpertBias{X: out, Routes: routes, Bias: d.biases("experts_down_bias", d.whole("mlp.experts.down_proj_bias", n, hidden))})
	return d.Combine(out, routes)
}

// slab is rows of an expert's matrix [out, in], taken as program.Some does. It lies
// so in MXFP4, and transposed where it is not quantised.
func (d *decoder) slab(tensor string, experts, out, in, expert, n, first, block, stride int) program.Part {
	p := d.some(tensor, []int{experts, out, in}, n, first, block, stride)
	p.Slab = expert
	if d.c.Scheme.Method != MXFP4 {
		p.Shape, p.Transposed = []int{experts, in, out}, true
	}
	return p
}

// biases are a row for each expert.
func (d *decoder) biases(role string, part program.Part) *program.Weight {
	w := d.weight(role, part.Shape, program.Zeros, part)
	w.Elementwise = true
	return w
}

package arch

import "github.com/troupe-llm/troupe/gpu/program"

// llama is Llama 2 and 3 (arXiv:2407.21783), and what is built like them.
var llama = family{
	name: "LlamaForCausalLM", modelType: "llama",
	build: func(_ *Config, d *decoder) { d.plain(attention{}, d.mlp) },
}

// mistral is Mistral 7B (arXiv:2310.06825) and its successors' text models: Llama
// with windows.
var mistral = family{
	name: "MistralForCausalLM", modelType: "mistral", kvHeads: 8, window: windowIfNumber,
	build: func(_ *Config, d *decoder) { d.plain(attention{}, d.mlp) },
}

// plain is the decoder that most families are: in every layer norm, attention,
// norm, and what stands behind it, both added to the residual stream.
func (d *decoder) plain(has attention, behind func(*program.Value) *program.Value) {
	x, table := d.embed()
	d.layers(func() {
		d.Add(x, d.attend(d.norm(x, "input_layernorm"), has), 1)
		d.Add(x, behind(d.norm(x, "post_attention_layernorm")), 1)
	})
	d.head(x, table)
}

package arch

import "math"

// gemma3 is the text model of Gemma 3 (arXiv:2503.19786): embeddings are scaled,
// attention and MLP have a norm before and behind them, five layers in six see a
// window and turn by a base of their own. Norms' weights are stored less one.
var gemma3 = family{
	name: "Gemma3ForCausalLM", modelType: "gemma3_text", wrapper: "Gemma3ForConditionalGeneration", window: windowByType,
	unsaid: `{"vocab_size": 262208, "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "max_position_embeddings": 131072,
		"hidden_activation": "gelu_pytorch_tanh", "tie_word_embeddings": true, "rope_theta": 1000000, "rope_local_base_freq": 10000,
		"query_pre_attn_scalar": 256, "sliding_window": 4096, "sliding_window_pattern": 6, "eos_token_id": 1, "bos_token_id": 2}`,
	read: func(c *Config) {
		if s := *c.json.QueryScalar; !(s > 0) {
			c.faults.Addf("query_pre_attn_scalar: %v, want above 0", s)
		}
	},
	build: func(c *Config, d *decoder) {
		d.plus = 1
		c.AttentionScale = float32(1 / math.Sqrt(*c.json.QueryScalar))
		x, table := d.embed(float32(math.Sqrt(float64(c.Hidden))))
		d.layers(func() {
			d.Add(x, d.norm(d.attend(d.norm(x, "input_layernorm"), attention{norms: headNorms}), "post_attention_layernorm"), 1)
			d.Add(x, d.norm(d.mlp(d.norm(x, "pre_feedforward_layernorm")), "post_feedforward_layernorm"), 1)
		})
		d.head(x, table)
	},
}

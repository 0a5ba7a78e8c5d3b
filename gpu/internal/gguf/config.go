package gguf

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
)

// Architecture is the model's, as llama.cpp calls it.
func (f *File) Architecture() string {
	name, _ := f.Metadata["general.architecture"].Text()
	return name
}

// configuration makes config.json. Keys of metadata are the architecture's own unless
// they say otherwise.
type configuration struct {
	*document
	arch string
}

// config makes config.json.
func (f *File) config() ([]byte, error) {
	c := &configuration{f.document(), f.Architecture()}
	family := families[c.arch]
	switch v := f.Metadata["general.architecture"]; {
	case c.arch == "":
		c.faults.Addf("metadata: \"general.architecture\" is %s", v)
	case family == nil:
		c.faults.Unsupportedf("architecture %q is not supported of GGUF files; supported: %s", c.arch, strings.Join(slices.Sorted(maps.Keys(families)), ", "))
	default:
		c.common()
		c.rope()
		c.fields["architectures"] = []string{family.name}
		if family.read != nil {
			family.read(c)
		}
	}
	return c.json()
}

// own is the key that begins with the architecture's name.
func (c *configuration) own(key string) string { return c.arch + "." + key }

// whole, number and truth hide document's.
func (c *configuration) whole(key string) (int, bool)      { return c.document.whole(c.own(key)) }
func (c *configuration) number(key string) (float64, bool) { return c.document.number(c.own(key)) }
func (c *configuration) truth(key string) (bool, bool)     { return c.document.truth(c.own(key)) }

// take sets a field to a whole number that may be missing.
func (c *configuration) take(field, key string) {
	if n, ok := c.whole(key); ok {
		c.fields[field] = n
	}
}

// need is take of one that may not.
func (c *configuration) need(field, key string) int {
	n, ok := c.whole(key)
	if _, is := c.f.Metadata[c.own(key)]; !is {
		c.faults.Addf("metadata: %q is missing", c.own(key))
	}
	if ok {
		c.fields[field] = n
	}
	return n
}

// takeNumber and takeTruth are take of other types.
func (c *configuration) takeNumber(field, key string) {
	if x, ok := c.number(key); ok {
		c.fields[field] = x
	}
}

func (c *configuration) takeTruth(field, key string) {
	if b, ok := c.truth(key); ok {
		c.fields[field] = b
	}
}

// common are the fields that all families have.
func (c *configuration) common() {
	if t := c.f.Tensors["token_embd.weight"]; t == nil || len(t.Shape) != 2 {
		c.faults.Addf("tensor \"token_embd.weight\" is missing, or no matrix")
	} else {
		c.fields["vocab_size"] = t.Shape[0]
	}
	hidden := c.need("hidden_size", "embedding_length")
	layers := c.need("num_hidden_layers", "block_count")
	if extra, ok := c.whole("nextn_predict_layers"); ok { // they guess tokens ahead, and are not run
		c.fields["num_hidden_layers"] = layers - extra
	}
	c.need("max_position_embeddings", "context_length")
	c.width()
	heads := c.need("num_attention_heads", "attention.head_count")
	c.fields["num_key_value_heads"] = heads
	c.take("num_key_value_heads", "attention.head_count_kv")
	if heads > 0 {
		c.fields["head_dim"] = hidden / heads
	}
	c.take("head_dim", "attention.key_length")
	if v, ok := c.whole("attention.value_length"); ok && c.fields["head_dim"] != v && !c.has("attention.kv_lora_rank") {
		c.faults.Unsupportedf("metadata: %q is %d where keys have %v, which is not supported", c.own("attention.value_length"), v, c.fields["head_dim"])
	}
	if c.takeNumber("rms_norm_eps", "attention.layer_norm_rms_epsilon"); c.fields["rms_norm_eps"] == nil {
		c.faults.Addf("metadata: %q is missing", c.own("attention.layer_norm_rms_epsilon"))
	}
	c.fields["tie_word_embeddings"] = c.f.Tensors["output.weight"] == nil
	c.fields["attention_bias"] = c.f.Tensors["blk.0.attn_q.bias"] != nil
	c.fields["mlp_bias"] = c.f.Tensors["blk.0.ffn_gate.bias"] != nil
	c.takeNumber("attn_logit_softcapping", "attn_logit_softcapping")
	c.takeNumber("final_logit_softcapping", "final_logit_softcapping")
	c.tokens()
}

// width is that of MLPs. Files of mixtures without any may leave it out.
func (c *configuration) width() {
	if !c.has("feed_forward_length") && c.has("expert_feed_forward_length") {
		c.take("intermediate_size", "expert_feed_forward_length")
		return
	}
	c.need("intermediate_size", "feed_forward_length")
}

func (c *configuration) has(key string) bool {
	_, is := c.f.Metadata[c.own(key)]
	return is
}

// tokens are the ids by which texts begin and end.
func (c *configuration) tokens() {
	c.fields["bos_token_id"], c.fields["eos_token_id"] = nil, nil
	if id, ok := c.document.whole("tokenizer.ggml.bos_token_id"); ok {
		c.fields["bos_token_id"] = id
	}
	if ids := c.f.ends(); len(ids) > 0 {
		c.fields["eos_token_id"] = ids
	}
}

// experts are the fields of a mixture, under the names that most families have.
func (c *configuration) experts() {
	c.need("num_experts", "expert_count")
	c.need("num_experts_per_tok", "expert_used_count")
	c.need("moe_intermediate_size", "expert_feed_forward_length")
}

// The layers that have windows, and those that see everything.
const (
	full    = "full_attention"
	sliding = "sliding_attention"
)

// windows says which layers have a window, by a list of them or one full layer in so
// many.
func (c *configuration) windows(pattern int) {
	n, ok := c.whole("attention.sliding_window")
	layers, _ := c.fields["num_hidden_layers"].(int)
	if !ok || n == 0 || layers > maxKeys {
		c.fields["sliding_window"] = nil
		return
	}
	c.fields["sliding_window"] = n
	const key = "attention.sliding_window_pattern"
	if c.has(key) && !c.f.Metadata[c.own(key)].array {
		pattern, _ = c.whole(key)
	}
	c.layers(key, sliding, pattern)
}

// every is one layer in so many, or in as many as are usual.
func (c *configuration) every(key string, usual int) int {
	if n, ok := c.whole(key); ok {
		return n
	}
	return usual
}

// layers says which layers are of a type, the others seeing everything: by a list of
// truth values, or all but one in so many.
func (c *configuration) layers(key, as string, every int) {
	layers, _ := c.fields["num_hidden_layers"].(int)
	if layers > maxKeys {
		return // a fault of the number's
	}
	v := c.f.Metadata[c.own(key)]
	list, are := []int64(nil), false
	if v.array {
		if list, are = v.Ints(); !are || len(list) < layers {
			c.faults.Addf("metadata: %q is %s, want one for each of %d layers", c.own(key), v, layers)
			return
		}
	}
	types := make([]string, max(layers, 0))
	for i := range types {
		types[i] = full
		if are && list[i] != 0 || !are && every > 0 && (i+1)%every != 0 {
			types[i] = as
		}
	}
	c.fields["layer_types"] = types
}

// rope is how positions turn heads.
func (c *configuration) rope() {
	p := map[string]any{"rope_type": "default"}
	c.fields["rope_parameters"] = p
	head, _ := c.fields["head_dim"].(int)
	if n, ok := c.whole("rope.dimension_count"); ok && head > 0 && n != head && !c.has("attention.kv_lora_rank") {
		p["partial_rotary_factor"] = float64(n) / float64(head)
	}
	p["rope_theta"] = 10000.0
	if x, ok := c.number("rope.freq_base"); ok {
		p["rope_theta"] = x
	}
	c.scaling(p)
	if x, ok := c.number("rope.freq_base_swa"); ok { // layers with windows turn by a base of their own, which nothing scales
		c.fields["rope_parameters"] = map[string]any{full: p, sliding: map[string]any{"rope_type": "default", "rope_theta": x}}
	}
}

// scaling is how frequencies are stretched.
func (c *configuration) scaling(p map[string]any) {
	kind, _ := c.text(c.own("rope.scaling.type"))
	factors := map[string]any{"rope_theta": p["rope_theta"]}
	for field, key := range map[string]string{
		"factor": "rope.scaling.factor", "beta_fast": "rope.scaling.yarn_beta_fast", "beta_slow": "rope.scaling.yarn_beta_slow",
		"attention_factor": "rope.scaling.yarn_attn_factor",
	} {
		if x, ok := c.number(key); ok {
			factors[field] = x
		}
	}
	if n, ok := c.whole("rope.scaling.original_context_length"); ok {
		factors["original_max_position_embeddings"] = n
	}
	long, short, one := c.f.Tensors["rope_factors_long.weight"], c.f.Tensors["rope_factors_short.weight"], c.f.Tensors["rope_freqs.weight"]
	switch {
	case one != nil:
		c.divided(p, one, one)
		p["attention_factor"] = 1.0
		p["original_max_position_embeddings"] = c.fields["max_position_embeddings"]
	case long != nil && short != nil:
		c.divided(p, long, short)
		if x, ok := c.number("rope.scaling.attn_factor"); ok {
			p["attention_factor"] = x
		}
		p["original_max_position_embeddings"] = factors["original_max_position_embeddings"]
	case kind == "linear", kind == "yarn":
		maps.Copy(p, factors)
		p["rope_type"] = kind
		if x, ok := c.number("rope.scaling.yarn_log_multiplier"); ok && kind == "yarn" {
			p["mscale"], p["mscale_all_dim"] = 1.0, x
		}
	case kind == "", kind == "none":
		if x, ok := c.number("rope.scale_linear"); ok && x != 1 { // of older files
			p["rope_type"], p["factor"] = "linear", x
		}
	default:
		c.faults.Unsupportedf("metadata: %q: %q is not supported, or not without tensors of factors", c.own("rope.scaling.type"), kind)
	}
}

// divided has each frequency divided by a factor of its own, as in LongRoPE: what
// Llama 3's scaling comes to is stored so, too.
func (c *configuration) divided(p map[string]any, long, short *Tensor) {
	p["rope_type"], p["long_factor"], p["short_factor"] = "longrope", c.floats(long), c.floats(short)
}

// floats are the numbers of a small tensor.
func (c *configuration) floats(t *Tensor) []float64 {
	if t.Type != F32 || len(t.Data) > 4<<12 {
		c.faults.Addf("tensor %q is %s of %v, want F32 of half a head", t.Name, t.Type, t.Shape)
		return nil
	}
	out := make([]float64, len(t.Data)/4)
	for i := range out {
		out[i] = float64(math.Float32frombits(binary.LittleEndian.Uint32(t.Data[4*i:])))
		if x := out[i]; !(x > 0 && x < 1e9) {
			c.faults.Addf("tensor %q has %v, want above 0", t.Name, x)
			return nil
		}
	}
	return out
}

// generation makes generation_config.json.
func (f *File) generation() ([]byte, error) {
	d := f.document()
	if ids := f.ends(); len(ids) > 0 {
		d.fields["eos_token_id"] = ids
	}
	for field, key := range map[string]string{
		"temperature": "temp", "top_p": "top_p", "min_p": "min_p", "repetition_penalty": "penalty_repeat",
	} {
		if x, ok := d.number("general.sampling." + key); ok {
			d.fields[field] = x
		}
	}
	if n, ok := d.whole("general.sampling.top_k"); ok {
		d.fields["top_k"] = n
	}
	return d.json()
}

// Summary says in a few words of which types the tensors are: "Q4_K, Q6_K, F32".
func (f *File) Summary() string {
	bytes := map[Type]int{}
	for _, t := range f.Tensors {
		bytes[t.Type] += len(t.Data)
	}
	types := slices.SortedFunc(maps.Keys(bytes), func(a, b Type) int { return bytes[b] - bytes[a] })
	var names []string
	for _, t := range types {
		names = append(names, t.String())
	}
	return fmt.Sprint(strings.Join(names, ", "))
}

package model

import (
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// An architecture is data: what config.json leaves unsaid, and which tensors a
// layer has under which names. A decoder that is embedding → layers of
// (norm, attention, norm, gated MLP or experts that are some) → norm → head
// needs no more than a row of this table.
type architecture struct {
	modelType string // "model_type" in config.json
	headDim   int    // head size when config.json has none; 0: Hidden/Heads
	kvHeads   int    // key and value heads when config.json has none; 0: Heads
	window    windowRule
	layer     []part[Layer]
	expert    []part[Expert] // nil: no mixture of experts
}

// windowRule says when an architecture's sliding_window applies.
type windowRule int

const (
	windowNever    windowRule = iota
	windowIfUsed              // only with use_sliding_window, from max_window_layers on
	windowIfNumber            // whenever it is a number
)

// part is one tensor of a Layer or an Expert: its name in checkpoints, its
// field, its shape.
type part[T any] struct {
	name  string // after "model.layers.N." or "mlp.experts.N."
	field func(*T) *Tensor
	shape func(*Config) []int
}

var attention = []part[Layer]{
	{"input_layernorm.weight", func(l *Layer) *Tensor { return &l.AttnNorm }, hiddenVector},
	{"self_attn.q_proj.weight", func(l *Layer) *Tensor { return &l.Q }, func(c *Config) []int { return []int{c.Heads * c.HeadDim, c.Hidden} }},
	{"self_attn.k_proj.weight", func(l *Layer) *Tensor { return &l.K }, func(c *Config) []int { return []int{c.KVHeads * c.HeadDim, c.Hidden} }},
	{"self_attn.v_proj.weight", func(l *Layer) *Tensor { return &l.V }, func(c *Config) []int { return []int{c.KVHeads * c.HeadDim, c.Hidden} }},
	{"self_attn.o_proj.weight", func(l *Layer) *Tensor { return &l.O }, func(c *Config) []int { return []int{c.Hidden, c.Heads * c.HeadDim} }},
	{"post_attention_layernorm.weight", func(l *Layer) *Tensor { return &l.MLPNorm }, hiddenVector},
}

var gatedMLP = []part[Layer]{
	{"mlp.gate_proj.weight", func(l *Layer) *Tensor { return &l.Gate }, func(c *Config) []int { return []int{c.Intermediate, c.Hidden} }},
	{"mlp.up_proj.weight", func(l *Layer) *Tensor { return &l.Up }, func(c *Config) []int { return []int{c.Intermediate, c.Hidden} }},
	{"mlp.down_proj.weight", func(l *Layer) *Tensor { return &l.Down }, func(c *Config) []int { return []int{c.Hidden, c.Intermediate} }},
}

// router stands in gatedMLP's place, beside the experts.
var router = []part[Layer]{
	{"mlp.gate.weight", func(l *Layer) *Tensor { return &l.Router }, func(c *Config) []int { return []int{c.MoE.Experts, c.Hidden} }},
}

// gatedExpert is a gated MLP of an expert. Transformers 5 holds all of a
// layer's experts in two tensors but still writes files this way.
var gatedExpert = []part[Expert]{
	{"gate_proj.weight", func(x *Expert) *Tensor { return &x.Gate }, func(c *Config) []int { return []int{c.MoE.Intermediate, c.Hidden} }},
	{"up_proj.weight", func(x *Expert) *Tensor { return &x.Up }, func(c *Config) []int { return []int{c.MoE.Intermediate, c.Hidden} }},
	{"down_proj.weight", func(x *Expert) *Tensor { return &x.Down }, func(c *Config) []int { return []int{c.Hidden, c.MoE.Intermediate} }},
}

var qkvBias = []part[Layer]{
	{"self_attn.q_proj.bias", func(l *Layer) *Tensor { return &l.QBias }, func(c *Config) []int { return []int{c.Heads * c.HeadDim} }},
	{"self_attn.k_proj.bias", func(l *Layer) *Tensor { return &l.KBias }, kvVector},
	{"self_attn.v_proj.bias", func(l *Layer) *Tensor { return &l.VBias }, kvVector},
}

var qkNorm = []part[Layer]{
	{"self_attn.q_norm.weight", func(l *Layer) *Tensor { return &l.QNorm }, headVector},
	{"self_attn.k_norm.weight", func(l *Layer) *Tensor { return &l.KNorm }, headVector},
}

func hiddenVector(c *Config) []int { return []int{c.Hidden} }
func kvVector(c *Config) []int     { return []int{c.KVHeads * c.HeadDim} }
func headVector(c *Config) []int   { return []int{c.HeadDim} }

// architectures, by the name in config.json's "architectures". The defaults
// are those of transformers' configuration classes.
var architectures = map[string]architecture{
	"LlamaForCausalLM":    {modelType: "llama", layer: slices.Concat(attention, gatedMLP)},
	"MistralForCausalLM":  {modelType: "mistral", kvHeads: 8, window: windowIfNumber, layer: slices.Concat(attention, gatedMLP)},
	"Qwen2ForCausalLM":    {modelType: "qwen2", kvHeads: 32, window: windowIfUsed, layer: slices.Concat(attention, qkvBias, gatedMLP)},
	"Qwen3ForCausalLM":    {modelType: "qwen3", headDim: 128, kvHeads: 32, window: windowIfUsed, layer: slices.Concat(attention, qkNorm, gatedMLP)},
	"Qwen3MoeForCausalLM": {modelType: "qwen3_moe", kvHeads: 4, window: windowIfUsed, layer: slices.Concat(attention, qkNorm, router), expert: gatedExpert},
}

// has reports whether layers have the tensor.
func (a *architecture) has(name string) bool {
	return slices.ContainsFunc(a.layer, func(p part[Layer]) bool { return p.name == name })
}

// supported lists the architectures.
func supported() string { return strings.Join(slices.Sorted(maps.Keys(architectures)), ", ") }

// Shapes returns the weights a configuration asks for without their data:
// what a device allocates when it fills weights at random.
func (c *Config) Shapes() *Weights {
	w := c.blank()
	for _, p := range c.places(w) {
		*p.tensor = Tensor{Name: p.name, DType: c.DType, Shape: p.shape}
	}
	if c.TieEmbedding {
		w.Head = w.Embed
	}
	return w
}

// Tensors yields every tensor of w, in the order in which a pass uses them. A
// tied head is the embedding, not a tensor of its own.
func (c *Config) Tensors(w *Weights) iter.Seq[*Tensor] {
	return func(yield func(*Tensor) bool) {
		for _, p := range c.places(w) {
			if !yield(p.tensor) {
				return
			}
		}
	}
}

// place is where one tensor of a checkpoint goes.
type place struct {
	name   string // full name in the checkpoint
	tensor *Tensor
	shape  []int
}

// blank returns weights with a place for every tensor.
func (c *Config) blank() *Weights {
	w := &Weights{Layers: make([]Layer, c.Layers)}
	for i := range w.Layers {
		if c.MoE != nil {
			w.Layers[i].Experts = make([]Expert, c.MoE.Experts)
		}
	}
	return w
}

// places lists every tensor that a checkpoint of this configuration has, with
// its place in w.
func (c *Config) places(w *Weights) []place {
	arch := architectures[c.Architecture]
	list := make([]place, 0, len(arch.layer)*c.Layers+3)
	list = append(list, place{"model.embed_tokens.weight", &w.Embed, []int{c.Vocab, c.Hidden}})
	for i := range w.Layers {
		l, prefix := &w.Layers[i], "model.layers."+strconv.Itoa(i)+"."
		for _, p := range arch.layer {
			list = append(list, place{prefix + p.name, p.field(l), p.shape(c)})
		}
		for n := range l.Experts {
			prefix := prefix + "mlp.experts." + strconv.Itoa(n) + "."
			for _, p := range arch.expert {
				list = append(list, place{prefix + p.name, p.field(&l.Experts[n]), p.shape(c)})
			}
		}
	}
	list = append(list, place{"model.norm.weight", &w.Norm, hiddenVector(c)})
	if !c.TieEmbedding {
		list = append(list, place{"lm_head.weight", &w.Head, []int{c.Vocab, c.Hidden}})
	}
	return list
}

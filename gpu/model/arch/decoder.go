package arch

import (
	"math"
	"strconv"

	"github.com/troupe-llm/troupe/gpu/program"
)

// decoder writes the pieces of which most families are made. Tensors are named
// as in checkpoints, but for what all names of a layer begin with.
type decoder struct {
	*program.Builder
	c *Config
	// Of the layer at hand: what names begin with in checkpoints,
	// "model.layers.3.", and in the program, "layers.3.".
	tensors, name string
	window        int
}

// layers calls f for every layer in turn.
func (d *decoder) layers(f func()) {
	for i := range d.c.Layers {
		d.name = "layers." + strconv.Itoa(i) + "."
		d.tensors = "model." + d.name
		d.window = d.c.Windows[i]
		d.At(d.name)
		f()
	}
	d.At("")
	d.name, d.tensors = "", "model."
}

// weight is a slot of the layer at hand.
func (d *decoder) weight(role string, shape []int, init program.Init, shard program.Shard, parts ...program.Part) *program.Weight {
	return &program.Weight{Name: d.name + role, Role: role, Shape: shape, Parts: parts, Init: init, Shard: shard}
}

// whole is all of a tensor of the layer at hand.
func (d *decoder) whole(tensor string, shape ...int) program.Part {
	return program.Whole(d.tensors+tensor, shape...)
}

// norm is RMSNorm by the tensor of that name.
func (d *decoder) norm(x *program.Value, tensor string) *program.Value {
	return d.Norm(x, d.weight(tensor, []int{x.Width}, program.Ones, program.Replicated, d.whole(tensor+".weight", x.Width)), d.c.NormEps)
}

// normHeads is RMSNorm of every head, in place.
func (d *decoder) normHeads(x *program.Value, role, tensor string) {
	n := d.c.HeadDim
	d.NormHeads(x, d.weight(role, []int{n}, program.Ones, program.Replicated, d.whole(tensor, n)), n, d.c.NormEps)
}

// linear is a product with one tensor [out, in], whose inputs are summed where
// GPUs share it by those.
func (d *decoder) linear(x *program.Value, role, tensor string, out int, shard program.Shard) *program.Value {
	return d.Product(x, d.weight(role, []int{out, x.Width}, program.Random, shard, d.whole(tensor, out, x.Width)))
}

// embed looks tokens up.
func (d *decoder) embed() (x *program.Value, table *program.Weight) {
	table = &program.Weight{
		Name: "embed", Role: "embed", Shape: []int{d.c.Vocab, d.c.Hidden}, Shard: program.ByOutput,
		Parts: []program.Part{program.Whole("model.embed_tokens.weight", d.c.Vocab, d.c.Hidden)},
	}
	return d.Embed(table, 1), table
}

// head is the last norm and the logits. A checkpoint that has a head of its own
// uses it even where its configuration ties it to the embedding, as transformers
// does.
func (d *decoder) head(x *program.Value, embed *program.Weight) {
	norm := &program.Weight{
		Name: "norm", Role: "norm", Shape: []int{d.c.Hidden}, Init: program.Ones,
		Parts: []program.Part{program.Whole("model.norm.weight", d.c.Hidden)},
	}
	head := &program.Weight{
		Name: "head", Role: "head", Shape: []int{d.c.Vocab, d.c.Hidden}, Shard: program.ByOutput,
		Parts: []program.Part{program.Whole("lm_head.weight", d.c.Vocab, d.c.Hidden)},
	}
	if d.c.TieEmbedding {
		head.Tied = embed
	}
	d.Head(x, norm, head, d.c.NormEps)
}

// attention is what attention may have.
type attention struct {
	bias  bool // on queries, keys and values
	norms bool // of every head's query and key, before RoPE
}

// attend is grouped-query attention of x (arXiv:2305.13245), its output
// projection included.
func (d *decoder) attend(x *program.Value, has attention) *program.Value {
	c := d.c
	q, kv := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim
	qkv := d.Product(x, d.weight("qkv", []int{q + 2*kv, x.Width}, program.Random, program.ByOutput,
		d.whole("self_attn.q_proj.weight", q, x.Width), d.whole("self_attn.k_proj.weight", kv, x.Width), d.whole("self_attn.v_proj.weight", kv, x.Width)))
	if has.bias {
		d.AddBias(qkv, d.weight("qkv_bias", []int{q + 2*kv}, program.Zeros, program.ByOutput,
			d.whole("self_attn.q_proj.bias", q), d.whole("self_attn.k_proj.bias", kv), d.whole("self_attn.v_proj.bias", kv)))
	}
	parts := d.Split(qkv, q, kv, kv)
	if has.norms {
		d.normHeads(parts[0], "q_norm", "self_attn.q_norm.weight")
		d.normHeads(parts[1], "k_norm", "self_attn.k_norm.weight")
	}
	d.Rope(c.Rotary, c.HeadDim, parts[0], parts[1])
	cache := d.Store(parts[1], parts[2], c.KVHeads, d.window)
	out := d.Attend(parts[0], cache, c.Heads, float32(1/math.Sqrt(float64(c.HeadDim))))
	return d.linear(out, "o", "self_attn.o_proj.weight", c.Hidden, program.ByInput)
}

// mlp is a gated MLP of x: down(silu(gate(x))·up(x)) (arXiv:2002.05202).
func (d *decoder) mlp(x *program.Value) *program.Value {
	n := d.c.Intermediate
	up := d.Product(x, d.weight("gate_up", []int{2 * n, x.Width}, program.Random, program.ByOutput,
		d.whole("mlp.gate_proj.weight", n, x.Width), d.whole("mlp.up_proj.weight", n, x.Width)))
	return d.linear(d.Gate(up, program.SiLU), "down", "mlp.down_proj.weight", d.c.Hidden, program.ByInput)
}

// experts is a mixture of many small gated MLPs, of which each token goes
// through a few. Transformers 5 holds all of a layer's in two tensors but still
// writes files this way.
func (d *decoder) experts(x *program.Value) *program.Value {
	m := d.c.MoE
	logits := d.linear(x, "router", "mlp.gate.weight", m.Experts, program.Replicated)
	routes := d.Route(logits, m.PerToken, m.Normalize)
	var gateUp, down []program.Part
	for i := range m.Experts {
		name := "mlp.experts." + strconv.Itoa(i) + "."
		gateUp = append(gateUp, d.whole(name+"gate_proj.weight", m.Intermediate, x.Width), d.whole(name+"up_proj.weight", m.Intermediate, x.Width))
		down = append(down, d.whole(name+"down_proj.weight", x.Width, m.Intermediate))
	}
	up := d.ExpertProduct(x, routes, d.weight("experts_gate_up", []int{m.Experts, 2 * m.Intermediate, x.Width}, program.Random, program.ByOutput, gateUp...))
	out := d.ExpertProduct(d.Gate(up, program.SiLU), routes, d.weight("experts_down", []int{m.Experts, x.Width, m.Intermediate}, program.Random, program.ByInput, down...))
	return d.Combine(out, routes)
}

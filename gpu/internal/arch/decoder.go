package arch

import (
	"slices"
	"strconv"

	"github.com/troupe-llm/troupe/gpu/program"
)

// decoder writes the pieces of which most families are made. Tensors are named
// as in checkpoints, but for what all names of a layer begin with.
type decoder struct {
	*program.Builder
	c *Config
	// The layer at hand, what its names begin with in checkpoints,
	// "model.layers.3.", and in the program, "layers.3.".
	layer         int
	tensors, name string
	// plus is added to norms' weights, which some families store less one.
	plus float32
}

// layers calls f for every layer in turn.
func (d *decoder) layers(f func()) {
	for d.layer = range d.c.Layers {
		d.name = "layers." + strconv.Itoa(d.layer) + "."
		d.tensors = "model." + d.name
		d.At(d.name)
		f()
	}
	d.At("")
	d.name, d.tensors = "", "model."
}

// weight is a slot of the layer at hand.
func (d *decoder) weight(role string, shape []int, init program.Init, parts ...program.Part) *program.Weight {
	return &program.Weight{Name: d.name + role, Role: role, Shape: shape, Parts: parts, Init: init}
}

// whole is all of a tensor of the layer at hand.
func (d *decoder) whole(tensor string, shape ...int) program.Part {
	return program.Whole(d.tensors+tensor, shape...)
}

// some is n of its rows, block at a time, stride apart, from first on.
func (d *decoder) some(tensor string, shape []int, n, first, block, stride int) program.Part {
	return program.Some(d.tensors+tensor, shape, n, first, block, stride)
}

// vector is a norm's weights.
func (d *decoder) vector(role, tensor string, n int) *program.Weight {
	w := d.weight(role, []int{n}, program.Ones, d.whole(tensor, n))
	w.Plus = d.plus
	return w
}

// norm is RMSNorm by the tensor of that name.
func (d *decoder) norm(x *program.Value, tensor string) *program.Value {
	return d.Norm(x, d.vector(tensor, tensor+".weight", x.Width), d.c.NormEps)
}

// linear is a product with one tensor [out, in].
func (d *decoder) linear(x *program.Value, role, tensor string, out int) *program.Value {
	return d.Product(x, d.weight(role, []int{out, x.Width}, program.Random, d.whole(tensor, out, x.Width)))
}

// bias adds the tensors of that length, one behind the other.
func (d *decoder) bias(x *program.Value, role string, parts ...program.Part) {
	d.AddBias(x, d.weight(role, []int{x.Width}, program.Zeros, parts...))
}

// embed looks tokens up.
func (d *decoder) embed(scale float32) (x *program.Value, table *program.Weight) {
	table = &program.Weight{
		Name: "embed", Role: "embed", Shape: []int{d.c.Vocab, d.c.Hidden},
		Parts: []program.Part{program.Whole("model.embed_tokens.weight", d.c.Vocab, d.c.Hidden)},
	}
	return d.Embed(table, scale), table
}

// head is the last norm and the logits. A checkpoint that has a head of its own
// uses it even where its configuration ties it to the embedding, as transformers
// does.
func (d *decoder) head(x *program.Value, embed *program.Weight) {
	head := &program.Weight{
		Name: "head", Role: "head", Shape: []int{d.c.Vocab, d.c.Hidden},
		Parts: []program.Part{program.Whole("lm_head.weight", d.c.Vocab, d.c.Hidden)},
	}
	if d.c.TieEmbedding {
		head.Tied = embed
	}
	d.Head(x, d.vector("norm", "norm.weight", d.c.Hidden), head, d.c.NormEps)
}

// plain is the decoder that most families are: in every layer norm, attention,
// norm, and what stands behind it, both added to the residual stream.
func (d *decoder) plain(has attention, behind func(*program.Value) *program.Value) {
	x, table := d.embed(1)
	d.layers(func() {
		d.Add(x, d.attend(d.norm(x, "input_layernorm"), has), 1)
		d.Add(x, behind(d.norm(x, "post_attention_layernorm")), 1)
	})
	d.head(x, table)
}

// attention is what attention may have.
type attention struct {
	bias    bool // on queries, keys and values
	outBias bool // on its output
	norms   norms
	fused   bool // queries, keys and values are one tensor
	gated   bool // queries' tensor has a gate of the output, head by head
	noRope  bool // positions turn nothing
	pairs   bool // positions turn neighbours, as the file has queries and keys
	sinks   bool // of each head, see program.Attend
	// query is done to queries that are turned; nil: nothing.
	query func(*program.Value)
}

// norms says which norms of queries and keys there are before RoPE.
type norms int

const (
	noNorms    norms = iota
	headNorms        // of every head, with the same weights
	widthNorms       // of all heads together
)

// attend is grouped-query attention of x (arXiv:2305.13245), its output
// projection included.
func (d *decoder) attend(x *program.Value, has attention) *program.Value {
	c := d.c
	q, kv := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim
	widths := []int{q, kv, kv}
	if has.gated {
		widths = []int{q, kv, kv, q}
	}
	qkv := d.Product(x, d.qkv(x.Width, has, widths))
	if has.bias {
		d.bias(qkv, "qkv_bias", slices.Concat(d.heads("self_attn.q_proj.bias", has, q), d.heads("self_attn.k_proj.bias", has, kv),
			[]program.Part{d.whole("self_attn.v_proj.bias", kv)})...)
	}
	parts := d.Split(qkv, widths...)
	for i, name := range []string{"q_norm", "k_norm"} {
		group := c.HeadDim
		if has.norms == widthNorms {
			group = parts[i].Width
		}
		if has.norms != noNorms {
			d.NormHeads(parts[i], d.vector(name, "self_attn."+name+".weight", group), group, c.NormEps)
		}
	}
	if !has.noRope {
		d.Rope(c.Rotary[d.layer], c.HeadDim, parts[0], parts[1])
	}
	if has.query != nil {
		has.query(parts[0])
	}
	var sinks *program.Weight
	if has.sinks {
		sinks = d.weight("sinks", []int{c.Heads}, program.Zeros, d.whole("self_attn.sinks", c.Heads))
	}
	cache := d.Store(parts[1], parts[2], c.KVHeads, c.Windows[d.layer])
	out := d.Attend(parts[0], cache, c.Heads, c.AttentionScale, sinks)
	if has.gated {
		d.Do(&program.Multiply{X: out, By: parts[3], Activation: program.Sigmoid})
	}
	y := d.linear(out, "o", "self_attn.o_proj.weight", c.Hidden)
	if has.outBias {
		d.bias(y, "o_bias", d.whole("self_attn.o_proj.bias", c.Hidden))
	}
	return y
}

// qkv is the projections to queries, keys, values and gates, one under the other.
func (d *decoder) qkv(in int, has attention, widths []int) *program.Weight {
	q, kv := widths[0], widths[1]
	out := 0
	for _, n := range widths {
		out += n
	}
	var parts []program.Part
	switch n := d.c.HeadDim; {
	case has.fused:
		parts = []program.Part{d.whole("self_attn.qkv_proj.weight", out, in)}
	case has.gated: // a head's query, then its gate
		shape := []int{2 * q, in}
		parts = []program.Part{
			d.some("self_attn.q_proj.weight", shape, q, 0, n, 2*n),
			d.whole("self_attn.k_proj.weight", kv, in), d.whole("self_attn.v_proj.weight", kv, in),
			d.some("self_attn.q_proj.weight", shape, q, n, n, 2*n),
		}
	default:
		parts = slices.Concat(d.heads("self_attn.q_proj.weight", has, q, in), d.heads("self_attn.k_proj.weight", has, kv, in),
			[]program.Part{d.whole("self_attn.v_proj.weight", kv, in)})
	}
	return d.weight("qkv", []int{out, in}, program.Random, parts...)
}

// heads are the rows of queries or keys, those that positions turn as pairs
// (i, i+n/2), n of each head.
func (d *decoder) heads(tensor string, has attention, shape ...int) (parts []program.Part) {
	if !has.pairs {
		return []program.Part{d.whole(tensor, shape...)}
	}
	head, turned := d.c.HeadDim, d.c.Rotary[d.layer].Dims
	for first := 0; first < shape[0]; first += head {
		parts = append(parts, d.pairs(tensor, shape, first, turned)...)
		if rest := head - turned; rest > 0 {
			parts = append(parts, d.some(tensor, shape, rest, first+turned, rest, rest))
		}
	}
	return parts
}

// pairs are rows that positions turn, from first on: pairs (2i, 2i+1), laid out as
// pairs (i, i+n/2).
func (d *decoder) pairs(tensor string, shape []int, first, n int) []program.Part {
	return []program.Part{d.some(tensor, shape, n/2, first, 1, 2), d.some(tensor, shape, n/2, first+1, 1, 2)}
}

// mlp is the layer's gated MLP of x: down(act(gate(x))·up(x)) (arXiv:2002.05202).
func (d *decoder) mlp(x *program.Value) *program.Value {
	return d.gated(x, "gate_up", "down", "mlp.", d.c.Intermediate)
}

// fusedMLP is the same, whose first two matrices are one tensor.
func (d *decoder) fusedMLP(x *program.Value) *program.Value {
	up := d.linear(x, "gate_up", "mlp.gate_up_proj.weight", 2*d.c.Intermediate)
	return d.linear(d.Gate(up, d.c.Activation), "down", "mlp.down_proj.weight", d.c.Hidden)
}

// gated is a gated MLP whose tensors' names begin with a prefix.
func (d *decoder) gated(x *program.Value, gateUp, down, prefix string, n int) *program.Value {
	up := d.Product(x, d.weight(gateUp, []int{2 * n, x.Width}, program.Random,
		d.whole(prefix+"gate_proj.weight", n, x.Width), d.whole(prefix+"up_proj.weight", n, x.Width)))
	if d.c.MLPBias {
		d.bias(up, gateUp+"_bias", d.whole(prefix+"gate_proj.bias", n), d.whole(prefix+"up_proj.bias", n))
	}
	y := d.linear(d.Gate(up, d.c.Activation), down, prefix+"down_proj.weight", d.c.Hidden)
	if d.c.MLPBias {
		d.bias(y, down+"_bias", d.whole(prefix+"down_proj.bias", d.c.Hidden))
	}
	return y
}

// experts is the layer's mixture of many small gated MLPs, of which each token
// goes through a few.
func (d *decoder) experts(x *program.Value) *program.Value {
	m := d.c.MoE
	return d.mix(x, d.router(x, "mlp.gate.weight"), program.Route{Normalize: m.Normalize, Scale: 1}, oneByOne("mlp.experts.", "gate_proj", "up_proj", "down_proj"))
}

// router is the logits by which experts are chosen.
func (d *decoder) router(x *program.Value, tensor string) *program.Value {
	return d.linear(x, "router", tensor, d.c.MoE.Experts)
}

// correction is what is added to scores for choosing.
func (d *decoder) correction(tensor string) *program.Weight {
	n := d.c.MoE.Experts
	w := d.weight("router_correction", []int{n}, program.Zeros, d.whole(tensor, n))
	w.Exact = true
	return w
}

// expertNames are what the three tensors of an expert are called.
type expertNames func(expert int) (gate, up, down string)

// oneByOne is how most families call them. Transformers 5 holds all of a layer's
// experts in two tensors but still writes files this way.
func oneByOne(prefix, gate, up, down string) expertNames {
	return func(expert int) (string, string, string) {
		p := prefix + strconv.Itoa(expert) + "."
		return p + gate + ".weight", p + up + ".weight", p + down + ".weight"
	}
}

// mix sends tokens to experts as r says and adds up what comes back.
func (d *decoder) mix(x, logits *program.Value, r program.Route, names expertNames) *program.Value {
	m := d.c.MoE
	routes := d.Route(logits, m.PerToken, r)
	var gateUp, down []program.Part
	for i := range m.Experts {
		g, u, o := names(i)
		gateUp = append(gateUp, d.whole(g, m.Intermediate, x.Width), d.whole(u, m.Intermediate, x.Width))
		down = append(down, d.whole(o, x.Width, m.Intermediate))
	}
	up := d.ExpertProduct(x, routes, d.weight("experts_gate_up", []int{m.Experts, 2 * m.Intermediate, x.Width}, program.Random, gateUp...))
	out := d.ExpertProduct(d.Gate(up, d.c.Activation), routes, d.weight("experts_down", []int{m.Experts, x.Width, m.Intermediate}, program.Random, down...))
	return d.Combine(out, routes)
}

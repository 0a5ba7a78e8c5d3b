package arch

import (
	"math"

	"github.com/troupe-llm/troupe/gpu/program"
)

// deepseekV3 is DeepSeek-V3 and Kimi-K2 (arXiv:2412.19437): latent attention,
// leading layers with an MLP, then experts by groups with one that all tokens go
// through.
var deepseekV3 = family{
	name: "DeepseekV3ForCausalLM", modelType: "deepseek_v3", unsaid: `{"rope_interleave": true, "first_k_dense_replace": 3}`,
	read: func(c *Config) {
		c.correctedMixture()
		c.latent()
	},
	build: func(_ *Config, d *decoder) { d.denseFirst(d.latentAttention) },
}

// glm4MoE is GLM-4.5 and 4.6 (arXiv:2508.06471): grouped-query attention, of which
// positions turn half, with experts as DeepSeek's.
var glm4MoE = family{
	name: "Glm4MoeForCausalLM", modelType: "glm4_moe", bias: true, unsaid: `{"partial_rotary_factor": 0.5, "first_k_dense_replace": 1}`,
	read: (*Config).correctedMixture,
	build: func(c *Config, d *decoder) {
		has := attention{bias: c.AttentionBias}
		if or(c.json.QKNorm, false) {
			has.norms = headNorms
		}
		d.denseFirst(func(x *program.Value) *program.Value { return d.attend(x, has) })
	},
}

// miniMaxM2 is MiniMax-M2: experts in every layer, chosen by corrected scores;
// norms of all queries and keys together.
var miniMaxM2 = family{
	name: "MiniMaxM2ForCausalLM", modelType: "minimax_m2", kvHeads: 8,
	read: func(c *Config) {
		c.json.ExpertSize = c.json.Intermediate
		c.mixture()
	},
	build: func(_ *Config, d *decoder) {
		d.plain(attention{norms: widthNorms}, func(x *program.Value) *program.Value {
			r := program.Route{Sigmoid: true, Normalize: true, Scale: 1, Correction: d.correction("block_sparse_moe.e_score_correction_bias")}
			return d.mix(x, d.router(x, "block_sparse_moe.gate.weight"), r, oneByOne("block_sparse_moe.experts.", "w1", "w3", "w2"))
		})
	},
}

// correctedMixture reads experts that are chosen by groups.
func (c *Config) correctedMixture() {
	j, f := &c.json, c.faults
	c.mixture()
	m := c.MoE
	m.Dense = max(or(j.DenseFirst, 0), 0)
	m.Shared = max(or(j.SharedExperts, 0), 0) * m.Intermediate
	m.Scale = float32(or(j.RoutedScale, 1))
	m.Groups, m.GroupsTaken = or(j.Groups, 1), or(j.GroupsTaken, 1)
	switch {
	case m.Experts == 0:
	case m.Groups < 1 || m.Experts%m.Groups != 0 || m.Groups > 1 && m.Experts/m.Groups < 2:
		f.Addf("n_group: %d groups of %d experts", m.Groups, m.Experts)
	case m.GroupsTaken < 1 || m.GroupsTaken > m.Groups || m.PerToken > m.GroupsTaken*(m.Experts/m.Groups):
		f.Addf("topk_group: %d of %d groups, for %d experts a token", m.GroupsTaken, m.Groups, m.PerToken)
	}
}

// denseFirst is a decoder whose leading layers have an MLP, the others experts.
func (d *decoder) denseFirst(attend func(*program.Value) *program.Value) {
	x, table := d.embed(1)
	d.layers(func() {
		d.Add(x, attend(d.norm(x, "input_layernorm")), 1)
		h := d.norm(x, "post_attention_layernorm")
		if d.layer < d.c.MoE.Dense {
			d.Add(x, d.mlp(h), 1)
		} else {
			d.Add(x, d.correctedExperts(h), 1)
		}
	})
	d.head(x, table)
}

// correctedExperts are experts chosen by corrected scores, and the shared one.
func (d *decoder) correctedExperts(x *program.Value) *program.Value {
	m := d.c.MoE
	r := program.Route{
		Sigmoid: true, Normalize: m.Normalize, Scale: m.Scale, Groups: m.Groups, GroupsTaken: m.GroupsTaken,
		Correction: d.correction("mlp.gate.e_score_correction_bias"),
	}
	y := d.mix(x, d.router(x, "mlp.gate.weight"), r, oneByOne("mlp.experts.", "gate_proj", "up_proj", "down_proj"))
	if m.Shared > 0 {
		d.Add(y, d.gated(x, "shared_gate_up", "shared_down", "mlp.shared_experts.", m.Shared), 1)
	}
	return y
}

// latent checks the sizes of latent attention. Positions turn heads of their own.
func (c *Config) latent() {
	j, f := &c.json, c.faults
	f.Size("kv_lora_rank", j.KVRank, maxSize)
	f.Size("qk_nope_head_dim", j.NopeDim, 1<<12)
	f.Size("v_head_dim", j.ValueDim, 1<<12)
	if j.QueryRank != nil {
		f.Size("q_lora_rank", j.QueryRank, maxSize)
	}
	dims := f.Size("qk_rope_head_dim", j.RopeDim, 1<<12)
	if dims%2 != 0 {
		f.Addf("qk_rope_head_dim: %d is odd; RoPE turns pairs", dims)
	}
	if f.Some() {
		return
	}
	c.HeadDim, c.Rotary = dims, nil
	c.rotaries()
	c.AttentionScale = float32(1 / math.Sqrt(float64(*j.NopeDim+dims)))
	if p := firstOf(j.RopeScaling, j.RopeParameters); p != nil && p.Factor != nil && or(p.MScaleAllDim, 0) != 0 {
		m := yarnMScale(*p.Factor, *p.MScaleAllDim)
		c.AttentionScale *= float32(m * m)
	}
}

// latentAttention keeps of each position one compressed key, of which values are
// the leading elements, and one key that positions turn. With the matrices Kₕ and
// Vₕ that would expand it to head h's key and value,
//
//	q·(Kₕ·c) = (Kₕᵀ·q)·c    Σ p_t·(Vₕ·c_t) = Vₕ·(Σ p_t·c_t)
//
// so queries go to the compressed space and what is attended comes back from it
// (arXiv:2405.04434): attention of many query heads over one cached head.
func (d *decoder) latentAttention(x *program.Value) *program.Value {
	c, j := d.c, &d.c.json
	rank, nope, rope, value := *j.KVRank, *j.NopeDim, *j.RopeDim, *j.ValueDim
	head := nope + rope

	q := d.latentQueries(x, head, nope, rope)
	kv := d.Product(x, d.weight("kv_a", []int{rank + rope, x.Width}, program.Random,
		append([]program.Part{d.some("self_attn.kv_a_proj_with_mqa.weight", []int{rank + rope, x.Width}, rank, 0, rank, rank)},
			d.turnedRows("self_attn.kv_a_proj_with_mqa.weight", []int{rank + rope, x.Width}, rank, rope)...)...))
	parts := d.Split(kv, rank, rope)
	d.NormHeads(parts[0], d.vector("kv_a_norm", "self_attn.kv_a_layernorm.weight", rank), rank, 1e-6)
	d.Rope(c.Rotary[d.layer], rope, parts[1])
	cache := d.StoreShared(kv, rank)

	// Queries in the compressed space, then what positions turn.
	turned := d.Value("q_rope", program.Tokens, c.Heads*rope)
	d.Do(&program.CopyHeads{In: program.Heads{Value: q, At: nope, Width: rope, Stride: head}, Out: program.Heads{Value: turned, Width: rope, Stride: rope}})
	d.Rope(c.Rotary[d.layer], rope, turned)
	absorbed := d.Value("q_latent", program.Tokens, c.Heads*(rank+rope))
	d.Do(&program.HeadProduct{
		In: program.Heads{Value: q, Width: nope, Stride: head}, Out: program.Heads{Value: absorbed, Width: rank, Stride: rank + rope},
		Weight: d.expanding("k_b", rank, nope, value, true),
	})
	d.Do(&program.CopyHeads{In: program.Heads{Value: turned, Width: rope, Stride: rope}, Out: program.Heads{Value: absorbed, At: rank, Width: rope, Stride: rank + rope}})
	latent := d.Attend(absorbed, cache, c.Heads, c.AttentionScale, nil)
	out := d.Value("attention_out", program.Tokens, c.Heads*value)
	d.Do(&program.HeadProduct{
		In: program.Heads{Value: latent, Width: rank, Stride: rank}, Out: program.Heads{Value: out, Width: value, Stride: value},
		Weight: d.expanding("v_b", rank, nope, value, false),
	})
	return d.linear(out, "o", "self_attn.o_proj.weight", c.Hidden)
}

// latentQueries are [tokens, heads·(nope+rope)], through a compressed space of
// their own where there is one.
func (d *decoder) latentQueries(x *program.Value, head, nope, rope int) *program.Value {
	tensor := "self_attn.q_proj.weight"
	if r := d.c.json.QueryRank; r != nil {
		a := d.linear(x, "q_a", "self_attn.q_a_proj.weight", *r)
		d.Do(&program.Norm{In: a, Out: a, Weight: d.vector("q_a_norm", "self_attn.q_a_layernorm.weight", *r), Group: *r, Eps: 1e-6})
		x, tensor = a, "self_attn.q_b_proj.weight"
	}
	shape := []int{d.c.Heads * head, x.Width}
	var parts []program.Part
	for h := range d.c.Heads {
		parts = append(parts, d.some(tensor, shape, nope, h*head, nope, nope))
		parts = append(parts, d.turnedRows(tensor, shape, h*head+nope, rope)...)
	}
	return d.Product(x, d.weight("q_b", shape, program.Random, parts...))
}

// turnedRows are rows that positions turn, from first on, as neighbours where the
// file has them so.
func (d *decoder) turnedRows(tensor string, shape []int, first, n int) []program.Part {
	if !or(d.c.json.RopeInterleave, true) {
		return []program.Part{d.some(tensor, shape, n, first, n, n)}
	}
	return d.pairs(tensor, shape, first, n)
}

// expanding are each head's matrices of kv_b_proj: the transposed one for queries,
// [heads, rank, nope], or that for values, [heads, value, rank].
func (d *decoder) expanding(role string, rank, nope, value int, keys bool) *program.Weight {
	const tensor = "self_attn.kv_b_proj.weight"
	heads := d.c.Heads
	shape := []int{heads * (nope + value), rank}
	var parts []program.Part
	for h := range heads {
		first := h * (nope + value)
		p := d.some(tensor, shape, value, first+nope, value, value)
		if keys {
			p = d.some(tensor, shape, rank, 0, rank, rank)
			p.Transposed, p.Column = true, first
		}
		parts = append(parts, p)
	}
	out := []int{heads, value, rank}
	if keys {
		out = []int{heads, rank, nope}
	}
	return d.weight(role, out, program.Random, parts...)
}

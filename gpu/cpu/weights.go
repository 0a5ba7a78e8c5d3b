package cpu

import (
	"fmt"
	"math"
	"sync/atomic"

	"github.com/troupe-llm/troupe/gpu/model"
)

// weights are a model's, ready for the kernels. Norms and biases are float32.
type weights struct {
	embed  *matrix // [Vocab, Hidden]
	head   *matrix // embed again when tied
	norm   []float32
	layers []layer
	memory []byte // all matrices lie in it
}

type layer struct {
	attnNorm, mlpNorm []float32
	qkv               *matrix   // queries, keys, values, one under the other
	qkvBias           []float32 // nil: none
	qNorm, kNorm      []float32 // nil: none
	o                 *matrix
	mlp
	// With a mixture of experts, instead of mlp:
	router  *matrix // [Experts, Hidden]
	experts []mlp   // nil: none
}

type mlp struct {
	gateUp *matrix // a panel of gate, a panel of up, in turn
	down   *matrix
}

// load copies the model's weights into panels, using all cores of the pool.
func load(m *model.Model, dtype model.DType, p *pool, progress func(done, total int64)) (*weights, error) {
	c := &m.Config
	if c.Layers <= 0 || c.Hidden <= 0 || c.Intermediate <= 0 || c.HeadDim <= 0 || c.Vocab <= 0 || c.KVHeads <= 0 || c.Heads%c.KVHeads != 0 {
		return nil, fmt.Errorf("cpu: the model's configuration cannot be run: %d layers, hidden %d, intermediate %d, %d heads of %d, %d key-value heads, vocabulary %d",
			c.Layers, c.Hidden, c.Intermediate, c.Heads, c.HeadDim, c.KVHeads, c.Vocab)
	}
	if x := c.MoE; x != nil && (x.Intermediate <= 0 || x.PerToken <= 0 || x.PerToken > x.Experts) {
		return nil, fmt.Errorf("cpu: the model's configuration cannot be run: %d of %d experts a token, of size %d", x.PerToken, x.Experts, x.Intermediate)
	}
	b := &builder{config: c, dtype: dtype, pool: p, progress: progress}
	if m.Weights == nil {
		b.describeRandom()
	} else if err := b.describe(m.Weights); err != nil {
		return nil, err
	}
	return b.build()
}

// builder lays out all matrices first, then fills them panel by panel.
type builder struct {
	config   *model.Config
	dtype    model.DType
	pool     *pool
	progress func(done, total int64)
	weights  weights
	pending  []pending
	err      error
}

// pending is a matrix without its memory.
type pending struct {
	m *matrix
	// source gives the weights of an output; nil: random.
	source func(out int) row
}

func (b *builder) matrix(out, in int, source func(out int) row) *matrix {
	m := &matrix{out: out, in: in, dtype: b.dtype}
	b.pending = append(b.pending, pending{m, source})
	return m
}

// tensor makes a matrix of one tensor.
func (b *builder) tensor(t *model.Tensor, out, in int) *matrix {
	b.check(t, out, in)
	return b.matrix(out, in, func(i int) row { return tensorRow(t, i, in) })
}

func (b *builder) check(t *model.Tensor, shape ...int) {
	if err := checkTensor(t, shape...); err != nil && b.err == nil {
		b.err = err
	}
}

func (b *builder) vector(t *model.Tensor, n int) []float32 {
	if b.check(t, n); b.err != nil {
		return nil
	}
	return vector(t)
}

func (b *builder) describe(w *model.Weights) error {
	c := b.config
	q, kv, h := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim, c.Hidden
	out := &b.weights
	out.embed = b.tensor(&w.Embed, c.Vocab, h)
	out.head = out.embed
	if !c.TieEmbedding {
		out.head = b.tensor(&w.Head, c.Vocab, h)
	}
	out.norm = b.vector(&w.Norm, h)
	if len(w.Layers) != c.Layers {
		return fmt.Errorf("cpu: the model has weights of %d layers, its configuration says %d", len(w.Layers), c.Layers)
	}
	for i := range w.Layers {
		l := &w.Layers[i]
		for _, t := range []*model.Tensor{&l.Q, &l.O} {
			b.check(t, q, h)
		}
		for _, t := range []*model.Tensor{&l.K, &l.V} {
			b.check(t, kv, h)
		}
		x := layer{
			attnNorm: b.vector(&l.AttnNorm, h),
			mlpNorm:  b.vector(&l.MLPNorm, h),
			qkv: b.matrix(q+2*kv, h, func(i int) row {
				switch {
				case i < q:
					return tensorRow(&l.Q, i, h)
				case i < q+kv:
					return tensorRow(&l.K, i-q, h)
				}
				return tensorRow(&l.V, i-q-kv, h)
			}),
			o: b.tensor(&l.O, h, q),
		}
		if c.MoE == nil {
			x.mlp = b.mlp(c.Intermediate, &l.Gate, &l.Up, &l.Down)
		} else {
			if len(l.Experts) != c.MoE.Experts {
				return fmt.Errorf("cpu: layer %d of the model has weights of %d experts, its configuration says %d", i, len(l.Experts), c.MoE.Experts)
			}
			x.router = b.tensor(&l.Router, c.MoE.Experts, h)
			for j := range l.Experts {
				t := &l.Experts[j]
				x.experts = append(x.experts, b.mlp(c.MoE.Intermediate, &t.Gate, &t.Up, &t.Down))
			}
		}
		if c.QKVBias {
			x.qkvBias = append(append(b.vector(&l.QBias, q), b.vector(&l.KBias, kv)...), b.vector(&l.VBias, kv)...)
		}
		if c.QKNorm {
			x.qNorm, x.kNorm = b.vector(&l.QNorm, c.HeadDim), b.vector(&l.KNorm, c.HeadDim)
		}
		out.layers = append(out.layers, x)
	}
	return b.err
}

// mlp is a gated MLP with n inner values.
func (b *builder) mlp(n int, gate, up, down *model.Tensor) mlp {
	h := b.config.Hidden
	b.check(gate, n, h)
	b.check(up, n, h)
	return mlp{
		gateUp: b.gateUp(n, func(i int) row { return tensorRow(gate, i, h) }, func(i int) row { return tensorRow(up, i, h) }),
		down:   b.tensor(down, h, n),
	}
}

// gateUp interleaves two matrices [n, Hidden] panel by panel, so that whoever
// computes 32 gates has their 32 factors at hand.
func (b *builder) gateUp(n int, gate, up func(out int) row) *matrix {
	half := padded(n)
	zero := row{model.BFloat16, make([]byte, 2*b.config.Hidden)}
	return b.matrix(2*half, b.config.Hidden, func(out int) row {
		p, j := out/panelWidth, out%panelWidth
		switch i := p/2*panelWidth + j; {
		case i >= n:
			return zero
		case p%2 == 0:
			return gate(i)
		default:
			return up(i)
		}
	})
}

// describeRandom is describe for a configuration without weights: norms are
// one, everything else is random.
func (b *builder) describeRandom() {
	c := b.config
	q, kv, h := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim, c.Hidden
	random := func(n int) mlp { return mlp{b.matrix(2*padded(n), h, nil), b.matrix(h, n, nil)} }
	out := &b.weights
	out.embed = b.matrix(c.Vocab, h, nil)
	out.head = out.embed
	if !c.TieEmbedding {
		out.head = b.matrix(c.Vocab, h, nil)
	}
	out.norm = ones(h)
	for range c.Layers {
		x := layer{
			attnNorm: ones(h), mlpNorm: ones(h),
			qkv: b.matrix(q+2*kv, h, nil), o: b.matrix(h, q, nil),
		}
		if c.MoE == nil {
			x.mlp = random(c.Intermediate)
		} else {
			x.router = b.matrix(c.MoE.Experts, h, nil)
			for range c.MoE.Experts {
				x.experts = append(x.experts, random(c.MoE.Intermediate))
			}
		}
		if c.QKVBias {
			x.qkvBias = make([]float32, q+2*kv)
		}
		if c.QKNorm {
			x.qNorm, x.kNorm = ones(c.HeadDim), ones(c.HeadDim)
		}
		out.layers = append(out.layers, x)
	}
}

// padded is n outputs in whole panels.
func padded(n int) int { return (n + panelWidth - 1) / panelWidth * panelWidth }

func ones(n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = 1
	}
	return v
}

func (b *builder) build() (*weights, error) {
	total, tasks := 0, 0
	first := make([]int, len(b.pending)) // a matrix's first panel among all
	for i, p := range b.pending {
		first[i] = tasks
		total += p.m.panels() * p.m.panelBytes()
		tasks += p.m.panels()
	}
	memory, err := allocate(total)
	if err != nil {
		return nil, fmt.Errorf("cpu: memory for the weights: %w", err)
	}
	b.weights.memory = memory
	for _, p := range b.pending {
		n := p.m.panels() * p.m.panelBytes()
		p.m.data, memory = memory[:n:n], memory[n:]
	}
	var done atomic.Int64
	// A matrix at a time: progress is reported from this goroutine alone.
	for i, p := range b.pending {
		b.pool.run(p.m.panels(), func(_, task int) {
			if p.source == nil {
				p.m.randomPanel(task, uint64(first[i]+task))
			} else {
				p.m.packPanel(task, p.source)
			}
		})
		if n := done.Add(int64(len(p.m.data))); b.progress != nil {
			b.progress(n, int64(total))
		}
	}
	return &b.weights, nil
}

// randomPanel fills a panel with numbers of standard deviation 1/√in, so that
// signals keep their size through the layers.
func (m *matrix) randomPanel(p int, seed uint64) {
	scale := float32(math.Sqrt(3/float64(m.in))) / (1 << 31)
	state := seed*0x9E3779B97F4A7C15 + 1
	next := func() float32 { // xorshift64*
		state ^= state >> 12
		state ^= state << 25
		state ^= state >> 27
		return float32(int32((state*0x2545F4914F6CDD1D)>>32)) * scale
	}
	values := make([]float32, m.in)
	for j := range min(m.out-p*panelWidth, panelWidth) {
		for k := range values {
			values[k] = next()
		}
		m.pack(p, j, values)
	}
}

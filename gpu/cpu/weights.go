package cpu

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sync/atomic"

	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/gpu/program"
)

// weights are a model's, ready for the kernels. Norms and biases are float32.
type weights struct {
	matrices map[*program.Weight][]*matrix // one, or one for each expert
	vectors  map[*program.Weight][]float32
	memory   []byte // all matrices lie in it
}

// matrix is that of a slot without experts.
func (w *weights) matrix(slot *program.Weight) *matrix { return w.matrices[slot][0] }

// load copies the model's weights into panels, using all cores of the pool. Of
// gated slots gates and ups take turns.
func load(m *model.Model, dtype model.DType, gated map[*program.Weight]bool, p *pool, progress func(done, total int64)) (*weights, error) {
	if err := Formats.Check(m); err != nil {
		return nil, fmt.Errorf("cpu: %w", err)
	}
	b := &builder{dtype: dtype, pool: p, progress: progress}
	b.weights.matrices, b.weights.vectors = map[*program.Weight][]*matrix{}, map[*program.Weight][]float32{}
	for _, w := range m.Config.Program.Weights {
		if m.Shared(w) != w {
			continue
		}
		var slot *model.Slot
		if m.Weights != nil {
			slot = m.Weights.Of(w)
		}
		if w.Matrix() {
			b.matrix(w, slot, gated[w])
		} else {
			b.vector(w, slot)
		}
	}
	for _, w := range m.Config.Program.Weights {
		if shared := m.Shared(w); shared != w {
			b.weights.matrices[w] = b.weights.matrices[shared]
		}
	}
	return b.build()
}

// Formats are the encodings of checkpoints that are taken, and how they are held
// unless Spec.DType asks for another type: nothing is lost unasked but of what is
// quantised, whose values are rounded to bfloat16.
var Formats = append(device.Formats{
	{Element: model.BFloat16, Held: model.Plain(model.BFloat16)},
	{Element: model.Float16, Held: model.Plain(model.Float32)},
	{Element: model.Float32, Held: model.Plain(model.Float32)},
}, device.Quantized(model.Plain(model.BFloat16))...)

// builder lays out all matrices first, then fills them panel by panel.
type builder struct {
	dtype    model.DType
	pool     *pool
	progress func(done, total int64)
	weights  weights
	pending  []pending
}

// pending is a matrix without its memory.
type pending struct {
	m *matrix
	// source gives the weights of an output; nil: random.
	source func(out int) row
	slot   *model.Slot // that it is filled from; nil: none
}

// done gives back the file's memory, of which there is a copy now.
func (p *pending) done() {
	if p.slot == nil {
		return
	}
	for i := range p.slot.Sources {
		t := p.slot.Sources[i].Tensor
		t.Drop()
	}
}

// matrix makes one for a slot, or one for each of its experts.
func (b *builder) matrix(w *program.Weight, slot *model.Slot, gated bool) {
	for x := range w.Experts() {
		m := &matrix{out: w.Out(), in: w.In(), dtype: b.dtype}
		var source func(int) row
		if slot != nil {
			source = func(i int) row { return rowOf(slot, x*w.Out()+i) }
		}
		if gated {
			half := w.Out() / 2
			m.out = 2 * padded(half)
			if slot != nil {
				source = takeTurns(half, source)
			}
		}
		b.weights.matrices[w] = append(b.weights.matrices[w], m)
		p := pending{m: m, source: source}
		if x == w.Experts()-1 {
			p.slot = slot
		}
		b.pending = append(b.pending, p)
	}
}

func rowOf(slot *model.Slot, out int) row {
	source, i := slot.Row(out)
	return row{source, i}
}

// takeTurns interleaves a matrix's two halves panel by panel, so that whoever
// computes 32 gates has their 32 factors at hand.
func takeTurns(half int, source func(out int) row) func(out int) row {
	return func(out int) row {
		p, j := out/panelWidth, out%panelWidth
		switch i := p/2*panelWidth + j; {
		case i >= half:
			return row{}
		case p%2 == 0:
			return source(i)
		default:
			return source(half + i)
		}
	}
}

// vector reads norms, biases and what else multiplies element by element.
func (b *builder) vector(w *program.Weight, slot *model.Slot) {
	if slot != nil {
		b.weights.vectors[w] = slot.Vector()
		return
	}
	v := make([]float32, w.Elements())
	r := rand.New(rand.NewPCG(uint64(len(b.weights.vectors)), 0))
	for i := range v {
		switch w.Init {
		case program.Ones:
			v[i] = 1
		case program.Random:
			v[i] = float32(r.NormFloat64() / math.Sqrt(float64(w.In())))
		}
	}
	b.weights.vectors[w] = v
}

// padded is n outputs in whole panels.
func padded(n int) int { return (n + panelWidth - 1) / panelWidth * panelWidth }

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
		p.done()
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

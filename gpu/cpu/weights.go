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

// newBuilder lays out the model's weights in panels. Of gated slots gates and ups
// take turns; plain ones are multiplied by what takes no whole numbers, routers are
// float32.
func newBuilder(m *model.Model, asked model.DType, pl *plan) (*builder, error) {
	if err := Formats.Check(m); err != nil {
		return nil, fmt.Errorf("cpu: %w", err)
	}
	b := &builder{model: m, asked: asked}
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
			b.matrix(w, slot, pl)
		} else {
			b.vector(w, slot)
		}
	}
	for _, w := range m.Config.Program.Weights {
		if shared := m.Shared(w); shared != w {
			b.weights.matrices[w] = b.weights.matrices[shared]
		}
	}
	return b, nil
}

// Formats are the encodings of checkpoints that are taken, and how they are held
// unless Spec.DType asks for another type: nothing is lost unasked but of what is
// quantised and not kept as it is, whose values are rounded to bfloat16.
var Formats = append(device.Formats{
	{Element: model.BFloat16, Held: model.Plain(model.BFloat16)},
	{Element: model.Float16, Held: model.Plain(model.Float32)},
	{Element: model.Float32, Held: model.Plain(model.Float32)},
	{Element: model.Packed4, Held: model.InGroups(model.Int4, model.GroupOfInt8)},
	{Element: model.GPTQ4, Held: model.InGroups(model.Int4, model.GroupOfInt8)},
	{Element: model.AWQ4, Held: model.InGroups(model.Int4, model.GroupOfInt8)},
	{Element: model.Packed8, Held: model.InGroups(model.Int8, model.GroupOfInt8)},
	{Element: model.GPTQ8, Held: model.InGroups(model.Int8, model.GroupOfInt8)},
	{Element: model.Q4_0, Held: model.InGroups(model.Int4, 32)},
	{Element: model.Q8_0, Held: model.InGroups(model.Int8, 32)},
	{Element: model.Float8, Held: model.Plain(model.BFloat16)},
	{Element: model.MXFP4, Held: model.Plain(model.BFloat16)},
}, device.Blocks(model.Plain(model.BFloat16), model.Q4_0, model.Q8_0)...)

// hold decides how a slot is held.
func (b *builder) hold(w *program.Weight, slot *model.Slot, plain bool) *matrix {
	m := &matrix{out: w.Out(), in: w.In()}
	keep := map[model.DType][]int{"": {4, 8}, model.Int4: {4}, model.Int8: {8}}[b.asked]
	if f, order, ok := keeping(slot, keep...); ok && !plain {
		m.format, m.order, m.kept = f, order, true
		return m
	}
	m.dtype = b.asked
	if b.asked == "" {
		m.dtype = model.BFloat16
		if own, _ := Formats.Held(model.Plain(b.model.Config.DType)); own.Element == model.Float32 {
			m.dtype = model.Float32
		}
	}
	if e := model.HeldAs(m.dtype).Of(w); e.Columns > 0 && !plain {
		m.format = format{dtype: e.Element, group: e.Columns}
	} else if e.Columns > 0 {
		m.dtype = model.BFloat16
	}
	return m
}

// builder lays out all matrices first, then fills them panel by panel.
type builder struct {
	model   *model.Model
	asked   model.DType // ""; or what every matrix is to be
	weights weights
	pending []pending
}

// bytes is the memory that the matrices take.
func (b *builder) bytes() (n int64) {
	for _, p := range b.pending {
		n += int64(p.m.panels() * p.m.panelBytes())
	}
	return n
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
func (b *builder) matrix(w *program.Weight, slot *model.Slot, pl *plan) {
	like := b.hold(w, slot, pl.plain[w])
	if pl.routers[w] {
		like = &matrix{out: w.Out(), in: w.In(), format: format{dtype: model.Float32}}
	}
	for x := range w.Experts() {
		m := new(matrix)
		*m = *like
		var source func(int) row
		if slot != nil {
			source = func(i int) row { return rowOf(slot, x*w.Out()+i) }
		}
		if pl.gated[w] {
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

// load fills the panels, using all cores of the pool.
func (b *builder) load(p *pool, progress func(done, total int64)) (*weights, error) {
	total, tasks := int(b.bytes()), 0
	first := make([]int, len(b.pending)) // a matrix's first panel among all
	for i, one := range b.pending {
		first[i] = tasks
		tasks += one.m.panels()
	}
	memory, err := allocate(total)
	if err != nil {
		return nil, fmt.Errorf("cpu: memory for the weights: %w", err)
	}
	b.weights.memory = memory
	for _, one := range b.pending {
		n := one.m.panels() * one.m.panelBytes()
		one.m.data, memory = memory[:n:n], memory[n:]
	}
	var done atomic.Int64
	// A matrix at a time: progress is reported from this goroutine alone.
	for i, one := range b.pending {
		p.run(one.m.panels(), func(_, task int) {
			if one.source == nil {
				one.m.randomPanel(task, uint64(first[i]+task))
			} else {
				one.m.packPanel(task, one.source)
			}
		})
		one.done()
		if n := done.Add(int64(len(one.m.data))); progress != nil {
			progress(n, int64(total))
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

package cpu

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
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
	{Element: model.Float8, Held: model.Plain(model.BFloat16)},
	{Element: model.MXFP4, Held: model.InGroups(model.Int8, 32)},
}, blocks()...)

// blocks are those of GGUF files, each as its numbers are.
func blocks() (f device.Formats) {
	for _, e := range model.Blocks {
		s := model.Source{Tensor: &model.Tensor{Encoding: model.Plain(e), Shape: []int{1, 0}}}
		h, _ := keeping(&s, 4, 6, 8)
		f = append(f, device.Format{Element: e, Held: model.InGroups(h.dtype, h.group)})
	}
	return f
}

// hold decides how a slot's weights are held that are not kept as their source has
// them, or of which there is none.
func (b *builder) hold(w *program.Weight, plain bool) (h holding) {
	h.dtype = b.asked
	if b.asked == "" {
		h.dtype = model.BFloat16
		if own, _ := Formats.Held(model.Plain(b.model.Config.DType)); own.Element == model.Float32 {
			h.dtype = model.Float32
		}
	}
	if e := model.HeldAs(h.dtype).Of(w); e.Columns > 0 && !plain {
		h.format = groupedAs(e)
	} else if e.Columns > 0 {
		h.dtype = model.BFloat16
	}
	return h
}

// grouped is the format of an encoding of whole numbers in groups.
func groupedAs(e model.Encoding) format {
	f := format{dtype: e.Element, group: e.Columns}
	if e.Scale == model.Float16 {
		f.scales = model.Halves
	}
	return f
}

// holdings are how a slot's sources are held, those in one way in the same panels, and
// which of these each source is in.
func (b *builder) holdings(w *program.Weight, slot *model.Slot, plain bool) (list []holding, of map[*model.Source]int) {
	if slot == nil || plain {
		return []holding{b.hold(w, plain)}, nil
	}
	keep := map[model.DType][]int{"": {4, 6, 8}, model.Int4: {4}, model.Int8: {6, 8}}[b.asked]
	of = map[*model.Source]int{}
	for i := range slot.Sources {
		s := &slot.Sources[i]
		h, kept := keeping(s, keep...)
		if !kept {
			h = b.hold(w, plain)
		}
		at := slices.IndexFunc(list, h.like)
		if at < 0 {
			at = len(list)
			list = append(list, h)
		}
		list[at].offsets = list[at].offsets || h.offsets
		of[s] = at
	}
	return list, of
}

// like says that weights of both fit into a panel.
func (h holding) like(o holding) bool {
	if h.scales == model.Floats {
		o.offsets = h.offsets // may be zero
	}
	return h.format == o.format && h.kept == o.kept && slices.Equal(h.order, o.order)
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

// types are the type that most bytes of the weights are held in, those of the vocabulary
// aside, and, where tensors are kept as they are, the others: "int8 and bfloat16". Where
// none are kept the type is what was foreseen.
func (b *builder) types(foreseen model.DType) (mostly model.DType, others string) {
	bytes, kept := map[model.DType]int{}, false
	for _, p := range b.pending {
		kept = kept || p.m.kept
		switch n := p.m.panels() * p.m.panelBytes(); {
		case p.router: // always exact
		case p.of.Role == "embed" || p.of.Role == "head":
			bytes[p.m.dtype] += 0
		default:
			bytes[p.m.dtype] += n
		}
	}
	if !kept || b.asked != "" {
		return foreseen, ""
	}
	list := slices.SortedFunc(maps.Keys(bytes), func(a, b model.DType) int {
		return cmp.Or(cmp.Compare(bytes[b], bytes[a]), cmp.Compare(a, b))
	})
	names := make([]string, len(list))
	for i, d := range list {
		names[i] = string(d)
	}
	return list[0], strings.Join(names[1:], " and ")
}

// pending is a matrix without its memory.
type pending struct {
	m *matrix
	// source gives the weights of an output; nil: random.
	source func(out int) row
	slot   *model.Slot // that it is filled from; nil: none
	of     *program.Weight
	router bool
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
	held, of := b.holdings(w, slot, pl.plain[w])
	if pl.routers[w] {
		held = []holding{{format: format{dtype: model.Float32}}}
	}
	for x := range w.Experts() {
		m := &matrix{out: w.Out(), in: w.In()}
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
		if m.holding = held[0]; len(held) > 1 && !m.divide(held, of, source) {
			m.holding = b.hold(w, pl.plain[w])
		}
		b.fill(pending{of: w, router: pl.routers[w]}, m, source)
	}
	b.pending[len(b.pending)-1].slot = slot
}

// divide makes parts of panels that are held alike; false: a panel has outputs that are
// not.
func (m *matrix) divide(held []holding, of map[*model.Source]int, source func(int) row) bool {
	m.where = make([]place, m.panels())
	parts := make([]*matrix, len(held))
	for i, h := range held {
		parts[i] = &matrix{in: m.in, holding: h}
	}
	for p := range m.where {
		part := -1
		for j := range min(panelWidth, m.out-p*panelWidth) {
			r := source(p*panelWidth + j)
			if r.source == nil {
				continue
			}
			if i := of[r.source]; part >= 0 && part != i {
				return false
			} else {
				part = i
			}
		}
		part = max(part, 0)
		m.where[p] = place{part, parts[part].panels()}
		parts[part].out += panelWidth
	}
	m.parts = parts
	return true
}

// fill has a matrix or its parts be filled, which are of that weight.
func (b *builder) fill(p pending, m *matrix, source func(int) row) {
	if m.parts == nil {
		p.m, p.source = m, source
		b.pending = append(b.pending, p)
		return
	}
	panels := make([][]int, len(m.parts)) // of the matrix
	for i, at := range m.where {
		panels[at.part] = append(panels[at.part], i)
	}
	for i, part := range m.parts {
		p.m, p.source = part, func(out int) row {
			if at := panels[i][out/panelWidth]*panelWidth + out%panelWidth; at < m.out {
				return source(at)
			}
			return row{}
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
	work := make([]scratch, p.size)
	// A matrix at a time: progress is reported from this goroutine alone.
	for i, one := range b.pending {
		p.run(one.m.panels(), func(worker, task int) {
			if one.source == nil {
				one.m.randomPanel(task, uint64(first[i]+task))
			} else {
				one.m.packPanel(task, one.source, &work[worker])
			}
		})
		one.done()
		if n := done.Add(int64(len(one.m.data))); progress != nil {
			progress(n, int64(total))
		}
	}
	for _, one := range b.pending { // what the system read ahead of one is of others
		one.done()
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

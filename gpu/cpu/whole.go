package cpu

import (
	"encoding/binary"
	"math"
	"slices"

	"github.com/troupe-llm/troupe/gpu/model"
)

// round makes whole numbers of the weights of output j of panel p.
//
// For weights of 8 bits alone one scale for each output would do as well: groups
// of 128 came as close to transformers on the checkpoints of reference_test.go
// (0.99 times the difference). Activations need groups, and products take both by
// the same.
func (m *matrix) round(p, j int, values []float32) {
	var numbers [model.GroupOfInt8]uint8
	for g := 0; len(values) > 0; g++ {
		n := min(m.group, len(values))
		scales, lines := m.block(p, g)
		if m.dtype == model.Int8 {
			scales[j] = nearest8(numbers[:n], values[:n])
		} else {
			scales[j] = model.QuantizeInt4(numbers[:n], values[:n])
		}
		m.put(lines, j, numbers[:n])
		values = values[n:]
	}
}

// nearest8 writes values as whole numbers from −127 to 127, of which the one
// farthest from zero is 127, plus their middle, and returns what they count.
func nearest8(numbers []uint8, values []float32) (scale float32) {
	scale, inverse := scaleOf(sizeOf(&values[0], len(values)), 127)
	for k, v := range values {
		numbers[k] = uint8(math.Float32bits(float32(v*inverse)+magic)) ^ 128
	}
	return scale
}

// scratch is what a worker reads a panel's weights into.
type scratch struct {
	values          []float32
	numbers         []uint8 // of one output behind the other, a multiple of four each
	scales, offsets []float32
	read            []uint8 // as a source has them
	by, plus        []float32
}

// keep takes the whole numbers of a panel's outputs as their sources have them.
func (m *matrix) keep(p int, rows []row, s *scratch) {
	groups, width := (m.in+m.group-1)/m.group, (m.in+3)/4*4
	grow(&s.numbers, panelWidth*width)
	grow(&s.scales, panelWidth*groups)
	grow(&s.offsets, panelWidth*groups)
	for j := 0; j < panelWidth; {
		many := 1
		if j < len(rows) {
			many = together(rows[j:])
		}
		numbers, scales, offsets := s.numbers[j*width:][:many*width], s.scales[j*groups:][:many*groups], s.offsets[j*groups:][:many*groups]
		if j < len(rows) && rows[j].source != nil {
			m.readNumbers(rows[j], many, numbers, scales, offsets, s)
		} else { // zeros, since their scales are
			clear(numbers)
			clear(scales)
			clear(offsets)
		}
		j += many
	}
	for g := range groups {
		by, lines := m.block(p, g)
		for j := range panelWidth {
			by[j] = s.scales[j*groups+g]
			if m.offsets {
				by[panelWidth+j] = s.offsets[j*groups+g]
			}
		}
		m.interleave(lines, s.numbers[g*m.group:], width)
	}
}

// interleave puts a group's numbers of all outputs, so far apart, into its lines.
func (f format) interleave(lines []byte, numbers []uint8, apart int) {
	line := f.line()
	each := len(lines) / line * 4
	if f.dtype == model.Int8 {
		for j := range panelWidth {
			from, to := numbers[j*apart:][:each], lines[4*j:]
			for k := 0; k+4 <= len(from); k += 4 {
				binary.LittleEndian.PutUint32(to[k/4*line:], binary.LittleEndian.Uint32(from[k:]))
			}
		}
		return
	}
	for j := range panelWidth / 2 {
		low, high, to := numbers[j*apart:][:each], numbers[(j+panelWidth/2)*apart:][:each], lines[4*j:]
		for k := 0; k+4 <= len(low) && k+4 <= len(high); k += 4 {
			binary.LittleEndian.PutUint32(to[k/4*line:], binary.LittleEndian.Uint32(low[k:])|binary.LittleEndian.Uint32(high[k:])<<4)
		}
	}
}

// readNumbers reads outputs of one source, in the matrix's groups and order of inputs.
func (m *matrix) readNumbers(r row, many int, numbers []uint8, scales, offsets []float32, s *scratch) {
	n, _ := r.source.Numbers()
	each := n.Group
	if each == 0 {
		each = m.in
	}
	groups := (m.in + each - 1) / each
	if each == m.group && m.order == nil && m.in%4 == 0 {
		r.source.ReadNumbers(r.i, many, numbers, scales, offsets)
		return
	}
	grow(&s.read, many*m.in)
	grow(&s.by, many*groups)
	grow(&s.plus, many*groups)
	r.source.ReadNumbers(r.i, many, s.read, s.by, s.plus)
	own, width := len(scales)/many, len(numbers)/many
	for l := range many {
		from, to := s.read[l*m.in:][:m.in], numbers[l*width:][:width]
		clear(to[copy(to, from):])
		for k, at := range m.order {
			to[k] = from[at]
		}
		for g := range own {
			of := l*groups + g*m.group/each
			scales[l*own+g], offsets[l*own+g] = s.by[of], s.plus[of]
		}
	}
}

// keeping is how a source's whole numbers are kept as it has them; false: they are no
// whole numbers of so many bits, or are grouped as no product takes them.
func keeping(s *model.Source, bits ...int) (h holding, ok bool) {
	n, whole := s.Numbers()
	if !whole || !slices.Contains(bits, n.Bits) || groupOf(n.Group) == 0 {
		return h, false
	}
	h.format = format{dtype: map[int]model.DType{4: model.Int4, 8: model.Int8}[n.Bits], group: groupOf(n.Group), offsets: n.Offsets}
	h.kept = true
	h.order, ok = s.Tensor.Order()
	return h, ok
}

// groupOf is the groups in which products take those of so many inputs, 0: of all:
// the same, or parts of them, which share the scale. 0: there are none.
func groupOf(each int) int {
	switch {
	case each == 0:
		return model.GroupOfInt8
	case each >= 16 && each <= model.GroupOfInt8 && each%4 == 0:
		return each
	}
	for _, part := range []int{128, 64, 32} {
		if each > part && each%part == 0 {
			return part
		}
	}
	return 0
}

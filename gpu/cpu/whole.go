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
		head, lines := m.block(p, g)
		var scale float32
		switch m.dtype {
		case model.Int8:
			scale = nearest8(numbers[:n], values[:n])
		case model.Int6:
			scale = nearest6(numbers[:n], values[:n])
		default:
			scale = model.QuantizeInt4(numbers[:n], values[:n])
		}
		if m.scales == model.Halves {
			binary.LittleEndian.PutUint16(head[2*j:], model.ToF16(scale))
		} else {
			floats(head)[j] = scale
		}
		m.put(lines, j, numbers[:n])
		values = values[n:]
	}
}

// nearest8 writes values as whole numbers from −127 to 127, of which the one
// farthest from zero is 127, plus their middle, and returns what they count.
func nearest8(numbers []uint8, values []float32) (scale float32) {
	return nearest(numbers, values, 127)
}

// nearest6 does so from −31 to 31.
func nearest6(numbers []uint8, values []float32) (scale float32) { return nearest(numbers, values, 31) }

// nearest does so up to a number that is one less than a power of two.
func nearest(numbers []uint8, values []float32, most uint8) (scale float32) {
	scale, inverse := scaleOf(sizeOf(&values[0], len(values)), float32(most))
	for k, v := range values {
		numbers[k] = (uint8(math.Float32bits(float32(v*inverse)+magic)) + most + 1) & (2*most + 1)
	}
	return scale
}

// scratch is what a worker reads a panel's weights into.
type scratch struct {
	values []float32
	rows   model.WholeRows // of a panel, a multiple of four numbers each
	read   model.WholeRows // as a source has them
}

// sized makes rows have so many numbers and groups.
func sized(r *model.WholeRows, numbers, groups int) {
	grow(&r.Numbers, numbers)
	grow(&r.Scales, groups)
	grow(&r.Offsets, groups)
	grow(&r.Halves, groups)
	grow(&r.HalfOffsets, groups)
	grow(&r.ScaleTimes, groups)
	grow(&r.OffsetTimes, groups)
}

// keep takes the whole numbers of a panel's outputs as their sources have them.
func (m *matrix) keep(p int, rows []row, s *scratch) {
	groups, width := (m.in+m.group-1)/m.group, (m.in+3)/4*4
	sized(&s.rows, panelWidth*width, panelWidth*groups)
	for j := 0; j < panelWidth; {
		many := 1
		if j < len(rows) {
			many = together(rows[j:])
		}
		to := m.outputs(&s.rows, j, many)
		if j < len(rows) && rows[j].source != nil {
			m.readNumbers(rows[j], many, &to, &s.read)
		} else { // zeros, since their scales are
			clear(to.Numbers)
			clear(to.Scales)
			clear(to.Offsets)
			clear(to.Halves)
			clear(to.HalfOffsets)
			clear(to.ScaleTimes)
			clear(to.OffsetTimes)
		}
		j += many
	}
	for g := range groups {
		head, lines := m.block(p, g)
		m.interleave(lines, s.rows.Numbers[g*m.group:], width)
		switch m.scales {
		case model.Floats:
			columns(head, s.rows.Scales[g:], s.rows.Offsets[g:], groups, func(to []byte, v float32) {
				binary.NativeEndian.PutUint32(to, math.Float32bits(v))
			}, 4)
		case model.Halves:
			columns(head, s.rows.Halves[g:], s.rows.HalfOffsets[g:], groups, binary.LittleEndian.PutUint16, 2)
		case model.Times:
			columns(head, s.rows.ScaleTimes[g:], s.rows.OffsetTimes[g:], groups, func(to []byte, v int8) { to[0] = byte(v) }, 1)
			if n := m.in / model.Super; g*m.group%model.Super == 0 {
				at := g * m.group / model.Super
				columns(m.above(p, g), s.rows.Halves[at:], s.rows.HalfOffsets[at:], n, binary.LittleEndian.PutUint16, 2)
			}
		}
	}
}

// outputs are those of rows from the j-th on, so many.
func (m *matrix) outputs(r *model.WholeRows, j, many int) model.WholeRows {
	groups, width := (m.in+m.group-1)/m.group, (m.in+3)/4*4
	halves := groups
	if m.scales == model.Times {
		halves = m.in / model.Super
	}
	return model.WholeRows{
		Numbers: r.Numbers[j*width:][:many*width],
		Scales:  r.Scales[j*groups:][:many*groups], Offsets: r.Offsets[j*groups:][:many*groups],
		Halves: r.Halves[j*halves:][:many*halves], HalfOffsets: r.HalfOffsets[j*halves:][:many*halves],
		ScaleTimes: r.ScaleTimes[j*groups:][:many*groups], OffsetTimes: r.OffsetTimes[j*groups:][:many*groups],
	}
}

// columns writes a head: every output's scale, so far apart, and, where there is room,
// offset.
func columns[T any](head []byte, scales, offsets []T, apart int, put func(to []byte, v T), size int) {
	for j := range panelWidth {
		put(head[j*size:], scales[j*apart])
	}
	if rest := head[panelWidth*size:]; len(rest) > 0 {
		for j := range panelWidth {
			put(rest[j*size:], offsets[j*apart])
		}
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
		if f.dtype == model.Int6 {
			interleave6(to, low, high)
			continue
		}
		for k := 0; k+4 <= len(low) && k+4 <= len(high); k += 4 {
			binary.LittleEndian.PutUint32(to[k/4*line:], binary.LittleEndian.Uint32(low[k:])|binary.LittleEndian.Uint32(high[k:])<<4)
		}
	}
}

// interleave6 puts the numbers of 6 bits of outputs j and j+16, eight at a time.
func interleave6(lines []byte, low, high []uint8) {
	const fours, twos, line = 0x0f0f0f0f, 0x03030303, 4 * panelWidth / 2
	for k := 0; k+8 <= len(low) && k+8 <= len(high); k += 8 {
		to := lines[k/8*3*line:]
		a, b := binary.LittleEndian.Uint32(low[k:]), binary.LittleEndian.Uint32(high[k:])
		c, d := binary.LittleEndian.Uint32(low[k+4:]), binary.LittleEndian.Uint32(high[k+4:])
		binary.LittleEndian.PutUint32(to, a>>4&twos|b>>4&twos<<2|c>>4&twos<<4|d>>4&twos<<6)
		binary.LittleEndian.PutUint32(to[line:], a&fours|b&fours<<4)
		binary.LittleEndian.PutUint32(to[2*line:], c&fours|d&fours<<4)
	}
}

// readNumbers reads outputs of one source, in the matrix's groups and order of inputs.
func (m *matrix) readNumbers(r row, many int, to, read *model.WholeRows) {
	n, _ := r.source.Numbers()
	each := n.Group
	if each == 0 {
		each = m.in
	}
	if each == m.group && m.order == nil && m.in%4 == 0 {
		r.source.ReadNumbers(r.i, many, to)
		return
	}
	groups := (m.in + each - 1) / each
	sized(read, many*m.in, many*groups)
	r.source.ReadNumbers(r.i, many, read)
	own, width := len(to.Scales)/many, len(to.Numbers)/many
	for l := range many {
		from, numbers := read.Numbers[l*m.in:][:m.in], to.Numbers[l*width:][:width]
		clear(numbers[copy(numbers, from):])
		for k, at := range m.order {
			numbers[k] = from[at]
		}
		for g := range own {
			of := l*groups + g*m.group/each
			to.Scales[l*own+g], to.Offsets[l*own+g] = read.Scales[of], read.Offsets[of]
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
	h.format = packing{n.Bits, n.Offsets, n.Scales}.format(groupOf(n.Group))
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

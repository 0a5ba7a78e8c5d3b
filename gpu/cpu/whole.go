package cpu

import (
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

// keep takes the whole numbers of outputs j to j+many of panel p, which follow
// each other in a source, as they are.
func (m *matrix) keep(p, j, many int, r row) {
	if r.source == nil {
		return // zeros: their scales are
	}
	_, each := r.source.Whole()
	if each == 0 {
		each = m.in
	}
	groups := (m.in + each - 1) / each
	elements, scales, zeros := make([]float32, many*m.in), make([]float32, many*groups), make([]float32, many*groups)
	r.source.ReadWhole(r.i, many, elements, scales, zeros)
	numbers := make([]uint8, m.group)
	for l := range many {
		line := elements[l*m.in:][:m.in]
		for first := 0; first < m.in; first += m.group {
			n := min(m.group, m.in-first)
			for k := range n {
				at := first + k
				if m.order != nil {
					at = int(m.order[at])
				}
				numbers[k] = uint8(line[at])
			}
			by, lines := m.block(p, first/m.group)
			g := l*groups + first/each
			by[j+l] = scales[g]
			if m.offsets {
				by[panelWidth+j+l] = scales[g] * (float32(middle(m.dtype)) - zeros[g])
			}
			m.put(lines, j+l, numbers[:n])
		}
	}
}

// keeping is how a slot's whole numbers are kept as its tensors have them, and the
// order of inputs; false: they are no whole numbers of so many bits, or are grouped
// as no product takes them.
func keeping(slot *model.Slot, bits ...int) (f format, order []int32, ok bool) {
	if slot == nil || len(slot.Sources) == 0 {
		return f, nil, false
	}
	first := &slot.Sources[0]
	have, each := first.Whole()
	if !slices.Contains(bits, have) {
		return f, nil, false
	}
	f = format{dtype: map[int]model.DType{4: model.Int4, 8: model.Int8}[have], group: groupOf(each)}
	for i := range slot.Sources {
		s := &slot.Sources[i]
		b, g := s.Whole()
		if b != have || g != each || !slices.Equal(s.Tensor.Groups, first.Tensor.Groups) {
			return f, nil, false
		}
		f.offsets = f.offsets || !s.Tensor.Centred()
	}
	if f.group == 0 {
		return f, nil, false
	}
	order, even := first.Tensor.Order()
	return f, order, even
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

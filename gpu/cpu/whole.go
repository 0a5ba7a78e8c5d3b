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
			scales[j] = nearest4(numbers[:n], values[:n])
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

// steps are what whole numbers of 4 bits may stand for the value that is farthest
// from zero: −8, or finer ones, which cut it off. More of them brought the
// checkpoints of reference_test.go no closer to transformers.
var steps = []float32{-8, -8.8}

// nearest4 writes values as whole numbers from −8 to 7, plus their middle, and
// returns what they count: of some ways that with the smallest square of errors.
// With a scale for numbers, which are q, of values v, the best is Σvq/Σq², and it
// leaves Σv² − (Σvq)²/Σq².
func nearest4(numbers []uint8, values []float32) (scale float32) {
	farthest := values[0]
	for _, v := range values {
		if math.Float32bits(v)&^(1<<31) > math.Float32bits(farthest)&^(1<<31) {
			farthest = v
		}
	}
	for k := range numbers {
		numbers[k] = 8
	}
	switch size := math.Abs(float64(farthest)); {
	case size < 0x1p-100: // see scaleOf
		return 0
	case !(size <= math.MaxFloat32): // what is broken stays broken
		return farthest
	}
	var q [model.GroupOfInt8]uint8
	best := 0.0
	for _, step := range steps {
		inverse := step / farthest
		var vq float32
		var qq int32
		for k, v := range values {
			n := int32(math.Float32bits(float32(v*inverse)+magic) - math.Float32bits(magic))
			n = min(max(n, -8), 7)
			q[k] = uint8(n + 8)
			vq += float32(v * float32(n)) // not fused: the same numbers everywhere
			qq += n * n
		}
		if gain := float64(vq) * float64(vq) / float64(max(qq, 1)); gain > best {
			best, scale = gain, vq/float32(qq)
			copy(numbers, q[:])
		}
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
	if groups := first.Tensor.GroupOf(); groups != nil {
		order = orderOf(groups)
		for k, i := range order {
			if each == 0 || int(groups[i]) != k/each {
				return f, nil, false
			}
		}
	}
	return f, order, true
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

// orderOf puts inputs in the order of their groups.
func orderOf(groups []int32) []int32 {
	order := make([]int32, len(groups))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortStableFunc(order, func(a, b int32) int { return int(groups[a]) - int(groups[b]) })
	return order
}

package model

import (
	"bytes"
	"maps"
	"math"
	"slices"

	"github.com/troupe-llm/troupe/gpu/program"
)

// HeldInInt4 is how a device holds weights that multiplies whole numbers of 4 bits:
// projections that a checkpoint has in them as they are, by groups of 32, 64 or 128
// inputs, or several of these that share a scale; everything else as h says. With all,
// other projections are rounded to them.
//
// Products of such numbers are over multiples of 128 inputs, to multiples of 16
// outputs of each tensor. Others are held as h says.
func (m *Model) HeldInInt4(h Held, all bool) Held {
	own := maps.Clone(h.Own)
	if own == nil {
		own = map[string]Encoding{}
	}
	for _, w := range m.Config.Program.Projections() {
		if w.In()%128 != 0 || w.Out()%16 != 0 || len(w.Shape) != 2 || w.Role == "head" { // a rank's is none of logits
			continue
		}
		if group := m.int4(w); group > 0 {
			own[w.Name] = InGroups(Int4, group)
		} else if all && m.inSixteens(w) {
			own[w.Name] = InGroups(Int4, GroupOfInt4)
		}
	}
	if len(own) > 0 {
		h.Own = own
	}
	return h
}

// inSixteens says that a slot's sources have multiples of 16 outputs.
func (m *Model) inSixteens(w *program.Weight) bool {
	return m.Weights == nil || !slices.ContainsFunc(m.Weights.Of(w).Sources, func(s Source) bool { return s.Rows%16 != 0 })
}

// int4 is in what groups a slot's whole numbers of 4 bits can be taken as they are; 0:
// in none, or it has others.
func (m *Model) int4(w *program.Weight) (group int) {
	if m.Weights == nil || !m.inSixteens(w) {
		return 0
	}
	sources := m.Weights.Of(w).Sources
	for i := range sources {
		s := &sources[i]
		bits, each := s.Whole()
		_, even := s.Tensor.Order()
		g := groupOfInt4(each)
		if bits != 4 || g == 0 || !even || i > 0 && (g != group || !bytes.Equal(s.Tensor.Groups, sources[0].Tensor.Groups)) {
			return 0
		}
		group = g
	}
	return group
}

// groupOfInt4 is in what groups those of so many inputs, 0: of all, are taken.
func groupOfInt4(each int) int {
	switch {
	case each == 32 || each == 64:
		return each
	case each%128 == 0:
		return 128
	}
	return 0
}

// Order is the order of inputs in which groups lie one behind the other; nil: they lie
// so. It is even if each has as many inputs as the encoding says.
func (t *Tensor) Order() (order []int32, even bool) {
	groups := t.GroupOf()
	if groups == nil {
		return nil, true
	}
	order = make([]int32, len(groups))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortStableFunc(order, func(a, b int32) int { return int(groups[a]) - int(groups[b]) })
	each := t.Encoding.Columns
	for k, i := range order {
		if each == 0 || int(groups[i]) != k/each {
			return order, false
		}
	}
	return order, true
}

// steps are what whole numbers of 4 bits may stand for the value that is farthest
// from zero: −8, or finer ones, which cut it off. More of them brought small
// checkpoints no closer to transformers.
var steps = []float32{-8, -8.8}

// magic is what turns a float32 beside it into a whole number, rounded to even, in its
// last bits.
const magic = 1<<23 + 1<<22

// QuantizeInt4 writes values, GroupOfInt8 at most, as whole numbers from −8 to 7, plus 8, and returns
// what they count: of some ways that with the smallest square of errors. With a scale
// for numbers, which are q, of values v, the best is Σvq/Σq², and it leaves
// Σv² − (Σvq)²/Σq².
func QuantizeInt4(numbers []uint8, values []float32) (scale float32) {
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
	case size < 0x1p-100: // whose inverse might be infinite
		return 0
	case !(size <= math.MaxFloat32): // what is broken stays broken
		return farthest
	}
	var all [GroupOfInt8]uint8
	best := 0.0
	for _, step := range steps {
		inverse := step / farthest
		// Four sums, so that one does not wait for the other.
		var a, b, c, d float32
		var qq int32
		q, rest := all[:len(values)], values
		for ; len(rest) >= 4; q, rest = q[4:], rest[4:] {
			_, _ = q[3], rest[3]
			i, j, k, l := nearest4(rest[0]*inverse), nearest4(rest[1]*inverse), nearest4(rest[2]*inverse), nearest4(rest[3]*inverse)
			q[0], q[1], q[2], q[3] = uint8(i+8), uint8(j+8), uint8(k+8), uint8(l+8)
			a, b, c, d = a+float32(rest[0]*float32(i)), b+float32(rest[1]*float32(j)), c+float32(rest[2]*float32(k)), d+float32(rest[3]*float32(l))
			qq += i*i + j*j + k*k + l*l
		}
		for at, v := range rest {
			i := nearest4(v * inverse)
			q[at] = uint8(i + 8)
			a += float32(v * float32(i)) // not fused: the same numbers everywhere
			qq += i * i
		}
		vq := float32(a+b) + float32(c+d)
		if gain := float64(vq) * float64(vq) / float64(max(qq, 1)); gain > best {
			best, scale = gain, vq/float32(qq)
			copy(numbers, all[:])
		}
	}
	return scale
}

// nearest4 is the whole number next to x that 4 bits hold.
func nearest4(x float32) int32 {
	return min(max(int32(math.Float32bits(float32(x)+magic)-math.Float32bits(magic)), -8), 7)
}

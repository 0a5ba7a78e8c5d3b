package model

import (
	"fmt"
	"slices"

	"github.com/troupe-llm/troupe/gpu/program"
)

// FP8 is the quantization by which projections are asked for in E4M3, whatever a
// checkpoint has.
const FP8 = "fp8"

// HeldInFP8 is how a device holds weights that multiplies E4M3: projections that
// are in it, scaled by tensor, output or blocks of 128 × 128, as they are, those of
// a tensor's scale with one for each output; everything else as h says. With all,
// other projections are quantised, too.
//
// Products of such numbers are over multiples of 128 inputs, to multiples of 16
// outputs. Others are held as h says.
func (m *Model) HeldInFP8(h Held, all bool) Held {
	own := map[string]Encoding{}
	for _, w := range m.Config.Program.Projections() {
		if w.In()%128 != 0 || w.Out()%16 != 0 || len(w.Shape) != 2 {
			continue
		}
		if e, is := m.float8(w); is {
			own[w.Name] = e
		} else if all {
			own[w.Name] = ByOutput(Float8)
		}
	}
	if len(own) > 0 {
		h.Own = own
	}
	return h
}

// float8 is in which encoding a slot's codes can be taken as they are.
func (m *Model) float8(w *program.Weight) (e Encoding, is bool) {
	if m.Weights == nil {
		return e, false
	}
	for i := range m.Weights.Of(w).Sources {
		s := &m.Weights.Of(w).Sources[i]
		one, whole := s.float8(m.Weights.Of(w).begins[i])
		if !whole || i > 0 && one != e {
			return e, false
		}
		e = one
	}
	return e, true
}

// float8 is the encoding of a source, at that output of its slot, whose codes fill
// whole rows.
func (s *Source) float8(begin int) (e Encoding, whole bool) {
	of := s.Tensor.Encoding
	if of.Element != Float8 || of.Scale == "" || s.Transposed || s.Step > 1 || s.plus != 0 {
		return e, false
	}
	if of.Columns == 0 {
		return ByOutput(Float8), of.Rows < 2
	}
	at := s.Row(0)
	inOrder := s.Row(s.Rows-1) == at+s.Rows-1 && s.Block >= min(s.Rows, s.Stride)
	return ByBlock(Float8), of.Rows == 128 && of.Columns == 128 && inOrder && at%128 == 0 && begin%128 == 0 && s.Column%128 == 0
}

// Codes copies the elements of rows [row, row+n) of the part, one byte each, as
// they lie in the file.
func (s *Source) Codes(row, n int, dst []byte) {
	rows, columns := s.Tensor.matrix()
	for i := range n {
		at := (s.Slab*rows+s.Row(row+i))*columns + s.Column
		copy(dst[i*s.in:][:s.in], s.Tensor.Data[at:])
	}
}

// Scales are those of a row's blocks, as many as dst has: of a tensor or an output
// one.
func (s *Source) Scales(row int, dst []float32) {
	by, first := newScaler(s.Tensor, s.Slab), 0
	by.readScales(s.Row(row))
	if each := s.Tensor.Encoding.Columns; each > 0 {
		first = s.Column / each
	}
	copy(dst, by.scales[first:])
}

// Quantize rounds a row to E4M3 by one scale.
func Quantize(row []float32, dst []byte) (scale float32) {
	most := float32(1e-20)
	for _, v := range row {
		most = max(most, v, -v)
	}
	by := 448 / most
	for i, v := range row {
		dst[i] = ToFloat8(v * by)
	}
	return most / 448
}

// CheckQuantization says what is wrong with a name.
func CheckQuantization(name string) error {
	if !slices.Contains([]string{"", "auto", FP8}, name) {
		return fmt.Errorf("quantization %q; there are \"auto\", which leaves weights as they are, and %q", name, FP8)
	}
	return nil
}

package model

import (
	"maps"

	"github.com/troupe-llm/troupe/gpu/internal/arch"
	"github.com/troupe-llm/troupe/gpu/program"
)

// HeldExperts is how a device holds matrices of experts that multiplies E4M3 and MXFP4
// by values in bfloat16: those that a checkpoint has in them as they are; everything else
// as h says. With all, others are quantised to E4M3, by output. Without weights it is
// what config.json says.
//
// Products of E4M3 are over multiples of 128 inputs, of blocks to multiples of 256
// outputs, those of MXFP4 over multiples of 64.
func (m *Model) HeldExperts(h Held, all bool) Held {
	own := maps.Clone(h.Own)
	if own == nil {
		own = map[string]Encoding{}
	}
	for _, op := range m.Config.Program.Ops {
		o, is := op.(*program.ExpertProduct)
		if !is {
			continue
		}
		if e, is := m.expertCodes(o.Weight); is {
			own[o.Weight.Name] = e
		} else if all && o.Weight.In()%128 == 0 {
			own[o.Weight.Name] = ByOutput(Float8)
		}
	}
	if len(own) > 0 {
		h.Own = own
	}
	return h
}

// expertCodes is in which encoding codes of experts can be taken as they are.
func (m *Model) expertCodes(w *program.Weight) (e Encoding, is bool) {
	switch e, float8 := m.float8(w); {
	case float8:
		return e, w.In()%128 == 0 && (e == ByOutput(Float8) || w.Out()%256 == 0)
	case m.Weights == nil:
		return Microscaled(), m.Config.Scheme.Method == arch.MXFP4 && w.In()%64 == 0
	}
	sources := m.Weights.Of(w).Sources
	for i := range sources {
		if !sources[i].microscaled() || w.In()%64 != 0 {
			return e, false
		}
	}
	return Microscaled(), true
}

// microscaled says that the part is rows of MXFP4, whose scales are of the inputs taken.
func (s *Source) microscaled() bool {
	return s.Tensor.Encoding == Microscaled() && !s.Transposed && s.Step <= 1 && s.plus == 0 && s.Column%32 == 0 && s.in%32 == 0
}

// Microscaled copies a row's elements of MXFP4, two a byte as they lie in the file, and
// their scales, E8M0.
func (s *Source) Microscaled(row int, elements, scales []byte) {
	rows, columns := s.Tensor.matrix()
	at := (s.Slab*rows+s.Row(row))*columns + s.Column
	copy(elements[:s.in/2], s.Tensor.Data[at/2:])
	copy(scales[:s.in/32], s.Tensor.Scales[at/32:])
}

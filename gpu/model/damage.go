package model

import (
	"encoding/binary"
	"maps"
	"slices"
)

// Damaged names the tensors, of those in floating point, with elements that are no
// finite numbers: what a model with such computes is none either. It reads all there
// are, which may take a minute, and gives up when stop says so.
func (m *Model) Damaged(stop func() bool) []string {
	found := map[string]struct{}{}
	if m.Weights == nil {
		return nil
	}
	for _, s := range m.Weights.slots {
		for i := range s.Sources {
			if stop() {
				return nil
			}
			if t := s.Sources[i].Tensor; t != nil && !finite(t.Encoding.Element, t.Data) {
				found[t.Name] = struct{}{}
			}
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// finite reports whether all elements are finite numbers. One that is not has all bits
// of its exponent set, in any of these types: one more at the lowest of them carries
// into the sign.
func finite(d DType, data []byte) bool {
	var exponents, lowest uint64 // of the elements that are eight bytes
	switch d {
	case BFloat16:
		exponents, lowest = 0x7f80_7f80_7f80_7f80, 0x0080_0080_0080_0080
	case Float16:
		exponents, lowest = 0x7c00_7c00_7c00_7c00, 0x0400_0400_0400_0400
	case Float32:
		exponents, lowest = 0x7f80_0000_7f80_0000, 0x0080_0000_0080_0000
	default:
		return true
	}
	for len(data) > 0 {
		var part [8]byte
		data = data[copy(part[:], data):]
		if x := binary.LittleEndian.Uint64(part[:]); (x&exponents+lowest)&^exponents != 0 {
			return false
		}
	}
	return true
}

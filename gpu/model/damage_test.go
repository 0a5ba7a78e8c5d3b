package model

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/troupe-llm/troupe/gpu/program"
)

// Tensors with an element that is no finite number are named, wherever it is, and no others.
func TestDamaged(t *testing.T) {
	tensor := func(name string, d DType, n int, bad float32) *Tensor {
		data := make([]byte, 0, 4*n)
		for i := range n {
			v := float32(rand.NormFloat64()) * float32(math.Pow(2, float64(rand.IntN(28)-14)))
			if i == n-1 && bad != 0 {
				v = bad
			}
			switch bits := math.Float32bits(v); d {
			case Float32:
				data = binary.LittleEndian.AppendUint32(data, bits)
			case BFloat16:
				data = binary.LittleEndian.AppendUint16(data, uint16(bits>>16))
			default: // float16, of numbers that it has
				half := uint16(0x3c00)
				if v == bad && bad != 0 {
					half = 0x7c01
				}
				data = binary.LittleEndian.AppendUint16(data, half|uint16(rand.IntN(2))<<15)
			}
		}
		return &Tensor{Name: name, Encoding: Plain(d), Data: data}
	}
	var slots []*Slot
	var want []string
	for _, d := range []DType{Float32, BFloat16, Float16} {
		for n := 1; n < 12; n++ {
			for name, bad := range map[string]float32{"good": 0, "nan": float32(math.NaN()), "inf": float32(math.Inf(-1))} {
				of := tensor(string(d)+" "+name+string(rune('a'+n)), d, n, bad)
				if d == Float16 && name == "nan" {
					continue // it compares unlike itself
				}
				if bad != 0 {
					want = append(want, of.Name)
				}
				slots = append(slots, &Slot{Weight: &program.Weight{}, Sources: []Source{{Tensor: of}}})
			}
		}
	}
	slots = append(slots, &Slot{Weight: &program.Weight{}, Sources: []Source{{Tensor: &Tensor{Name: "whole numbers", Encoding: ByOutput(Int8), Data: []byte{0xff, 0xff, 0xff, 0xff}}}}})
	m := &Model{Weights: &Weights{slots: map[*program.Weight]*Slot{}}}
	for _, s := range slots {
		m.Weights.slots[s.Weight] = s
	}
	slices.Sort(want)
	if got := m.Damaged(func() bool { return false }); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if got := m.Damaged(func() bool { return true }); got != nil {
		t.Errorf("it went on, and found %q", got)
	}
}

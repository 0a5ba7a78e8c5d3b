package model

import (
	"math"
	"testing"
)

func TestBF16(t *testing.T) {
	for bits := range uint32(1 << 16) {
		b := uint16(bits)
		if f := FromBF16(b); f == f && ToBF16(f) != b {
			t.Fatalf("%#x becomes %v and then %#x", b, f, ToBF16(f))
		}
	}
	inf := float32(math.Inf(1))
	for f, want := range map[float32]uint16{
		1.00390625: 0x3f80, 1.01171875: 0x3f82, // ties to even
		1.00390637: 0x3f81, -1.00390637: 0xbf81, -2: 0xc000, inf: 0x7f80, math.MaxFloat32: 0x7f80,
	} {
		if got := ToBF16(f); got != want {
			t.Errorf("%v is %#x, want %#x", f, got, want)
		}
	}
	for _, bits := range []uint32{0x7fc00000, 0x7f800001, 0xffffffff} {
		if b := ToBF16(math.Float32frombits(bits)); FromBF16(b) == FromBF16(b) {
			t.Errorf("NaN %#x becomes %#x", bits, b)
		}
	}
}

func TestFromF16(t *testing.T) {
	for h, want := range map[uint16]float32{
		0: 0, 1: 0x1p-24, 0x8001: -0x1p-24, 0x3ff: 0x3ffp-24, 0x400: 0x1p-14, 0x3555: 0.333251953125,
		0x3c00: 1, 0xc500: -5, 0x7bff: 65504, 0x7c00: float32(math.Inf(1)),
	} {
		if got := FromF16(h); got != want {
			t.Errorf("%#x is %v, want %v", h, got, want)
		}
	}
	if zero := FromF16(0x8000); zero != 0 || !math.Signbit(float64(zero)) {
		t.Errorf("-0 is %v", zero)
	}
	if nan := FromF16(0x7e00); nan == nan {
		t.Errorf("NaN is %v", nan)
	}
}

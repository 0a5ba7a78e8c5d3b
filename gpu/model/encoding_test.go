package model

import (
	"math"
	"testing"

	"github.com/troupe-llm/troupe/gpu/program"
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

// Every half comes back, and what lies between two goes to the nearer one, to the even
// one from the middle.
func TestToF16(t *testing.T) {
	for h := range uint16(0x7c00) {
		low, high := FromF16(h), FromF16(h+1)
		if h == 0x7bff {
			high = 65536 // what would come next
		}
		middle := low + (high-low)/2
		even := h + h&1
		for _, tc := range []struct {
			f    float32
			want uint16
		}{{low, h}, {math.Nextafter32(middle, 0), h}, {middle, even}, {math.Nextafter32(middle, high), h + 1}} {
			if got := ToF16(tc.f); got != tc.want {
				t.Fatalf("%v is %#04x, want %#04x", tc.f, got, tc.want)
			}
			if got := ToF16(-tc.f); got != tc.want|0x8000 {
				t.Fatalf("%v is %#04x, want %#04x", -tc.f, got, tc.want|0x8000)
			}
		}
	}
	infinite := float32(math.Inf(1))
	for f, want := range map[float32]uint16{65536: 0x7c00, math.MaxFloat32: 0x7c00, infinite: 0x7c00, math.SmallestNonzeroFloat32: 0} {
		if got := ToF16(f); got != want {
			t.Errorf("%v is %#04x, want %#04x", f, got, want)
		}
	}
	if got := FromF16(ToF16(float32(math.NaN()))); got == got {
		t.Errorf("NaN is %v", got)
	}
}

// Inputs that products of 6 bits do not take are counted, and held, in 8.
func TestVocabularyOfInt4(t *testing.T) {
	for inputs, want := range map[int]DType{16: Int6, 40: Int8, 64: Int6, 1000: Int8, 1024: Int6} {
		for _, role := range []string{"embed", "head"} {
			w := &program.Weight{Name: role, Role: role, Shape: []int{100, inputs}}
			if got := HeldAs(Int4).Of(w).Element; got != want {
				t.Errorf("%s of %d inputs is held in %s, want %s", role, inputs, got, want)
			}
		}
	}
}

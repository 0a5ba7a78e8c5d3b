//go:build cuda

package kernel_test

import (
	"math"
	"slices"
	"testing"

	"github.com/troupe-llm/troupe/gpu/cuda"
	"github.com/troupe-llm/troupe/gpu/kernel"
)

// Rows' digests are those of their bits, and of one bit more are others.
func TestDigest(t *testing.T) {
	b := open(t, shapes[0])
	mix := func(z uint64) uint64 {
		z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		return z ^ z>>31
	}
	const rows, columns, ld = 5, 333, 340
	x, at := b.randomFloats(rows * ld)
	half, halfAt := b.random(rows * ld)
	for _, tc := range []struct {
		values []float32
		at     kernel.Ptr
		half   int32
	}{{x, at, 0}, {half, halfAt, 1}} {
		want := make([]uint64, rows)
		for r := range want {
			for j := range columns {
				bits := math.Float32bits(tc.values[r*ld+j])
				want[r] += mix(uint64(bits>>(16*tc.half))<<32 | uint64(j+1))
			}
		}
		out, got := b.zeros(8*rows), make([]uint64, rows)
		b.must(kernel.Digest(b, kernel.DigestArgs{Y: tc.at, Out: out, Columns: columns, Ld: ld, Half: tc.half}, rows))
		b.must(cuda.Download(b.Workbench, got, out))
		if !slices.Equal(got, want) {
			t.Errorf("half %d: %x, want %x", tc.half, got, want)
		}
	}
}

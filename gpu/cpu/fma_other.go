//go:build !arm64

package cpu

import "math"

// fma is x·y+z rounded once. The product of two float32 is exact in float64;
// rounding the sum to float64 and then to float32 goes wrong only when the
// float64 looks like a tie, which is then decided by the error of the sum.
func fma(x, y, z float32) float32 {
	p, c := float64(x)*float64(y), float64(z)
	s := p + c
	if b := math.Float64bits(s); b&0x1fffffff == 0x10000000 {
		t := s - p
		if e := (p - (s - t)) + (c - t); e != 0 {
			if (e > 0) == (s > 0) {
				b++
			} else {
				b--
			}
			s = math.Float64frombits(b)
		}
	}
	return float32(s)
}

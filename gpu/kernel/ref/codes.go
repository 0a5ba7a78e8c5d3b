package ref

import "math"

// E4M3 is the number of a code of FP8: sign, 4 bits of exponent, 3 of fraction.
func E4M3(code byte) float32 {
	exponent, fraction := int(code>>3&15), float64(code&7)
	v := math.Ldexp(8+fraction, exponent-10)
	if exponent == 0 {
		v = math.Ldexp(fraction, -9)
	}
	if code&127 == 127 {
		v = math.NaN()
	}
	if code > 127 {
		v = -v
	}
	return float32(v)
}

// Widen is the numbers of codes, of which in lie in a row; scale is of a row's
// column.
func Widen(codes []byte, in int, scale func(row, column int) float32) []float32 {
	out := make([]float32, len(codes))
	for i, c := range codes {
		out[i] = E4M3(c) * scale(i/in, i%in)
	}
	return out
}

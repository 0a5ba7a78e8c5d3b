package ref

import "math"

// Conv is program.Conv over x [n, channels] of one request, whose inputs before,
// [k−1, channels], are state; it returns what is behind, too.
func Conv(x, w, state []float32, channels, k int) (y, after []float32) {
	all := append(append([]float32{}, state...), x...)
	for t := range len(x) / channels {
		for c := range channels {
			sum := 0.0
			for j := range k {
				sum += float64(w[c*k+j]) * float64(all[(t+j)*channels+c])
			}
			y = append(y, float32(sum*sigmoid(sum)))
		}
	}
	return y, all[len(x):]
}

// Head is one head's numbers of the gated delta rule: see program.Delta.
type Head struct{ Decay, StepBias float64 }

// Delta moves a head's state, [len(k), len(v)], on by one token, and returns what
// it reads from it.
func (h Head) Delta(state []float64, q, k, v []float32, a, b float64) []float32 {
	unit := func(x []float32, by float64) []float64 {
		sum := 1e-6
		for _, f := range x {
			sum += float64(f) * float64(f)
		}
		y := make([]float64, len(x))
		for i, f := range x {
			y[i] = float64(f) * by / math.Sqrt(sum)
		}
		return y
	}
	query, key := unit(q, 1/math.Sqrt(float64(len(q)))), unit(k, 1)
	g := math.Exp(-math.Exp(h.Decay) * math.Log1p(math.Exp(a+h.StepBias)))
	for i := range state {
		state[i] *= g
	}
	y := make([]float32, len(v))
	for j := range v {
		had := 0.0
		for d, f := range key {
			had += state[d*len(v)+j] * f
		}
		delta, out := sigmoid(b)*(float64(v[j])-had), 0.0
		for d, f := range key {
			state[d*len(v)+j] += f * delta
			out += state[d*len(v)+j] * query[d]
		}
		y[j] = float32(out)
	}
	return y
}

package model

import "math"

// InvFreq returns the headDim/2 angular frequencies in radians per position:
// pair i of a head is turned by the angle position·InvFreq[i].
//
//	f_i = Theta^(−2i/headDim)                              (Su et al., arXiv:2104.09864)
//
// Llama 3.1 stretches slow waves so that contexts longer than trained on stay
// within the angles seen. With wave length λ_i = 2π/f_i and L the original
// number of positions:
//
//	λ_i < L/HighFreqFactor:  f_i
//	λ_i > L/LowFreqFactor:   f_i/Factor
//	between:                 (1−s)·f_i/Factor + s·f_i
//	                         s = (L/λ_i − LowFreqFactor) / (HighFreqFactor − LowFreqFactor)
//
// (published with the model; "llama3" in transformers' modeling_rope_utils.py).
func (r *Rope) InvFreq(headDim int) []float64 {
	freqs := make([]float64, headDim/2)
	for i := range freqs {
		freqs[i] = math.Pow(r.Theta, -float64(2*i)/float64(headDim))
		if r.Llama3 != nil {
			freqs[i] = r.Llama3.stretch(freqs[i])
		}
	}
	return freqs
}

func (l *Llama3Rope) stretch(f float64) float64 {
	waves := float64(l.OriginalMaxPositions) * f / (2 * math.Pi) // L/λ
	switch {
	case waves > l.HighFreqFactor:
		return f
	case waves < l.LowFreqFactor:
		return f / l.Factor
	default:
		s := (waves - l.LowFreqFactor) / (l.HighFreqFactor - l.LowFreqFactor)
		return (1-s)*f/l.Factor + s*f
	}
}

package arch

import (
	"cmp"
	"encoding/json"
	"math"

	"github.com/troupe-llm/troupe/gpu/program"
)

// ropeJSON is rope_parameters or rope_scaling.
type ropeJSON struct {
	RopeType       string          `json:"rope_type"`
	Type           string          `json:"type"` // rope_type's older name
	Theta          *float64        `json:"rope_theta"`
	Factor         *float64        `json:"factor"`
	LowFreqFactor  *float64        `json:"low_freq_factor"`
	HighFreqFactor *float64        `json:"high_freq_factor"`
	OriginalMaxPos *int            `json:"original_max_position_embeddings"`
	PartialRotary  *float64        `json:"partial_rotary_factor"`
	PerLayer       json.RawMessage `json:"full_attention"` // parameters by layer type
}

// rope reads rope_parameters, or rope_theta and rope_scaling.
func (c *Config) rope() *program.Rotary {
	j, f := &c.json, c.faults
	field, p := "rope_parameters", j.RopeParameters
	if p == nil {
		field, p = "rope_scaling", j.RopeScaling
	}
	if p == nil {
		p = &ropeJSON{}
	}
	theta := 10000.0 // transformers' default
	if t := firstOf(p.Theta, j.RopeTheta); t != nil {
		theta = *t
	}
	if !(theta > 1) {
		f.Addf("rope_theta: %v, want above 1", theta)
	}
	if part := firstOf(p.PartialRotary, j.PartialRotary); part != nil && *part != 1 {
		f.Unsupportedf("partial_rotary_factor: %v is not supported, only 1", *part)
	}
	if p.PerLayer != nil {
		f.Unsupportedf("%s: RoPE that differs by layer type is not supported", field)
	}
	r := rotary(c.HeadDim, theta)
	switch kind := cmp.Or(p.RopeType, p.Type); kind {
	case "", "default":
	case "llama3":
		p.llama3(c, field).stretch(r)
	default:
		f.Unsupportedf("%s: RoPE type %q is not supported, only \"default\" and \"llama3\"", field, kind)
	}
	return r
}

// rotary turns dims elements of a head by the frequencies
//
//	f_i = theta^(−2i/dims)                              (Su et al., arXiv:2104.09864)
func rotary(dims int, theta float64) *program.Rotary {
	r := &program.Rotary{Dims: dims, InvFreq: make([]float64, dims/2), Scale: 1}
	for i := range r.InvFreq {
		r.InvFreq[i] = math.Pow(theta, -float64(2*i)/float64(dims))
	}
	return r
}

// llama3 is Llama 3.1's frequency scaling; see "rope_type": "llama3".
type llama3 struct {
	factor, lowFreqFactor, highFreqFactor float64
	originalMaxPositions                  int
}

func (p *ropeJSON) llama3(c *Config, field string) *llama3 {
	f := c.faults
	get := func(name string, v *float64, low float64) float64 {
		switch {
		case v == nil:
			f.Addf("%s: %s is missing", field, name)
			return 0
		case !(*v >= low && *v < maxSize):
			f.Addf("%s: %s is %v, want at least %v", field, name, *v, low)
		}
		return *v
	}
	sound := !f.Some()
	l := &llama3{
		factor:               get("factor", p.Factor, 1),
		lowFreqFactor:        get("low_freq_factor", p.LowFreqFactor, 0),
		highFreqFactor:       get("high_freq_factor", p.HighFreqFactor, 0),
		originalMaxPositions: *firstOf(p.OriginalMaxPos, c.json.OriginalMaxPos, &c.MaxPositions),
	}
	switch sound = sound && !f.Some(); {
	case !sound:
	case l.originalMaxPositions < 1:
		f.Addf("%s: original_max_position_embeddings is %d, want at least 1", field, l.originalMaxPositions)
	case l.highFreqFactor <= l.lowFreqFactor:
		f.Addf("%s: high_freq_factor %v is not above low_freq_factor %v", field, l.highFreqFactor, l.lowFreqFactor)
	}
	return l
}

// stretch slows waves down, so that contexts longer than trained on stay within
// the angles seen. With wave length λ_i = 2π/f_i and L the original number of
// positions:
//
//	λ_i < L/highFreqFactor:  f_i
//	λ_i > L/lowFreqFactor:   f_i/factor
//	between:                 (1−s)·f_i/factor + s·f_i
//	                         s = (L/λ_i − lowFreqFactor) / (highFreqFactor − lowFreqFactor)
//
// (published with the model; "llama3" in transformers' modeling_rope_utils.py).
func (l *llama3) stretch(r *program.Rotary) {
	for i, f := range r.InvFreq {
		waves := float64(l.originalMaxPositions) * f / (2 * math.Pi) // L/λ
		switch {
		case waves > l.highFreqFactor:
		case waves < l.lowFreqFactor:
			r.InvFreq[i] = f / l.factor
		default:
			s := (waves - l.lowFreqFactor) / (l.highFreqFactor - l.lowFreqFactor)
			r.InvFreq[i] = (1-s)*f/l.factor + s*f
		}
	}
}

package arch

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/troupe-llm/troupe/gpu/program"
)

// ropeJSON is rope_parameters or rope_scaling.
type ropeJSON struct {
	RopeType       string    `json:"rope_type"`
	Type           string    `json:"type"` // rope_type's older name
	Theta          *float64  `json:"rope_theta"`
	Factor         *float64  `json:"factor"`
	LowFreqFactor  *float64  `json:"low_freq_factor"`
	HighFreqFactor *float64  `json:"high_freq_factor"`
	OriginalMaxPos *int      `json:"original_max_position_embeddings"`
	PartialRotary  *float64  `json:"partial_rotary_factor"`
	Attention      *float64  `json:"attention_factor"`
	BetaFast       *float64  `json:"beta_fast"`
	BetaSlow       *float64  `json:"beta_slow"`
	MScale         *float64  `json:"mscale"`
	MScaleAllDim   *float64  `json:"mscale_all_dim"`
	Truncate       *bool     `json:"truncate"`
	ShortFactor    []float64 `json:"short_factor"`
	LongFactor     []float64 `json:"long_factor"`
	Llama4Beta     *float64  `json:"llama_4_scaling_beta"`

	// By the type of a layer, where they differ.
	Full    *ropeJSON `json:"full_attention"`
	Sliding *ropeJSON `json:"sliding_attention"`

	unknown []string
}

// idle are fields that say nothing about text: positions of images, and what
// others have noted.
var idle = []string{"mrope_section", "mrope_interleaved", "finetuned"}

func (p *ropeJSON) UnmarshalJSON(data []byte) error {
	type plain ropeJSON
	if bytes.Equal(data, []byte("null")) {
		return nil
	}
	if err := json.Unmarshal(data, (*plain)(p)); err != nil {
		return err
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(data, &all); err != nil {
		return err
	}
	known, err := json.Marshal((*plain)(p))
	if err != nil {
		return err
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(known, &fields); err != nil {
		return err
	}
	p.unknown = nil
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if _, is := fields[name]; !is && !slices.Contains(idle, name) {
			p.unknown = append(p.unknown, name)
		}
	}
	return nil
}

// rotaries reads how positions turn each layer's heads. As in transformers
// rope_scaling counts where both it and rope_parameters are there.
func (c *Config) rotaries() {
	j := &c.json
	field, p := "rope_scaling", j.RopeScaling
	if p == nil {
		field, p = "rope_parameters", j.RopeParameters
	}
	if p == nil {
		p = &ropeJSON{}
	}
	kinds := map[string]*program.Rotary{}
	for i := range c.LayerTypes {
		t := c.LayerTypes[i]
		if _, done := kinds[t]; !done {
			kinds[t] = c.rope(field, c.ropeOf(p, t))
		}
		c.Rotary = append(c.Rotary, kinds[t])
	}
}

// ropeOf is the parameters of layers of a type. Gemma 3's layers with windows
// turn by a base of their own, which nothing scales.
func (c *Config) ropeOf(p *ropeJSON, layerType string) *ropeJSON {
	switch {
	case layerType == sliding && p.Sliding != nil:
		return p.Sliding
	case layerType == full && p.Full != nil:
		return p.Full
	case layerType == sliding && c.json.LocalTheta != nil:
		return &ropeJSON{Theta: c.json.LocalTheta}
	}
	return p
}

// rope makes one rotation of its parameters.
func (c *Config) rope(field string, p *ropeJSON) *program.Rotary {
	j, f := &c.json, c.faults
	theta := 10000.0 // transformers' default
	if t := firstOf(p.Theta, j.RopeTheta); t != nil {
		theta = *t
	}
	if !(theta > 1) {
		f.Addf("rope_theta: %v, want above 1", theta)
	}
	for _, name := range p.unknown {
		f.Unsupportedf("%s: %s is not understood", field, name)
	}
	r := rotary(c.rotaryDims(p), theta)
	s := &scaling{c: c, field: field, p: p, theta: theta}
	switch kind := cmp.Or(p.RopeType, p.Type); kind {
	case "", "default", "mrope":
	case "linear":
		s.linear(r)
	case "dynamic":
		s.dynamic()
	case "llama3":
		p.llama3(c, field).stretch(r)
	case "yarn":
		s.yarn(r)
	case "longrope", "su":
		s.long(r)
	default:
		f.Unsupportedf("%s: RoPE type %q is not supported, only \"default\", \"linear\", \"dynamic\", \"llama3\", \"yarn\" and \"longrope\"", field, kind)
	}
	return r
}

// rotaryDims is how many elements of a head are turned.
func (c *Config) rotaryDims(p *ropeJSON) int {
	j := &c.json
	dims := c.HeadDim
	part := firstOf(p.PartialRotary, j.PartialRotary)
	switch {
	case part != nil:
		dims = int(float64(c.HeadDim) * *part)
	case j.RotaryDim != nil && j.RopeParameters == nil: // transformers 5 says it the other way, and heeds no other
		dims = *j.RotaryDim
	}
	if dims < 2 || dims > max(c.HeadDim, 2) || dims%2 != 0 && c.HeadDim%2 == 0 {
		c.faults.Addf("partial_rotary_factor: %d of heads of %d would be turned; want an even number, 2 to all", dims, c.HeadDim)
		return 2
	}
	return dims
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

// scaling stretches frequencies by the parameters of a field.
type scaling struct {
	c     *Config
	field string
	p     *ropeJSON
	theta float64
}

// factor is how many times longer contexts are than in training.
func (s *scaling) factor() float64 {
	switch v := s.p.Factor; {
	case v == nil:
		s.c.faults.Addf("%s: factor is missing", s.field)
		return 1
	case !(*v >= 1 && *v < maxSize):
		s.c.faults.Addf("%s: factor is %v, want at least 1", s.field, *v)
		return 1
	default:
		return *v
	}
}

// original is how many positions there were in training.
func (s *scaling) original() int {
	n := *firstOf(s.p.OriginalMaxPos, s.c.json.OriginalMaxPos, &s.c.MaxPositions)
	if n < 1 && s.c.MaxPositions > 0 {
		s.c.faults.Addf("%s: original_max_position_embeddings is %d, want at least 1", s.field, n)
	}
	return max(n, 1)
}

// linear divides positions (arXiv:2306.15595).
func (s *scaling) linear(r *program.Rotary) {
	factor := s.factor()
	for i := range r.InvFreq {
		r.InvFreq[i] /= factor
	}
}

// dynamic changes frequencies beyond max_position_embeddings only, which are all
// positions that are served: pages whose keys were turned otherwise could not be
// shared.
func (s *scaling) dynamic() {
	s.factor()
	s.c.Notes = append(s.c.Notes, fmt.Sprintf("%s: \"dynamic\" RoPE stretches contexts beyond max_position_embeddings, %d, which are not served", s.field, s.c.MaxPositions))
}

// yarn divides slow waves by factor and leaves fast ones, in between by how often
// they turn within the original context (arXiv:2309.00071):
//
//	f_i' = f_i·(1−γ_i)/factor + f_i·γ_i    γ_i = 1 − clamp((i−low)/(high−low))
//	low, high: where waves turn beta_fast and beta_slow times
//
// and multiplies cosines and sines by an attention factor. More positions than
// max_position_embeddings are served when factor times the original ones are.
func (s *scaling) yarn(r *program.Rotary) {
	factor, original := s.yarnFactor(), s.original()
	dims := float64(r.Dims)
	dimension := func(turns float64) float64 {
		return dims * math.Log(float64(original)/(turns*2*math.Pi)) / (2 * math.Log(s.theta))
	}
	low, high := dimension(or(s.p.BetaFast, 32)), dimension(or(s.p.BetaSlow, 1))
	if s.p.Truncate == nil || *s.p.Truncate {
		low, high = math.Floor(low), math.Ceil(high)
	}
	low, high = max(low, 0), min(high, dims-1)
	if low == high {
		high += 0.001
	}
	for i, f := range r.InvFreq {
		fast := 1 - min(max((float64(i)-low)/(high-low), 0), 1)
		r.InvFreq[i] = f/factor*(1-fast) + f*fast
	}
	r.Scale = s.yarnScale(factor)
	if served := int(factor * float64(original)); s.p.OriginalMaxPos != nil && served > s.c.MaxPositions && served <= 1<<30 {
		s.c.MaxPositions = served
	}
}

// yarnFactor may follow from the positions before and after.
func (s *scaling) yarnFactor() float64 {
	if s.p.Factor == nil && s.p.OriginalMaxPos != nil && *s.p.OriginalMaxPos > 0 {
		return max(1, float64(s.c.MaxPositions)/float64(*s.p.OriginalMaxPos))
	}
	return s.factor()
}

// yarnScale is attention_factor, or follows from the others.
func (s *scaling) yarnScale(factor float64) float64 {
	a, b := or(s.p.MScale, 0), or(s.p.MScaleAllDim, 0)
	switch {
	case s.p.Attention != nil:
		return *s.p.Attention
	case a != 0 && b != 0:
		return yarnMScale(factor, a) / yarnMScale(factor, b)
	}
	return yarnMScale(factor, 1)
}

func yarnMScale(factor, m float64) float64 {
	if factor <= 1 {
		return 1
	}
	return 0.1*m*math.Log(factor) + 1
}

// long divides each frequency by a factor of its own, others for long contexts
// than for short ones (LongRoPE, arXiv:2402.13753). Which is decided by the longest
// sequence that is served.
func (s *scaling) long(r *program.Rotary) {
	original := s.original()
	base := slices.Clone(r.InvFreq)
	divide := func(name string, by []float64) []float64 {
		out := slices.Clone(base)
		if len(by) != len(out) {
			s.c.faults.Addf("%s: %s has %d factors, want %d", s.field, name, len(by), len(out))
			return out
		}
		for i := range out {
			if out[i] /= by[i]; !(by[i] > 0) {
				s.c.faults.Addf("%s: %s has %v, want above 0", s.field, name, by[i])
			}
		}
		return out
	}
	r.InvFreq, r.Long, r.LongFrom = divide("short_factor", s.p.ShortFactor), divide("long_factor", s.p.LongFactor), original
	factor := float64(s.c.MaxPositions) / float64(original)
	if s.p.Factor != nil {
		factor = s.factor()
	}
	switch {
	case s.p.Attention != nil:
		r.Scale = *s.p.Attention
	case factor > 1 && original > 1:
		r.Scale = math.Sqrt(1 + math.Log(factor)/math.Log(float64(original)))
	}
}

func or[T any](v *T, otherwise T) T {
	if v == nil {
		return otherwise
	}
	return *v
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

package model

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// configJSON is config.json as transformers 4 and 5 write it. Pointers tell
// what was not given (or null) from zero.
type configJSON struct {
	Architectures []string `json:"architectures"`
	ModelType     string   `json:"model_type"`

	VocabSize     *int     `json:"vocab_size"`
	HiddenSize    *int     `json:"hidden_size"`
	Intermediate  *int     `json:"intermediate_size"`
	Layers        *int     `json:"num_hidden_layers"`
	Heads         *int     `json:"num_attention_heads"`
	KVHeads       *int     `json:"num_key_value_heads"`
	HeadDim       *int     `json:"head_dim"`
	MaxPositions  *int     `json:"max_position_embeddings"`
	NormEps       *float64 `json:"rms_norm_eps"`
	TieEmbedding  bool     `json:"tie_word_embeddings"`
	HiddenAct     *string  `json:"hidden_act"`
	AttentionBias bool     `json:"attention_bias"`
	MLPBias       bool     `json:"mlp_bias"`

	Experts         *int  `json:"num_local_experts"` // transformers 5
	NumExperts      *int  `json:"num_experts"`       // transformers 4
	ExpertsPerToken *int  `json:"num_experts_per_tok"`
	ExpertSize      *int  `json:"moe_intermediate_size"`
	NormTopK        bool  `json:"norm_topk_prob"`
	SparseStep      *int  `json:"decoder_sparse_step"`
	DenseLayers     []int `json:"mlp_only_layers"`

	DType      string `json:"dtype"`       // transformers 5
	TorchDType string `json:"torch_dtype"` // transformers 4

	RopeParameters  *ropeJSON `json:"rope_parameters"` // transformers 5
	RopeTheta       *float64  `json:"rope_theta"`      // transformers 4, with rope_scaling
	RopeScaling     *ropeJSON `json:"rope_scaling"`
	PartialRotary   *float64  `json:"partial_rotary_factor"`
	OriginalMaxPos  *int      `json:"original_max_position_embeddings"`
	LayerTypes      []string  `json:"layer_types"`
	SlidingWindow   *int      `json:"sliding_window"`
	UseSliding      bool      `json:"use_sliding_window"`
	MaxWindowLayers int       `json:"max_window_layers"`

	BOS tokenIDs `json:"bos_token_id"`
	EOS tokenIDs `json:"eos_token_id"`

	Quantization *struct {
		Method string `json:"quant_method"`
	} `json:"quantization_config"`
}

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

// tokenIDs is null, one id or a list of them.
type tokenIDs []int64

func (t *tokenIDs) UnmarshalJSON(data []byte) error {
	if data[0] == '[' {
		return json.Unmarshal(data, (*[]int64)(t))
	}
	var id *int64
	if err := json.Unmarshal(data, &id); err != nil {
		return err
	}
	*t = nil
	if id != nil {
		*t = tokenIDs{*id}
	}
	return nil
}

// The largest sizes accepted: beyond every published model, and small enough
// that products of two and sums over layers and experts stay within int64.
const (
	maxSize       = 1 << 24
	maxLayers     = 1 << 10
	maxExperts    = 1 << 10
	maxExpertSize = 1 << 14
)

// parseConfig reads config.json. The error reports all faults at once; where
// names the file.
func parseConfig(data []byte, where string) (Config, error) {
	f := &faults{where: where}
	// The windows are transformers' defaults: a null overwrites, silence does not.
	window := 4096
	j := configJSON{SlidingWindow: &window, MaxWindowLayers: 28}
	if err := decodeJSON(data, &j); err != nil {
		f.addf("%v", err)
		return Config{}, f.err()
	}
	name, arch, ok := j.architecture(f)
	if !ok {
		return Config{}, f.err()
	}
	c := Config{Architecture: name, TieEmbedding: j.TieEmbedding, QKVBias: arch.has("self_attn.q_proj.bias"), QKNorm: arch.has("self_attn.q_norm.weight")}
	j.sizes(f, &c, arch)
	if arch.expert != nil {
		c.MoE = j.mixture(f)
	}
	j.features(f)
	c.DType = j.dtype(f)
	c.Rope = j.rope(f, &c)
	j.window(f, &c, arch)
	c.BOS, c.EOS = -1, nil
	if bos := inVocab(&c, "bos_token_id", j.BOS); len(bos) > 0 {
		c.BOS = bos[0]
	}
	c.EOS = inVocab(&c, "eos_token_id", j.EOS)
	if err := f.err(); err != nil {
		return Config{}, err
	}
	return c, nil
}

// decodeJSON is json.Unmarshal with errors that name the field and the place. It takes
// numbers as Python's json writes them.
func decodeJSON(data []byte, v any) error {
	data = finite(data)
	err := json.Unmarshal(data, v)
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		article := "a"
		if e.Value == "array" || e.Value == "object" {
			article = "an"
		}
		return fmt.Errorf("%s is %s %s, want %s", cmp.Or(e.Field, "it"), article, e.Value, jsonName(e.Type.Kind().String()))
	}
	if e, ok := errors.AsType[*json.SyntaxError](err); ok {
		at := min(int(e.Offset), len(data))
		return fmt.Errorf("not JSON: line %d: %w", 1+bytes.Count(data[:at], []byte{'\n'}), err)
	}
	return err
}

// finite puts numbers that JSON has for those that only Python's json writes: the
// largest there is for Infinity, and null, which is as good as absent, for NaN.
func finite(data []byte) []byte {
	if !bytes.Contains(data, []byte("Infinity")) && !bytes.Contains(data, []byte("NaN")) {
		return data
	}
	out := make([]byte, 0, len(data)+64)
	for inString := false; len(data) > 0; {
		switch {
		case inString && data[0] == '\\' && len(data) > 1:
			out, data = append(out, data[0]), data[1:]
		case data[0] == '"':
			inString = !inString
		case !inString && bytes.HasPrefix(data, []byte("Infinity")):
			out, data = append(out, "1.7976931348623157e308"...), data[len("Infinity"):]
			continue
		case !inString && bytes.HasPrefix(data, []byte("NaN")):
			out, data = append(out, "null"...), data[len("NaN"):]
			continue
		}
		out, data = append(out, data[0]), data[1:]
	}
	return out
}

func jsonName(kind string) string {
	switch {
	case strings.HasPrefix(kind, "int"), strings.HasPrefix(kind, "uint"):
		return "an integer"
	case strings.HasPrefix(kind, "float"):
		return "a number"
	case kind == "struct", kind == "map":
		return "an object"
	case kind == "slice":
		return "a list"
	default:
		return "a " + kind
	}
}

// architecture finds the row of the table, by "architectures" or else by
// "model_type".
func (j *configJSON) architecture(f *faults) (string, *architecture, bool) {
	name := j.ModelType
	if len(j.Architectures) > 0 {
		name = j.Architectures[0]
	} else {
		for n, a := range architectures {
			if a.modelType == j.ModelType {
				name = n
			}
		}
	}
	arch, ok := architectures[name]
	switch {
	case name == "":
		f.addf("architectures: missing; supported: %s", supported())
	case !ok:
		f.unsupportedf("architecture %q is not supported; supported: %s", name, supported())
	default:
		return name, &arch, true
	}
	return "", nil, false
}

// size checks a field that has to be there; 0 means it was wrong.
func (f *faults) size(field string, v *int, limit int) int {
	switch {
	case v == nil:
		f.addf("%s: missing", field)
	case *v < 1 || *v > limit:
		f.addf("%s: %d, want 1 to %d", field, *v, limit)
	default:
		return *v
	}
	return 0
}

func (j *configJSON) sizes(f *faults, c *Config, arch *architecture) {
	or := func(v *int, otherwise int) *int {
		if v == nil {
			return &otherwise
		}
		return v
	}
	c.Vocab = f.size("vocab_size", j.VocabSize, maxSize)
	c.Hidden = f.size("hidden_size", j.HiddenSize, maxSize)
	c.Intermediate = f.size("intermediate_size", j.Intermediate, maxSize)
	c.Layers = f.size("num_hidden_layers", j.Layers, maxLayers)
	c.MaxPositions = f.size("max_position_embeddings", j.MaxPositions, 1<<30)
	c.Heads = f.size("num_attention_heads", j.Heads, 1<<12)
	if c.Heads > 0 {
		c.KVHeads = f.size("num_key_value_heads", or(j.KVHeads, cmp.Or(arch.kvHeads, c.Heads)), 1<<12)
		c.HeadDim = f.size("head_dim", or(j.HeadDim, cmp.Or(arch.headDim, c.Hidden/c.Heads)), 1<<12)
	}
	if c.KVHeads > 0 && c.Heads%c.KVHeads != 0 {
		f.addf("num_attention_heads: %d is no multiple of num_key_value_heads, %d", c.Heads, c.KVHeads)
	}
	if c.HeadDim%2 != 0 {
		f.addf("head_dim: %d is odd; RoPE turns pairs", c.HeadDim)
	}
	eps := 1e-6
	if j.NormEps != nil {
		eps = *j.NormEps
	}
	if !(eps > 0 && eps < 1) {
		f.addf("rms_norm_eps: %v, want between 0 and 1", eps)
	}
	c.NormEps = float32(eps)
}

// mixture reads the experts. Some layers with an MLP, others with experts, is
// refused: all layers of a Config are alike.
func (j *configJSON) mixture(f *faults) *MoE {
	m := &MoE{
		Experts:      f.size("num_experts", firstOf(j.Experts, j.NumExperts), maxExperts),
		PerToken:     f.size("num_experts_per_tok", j.ExpertsPerToken, maxExperts),
		Intermediate: f.size("moe_intermediate_size", j.ExpertSize, maxExpertSize),
		Normalize:    j.NormTopK,
	}
	if m.Experts > 0 && m.PerToken > m.Experts {
		f.addf("num_experts_per_tok: %d, of %d experts", m.PerToken, m.Experts)
	}
	if j.SparseStep != nil && *j.SparseStep != 1 {
		f.unsupportedf("decoder_sparse_step: %d is not supported, only 1: experts in every layer", *j.SparseStep)
	}
	if len(j.DenseLayers) > 0 {
		f.unsupportedf("mlp_only_layers: %v is not supported: every layer has to have experts", j.DenseLayers)
	}
	return m
}

// features refuses what no device computes.
func (j *configJSON) features(f *faults) {
	if j.HiddenAct != nil && *j.HiddenAct != "silu" && *j.HiddenAct != "swish" { // one function, two names
		f.unsupportedf("hidden_act: %q is not supported, only \"silu\"", *j.HiddenAct)
	}
	if j.AttentionBias {
		f.unsupportedf("attention_bias: biases on the attention's output projection are not supported")
	}
	if j.MLPBias {
		f.unsupportedf("mlp_bias: biases in the MLP are not supported")
	}
	if q := j.Quantization; q != nil {
		method := q.Method
		if method == "" {
			method = "unnamed"
		}
		f.unsupportedf("quantization_config: %q weights are not supported, only bfloat16, float16 and float32", method)
	}
}

// dtype is "" when config.json does not say.
func (j *configJSON) dtype(f *faults) DType {
	name := cmp.Or(j.DType, j.TorchDType)
	switch d := DType(strings.TrimPrefix(name, "torch.")); d {
	case Float32, Float16, BFloat16, "":
		return d
	case "auto":
		return ""
	default:
		f.unsupportedf("dtype: %q is not supported, only bfloat16, float16 and float32", name)
		return ""
	}
}

// rope reads rope_parameters, or rope_theta and rope_scaling.
func (j *configJSON) rope(f *faults, c *Config) Rope {
	field, p := "rope_parameters", j.RopeParameters
	if p == nil {
		field, p = "rope_scaling", j.RopeScaling
	}
	if p == nil {
		p = &ropeJSON{}
	}
	r := Rope{Theta: 10000} // transformers' default
	if theta := firstOf(p.Theta, j.RopeTheta); theta != nil {
		r.Theta = *theta
	}
	if !(r.Theta > 1) {
		f.addf("rope_theta: %v, want above 1", r.Theta)
	}
	if part := firstOf(p.PartialRotary, j.PartialRotary); part != nil && *part != 1 {
		f.unsupportedf("partial_rotary_factor: %v is not supported, only 1", *part)
	}
	if p.PerLayer != nil {
		f.unsupportedf("%s: RoPE that differs by layer type is not supported", field)
	}
	switch kind := cmp.Or(p.RopeType, p.Type); kind {
	case "", "default":
	case "llama3":
		r.Llama3 = p.llama3(f, field, firstOf(p.OriginalMaxPos, j.OriginalMaxPos, &c.MaxPositions))
	default:
		f.unsupportedf("%s: RoPE type %q is not supported, only \"default\" and \"llama3\"", field, kind)
	}
	return r
}

func (p *ropeJSON) llama3(f *faults, field string, original *int) *Llama3Rope {
	get := func(name string, v *float64, low float64) float64 {
		switch {
		case v == nil:
			f.addf("%s: %s is missing", field, name)
			return 0
		case !(*v >= low && *v < maxSize):
			f.addf("%s: %s is %v, want at least %v", field, name, *v, low)
		}
		return *v
	}
	before := len(f.list)
	l := &Llama3Rope{
		Factor:               get("factor", p.Factor, 1),
		LowFreqFactor:        get("low_freq_factor", p.LowFreqFactor, 0),
		HighFreqFactor:       get("high_freq_factor", p.HighFreqFactor, 0),
		OriginalMaxPositions: *original,
	}
	if *original < 1 && len(f.list) == before {
		f.addf("%s: original_max_position_embeddings is %d, want at least 1", field, *original)
	}
	if l.HighFreqFactor <= l.LowFreqFactor && len(f.list) == before {
		f.addf("%s: high_freq_factor %v is not above low_freq_factor %v", field, l.HighFreqFactor, l.LowFreqFactor)
	}
	return l
}

// window handles sliding windows. A window of W lets a token see the W newest
// tokens, itself included; up to W positions that is plain causal attention,
// which is all that devices compute: so a window that matters clamps the
// context to itself, where outputs are exact.
func (j *configJSON) window(f *faults, c *Config, arch *architecture) {
	for _, t := range j.LayerTypes {
		if t != "full_attention" && t != "sliding_attention" {
			f.unsupportedf("layer_types: %q layers are not supported", t)
			return
		}
	}
	w := j.SlidingWindow
	if w == nil || !j.windowed(c, arch.window) || *w >= c.MaxPositions {
		return
	}
	if *w < 1 {
		f.addf("sliding_window: %d, want at least 1", *w)
		return
	}
	c.Notes = append(c.Notes, fmt.Sprintf("sliding-window attention is not implemented: the context is limited to the window of %d positions, where full attention is the same (max_position_embeddings: %d)", *w, c.MaxPositions))
	c.MaxPositions = *w
}

// windowed reports whether any layer uses the window.
func (j *configJSON) windowed(c *Config, rule windowRule) bool {
	switch {
	case rule == windowNever, rule == windowIfUsed && !j.UseSliding:
		return false
	case len(j.LayerTypes) > 0:
		return slices.Contains(j.LayerTypes, "sliding_attention")
	case rule == windowIfUsed:
		return j.MaxWindowLayers < c.Layers
	default:
		return true
	}
}

// inVocab drops, with a note, token ids that can never be drawn.
func inVocab(c *Config, field string, ids tokenIDs) []int32 {
	var in []int32
	for _, id := range ids {
		switch {
		case c.Vocab == 0: // a fault already
		case id < 0 || id >= int64(c.Vocab):
			c.Notes = append(c.Notes, fmt.Sprintf("%s: %d is outside the vocabulary of %d and is ignored", field, id, c.Vocab))
		case !slices.Contains(in, int32(id)):
			in = append(in, int32(id))
		}
	}
	return in
}

func firstOf[T any](ps ...*T) *T {
	for _, p := range ps {
		if p != nil {
			return p
		}
	}
	return nil
}

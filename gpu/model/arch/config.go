package arch

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/troupe-llm/troupe/gpu/model/internal/jsonfile"
	"github.com/troupe-llm/troupe/gpu/program"
)

// Config is config.json in both of its layouts, checked and made uniform. What
// devices need of it is in Program.
type Config struct {
	Architecture string // "Qwen3ForCausalLM", …
	Program      *program.Program
	Vocab        int // rows of the embedding
	MaxPositions int
	DType        string  // of the checkpoint's weights; "" when it does not say
	BOS          int32   // -1: none
	EOS          []int32 // without those outside the vocabulary
	// Notes tell where the model is run otherwise than its files say, and why.
	Notes []string

	// What families build programs from.
	Layers, Hidden, Intermediate int
	Heads, KVHeads, HeadDim      int // query heads; key and value heads; of each
	NormEps                      float32
	TieEmbedding                 bool // the output head is the embedding
	Rotary                       *program.Rotary
	Windows                      []int // by layer: how many positions it sees; 0: all
	MoE                          *mixture

	json   configJSON
	faults *jsonfile.Faults
}

// mixture is a layer of experts in place of the MLP.
type mixture struct {
	Experts      int
	PerToken     int // at most Experts
	Intermediate int // of each expert
	Normalize    bool
}

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

	BOS jsonfile.IDs `json:"bos_token_id"`
	EOS jsonfile.IDs `json:"eos_token_id"`

	Quantization *struct {
		Method string `json:"quant_method"`
	} `json:"quantization_config"`
}

// defaults are transformers': a null overwrites, silence does not.
func (j *configJSON) defaults() {
	window := 4096
	j.SlidingWindow, j.MaxWindowLayers = &window, 28
}

// The largest sizes accepted: beyond every published model, and small enough
// that products of two and sums over layers and experts stay within int64.
const (
	maxSize       = 1 << 24
	maxLayers     = 1 << 10
	maxExperts    = 1 << 10
	maxExpertSize = 1 << 14
)

// read takes the fields that all families have.
func (c *Config) read(f *family) {
	j := &c.json
	c.TieEmbedding = j.TieEmbedding
	c.sizes(f)
	c.features()
	c.DType = j.dtype(c.faults)
	c.Rotary = c.rope()
	c.Windows = c.windows(f.window)
	if bos := InVocab("bos_token_id", j.BOS, c.Vocab, &c.Notes); len(bos) > 0 {
		c.BOS = bos[0]
	}
	c.EOS = InVocab("eos_token_id", j.EOS, c.Vocab, &c.Notes)
}

func (c *Config) sizes(f *family) {
	j := &c.json
	or := func(v *int, otherwise int) *int {
		if v == nil {
			return &otherwise
		}
		return v
	}
	c.Vocab = c.faults.Size("vocab_size", j.VocabSize, maxSize)
	c.Hidden = c.faults.Size("hidden_size", j.HiddenSize, maxSize)
	c.Intermediate = c.faults.Size("intermediate_size", j.Intermediate, maxSize)
	c.Layers = c.faults.Size("num_hidden_layers", j.Layers, maxLayers)
	c.MaxPositions = c.faults.Size("max_position_embeddings", j.MaxPositions, 1<<30)
	c.Heads = c.faults.Size("num_attention_heads", j.Heads, 1<<12)
	if c.Heads > 0 {
		c.KVHeads = c.faults.Size("num_key_value_heads", or(j.KVHeads, cmp.Or(f.kvHeads, c.Heads)), 1<<12)
		c.HeadDim = c.faults.Size("head_dim", or(j.HeadDim, cmp.Or(f.headDim, c.Hidden/c.Heads)), 1<<12)
	}
	if c.KVHeads > 0 && c.Heads%c.KVHeads != 0 {
		c.faults.Addf("num_attention_heads: %d is no multiple of num_key_value_heads, %d", c.Heads, c.KVHeads)
	}
	if c.HeadDim%2 != 0 {
		c.faults.Addf("head_dim: %d is odd; RoPE turns pairs", c.HeadDim)
	}
	eps := 1e-6
	if j.NormEps != nil {
		eps = *j.NormEps
	}
	if !(eps > 0 && eps < 1) {
		c.faults.Addf("rms_norm_eps: %v, want between 0 and 1", eps)
	}
	c.NormEps = float32(eps)
}

// mixture reads the experts. Some layers with an MLP, others with experts, is
// refused.
func (c *Config) mixture() {
	j, f := &c.json, c.faults
	c.MoE = &mixture{
		Experts:      f.Size("num_experts", firstOf(j.Experts, j.NumExperts), maxExperts),
		PerToken:     f.Size("num_experts_per_tok", j.ExpertsPerToken, maxExperts),
		Intermediate: f.Size("moe_intermediate_size", j.ExpertSize, maxExpertSize),
		Normalize:    j.NormTopK,
	}
	if c.MoE.Experts > 0 && c.MoE.PerToken > c.MoE.Experts {
		f.Addf("num_experts_per_tok: %d, of %d experts", c.MoE.PerToken, c.MoE.Experts)
	}
	if j.SparseStep != nil && *j.SparseStep != 1 {
		f.Unsupportedf("decoder_sparse_step: %d is not supported, only 1: experts in every layer", *j.SparseStep)
	}
	if len(j.DenseLayers) > 0 {
		f.Unsupportedf("mlp_only_layers: %v is not supported: every layer has to have experts", j.DenseLayers)
	}
}

// features refuses what no device computes.
func (c *Config) features() {
	j, f := &c.json, c.faults
	if j.HiddenAct != nil && *j.HiddenAct != "silu" {
		f.Unsupportedf("hidden_act: %q is not supported, only \"silu\"", *j.HiddenAct)
	}
	if j.AttentionBias {
		f.Unsupportedf("attention_bias: biases on the attention's output projection are not supported")
	}
	if j.MLPBias {
		f.Unsupportedf("mlp_bias: biases in the MLP are not supported")
	}
	if q := j.Quantization; q != nil {
		f.Unsupportedf("quantization_config: %q weights are not supported, only bfloat16, float16 and float32", cmp.Or(q.Method, "unnamed"))
	}
}

// dtype is "" when config.json does not say.
func (j *configJSON) dtype(f *jsonfile.Faults) string {
	name := cmp.Or(j.DType, j.TorchDType)
	switch d := strings.TrimPrefix(name, "torch."); d {
	case "float32", "float16", "bfloat16", "":
		return d
	case "auto":
		return ""
	default:
		f.Unsupportedf("dtype: %q is not supported, only bfloat16, float16 and float32", name)
		return ""
	}
}

// windowRule says when an architecture's sliding_window applies.
type windowRule int

const (
	windowNever    windowRule = iota
	windowIfUsed              // only with use_sliding_window, from max_window_layers on
	windowIfNumber            // whenever it is a number
)

// windows is each layer's sliding window. A window of W lets a token see the W
// newest tokens, itself included.
func (c *Config) windows(rule windowRule) []int {
	j := &c.json
	windows := make([]int, c.Layers)
	for _, t := range j.LayerTypes {
		if t != "full_attention" && t != "sliding_attention" {
			c.faults.Unsupportedf("layer_types: %q layers are not supported", t)
			return windows
		}
	}
	w := j.SlidingWindow
	if w == nil || rule == windowNever || rule == windowIfUsed && !j.UseSliding {
		return windows
	}
	if n := len(j.LayerTypes); n > 0 && n != c.Layers && c.Layers > 0 {
		c.faults.Addf("layer_types: %d of %d layers", n, c.Layers)
		return windows
	}
	for i := range windows {
		switch {
		case len(j.LayerTypes) > 0:
			if j.LayerTypes[i] != "sliding_attention" {
				continue
			}
		case rule == windowIfUsed && i < j.MaxWindowLayers:
			continue
		}
		if *w < 1 {
			c.faults.Addf("sliding_window: %d, want at least 1", *w)
			return windows
		}
		if *w < c.MaxPositions { // else it hides nothing
			windows[i] = *w
		}
	}
	return windows
}

// InVocab drops, with a note, token ids that can never be drawn.
func InVocab(field string, ids jsonfile.IDs, vocab int, notes *[]string) []int32 {
	var in []int32
	for _, id := range ids {
		switch {
		case vocab == 0: // a fault already
		case id < 0 || id >= int64(vocab):
			*notes = append(*notes, fmt.Sprintf("%s: %d is outside the vocabulary of %d and is ignored", field, id, vocab))
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

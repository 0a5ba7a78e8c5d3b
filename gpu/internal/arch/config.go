package arch

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/troupe-llm/troupe/gpu/internal/jsonfile"
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
	Scheme       Scheme  // how they are quantised
	BOS          int32   // -1: none
	EOS          []int32 // without those outside the vocabulary
	// Notes tell where the model is run otherwise than its files say, and why.
	Notes []string

	// What families build programs from.
	Layers, Hidden, Intermediate int
	Heads, KVHeads, HeadDim      int // query heads; key and value heads; of each
	NormEps                      float32
	TieEmbedding                 bool // the output head is the embedding
	Activation                   program.Activation
	AttentionBias, MLPBias       bool              // on all of their projections
	Rotary                       []*program.Rotary // by layer; nil: positions turn nothing
	LayerTypes                   []string          // by layer; "full_attention" where the file says nothing
	Windows                      []int             // by layer: how many positions it sees; 0: all
	AttentionScale               float32
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
	// Of families that have them:
	Dense               int // leading layers without experts
	Shared              int // of the expert that all tokens go through: its intermediate size; 0: none
	Groups, GroupsTaken int
	Scale               float32
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
	HiddenAct2    *string  `json:"hidden_activation"` // Gemma's
	AttentionBias bool     `json:"attention_bias"`
	MLPBias       bool     `json:"mlp_bias"`

	QueryScalar   *float64 `json:"query_pre_attn_scalar"`   // Gemma
	Softcap       *float64 `json:"attn_logit_softcapping"`  // Gemma 2
	FinalSoftcap  *float64 `json:"final_logit_softcapping"` // Gemma 2
	Bidirectional bool     `json:"use_bidirectional_attention"`

	EmbeddingMultiplier *float64 `json:"embedding_multiplier"` // Granite
	AttentionMultiplier *float64 `json:"attention_multiplier"`
	ResidualMultiplier  *float64 `json:"residual_multiplier"`
	LogitsScaling       *float64 `json:"logits_scaling"`

	NoRopeLayers   []int `json:"no_rope_layers"` // SmolLM3: 0 where positions turn nothing
	NoRopeInterval *int  `json:"no_rope_layer_interval"`

	RoutedExperts *int     `json:"n_routed_experts"` // DeepSeek, GLM
	SharedExperts *int     `json:"n_shared_experts"`
	DenseFirst    *int     `json:"first_k_dense_replace"`
	Groups        *int     `json:"n_group"`
	GroupsTaken   *int     `json:"topk_group"`
	RoutedScale   *float64 `json:"routed_scaling_factor"`
	SharedSize    *int     `json:"shared_expert_intermediate_size"` // Qwen3.5
	QKNorm        *bool    `json:"use_qk_norm"`

	QueryRank      *int  `json:"q_lora_rank"` // latent attention
	KVRank         *int  `json:"kv_lora_rank"`
	NopeDim        *int  `json:"qk_nope_head_dim"`
	RopeDim        *int  `json:"qk_rope_head_dim"`
	ValueDim       *int  `json:"v_head_dim"`
	RopeInterleave *bool `json:"rope_interleave"`

	LinearKeyHeads   *int  `json:"linear_num_key_heads"` // Qwen3.5
	LinearValueHeads *int  `json:"linear_num_value_heads"`
	LinearKeyDim     *int  `json:"linear_key_head_dim"`
	LinearValueDim   *int  `json:"linear_value_head_dim"`
	ConvKernel       *int  `json:"linear_conv_kernel_dim"`
	OutputGate       *bool `json:"attn_output_gate"`
	FullInterval     *int  `json:"full_attention_interval"`

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
	RotaryDim       *int      `json:"rotary_dim"`           // MiniMax
	LocalTheta      *float64  `json:"rope_local_base_freq"` // Gemma 3, of layers with a window
	OriginalMaxPos  *int      `json:"original_max_position_embeddings"`
	LayerTypes      []string  `json:"layer_types"`
	SlidingWindow   *int      `json:"sliding_window"`
	UseSliding      bool      `json:"use_sliding_window"`
	MaxWindowLayers int       `json:"max_window_layers"`
	WindowPattern   *int      `json:"sliding_window_pattern"` // one full layer in so many
	WindowPattern5  *int      `json:"_sliding_window_pattern"`

	BOS jsonfile.IDs `json:"bos_token_id"`
	EOS jsonfile.IDs `json:"eos_token_id"`

	Quantization *quantJSON `json:"quantization_config"`
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
	c.features(f)
	c.scheme(f)
	c.DType = j.dtype(c.faults)
	c.layerTypes(f)
	c.rotaries()
	c.Windows = c.windows(f.window)
	c.AttentionScale = float32(1 / math.Sqrt(float64(c.HeadDim)))
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
// refused, but for leading ones.
func (c *Config) mixture() {
	j, f := &c.json, c.faults
	c.MoE = &mixture{
		Experts:      f.Size("num_experts", firstOf(j.Experts, j.NumExperts, j.RoutedExperts), maxExperts),
		PerToken:     f.Size("num_experts_per_tok", j.ExpertsPerToken, maxExperts),
		Intermediate: f.Size("moe_intermediate_size", j.ExpertSize, maxExpertSize),
		Normalize:    j.NormTopK,
		Scale:        1,
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

// activations by their names.
var activations = map[string]program.Activation{"silu": program.SiLU, "swish": program.SiLU, "gelu_pytorch_tanh": program.GELU}

// features refuses what no device computes.
func (c *Config) features(fam *family) {
	j, f := &c.json, c.faults
	if name := firstOf(j.HiddenAct2, j.HiddenAct); name != nil {
		act, known := activations[*name]
		if !known {
			f.Unsupportedf("hidden_act: %q is not supported, only \"silu\" and \"gelu_pytorch_tanh\"", *name)
		}
		c.Activation = act
	}
	c.AttentionBias, c.MLPBias = j.AttentionBias, j.MLPBias
	if c.AttentionBias && !fam.bias {
		f.Unsupportedf("attention_bias: biases of attention are not supported for %s", fam.name)
	}
	if c.MLPBias && !fam.bias {
		f.Unsupportedf("mlp_bias: biases of the MLP are not supported for %s", fam.name)
	}
	for name, v := range map[string]*float64{"attn_logit_softcapping": j.Softcap, "final_logit_softcapping": j.FinalSoftcap} {
		if v != nil && *v != 0 {
			f.Unsupportedf("%s: %v is not supported", name, *v)
		}
	}
	if j.Bidirectional {
		f.Unsupportedf("use_bidirectional_attention: true is not supported")
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
	windowByType              // in the layers whose type says so
)

// layerTypes is what each layer is, by layer_types or else one full layer in
// every so many.
func (c *Config) layerTypes(f *family) {
	j := &c.json
	pattern := firstOf(j.WindowPattern, j.WindowPattern5)
	switch n := len(j.LayerTypes); {
	case n > 0 && n != c.Layers && c.Layers > 0:
		c.faults.Addf("layer_types: %d of %d layers", n, c.Layers)
	case n > 0:
		c.LayerTypes = j.LayerTypes
	}
	for _, t := range c.LayerTypes {
		if t != full && t != sliding && !slices.Contains(f.layers, t) {
			c.faults.Unsupportedf("layer_types: %q layers are not supported", t)
			break
		}
	}
	if c.LayerTypes != nil {
		return
	}
	for i := range c.Layers {
		t := full
		switch {
		case pattern != nil && *pattern > 0 && f.window == windowByType && (i+1)%*pattern != 0,
			f.window == windowIfNumber,
			f.window == windowIfUsed && i >= j.MaxWindowLayers:
			t = sliding
		}
		c.LayerTypes = append(c.LayerTypes, t)
	}
}

// The layers that have windows, and those that see everything.
const (
	full    = "full_attention"
	sliding = "sliding_attention"
)

// windows is each layer's sliding window. A window of W lets a token see the W
// newest tokens, itself included.
func (c *Config) windows(rule windowRule) []int {
	j := &c.json
	windows := make([]int, c.Layers)
	w := j.SlidingWindow
	if w == nil || rule == windowNever || rule == windowIfUsed && !j.UseSliding {
		return windows
	}
	for i := range min(len(windows), len(c.LayerTypes)) {
		if c.LayerTypes[i] != sliding {
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

// Package model reads Hugging Face checkpoints into the one description that
// every device runs: sizes and variations in Config, weights in Weights.
// Nothing in it computes.
//
// Read it in this order: model.go (what comes out), open.go (the way in),
// config.go and generation.go (the JSON files), arch.go (architectures as
// data), safetensors.go, weights.go and dtype.go (tensors), rope.go and size.go
// (what devices derive), published.go (configurations known by name).
package model

import "io/fs"

// Model is a checkpoint, opened but not yet copied anywhere.
type Model struct {
	Name       string // what clients call it: the directory's last element, or the built-in's name
	Config     Config
	Generation Generation
	// Weights is nil for a published configuration opened without weights,
	// which a device fills at random.
	Weights *Weights
	// Files holds tokenizer.json, tokenizer_config.json and
	// chat_template.jinja; nil when there are none.
	Files fs.FS

	release func() error // unmaps Weights; nil when there is nothing to unmap
}

// Close gives back the memory that Weights views. Call it when every device
// has either copied the weights or been closed: a Tensor kept beyond it must
// not be read. Config, Generation and Files stay usable. Closing twice is
// harmless.
func (m *Model) Close() error {
	release := m.release
	m.release, m.Weights = nil, nil
	if release == nil {
		return nil
	}
	return release()
}

// Config is config.json in both of its layouts, checked and made uniform.
type Config struct {
	Architecture string // "Qwen3ForCausalLM", …
	Layers       int
	Hidden       int
	Intermediate int  // of the MLP, when layers have one
	MoE          *MoE // experts instead of the MLP, in every layer; nil: none
	Heads        int  // query heads
	KVHeads      int  // key and value heads; Heads % KVHeads == 0
	HeadDim      int
	Vocab        int // rows of the embedding
	MaxPositions int
	NormEps      float32
	TieEmbedding bool // the output head is the embedding
	QKVBias      bool // biases on the query, key and value projections
	QKNorm       bool // RMSNorm on each head's query and key, before RoPE
	Rope         Rope
	DType        DType   // of the checkpoint's weights
	BOS          int32   // -1: none
	EOS          []int32 // generation_config.json's when it has any
	// Notes tell where the model is run otherwise than its files say, and
	// why: a context clamped to the sliding window, say.
	Notes []string
}

// Rope is how positions turn queries and keys (rotate-half convention: element
// i pairs with i+HeadDim/2). See InvFreq.
type Rope struct {
	Theta float64
	// Llama3 is Llama 3.1's frequency scaling; nil: none.
	Llama3 *Llama3Rope
}

// Llama3Rope stretches low frequencies; see "rope_type": "llama3".
type Llama3Rope struct {
	Factor, LowFreqFactor, HighFreqFactor float64
	OriginalMaxPositions                  int
}

// MoE is a mixture of experts: of a layer's many small gated MLPs each token
// goes through a few. With x [Hidden] the normed input:
//
//	p  = softmax(Router·x)                    over all Experts
//	S  = the PerToken experts of largest p
//	y  = Σ_{e∈S} w_e·MLP_e(x)                 w_e = p_e, or p_e / Σ_{i∈S} p_i with Normalize
type MoE struct {
	Experts      int
	PerToken     int  // at most Experts
	Intermediate int  // of each expert
	Normalize    bool // "norm_topk_prob"
}

// Generation is generation_config.json: the defaults of requests that do not
// say otherwise. Nil pointers were not given.
type Generation struct {
	EOS         []int32
	Temperature *float64
	TopK        *int
	TopP        *float64
	MinP        *float64
	Repetition  *float64
}

// Weights are the tensors by the part they play. Linear weights are
// [out, in], row-major, as published.
type Weights struct {
	Embed  Tensor // [Vocab, Hidden]
	Layers []Layer
	Norm   Tensor // [Hidden]
	Head   Tensor // [Vocab, Hidden]; Embed again when tied
}

// Layer is one decoder block. Tensors an architecture lacks are zero values.
type Layer struct {
	AttnNorm            Tensor // [Hidden]
	Q                   Tensor // [Heads·HeadDim, Hidden]
	K, V                Tensor // [KVHeads·HeadDim, Hidden]
	QBias, KBias, VBias Tensor
	QNorm, KNorm        Tensor // [HeadDim]
	O                   Tensor // [Hidden, Heads·HeadDim]
	MLPNorm             Tensor // [Hidden]
	Gate, Up            Tensor // [Intermediate, Hidden]
	Down                Tensor // [Hidden, Intermediate]
	// With a mixture of experts, instead of Gate, Up and Down:
	Router  Tensor   // [MoE.Experts, Hidden]
	Experts []Expert // MoE.Experts of them
}

// Expert is one gated MLP of a mixture.
type Expert struct {
	Gate, Up Tensor // [MoE.Intermediate, Hidden]
	Down     Tensor // [Hidden, MoE.Intermediate]
}

// Tensor is a read-only view of weights, usually of a memory-mapped file.
// Those of Config.Shapes have no File and no Data.
type Tensor struct {
	Name  string // as in the file
	File  string
	DType DType
	Shape []int
	Data  []byte // little endian, row-major; not necessarily aligned
}

// Present reports whether the architecture has this tensor.
func (t *Tensor) Present() bool { return t.Shape != nil }

// Len is the number of elements.
func (t *Tensor) Len() int64 { return elements(t.Shape) }

func elements(shape []int) int64 {
	n := int64(1)
	for _, d := range shape {
		n *= int64(d)
	}
	return n
}

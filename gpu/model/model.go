// Package model reads Hugging Face checkpoints and GGUF files into the one description that
// every device runs: a program (package program), and the tensors that fill its
// slots. Nothing in it computes.
//
// Read it in this order: model.go (what comes out), open.go (the way in),
// package arch (config.json as a program, one file a family), generation.go,
// safetensors.go (files), encoding.go (how tensors' numbers lie in bytes),
// decode.go and blocks.go (quantised ones' values), weights.go (which tensors fill which
// slots), quantized.go (of what pieces a quantised tensor is), ggufweights.go and package
// gguf (the same of GGUF files), published.go (configurations known by name).
package model

import (
	"io/fs"
	"slices"

	"github.com/troupe-llm/troupe/gpu/internal/arch"
	"github.com/troupe-llm/troupe/gpu/program"
)

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
	// of is the model that this is one of some ranks' share of; nil: it is whole.
	of    *Model
	ranks int
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

// Config is what config.json says, checked and made uniform.
type Config struct {
	Architecture string // "Qwen3ForCausalLM", …
	Program      *program.Program
	Vocab        int // rows of the embedding
	MaxPositions int
	DType        DType       // of the checkpoint's weights; of a quantised one's, that of those that are
	Scheme       arch.Scheme // how config.json says that they are quantised
	BOS          int32       // -1: none
	EOS          []int32     // generation_config.json's when it has any
	// Notes tell where the model is run otherwise than its files say, and why.
	Notes []string
}

// CacheBytes is the memory of one position's keys and values over all layers,
// of elements of dtype.
func (c *Config) CacheBytes(dtype DType) (n int64) {
	for _, l := range c.Program.Caches {
		each := CacheRow(dtype, l.KeyDim)
		if !l.Shared {
			each += CacheRow(dtype, l.ValueDim)
		}
		n += int64(l.Heads * each)
	}
	return n
}

// CacheRow is the bytes of a head's key or value: of Int8 and Float8 there is what
// one of its numbers counts, on a multiple of 4.
func CacheRow(dtype DType, dim int) int {
	if dtype == Int8 || dtype == Float8 {
		return (dim+3)/4*4 + Float32.Size()
	}
	return dim * dtype.Size()
}

// Shared is the slot whose weights a slot has in this checkpoint: another's for a
// tied head, else its own.
func (m *Model) Shared(w *program.Weight) *program.Weight {
	if w.Tied != nil && (m.Weights == nil || m.Weights.slots[w] == nil) {
		return w.Tied
	}
	return w
}

// WeightBytes is the memory that the weights take when they are held so.
func (m *Model) WeightBytes(h Held) (n int64) {
	for _, w := range m.Config.Program.Weights {
		if m.Shared(w) == w {
			n += h.Of(w).Bytes(w.Shape)
		}
	}
	return n
}

// Stored is an encoding and what a checkpoint has in it: the roles of matrices, or all
// vectors together.
type Stored struct {
	Encoding Encoding
	Roles    []string
}

// vectors are what norms and biases are called together.
const vectors = "norms and biases"

// Stored are the checkpoint's encodings, in the program's order; nil without weights.
func (m *Model) Stored() (list []Stored) {
	if m.Weights == nil {
		return nil
	}
	for _, w := range m.Config.Program.Weights {
		role := w.Role
		if !w.Matrix() {
			role = vectors
		}
		slot := m.Weights.slots[w]
		if slot == nil { // it is tied to another
			continue
		}
		for i := range slot.Sources {
			e := slot.Sources[i].Tensor.Encoding
			at := slices.IndexFunc(list, func(s Stored) bool { return s.Encoding == e })
			if at < 0 {
				at, list = len(list), append(list, Stored{Encoding: e})
			}
			if !slices.Contains(list[at].Roles, role) {
				list[at].Roles = append(list[at].Roles, role)
			}
		}
	}
	return list
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

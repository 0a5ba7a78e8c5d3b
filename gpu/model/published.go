package model

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// published are configurations known by name, as their makers published them:
// sizes for dummy weights and for simulated devices. The keys are the names on
// the hub without their owner, in lower case.
var published = []struct {
	name   string
	config Config
}{
	{"qwen3-0.6b", qwen3(28, 1024, 3072, 16, 8, true)},
	{"qwen3-1.7b", qwen3(28, 2048, 6144, 16, 8, true)},
	{"qwen3-4b", qwen3(36, 2560, 9728, 32, 8, true)},
	{"qwen3-8b", qwen3(36, 4096, 12288, 32, 8, false)},
	{"qwen3-14b", qwen3(40, 5120, 17408, 40, 8, false)},
	{"qwen3-32b", qwen3(64, 5120, 25600, 64, 8, false)},
	{"qwen3-30b-a3b", qwen3MoE(48, 2048, 6144, 32, 4, MoE{Experts: 128, PerToken: 8, Intermediate: 768, Normalize: true})},
	{"qwen2.5-0.5b", qwen2(24, 896, 4864, 14, 2, 151936, true)},
	{"qwen2.5-7b", qwen2(28, 3584, 18944, 28, 4, 152064, false)},
	{"llama-3.1-8b", llama3(32, 4096, 14336, 32, 8, 8, false)},
	{"llama-3.2-1b", llama3(16, 2048, 8192, 32, 8, 32, true)},
	{"llama-3.2-3b", llama3(28, 3072, 8192, 24, 8, 32, true)},
	{"mistral-7b", Config{ // v0.3
		Architecture: "MistralForCausalLM", Layers: 32, Hidden: 4096, Intermediate: 14336, Heads: 32, KVHeads: 8, HeadDim: 128,
		Vocab: 32768, MaxPositions: 32768, NormEps: 1e-5, Rope: Rope{Theta: 1e6}, DType: BFloat16, BOS: 1, EOS: []int32{2},
	}},
}

func qwen3(layers, hidden, intermediate, heads, kvHeads int, tied bool) Config {
	return Config{
		Architecture: "Qwen3ForCausalLM", Layers: layers, Hidden: hidden, Intermediate: intermediate, Heads: heads, KVHeads: kvHeads, HeadDim: 128,
		Vocab: 151936, MaxPositions: 40960, NormEps: 1e-6, TieEmbedding: tied, QKNorm: true, Rope: Rope{Theta: 1e6},
		DType: BFloat16, BOS: 151643, EOS: []int32{151645, 151643},
	}
}

func qwen3MoE(layers, hidden, intermediate, heads, kvHeads int, m MoE) Config {
	c := qwen3(layers, hidden, intermediate, heads, kvHeads, false)
	c.Architecture, c.MoE = "Qwen3MoeForCausalLM", &m
	return c
}

func qwen2(layers, hidden, intermediate, heads, kvHeads, vocab int, tied bool) Config {
	return Config{
		Architecture: "Qwen2ForCausalLM", Layers: layers, Hidden: hidden, Intermediate: intermediate, Heads: heads, KVHeads: kvHeads, HeadDim: hidden / heads,
		Vocab: vocab, MaxPositions: 32768, NormEps: 1e-6, TieEmbedding: tied, QKVBias: true, Rope: Rope{Theta: 1e6},
		DType: BFloat16, BOS: 151643, EOS: []int32{151645, 151643},
	}
}

func llama3(layers, hidden, intermediate, heads, kvHeads int, factor float64, tied bool) Config {
	return Config{
		Architecture: "LlamaForCausalLM", Layers: layers, Hidden: hidden, Intermediate: intermediate, Heads: heads, KVHeads: kvHeads, HeadDim: hidden / heads,
		Vocab: 128256, MaxPositions: 131072, NormEps: 1e-5, TieEmbedding: tied,
		Rope:  Rope{Theta: 5e5, Llama3: &Llama3Rope{Factor: factor, LowFreqFactor: 1, HighFreqFactor: 4, OriginalMaxPositions: 8192}},
		DType: BFloat16, BOS: 128000, EOS: []int32{128001, 128008, 128009},
	}
}

// Published lists the names of published configurations that Open knows.
func Published() []string {
	var names []string
	for _, p := range published {
		names = append(names, p.name)
	}
	return names
}

// openPublished opens a configuration by name; "Qwen/Qwen3-0.6B" is
// "qwen3-0.6b" too.
func openPublished(spec string, dummy bool) (*Model, error) {
	name := strings.ToLower(spec[strings.LastIndexByte(spec, '/')+1:])
	for _, p := range published {
		if p.name != name {
			continue
		}
		if !dummy {
			return nil, fmt.Errorf("%q is a published configuration without its weights: give the directory of a downloaded checkpoint, or ask for dummy weights", name)
		}
		c := p.config
		c.EOS = slices.Clone(c.EOS)
		return &Model{Name: name, Config: c, Generation: Generation{EOS: c.EOS}}, nil
	}
	known := append([]string{Builtin}, Published()...)
	hint := ""
	if near := nearest(name, known); near != "" {
		hint = fmt.Sprintf(" did you mean %q?", near)
	}
	return nil, fmt.Errorf("no model %q: %w;%s there are directories, %q and, with dummy weights, %s", spec, fs.ErrNotExist, hint, Builtin, strings.Join(Published(), ", "))
}

// nearest returns the name that takes the fewest edits to reach, if they are
// few enough to be a slip.
func nearest(name string, known []string) string {
	best, fewest := "", 1+max(2, len(name)/3)
	for _, k := range known {
		if d := edits(name, k); d < fewest {
			best, fewest = k, d
		}
	}
	return best
}

// edits is the Levenshtein distance in bytes.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}

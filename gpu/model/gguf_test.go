package model_test

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/troupe-llm/troupe/gpu/internal/gguf"
	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/gpu/model/modeltest"
	"github.com/troupe-llm/troupe/gpu/program"
)

// tiny is a Llama of one layer whose numbers are all zero; change may replace a tensor's
// type and shape, or leave it out.
func tiny(change func(name string, kind gguf.Type, shape []int) (gguf.Type, []int, bool)) *modeltest.GGUF {
	g := &modeltest.GGUF{}
	g.Set("general.architecture", "llama")
	for key, n := range map[string]uint32{
		"context_length": 64, "embedding_length": 32, "block_count": 1, "feed_forward_length": 64, "attention.head_count": 2, "attention.head_count_kv": 1,
	} {
		g.Set("llama."+key, n)
	}
	g.Set("llama.attention.layer_norm_rms_epsilon", float32(1e-5))
	for _, t := range []struct {
		name  string
		kind  gguf.Type
		shape []int
	}{
		{"token_embd.weight", gguf.F16, []int{40, 32}},
		{"output_norm.weight", gguf.F32, []int{32}},
		{"blk.0.attn_norm.weight", gguf.F32, []int{32}},
		{"blk.0.ffn_norm.weight", gguf.F32, []int{32}},
		{"blk.0.attn_q.weight", gguf.Q4_0, []int{32, 32}},
		{"blk.0.attn_k.weight", gguf.Q4_0, []int{16, 32}},
		{"blk.0.attn_v.weight", gguf.Q8_0, []int{16, 32}},
		{"blk.0.attn_output.weight", gguf.Q4_0, []int{32, 32}},
		{"blk.0.ffn_gate.weight", gguf.Q4_0, []int{64, 32}},
		{"blk.0.ffn_up.weight", gguf.Q4_0, []int{64, 32}},
		{"blk.0.ffn_down.weight", gguf.Q4_0, []int{32, 64}},
	} {
		kind, shape, keep := t.kind, t.shape, true
		if change != nil {
			kind, shape, keep = change(t.name, t.kind, t.shape)
		}
		if keep {
			g.Tensor(t.name, kind, shape, make([]byte, 4*40*64))
		}
	}
	return g
}

func write(t *testing.T, name string, g *modeltest.GGUF) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, g.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestOpenGGUF(t *testing.T) {
	path := write(t, "Tiny-1B-Q4_0.gguf", tiny(nil))
	for _, dummy := range []bool{false, true} {
		m, err := model.Open(path, dummy)
		if err != nil {
			t.Fatal(err)
		}
		if m.Name != "Tiny-1B-Q4_0" || m.Config.Vocab != 40 || m.Config.Architecture != "LlamaForCausalLM" || m.Files != nil || (m.Weights == nil) != dummy {
			t.Errorf("dummy %v: %+v", dummy, m)
		}
		if !dummy && m.Config.DType != model.Q4_0 {
			t.Errorf("weights are %s", m.Config.DType)
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
}

// What is wrong is told with the file, the tensor or the key, what was expected and
// what was found.
func TestOpenGGUFRefuses(t *testing.T) {
	const q = "blk.0.attn_q.weight"
	as := func(of string, kind gguf.Type, shape []int, keep bool) *modeltest.GGUF {
		return tiny(func(name string, k gguf.Type, s []int) (gguf.Type, []int, bool) {
			if name == of {
				return kind, shape, keep
			}
			return k, s, true
		})
	}
	experts, other, mixture, none, long := tiny(nil), &modeltest.GGUF{}, &modeltest.GGUF{}, &modeltest.GGUF{}, tiny(nil)
	experts.Set("llama.expert_count", uint32(8))
	other.Set("general.architecture", "mamba")
	mixture.Set("general.architecture", "dbrx")
	long.Set("llama.rope.scaling.type", "longrope")
	for _, c := range []struct {
		g           *modeltest.GGUF
		want        string
		unsupported bool
	}{
		{as(q, 16, []int{32, 256}, true), `tensor "blk.0.attn_q.weight" has shape [32 256], want [32 32]`, false},
		{as(q, 99, []int{32, 32}, true), `tensor "blk.0.attn_q.weight" is type 99, which is not supported`, true},
		{as(q, 28, []int{32, 32}, true), `tensor "blk.0.attn_q.weight" is F64, which is not supported`, true},
		{as("output_norm.weight", gguf.Q4_0, []int{32}, true), `tensor "output_norm.weight" of shape [32] is Q4_0, whose blocks are 32 elements of a row`, true},
		{as(q, 0, nil, false), `tensor "blk.0.attn_q.weight" is missing, want shape [32 32]`, false},
		{as("token_embd.weight", 0, nil, false), `tensor "token_embd.weight" is missing`, false},
		{experts, `metadata: "llama.expert_used_count" is missing`, false},
		{mixture, `architecture "dbrx" is not supported of GGUF files; supported: deepseek2, `, true},
		{glm4(t, func(g *modeltest.GGUF) { g.Set("glm4.rope.dimension_sections", []int32{8, 12, 12, 0}) }), `"glm4.rope.dimension_sections": models of images`, true},
		{other, `architecture "mamba" is not supported of GGUF files; supported: deepseek2, `, true},
		{none, `metadata: "general.architecture" is missing`, false},
		{long, `"llama.rope.scaling.type": "longrope" is not supported, or not without tensors of factors`, true},
	} {
		path := write(t, "x.gguf", c.g)
		_, err := model.Open(path, false)
		if err == nil || !strings.HasPrefix(err.Error(), path+": ") || !strings.Contains(err.Error(), c.want) || errors.Is(err, model.ErrUnsupported) != c.unsupported {
			t.Errorf("got %v, want %s: … %s (unsupported: %v)", err, path, c.want, c.unsupported)
		}
	}
}

// glm4 is a small GLM-4 with something more.
func glm4(t *testing.T, more func(*modeltest.GGUF)) *modeltest.GGUF {
	g := conversion(t, "own-families/glm4").GGUF(t, nil)
	more(g)
	return g
}

func conversion(t *testing.T, name string) modeltest.Checkpoint {
	t.Helper()
	list := modeltest.Conversions(t)
	i := slices.IndexFunc(list, func(c modeltest.Checkpoint) bool { return c.Name == name })
	if i < 0 {
		t.Fatalf("no conversion of %s", name)
	}
	return list[i]
}

// Older files have a tensor for each expert; others leave out sizes of 1.
func TestOtherShapesGGUF(t *testing.T) {
	c := conversion(t, "own-families/mixtral")
	g := c.GGUF(t, nil)
	for layer := range 2 {
		for _, what := range []string{"gate", "up", "down"} {
			g.Replace(fmt.Sprintf("blk.%d.ffn_%s_exps.weight", layer, what), func(kind gguf.Type, shape []int, data []byte) {
				for x, each := 0, len(data)/shape[0]; x < shape[0]; x++ {
					g.Tensor(fmt.Sprintf("blk.%d.ffn_%s.%d.weight", layer, what, x), kind, shape[1:], data[x*each:][:each])
				}
			})
		}
	}
	g.Replace("output_norm.weight", func(kind gguf.Type, shape []int, data []byte) {
		g.Tensor("output_norm.weight", kind, append([]int{1}, shape...), data)
	})
	same(t, c.Name, c.Open(t), open(t, write(t, "x.gguf", g)))
}

// However many devices share a model, each has of a GGUF file the numbers that it has of
// the checkpoint that was converted.
func TestShareGGUF(t *testing.T) {
	for _, c := range modeltest.Conversions(t) {
		from, to := c.Open(t), open(t, c.Converted(t, nil))
		for ranks := 1; ranks <= 2; ranks++ {
			for rank := range ranks {
				a, errA := from.Share(rank, ranks)
				b, errB := to.Share(rank, ranks)
				if errA != nil || errB != nil {
					if errA == nil || errB == nil || errA.Error() != errB.Error() {
						t.Errorf("%s: %v, of GGUF %v", c.Name, errA, errB)
					}
					continue
				}
				same(t, fmt.Sprintf("%s, %d of %d", c.Name, rank, ranks), a, b)
			}
		}
	}
}

func open(t *testing.T, path string) *model.Model {
	t.Helper()
	m, err := model.Open(path, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

// same holds all numbers of two models against each other.
func same(t *testing.T, what string, a, b *model.Model) {
	t.Helper()
	for i, w := range a.Config.Program.Weights {
		of := b.Config.Program.Weights[i]
		if w.Name != of.Name || !slices.Equal(w.Shape, of.Shape) {
			t.Fatalf("%s: %s of %v and %s of %v", what, w.Name, w.Shape, of.Name, of.Shape)
		}
		x, y := a.Weights.Of(w).Vector(), b.Weights.Of(of).Vector()
		for j := range x {
			if d := x[j] - y[j]; !(max(d, -d) <= 1e-6*max(x[j], -x[j], 1)) {
				t.Errorf("%s: number %d of %s is %v, of GGUF %v", what, j, w.Name, x[j], y[j])
				break
			}
		}
	}
}

// Inputs that come in another order than in the file are read so, alone, as whole numbers
// and of a rank.
func TestInputsInOrder(t *testing.T) {
	const rows, columns, step, run = 3, 256, 2, 32
	for kind, as := range map[gguf.Type]model.DType{gguf.Q4_0: model.Q4_0, gguf.Q8_0: model.Q8_0, gguf.Q4_K: model.Q4_K} {
		data := modeltest.Blocks(kind, []int{rows, columns}, rand.New(rand.NewPCG(1, uint64(kind))))
		whole := program.Whole("x", rows, columns)
		read := func(p program.Part, width int) []float32 {
			w := &program.Weight{Name: "x", Shape: []int{rows, width}, Parts: []program.Part{p}}
			slot := &model.Slot{Weight: w, Sources: []model.Source{{Part: p, Tensor: &model.Tensor{Encoding: model.Plain(as), Shape: []int{rows, columns}, Data: data}}}}
			model.NewWeights(slot)
			s, out := &slot.Sources[0], make([]float32, rows*width)
			s.ReadRows(0, rows, out)
			if bits, group := s.Whole(); bits > 0 {
				scales, zeros, numbers := make([]float32, len(out)/group), make([]float32, len(out)/group), make([]float32, len(out))
				s.ReadWhole(0, rows, numbers, scales, zeros)
				for i, v := range numbers {
					if got := (v - zeros[i/group]) * scales[i/group]; got != out[i] {
						t.Fatalf("%s: number %d is %v whole, read %v", kind, i, got, out[i])
					}
				}
			} else if as != model.Q4_K {
				t.Errorf("%s is not taken as whole numbers", kind)
			}
			return out
		}
		plain := read(whole, columns)
		ordered := whole
		ordered.Step, ordered.Run = step, run
		for _, first := range []int{0, columns / 2} {
			ordered.Column = first
			width := columns - first
			for i, got := range read(ordered, width) {
				// Piece 2i of the file is the i-th, piece 2i+1 the i-th of the second half.
				at := first + i%width
				piece := at / run
				from := piece % 4 * 2 * run
				if piece >= 4 {
					from = (piece-4)*2*run + run
				}
				if want := plain[i/width*columns+from+at%run]; got != want {
					t.Fatalf("%s from %d: number %d is %v, want %v", kind, first, i, got, want)
				}
			}
		}
	}
}

// A model in several files is opened by any of them, and by none when one is away.
func TestOpenSplitGGUF(t *testing.T) {
	dir := t.TempDir()
	var paths []string
	for i := range 3 {
		g := tiny(func(name string, k gguf.Type, s []int) (gguf.Type, []int, bool) { return k, s, len(name)%3 == i })
		g.Set("split.no", uint16(i))
		g.Set("split.count", uint16(3))
		paths = append(paths, filepath.Join(dir, fmt.Sprintf("tiny-%05d-of-00003.gguf", i+1)))
		if err := os.WriteFile(paths[i], g.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range paths {
		m, err := model.Open(path, false)
		if err != nil {
			t.Fatal(err)
		}
		if m.Name != "tiny" {
			t.Errorf("it is called %q", m.Name)
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := os.Rename(paths[1], filepath.Join(dir, "away")); err != nil {
		t.Fatal(err)
	}
	if _, err := model.Open(paths[0], false); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "tiny-00002-of-00003.gguf") {
		t.Errorf("got %v", err)
	}
	if err := os.WriteFile(paths[1], tiny(nil).Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := model.Open(paths[0], false); err == nil || !strings.Contains(err.Error(), `metadata: "split.`) {
		t.Errorf("got %v", err)
	}
}

// What metadata says of replies' ends and of sampling counts as generation_config.json
// does.
func TestGGUFGeneration(t *testing.T) {
	g := tiny(nil)
	g.Set("general.sampling.temp", float32(0.6))
	g.Set("general.sampling.top_k", int32(20))
	g.Set("tokenizer.ggml.model", "gpt2")
	tokens, types := make([]string, 40), make([]int32, 40)
	for i := range tokens {
		tokens[i], types[i] = fmt.Sprintf("t%d", i), 1
	}
	for i, name := range []string{"<|endoftext|>", "<|im_end|>", "<|end|>", "<|return|>"} {
		tokens[30+i], types[30+i] = name, 3
	}
	g.Set("tokenizer.ggml.tokens", tokens)
	g.Set("tokenizer.ggml.token_type", types)
	g.Set("tokenizer.ggml.eos_token_id", uint32(31))
	m, err := model.Open(write(t, "x.gguf", g), true)
	if err != nil {
		t.Fatal(err)
	}
	if want := []int32{31, 30, 33}; !slices.Equal(m.Config.EOS, want) {
		t.Errorf("replies end with %v, want %v", m.Config.EOS, want)
	}
	if m.Generation.Temperature == nil || *m.Generation.Temperature != 0.6 || *m.Generation.TopK != 20 {
		t.Errorf("sampling: %+v", m.Generation)
	}
}

package model_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/troupe-llm/troupe/gpu/internal/gguf"
	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/gpu/model/modeltest"
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
	experts, other, none, long := tiny(nil), &modeltest.GGUF{}, &modeltest.GGUF{}, tiny(nil)
	experts.Set("llama.expert_count", uint32(8))
	other.Set("general.architecture", "mamba")
	long.Set("llama.rope.scaling.type", "longrope")
	for _, c := range []struct {
		g           *modeltest.GGUF
		want        string
		unsupported bool
	}{
		{as(q, 16, []int{32, 256}, true), `tensor "blk.0.attn_q.weight" has shape [32 256], want [32 32]`, false},
		{as(q, 99, []int{32, 32}, true), `tensor "blk.0.attn_q.weight" is type 99, which is not supported`, true},
		{as(q, 28, []int{32, 32}, true), `tensor "blk.0.attn_q.weight" is F64, which is not supported`, true},
		{as(q, 0, nil, false), `tensor "blk.0.attn_q.weight" is missing, want shape [32 32]`, false},
		{as("token_embd.weight", 0, nil, false), `tensor "token_embd.weight" is missing`, false},
		{experts, `"llama.expert_count" is 8: experts of this architecture are not supported`, true},
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

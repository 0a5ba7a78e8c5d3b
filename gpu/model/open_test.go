package model

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

func testdata(name string) string { return filepath.Join("testdata", name) }

func mustOpen(t *testing.T, spec string) *Model {
	t.Helper()
	m, err := Open(spec, false)
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

func TestOpenReadsEveryArchitecture(t *testing.T) {
	for _, tc := range []struct {
		name string
		want Config
	}{
		{"qwen3", Config{
			Architecture: "Qwen3ForCausalLM", Layers: 2, Hidden: 64, Intermediate: 128, Heads: 4, KVHeads: 2, HeadDim: 64, Vocab: 320, MaxPositions: 2048,
			NormEps: 1e-6, TieEmbedding: true, QKNorm: true, Rope: Rope{Theta: 1e6}, DType: BFloat16, BOS: -1, EOS: []int32{2, 0},
		}},
		{"qwen3-sharded", Config{
			Architecture: "Qwen3ForCausalLM", Layers: 2, Hidden: 64, Intermediate: 128, Heads: 3, KVHeads: 1, HeadDim: 128, Vocab: 320, MaxPositions: 2048,
			NormEps: 1e-6, QKNorm: true, Rope: Rope{Theta: 1e6}, DType: BFloat16, BOS: -1, EOS: []int32{2},
		}},
		{"qwen3moe", Config{
			Architecture: "Qwen3MoeForCausalLM", Layers: 2, Hidden: 64, Intermediate: 128, Heads: 4, KVHeads: 2, HeadDim: 64, Vocab: 320, MaxPositions: 2048,
			MoE:     &MoE{Experts: 8, PerToken: 3, Intermediate: 40, Normalize: true},
			NormEps: 1e-6, TieEmbedding: true, QKNorm: true, Rope: Rope{Theta: 1e6}, DType: BFloat16, BOS: -1, EOS: []int32{2},
		}},
		{"qwen2", Config{
			Architecture: "Qwen2ForCausalLM", Layers: 2, Hidden: 128, Intermediate: 128, Heads: 2, KVHeads: 1, HeadDim: 64, Vocab: 320, MaxPositions: 2048,
			NormEps: 1e-6, TieEmbedding: true, QKVBias: true, Rope: Rope{Theta: 1e6}, DType: BFloat16, BOS: -1, EOS: []int32{2},
		}},
		{"llama3", Config{
			Architecture: "LlamaForCausalLM", Layers: 2, Hidden: 64, Intermediate: 128, Heads: 4, KVHeads: 2, HeadDim: 64, Vocab: 320, MaxPositions: 2048,
			NormEps: 1e-6, Rope: Rope{Theta: 5e5, Llama3: &Llama3Rope{8, 1, 4, 64}}, DType: BFloat16, BOS: 1, EOS: []int32{3},
		}},
		{"mistral", Config{
			Architecture: "MistralForCausalLM", Layers: 2, Hidden: 64, Intermediate: 128, Heads: 4, KVHeads: 1, HeadDim: 64, Vocab: 384, MaxPositions: 2048,
			NormEps: 1e-6, Rope: Rope{Theta: 1e4}, DType: BFloat16, BOS: 1, EOS: []int32{2},
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := mustOpen(t, testdata(tc.name))
			if m.Name != tc.name || !reflect.DeepEqual(m.Config, tc.want) {
				t.Errorf("%s:\n got %+v\nwant %+v", m.Name, m.Config, tc.want)
			}
			if _, err := fs.Stat(m.Files, "tokenizer.json"); err != nil {
				t.Error(err)
			}
			checkWeights(t, m)
		})
	}
}

// checkWeights holds the weights against Shapes and against what random
// weights look like.
func checkWeights(t *testing.T, m *Model) {
	c := &m.Config
	shapes := slices.Collect(c.Tensors(c.Shapes()))
	var total int64
	for i, got := range slices.Collect(c.Tensors(m.Weights)) {
		want := shapes[i]
		if got.Name != want.Name || !slices.Equal(got.Shape, want.Shape) || int64(len(got.Data)) != got.Len()*2 || !got.Present() {
			t.Errorf("%s %v in %d bytes, want %s %v", got.Name, got.Shape, len(got.Data), want.Name, want.Shape)
		}
		total += got.Len()
		var sum float64 // of squares
		for b := range slices.Chunk(got.Data, 2) {
			v := float64(math.Float32frombits(uint32(binary.LittleEndian.Uint16(b)) << 16))
			sum += v * v
		}
		if rms := math.Sqrt(sum / float64(got.Len())); !(rms > 0.05 && rms < 2) {
			t.Errorf("%s: root mean square %v: not the weights", got.Name, rms)
		}
	}
	if total != c.Params() {
		t.Errorf("%d parameters, Params says %d", total, c.Params())
	}
	l := &m.Weights.Layers[1]
	if l.QBias.Present() != c.QKVBias || l.VBias.Present() != c.QKVBias || l.QNorm.Present() != c.QKNorm || l.Down.Present() != (c.MoE == nil) || l.Router.Present() != (c.MoE != nil) {
		t.Errorf("biases, norms and experts do not follow the configuration: %+v", l)
	}
	if tied := &m.Weights.Head.Data[0] == &m.Weights.Embed.Data[0]; tied != c.TieEmbedding {
		t.Errorf("head and embedding share memory: %v, want %v", tied, c.TieEmbedding)
	}
	if name := l.Q.Name; name != "model.layers.1.self_attn.q_proj.weight" {
		t.Errorf("the second layer's Q is %s", name)
	}
}

func TestOpenGeneration(t *testing.T) {
	g := mustOpen(t, testdata("qwen3")).Generation
	if *g.Temperature != 0.6 || *g.TopK != 20 || *g.TopP != 0.95 || g.MinP != nil || !slices.Equal(g.EOS, []int32{2, 0}) {
		t.Errorf("got %+v", g)
	}
}

func TestOpenDummyNeedsOnlyTheConfiguration(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "config.json", []byte(base))
	m, err := Open(dir, true)
	if err != nil {
		t.Fatal(err)
	}
	if m.Weights != nil || m.Files != nil || m.Config.DType != BFloat16 || m.Name != filepath.Base(dir) {
		t.Errorf("got %+v", m)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
}

func TestCloseTwice(t *testing.T) {
	m, err := Open(testdata("qwen3-sharded"), false)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if m.Weights != nil {
		t.Error("weights stay reachable after Close")
	}
}

// A file system without files on disk (the embedded model's) gives the same.
func TestOpenFromFileSystem(t *testing.T) {
	m, err := open(&source{name: "memory", fsys: os.DirFS(testdata("qwen3-sharded"))}, "memory", false)
	if err != nil {
		t.Fatal(err)
	}
	want := mustOpen(t, testdata("qwen3-sharded"))
	all := slices.Collect(want.Config.Tensors(want.Weights))
	for i, got := range slices.Collect(m.Config.Tensors(m.Weights)) {
		if !bytes.Equal(got.Data, all[i].Data) {
			t.Errorf("%s differs from the mapped one", got.Name)
		}
	}
}

func TestOpenBuiltin(t *testing.T) {
	defer func(was func() fs.FS) { embedded = was }(embedded)
	embedded = nil
	if _, err := Open(Builtin, false); err == nil || !strings.Contains(err.Error(), "no built-in model") {
		t.Errorf("without one: %v", err)
	}
	embedded = func() fs.FS { return os.DirFS(testdata("llama3")) }
	if m := mustOpen(t, Builtin); m.Name != Builtin || m.Weights == nil || m.Files == nil {
		t.Errorf("got %+v", m)
	}
	embedded = func() fs.FS { return fstest.MapFS{} }
	if _, err := Open(Builtin, false); err == nil || !strings.Contains(err.Error(), filepath.Join("builtin", "config.json")) {
		t.Errorf("an empty one: %v", err)
	}
}

// write puts a file into a checkpoint that a test makes.
func write(t *testing.T, dir, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// checkpoint copies one of testdata's, to be broken.
func checkpoint(t *testing.T, name string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(testdata(name))); err != nil {
		t.Fatal(err)
	}
	return dir
}

func read(t *testing.T, dir, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// editHeader rewrites a safetensors file's header.
func editHeader(t *testing.T, dir, name string, edit func(map[string]headerEntry)) {
	t.Helper()
	data := read(t, dir, name)
	size := 8 + binary.LittleEndian.Uint64(data)
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(data[8:size], &raw); err != nil {
		t.Fatal(err)
	}
	delete(raw, "__metadata__")
	header := map[string]headerEntry{}
	for name, r := range raw {
		var e headerEntry
		if err := json.Unmarshal(r, &e); err != nil {
			t.Fatal(err)
		}
		header[name] = e
	}
	edit(header)
	out := map[string]any{}
	for name, e := range header {
		out[name] = map[string]any{"dtype": e.DType, "shape": e.Shape, "data_offsets": e.Offsets}
	}
	text, err := json.Marshal(out)
	if err != nil {
		t.Fatal(err)
	}
	made := append(binary.LittleEndian.AppendUint64(nil, uint64(len(text))), text...)
	write(t, dir, name, append(made, data[size:]...))
}

func TestOpenBrokenCheckpoints(t *testing.T) {
	const last = "model-00005-of-00005.safetensors"
	remove := func(name string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	header := func(name string, edit func(map[string]headerEntry)) func(*testing.T, string) {
		return func(t *testing.T, dir string) { editHeader(t, dir, name, edit) }
	}
	cut := func(name string, by int) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			data := read(t, dir, name)
			write(t, dir, name, data[:len(data)-by])
		}
	}
	replace := func(name, from, to string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			data := read(t, dir, name)
			if !bytes.Contains(data, []byte(from)) {
				t.Fatalf("%s has no %q", name, from)
			}
			write(t, dir, name, bytes.ReplaceAll(data, []byte(from), []byte(to)))
		}
	}
	put := func(name, text string) func(*testing.T, string) {
		return func(t *testing.T, dir string) { write(t, dir, name, []byte(text)) }
	}
	both := func(a, b func(*testing.T, string)) func(*testing.T, string) {
		return func(t *testing.T, dir string) { a(t, dir); b(t, dir) }
	}
	for _, tc := range []struct {
		name, from string
		damage     func(*testing.T, string)
		want       []string // all in the error; DIR stands for the folder
	}{
		{"no config", "qwen3", remove("config.json"), []string{"DIR/config.json: ", "no such file"}},
		{"config of another kind", "qwen3", put("config.json", "name: qwen3\n"), []string{"DIR/config.json: not JSON: line 1"}},
		{"bad generation config", "qwen3", put("generation_config.json", `{"top_p": 7}`), []string{"DIR/generation_config.json: top_p: 7, want 0 to 1"}},
		{"no weights", "qwen3", remove("model.safetensors"), []string{"DIR: no weights: neither model.safetensors nor model.safetensors.index.json"}},
		{"pickled weights", "qwen3", both(remove("model.safetensors"), put("pytorch_model.bin", "")), []string{"pytorch_model.bin is not read"}},
		{"empty weights", "qwen3", put("model.safetensors", ""), []string{"DIR/model.safetensors: truncated: 0 bytes"}},
		{"truncated weights", "qwen3", cut("model.safetensors", 1), []string{"DIR/model.safetensors: truncated: tensors take 337024 bytes after the header, 337023 are there"}},
		{"git-lfs pointer", "qwen3", put("model.safetensors", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"), []string{"DIR/model.safetensors: it is a Git LFS pointer", "git lfs pull"}},
		{
			"missing tensor", "qwen3", header("model.safetensors", func(h map[string]headerEntry) { delete(h, "model.layers.1.mlp.up_proj.weight") }),
			[]string{`DIR: model.safetensors: tensor "model.layers.1.mlp.up_proj.weight" is missing, want shape [128 64]`},
		},
		{"mis-shaped tensor", "qwen3", header("model.safetensors", func(h map[string]headerEntry) {
			e := h["model.layers.0.self_attn.o_proj.weight"]
			e.Shape = []int{256, 64}
			h["model.layers.0.self_attn.o_proj.weight"] = e
		}), []string{`tensor "model.layers.0.self_attn.o_proj.weight" has shape [256 64], want [64 256]`}},
		{
			"missing expert", "qwen3moe", header("model.safetensors", func(h map[string]headerEntry) { delete(h, "model.layers.1.mlp.experts.7.down_proj.weight") }),
			[]string{`tensor "model.layers.1.mlp.experts.7.down_proj.weight" is missing, want shape [64 40]`},
		},
		{"integer tensor", "qwen3", header("model.safetensors", func(h map[string]headerEntry) {
			e := h["model.norm.weight"]
			e.DType = "I16"
			h["model.norm.weight"] = e
		}), []string{`tensor "model.norm.weight" is I16, want BF16, F16 or F32`}},
		{
			"config says more layers", "qwen3", replace("config.json", `"num_hidden_layers": 2`, `"num_hidden_layers": 40`),
			[]string{"DIR: 418 faults", `tensor "model.layers.2.input_layernorm.weight" is missing`, "and 406 more"},
		},
		{
			"config says another vocabulary", "qwen3", replace("config.json", `"vocab_size": 320`, `"vocab_size": 321`),
			[]string{`tensor "model.embed_tokens.weight" has shape [320 64], want [321 64]`},
		},
		{
			"untied without a head", "qwen3", replace("config.json", `"tie_word_embeddings": true`, `"tie_word_embeddings": false`),
			[]string{`tensor "lm_head.weight" is missing, want shape [320 64]`},
		},
		{"missing shard", "qwen3-sharded", remove(last), []string{"DIR/" + last + ": no such file", "named by DIR/model.safetensors.index.json"}},
		{"truncated shard", "qwen3-sharded", cut(last, 100), []string{"DIR/" + last + ": truncated"}},
		{
			"tensor not in the index", "qwen3-sharded", replace("model.safetensors.index.json", "lm_head.weight", "head.weight"),
			[]string{`model.safetensors.index.json: tensor "lm_head.weight" is missing`},
		},
		{
			"tensor not in its shard", "qwen3-sharded", header("model-00001-of-00005.safetensors", func(h map[string]headerEntry) { delete(h, slices.Sorted(maps.Keys(h))[0]) }),
			[]string{"DIR: model-00001-of-00005.safetensors: tensor ", "is missing"},
		},
		{"index of another kind", "qwen3-sharded", put("model.safetensors.index.json", `{"weight_map": ["a"]}`), []string{"DIR/model.safetensors.index.json: weight_map is an array, want an object"}},
		{"empty index", "qwen3-sharded", put("model.safetensors.index.json", `{}`), []string{"weight_map is missing or empty"}},
		{"index leaves the folder", "qwen3-sharded", replace("model.safetensors.index.json", last, "../"+last), []string{`"../` + last + `" is no file name`}},
		{"shard is a folder", "qwen3-sharded", func(t *testing.T, dir string) {
			remove(last)(t, dir)
			if err := os.Mkdir(filepath.Join(dir, last), 0o755); err != nil {
				t.Fatal(err)
			}
		}, []string{"DIR/" + last + ": "}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := checkpoint(t, tc.from)
			tc.damage(t, dir)
			m, err := Open(dir, false)
			if err == nil {
				m.Close()
				t.Fatal("accepted")
			}
			for _, want := range tc.want {
				if want = strings.ReplaceAll(want, "DIR", dir); !strings.Contains(err.Error(), want) {
					t.Errorf("error %q\nlacks %q", err, want)
				}
			}
		})
	}
}

// Tensors that no architecture asks for are let be; a head beside a tied
// embedding is one of them.
func TestOpenIgnoresExtraTensors(t *testing.T) {
	dir := checkpoint(t, "llama3")
	config := read(t, dir, "config.json")
	write(t, dir, "config.json", bytes.Replace(config, []byte(`"tie_word_embeddings": false`), []byte(`"tie_word_embeddings": true`), 1))
	m := mustOpen(t, dir)
	if m.Weights.Head.Name != "model.embed_tokens.weight" {
		t.Errorf("the head of a tied model is %s", m.Weights.Head.Name)
	}
}

func TestOpenFloat16AndFloat32(t *testing.T) {
	for name, want := range map[string]DType{"F16": Float16, "BF16": BFloat16} {
		dir := checkpoint(t, "qwen3")
		editHeader(t, dir, "model.safetensors", func(h map[string]headerEntry) {
			for k, e := range h {
				e.DType = name
				h[k] = e
			}
		})
		if m := mustOpen(t, dir); m.Config.DType != want || m.Weights.Norm.DType != want {
			t.Errorf("%s: opened as %s, norm as %s", name, m.Config.DType, m.Weights.Norm.DType)
		}
	}

	dir := t.TempDir()
	c := mustOpen(t, testdata("qwen3")).Config
	header, end := map[string]any{}, int64(0)
	for tensor := range c.Tensors(c.Shapes()) {
		header[tensor.Name] = map[string]any{"dtype": "F32", "shape": tensor.Shape, "data_offsets": []int64{end, end + 4*tensor.Len()}}
		end += 4 * tensor.Len()
	}
	text, err := json.Marshal(header)
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, "model.safetensors", file(string(text), int(end)))
	write(t, dir, "config.json", read(t, testdata("qwen3"), "config.json"))
	if m := mustOpen(t, dir); m.Config.DType != Float32 || len(m.Weights.Embed.Data) != 320*64*4 {
		t.Errorf("float32: opened as %s, embedding of %d bytes", m.Config.DType, len(m.Weights.Embed.Data))
	}
}

func TestOpenUnsupported(t *testing.T) {
	dir := checkpoint(t, "qwen3")
	write(t, dir, "config.json", []byte(with(`"architectures": ["MambaForCausalLM"]`)))
	if _, err := Open(dir, true); !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), "MambaForCausalLM") {
		t.Errorf("got %v", err)
	}
}

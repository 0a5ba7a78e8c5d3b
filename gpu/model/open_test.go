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
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/troupe-llm/troupe/gpu/program"
)

// base is a Qwen3 configuration that tests bend.
const base = `{"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "vocab_size": 1000, "hidden_size": 256, "intermediate_size": 512,
  "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 64, "max_position_embeddings": 8192,
  "rms_norm_eps": 1e-6, "hidden_act": "silu", "rope_theta": 1000000, "eos_token_id": 7}`

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
		name, architecture string
		vocab              int
		bos                int32
		eos                []int32
		weights            int  // slots
		own                bool // a head that is not the embedding
	}{
		{"qwen3", "Qwen3ForCausalLM", 320, -1, []int32{2, 0}, 2*8 + 3, false},
		{"qwen3-sharded", "Qwen3ForCausalLM", 320, -1, []int32{2}, 2*8 + 3, true},
		{"qwen3moe", "Qwen3MoeForCausalLM", 320, -1, []int32{2}, 2*9 + 3, false},
		{"qwen2", "Qwen2ForCausalLM", 320, -1, []int32{2}, 2*7 + 3, false},
		{"llama3", "LlamaForCausalLM", 320, 1, []int32{3}, 2*6 + 3, true},
		{"mistral", "MistralForCausalLM", 384, 1, []int32{2}, 2*6 + 3, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := mustOpen(t, testdata(tc.name))
			c := &m.Config
			if m.Name != tc.name || c.Architecture != tc.architecture || c.Vocab != tc.vocab || c.MaxPositions != 2048 || c.DType != BFloat16 ||
				c.BOS != tc.bos || !slices.Equal(c.EOS, tc.eos) || len(c.Notes) > 0 || len(c.Program.Weights) != tc.weights {
				t.Errorf("%s: got %+v with %d weights", m.Name, c, len(c.Program.Weights))
			}
			head := c.Program.Weights[tc.weights-1]
			if head.Role != "head" || (m.Shared(head) == head) != tc.own {
				t.Errorf("%s is filled as %s", head.Name, m.Shared(head).Name)
			}
			if _, err := fs.Stat(m.Files, "tokenizer.json"); err != nil {
				t.Error(err)
			}
			checkWeights(t, m)
		})
	}
}

// checkWeights holds what fills slots against what random weights look like.
func checkWeights(t *testing.T, m *Model) {
	for _, w := range m.Config.Program.Weights {
		slot := m.Weights.Of(w)
		row, sum, n := make([]float32, w.In()), 0.0, 0
		for out := range w.Out() * w.Experts() {
			src, i := slot.Row(out)
			src.Read(i, row)
			raw := src.Bytes(i, 1)
			for j, v := range row {
				if bits := binary.LittleEndian.Uint16(raw[2*j:]); FromBF16(bits) != v {
					t.Fatalf("%s: element %d of row %d is %v and, as it lies in the file, %v", w.Name, j, out, v, FromBF16(bits))
				}
				sum += float64(v) * float64(v)
			}
			n += len(row)
		}
		if rms := math.Sqrt(sum / float64(n)); !(rms > 0.05 && rms < 2) || int64(n) != w.Elements() {
			t.Errorf("%s: root mean square %v of %d: not the weights", w.Name, rms, n)
		}
	}
}

// Of slots that are made of several tensors each row is that tensor's.
func TestSlotsOfSeveralTensors(t *testing.T) {
	m := mustOpen(t, testdata("qwen3moe"))
	for _, tc := range []struct {
		slot   string
		out    int
		tensor string
		row    int
	}{
		{"layers.1.qkv", 255, "model.layers.1.self_attn.q_proj.weight", 255},
		{"layers.1.qkv", 256, "model.layers.1.self_attn.k_proj.weight", 0},
		{"layers.0.qkv", 511, "model.layers.0.self_attn.v_proj.weight", 127},
		{"layers.1.experts_gate_up", 3*80 + 45, "model.layers.1.mlp.experts.3.up_proj.weight", 5},
		{"layers.1.experts_down", 7*64 + 9, "model.layers.1.mlp.experts.7.down_proj.weight", 9},
	} {
		at := slices.IndexFunc(m.Config.Program.Weights, func(w *program.Weight) bool { return w.Name == tc.slot })
		src, i := m.Weights.Of(m.Config.Program.Weights[at]).Row(tc.out)
		if src.Tensor.Name != tc.tensor || src.Row(i) != tc.row {
			t.Errorf("output %d of %s is row %d of %s, want %d of %s", tc.out, tc.slot, src.Row(i), src.Tensor.Name, tc.row, tc.tensor)
		}
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
	for i, w := range m.Config.Program.Weights {
		mapped := want.Weights.Of(want.Config.Program.Weights[i])
		for j, src := range m.Weights.Of(w).Sources {
			if !bytes.Equal(src.Tensor.Data, mapped.Sources[j].Tensor.Data) {
				t.Errorf("%s differs from the mapped one", src.Tensor.Name)
			}
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
		}), []string{`tensor "model.norm.weight" is I16, want BF16, F16, F32 or F8_E4M3`}},
		{
			"config says more layers", "llama3", replace("config.json", `"num_hidden_layers": 2`, `"num_hidden_layers": 40`),
			[]string{"DIR: 342 faults", `tensor "model.layers.2.input_layernorm.weight" is missing`, "and 330 more"},
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

// A head beside a tied embedding is used, as transformers does, unless it is the
// same. Tensors that no architecture asks for are let be.
func TestOpenTied(t *testing.T) {
	dir := checkpoint(t, "llama3")
	config := read(t, dir, "config.json")
	tie := func(dir string) *Model {
		write(t, dir, "config.json", bytes.Replace(config, []byte(`"tie_word_embeddings": false`), []byte(`"tie_word_embeddings": true`), 1))
		return mustOpen(t, dir)
	}
	tensorOf := func(m *Model) string {
		return m.Weights.Of(m.Config.Program.Weights[len(m.Config.Program.Weights)-1]).Sources[0].Tensor.Name
	}
	if got := tensorOf(tie(dir)); got != "lm_head.weight" {
		t.Errorf("with a head of its own: the head is %s", got)
	}
	editHeader(t, dir, "model.safetensors", func(h map[string]headerEntry) {
		h["lm_head.weight.old"] = h["lm_head.weight"]
		delete(h, "lm_head.weight")
	})
	m := tie(dir)
	if got := tensorOf(m); got != "model.embed_tokens.weight" {
		t.Errorf("without one: the head is %s", got)
	}
	all := m.WeightBytes(HeldAs(BFloat16))
	if got := mustOpen(t, testdata("llama3")).WeightBytes(HeldAs(BFloat16)) - all; got != 2*320*64 {
		t.Errorf("a head of its own takes %d bytes more", got)
	}

	// The very same numbers are shared.
	dir = checkpoint(t, "llama3")
	data := read(t, dir, "model.safetensors")
	m = mustOpen(t, dir)
	embed, head := m.Weights.slots[m.Config.Program.Weights[0]].Sources[0].Tensor.Data, tensorData(m, "lm_head.weight")
	write(t, dir, "model.safetensors", bytes.Replace(data, head, embed, 1))
	if got := tensorOf(tie(dir)); got != "model.embed_tokens.weight" {
		t.Errorf("with the embedding as its head: the head is %s", got)
	}
}

func tensorData(m *Model, name string) []byte {
	for _, s := range m.Weights.slots {
		for _, src := range s.Sources {
			if src.Tensor.Name == name {
				return bytes.Clone(src.Tensor.Data)
			}
		}
	}
	return nil
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
		if m := mustOpen(t, dir); m.Config.DType != want || m.Weights.Of(m.Config.Program.Weights[1]).Sources[0].Tensor.Encoding != Plain(want) {
			t.Errorf("%s: opened as %s", name, m.Config.DType)
		}
	}

	dir := t.TempDir()
	c := mustOpen(t, testdata("qwen3")).Config
	header, end := map[string]any{}, int64(0)
	for _, w := range c.Program.Weights[:len(c.Program.Weights)-1] { // the head is tied
		for _, p := range w.Parts {
			size := Plain(Float32).Bytes(p.Shape)
			header[p.Tensor] = map[string]any{"dtype": "F32", "shape": p.Shape, "data_offsets": []int64{end, end + size}}
			end += size
		}
	}
	text, err := json.Marshal(header)
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, "model.safetensors", file(string(text), int(end)))
	write(t, dir, "config.json", read(t, testdata("qwen3"), "config.json"))
	if m := mustOpen(t, dir); m.Config.DType != Float32 {
		t.Errorf("float32: opened as %s", m.Config.DType)
	}
}

func TestOpenUnsupported(t *testing.T) {
	dir := checkpoint(t, "qwen3")
	write(t, dir, "config.json", []byte(strings.Replace(base, "Qwen3ForCausalLM", "MambaForCausalLM", 1)))
	if _, err := Open(dir, true); !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), "MambaForCausalLM") {
		t.Errorf("got %v", err)
	}
}

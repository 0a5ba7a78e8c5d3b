package modeltest

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"maps"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/troupe-llm/troupe/gpu/internal/gguf"
	"github.com/troupe-llm/troupe/gpu/model"
)

// conversion is what llama.cpp's converter (convert_hf_to_gguf.py of October 2026,
// --outtype bf16) makes of a checkpoint of ours, less the tokenizer: metadata, and each
// tensor's name, type, shape and the first bytes of SHA-256 of its data, or numbers
// that come from config.json.
type conversion struct {
	// Config is what was changed in config.json before: GGUF has no keys for all of
	// it, and llama.cpp puts what published models have.
	Config   map[string]any
	Metadata map[string]map[string]any
	Tensors  [][4]any
}

// Converted writes a checkpoint as the GGUF file that llama.cpp makes of it: every byte
// of every tensor is held against that. With as, matrices become what it returns.
func (c Checkpoint) Converted(t testing.TB, as Matrices) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), filepath.Base(c.Dir)+".gguf")
	if err := os.WriteFile(path, c.GGUF(t, as).Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Conversions are the checkpoints that there are conversions of, those beside the
// repository where they are there.
func Conversions(t testing.TB) []Checkpoint {
	t.Helper()
	known := conversions(t)
	var list []Checkpoint
	for _, c := range append(All(t), Families(t)...) {
		to, is := known[c.Name]
		if !is {
			continue
		}
		if to.Config != nil {
			c.Dir = changed(t, c.Dir, to.Config)
		}
		list = append(list, c)
	}
	return list
}

// changed is a copy of a checkpoint with another configuration, without references'
// worth.
func changed(t testing.TB, dir string, config map[string]any) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), filepath.Base(dir))
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(to, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]any{}
	if err := json.Unmarshal(data, &all); err != nil {
		t.Fatal(err)
	}
	maps.Copy(all, config)
	if data, err = json.Marshal(all); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(to, "config.json"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	return to
}

func conversions(t testing.TB) map[string]conversion {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root(), "gpu", "model", "testdata", "gguf", "converted.json"))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]conversion{}
	if err := json.Unmarshal(data, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// GGUF is the file of Converted.
func (c Checkpoint) GGUF(t testing.TB, as Matrices) *GGUF {
	t.Helper()
	to := conversions(t)[c.Name]
	from := &source{t, c.Open(t), map[string]*model.Tensor{}, to.Metadata}
	from.index()
	g := &GGUF{}
	for key, v := range to.Metadata {
		for kind, x := range v {
			g.Set(key, typed(kind, x))
		}
	}
	for _, one := range to.Tensors {
		name, kind, shape := one[0].(string), one[1].(string), []int{}
		for _, d := range one[2].([]any) {
			shape = append(shape, int(d.(float64)))
		}
		values := []float32{}
		if list, given := one[3].([]any); given {
			for _, x := range list {
				values = append(values, float32(x.(float64)))
			}
		} else {
			values = from.tensor(name)
		}
		data, of := encode(kind, values)
		sum := sha256.Sum256(data)
		if want, is := one[3].(string); is && hex.EncodeToString(sum[:8]) != want {
			t.Fatalf("%s: tensor %s is not what llama.cpp makes of it", c.Name, name)
		}
		if as != nil && kind == "BF16" {
			of, data = as(name, shape, values)
		}
		g.Tensor(name, of, shape, data)
	}
	return g
}

// typed is a number of JSON as metadata's type.
func typed(kind string, x any) any {
	switch kind {
	case "uint32":
		return uint32(x.(float64))
	case "int32":
		return int32(x.(float64))
	case "float32":
		return float32(x.(float64))
	case "[int32":
		var list []int32
		for _, n := range x.([]any) {
			list = append(list, int32(n.(float64)))
		}
		return list
	case "[bool":
		var list []bool
		for _, b := range x.([]any) {
			list = append(list, b.(bool))
		}
		return list
	}
	return x
}

func encode(kind string, values []float32) (data []byte, of gguf.Type) {
	for _, v := range values {
		if kind == "BF16" {
			data = binary.LittleEndian.AppendUint16(data, model.ToBF16(v))
		} else {
			data = binary.LittleEndian.AppendUint32(data, math.Float32bits(v))
		}
	}
	return data, map[string]gguf.Type{"BF16": gguf.BF16, "F32": gguf.F32}[kind]
}

// source is a checkpoint that is converted.
type source struct {
	t        testing.TB
	m        *model.Model
	tensors  map[string]*model.Tensor // by Hugging Face's names
	metadata map[string]map[string]any
}

func (s *source) index() {
	for _, w := range s.m.Config.Program.Weights {
		slot := s.m.Weights.Of(w)
		for i := range slot.Sources {
			s.tensors[slot.Sources[i].Tensor.Name] = slot.Sources[i].Tensor
		}
	}
}

// of are the numbers of a tensor.
func (s *source) of(name string) (values []float32, shape []int) {
	t := s.tensors[name]
	switch {
	case t != nil && t.Encoding == model.Plain(model.BFloat16):
		for i := 0; i < len(t.Data); i += 2 {
			values = append(values, model.FromBF16(binary.LittleEndian.Uint16(t.Data[i:])))
		}
	case t != nil && t.Encoding == model.Plain(model.Float32):
		for i := 0; i < len(t.Data); i += 4 {
			values = append(values, math.Float32frombits(binary.LittleEndian.Uint32(t.Data[i:])))
		}
	default:
		s.t.Fatalf("no tensor %s of bfloat16 or float32", name)
	}
	return values, t.Shape
}

// whole are tensors of another name alone; "|" parts what families call them.
var whole = map[string]string{
	"attn_norm.weight": "input_layernorm.weight", "post_attention_norm.weight": "post_self_attn_layernorm.weight|post_attention_layernorm.weight",
	"ffn_norm.weight": "pre_feedforward_layernorm.weight|post_attention_layernorm.weight", "post_ffw_norm.weight": "post_feedforward_layernorm.weight|post_mlp_layernorm.weight",
	"attn_q.weight": "self_attn.q_proj.weight", "attn_k.weight": "self_attn.k_proj.weight", "attn_v.weight": "self_attn.v_proj.weight",
	"attn_q.bias": "self_attn.q_proj.bias", "attn_k.bias": "self_attn.k_proj.bias", "attn_v.bias": "self_attn.v_proj.bias",
	"attn_output.weight": "self_attn.o_proj.weight", "attn_output.bias": "self_attn.o_proj.bias", "attn_qkv.weight": "self_attn.qkv_proj.weight|linear_attn.in_proj_qkv.weight",
	"attn_q_norm.weight": "self_attn.q_norm.weight", "attn_k_norm.weight": "self_attn.k_norm.weight", "attn_sinks.weight": "self_attn.sinks",
	"attn_q_a.weight": "self_attn.q_a_proj.weight", "attn_q_a_norm.weight": "self_attn.q_a_layernorm.weight", "attn_q_b.weight": "self_attn.q_b_proj.weight",
	"attn_kv_a_mqa.weight": "self_attn.kv_a_proj_with_mqa.weight", "attn_kv_a_norm.weight": "self_attn.kv_a_layernorm.weight",
	"ffn_gate.weight": "mlp.gate_proj.weight", "ffn_up.weight": "mlp.up_proj.weight|mlp.gate_up_proj.weight", "ffn_down.weight": "mlp.down_proj.weight",
	"ffn_gate_inp.weight": "mlp.gate.weight|mlp.router.weight|block_sparse_moe.gate.weight", "ffn_gate_inp.bias": "mlp.router.bias",
	"exp_probs_b.bias":      "mlp.gate.e_score_correction_bias|block_sparse_moe.e_score_correction_bias",
	"ffn_gate_shexp.weight": "mlp.shared_experts.gate_proj.weight|mlp.shared_expert.gate_proj.weight", "ffn_up_shexp.weight": "mlp.shared_experts.up_proj.weight|mlp.shared_expert.up_proj.weight", "ffn_down_shexp.weight": "mlp.shared_experts.down_proj.weight|mlp.shared_expert.down_proj.weight",
	"ffn_down_exps.bias":        "mlp.experts.down_proj_bias",
	"ffn_gate_inp_shexp.weight": "mlp.shared_expert_gate.weight",
	"attn_gate.weight":          "linear_attn.in_proj_z.weight", "ssm_alpha.weight": "linear_attn.in_proj_a.weight", "ssm_beta.weight": "linear_attn.in_proj_b.weight",
	"ssm_conv1d.weight": "linear_attn.conv1d.weight", "ssm_a": "linear_attn.A_log", "ssm_dt.bias": "linear_attn.dt_bias", "ssm_norm.weight": "linear_attn.norm.weight",
	"ssm_out.weight": "linear_attn.out_proj.weight",
}

var block = regexp.MustCompile(`^blk\.(\d+)\.(.+)$`)

// tensor is one as llama.cpp's converter makes it.
func (s *source) tensor(name string) []float32 {
	family := s.metadata["general.architecture"]["string"].(string)
	if top, is := map[string]string{"token_embd.weight": "model.embed_tokens.weight", "output.weight": "lm_head.weight", "output_norm.weight": "model.norm.weight"}[name]; is {
		values, _ := s.of(top)
		return plusOne(values, lessOne(family) && name == "output_norm.weight")
	}
	m := block.FindStringSubmatch(name)
	layer, rest := "model.layers."+m[1]+".", m[2]
	for _, hf := range strings.Split(whole[rest], "|") {
		if s.tensors[layer+hf] == nil {
			continue
		}
		values, shape := s.of(layer + hf)
		if what := strings.TrimSuffix(strings.TrimSuffix(rest, ".weight"), ".bias"); (what == "attn_q" || what == "attn_k") && (family == "llama" || family == "granite" || family == "smollm3" || family == "mistral3") {
			heads := "attention.head_count"
			if what == "attn_k" {
				heads += "_kv"
			}
			return paired(values, shape[0], int(s.metadata[family+"."+heads]["uint32"].(float64)))
		}
		if lessOne(family) && strings.HasSuffix(rest, "norm.weight") && rest != "ssm_norm.weight" {
			return plusOne(values, true)
		}
		return s.tiled(values, rest, family)
	}
	switch what := strings.TrimSuffix(rest, ".weight"); what {
	case "attn_k_b", "attn_v_b":
		return s.expanding(layer, what == "attn_k_b", family)
	default:
		return s.experts(layer, what)
	}
}

// lessOne says that a family's norms are stored less one in checkpoints.
func lessOne(family string) bool { return family == "gemma3" || strings.HasPrefix(family, "qwen35") }

// tiled has value heads of recurrent layers take turns by their key head: in rows of what
// makes them, in columns of what takes them.
func (s *source) tiled(values []float32, rest, family string) []float32 {
	if !strings.HasPrefix(family, "qwen35") {
		return values
	}
	number := func(key string) int { return int(s.metadata[family+".ssm."+key]["uint32"].(float64)) }
	keys, heads := number("group_count"), number("time_step_rank")
	width, hidden := number("inner_size")/heads, int(s.metadata[family+".embedding_length"]["uint32"].(float64))
	turned := func(values []float32, each int) (out []float32) { // heads of so many numbers
		for h := range heads {
			from := h%keys*(heads/keys) + h/keys
			out = append(out, values[from*each:][:each]...)
		}
		return out
	}
	before := 2 * keys * number("state_size")
	switch rest {
	case "attn_qkv.weight":
		return append(values[:before*hidden:before*hidden], turned(values[before*hidden:], width*hidden)...)
	case "ssm_conv1d.weight":
		before *= number("conv_kernel")
		return append(values[:before:before], turned(values[before:], width*number("conv_kernel"))...)
	case "attn_gate.weight":
		return turned(values, width*hidden)
	case "ssm_alpha.weight", "ssm_beta.weight":
		return turned(values, hidden)
	case "ssm_dt.bias":
		return turned(values, 1)
	case "ssm_out.weight":
		var out []float32
		for row := 0; row < len(values); row += heads * width {
			out = append(out, turned(values[row:][:heads*width], width)...)
		}
		return out
	}
	return values
}

func plusOne(values []float32, yes bool) []float32 {
	if yes {
		for i := range values {
			values[i]++
		}
	}
	return values
}

// paired has rows (i, i+n/2) of each head of n beside each other.
func paired(values []float32, rows, heads int) (out []float32) {
	width, head := len(values)/rows, rows/heads
	for r := range rows {
		from := r/head*head + r%head/2 + r%2*head/2
		out = append(out, values[from*width:][:width]...)
	}
	return out
}

// experts puts those of a layer one behind the other.
func (s *source) experts(layer, what string) (out []float32) {
	if s.tensors[layer+"mlp.experts.gate_up_proj"] != nil {
		return s.fused(layer, what)
	}
	names := map[string][]string{
		"ffn_gate_exps": {"mlp.experts.%.gate_proj", "block_sparse_moe.experts.%.w1"}, "ffn_up_exps": {"mlp.experts.%.up_proj", "block_sparse_moe.experts.%.w3"},
		"ffn_down_exps": {"mlp.experts.%.down_proj", "block_sparse_moe.experts.%.w2"},
	}[what]
	for _, n := range names {
		for i := 0; s.tensors[layer+strings.Replace(n, "%", strconv.Itoa(i), 1)+".weight"] != nil; i++ {
			values, _ := s.of(layer + strings.Replace(n, "%", strconv.Itoa(i), 1) + ".weight")
			out = append(out, values...)
		}
	}
	return out
}

// fused takes gpt-oss' experts apart, which are [experts, in, out]; gates and ups take
// turns.
func (s *source) fused(layer, what string) (out []float32) {
	name, first, step := "gate_up_proj", 0, 2
	switch {
	case strings.HasPrefix(what, "ffn_down"):
		name, step = "down_proj", 1
	case strings.HasPrefix(what, "ffn_up"):
		first = 1
	}
	if strings.HasSuffix(what, ".bias") {
		values, _ := s.of(layer + "mlp.experts." + name + "_bias")
		for i := first; i < len(values); i += step {
			out = append(out, values[i])
		}
		return out
	}
	values, shape := s.of(layer + "mlp.experts." + name)
	for x := range shape[0] {
		for o := first; o < shape[2]; o += step {
			for i := range shape[1] {
				out = append(out, values[(x*shape[1]+i)*shape[2]+o])
			}
		}
	}
	return out
}

// expanding are latent attention's matrices of each head, that for keys transposed.
func (s *source) expanding(layer string, keys bool, family string) (out []float32) {
	number := func(key string) int { return int(s.metadata[family+"."+key]["uint32"].(float64)) }
	values, shape := s.of(layer + "self_attn.kv_b_proj.weight")
	rank, heads, value := shape[1], number("attention.head_count"), number("attention.value_length_mla")
	nope := shape[0]/heads - value
	for h := range heads {
		at := func(row, column int) float32 { return values[(h*(nope+value)+row)*rank+column] }
		if !keys {
			for r := range value * rank {
				out = append(out, at(nope+r/rank, r%rank))
			}
			continue
		}
		for r := range rank * nope {
			out = append(out, at(r%nope, r/nope))
		}
	}
	return out
}

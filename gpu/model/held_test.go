package model

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/troupe-llm/troupe/gpu/program"
)

// Every E4M3 is itself again, what lies between two becomes the nearer, of a tie the
// even one, and what is beyond the most.
func TestToFloat8(t *testing.T) {
	for b := range 256 {
		v := float8[b]
		if got := ToFloat8(v); got != byte(b) {
			t.Errorf("%v becomes %#x, want %#x", v, got, b)
		}
		if next := b + 1; b&127 < 126 {
			middle := (v + float8[next]) / 2
			want := byte(b + b&1)
			if got := ToFloat8(middle); got != want {
				t.Errorf("%v, between %v and %v, becomes %v", middle, v, float8[next], float8[got])
			}
			if got := ToFloat8(math.Nextafter32(middle, v)); got != byte(b) {
				t.Errorf("near %v: %v", v, float8[got])
			}
			if got := ToFloat8(math.Nextafter32(middle, float8[next])); got != byte(next) {
				t.Errorf("near %v: %v", float8[next], float8[got])
			}
		}
	}
	for v, want := range map[float32]byte{1e9: 0x7e, -1e9: 0xfe, float32(math.Inf(1)): 0x7e, 449: 0x7e, 1e-30: 0} {
		if got := ToFloat8(v); got != want {
			t.Errorf("%v becomes %#x, want %#x", v, got, want)
		}
	}
}

// A row is off by a sixteenth of each number at most, or by half of the smallest
// step.
func TestQuantize(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, size := range []float64{1, 1e-6, 1e6, 0} {
		row, codes := make([]float32, 100), make([]byte, 100)
		for i := range row {
			row[i] = float32(size * r.NormFloat64())
		}
		scale := Quantize(row, codes)
		for i, v := range row {
			got := float64(float8[codes[i]]) * float64(scale)
			if d := math.Abs(got - float64(v)); !(d <= math.Abs(float64(v))/16*1.0001+float64(scale)/1024) {
				t.Errorf("%v becomes %v, by %v", v, got, scale)
			}
		}
	}
}

// Projections are held in FP8 as they are where their codes lie so that products
// take them; else as values, or quantised where that is asked for.
func TestHeldInFP8(t *testing.T) {
	const in, out = 256, 512
	tensor := func(e Encoding, rows, columns int) *Tensor {
		t := &Tensor{Encoding: e, Shape: []int{rows, columns}}
		elements, scales, _ := e.sizes(t.Shape)
		t.Data, t.Scales = make([]byte, elements), make([]byte, scales)
		for i := range t.Data {
			t.Data[i] = byte(i * 7 % 127)
		}
		for i := 0; i < len(t.Scales); i += 4 {
			binary.LittleEndian.PutUint32(t.Scales[i:], math.Float32bits(float32(1+i)))
		}
		return t
	}
	byTensor := Encoding{Element: Float8, Scale: Float32}
	halves := func(a, b Encoding, rows int) []Source {
		return []Source{
			{Part: program.Whole("", rows, in), Tensor: tensor(a, rows, in)}, {Part: program.Whole("", out-rows, in), Tensor: tensor(b, out-rows, in)},
		}
	}
	turned := halves(byTensor, byTensor, 256)
	turned[1].Transposed = true
	shifted := halves(ByBlock(Float8), ByBlock(Float8), 256)
	shifted[1] = Source{Part: program.Some("", []int{out, in}, 256, 64, 256, 256), Tensor: tensor(ByBlock(Float8), out, in)}
	for name, c := range map[string]struct {
		sources []Source
		want    program.Codes
	}{
		"two tensors":            {halves(byTensor, byTensor, 100), program.CodesByOutput},
		"a tensor and outputs":   {halves(byTensor, ByOutput(Float8), 100), program.CodesByOutput},
		"blocks":                 {halves(ByBlock(Float8), ByBlock(Float8), 384), program.CodesByBlock},
		"blocks within blocks":   {halves(ByBlock(Float8), ByBlock(Float8), 100), program.NoCodes},
		"from within a block":    {shifted, program.NoCodes},
		"smaller blocks":         {halves(Encoding{Float8, Float32, 64, 64, NoZeros}, Encoding{Float8, Float32, 64, 64, NoZeros}, 256), program.NoCodes},
		"blocks and outputs":     {halves(ByBlock(Float8), ByOutput(Float8), 256), program.NoCodes},
		"one that is not":        {halves(byTensor, Plain(BFloat16), 256), program.NoCodes},
		"one that is transposed": {turned, program.NoCodes},
	} {
		m, w := projecting(t, in, out, c.sources)
		wide, others := HeldAs(BFloat16), m.Config.Program.Weights
		held := m.HeldInFP8(wide, false)
		if got := held.Codes(w); got != c.want {
			t.Errorf("%s: codes %d, want %d", name, got, c.want)
		}
		for _, o := range others {
			if o != w && held.Of(o) != wide.Of(o) {
				t.Errorf("%s: %s is held otherwise, too", name, o.Name)
			}
		}
		all := m.HeldInFP8(wide, true)
		if got := all.Codes(w); c.want == program.NoCodes && got != program.CodesByOutput || c.want != program.NoCodes && got != c.want {
			t.Errorf("%s, when all are asked for: codes %d", name, got)
		}
		if c.want == program.NoCodes {
			continue
		}
		// Codes and scales are those of the values.
		values, codes, scales := make([]float32, in), make([]byte, in), make([]float32, 2)
		for row := range out {
			s, i := m.Weights.Of(w).Row(row)
			s.Read(i, values)
			s.Codes(i, 1, codes)
			s.Scales(i, scales)
			for j, v := range values {
				scale := scales[0]
				if c.want == program.CodesByBlock {
					scale = scales[j/128]
				}
				if got := float8[codes[j]] * scale; got != v {
					t.Fatalf("%s: element %d of row %d is %v, want %v", name, j, row, got, v)
				}
			}
		}
	}
}

// Routers, the head, embeddings and experts are no projections, whoever shares them.
func TestProjections(t *testing.T) {
	for name, want := range map[string][]string{
		"qwen3-0.6b":    {"qkv", "o", "gate_up", "down"},
		"qwen3-30b-a3b": {"qkv", "o"},
	} {
		m, err := Open(name, true)
		if err != nil {
			t.Fatal(err)
		}
		share, err := m.Share(1, 2)
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range share.Config.Program.Projections() {
			if !slices.Contains(want, w.Role) {
				t.Errorf("%s: %s is a projection of what one of two ranks has", name, w.Name)
			}
		}
		var roles []string
		for _, w := range m.Config.Program.Projections() {
			if !slices.Contains(roles, w.Role) {
				roles = append(roles, w.Role)
			}
		}
		if !slices.Equal(roles, want) {
			t.Errorf("%s: %v, want %v", name, roles, want)
		}
		held := m.HeldInFP8(HeldAs(BFloat16), true)
		for _, w := range m.Config.Program.Projections() {
			if held.Codes(w) != program.CodesByOutput {
				t.Errorf("%s: %s is not in FP8", name, w.Name)
			}
		}
	}
}

// What quantises weights may be said beside config.json alone; config.json comes
// before it.
func TestQuantizationFile(t *testing.T) {
	const config = `{"architectures": ["LlamaForCausalLM"], "num_hidden_layers": 1, "hidden_size": 128, "intermediate_size": 256, "num_attention_heads": 2,
		"vocab_size": 32, "max_position_embeddings": 64%s}`
	for _, tc := range []struct{ more, beside, want string }{
		{"", `{"producer": {"name": "modelopt"}, "quantization": {"quant_algo": "FP8", "kv_cache_quant_algo": "FP8", "exclude_modules": ["lm_head"]}}`, "fp8"},
		{`, "quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": 32}`, `{"quantization": {"quant_algo": "FP8"}}`, "gptq"},
		{"", `{"quantization": {"quant_algo": "NVFP4"}}`, `quant_algo "NVFP4" is not supported`},
		{"", `{"producer": {}}`, "hf_quant_config.json: quantization is missing"},
		{"", `{"quantization": 1}`, "hf_quant_config.json: quantization is a number, want an object"},
	} {
		files := fstest.MapFS{
			"config.json":          {Data: fmt.Appendf(nil, config, tc.more)},
			"hf_quant_config.json": {Data: []byte(tc.beside)},
		}
		m, err := open(&source{name: "dir", fsys: files}, "m", true)
		if err != nil {
			if !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v, want %q", err, tc.want)
			}
			continue
		}
		if got := string(m.Config.Scheme.Method); got != tc.want {
			t.Errorf("%s: %q, want %q", tc.beside, got, tc.want)
		}
	}
}

// projecting is a model with one projection, of a checkpoint.
func projecting(t *testing.T, in, out int, sources []Source) (*Model, *program.Weight) {
	t.Helper()
	b := program.NewBuilder()
	weight := func(name string, shape ...int) *program.Weight {
		return &program.Weight{Name: name, Shape: shape, Parts: []program.Part{program.Whole("", shape...)}}
	}
	w := weight("w", out, in)
	b.Head(b.Product(b.Embed(weight("table", 16, in), 1), w), weight("norm", out), weight("head", 16, out), 1e-6)
	p, err := b.Done()
	if err != nil {
		t.Fatal(err)
	}
	return &Model{Config: Config{Program: p}, Weights: NewWeights(&Slot{Weight: w, Sources: sources})}, w
}

// Projections are held in 4 bits as they are where their groups are such that products
// take them; else as values, or rounded where that is asked for.
func TestHeldInInt4(t *testing.T) {
	const in, out = 256, 64
	of := func(d DType, group int) Encoding {
		return Encoding{Element: d, Scale: Float16, Rows: 1, Columns: group}
	}
	tensor := func(e Encoding, rows int) *Tensor { return &Tensor{Encoding: e, Shape: []int{rows, in}} }
	two := func(a, b Encoding, rows int) []Source {
		return []Source{{Part: program.Whole("", rows, in), Tensor: tensor(a, rows)}, {Part: program.Whole("", out-rows, in), Tensor: tensor(b, out-rows)}}
	}
	ordered := func(each int, second byte) []Source {
		list := two(of(GPTQ4, 64), of(GPTQ4, 64), 32)
		for i := range list {
			groups := make([]byte, 4*in)
			for k := range in {
				groups[4*k] = byte(k % (in / each))
			}
			groups[0], groups[4] = groups[0]^byte(i)*second, groups[4]^byte(i)*second
			list[i].Tensor.Groups = groups
		}
		return list
	}
	turned := two(of(GPTQ4, 64), of(GPTQ4, 64), 32)
	turned[1].Transposed = true
	for name, c := range map[string]struct {
		sources []Source
		want    int // inputs of a group; 0: not as they are
	}{
		"alike":                {two(of(GPTQ4, 32), of(Packed4, 32), 16), 32},
		"by output":            {two(of(AWQ4, 0), of(AWQ4, 0), 16), 128},
		"groups of two others": {two(of(GPTQ4, 256), of(GPTQ4, 128), 16), 128},
		"unlike":               {two(of(GPTQ4, 32), of(GPTQ4, 64), 16), 0},
		"small groups":         {two(of(GPTQ4, 16), of(GPTQ4, 16), 16), 0},
		"8 bits":               {two(of(GPTQ8, 64), of(GPTQ8, 64), 16), 0},
		"within 16 outputs":    {two(of(GPTQ4, 64), of(GPTQ4, 64), 24), 0},
		"one transposed":       {turned, 0},
		"one that is not":      {two(of(GPTQ4, 64), Plain(BFloat16), 16), 0},
		"ordered alike":        {ordered(64, 0), 64},
		"ordered otherwise":    {ordered(64, 1), 0},
		"groups of any size":   {ordered(32, 0), 0},
	} {
		m, w := projecting(t, in, out, c.sources)
		wide := HeldAs(BFloat16)
		held := m.HeldInInt4(wide, false)
		if got := held.Of(w); c.want == 0 && got != wide.Matrix || c.want > 0 && (got != InGroups(Int4, c.want) || held.Codes(w) != program.CodesInGroups) {
			t.Errorf("%s: held as %v of %d inputs, want groups of %d", name, got, got.Columns, c.want)
		}
		want := c.want
		if want == 0 && name != "within 16 outputs" {
			want = GroupOfInt4
		}
		if all := m.HeldInInt4(m.HeldInFP8(wide, false), true).Of(w); want > 0 && all != InGroups(Int4, want) || want == 0 && all != wide.Matrix {
			t.Errorf("%s, when all are asked for: %v of %d inputs", name, all, all.Columns)
		}
	}
}

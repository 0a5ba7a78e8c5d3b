package model

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// piece is a tensor of a file.
type piece struct {
	dtype string
	shape []int
	data  []byte
}

// quantised is a checkpoint that a test makes, with the numbers that it stands for
// by the program's names.
type quantised struct {
	config string
	pieces map[string]piece
	values map[string][]float32
}

const (
	smallQwen = `"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "vocab_size": 10, "hidden_size": 64, "intermediate_size": 96,
		"num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 32, "max_position_embeddings": 64`
	smallOSS = `"architectures": ["GptOssForCausalLM"], "model_type": "gpt_oss", "vocab_size": 10, "hidden_size": 64, "intermediate_size": 32,
		"num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 32, "max_position_embeddings": 64,
		"num_local_experts": 3, "num_experts_per_tok": 2, "rope_theta": 10000`
	smallMoE = `"architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "vocab_size": 10, "hidden_size": 64, "intermediate_size": 96,
		"num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 32, "max_position_embeddings": 64,
		"num_experts": 3, "num_experts_per_tok": 2, "moe_intermediate_size": 32`
	packGroup = `{"quant_method": "compressed-tensors", "format": "pack-quantized", "config_groups": {"a": {"weights": {"type": "int", %s}}}}`
)

// packers make matrices in every format, bit by bit as its tool describes it, of
// random numbers.
var packers = map[string]struct {
	config string
	pack   func(p *packer)
}{
	"fp8 by tensor":  {`{"quant_method": "modelopt", "quant_algo": "FP8"}`, func(p *packer) { p.fp8("weight_scale", p.out, p.in) }},
	"fp8 by channel": {`{"quant_method": "fp8"}`, func(p *packer) { p.fp8("weight_scale", 1, p.in, p.out, 1) }},
	"fp8 by output":  {`{"quant_method": "fp8"}`, func(p *packer) { p.fp8("weight_scale", 1, p.in, p.out) }},
	"fp8 by blocks": {`{"quant_method": "fp8", "weight_block_size": [48, 40]}`, func(p *packer) {
		p.fp8("weight_scale_inv", 48, 40, (p.out+47)/48, (p.in+39)/40)
	}},
	"gptq":              {`{"quant_method": "gptq", "bits": 4, "group_size": 32, "sym": false}`, func(p *packer) { p.gptq(4, 32, 1, false) }},
	"gptq reordered":    {`{"quant_method": "gptq", "bits": 4, "group_size": 32, "sym": false, "desc_act": true}`, func(p *packer) { p.gptq(4, 32, 1, true) }},
	"gptq_v2 of 8 bits": {`{"quant_method": "gptq", "bits": 8, "group_size": -1, "sym": false, "checkpoint_format": "gptq_v2"}`, func(p *packer) { p.gptq(8, p.in, 0, false) }},
	"awq":               {`{"quant_method": "awq", "bits": 4, "group_size": 32}`, (*packer).awq},
	"pack":              {fmt.Sprintf(packGroup, `"num_bits": 4, "strategy": "group", "group_size": 32`), func(p *packer) { p.packed(4, 32, false, false) }},
	"pack with zero points": {
		fmt.Sprintf(packGroup, `"num_bits": 4, "strategy": "group", "group_size": 32, "symmetric": false, "actorder": "group"`),
		func(p *packer) { p.packed(4, 32, true, true) },
	},
	"pack of 8 bits": {fmt.Sprintf(packGroup, `"num_bits": 8, "strategy": "channel"`), func(p *packer) { p.packed(8, p.in, false, false) }},
	"mxfp4":          {`{"quant_method": "mxfp4"}`, (*packer).mxfp4},
	"fp8 by blocks of experts": {`{"quant_method": "fp8", "weight_block_size": [48, 40]}`, func(p *packer) {
		p.fp8("weight_scale_inv", 48, 40, (p.out+47)/48, (p.in+39)/40)
	}},
	"awq of experts": {`{"quant_method": "awq", "bits": 4, "group_size": 32}`, (*packer).awq},
}

// packer makes one matrix, or one for each expert.
type packer struct {
	*rand.Rand
	name         string // without "weight"
	lead         []int  // experts
	out, in      int
	pieces       map[string]piece
	values       []float32
	zeros, scale [][]float32 // [group][out]
	group        []int       // of each input
}

// put sets n bits of words, which are where they begin.
func put(words []byte, word, shift int, v uint32) {
	at := words[4*word:]
	binary.LittleEndian.PutUint32(at, binary.LittleEndian.Uint32(at)|v<<shift)
}

func (p *packer) add(suffix, dtype string, data []byte, shape ...int) {
	p.pieces[p.name+suffix] = piece{dtype, shape, data}
}

func (p *packer) fp8(scale string, rows, columns int, shape ...int) {
	blocksIn := (p.in + columns - 1) / columns
	scales := make([]float32, (p.out+rows-1)/rows*blocksIn)
	var bytes []byte
	for i := range scales {
		scales[i] = 0.01 + p.Float32()
		bytes = binary.LittleEndian.AppendUint32(bytes, math.Float32bits(scales[i]))
	}
	data := make([]byte, p.out*p.in)
	for i := range data {
		b := byte(p.IntN(256))
		if b&127 == 127 {
			b--
		}
		data[i] = b
		v := float64(b & 7)
		if exponent := int(b >> 3 & 15); exponent > 0 {
			v = (8 + v) * math.Pow(2, float64(exponent-10))
		} else {
			v = v / 512
		}
		if b > 127 {
			v = -v
		}
		p.values = append(p.values, float32(v)*scales[i/p.in/rows*blocksIn+i%p.in/columns])
	}
	if shape == nil {
		shape = []int{}
	}
	p.add("weight", "F8_E4M3", data, p.out, p.in)
	p.add(scale, "F32", bytes, shape...)
}

// grouped draws scales, zero points and groups, and then numbers.
func (p *packer) grouped(bits, each int, zeros, reorder bool, put func(out, in int, v uint32)) {
	groups := p.in / each
	for g := range groups {
		p.scale, p.zeros = append(p.scale, nil), append(p.zeros, nil)
		for range p.out {
			z := 1 << (bits - 1)
			if zeros {
				z = 1 + p.IntN(1<<bits-1)
			}
			p.zeros[g] = append(p.zeros[g], float32(z))
			p.scale[g] = append(p.scale[g], float32(1+p.IntN(2000))/1024)
		}
	}
	for c := range p.in {
		p.group = append(p.group, c/each)
	}
	if reorder {
		p.Shuffle(p.in, func(i, j int) { p.group[i], p.group[j] = p.group[j], p.group[i] })
	}
	for o := range p.out {
		for c := range p.in {
			v := p.IntN(1 << bits)
			put(o, c, uint32(v))
			p.values = append(p.values, (float32(v)-p.zeros[p.group[c]][o])*p.scale[p.group[c]][o])
		}
	}
}

func (p *packer) gptq(bits, each, less int, reorder bool) {
	n, groups := 32/bits, p.in/each
	words := make([]byte, 4*p.in/n*p.out)
	p.grouped(bits, each, true, reorder, func(o, c int, v uint32) { put(words, c/n*p.out+o, c%n*bits, v) })
	zeros := make([]byte, 4*groups*p.out/n)
	for g, line := range p.zeros {
		for o, z := range line {
			put(zeros, g*p.out/n+o/n, o%n*bits, uint32(int(z)-less))
		}
	}
	p.add("qweight", "I32", words, p.in/n, p.out)
	p.add("qzeros", "I32", zeros, groups, p.out/n)
	p.add("scales", "F32", p.floats(p.scale), groups, p.out)
	p.add("g_idx", "I32", p.index(), p.in)
}

func (p *packer) awq() {
	lanes := []int{0, 4, 1, 5, 2, 6, 3, 7} // of outputs 0 to 7
	words := make([]byte, p.in*p.out/2)
	p.grouped(4, 32, true, false, func(o, c int, v uint32) { put(words, c*p.out/8+o/8, 4*lanes[o%8], v) })
	zeros := make([]byte, p.in/32*p.out/2)
	for g, line := range p.zeros {
		for o, z := range line {
			put(zeros, g*p.out/8+o/8, 4*lanes[o%8], uint32(z))
		}
	}
	p.add("qweight", "I32", words, p.in, p.out/8)
	p.add("qzeros", "I32", zeros, p.in/32, p.out/8)
	p.add("scales", "F32", p.floats(p.scale), p.in/32, p.out)
}

func (p *packer) packed(bits, each int, zeros, reorder bool) {
	n, groups := 32/bits, p.in/each
	words := make([]byte, 4*p.out*p.in/n)
	p.grouped(bits, each, zeros, reorder, func(o, c int, v uint32) { put(words, o*p.in/n+c/n, c%n*bits, v) })
	p.add("weight_packed", "I32", words, p.out, p.in/n)
	var scales []float32
	points := make([]byte, 4*p.out/n*groups)
	for o := range p.out {
		for g := range groups {
			scales = append(scales, p.scale[g][o])
			put(points, o/n*groups+g, o%n*bits, uint32(p.zeros[g][o]))
		}
	}
	p.add("weight_scale", "F32", p.floats([][]float32{scales}), p.out, groups)
	shape := binary.LittleEndian.AppendUint64(nil, uint64(p.out))
	p.add("weight_shape", "I64", binary.LittleEndian.AppendUint64(shape, uint64(p.in)), 2)
	if zeros {
		p.add("weight_zero_point", "I32", points, p.out/n, groups)
	}
	if reorder {
		p.add("weight_g_idx", "I32", p.index(), p.in)
	}
}

func (p *packer) mxfp4() {
	numbers := []float32{0, .5, 1, 1.5, 2, 3, 4, 6}
	n := p.out * p.in * p.lead[0]
	data, scales := make([]byte, n/2), make([]byte, n/32)
	for i := range scales {
		scales[i] = byte(120 + p.IntN(10))
	}
	for i := range n {
		v := p.IntN(16)
		data[i/2] |= byte(v << (i % 2 * 4))
		value := numbers[v%8] * float32(math.Pow(2, float64(scales[i/32])-127))
		if v > 7 {
			value = -value
		}
		p.values = append(p.values, value)
	}
	p.add("_blocks", "U8", data, p.lead[0], p.out, p.in/32, 16)
	p.add("_scales", "U8", scales, p.lead[0], p.out, p.in/32)
}

func (p *packer) floats(rows [][]float32) (data []byte) {
	for _, v := range slices.Concat(rows...) {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(v))
	}
	return data
}

func (p *packer) index() (data []byte) {
	for _, g := range p.group {
		data = binary.LittleEndian.AppendUint32(data, uint32(g))
	}
	return data
}

// quantise makes a checkpoint in a format.
func quantise(t testing.TB, format string, r *rand.Rand) *quantised {
	t.Helper()
	fields := smallQwen
	switch {
	case format == "mxfp4":
		fields = smallOSS
	case strings.HasSuffix(format, "of experts"):
		fields = smallMoE
	}
	q := &quantised{"{" + fields + `, "quantization_config": ` + packers[format].config + "}", map[string]piece{}, map[string][]float32{}}
	c, err := ParseConfig([]byte(q.config), "config.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range c.Program.Weights {
		for _, part := range w.Parts {
			if q.values[part.Tensor] != nil {
				continue
			}
			n := len(part.Shape)
			p := &packer{Rand: r, name: strings.TrimSuffix(part.Tensor, "weight"), pieces: q.pieces, in: part.Shape[n-1]}
			if n > 1 {
				p.lead, p.out = part.Shape[:n-2], part.Shape[n-2]
			}
			if linear := strings.HasSuffix(part.Tensor, "_proj.weight"); linear && format != "mxfp4" || n == 3 {
				packers[format].pack(p)
			} else {
				for range int(Plain(Int8).Bytes(part.Shape)) {
					p.values = append(p.values, r.Float32())
				}
				q.pieces[part.Tensor] = piece{"F32", part.Shape, p.floats([][]float32{p.values})}
			}
			q.values[part.Tensor] = p.values
		}
	}
	return q
}

// open writes the checkpoint and opens it.
func (q *quantised) open() (*Model, error) {
	return open(&source{name: "m", fsys: fstest.MapFS{"config.json": {Data: []byte(q.config)}, singleFile: {Data: q.file()}}}, "m", false)
}

func (q *quantised) file() []byte {
	header, body := map[string]headerEntry{}, []byte{}
	for _, name := range slices.Sorted(maps.Keys(q.pieces)) {
		p, begin := q.pieces[name], uint64(len(body))
		body = append(body, p.data...)
		header[name] = headerEntry{p.dtype, p.shape, []uint64{begin, uint64(len(body))}}
	}
	text, _ := json.Marshal(header)
	return append(append(binary.LittleEndian.AppendUint64(nil, uint64(len(text))), text...), body...)
}

// Every row of every slot is what its tensors were packed from, read alone or with
// others, whole or not, and as columns.
func TestQuantized(t *testing.T) {
	for format := range packers {
		t.Run(format, func(t *testing.T) {
			r := rand.New(rand.NewPCG(3, 1))
			q := quantise(t, format, r)
			m, err := q.open()
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Contains(Quantized, m.Config.DType) {
				t.Errorf("opened as %s", m.Config.DType)
			}
			for _, w := range m.Config.Program.Weights {
				for _, s := range m.Weights.Of(w).Sources {
					if err := s.Tensor.Check(); err != nil {
						t.Error(err)
					}
					if s.Step == 0 {
						q.check(t, r, s)
					}
				}
			}
		})
	}
}

// check holds what is read of a source against the packed values.
func (q *quantised) check(t *testing.T, r *rand.Rand, s Source) {
	t.Helper()
	rows, columns := s.Tensor.matrix()
	values := q.values[s.Part.Tensor][s.Slab*rows*columns:]
	for range 20 {
		first := r.IntN(s.Rows)
		n := 1 + r.IntN(min(s.Rows-first, 40))
		part := s
		part.Column = r.IntN(columns)
		width := 1 + r.IntN(columns-part.Column)
		at := func(i, c int) float32 { return values[part.Row(i)*columns+part.Column+c] }
		if r.IntN(4) == 0 && rows == columns {
			part.Transposed = true
			at = func(i, c int) float32 { return values[(part.Column+c)*columns+part.Row(i)] }
		}
		got := make([]float32, n*width)
		part.ReadRows(first, n, got)
		for i, v := range got {
			if want := at(first+i/width, i%width); v != want {
				t.Fatalf("%s: row %d, column %d+%d is %v, want %v (transposed %v)", s.Tensor.Name, first+i/width, part.Column, i%width, v, want, part.Transposed)
			}
		}
	}
}

// Numbers worked out by hand, format by format.
func TestDecode(t *testing.T) {
	words := func(list ...uint32) (data []byte) {
		for _, w := range list {
			data = binary.LittleEndian.AppendUint32(data, w)
		}
		return data
	}
	ones := words(0x3f800000, 0x40000000, 0x3f800000, 0x40000000, 0x3f800000, 0x40000000, 0x3f800000, 0x40000000) // 1 2 1 2 …
	group := Encoding{Element: Packed4, Scale: Float32, Rows: 1}
	of := func(d DType, z Zeros) Encoding {
		e := group
		e.Element, e.Zeros = d, z
		return e
	}
	for name, c := range map[string]struct {
		t    Tensor
		row  int
		want []float32
	}{
		"E4M3": {
			Tensor{Encoding: Encoding{Element: Float8, Scale: BFloat16}, Shape: []int{1, 8}, Data: []byte{0x00, 0x01, 0x08, 0x38, 0x7e, 0xb8, 0xfe, 0x3c}, Scales: []byte{0, 0x40}},
			0,
			[]float32{0, 0x1p-8, 0x1p-5, 2, 896, -2, -896, 3},
		},
		"MXFP4": {
			Tensor{
				Encoding: Encoding{Element: MXFP4, Scale: Exponent8, Rows: 1, Columns: 32}, Shape: []int{1, 32},
				Data: []byte{0x10, 0x32, 0x54, 0x76, 0x98, 0xba, 0xdc, 0xfe, 0, 0, 0, 0, 0, 0, 0, 0xf0}, Scales: []byte{128},
			},
			0, append([]float32{0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12}, append(make([]float32, 15), -12)...),
		},
		"packed": {Tensor{Encoding: group, Shape: []int{2, 8}, Data: words(0xfedcba98, 0x76543210), Scales: ones}, 1, []float32{-16, -14, -12, -10, -8, -6, -4, -2}},
		"packed with zero points": {
			Tensor{Encoding: of(Packed4, ZerosStored), Shape: []int{2, 8}, Data: words(0, 0x76543210), Scales: ones, Zeros: words(0x30)},
			1,
			[]float32{-6, -4, -2, 0, 2, 4, 6, 8},
		},
		"packed of 8 bits": {Tensor{Encoding: of(Packed8, NoZeros), Shape: []int{1, 4}, Data: words(0xff818000), Scales: ones}, 0, []float32{-128, 0, 1, 127}},
		"GPTQ": {
			Tensor{Encoding: of(GPTQ4, ZerosLessOne), Shape: []int{2, 8}, Data: words(0, 0x76543210), Scales: ones, Zeros: words(0x20)},
			1,
			[]float32{-6, -4, -2, 0, 2, 4, 6, 8},
		},
		"GPTQ v2": {
			Tensor{Encoding: of(GPTQ4, ZerosStored), Shape: []int{2, 8}, Data: words(0, 0x76543210), Scales: ones, Zeros: words(0x30)},
			1,
			[]float32{-6, -4, -2, 0, 2, 4, 6, 8},
		},
		"AWQ, output 1 in the fifth place": {
			Tensor{Encoding: of(AWQ4, ZerosStored), Shape: []int{8, 2}, Data: words(0x00050000, 0x00090000), Scales: ones, Zeros: words(0x00070000)},
			1,
			[]float32{-4, 4},
		},
	} {
		got := make([]float32, len(c.want))
		c.t.widen(got, 1, 0, c.row, 0)
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
	for b, want := range map[byte]float32{0: 0x1p-127, 1: 0x1p-126, 127: 1, 254: 0x1p127} {
		if got := fromE8M0(b); got != want {
			t.Errorf("E8M0 %d is %v, want %v", b, got, want)
		}
	}
	if v := fromE8M0(255); v == v || float8[127] == float8[127] || float8[255] == float8[255] {
		t.Error("what is no number is one")
	}
}

func TestQuantizedFaults(t *testing.T) {
	const q = "model.layers.0.self_attn.q_proj."
	drop := func(name string) func(*quantised) { return func(q *quantised) { delete(q.pieces, name) } }
	config := func(old, with string) func(*quantised) {
		return func(q *quantised) { q.config = strings.Replace(q.config, old, with, 1) }
	}
	edit := func(name string, f func(*piece)) func(*quantised) {
		return func(q *quantised) {
			p := q.pieces[name]
			p.data = slices.Clone(p.data)
			f(&p)
			q.pieces[name] = p
		}
	}
	retype := func(dtype string) func(*piece) { return func(p *piece) { p.dtype = dtype } }
	fill := func(b byte) func(*piece) {
		return func(p *piece) {
			for i := range p.data {
				p.data[i] = b
			}
		}
	}
	for _, tc := range []struct {
		format string
		bend   func(*quantised)
		want   string
	}{
		{"gptq", config(`"group_size": 32`, `"group_size": 16`), `tensor "` + q + `qzeros" has shape [2 8], want [4 8] for GPTQ int4 of [64 64] in groups of 16`},
		{"gptq", drop(q + "scales"), `tensor "` + q + `scales" is missing, want shape [2 64] for GPTQ int4 of [64 64] in groups of 32`},
		{"gptq", drop(q + "qzeros"), `tensor "` + q + `qzeros" is missing, want shape [2 8]`},
		{"gptq reordered", drop(q + "g_idx"), `tensor "` + q + `g_idx" is missing, want shape [64]`},
		{"gptq", edit(q+"g_idx", fill(9)), `tensor "` + q + `g_idx": input 0 is of group 151587081, there are 2`},
		{"gptq", edit(q+"g_idx", fill(255)), `tensor "` + q + `g_idx": input 0 is of group -1, there are 2`},
		{"gptq", drop(q + "qweight"), `tensor "` + q + `weight" is missing, want shape [64 64]`},
		{"gptq", edit(q+"qweight", retype("F32")), `tensor "` + q + `qweight" is F32, want I32`},
		{"gptq", config(`"bits": 4`, `"bits": 8`), `tensor "` + q + `qweight" has shape [8 64], want [16 64] for GPTQ int8`},
		{"gptq", config(`"sym": false`, `"sym": true, "checkpoint_format": "gptq"`), ""},
		{"gptq", func(c *quantised) {
			edit(q+"qzeros", fill(0x88))(c)
			config(`"sym": false`, `"sym": true`)(c)
		}, `tensor "` + q + `qzeros" has zero points of 8, want 7 of symmetric weights in checkpoint_format "gptq": they are those of "gptq_v2"`},
		{"gptq_v2 of 8 bits", func(c *quantised) {
			edit(q+"qzeros", fill(127))(c)
			config(`"sym": false`, `"sym": true`)(c)
		}, `has zero points of 127, want 128 of symmetric weights in checkpoint_format "gptq_v2": they are those of "gptq"`},
		{"gptq", config(`"quant_method": "gptq"`, `"quant_method": "fp8"`), `tensor "` + q + `qweight" stands for weights of shape [64 64], but quantization_config says of them "fp8"`},
		{"gptq", config(`"quant_method": "gptq"`, `"quant_method": "awq"`), `tensor "` + q + `qweight" has shape [8 64], want [64 8] for AWQ int4`},
		{"awq", config(`"group_size": 32`, `"group_size": 64`), `tensor "` + q + `scales" has shape [2 64], want [1 64]`},
		{"pack", config(`"group_size": 32`, `"group_size": 96`), `tensor "` + q + `weight_scale" has shape [64 2], want [64 1]`},
		{"pack", config(`"group_size": 32`, `"group_size": 32, "symmetric": false`), `tensor "` + q + `weight_zero_point" is missing, want shape [8 2]`},
		{"pack", drop(q + "weight_shape"), `tensor "` + q + `weight_shape" is missing`},
		{"pack", edit(q+"weight_shape", func(p *piece) { p.data[0] = 65 }), `tensor "` + q + `weight_shape" says [65 64], want [64 64]`},
		{"fp8 by channel", drop(q + "weight_scale"), `tensor "` + q + `weight_scale" is missing, want shape [64 1]`},
		{"fp8 by channel", config(`"fp8"`, `"fp8", "weight_block_size": [32, 32]`), `tensor "` + q + `weight_scale" has shape [64 1], want [2 2] for float8_e4m3 of [64 64] in blocks of 32 × 32`},
		{"fp8 by blocks", config(`, "weight_block_size": [48, 40]`, ""), `tensor "` + q + `weight_scale_inv" has shape [2 2], want [64 1]`},
		{"fp8 by tensor", edit(q+"weight_scale", retype("I32")), `tensor "` + q + `weight_scale" is I32, want BF16, F16, F32 or F8_E8M0`},
		{"fp8 by tensor", edit(q+"weight", retype("F8_E5M2")), `tensor "` + q + `weight" is F8_E5M2, want BF16, F16, F32 or F8_E4M3`},
		{"mxfp4", drop("model.layers.0.mlp.experts.down_proj_scales"), `tensor "model.layers.0.mlp.experts.down_proj_scales" is missing, want shape [3 64 1]`},
		{"mxfp4", edit("model.layers.0.mlp.experts.down_proj_blocks", retype("I8")), `down_proj_blocks" is I8, want U8`},
	} {
		c := quantise(t, tc.format, rand.New(rand.NewPCG(1, 1)))
		tc.bend(c)
		_, err := c.open()
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%s: %v\nwant %s", tc.format, err, tc.want)
		}
		if strings.Contains(tc.want, " is F8_E5M2") && !errors.Is(err, ErrUnsupported) {
			t.Errorf("%v is no ErrUnsupported", err)
		}
	}
}

// Whatever a file holds, what opens can be read to its end.
func FuzzQuantized(f *testing.F) {
	formats := slices.Sorted(maps.Keys(packers))
	for i := range formats {
		f.Add(uint8(i), uint16(9), []byte("12"), uint32(5000), []byte{255, 255, 255, 255})
	}
	type checkpoint struct {
		config Config
		file   []byte
	}
	made := make([]checkpoint, len(formats))
	for i, name := range formats {
		q := quantise(f, name, rand.New(rand.NewPCG(2, 2)))
		config, err := ParseConfig([]byte(q.config), "config.json")
		if err != nil {
			f.Fatal(err)
		}
		made[i] = checkpoint{config, q.file()}
	}
	f.Fuzz(func(t *testing.T, format uint8, inHeader uint16, header []byte, inData uint32, data []byte) {
		q := &made[int(format)%len(formats)]
		file := slices.Clone(q.file)
		copy(file[min(int(inHeader), len(file)):], header)
		copy(file[min(int(inData), len(file)):], data)
		weights, _, err := loadWeights(&source{name: "m", fsys: fstest.MapFS{singleFile: {Data: file}}}, q.config.Program, q.config.Scheme)
		if err != nil {
			return
		}
		_ = weights.dtype(q.config.Program)
		for _, w := range q.config.Program.Weights {
			for _, s := range weights.Of(w).Sources {
				if err := s.Tensor.Check(); err != nil {
					t.Fatal(err)
				}
				s.ReadRows(0, s.Rows, make([]float32, s.Rows*w.In()))
			}
		}
	})
}

// BenchmarkReadRows reads a matrix as devices load it, on one core.
func BenchmarkReadRows(b *testing.B) {
	const n = 4096
	for _, d := range append([]DType{BFloat16}, Quantized...) {
		e := Encoding{Element: d}
		if d != BFloat16 {
			e = Encoding{Element: d, Scale: Float16, Rows: 1, Columns: 128}
		}
		if types[d].word != unpacked {
			e.Zeros = ZerosStored
		}
		t := &Tensor{Encoding: e, Shape: []int{n, n}}
		elements, scales, zeros := e.sizes(t.Shape)
		t.Data, t.Scales, t.Zeros = make([]byte, elements), make([]byte, scales), make([]byte, zeros)
		b.Run(string(d), func(b *testing.B) {
			dst := make([]float32, 32*n)
			for b.Loop() {
				for row := 0; row < n; row += 32 {
					t.widen(dst, 32, 0, row, 0)
				}
			}
			b.ReportMetric(n*n*float64(b.N)/b.Elapsed().Seconds()/1e6, "Mweights/s")
		})
	}
}

package model

import (
	"math"
	"testing"

	"github.com/troupe-llm/troupe/gpu/program"
)

func TestSizes(t *testing.T) {
	m, err := Open("qwen3-0.6b", true)
	if err != nil {
		t.Fatal(err)
	}
	for dtype, size := range map[DType]int64{BFloat16: 2, Float16: 2, Float32: 4} {
		if got := m.WeightBytes(HeldAs(dtype)); got != size*596_049_920 {
			t.Errorf("weights take %d bytes as %s", got, dtype)
		}
	}
	// A byte a weight; 4 for each group of 128 inputs of an output and for each
	// number of a norm. Half a byte, of the embedding three quarters, and 2 for each 64.
	norms, embedding := int64(1024+28*(2*1024+2*128)), int64(151_936*1024)
	if got, want := m.WeightBytes(HeldAs(Int8)), (596_049_920-norms)*(128+4)/128+4*norms; got != want {
		t.Errorf("weights in int8 take %d bytes, want %d", got, want)
	}
	if got, want := m.WeightBytes(HeldAs(Int4)), embedding*(48+2)/64+(596_049_920-norms-embedding)*(32+2)/64+4*norms; got != want {
		t.Errorf("weights in int4 take %d bytes, want %d", got, want)
	}
	if got := m.Config.CacheBytes(BFloat16); got != 114_688 { // 28 layers × 8 heads × 128 × key and value × 2 bytes
		t.Errorf("a position takes %d bytes", got)
	}
}

func TestEncodingBytes(t *testing.T) {
	for _, tc := range []struct {
		e     Encoding
		shape []int
		want  int64
		name  string
	}{
		{Plain(BFloat16), []int{3, 5}, 30, "bfloat16"},
		{Plain(Float32), []int{7}, 28, "float32"},
		{ByOutput(Int8), []int{3, 5}, 15 + 3*4, "int8 by output"},
		{ByOutput(Int8), []int{2, 3, 5}, 2 * (15 + 3*4), "int8 by output"},
		{Encoding{Element: Int8, Scale: BFloat16}, []int{3, 5}, 15 + 2, "int8 by tensor"},
		{Encoding{Element: Int8, Scale: Float32, Rows: 128, Columns: 128}, []int{129, 256}, 129*256 + 2*2*4, "int8 by blocks"},
		{Encoding{Element: Int8, Scale: Float16, Rows: 1, Columns: 32}, []int{4, 2, 33}, 4*2*33 + 4*2*2*2, "int8 by blocks"},
		{Encoding{Element: Float8, Scale: BFloat16, Rows: 1}, []int{3, 5}, 15 + 3*2, "float8_e4m3 by output"},
		{Encoding{Element: MXFP4, Scale: Exponent8, Rows: 1, Columns: 32}, []int{3, 2, 64}, 3*2*32 + 3*2*2, "mxfp4 by blocks"},
		{Encoding{Element: Packed4, Scale: BFloat16, Rows: 1, Columns: 32}, []int{3, 33}, 3*5*4 + 3*2*2, "packed int4 by blocks"},
		{Encoding{Element: GPTQ4, Scale: Float16, Rows: 1, Columns: 32, Zeros: ZerosLessOne}, []int{16, 64}, 8*16*4 + 2*16*2 + 2*2*4, "GPTQ int4 by blocks"},
		{Encoding{Element: GPTQ8, Scale: Float16, Rows: 1, Zeros: ZerosStored}, []int{16, 64}, 16*16*4 + 16*2 + 4*4, "GPTQ int8 by output"},
		{Encoding{Element: AWQ4, Scale: Float16, Rows: 1, Columns: 32, Zeros: ZerosStored}, []int{16, 64}, 64*2*4 + 2*16*2 + 2*2*4, "AWQ int4 by blocks"},
	} {
		if got := tc.e.Bytes(tc.shape); got != tc.want || tc.e.String() != tc.name {
			t.Errorf("%s of %v: %d bytes, want %d of %s", tc.e, tc.shape, got, tc.want, tc.name)
		}
	}
}

// sums adds up what a pass costs, the head apart.
func sums(p *program.Program, pass *program.Pass) (layers, head program.Cost) {
	add := func(ops []program.Op) (sum program.Cost) {
		for _, o := range ops {
			c := o.Cost(pass)
			if _, product := o.(*program.Product); product {
				sum.FLOPs += c.FLOPs
			}
			if x, expert := o.(*program.ExpertProduct); expert {
				sum.FLOPs += c.FLOPs
				sum.Share += c.Share * float64(x.Weight.Experts())
			}
			sum.Cache += c.Cache
		}
		return sum
	}
	return add(p.Body()), add(p.Head())
}

// A pass costs two operations for each weight of a matrix that a token meets.
func TestCosts(t *testing.T) {
	m, err := Open("qwen3-0.6b", true)
	if err != nil {
		t.Fatal(err)
	}
	p := m.Config.Program
	layers, head := sums(p, program.NewPass([]program.Span{{Start: 99, Tokens: 1}}, 1))
	if want := 2 * 28 * 1024.0 * ((2*16+2*8)*128 + 3*3072); layers.FLOPs != want {
		t.Errorf("a token takes %v FLOPs, want %v", layers.FLOPs, want)
	}
	if want := 2 * 151_936 * 1024.0; head.FLOPs != want {
		t.Errorf("logits take %v FLOPs, want %v", head.FLOPs, want)
	}
	if want := 101 * 114_688 / 2.0; layers.Cache != want { // a hundred read, one written
		t.Errorf("%v elements of keys and values, want %v", layers.Cache, want)
	}
}

// Against what is published of Qwen3-30B-A3B: 30.5 billion parameters, of
// which a token meets 3.3 billion, 29.9 billion beside the embeddings.
func TestSizesOfAMixture(t *testing.T) {
	m, err := Open("qwen3-30b-a3b", true)
	if err != nil {
		t.Fatal(err)
	}
	p := m.Config.Program
	if all, active := p.Params(), p.ActiveParams(); all/1e8 != 305 || active/1e8 != 33 {
		t.Errorf("%d parameters, a token meets %d", all, active)
	}
	layers, _ := sums(p, program.NewPass([]program.Span{{Tokens: 1}}, 1))
	if want := 2 * 48 * 2048.0 * ((2*32+2*4)*128 + 128 + 8*3*768); math.Abs(layers.FLOPs/want-1) > 1e-9 {
		t.Errorf("a token takes %v FLOPs, want %v", layers.FLOPs, want)
	}
	if layers.Share != 48*2*8 {
		t.Errorf("a token meets %v matrices of experts", layers.Share)
	}
	// Few tokens rarely share experts, many leave none out.
	for tokens, want := range map[int]float64{0: 0, 1: 8, 2: 15.5, 16: 82.42, 10000: 128} {
		if got := program.Touched(128, 8, tokens); math.Abs(got-want) > 0.01 {
			t.Errorf("%v tokens touch %v experts, want %v", tokens, got, want)
		}
	}
}

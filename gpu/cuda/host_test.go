package cuda

import (
	"encoding/binary"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/kernel"
	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/gpu/model/modeltest"
)

func TestGraphSizes(t *testing.T) {
	if got := graphSizes(0); got != nil {
		t.Errorf("none: %v", got)
	}
	if got, want := graphSizes(20), []int{1, 2, 4, 8, 16, 20}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	for _, most := range []int{1, 2, 7, 64, 256, 512} {
		sizes := graphSizes(most)
		for n := 1; n <= most; n++ {
			g := graphFor(sizes, n)
			if g < n {
				t.Fatalf("to %d: %d rows get a graph of %d", most, n, g)
			}
			if n >= 8 && float64(g) > 1.9*float64(n) {
				t.Errorf("to %d: %d rows are padded to %d", most, n, g)
			}
		}
		if g := graphFor(sizes, most+1); g != 0 {
			t.Errorf("to %d: one row more gets a graph of %d", most, g)
		}
	}
}

// Steps follow each other on the host's clock as on the device's, within what
// the host saw.
func TestClock(t *testing.T) {
	var c clock
	for i, s := range []struct{ gap, lasted, launched, seen, began, ended int64 }{
		{0, 100, 1000, 1200, 1000, 1100}, // nothing before: begins when launched
		{5, 100, 1050, 1300, 1105, 1205},
		{50, 100, 1400, 1600, 1400, 1500}, // the device was idle: no earlier than the launch
		{10, 100, 1450, 1600, 1500, 1600}, // seen to be over sooner than reckoned
	} {
		began, ended := c.step(s.gap, s.lasted, s.launched, s.seen)
		if began != s.began || ended != s.ended {
			t.Errorf("step %d: %d to %d, want %d to %d", i, began, ended, s.began, s.ended)
		}
	}
}

func TestSizes(t *testing.T) {
	dense := map[string]any{
		"architectures": []string{"Qwen3ForCausalLM"}, "num_hidden_layers": 2, "hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4,
		"num_key_value_heads": 2, "head_dim": 64, "vocab_size": 100, "max_position_embeddings": 4096,
	}
	mixed := maps.Clone(dense)
	maps.Copy(mixed, map[string]any{"architectures": []string{"Qwen3MoeForCausalLM"}, "num_experts": 64, "num_experts_per_tok": 2, "moe_intermediate_size": 16})
	windows := maps.Clone(dense)
	maps.Copy(windows, map[string]any{"architectures": []string{"MistralForCausalLM"}, "sliding_window": 1000})
	with := func(fields map[string]any, name string, value any) map[string]any {
		fields = maps.Clone(fields)
		fields[name] = value
		return fields
	}
	open := func(fields map[string]any) *model.Model { return &model.Model{Config: modeltest.Config(t, fields)} }
	for window, fields := range map[int]map[string]any{0: dense, 1000: windows} { // which do not limit sequences
		info, err := settle(&device.Spec{Model: open(fields)}, hopper)
		if want := (device.Info{Window: window, DType: model.BFloat16, KVDType: model.BFloat16, Slots: 256, PageSize: 16, MaxSeqLen: 4096, MaxStepTokens: 8192, Vocab: 100, Scores: true, MaxDraws: 256}); err != nil || info != want {
			t.Errorf("%+v, %v\nwant %+v", info, err, want)
		}
	}
	halves := modeltest.Random(rand.New(rand.NewPCG(1, 2)), modeltest.Config(t, dense))
	slot := halves.Weights.Of(halves.Config.Program.Weights[0])
	slot.Sources[0].Tensor.Encoding = model.ByOutput(model.Int8)
	for want, s := range map[string]device.Spec{
		"kernels take bfloat16": {Model: open(dense), DType: model.Float32},
		`weights of type "int8"; the kernels take bfloat16 and int4, the processor ("cpu") float32 and int8`:                        {Model: open(dense), DType: model.Int8},
		`weights of type "int4" and quantization "fp8"; one of them`:                                                                {Model: open(dense), DType: model.Int4, Quantization: model.FP8},
		`keys and values of type "int8"; the kernels take bfloat16 and float8_e4m3, the processor ("cpu") float32 and int8 as well`: {Model: open(dense), KVDType: model.Int8},
		"slots is -1": {Model: open(dense), Slots: -1},
		"the device takes bfloat16, float8_e4m3, mxfp4; float16, float32, packed int8, GPTQ int8, Q4_1, ": {Model: halves},
		"x (embed): rows of 60": {Model: open(with(dense, "hidden_size", 60))},
		"input_layernorm (norm): rows of 20000; the kernel takes 16384 at most": {Model: open(with(dense, "hidden_size", 20000))},
		"gate (gate): gates of 12":                      {Model: open(with(dense, "intermediate_size", 12))},
		"moe_up(experts_gate_up, gate)): outputs of 12": {Model: open(with(mixed, "moe_intermediate_size", 12))},
		"17 of 64 experts":                              {Model: open(with(mixed, "num_experts_per_tok", 17))},
	} {
		if _, err := settle(&s, hopper); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want an error with %q", err, want)
		}
	}
	for _, s := range []struct{ dim, shared, want int }{{128, 227 << 10, 3}, {64, 227 << 10, 3}, {128, 99 << 10, 2}, {256, 227 << 10, 3}, {256, 99 << 10, 3}, {192, 99 << 10, 3}, {32, 99 << 10, 3}} {
		if got := stages(kernel.Shape{HeadDim: s.dim}, s.shared); got != s.want {
			t.Errorf("heads of %d, %d bytes: %d stages, want %d", s.dim, s.shared, got, s.want)
		}
	}
}

func TestReadResult(t *testing.T) {
	const most = 4
	m := make([]byte, kernel.ResultBytes(most))
	put := func(at int, v uint32) { binary.LittleEndian.PutUint32(m[at:], v) }
	put(0, 7)
	put(4, 99) // row 1 drew nothing: not to be read
	put(8, math.MaxUint32)
	put(16, math.Float32bits(-0.5))
	put(32, 7)
	put(36, math.Float32bits(-0.5))
	put(40, 3)
	put(44, math.Float32bits(-1.5))
	var r batch.Result
	readResult(&r, m, []launched{{true, 3, 0, 0}, {false, 1, 0, 0}, {true, 0, 0, 0}}, most)
	if !slices.Equal(r.Tokens, []int32{7, batch.NoToken, batch.NoToken}) {
		t.Errorf("tokens %v", r.Tokens)
	}
	want := batch.Logprob{Token: -0.5, Top: []batch.TokenLogprob{{Token: 7, Logprob: -0.5}, {Token: 3, Logprob: -1.5}}}
	if len(r.Logprobs) != 3 || r.Logprobs[0].Token != want.Token || !slices.Equal(r.Logprobs[0].Top, want.Top) || r.Logprobs[1].Top != nil {
		t.Errorf("log-probabilities %+v", r.Logprobs)
	}
	r.Reset()
	readResult(&r, m, []launched{{true, 0, 0, 0}}, most)
	if len(r.Logprobs) != 0 {
		t.Errorf("unasked: %+v", r.Logprobs)
	}
	// A row of two drafts, of which the second is rejected, beside one that may draw nothing.
	put(0, math.MaxUint32)
	put(4, 5)
	put(8, 6)
	put(12, math.MaxUint32)
	put(20, math.Float32bits(-0.25))
	put(24, math.Float32bits(-0.75))
	r.Reset()
	readResult(&r, m, []launched{{true, 2, 0, 0}, {true, 2, 0, 2}}, most)
	if !slices.Equal(r.Tokens, []int32{batch.NoToken, 5, 6, batch.NoToken}) {
		t.Errorf("with drafts: tokens %v", r.Tokens)
	}
	var got []float32
	var tops []int
	for _, l := range r.Logprobs {
		got, tops = append(got, l.Token), append(tops, len(l.Top))
	}
	if !slices.Equal(got, []float32{0, -0.25, -0.75, 0}) || !slices.Equal(tops, []int{1, 1, 1, 0}) {
		t.Errorf("with drafts: log-probabilities %v, of %v alternatives", got, tops)
	}
}

// Scores of rows that ask for different numbers of alternatives, one of them for
// more than there are.
func TestReadScores(t *testing.T) {
	const n = 5
	written := make([]kernel.Score, n)
	for i := range written {
		written[i].Logprob = -float32(i)
		for j := range written[i].Top {
			written[i].Top[j] = kernel.Alternative{Token: int32(100*i + j), Logprob: -float32(j)}
		}
	}
	memory := unsafe.Slice((*byte)(unsafe.Pointer(&written[0])), kernel.ScoreBytes(n))
	var r batch.Result
	readScores(&r, memory, []launched{{true, 3, 2, 0}, {true, 5, 0, 0}, {false, 0, 1, 0}, {false, 1, 1, 0}, {false, 99, 1, 0}})
	if len(r.Scores) != n {
		t.Fatalf("%d scores, want %d", len(r.Scores), n)
	}
	for i, k := range []int{2, 2, 0, 0, kernel.MaxTop} {
		l := r.Scores[i]
		if l.Token != -float32(i) || len(l.Top) != k {
			t.Errorf("score %d: %+v, want %d and %d alternatives", i, l, -i, k)
		}
		for j, a := range l.Top {
			if a != (batch.TokenLogprob{Token: int32(100*i + j), Logprob: -float32(j)}) {
				t.Errorf("score %d: alternative %d is %+v", i, j, a)
			}
		}
	}
	r.Reset()
	readScores(&r, nil, []launched{{true, 3, 0, 0}})
	if len(r.Scores) != 0 {
		t.Errorf("unasked: %+v", r.Scores)
	}
}

package model

import (
	"math"
	"testing"
)

// Angular frequencies by transformers (float32), heads of 128 with factor 8
// and of 64 with factor 32: unscaled, between and stretched ones.
func TestInvFreqLlama3(t *testing.T) {
	for _, tc := range []struct {
		headDim int
		factor  float64
		want    map[int]float64
	}{
		{128, 8, map[int]float64{
			0: 1.0, 1: 0.8146172165870667, 20: 0.016560440883040428, 28: 0.0032114461064338684, 29: 0.0021665706299245358,
			32: 0.0005248460220173001, 34: 0.0001785077911335975, 36: 7.784655463183299e-05, 40: 3.428102354519069e-05, 63: 3.068925877869333e-07,
		}},
		{64, 32, map[int]float64{
			0: 1.0, 1: 0.663601279258728, 13: 0.00483942124992609, 14: 0.0032114461064338684, 15: 0.0012905480107292533,
			16: 0.000429556705057621, 17: 9.708286233944818e-05, 18: 1.9461638657958247e-05, 31: 9.418306490260875e-08,
		}},
	} {
		r := Rope{Theta: 5e5, Llama3: &Llama3Rope{Factor: tc.factor, LowFreqFactor: 1, HighFreqFactor: 4, OriginalMaxPositions: 8192}}
		got := r.InvFreq(tc.headDim)
		if len(got) != tc.headDim/2 {
			t.Fatalf("%d frequencies for heads of %d", len(got), tc.headDim)
		}
		for i, want := range tc.want {
			if math.Abs(got[i]/want-1) > 2e-6 {
				t.Errorf("heads of %d: frequency %d is %v, want %v", tc.headDim, i, got[i], want)
			}
		}
	}
}

func TestInvFreq(t *testing.T) {
	r := Rope{Theta: 10000}
	for i, want := range []float64{1, 0.1, 0.01, 0.001} {
		if got := r.InvFreq(8)[i]; math.Abs(got/want-1) > 1e-12 {
			t.Errorf("frequency %d of heads of 8 is %v, want %v", i, got, want)
		}
	}
}

func TestSizes(t *testing.T) {
	m, err := Open("qwen3-0.6b", true)
	if err != nil {
		t.Fatal(err)
	}
	c := &m.Config
	if got := c.WeightBytes(""); got != 2*596_049_920 {
		t.Errorf("weights take %d bytes", got)
	}
	if got := c.WeightBytes(Float32); got != 4*596_049_920 {
		t.Errorf("weights in float32 take %d bytes", got)
	}
	// A byte a weight; 4 for each output of a matrix (the embedding's and, in
	// each layer, those of queries, keys and values, o, gate, up and down) and
	// for each number of a norm.
	outputs, norms := int64(151_936+28*(2048+2*1024+1024+2*3072+1024)), int64(1024+28*(2*1024+2*128))
	if got, want := c.WeightBytes(Int8), 596_049_920-norms+4*(outputs+norms); got != want {
		t.Errorf("weights in int8 take %d bytes, want %d", got, want)
	}
	if got := c.KVBytesPerToken(""); got != 114_688 { // 28 layers × 8 heads × 128 × key and value × 2 bytes
		t.Errorf("a position takes %d bytes", got)
	}
	var matrices int64 // of the layers
	for tensor := range c.Tensors(c.Shapes()) {
		if len(tensor.Shape) == 2 && tensor.Shape[0] != c.Vocab {
			matrices += tensor.Len()
		}
	}
	if got := c.FLOPsPerToken(); got != 2*matrices {
		t.Errorf("a token takes %d FLOPs, want two for each of %d weights", got, matrices)
	}
	if got := c.AttentionFLOPs(1000); got != 28*16*(2*128+2*128)*1000 {
		t.Errorf("attention over 1000 positions takes %d FLOPs", got)
	}
	if got := c.HeadFLOPs(); got != 2*151_936*1024 {
		t.Errorf("logits take %d FLOPs", got)
	}
}

// Against what is published of Qwen3-30B-A3B: 30.5 billion parameters, of
// which a token meets 3.3 billion, 29.9 billion beside the embeddings.
func TestSizesOfAMixture(t *testing.T) {
	m, err := Open("qwen3-30b-a3b", true)
	if err != nil {
		t.Fatal(err)
	}
	c := &m.Config
	if all, active := c.Params(), c.ActiveParams(); all/1e8 != 305 || active/1e8 != 33 {
		t.Errorf("%d parameters, a token meets %d", all, active)
	}
	var matrices, experts int64 // of the layers, all experts
	w := c.Shapes()
	for tensor := range c.Tensors(w) {
		if len(tensor.Shape) == 2 && tensor.Shape[0] != c.Vocab {
			matrices += tensor.Len()
		}
	}
	for _, l := range w.Layers {
		for _, x := range l.Experts {
			experts += x.Gate.Len() + x.Up.Len() + x.Down.Len()
		}
		if l.Gate.Present() || !l.Router.Present() {
			t.Fatal("a layer has an MLP, or no router")
		}
	}
	if name := w.Layers[3].Experts[127].Down.Name; name != "model.layers.3.mlp.experts.127.down_proj.weight" {
		t.Errorf("the last expert's third tensor is %s", name)
	}
	if experts != 128*c.ExpertParams() || c.Params()-c.ActiveParams() != experts/128*120 {
		t.Errorf("experts have %d weights, %d each", experts, c.ExpertParams())
	}
	if got, want := c.FLOPsPerToken(), 2*(matrices-experts/128*120); got != want {
		t.Errorf("a token takes %d FLOPs, want %d", got, want)
	}
	// Few tokens rarely share experts, many leave none out.
	for _, tc := range []struct{ tokens, want float64 }{{0, 0}, {1, 8}, {2, 15.5}, {16, 82.42}, {1e4, 128}} {
		if got := c.MoE.Touched(tc.tokens); math.Abs(got-tc.want) > 0.01 {
			t.Errorf("%v tokens touch %v experts, want %v", tc.tokens, got, tc.want)
		}
	}
}

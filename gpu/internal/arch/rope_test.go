package arch

import (
	"math"
	"strings"
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
		got := stretched(rotary(tc.headDim, 5e5), llama3{tc.factor, 1, 4, 8192}).InvFreq
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
	for i, want := range []float64{1, 0.1, 0.01, 0.001} {
		if got := rotary(8, 10000).InvFreq[i]; math.Abs(got/want-1) > 1e-12 {
			t.Errorf("frequency %d of heads of 8 is %v, want %v", i, got, want)
		}
	}
}

// "dynamic" RoPE is the plain one up to max_position_embeddings, which are all
// positions that are served: no token is turned by other angles than transformers
// takes.
func TestDynamicRope(t *testing.T) {
	read := func(rope string) *Config {
		c, err := Read([]byte(`{"architectures": ["LlamaForCausalLM"], "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 1, "num_attention_heads": 2,
			"num_key_value_heads": 1, "vocab_size": 32, "max_position_embeddings": 128, "rms_norm_eps": 1e-6, "hidden_act": "silu", "rope_parameters": `+rope+`}`), "config.json")
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	plain, dynamic := read(`{"rope_type": "default", "rope_theta": 10000}`), read(`{"rope_type": "dynamic", "rope_theta": 10000, "factor": 4}`)
	if !dynamic.Rotary[0].Equal(plain.Rotary[0]) || dynamic.MaxPositions != 128 {
		t.Errorf("%+v and %d positions, want %+v and 128", dynamic.Rotary[0], dynamic.MaxPositions, plain.Rotary[0])
	}
	if len(dynamic.Notes) != 1 || !strings.Contains(dynamic.Notes[0], "beyond max_position_embeddings, 128, which are not served") {
		t.Errorf("notes %q", dynamic.Notes)
	}
}

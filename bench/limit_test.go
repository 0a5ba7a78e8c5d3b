package bench

import (
	"math"
	"testing"

	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/model"
)

// The reference work on an H200, worked out apart by hand: tokens of prompts by
// twice the weights, the positions that all decoded tokens look back at (120.8
// million) by the bytes of one, 1,041 steps by the bytes of the weights.
func TestLimit(t *testing.T) {
	for _, c := range []struct {
		model                string
		prompts, kv, weights float64
	}{
		{"qwen3-0.6b", 0.174, 120.8e6 * 114688 / 4.43e12, 1041 * 596e6 * 2 / 4.43e12},
		{"qwen3-14b", 4.83, 120.8e6 * 163840 / 4.43e12, 1041 * 13.99e9 * 2 / 4.43e12},
	} {
		m, err := model.Open(c.model, true)
		if err != nil {
			t.Fatal(err)
		}
		dev := device.Info{Hardware: "NVIDIA H200", DType: model.BFloat16, Slots: 256, MaxStepTokens: 8192, Vocab: m.Config.Vocab}
		var in, out []int
		for _, p := range RandomPrompts(0, 256, Range{100, 1024}, Range{100, 1024}, dev.Vocab) {
			in, out = append(in, len(p.Tokens)), append(out, p.MaxTokens)
		}
		l := limitOf(&m.Config, dev, in, out)
		for name, pair := range map[string][2]float64{"prompts": {l.PromptsS, c.prompts}, "keys and values": {l.KVS, c.kv}, "weights": {l.WeightsS, c.weights}} {
			if got, want := pair[0], pair[1]; math.Abs(got/want-1) > 0.01 {
				t.Errorf("%s: %s take %.3f s, want %.2f", c.model, name, got, want)
			}
		}
		if sum := l.PromptsS + l.KVS + l.WeightsS; math.Abs(l.OutputThroughput*sum/133966-1) > 1e-9 {
			t.Errorf("%s: %v tokens/s in %v s", c.model, l.OutputThroughput, sum)
		}
		if dev.Hardware = "a toaster"; limitOf(&m.Config, dev, in, out) != nil {
			t.Error("a limit of unknown hardware")
		}
	}
}

// A mixture's step reads what its tokens meet: one token PerToken experts.
func TestLimitOfExperts(t *testing.T) {
	m, err := model.Open("qwen3-30b-a3b", true)
	if err != nil {
		t.Fatal(err)
	}
	dev := device.Info{Hardware: "NVIDIA H200", DType: model.BFloat16, Slots: 256, MaxStepTokens: 8192}
	// Ten tokens one after the other, and the prompt's one token.
	l := limitOf(&m.Config, dev, []int{1}, []int{11})
	want := 11 * float64(m.Config.ActiveParams()-int64(m.Config.Vocab*m.Config.Hidden)) * 2 / 4.43e12 // the embedding is looked up
	if math.Abs(l.WeightsS/want-1) > 0.001 {
		t.Errorf("weights take %v s, want %v", l.WeightsS, want)
	}
}

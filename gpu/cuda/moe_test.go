//go:build cuda

package cuda

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/cpu"
	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/gpu/model/modeltest"
	"github.com/troupe-llm/troupe/gpu/program"
)

// randomMixture is a model of two layers with random weights.
func randomMixture(t *testing.T, r *rand.Rand, hidden, experts, perToken, intermediate int, normalize bool) *model.Model {
	return modeltest.Random(r, modeltest.Config(t, map[string]any{
		"architectures": []string{"Qwen3MoeForCausalLM"}, "num_hidden_layers": 2, "hidden_size": hidden, "intermediate_size": 64, "num_experts": experts,
		"num_experts_per_tok": perToken, "moe_intermediate_size": intermediate, "norm_topk_prob": normalize, "num_attention_heads": 4,
		"num_key_value_heads": 2, "head_dim": 64, "vocab_size": 256, "max_position_embeddings": 1024, "rope_theta": 1e6,
	}))
}

// Mixtures of other shapes than checkpoints have do what they do on the
// processor, with few tokens a step and many, but for tokens that rounding
// sends to other experts.
func TestMixturesAgainstCPU(t *testing.T) {
	require(t)
	random := rand.New(rand.NewPCG(3, 4))
	for _, c := range []struct {
		hidden, experts, perToken, intermediate int
		normalize                               bool
	}{
		{128, 16, 4, 64, true},
		{192, 4, 3, 128, false}, // tiles of 128
		{136, 8, 2, 72, true},
		{64, 20, 5, 64, false},
	} {
		t.Run(fmt.Sprintf("%+v", c), func(t *testing.T) {
			m := randomMixture(t, random, c.hidden, c.experts, c.perToken, c.intermediate, c.normalize)
			var prompts [][]int32
			for _, n := range []int{1, 30, 500} {
				var p []int32
				for range n {
					p = append(p, int32(random.IntN(m.Config.Vocab)))
				}
				prompts = append(prompts, p)
			}
			const n = 24
			spec := device.Spec{Model: m, DType: model.BFloat16, Slots: 8, MaxStepTokens: 1024, NumPages: 256}
			host, err := cpu.Open(spec)
			var first, rest [2][]*batch.Result
			for k, r := range []*rig{openRig(t, host, err), openCUDA(t, spec)} {
				first[k], rest[k] = r.prefill(prompts, batch.Sampling{Logprobs: 1}, 4096), r.decode(prompts, n, true)
			}
			compared, worst, squares := 0, 0.0, 0.0
			for i, p := range prompts {
				token := func(k, at int) (int32, float64) {
					if at == 0 {
						return first[k][i].Tokens[0], float64(first[k][i].Logprobs[0].Token)
					}
					return rest[k][at-1].Tokens[i], float64(rest[k][at-1].Logprobs[i].Token)
				}
				text := slices.Clone(p)
				for at := range n {
					id, _ := token(0, at)
					text = append(text, id)
				}
				margins, _ := slow(m, text)
				for at := range n {
					want, logprob := token(0, at)
					got, other := token(1, at)
					if got != want {
						break // another text from here on
					}
					if margins[len(p)-1+at] < nearTie {
						continue
					}
					compared++
					d := math.Abs(logprob - other)
					worst, squares = max(worst, d), squares+d*d
					if math.IsNaN(d) {
						t.Errorf("prompt of %d: log-probability of token %d is %v, the processor's %v", len(p), at, other, logprob)
					}
				}
			}
			mean := math.Sqrt(squares / float64(compared))
			t.Logf("%d log-probabilities differ by %.4f at most, %.4f in the root of the mean square", compared, worst, mean)
			if compared < n/2 {
				t.Errorf("%d of %d tokens could be compared", compared, n*len(prompts))
			}
			// Emulated, with the same roundings: 0.02 in the mean, 0.2 at most, where
			// many tokens before went elsewhere.
			if worst > 0.3 || mean > tolerance {
				t.Errorf("log-probabilities differ by %.3f at most, %.3f in the root of the mean square", worst, mean)
			}
		})
	}
}

// Experts in codes do what they do widened while they are loaded, in steps of few tokens,
// of many, and of so many that codes are widened there: those of MXFP4 the same, of FP8 but
// for the rounding of what codes stand for.
func TestCodedExperts(t *testing.T) {
	require(t)
	r := rand.New(rand.NewPCG(7, 9))
	models := map[string]*model.Model{"blocks": randomMixture(t, r, 256, 4, 3, 128, true), "outputs": randomMixture(t, r, 256, 8, 2, 128, true)}
	for name, m := range models {
		asFP8(m, name == "blocks", r)
	}
	for _, c := range modeltest.Families(t) {
		if m := c.Open(t); mixed(&m.Config) && m.Config.DType == model.MXFP4 {
			models[c.Name] = m
		}
	}
	for name, m := range models {
		t.Run(name, func(t *testing.T) {
			var texts [][]int32
			for _, n := range []int{2, 40, 300, min(m.Config.MaxPositions-1, 2500)} {
				text := make([]int32, n)
				for i := range text {
					text[i] = r.Int32N(int32(m.Config.Vocab))
				}
				texts = append(texts, text)
			}
			spec := device.Spec{Model: m, Slots: 8, MaxStepTokens: 4096, NumPages: 4096}
			info, err := settle(&spec, hopper)
			if err != nil || info.Held == nil {
				t.Fatalf("%+v, %v", info, err)
			}
			wide := spec
			wide.DType = model.BFloat16
			for _, chunk := range []int{4096, 7} {
				coded, _ := openCUDA(t, spec).score(texts, batch.Sampling{Logprobs: 1}, chunk, texts[0])
				want, _ := openCUDA(t, wide).score(texts, batch.Sampling{Logprobs: 1}, chunk, texts[0])
				d := distances{within: 0.3, rms: 0.05, rerouting: true}
				if m.Config.DType == model.MXFP4 {
					d = distances{within: 0.01, rms: 0.002}
				}
				for i := range want {
					for j := range want[i] {
						if !d.add(coded[i][j].Token, want[i][j].Token) {
							t.Errorf("chunks of %d: text %d, token %d: %v, want %v", chunk, i, j, coded[i][j].Token, want[i][j].Token)
						}
					}
				}
				d.report(t)
			}
		})
	}
}

// asFP8 makes a mixture's experts random codes of E4M3, scaled by block or by output.
func asFP8(m *model.Model, byBlock bool, r *rand.Rand) {
	e := model.ByOutput(model.Float8)
	if byBlock {
		e = model.ByBlock(model.Float8)
	}
	for _, op := range m.Config.Program.Ops {
		o, is := op.(*program.ExpertProduct)
		if !is {
			continue
		}
		sources := m.Weights.Of(o.Weight).Sources
		for i := range sources {
			shape := []int{sources[i].Rows, o.Weight.In()}
			of := &model.Tensor{Name: sources[i].Tensor.Name, Encoding: e, Shape: shape, Data: make([]byte, shape[0]*shape[1])}
			for k := range of.Data {
				of.Data[k] = model.ToFloat8(float32(r.NormFloat64() * 16))
			}
			for range (e.Bytes(shape) - int64(len(of.Data))) / 4 {
				of.Scales = binary.LittleEndian.AppendUint32(of.Scales, math.Float32bits(float32((0.5+r.Float64())/16/math.Sqrt(float64(shape[1])))))
			}
			sources[i].Part, sources[i].Tensor = program.Whole(of.Name, shape...), of
		}
	}
}

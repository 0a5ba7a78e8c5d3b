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
)

// randomMixture is a model of two layers with random weights.
func randomMixture(r *rand.Rand, hidden int, x model.MoE) *model.Model {
	c := model.Config{
		Architecture: "Qwen3MoeForCausalLM", Layers: 2, Hidden: hidden, Intermediate: 64, MoE: &x, Heads: 4, KVHeads: 2, HeadDim: 64, Vocab: 256, MaxPositions: 1024,
		NormEps: 1e-6, QKNorm: true, Rope: model.Rope{Theta: 1e6}, DType: model.BFloat16,
	}
	tensor := func(mean float64, shape ...int) model.Tensor {
		t := model.Tensor{DType: model.BFloat16, Shape: shape}
		deviation := 0.1
		if len(shape) > 1 {
			deviation = 1.2 / math.Sqrt(float64(shape[1]))
		}
		for range t.Len() {
			t.Data = binary.LittleEndian.AppendUint16(t.Data, model.ToBF16(float32(mean+deviation*r.NormFloat64())))
		}
		return t
	}
	w := &model.Weights{Embed: tensor(0, c.Vocab, hidden), Norm: tensor(1, hidden), Head: tensor(0, c.Vocab, hidden)}
	for range c.Layers {
		l := model.Layer{
			AttnNorm: tensor(1, hidden), MLPNorm: tensor(1, hidden), QNorm: tensor(1, c.HeadDim), KNorm: tensor(1, c.HeadDim),
			Q: tensor(0, c.Heads*c.HeadDim, hidden), K: tensor(0, c.KVHeads*c.HeadDim, hidden), V: tensor(0, c.KVHeads*c.HeadDim, hidden),
			O: tensor(0, hidden, c.Heads*c.HeadDim), Router: tensor(0, x.Experts, hidden),
		}
		for range x.Experts {
			l.Experts = append(l.Experts, model.Expert{
				Gate: tensor(0, x.Intermediate, hidden), Up: tensor(0, x.Intermediate, hidden), Down: tensor(0, hidden, x.Intermediate),
			})
		}
		w.Layers = append(w.Layers, l)
	}
	return &model.Model{Config: c, Weights: w}
}

// Mixtures of other shapes than checkpoints have do what they do on the
// processor, with few tokens a step and many, but for tokens that rounding
// sends to other experts.
func TestMixturesAgainstCPU(t *testing.T) {
	require(t)
	random := rand.New(rand.NewPCG(3, 4))
	for _, c := range []struct {
		hidden int
		x      model.MoE
	}{
		{128, model.MoE{Experts: 16, PerToken: 4, Intermediate: 64, Normalize: true}},
		{192, model.MoE{Experts: 4, PerToken: 3, Intermediate: 128}}, // tiles of 128
		{136, model.MoE{Experts: 8, PerToken: 2, Intermediate: 72, Normalize: true}},
		{64, model.MoE{Experts: 20, PerToken: 5, Intermediate: 64}},
	} {
		t.Run(fmt.Sprintf("%d×%+v", c.hidden, c.x), func(t *testing.T) {
			m := randomMixture(random, c.hidden, c.x)
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

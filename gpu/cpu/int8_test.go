package cpu

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/gpu/model/modeltest"
)

// No weight is farther from its number than half of what one counts, and the
// largest is 127 of them; ties go to even.
func TestQuantize(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for _, n := range []int{1, 2, 31, 1000} {
		for _, size := range []float64{1e-28, 1e-3, 1, 1e30} {
			values, w := make([]float32, n), make([]int8, n*panelWidth)
			most := 0.0
			for i := range values {
				values[i] = float32(r.NormFloat64() * size)
				most = max(most, math.Abs(float64(values[i])))
			}
			scale := float64(quantize(w, values))
			if math.Abs(scale*127/most-1) > 1e-6 {
				t.Fatalf("a number counts %v where the largest weight is %v", scale, most)
			}
			top := 0
			for i, v := range values {
				q := int(w[i*panelWidth])
				if d := math.Abs(float64(q)*scale - float64(v)); d > scale*(0.5+1e-4) {
					t.Fatalf("%v is %d times %v", v, q, scale)
				}
				top = max(top, q, -q)
			}
			if top != 127 {
				t.Fatalf("the largest number is %d", top)
			}
		}
	}
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	w := make([]int8, 4*panelWidth)
	for _, c := range []struct {
		values []float32
		want   []int8
		scale  float32
	}{
		{[]float32{127, 0.5, 1.5, -2.5}, []int8{127, 0, 2, -2}, 1},
		{[]float32{-254, 1, 3, 0}, []int8{-127, 0, 2, 0}, 2},
		{[]float32{0, 0, 0, 0}, []int8{0, 0, 0, 0}, 0},
		{[]float32{1e-40, 0, -1e-38, 0}, []int8{0, 0, 0, 0}, 0}, // nothing beside any other
		{[]float32{1, nan, 2, 3}, nil, nan},                     // what is broken stays broken
		{[]float32{1, -inf, 2, 3}, nil, inf},
	} {
		clear(w)
		scale := quantize(w, c.values)
		if scale != c.scale && !(scale != scale && c.scale != c.scale) {
			t.Errorf("%v: a number counts %v, want %v", c.values, scale, c.scale)
		}
		for i, want := range c.want {
			if got := w[i*panelWidth]; got != want {
				t.Errorf("%v: number %d is %d, want %d", c.values, i, got, want)
			}
		}
	}
}

// Products of whole numbers, against sums of integers: there is nothing to
// round but the scale. All ways to cut rows and panels, all instruction sets.
func TestInt8ProductsAreExact(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	p := newPool(2)
	defer p.close()
	for _, k := range variants() {
		e := &engine{kernels: k, pool: p}
		for _, shape := range [][2]int{{1, 1}, {31, 3}, {33, 64}, {128, 48}, {300, 129}} {
			for _, rows := range []int{1, 2, 3, 4, 5, 11, 12, 13, 25, rowBlock + 1} {
				m := &matrix{out: shape[0], in: shape[1], dtype: model.Int8}
				m.data = randomPanels(r, model.Int8, m.panels(), m.in)
				x, y := make([]float32, rows*m.in), make([]float32, rows*m.stride())
				for i := range x {
					x[i] = float32(r.IntN(201) - 100)
				}
				e.linear(y, m.stride(), x, m.in, rows, m, nil)
				for i := range rows {
					for j := range m.stride() {
						w, scales := int8s(m.panel(j/panelWidth), m.in)
						sum := 0
						for l, v := range x[i*m.in:][:m.in] {
							sum += int(v) * int(w[l*panelWidth+j%panelWidth])
						}
						if want, got := float32(sum)*scales[j%panelWidth], y[i*m.stride()+j]; got != want {
							t.Fatalf("%s, %d rows by %v: row %d, output %d is %v, want %v", k.name, rows, shape, i, j, got, want)
						}
					}
				}
			}
		}
	}
}

// rounded gives every matrix of a model the values that int8 has for it, as
// float32.
func rounded(m *model.Model) {
	done := map[*model.Tensor]bool{}
	for _, w := range m.Config.Program.Weights {
		for i := range m.Weights.Of(w).Sources {
			s := &m.Weights.Of(w).Sources[i]
			if t := s.Tensor; w.Matrix() && !done[t] {
				done[t] = true
				t.Data, t.Encoding = roundedRows(s, w.In()), model.Plain(model.Float32)
			}
		}
	}
}

func roundedRows(s *model.Source, width int) (data []byte) {
	for i := range s.Rows {
		values, most := make([]float32, width), float32(0)
		s.Read(i, values)
		for _, v := range values {
			most = max(most, float32(math.Abs(float64(v))))
		}
		for _, v := range values {
			v = float32(math.RoundToEven(float64(v*(127/most)))) * (most / 127)
			data = binary.LittleEndian.AppendUint32(data, math.Float32bits(v))
		}
	}
	return data
}

// How far int8 may be from transformers in float32, of log-probabilities: at
// most, and the root of the mean square. The checkpoints are small and random,
// which is the worst case: trained models are closer (see the built-in one in
// bench/results/cpu.md). Where experts are as good as each other, rounding may
// choose another.
var int8Bounds = map[bool]struct{ most, rms float64 }{
	false: {0.5, 0.09},
	true:  {1.7, 0.2}, // mixtures
}

// Every checkpoint with int8 weights: what a device with float32 makes of the
// same rounded weights, and within bounds of what transformers makes of the
// exact ones. The references' own continuation is scored, so that one other
// token does not change all that follow.
func TestInt8References(t *testing.T) {
	for _, c := range modeltest.All(t) {
		if raceDetector && c.Name != "qwen3" && c.Name != "qwen3moe" {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			m, ref := c.Open(t), c.Reference(t)
			spec := device.Spec{Model: m, DType: model.Int8, Slots: 1, MaxStepTokens: 1024}
			ours := newRig(t, spec, choose(), 2)
			rounded(m)
			spec.DType = model.Float32
			twin := newRig(t, spec, choose(), 2)
			var most, squares, apart float64
			n, agreed, tokens := 0, 0, 0
			differ := func(got, want float64) {
				d := math.Abs(got - want)
				most, squares, n = max(most, d), squares+d*d, n+1
			}
			for i := range ref.Cases {
				c := &ref.Cases[i]
				logits, scores := score(ours, c)
				logits2, scores2 := score(twin, c)
				got, want := likelihoods(logits), likelihoods(c.LastLogits)
				for j := range logits {
					apart = max(apart, math.Abs(float64(logits[j]-logits2[j])))
					differ(got[j], want[j])
				}
				for j, s := range scores {
					apart = max(apart, math.Abs(float64(s.Token-scores2[j].Token)))
					differ(float64(s.Token), float64(c.GreedyLogprobs[j]))
					if s.Top[0].Token == c.GreedyIDs[j] {
						agreed++
					}
					tokens++
				}
			}
			rms, bound := math.Sqrt(squares/float64(n)), int8Bounds[slotNamed(m, "layers.0.router") != nil]
			t.Logf("log-probabilities differ by %.3f at most, %.4f rms; %d of %d tokens are the likeliest still; the twin is within %.1e", most, rms, agreed, tokens, apart)
			if !(apart <= tolerance) {
				t.Errorf("the same weights as float32 make a difference of %v", apart)
			}
			if !(most <= bound.most) || !(rms <= bound.rms) {
				t.Errorf("log-probabilities differ by %v at most, %v rms; want %+v", most, rms, bound)
			}
		})
	}
}

// score runs a case's prompt and its continuation, and returns the logits
// after the prompt and what the model says of each token of the continuation.
func score(r *rig, c *modeltest.Case) ([]float32, []batch.Logprob) {
	r.t.Helper()
	r.forget()
	s := &batch.Step{}
	r.give(s, 0, batch.Sampling{Logprobs: 2}, nil)
	r.row(s, 0, 0, c.PromptIDs, true)
	s.Rows[0].Score = append(append([]int32{}, c.PromptIDs[1:]...), c.GreedyIDs[0])
	scores := r.run(s).Scores[len(c.PromptIDs)-1:]
	s = &batch.Step{}
	last := len(c.GreedyIDs) - 1
	r.row(s, 0, int32(len(c.PromptIDs)), c.GreedyIDs[:last], false)
	s.Rows[0].Score = c.GreedyIDs[1:]
	return r.logits[0], append(scores, r.run(s).Scores...)
}

// likelihoods are the log-probabilities that logits mean.
func likelihoods(logits []float32) []float64 {
	var total float64
	for _, z := range logits {
		total += math.Exp(float64(z))
	}
	p := make([]float64, len(logits))
	for i, z := range logits {
		p[i] = float64(z) - math.Log(total)
	}
	return p
}

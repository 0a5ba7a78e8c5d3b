package cpu

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/model"
)

// tinyMoE is tiny with experts that fill no panel.
func tinyMoE() *model.Model {
	m := tiny()
	m.Config.Architecture = "Qwen3MoeForCausalLM"
	m.Config.MoE = &model.MoE{Experts: 5, PerToken: 3, Intermediate: 40}
	return m
}

// A mixture is the sum over a token's experts that package model states,
// computed here in float64 and token by token; of few tokens and of more than
// a block to an expert.
func TestMixture(t *testing.T) {
	for _, c := range []struct {
		dtype     model.DType
		normalize bool
	}{{model.Float32, false}, {model.Float32, true}, {model.Int8, true}} {
		m := tinyMoE()
		m.Config.Hidden = 176
		m.Config.MoE.Normalize = c.normalize
		p := newPool(2)
		e, _, err := newEngine(device.Spec{Model: m, DType: c.dtype, NumPages: 8, PageSize: 4}, choose(), p)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := e.free(); err != nil {
				t.Error(err)
			}
		})
		l, w, h := &e.weights.layers[1], &e.work, e.config.Hidden
		for _, n := range []int{1, 2, 7, 500} {
			w.tokens = make([]token, n)
			e.grow(n)
			r := rand.New(rand.NewPCG(uint64(n), 3))
			for _, v := range [][]float32{w.normed, w.x} {
				for i := range v {
					v[i] = float32(r.NormFloat64())
				}
			}
			normed, want := slices.Clone(w.normed), slices.Clone(w.x)
			e.mixture(l)
			for i := 0; i < n; i += 1 + n/50 {
				y := naiveMixture(l, e.config.MoE, normed[i*apart(h):][:h])
				for j, v := range y {
					if got := float64(w.x[i*h+j]); math.Abs(got-float64(want[i*h+j])-v) > 1e-5 {
						t.Fatalf("%+v, %d tokens: token %d, element %d is %v, want %v", c, n, i, j, got, float64(want[i*h+j])+v)
					}
				}
			}
		}
	}
}

func naiveMixture(l *layer, m *model.MoE, x []float32) []float64 {
	times := func(w *matrix, x []float64) []float64 {
		row, y := make([]float32, w.in), make([]float64, w.out)
		for i := range y {
			w.row(row, i)
			for j, v := range row {
				y[i] += float64(v) * x[j]
			}
		}
		return y
	}
	in := make([]float64, len(x))
	for i, v := range x {
		in[i] = float64(v)
	}
	p, ids, total := times(l.router, in), make([]int, m.Experts), 0.0
	for i := range p {
		ids[i], p[i] = i, math.Exp(p[i])
		total += p[i]
	}
	slices.SortFunc(ids, func(a, b int) int { return int(math.Copysign(1, p[b]-p[a])) })
	ids = ids[:m.PerToken]
	if m.Normalize {
		total = 0
		for _, id := range ids {
			total += p[id]
		}
	}
	sum := make([]float64, len(x))
	for _, id := range ids {
		gu, act := times(l.experts[id].gateUp, in), make([]float64, m.Intermediate)
		for i := range act {
			at := i/panelWidth*2*panelWidth + i%panelWidth
			act[i] = gu[at] / (1 + math.Exp(-gu[at])) * gu[at+panelWidth]
		}
		for i, v := range times(l.experts[id].down, act) {
			sum[i] += p[id] / total * v
		}
	}
	return sum
}

func TestChoose(t *testing.T) {
	inf, nan := float32(math.Inf(-1)), float32(math.NaN())
	for _, c := range []struct {
		name      string
		logits    []float32
		normalize bool
		choice    []int32
		share     []float32
	}{
		{"the largest, by id", []float32{0, 2, 1, 3}, false, []int32{1, 3}, []float32{0.23688282, 0.6439142}},
		{"shares of one", []float32{0, 2, 1, 3}, true, []int32{1, 3}, []float32{0.26894143, 0.7310586}},
		{"among equals the first", []float32{1, 5, 1, 1}, true, []int32{0, 1}, []float32{0.01798621, 0.98201376}},
		{"all equal", []float32{7, 7, 7, 7}, false, []int32{0, 1}, []float32{0.25, 0.25}},
		{"one alone", []float32{inf, inf, inf, 0}, true, []int32{0, 3}, []float32{0, 1}},
		{"no numbers", []float32{nan, nan, nan, nan}, true, nil, nil}, // bounds are kept
	} {
		for _, k := range variants() {
			e := &engine{kernels: k, config: &model.Config{MoE: &model.MoE{Experts: 4, PerToken: 2, Normalize: c.normalize}}}
			choice, share := make([]int32, 2), make([]float32, 2)
			e.choose(choice, share, slices.Clone(c.logits))
			if c.choice == nil {
				continue
			}
			near := func(a, b float32) bool { return math.Abs(float64(a-b)) < 1e-6 }
			if !slices.Equal(choice, c.choice) || !slices.EqualFunc(share, c.share, near) {
				t.Errorf("%s, %s: experts %v with %v, want %v with %v", c.name, k.name, choice, share, c.choice, c.share)
			}
		}
	}
}

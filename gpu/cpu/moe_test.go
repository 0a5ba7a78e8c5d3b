package cpu

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/gpu/program"
)

// tinyMoE is tiny with experts that fill no panel.
func tinyMoE(t testing.TB, fields ...map[string]any) *model.Model {
	t.Helper()
	experts := map[string]any{
		"architectures": []string{"Qwen3MoeForCausalLM"}, "num_experts": 5, "num_experts_per_tok": 3, "moe_intermediate_size": 40,
	}
	return tiny(t, append([]map[string]any{experts}, fields...)...)
}

// A mixture is the sum over a token's experts that package program states,
// computed here in float64 and token by token; of few tokens and of more than
// a block to an expert.
func TestMixture(t *testing.T) {
	for _, c := range []struct {
		dtype     model.DType
		normalize bool
	}{{model.Float32, false}, {model.Float32, true}, {model.Int8, true}, {model.Int4, true}} {
		m := tinyMoE(t, map[string]any{"hidden_size": 176, "norm_topk_prob": c.normalize})
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
		l := e.lastMixture()
		tolerance := 1e-5
		if c.dtype != model.Float32 {
			tolerance = 2e-3 // what is in the middle of two whole numbers may become either
		}
		for _, n := range []int{1, 2, 7, 500} {
			e.work.tokens = make([]token, n)
			e.grow(program.Tokens, program.Entries)
			r := rand.New(rand.NewPCG(uint64(n), 3))
			for i := range n {
				for _, row := range [][]float32{l.normed.row(i), l.x.row(i)} {
					for j := range row {
						row[j] = float32(r.NormFloat64())
					}
				}
			}
			normed, want := slices.Clone(l.normed.all()), slices.Clone(l.x.all())
			for _, f := range l.run {
				f()
			}
			for i := 0; i < n; i += 1 + n/50 {
				y := naiveMixture(l, c.normalize, normed[i*l.normed.stride:][:176])
				for j, v := range y {
					if got, was := float64(l.x.row(i)[j]), float64(want[i*l.x.stride+j]); math.Abs(got-was-v) > tolerance {
						t.Fatalf("%+v, %d tokens: token %d, element %d is %v, want %v", c, n, i, j, got, was+v)
					}
				}
			}
		}
	}
}

// mixture is a layer's, from the normed tokens to the residual stream.
type mixture struct {
	normed, x    view
	router       *matrix
	gateUp, down []*matrix
	perToken     int
	run          []func()
}

func (e *engine) lastMixture() *mixture {
	l := &mixture{}
	for i, op := range e.plan.ops {
		x, is := program.One[*program.ExpertProduct](op)
		if !is || x.In.Rows != program.Tokens {
			continue
		}
		router := e.plan.ops[i-2].(*program.Product)
		add, _ := program.One[*program.Add](e.plan.ops[i+2])
		down := e.plan.ops[i+1].(*program.ExpertProduct)
		l = &mixture{
			e.plan.view(x.In), e.plan.view(add.X), e.weights.matrix(router.Weight), e.weights.matrices[x.Weight], e.weights.matrices[down.Weight],
			x.Routes.Width, e.plan.body[i-2 : i+3],
		}
	}
	return l
}

func naiveMixture(l *mixture, normalize bool, x []float32) []float64 {
	times := func(w *matrix, x []float64) []float64 {
		row, y := make([]float32, w.in), make([]float64, w.out)
		if w.whole() {
			x32 := make([]float32, len(x))
			for i, v := range x {
				x32[i] = float32(v)
			}
			for i, v := range plainly(w, x32, 1)[:w.out] {
				y[i] = float64(v)
			}
			return y
		}
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
	p, ids, total := times(l.router, in), make([]int, len(l.gateUp)), 0.0
	for i := range p {
		ids[i], p[i] = i, math.Exp(p[i])
		total += p[i]
	}
	slices.SortFunc(ids, func(a, b int) int { return int(math.Copysign(1, p[b]-p[a])) })
	ids = ids[:l.perToken]
	if normalize {
		total = 0
		for _, id := range ids {
			total += p[id]
		}
	}
	sum := make([]float64, len(x))
	for _, id := range ids {
		gu, act := times(l.gateUp[id], in), make([]float64, l.down[id].in)
		for i := range act {
			at := i/panelWidth*2*panelWidth + i%panelWidth
			act[i] = gu[at] / (1 + math.Exp(-gu[at])) * gu[at+panelWidth]
		}
		for i, v := range times(l.down[id], act) {
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
			e := &chooser{Route: &program.Route{Normalize: c.normalize, Scale: 1}, kernels: k}
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

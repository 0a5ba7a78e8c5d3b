package cpu

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/gpu/model/modeltest"
	"github.com/troupe-llm/troupe/gpu/program"
)

// Fused and unfused ops give the same bits: all rules, none, and each alone.
func TestRulesChangeNoBits(t *testing.T) {
	windows := map[string]any{"sliding_window": 20, "use_sliding_window": true, "max_window_layers": 1}
	models := map[string]*model.Model{}
	for name, m := range map[string]*model.Model{"odd sizes": tiny(t), "odd experts": tinyMoE(t), "odd windows": tiny(t, windows)} {
		models[name] = modeltest.Random(rand.New(rand.NewPCG(1, 2)), m.Config)
	}
	for _, name := range []string{"qwen2", "qwen3moe"} { // biases, experts
		models[name] = modeltest.Get(t, name).Open(t)
	}
	sets := map[string][]*program.Rule{"none": nil}
	for _, r := range rules {
		sets[r.Name] = []*program.Rule{r}
	}
	used := map[string]bool{}
	for name, m := range models {
		for _, dtype := range []model.DType{model.BFloat16, model.Int8} {
			spec := device.Spec{Model: m, DType: dtype, Slots: 32, PageSize: 16, NumPages: 160, MaxSeqLen: 128, MaxStepTokens: 1024}
			want := compute(newRig(t, spec, choose(), 2), 13, true, 3, nil, 0)
			for set, only := range sets {
				r := newRigBy(t, spec, choose(), 2, only)
				for _, op := range r.d.engine.plan.ops {
					if f, fused := op.(*program.Fused); fused {
						used[f.Rule.Name] = true
					}
				}
				if got := compute(r, 13, true, 3, nil, 0); !got.same(want) {
					t.Errorf("%s, %s, rules %s: tokens %v, want %v", name, dtype, set, got.tokens, want.tokens)
				}
			}
		}
	}
	for _, r := range rules {
		if !used[r.Name] {
			t.Errorf("no model has what %s is for", r.Name)
		}
	}
}

// What a token looks at, against what is said of it, page by page.
func TestSeen(t *testing.T) {
	for _, s := range []seen{{0, 1, 0, 4}, {0, 9, 0, 4}, {7, 5, 0, 4}, {7, 5, 3, 4}, {30, 16, 20, 4}, {30, 3, 1, 16}, {2, 30, 8, 1}, {100, 4, 8, 16}} {
		got := map[string]int{}
		s.visit(func(page, i, n, from, end int) {
			if from < page*s.size || end > (page+1)*s.size {
				t.Errorf("%+v: positions %d to %d are not of page %d", s, from, end, page)
			}
			for token := i; token < i+n; token++ {
				for at := from; at < end; at++ {
					got[fmt.Sprint(token, " ", at)]++
				}
			}
		})
		want := 0
		for token := range s.n {
			for at := range s.before + token + 1 {
				if s.window == 0 || at > s.before+token-s.window {
					want++
					if got[fmt.Sprint(token, " ", at)] != 1 {
						t.Errorf("%+v: token %d looks at position %d %d times", s, token, at, got[fmt.Sprint(token, " ", at)])
					}
				}
			}
		}
		if len(got) != want {
			t.Errorf("%+v: %d looks, want %d", s, len(got), want)
		}
	}
}

// An op that the device does not have is refused when it is opened, by name.
func TestUnknownOps(t *testing.T) {
	m := tiny(t)
	p := *m.Config.Program
	p.Ops = append([]program.Op{unknown{}}, p.Ops...)
	m.Config.Program = &p
	_, err := Open(device.Spec{Model: m, NumPages: 16})
	if want := `cpu: the model needs "telepathy" (cpu.unknown), which the CPU device does not compute`; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

type unknown struct{}

func (unknown) Name() string                        { return "telepathy" }
func (unknown) Uses() program.Uses                  { return program.Uses{} }
func (unknown) Cost(*program.Pass) (c program.Cost) { return c }

// newRigBy is a rig whose device fuses by those rules.
func newRigBy(t testing.TB, spec device.Spec, k *kernels, cores int, rules []*program.Rule) *rig {
	t.Helper()
	r := newRig(t, spec, k, cores)
	e, _, err := newEngineBy(func() device.Spec { spec.NumPages = r.info.NumPages; return spec }(), k, newPool(cores), rules)
	if err != nil {
		t.Fatal(err)
	}
	inspect := r.d.engine.inspect
	if err := r.d.engine.free(); err != nil {
		t.Fatal(err)
	}
	e.inspect = inspect
	r.d.engine = e
	return r
}

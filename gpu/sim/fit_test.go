package sim

import (
	"bufio"
	"encoding/json"
	"math"
	"os"
	"slices"
	"testing"

	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/device"
)

// measurement is a line of testdata/h200.jsonl: what a step of package cuda
// took an NVIDIA H200, the median of nine. Written on 2026-11-23 by
//
//	go test -tags cuda -run '^$' -bench Steps ./gpu/cuda
type measurement struct {
	Model   string
	Decodes int32 // rows that decode, each behind Context tokens
	Context int32
	Prefill int32 // new tokens: prompts of 512 and a rest, or behind Cached tokens one run of them
	Cached  int32
	Drafts  int32   // of each row that decodes
	US      float64 // of the GPU's time
}

func measurements(t testing.TB, file string, lines int) []measurement {
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all []measurement
	for in := bufio.NewScanner(f); in.Scan(); {
		var m measurement
		if err := json.Unmarshal(in.Bytes(), &m); err != nil {
			t.Fatal(err)
		}
		all = append(all, m)
	}
	if len(all) != lines {
		t.Fatalf("%s: %d measurements, want %d", file, len(all), lines)
	}
	return all
}

// step is the step that was measured, of nine the one in the middle.
func (m *measurement) step() *batch.Step {
	s := &batch.Step{NumDecode: int(m.Decodes), NumTokens: int(m.Decodes*(1+m.Drafts) + m.Prefill)}
	for range m.Decodes {
		row := batch.Row{Start: m.Context + 6, Sample: true, Drafts: m.Drafts}
		if m.Drafts > 0 {
			row.Tokens, s.NumDecode = make([]int32, row.Draws()), 0
		}
		s.Rows = append(s.Rows, row)
	}
	for left := m.Prefill; left > 0; {
		n := left
		if m.Cached == 0 {
			n = min(n, 512)
		}
		s.Rows = append(s.Rows, batch.Row{Start: m.Cached, Tokens: make([]int32, n), Sample: true})
		left -= n
	}
	return s
}

// sample is a measurement and what a Roofline of the same model says.
type sample struct {
	measurement
	at   *batch.Step
	roof *Roofline
}

func samples(t testing.TB, file string, lines int) []sample {
	o, err := parse("sim:h200")
	if err != nil {
		t.Fatal(err)
	}
	var all []sample
	roofs := map[string]*Roofline{}
	for _, m := range measurements(t, file, lines) {
		c := &published(t, m.Model).Config
		if c.Program.ActiveParams() < c.Program.Params() && m.Prefill > 0 && m.Prefill < 2048 {
			continue // its tokens chose as few experts do not in trained models: they are alike behind random weights
		}
		if roofs[m.Model] == nil {
			roofs[m.Model] = newRoofline(&o, c.Program, &device.Info{DType: c.DType}, measured)
		}
		all = append(all, sample{m, m.step(), roofs[m.Model]})
	}
	return all
}

// ratio is the time by the model to the time measured.
func (s *sample) ratio(by rates) float64 {
	roof := *s.roof
	roof.rates = by
	return roof.Step(s.at).Seconds() * 1e6 / s.US
}

// misses are the relative ones, the least first.
func misses(all []sample, by rates) []float64 {
	var e []float64
	for i := range all {
		e = append(e, math.Abs(all[i].ratio(by)-1))
	}
	slices.Sort(e)
	return e
}

// loss sums errors, large ones by their size and small ones by its square.
func loss(all []sample, by rates) (sum float64) {
	for i := range all {
		sum += math.Sqrt(1+math.Pow(math.Log(all[i].ratio(by))/0.05, 2)) - 1
	}
	return sum
}

// fit finds the rates of least loss, or all but what few steps say: none of the
// larger models wait for launches, and only mixtures have experts.
func fit(all []sample, from rates, whole bool) rates {
	n := 6
	if whole {
		n = 8
	}
	at := func(x []float64) rates {
		by := from
		for i, v := range []*float64{&by.weights, &by.kv, &by.products, &by.attention, &by.kernel, &by.decode, &by.launch, &by.experts}[:n] {
			*v *= math.Exp(x[i])
		}
		return by
	}
	f := func(x []float64) float64 { return loss(all, at(x)) }
	best := make([]float64, n)
	for before := math.Inf(1); f(best) < before-1e-4; { // begun again until that helps no more
		before = f(best)
		best = simplex(f, best, 0.1)
	}
	return at(best)
}

// simplex is Nelder and Mead's: the least of f near a point.
func simplex(f func([]float64) float64, from []float64, width float64) []float64 {
	type point struct {
		x []float64
		y float64
	}
	n := len(from)
	var points []point
	for i := range n + 1 {
		x := slices.Clone(from)
		if i < n {
			x[i] += width
		}
		points = append(points, point{x, f(x)})
	}
	for range 300 * n {
		slices.SortFunc(points, func(a, b point) int { return int(math.Copysign(1, a.y-b.y)) })
		worst := &points[n]
		if worst.y-points[0].y < 1e-7 {
			break
		}
		// along is as far from the worst point through the others' middle.
		along := func(by float64) point {
			x := make([]float64, n)
			for i := range x {
				for _, p := range points[:n] {
					x[i] += p.x[i] / float64(n)
				}
				x[i] += by * (x[i] - worst.x[i])
			}
			return point{x, f(x)}
		}
		p := along(1)
		switch {
		case p.y < points[0].y:
			if q := along(2); q.y < p.y {
				p = q
			}
		case p.y >= points[n-1].y:
			p = along(-0.5)
		}
		if p.y < worst.y {
			*worst = p
			continue
		}
		for i := 1; i <= n; i++ {
			for j := range n {
				points[i].x[j] = (points[i].x[j] + points[0].x[j]) / 2
			}
			points[i].y = f(points[i].x)
		}
	}
	return points[0].x
}

// What the package says of its error, and that no other rates fit better.
func TestFit(t *testing.T) {
	all := samples(t, "testdata/h200.jsonl", 85)
	for i := range all {
		s := &all[i]
		t.Logf("%-12s %3d@%-4d +%-4d @%-5d %9.1f µs %+5.1f%%", s.Model, s.Decodes, s.Context, s.Prefill, s.Cached, s.US, 100*(s.ratio(measured)-1))
	}
	check := func(what string, of []sample, by rates, median, worst float64) {
		t.Helper()
		e := misses(of, by)
		t.Logf("%s: %d steps, median error %.1f%%, worst %.1f%%, by %+v", what, len(e), 100*e[len(e)/2], 100*e[len(e)-1], by)
		if e[len(e)/2] > median || e[len(e)-1] > worst {
			t.Errorf("%s: more than the %.1f%% and %.1f%% that are stated", what, 100*median, 100*worst)
		}
	}
	check("all", all, measured, 0.019, 0.14)
	best := fit(all, measured, true)
	check("all, fitted anew", all, best, 0.019, 0.14)
	if now, least := loss(all, measured), loss(all, best); now > 1.01*least {
		t.Errorf("the rates' loss is %.3f; that of others %.3f", now, least)
	}
	for _, c := range []struct {
		model         string
		median, worst float64
	}{
		{"qwen3-0.6b", 0.03, 0.12},
		{"llama-3.1-8b", 0.012, 0.06},
		{"qwen3-14b", 0.025, 0.08},
		{"qwen3-30b-a3b", 0.03, 0.16},
	} {
		var of, others []sample
		for _, s := range all {
			if s.Model == c.model {
				of = append(of, s)
			} else {
				others = append(others, s)
			}
		}
		check(c.model+" by the others", of, fit(others, measured, false), c.median, c.worst)
	}
}

// Steps with drafts, 1 to 8 of 1, 8 and 64 requests behind 100 to 4,000 tokens, take what the
// same rates say, which are fitted to steps without. Written on 2026-11-30 by
//
//	go test -tags cuda -run '^$' -bench Drafts ./gpu/cuda
//
// One request of the small model takes less without any, too, than when the rates were fitted.
func TestFitOfDrafts(t *testing.T) {
	all := samples(t, "testdata/h200-drafts.jsonl", 84)
	all = slices.DeleteFunc(all, func(s sample) bool { return s.Model == "qwen3-0.6b" && s.Decodes == 1 || s.Drafts == 0 })
	e := misses(all, measured)
	median, most := e[len(e)/2], e[len(e)-1]
	t.Logf("%d steps with drafts are off by %.1f%% in the median, %.1f%% at most", len(e), 100*median, 100*most)
	if median > 0.06 || most > 0.25 {
		t.Errorf("that is more than 6%% or 25%%")
	}
}

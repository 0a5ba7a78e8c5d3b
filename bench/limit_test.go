package bench

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/model"
)

var h200 = device.Info{Hardware: "NVIDIA H200", DType: model.BFloat16, Slots: 256, MaxStepTokens: 8192}

// limitOn is the limit of requests to a model.
func limitOn(t *testing.T, name string, dev device.Info, in, out []int) *Limit {
	t.Helper()
	m, err := model.Open(name, true)
	if err != nil {
		t.Fatal(err)
	}
	return limitOf(&m.Config, dev, in, out)
}

// referenceWork is 142,827 tokens in and 133,966 out.
func referenceWork() (in, out []int) {
	for _, p := range RandomPrompts(0, 256, Range{100, 1024}, Range{100, 1024}, 151936) {
		in, out = append(in, len(p.Tokens)), append(out, p.MaxTokens)
	}
	return in, out
}

// The reference work on an H200, worked out apart by hand. Prompts: their tokens
// by twice the weights, and attention. Keys and values: the positions that all
// decoded tokens look back at (120.8 million) by the bytes of one. The rest: in
// every step the weights' bytes or, of more than 178 requests, their products.
func TestLimit(t *testing.T) {
	in, out := referenceWork()
	step := func(params, rows float64) float64 { return math.Max(params*2/4.43e12, 2*params*rows/790e12) }
	var weights float64 // of a model of 1e9 weights
	for j := 1; j < slices.Max(out); j++ {
		left := 0.0
		for _, n := range out {
			if n > j {
				left++
			}
		}
		weights += step(1e9, left)
	}
	for _, c := range []struct {
		model                string
		prompts, kv, weights float64
	}{
		{"qwen3-0.6b", 0.174, 120.8e6 * 114688 / 4.43e12, 0.596 * weights},
		{"qwen3-14b", 4.83, 120.8e6 * 163840 / 4.43e12, 13.99 * weights},
	} {
		l := limitOn(t, c.model, h200, in, out)
		for name, pair := range map[string][2]float64{"prompts": {l.PromptsS, c.prompts}, "keys and values": {l.KVS, c.kv}, "weights": {l.WeightsS, c.weights}} {
			if got, want := pair[0], pair[1]; math.Abs(got/want-1) > 0.03 {
				t.Errorf("%s: %s take %.3f s, want %.3f", c.model, name, got, want)
			}
		}
		if sum := l.PromptsS + l.KVS + l.WeightsS; math.Abs(l.OutputThroughput*sum/133966-1) > 1e-9 {
			t.Errorf("%s: %v tokens/s in %v s", c.model, l.OutputThroughput, sum)
		}
	}
	// Two share all but the little that both have whole.
	two := h200
	two.Ranks = 2
	one, half := limitOn(t, "qwen3-14b", h200, in, out).OutputThroughput, limitOn(t, "qwen3-14b", two, in, out).OutputThroughput
	if half < 1.98*one || half > 2*one {
		t.Errorf("two GPUs are limited to %v tokens/s, one to %v", half, one)
	}
	for _, dev := range []device.Info{
		{Hardware: "a toaster", DType: model.BFloat16, Slots: 256, MaxStepTokens: 8192},
		{Name: "sim:h200,tp=2", Hardware: "simulated 2 × NVIDIA H200 SXM", DType: model.BFloat16, Slots: 256, MaxStepTokens: 8192},
	} {
		if limitOn(t, "qwen3-0.6b", dev, in, out) != nil {
			t.Errorf("a limit of %s", dev.Hardware)
		}
	}
}

// A mixture's step reads what its tokens meet: one token PerToken experts.
func TestLimitOfExperts(t *testing.T) {
	m, err := model.Open("qwen3-30b-a3b", true)
	if err != nil {
		t.Fatal(err)
	}
	// Ten tokens one after the other, and the prompt's one token.
	l := limitOf(&m.Config, h200, []int{1}, []int{11})
	p := m.Config.Program
	want := 10 * float64(p.ActiveParams()-p.Weights[0].Elements()) * 2 / 4.43e12 // the embedding is looked up
	if math.Abs(l.WeightsS/want-1) > 0.001 {
		t.Errorf("weights take %v s, want %v", l.WeightsS, want)
	}
}

// Prompts fill steps: none is larger, and a prompt goes on in the next where it
// was cut.
func TestPromptPasses(t *testing.T) {
	var got []string
	for _, p := range promptPasses([]int{3, 9, 1, 2}, 5) {
		got = append(got, fmt.Sprint(p.Spans, p.Tokens, p.Sampled))
	}
	if want := []string{"[{0 3} {0 2}] 5 1", "[{2 5}] 5 0", "[{7 2} {0 1} {0 2}] 5 3"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if p := decodePass([]int{3, 9, 1}, []int{2, 4, 3}, 1); fmt.Sprint(p.Spans, p.Sampled) != "[{10 1} {2 1}] 2" {
		t.Errorf("the second decode step is %v", p.Spans)
	}
}

// numbers are those of at least four digits in a cell.
func numbers(t *testing.T, cells string) (list []float64) {
	for _, s := range regexp.MustCompile(`\d+(,\d{3})+`).FindAllString(cells, -1) {
		n, err := strconv.ParseFloat(strings.ReplaceAll(s, ",", ""), 64)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, n)
	}
	return list
}

// What README and the results say of limits is what the function says.
func TestLimitsThatAreStated(t *testing.T) {
	in, out := referenceWork()
	token := func(name string) string {
		l := limitOn(t, name, h200, []int{16}, []int{512})
		return fmt.Sprintf("%.2f", (l.KVS+l.WeightsS)/511*1e3)
	}
	first := fmt.Sprintf("%.1f", limitOn(t, "qwen3-0.6b", h200, []int{1024}, []int{1}).PromptsS*1e3)
	want := map[string]map[string]string{
		"../README.md":   {"| Qwen3-0.6B, one request": token("qwen3-0.6b"), "| first token of 1,024": first},
		"results/gpu.md": {"| a token, Qwen3-0.6B, alone": token("qwen3-0.6b") + " ms", "| a token, Qwen3-30B-A3B, alone": token("qwen3-30b-a3b") + " ms", "| the first token of a prompt of 1,024": first + " ms"},
	}
	for name, row := range map[string]string{"qwen3-0.6b": "Qwen3-0.6B", "qwen3-14b": "Qwen3-14B", "qwen3-30b-a3b": "Qwen3-30B-A3B", "builtin": "the built-in model"} {
		limit := thousands(int(math.Round(limitOn(t, name, h200, in, out).OutputThroughput)))
		if name != "builtin" {
			want["../README.md"]["| "+row+","] = limit
		}
		want["results/gpu.md"]["| "+row+" |"] = limit
	}
	for file, rows := range want {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for begins, limit := range rows {
			at := strings.Index(string(data), "\n"+begins)
			if at < 0 {
				t.Errorf("%s has no row %q", file, begins)
				continue
			}
			line, _, _ := strings.Cut(string(data[at+1:]), "\n")
			if !strings.Contains(line, "| "+limit+" |") {
				t.Errorf("%s: the limit is %s: %s", file, limit, line)
			}
			if cells := strings.Split(line, "|"); len(cells) == 7 { // model, figures, another day, limit, share
				all, of := numbers(t, cells[2]+cells[3]), numbers(t, cells[4])[0]
				if share := fmt.Sprintf(" %.0f–%.0f%% ", 100*slices.Min(all)/of, 100*slices.Max(all)/of); cells[5] != share {
					t.Errorf("%s: the share is %s: %s", file, share, line)
				}
			}
		}
	}
}

// Reports that are kept have the limits of their requests.
func TestLimitsInReports(t *testing.T) {
	files, err := filepath.Glob("results/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	checked := 0
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		r, err := ReadReport(f)
		_ = f.Close()
		if err != nil {
			continue // a comparison of another kind
		}
		for _, one := range append([]*Report{r}, r.Runs...) {
			e, s := &one.Environment, one.Samples
			if one.Limit == nil || s == nil {
				continue
			}
			dev := device.Info{Name: e.Device, Hardware: e.Hardware, Ranks: e.Ranks, Slots: e.Slots, MaxStepTokens: e.StepTokens}
			weights, kv, _ := strings.Cut(e.DType, ", keys and values ")
			dtype, own, projections := strings.Cut(weights, ", projections ")
			dev.DType, dev.KVDType = model.DType(dtype), model.DType(kv)
			if projections {
				m, err := model.Open(strings.ToLower(e.Model), true)
				if err != nil {
					t.Fatal(err)
				}
				if m, err = m.Share(0, max(1, e.Ranks)); err != nil { // whose formats a rank has
					t.Fatal(err)
				}
				held := m.HeldInFP8(model.HeldAs(dev.DType), true)
				if strings.HasPrefix(own, "int4") {
					held = m.HeldInInt4(model.HeldAs(dev.DType), true)
				}
				dev.Held = &held
			}
			l := limitOn(t, strings.ToLower(e.Model), dev, s.Input, s.Output)
			if math.Abs(one.Limit.OutputThroughput/l.OutputThroughput-1) > 1e-9 || math.Abs(one.Limit.WeightsS/l.WeightsS-1) > 1e-9 {
				t.Errorf("%s: %+v, want %+v", file, *one.Limit, *l)
			}
			checked++
		}
	}
	if checked < 8 {
		t.Errorf("%d limits in reports", checked)
	}
}

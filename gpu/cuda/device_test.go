//go:build cuda

package cuda

import (
	"fmt"
	"math"
	"runtime"
	"slices"
	"testing"

	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/cpu"
	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/gpu/model/modeltest"
)

// Against transformers in float32, what bf16 weights and activations cost.
const (
	tolerance = 0.05
	tie       = 0.1
)

// require skips the test where there is no GPU.
func require(t testing.TB) {
	t.Helper()
	if _, err := Probe(); err != nil {
		t.Skipf("no GPU: %v", err)
	}
}

// rig drives a device as a scheduler does, one slot a sequence.
type rig struct {
	t     testing.TB
	d     device.Device
	info  device.Info
	seq   uint64
	free  []int32
	pages map[int32][]int32
}

func openRig(t testing.TB, d device.Device, err error) *rig {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	r := &rig{t: t, d: d, info: d.Info(), pages: map[int32][]int32{}}
	for i := range r.info.NumPages { // no two neighbours
		r.free = append(r.free, int32(i*37%r.info.NumPages))
	}
	slices.Sort(r.free)
	r.free = slices.Compact(r.free)
	for i := range r.free {
		j := i * 31 % len(r.free)
		r.free[i], r.free[j] = r.free[j], r.free[i]
	}
	return r
}

func openCUDA(t testing.TB, spec device.Spec) *rig {
	t.Helper()
	require(t)
	runtime.LockOSThread()
	t.Cleanup(runtime.UnlockOSThread)
	d, err := Open(spec)
	return openRig(t, d, err)
}

// row adds a row and the pages it needs; nil tokens are a decode row.
func (r *rig) row(s *batch.Step, slot, start int32, tokens []int32, sample bool) {
	row := batch.Row{Slot: slot, Start: start, Tokens: tokens, Sample: sample}
	for len(r.pages[slot])*r.info.PageSize < int(start)+row.Len() {
		page := r.free[len(r.free)-1]
		r.free = r.free[:len(r.free)-1]
		s.Pages = append(s.Pages, batch.PageEntry{Slot: slot, Index: int32(len(r.pages[slot])), Page: page})
		r.pages[slot] = append(r.pages[slot], page)
	}
	if tokens == nil {
		s.Rows = slices.Insert(s.Rows, s.NumDecode, row)
		s.NumDecode++
	} else {
		s.Rows = append(s.Rows, row)
	}
	s.NumTokens += row.Len()
}

func (r *rig) give(s *batch.Step, slot int32, sampling batch.Sampling) {
	s.Slots = append(s.Slots, batch.SlotInit{Slot: slot, Sampling: sampling})
	r.free = append(r.free, r.pages[slot]...)
	r.pages[slot] = nil
}

func (r *rig) launch(s *batch.Step) {
	r.t.Helper()
	r.seq++
	s.Seq = r.seq
	if err := r.d.Launch(s); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) wait() *batch.Result {
	r.t.Helper()
	var res batch.Result
	if err := r.d.Wait(&res); err != nil {
		r.t.Fatal(err)
	}
	if res.Ended < res.Began {
		r.t.Errorf("step %d ended %d ns before it began", res.Seq, res.Began-res.Ended)
	}
	return &res
}

// prefill computes the prompts in chunks, the rows of a step side by side, and
// returns the first tokens.
func (r *rig) prefill(prompts [][]int32, sampling batch.Sampling, chunk int) []*batch.Result {
	r.t.Helper()
	first := make([]*batch.Result, len(prompts))
	for start, left := 0, true; left; start += chunk {
		s := &batch.Step{}
		left = false
		var last []int
		for i, p := range prompts {
			if start >= len(p) {
				continue
			}
			if start == 0 {
				r.give(s, int32(i), sampling)
			}
			end := min(len(p), start+chunk)
			r.row(s, int32(i), int32(start), p[start:end], end == len(p))
			last = append(last, i)
			left = left || end < len(p)
		}
		r.launch(s)
		res := r.wait()
		for j, i := range last {
			if start+chunk >= len(prompts[i]) {
				one := &batch.Result{Tokens: res.Tokens[j : j+1]}
				if len(res.Logprobs) > 0 {
					one.Logprobs = res.Logprobs[j : j+1]
				}
				first[i] = one
			}
		}
	}
	return first
}

// decode goes on for n tokens, two steps ahead when ahead is set.
func (r *rig) decode(prompts [][]int32, n int, ahead bool) []*batch.Result {
	r.t.Helper()
	next := func(k int) *batch.Step {
		s := &batch.Step{}
		for i := range prompts {
			r.row(s, int32(i), int32(len(prompts[i])+k), nil, true)
		}
		return s
	}
	var results []*batch.Result
	depth := 1
	if ahead {
		depth = device.MaxOutstanding
	}
	for launched := 0; len(results) < n; {
		for launched < n && launched-len(results) < depth {
			r.launch(next(launched))
			launched++
		}
		results = append(results, r.wait())
	}
	return results
}

// Every checkpoint: alone and together, in chunks and whole, with graphs and
// without, one step at a time and two.
func TestReferences(t *testing.T) {
	require(t)
	for _, c := range modeltest.All(t) {
		m, ref := c.Open(t), c.Reference(t)
		if m.Config.MoE != nil {
			t.Logf("left out: %s has a mixture of experts", c.Name)
			continue
		}
		for _, variant := range []struct {
			name   string
			chunk  int
			graphs bool
			ahead  bool
			page   int
		}{
			{"whole", 4096, true, true, 16},
			{"chunks", 7, true, true, 16},
			{"eager", 4096, false, true, 16},
			{"alone", 4096, true, false, 1},
			{"odd-pages", 33, true, true, 48},
		} {
			t.Run(c.Name+"/"+variant.name, func(t *testing.T) {
				r := openCUDA(t, device.Spec{Model: m, Slots: max(8, len(ref.Cases)), MaxStepTokens: 1024, NumPages: 4096, PageSize: variant.page})
				if !variant.graphs {
					r.d.(*Device).encoder.graphs = nil
				}
				groups := [][]modeltest.Case{ref.Cases}
				if variant.name == "alone" {
					groups = nil
					for i := range ref.Cases {
						groups = append(groups, ref.Cases[i:i+1])
					}
				}
				worst := 0.0
				for _, cases := range groups {
					worst = max(worst, compare(t, r, cases, variant.chunk, variant.ahead))
				}
				t.Logf("largest difference of a log-probability: %.4f", worst)
			})
		}
	}
}

func compare(t *testing.T, r *rig, cases []modeltest.Case, chunk int, ahead bool) (worst float64) {
	t.Helper()
	var prompts [][]int32
	for _, c := range cases {
		prompts = append(prompts, c.PromptIDs)
	}
	n := len(cases[0].GreedyIDs)
	first := r.prefill(prompts, batch.Sampling{Logprobs: 1}, chunk)
	rest := r.decode(prompts, n-1, ahead)
	for i, c := range cases {
		for at := range n {
			token, logprob := first[i].Tokens[0], first[i].Logprobs[0].Token
			if at > 0 {
				token, logprob = rest[at-1].Tokens[i], rest[at-1].Logprobs[i].Token
			}
			margin := c.MinMargin
			if len(c.GreedyMargins) > at {
				margin = c.GreedyMargins[at]
			}
			if token != c.GreedyIDs[at] {
				if margin > tie {
					t.Errorf("case %d: token %d is %d, want %d (margin %v)", i, at, token, c.GreedyIDs[at], margin)
				}
				break // another text from here on
			}
			d := math.Abs(float64(logprob - c.GreedyLogprobs[at]))
			if worst = max(worst, d); d > tolerance || math.IsNaN(d) {
				t.Errorf("case %d: log-probability of token %d is %v, want %v", i, at, logprob, c.GreedyLogprobs[at])
				break
			}
		}
	}
	return worst
}

// Sampling on the device draws what the processor draws, from weights that
// are the same on both, for parameters of every kind.
func TestSamplingAgainstCPU(t *testing.T) {
	require(t)
	m := modeltest.Get(t, "qwen3").Open(t)
	prompts := [][]int32{{1, 2, 3, 4, 5}, {9, 8, 7}, {30, 31, 32, 33, 34, 35, 36, 37, 38}, {4}}
	for i, s := range []batch.Sampling{
		{Temperature: 0.6, Seed: 1},
		{Temperature: 1, TopK: 5, Seed: 2},
		{Temperature: 1, TopP: 0.7, Seed: 3},
		{Temperature: 1.5, MinP: 0.2, Seed: 4},
		{Temperature: 1, TopK: 20, TopP: 0.8, MinP: 0.05, Seed: 5},
		{Presence: 1, Frequency: 0.5, Repetition: 1.2},
		{Bias: []batch.TokenBias{{Token: 7, Bias: 100}}},
		{Suppress: []int32{1, 2, 3}, SuppressBelow: 8},
		{Temperature: 1, TopP: 0.9, Logprobs: 6, Seed: 6},
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			var got [2][][]*batch.Result
			spec := device.Spec{Model: m, DType: model.BFloat16, Slots: 8, NumPages: 64}
			host, err := cpu.Open(spec)
			for k, r := range []*rig{openRig(t, host, err), openCUDA(t, spec)} {
				got[k] = [][]*batch.Result{r.prefill(prompts, s, 4096), r.decode(prompts, 8, true)}
			}
			same, all := 0, 0
			for i := range prompts {
				all++
				if got[0][0][i].Tokens[0] == got[1][0][i].Tokens[0] {
					same++
				}
			}
			for j := range got[0][1] {
				for i := range prompts {
					all++
					if got[0][1][j].Tokens[i] == got[1][1][j].Tokens[i] {
						same++
					}
				}
			}
			// bf16 activations move a boundary now and then, and texts part there.
			if 2*same < all {
				t.Errorf("%d of %d tokens are the processor's", same, all)
			}
		})
	}
}

// The same steps give the same bits, whatever ran before.
func TestRepeats(t *testing.T) {
	m := modeltest.Get(t, "qwen3").Open(t)
	r := openCUDA(t, device.Spec{Model: m, Slots: 8, NumPages: 256})
	prompts := [][]int32{{1, 2, 3}, {5, 6, 7, 8}}
	var before []int32
	for range 3 {
		r.prefill(prompts, batch.Sampling{Temperature: 1, Seed: 7}, 4096)
		var tokens []int32
		for _, res := range r.decode(prompts, 16, true) {
			tokens = append(tokens, res.Tokens...)
		}
		if before != nil && !slices.Equal(tokens, before) {
			t.Fatalf("%v, before %v", tokens, before)
		}
		before = tokens
	}
}

// A closed device leaves room for another.
func TestReopen(t *testing.T) {
	require(t)
	m := modeltest.Get(t, "qwen3").Open(t)
	for range 3 {
		d, err := Open(device.Spec{Model: m, Slots: 8, NumPages: 64})
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// BenchmarkDecode is a decode step of 256 rows of 1,000 tokens of a model of
// random weights, and what share of the memory's read rate its bytes are.
func BenchmarkDecode(b *testing.B) {
	for _, name := range []string{"qwen3-0.6b", "qwen3-14b"} {
		for _, rows := range []int{1, 8, 64, 256} {
			b.Run(fmt.Sprintf("%s/%d", name, rows), func(b *testing.B) {
				m, err := model.Open(name, true)
				if err != nil {
					b.Fatal(err)
				}
				const context = 1000
				r := openCUDA(b, device.Spec{Model: m, Slots: 256, MaxSeqLen: 8192})
				prompts := make([][]int32, rows)
				for i := range prompts {
					prompts[i] = make([]int32, context)
				}
				for i := range prompts { // one at a time: a step holds only so many
					s := &batch.Step{}
					r.give(s, int32(i), batch.Sampling{Temperature: 0.6, Seed: uint64(i)})
					r.row(s, int32(i), 0, prompts[i], true)
					r.launch(s)
					r.wait()
				}
				var busy, bytes int64
				k := 0
				for b.Loop() {
					if k == 256 { // the context stays near what it claims to be
						k = 0
					}
					s := &batch.Step{}
					for i := range prompts {
						r.row(s, int32(i), int32(context+k), nil, true)
					}
					r.launch(s)
					res := r.wait()
					busy += res.Ended - res.Began
					bytes += r.info.WeightBytes + int64(rows*(context+k))*m.Config.KVBytesPerToken("")
					k++
				}
				b.ReportMetric(float64(busy)/float64(b.N), "ns-gpu/op")
				b.ReportMetric(float64(bytes)/float64(busy), "GB/s")
			})
		}
	}
}

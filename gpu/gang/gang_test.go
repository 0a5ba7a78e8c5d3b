package gang

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/cpu"
	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/gpu/model/modeltest"
	"github.com/troupe-llm/troupe/gpu/program"
)

// tolerance is what log-probabilities may differ by: sums of float32 in another
// order.
const tolerance = 2e-4

func openCPU(spec device.Spec) (device.Device, error) {
	d, err := cpu.Open(spec)
	if err != nil {
		return nil, err
	}
	return d, nil
}

// open opens so many ranks on the processor, or one device by itself, that round
// nothing: what is rounded to 8 bits otherwise would make more of any difference.
func open(t testing.TB, m *model.Model, ranks int) (device.Device, error) {
	t.Helper()
	spec := device.Spec{Device: "cpu", Model: m, DType: model.Float32, Slots: 4, NumPages: 256, MaxStepTokens: 1024}
	if ranks == 1 {
		return openCPU(spec)
	}
	g, err := Open(spec, slices.Repeat([]string{"cpu"}, ranks), openCPU)
	if err != nil {
		return nil, err
	}
	return g, nil
}

// run has prompts computed, all in one step, and steps tokens more of each, and
// returns the log-probabilities of all tokens at every place, and the tokens.
func run(t testing.TB, d device.Device, prompts [][]int32, steps int) (all [][]float32, tokens [][]int32) {
	t.Helper()
	info := d.Info()
	vocab := info.Vocab
	perSlot := min(info.NumPages/info.Slots, info.PagesPerSlot())
	step := func(s *batch.Step) *batch.Result {
		t.Helper()
		var r batch.Result
		if err := d.Launch(s); err != nil {
			t.Fatal(err)
		}
		if err := d.Wait(&r); err != nil {
			t.Fatal(err)
		}
		for _, l := range r.Logprobs {
			one := make([]float32, vocab)
			for _, top := range l.Top {
				one[top.Token] = top.Logprob
			}
			all = append(all, one)
		}
		tokens = append(tokens, slices.Clone(r.Tokens))
		return &r
	}
	s := &batch.Step{Seq: 1}
	for i, p := range prompts {
		slot := int32(i)
		s.Slots = append(s.Slots, batch.SlotInit{Slot: slot, Sampling: batch.Sampling{Logprobs: int32(vocab) + 1}})
		for j := range perSlot {
			s.Pages = append(s.Pages, batch.PageEntry{Slot: slot, Index: int32(j), Page: int32(j*info.Slots + i)})
		}
		s.Rows = append(s.Rows, batch.Row{Slot: slot, Tokens: p, Sample: true})
		s.NumTokens += len(p)
	}
	step(s)
	for n := range steps {
		s := &batch.Step{Seq: uint64(n + 2), NumDecode: len(prompts), NumTokens: len(prompts)}
		for i, p := range prompts {
			s.Rows = append(s.Rows, batch.Row{Slot: int32(i), Start: int32(len(p) + n), Sample: true})
		}
		step(s)
	}
	return all, tokens
}

// prompts are those of a checkpoint's references, as far as they fit.
func promptsOf(t testing.TB, c modeltest.Checkpoint, m *model.Model) (list [][]int32) {
	ref := c.Reference(t)
	c.Adjust(m, &ref)
	for _, k := range ref.Cases[:min(2, len(ref.Cases))] {
		list = append(list, k.PromptIDs[:min(len(k.PromptIDs), 96)])
	}
	return list
}

// Every family and every encoding, shared by 2, 3 and 4, says what it says by
// itself, or refuses by name.
func TestSharedFamilies(t *testing.T) {
	for _, c := range append(modeltest.All(t), modeltest.Families(t)...) {
		if raceDetector && c.Name != "qwen3moe" && c.Name != "own-families/olmo3" && c.Name != "own-families/qwen3.5-moe" {
			continue
		}
		t.Run(c.Name, func(t *testing.T) { shares(t, c, c.Open(t)) })
	}
}

// GGUF files have tensors of their own: rows in another order, experts together.
func TestSharedGGUF(t *testing.T) {
	for _, c := range modeltest.Conversions(t) {
		if raceDetector && c.Name != "llama3" {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			m, err := model.Open(c.Converted(t, nil), false)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = m.Close() })
			shares(t, c, m)
		})
	}
}

// shares holds a model that 2, 3 and 4 ranks share against itself on one device.
func shares(t *testing.T, c modeltest.Checkpoint, m *model.Model) {
	t.Helper()
	prompts, heads := promptsOf(t, c, m), headsOf(m.Config.Program)
	d, err := open(t, m, 1)
	if err != nil {
		t.Fatal(err)
	}
	want, drawn := run(t, d, prompts, 6)
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	for ranks := 2; ranks <= 4; ranks++ {
		g, err := open(t, m, ranks)
		if want := heads%ranks != 0; want || err != nil {
			if err == nil || !want || !strings.Contains(err.Error(), fmt.Sprintf("heads cannot be shared by %d", ranks)) {
				t.Errorf("%d heads by %d ranks: %v", heads, ranks, err)
			}
			continue
		}
		got, tokens := run(t, g, prompts, 6)
		compare(t, ranks, want, got, drawn, tokens, len(prompts))
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	}
}

// headsOf is what divides the numbers of heads and experts of all layers.
func headsOf(p *program.Program) (n int) {
	with := func(m int) {
		for ; m > 0; n, m = m, n%m {
		}
	}
	for _, op := range p.Ops {
		switch o := op.(type) {
		case *program.Attend:
			with(o.Heads)
		case *program.Delta:
			with(o.Heads)
		case *program.Route:
			with(o.Logits.Width)
		}
	}
	return n
}

// compare holds log-probabilities against those of one device, of each sequence as
// long as the tokens before are the same.
func compare(t *testing.T, ranks int, want, got [][]float32, drawn, tokens [][]int32, rows int) {
	t.Helper()
	worst := 0.0
	for row := range rows {
		for at := range drawn {
			for token, w := range want[at*rows+row] {
				d := math.Abs(float64(got[at*rows+row][token] - w))
				if worst = max(worst, d); !(d <= tolerance) {
					t.Fatalf("%d ranks, sequence %d, place %d, token %d: %v, one device says %v", ranks, row, at, token, got[at*rows+row][token], w)
				}
			}
			if drawn[at][row] != tokens[at][row] { // a tie
				break
			}
		}
	}
	t.Logf("%d ranks: largest difference %.1e", ranks, worst)
}

// A rank that is at another place than the others is told, and no panic.
func TestElsewhere(t *testing.T) {
	err := Run(2, func(r *device.Rank) error {
		if r.Index == 1 {
			_, err := r.Meet(nil, func([]any) {})
			return err
		}
		return device.Meet(r, 1, func([]int) { t.Error("they met") })
	})
	if err == nil || err.Error() != "gang: rank 0 of 2: rank 1 of 2 meets with <nil> where rank 0 has int: ranks do not compute the same" {
		t.Error(err)
	}
	err = Run(2, func(r *device.Rank) error {
		return r.Same("steps", []string{"a", "b", "c"}[:2+r.Index])
	})
	if err == nil || !strings.HasSuffix(err.Error(), `steps: number 2 is "c" on rank 1 and nothing on rank 0`) && !strings.HasSuffix(err.Error(), `steps: number 2 is nothing on rank 0 and "c" on rank 1`) {
		t.Error(err)
	}
	if err := Run(2, func(r *device.Rank) error { return r.Same("steps", []string{"a"}) }); err != nil {
		t.Error(err)
	}
}

// Ranks of anything meet, and when one fails nobody waits for it.
func TestRun(t *testing.T) {
	before := runtime.NumGoroutine()
	var met [3][]any
	err := Run(3, func(r *device.Rank) error {
		_, err := r.Meet(10*r.Index, func(all []any) { met[r.Index] = slices.Clone(all) })
		return err
	})
	for i, got := range met {
		if want := []any{0, 10, 20}; err != nil || !slices.Equal(got, want) {
			t.Errorf("rank %d met %v (%v), want %v", i, got, err, want)
		}
	}
	err = Run(3, func(r *device.Rank) error {
		if r.Index == 1 {
			return errors.New("no such GPU")
		}
		_, err := r.Meet(nil, func([]any) {})
		return err
	})
	if err == nil || err.Error() != "gang: rank 1 of 3: no such GPU" {
		t.Error(err)
	}
	settled(t, before)
}

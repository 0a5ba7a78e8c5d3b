//go:build cuda

package cuda

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/cpu"
	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/gpu/model/modeltest"
)

// later takes masks away from some rows of steps, to be handed over late.
func later(r *rand.Rand, steps []*batch.Step) (late []*batch.Step, masks []*batch.Masks) {
	for _, s := range steps {
		c, m := *s, &batch.Masks{Seq: s.Seq}
		c.Rows = slices.Clone(s.Rows)
		for i := range c.Rows {
			if row := &c.Rows[i]; row.Sample && r.IntN(2) == 0 {
				m.Allow = append(m.Allow, row.Allow)
				row.Allow, row.Late = nil, true
			}
		}
		late, masks = append(late, &c), append(masks, m)
	}
	return late, masks
}

// masked runs steps two ahead, as a scheduler does: a step's masks are handed
// over when the one before has ended, or with it, and before the next.
func (r *rig) masked(steps []*batch.Step, masks []*batch.Masks) []*batch.Result {
	r.t.Helper()
	var results []*batch.Result
	for i, s := range steps {
		if err := r.d.Launch(s); err != nil {
			r.t.Fatalf("step %d: %v", i, err)
		}
		if i%5 != 4 && i > 0 { // else the step before is computed all the while
			results = append(results, r.wait())
		}
		if s.Late() > 0 {
			if err := r.d.Mask(masks[i]); err != nil {
				r.t.Fatalf("masks of step %d: %v", i, err)
			}
		}
		if i%5 == 4 {
			results = append(results, r.wait())
		}
	}
	return append(results, r.wait())
}

// same compares results, times aside, to the last bit.
func same(t *testing.T, got, want []*batch.Result) {
	t.Helper()
	for i := range want {
		g, w := *got[i], *want[i]
		for _, r := range []*batch.Result{&g, &w} {
			if r.Resumed < r.Stalled || r.Resumed > 0 && (r.Stalled < r.Began || r.Resumed > r.Ended) {
				t.Errorf("step %d ran from %d to %d and stood still from %d to %d", r.Seq, r.Began, r.Ended, r.Stalled, r.Resumed)
			}
			r.Began, r.Ended, r.Stalled, r.Resumed = 0, 0, 0, 0
		}
		if !reflect.DeepEqual(g, w) {
			t.Fatalf("step %d: %+v, with early masks %+v", i, g, w)
		}
	}
}

// Random steps of random models, with graphs and without, whose masks come late
// for some rows, are to the last bit what they are when all masks come early;
// and draw the tokens that the processor draws with late masks.
func TestLateMasks(t *testing.T) {
	require(t)
	for seed := range uint64(12) {
		r := rand.New(rand.NewPCG(seed, 11))
		spec := randomSpec(t, r, seed%4 != 3)
		c := &spec.Model.Config
		t.Run(fmt.Sprintf("%d/vocab%d-slots%d-graphs%d", seed, c.Vocab, spec.Slots, spec.GraphRows), func(t *testing.T) {
			steps := newScript(r, &spec).steps(60)
			for _, s := range steps {
				widen(r, s, c.Vocab)
			}
			late, masks := later(r, steps)
			want := openCUDA(t, spec).replay(steps, 2)
			got := openCUDA(t, spec).masked(late, masks)
			same(t, got, want)
		})
	}
	t.Run("as the processor", func(t *testing.T) {
		r := rand.New(rand.NewPCG(1, 12))
		spec := device.Spec{
			Model: modeltest.Get(t, "qwen3").Open(t), DType: model.BFloat16, Slots: 12, PageSize: 16,
			MaxSeqLen: 256, MaxStepTokens: 400, NumPages: 3000,
		}
		steps := newScript(r, &spec).steps(60)
		late, masks := later(r, steps)
		host, err := cpu.Open(spec)
		want := openRig(t, host, err).masked(late, masks)
		for i, res := range openCUDA(t, spec).masked(late, masks) {
			if !slices.Equal(res.Tokens, want[i].Tokens) {
				t.Fatalf("step %d: drawn %v, the processor %v", i, res.Tokens, want[i].Tokens)
			}
		}
	})
}

// widen lets decode rows draw from many tokens, where the scripts allow one. So
// what later steps decode is what was drawn.
func widen(r *rand.Rand, s *batch.Step, vocab int) {
	for i := range s.Rows {
		row := &s.Rows[i]
		if !row.Sample || r.IntN(3) == 0 {
			continue
		}
		row.Allow = slices.Clone(row.Allow)
		for range 20 {
			t := r.IntN(vocab)
			row.Allow[t/32] |= 1 << (t % 32)
		}
	}
}

// Scores are computed in the memory of the logits that a late row is drawn from:
// a prompt is scored beside one.
func TestLateMasksBesideScores(t *testing.T) {
	m := modeltest.Get(t, "qwen3").Open(t)
	run := func(late bool) (all []*batch.Result) {
		r := openCUDA(t, device.Spec{Model: m, Slots: 8, NumPages: 256})
		r.prefill([][]int32{{1, 2, 3}, {5, 6, 7, 8}}, batch.Sampling{Temperature: 1, Seed: 3, Logprobs: 4}, 4096)
		for k := range int32(3) {
			s, masks := &batch.Step{}, &batch.Masks{}
			r.give(s, 2, batch.Sampling{Logprobs: 3})
			r.row(s, 0, 3+k, nil, true)
			r.row(s, 1, 4+k, nil, true)
			text := []int32{9, 8, 7, 6, 5, 4, 3, 2, 1, 2, 3, 4}
			r.row(s, 2, 0, text, true)
			s.Rows[2].Score = text[1:]
			for i := range s.Rows {
				allow := make([]uint32, batch.MaskWords(r.info.Vocab))
				allow[i] = 0xfff << k
				if late && i != 1 {
					s.Rows[i].Late = true
					masks.Allow = append(masks.Allow, allow)
				} else {
					s.Rows[i].Allow = allow
				}
			}
			r.launch(s)
			if masks.Seq = s.Seq; late {
				if err := r.d.Mask(masks); err != nil {
					t.Fatal(err)
				}
			}
			all = append(all, r.wait())
		}
		return all
	}
	same(t, run(true), run(false))
}

// Masks that do not fit are refused to whoever hands them over and to whoever
// waits; a step that never gets any keeps nobody from closing the device.
func TestMasksThatDoNotFit(t *testing.T) {
	m := modeltest.Get(t, "qwen3").Open(t)
	open := func() (*rig, *batch.Step) {
		r := openCUDA(t, device.Spec{Model: m, Slots: 8, NumPages: 256})
		r.prefill([][]int32{{1, 2, 3}}, batch.Sampling{}, 4096)
		s := &batch.Step{}
		r.row(s, 0, 3, nil, true)
		s.Rows[0].Late = true
		r.launch(s)
		return r, s
	}
	r, s := open()
	if err := r.d.Launch(s); err == nil || !strings.Contains(err.Error(), "was given its masks") {
		t.Errorf("a launch before the masks: %v", err)
	}
	waited := make(chan error)
	go func() {
		runtime.LockOSThread()
		waited <- r.d.Wait(&batch.Result{})
	}()
	const want = "2 masks for step 2; 1 of its rows"
	if err := r.d.Mask(&batch.Masks{Seq: s.Seq, Allow: make([][]uint32, 2)}); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("Mask: %v, want %q", err, want)
	}
	if err := <-waited; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("Wait: %v, want %q", err, want)
	}
	if err := r.d.Mask(&batch.Masks{Seq: s.Seq}); err == nil || !strings.Contains(err.Error(), "no step waits") {
		t.Errorf("masks twice: %v", err)
	}
	open() // closed as it is
}

// BenchmarkMasks decodes rows two steps ahead, each drawing from a mask of its
// own: masks that come with the step, and late ones, handed over when the step
// before has ended.
func BenchmarkMasks(b *testing.B) {
	m, err := model.Open("qwen3-0.6b", true)
	if err != nil {
		b.Fatal(err)
	}
	for _, rows := range []int{1, 16, 256} {
		for _, late := range []bool{false, true} {
			b.Run(fmt.Sprintf("%d/late-%v", rows, late), func(b *testing.B) {
				const context = 600
				r := openCUDA(b, device.Spec{Model: m, Slots: 256, MaxSeqLen: 8192})
				allow := make([][]uint32, rows)
				for i := range rows {
					s := &batch.Step{}
					r.give(s, int32(i), batch.Sampling{Temperature: 0.6, Seed: uint64(i)})
					r.row(s, int32(i), 0, make([]int32, context), true)
					r.launch(s)
					r.wait()
					allow[i] = make([]uint32, batch.MaskWords(m.Config.Vocab))
					for j := range allow[i] {
						allow[i][j] = 0x1111 << (i % 4)
					}
				}
				k, out := 0, 0
				began, stalled, ended := int64(0), int64(0), int64(0)
				took := func(res *batch.Result) {
					if began == 0 {
						began = res.Began
					}
					stalled, ended = stalled+res.Resumed-res.Stalled, res.Ended
				}
				for b.Loop() {
					s := &batch.Step{}
					for i := range rows {
						r.row(s, int32(i), int32(context+k%256), nil, true)
						if s.Rows[i].Late = late; !late {
							s.Rows[i].Allow = allow[i]
						}
					}
					r.launch(s)
					k, out = k+1, out+1
					if out == device.MaxOutstanding {
						took(r.wait())
						out--
					}
					if late {
						if err := r.d.Mask(&batch.Masks{Seq: s.Seq, Allow: allow}); err != nil {
							b.Fatal(err)
						}
					}
				}
				took(r.wait())
				b.ReportMetric(float64(ended-began)/float64(k)/1e3, "us/step")
				b.ReportMetric(float64(stalled)/float64(k)/1e3, "us-stalled/step")
			})
		}
	}
}

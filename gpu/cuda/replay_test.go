//go:build cuda

package cuda

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/gpu/model/modeltest"
)

// Steps with prompts give the same bits when their parts are met first, when they
// are replayed, and, without decode rows, which other kernels may then attend
// from, as a pass of their very size.
func TestReplay(t *testing.T) {
	m := modeltest.Get(t, "qwen3").Open(t)
	for _, kv := range []model.DType{model.BFloat16, model.Float8} {
		r := openCUDA(t, device.Spec{Model: m, Slots: 100, MaxStepTokens: 1024, NumPages: 2000, KVDType: kv})
		d := r.d.(*Device)
		most := d.encoder.prompts
		if most == 0 {
			t.Fatal("nothing is replayed")
		}
		run := func(prompts [][]int32, decodes int) []*batch.Result {
			var all []*batch.Result
			for _, replayed := range []int{0, most, most} {
				d.encoder.prompts = replayed
				before := make([][]int32, decodes)
				for i := range before {
					before[i] = []int32{int32(i), 7, int32(3 * i % 5)}
				}
				if decodes > 0 {
					r.prefill(before, batch.Sampling{Logprobs: 5}, 4096)
				}
				s := &batch.Step{}
				for i, p := range prompts {
					r.give(s, int32(decodes+i), batch.Sampling{Logprobs: 5})
					r.row(s, int32(decodes+i), 0, p, i != 1)
				}
				for i := range before {
					r.row(s, int32(i), 3, nil, true)
				}
				r.launch(s)
				all = append(all, r.wait())
			}
			return all
		}
		for _, c := range []struct{ prompts, decodes int }{{1, 0}, {3, 0}, {20, 0}, {1, 1}, {2, 9}, {3, 70}} {
			var prompts [][]int32
			for i := range c.prompts {
				p := make([]int32, 1+(37*i+11)%90)
				for j := range p {
					p[j] = int32((i*31 + j*17) % 100)
				}
				prompts = append(prompts, p)
			}
			got := run(prompts, c.decodes)
			for _, res := range got {
				res.Seq = 0
			}
			what := fmt.Sprintf("%d prompts, %d decode rows, %v", c.prompts, c.decodes, kv)
			same(t, got[2:], got[1:2])
			if c.decodes == 0 {
				same(t, got[1:2], got[:1])
			}
			for i, l := range got[1].Logprobs {
				if w := got[0].Logprobs[i]; math.Abs(float64(l.Token-w.Token)) > 0.02 && got[1].Tokens[i] == got[0].Tokens[i] {
					t.Errorf("%s: row %d: %v, want %v", what, i, l.Token, w.Token)
				}
			}
		}
		if n := len(d.engine.replayed.graphs); n < 6 {
			t.Errorf("%d graphs of parts of steps", n)
		}
	}
}

// BenchmarkPrompts is a step of one prompt on an idle GPU, launched kernel by kernel
// and replayed in turns: microseconds that the launch takes the host, that the device
// takes, and from before the launch to the result.
func BenchmarkPrompts(b *testing.B) {
	for _, name := range []string{"qwen3-0.6b", "qwen3-14b"} {
		m, err := model.Open(name, true)
		if err != nil {
			b.Fatal(err)
		}
		for _, decodes := range []int{0, 4} {
			b.Run(fmt.Sprintf("%s/%d", name, decodes), func(b *testing.B) {
				r := openCUDA(b, device.Spec{Model: m, MaxSeqLen: 2048})
				d := r.d.(*Device)
				most := d.encoder.prompts
				g := rand.New(rand.NewPCG(1, 2))
				for i := range int32(decodes) {
					s := &batch.Step{}
					r.give(s, i, batch.Sampling{})
					r.row(s, i, 0, make([]int32, 100), true)
					r.launch(s)
					r.wait()
				}
				at := int32(100)
				for _, n := range []int{16, 128, 256, 512, 1024} {
					took := map[string][]float64{}
					for i := range 24 {
						which := []string{"kernels", "replayed"}[i%2]
						d.encoder.prompts = i % 2 * most
						s := &batch.Step{}
						r.give(s, 100, batch.Sampling{})
						prompt := make([]int32, n)
						for j := range prompt {
							prompt[j] = g.Int32N(100000)
						}
						r.row(s, 100, 0, prompt, true)
						for slot := range int32(decodes) {
							r.row(s, slot, at, nil, true)
						}
						at++
						began := time.Now()
						r.launch(s)
						launched := time.Since(began)
						res := r.wait()
						if i < 4 {
							continue // captures
						}
						took[which+"-host"] = append(took[which+"-host"], float64(launched.Nanoseconds())/1e3)
						took[which+"-gpu"] = append(took[which+"-gpu"], float64(res.Ended-res.Began)/1e3)
						took[which+"-all"] = append(took[which+"-all"], float64(time.Since(began).Nanoseconds())/1e3)
					}
					for which, list := range took {
						slices.Sort(list)
						b.ReportMetric(list[len(list)/2], fmt.Sprintf("us-%d-%s", n, which))
					}
				}
				free, _, err := freeBytes()
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(d.info.FreeBytes-free)/float64(max(1, len(d.engine.replayed.graphs)))/1e3, "KB-a-graph")
			})
		}
	}
}

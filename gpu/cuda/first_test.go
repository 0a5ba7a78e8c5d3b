//go:build cuda

package cuda

import (
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/model"
)

// BenchmarkFirst is what a step of prompts takes whose like has not run yet,
// against the same step again: the milliseconds from launch to result, and those
// of the launch.
func BenchmarkFirst(b *testing.B) {
	for _, name := range []string{"builtin", "qwen3-0.6b", "qwen3-14b", "qwen3-30b-a3b"} {
		b.Run(name, func(b *testing.B) {
			m, err := model.Open(name, true)
			if err != nil {
				b.Fatal(err)
			}
			r := openCUDA(b, device.Spec{Model: m, MaxSeqLen: 1024})
			g := rand.New(rand.NewPCG(1, 2))
			var took, launch [2][]float64
			for range 60 {
				lens := make([]int, 1+g.IntN(200)) // most of a token
				for i := range 1 + g.IntN(8) {
					lens[i%len(lens)] = 20 + g.IntN(480)
				}
				for k := range 2 {
					s := &batch.Step{}
					for slot, n := range lens {
						r.give(s, int32(slot), batch.Sampling{})
						r.row(s, int32(slot), 0, make([]int32, max(n, 1)), true)
					}
					began := time.Now()
					r.launch(s)
					launched := time.Since(began)
					r.wait()
					took[k] = append(took[k], time.Since(began).Seconds()*1e3)
					launch[k] = append(launch[k], launched.Seconds()*1e3)
				}
			}
			for k, which := range []string{"first", "again"} {
				slices.Sort(took[k])
				slices.Sort(launch[k])
				for _, p := range []struct {
					at   int
					name string
				}{{30, "p50"}, {54, "p90"}, {59, "max"}} {
					b.ReportMetric(took[k][p.at], "ms-"+which+"-"+p.name)
					b.ReportMetric(launch[k][p.at], "ms-launch-"+which+"-"+p.name)
				}
			}
		})
	}
}

// BenchmarkOpen is what opening a device takes, by its parts, in milliseconds:
// products are loaded while graphs are captured.
func BenchmarkOpen(b *testing.B) {
	require(b)
	for _, name := range []string{"builtin", "qwen3-0.6b", "qwen3-14b"} {
		b.Run(name, func(b *testing.B) {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			m, err := model.Open(name, true)
			if err != nil {
				b.Fatal(err)
			}
			spec := device.Spec{Model: m, MaxSeqLen: 1024}
			for b.Loop() {
				began := time.Now()
				part := func(name string, err error) {
					b.Helper()
					if err != nil {
						b.Fatal(name, ": ", err)
					}
					b.ReportMetric(time.Since(began).Seconds()*1e3, "ms-"+name)
					began = time.Now()
				}
				ctx, err := openContext(0)
				part("context", err)
				e, err := newEngine(ctx, &spec)
				part("engine", err)
				part("products", e.loadProducts()())
				part("graphs", e.captureGraphs(graphSizes(e.info.Slots), nil))
				part("closing", ctx.close())
				d, err := Open(spec)
				part("all", err)
				if err := d.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

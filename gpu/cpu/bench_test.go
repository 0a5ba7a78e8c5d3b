package cpu

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/model"
)

// Benchmarks set what they measure beside what the machine can do, measured in
// turn with it in the same run: memory read by all cores and nothing done with
// it, and fused multiply-adds of registers.
//
//	go test -bench . -run '^$' ./gpu/cpu

// fastest runs f and the yardstick in turn and returns the seconds of the
// quickest run of each: what else a machine does only ever slows one down.
func fastest(b *testing.B, f, yardstick func()) (ours, best float64) {
	clock := func(least *float64, f func()) {
		begin := time.Now()
		f()
		*least = min(*least, time.Since(begin).Seconds())
	}
	f() // warm up
	ours, best = math.Inf(1), math.Inf(1)
	for b.Loop() {
		clock(&best, yardstick)
		clock(&ours, f)
	}
	return ours, best
}

// stream is memory for measuring bandwidth, larger than caches.
func stream(b *testing.B) []byte {
	m, err := allocate(512 << 20)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := release(m); err != nil {
			b.Error(err)
		}
	})
	for i := 0; i < len(m); i += 4096 {
		m[i] = 1
	}
	return m
}

// readAll reads m once with all cores of the pool.
func readAll(p *pool, m []byte) {
	const piece = 1 << 20
	p.run(len(m)/piece, func(_, task int) { readBytes(&m[task*piece], piece) })
}

func benchEngine(b *testing.B, cores int) *engine {
	e := &engine{kernels: choose(), pool: newPool(cores)}
	b.Cleanup(e.pool.close)
	return e
}

// counts are the numbers of cores to measure with.
func counts() []int {
	if n := cores(); n > 1 {
		return []int{1, n}
	}
	return []int{1}
}

// BenchmarkGEMV: one row by bfloat16 weights that come from memory.
func BenchmarkGEMV(b *testing.B) {
	for _, n := range counts() {
		for _, shape := range [][2]int{{151936, 1024}, {6144, 1024}, {1024, 3072}} {
			b.Run(fmt.Sprintf("cores=%d/%dx%d", n, shape[0], shape[1]), func(b *testing.B) {
				e := benchEngine(b, n)
				memory := stream(b)
				// As many copies as make the weights come from memory.
				m := &matrix{out: shape[0], in: shape[1], dtype: model.BFloat16}
				size := m.panels() * m.panelBytes()
				copies := max(1, len(memory)/size)
				x, y := make([]float32, m.in), make([]float32, m.stride())
				ours, best := fastest(b, func() {
					for i := range copies {
						m.data = memory[i*size:]
						e.linear(y, x, m.in, 1, m, nil)
					}
				}, func() { readAll(e.pool, memory) })
				report(b, float64(size*copies)/ours/1e9, "GB/s", float64(len(memory))/best/1e9, "GB/s-read")
			})
		}
	}
}

// BenchmarkGEMM: a block of rows by bfloat16 weights.
func BenchmarkGEMM(b *testing.B) {
	const out, in = 4096, 1024
	for _, n := range counts() {
		for _, rows := range []int{4, 8, 16, 64, 240} {
			b.Run(fmt.Sprintf("cores=%d/rows=%d", n, rows), func(b *testing.B) {
				e := benchEngine(b, n)
				m := &matrix{out: out, in: in, dtype: model.BFloat16, data: make([]byte, out*in*2)}
				x, y := make([]float32, rows*in), make([]float32, rows*out)
				ours, best := fastest(b, func() { e.linear(y, x, in, rows, m, nil) }, func() { multiply(e.pool) })
				report(b, 2*float64(rows)*out*in/ours/1e9/float64(n), "GFLOP/s/core", peakWork*peakLanes/best/1e9, "GFLOP/s/core-peak")
			})
		}
	}
}

// peakFLOPs are what each core does in multiply.
const (
	peakRounds = 100_000.0
	peakWork   = peakRounds * 12 * 2 // times the lanes
)

func multiply(p *pool) { p.run(p.size, func(_, _ int) { peakRun(peakRounds) }) }

func report(b *testing.B, ours float64, unit string, best float64, bestUnit string) {
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(ours, unit)
	b.ReportMetric(best, bestUnit)
	b.ReportMetric(ours/best, "of-best")
}

// qwen3 is Qwen3-0.6B's shape.
func qwen3() *model.Model {
	return &model.Model{Name: "Qwen3-0.6B", Config: model.Config{
		Architecture: "Qwen3ForCausalLM", Layers: 28, Hidden: 1024, Intermediate: 3072, Heads: 16, KVHeads: 8, HeadDim: 128,
		Vocab: 151936, MaxPositions: 40960, NormEps: 1e-6, TieEmbedding: true, QKNorm: true,
		Rope: model.Rope{Theta: 1e6}, DType: model.BFloat16, BOS: -1,
	}}
}

// BenchmarkDecode: steps of one token a row, at a context of 256. The weights
// are read once a step, whatever the rows.
func BenchmarkDecode(b *testing.B) {
	// Positions from context on, over and over.
	const context, until, pages, most = 256, 272, 17, 16
	for _, n := range counts() {
		r := newRig(b, device.Spec{Model: qwen3(), Slots: most, NumPages: most * pages, MaxSeqLen: until}, choose(), n)
		e := r.d.engine
		e.inspect = nil
		clear(e.cache.memory) // or its first use would be measured
		memory := stream(b)
		for _, rows := range []int{1, 4, most} {
			b.Run(fmt.Sprintf("cores=%d/rows=%d", n, rows), func(b *testing.B) {
				at := int32(until)
				ours, best := fastest(b, func() {
					s := &batch.Step{}
					for i := range int32(rows) {
						if at < until {
							r.row(s, i, at, nil, true)
							continue
						}
						r.give(s, i, batch.Sampling{}, nil)
						for j := range int32(pages) {
							r.enter(s, i, i*pages+j)
						}
						r.row(s, i, context, []int32{5}, true)
					}
					if at++; at > until {
						at = context + 1
					}
					r.run(s)
				}, func() { readAll(e.pool, memory) })
				weights := float64(r.info.WeightBytes)
				b.ReportMetric(float64(rows)/ours, "tok/s")
				report(b, weights/ours/1e9, "GB/s-weights", float64(len(memory))/best/1e9, "GB/s-read")
			})
		}
	}
}

// BenchmarkPrefill: a prompt in steps of 256.
func BenchmarkPrefill(b *testing.B) {
	for _, cores := range counts() {
		r := newRig(b, device.Spec{Model: qwen3(), Slots: 2, NumPages: 128, MaxSeqLen: 2048, MaxStepTokens: 256}, choose(), cores)
		r.d.engine.inspect = nil
		clear(r.d.engine.cache.memory)
		for _, start := range []int{0, 1792} {
			b.Run(fmt.Sprintf("cores=%d/start=%d", cores, start), func(b *testing.B) {
				tokens := prompt(256, r.info.Vocab, 3)
				ours, best := fastest(b, func() {
					r.forget()
					s := &batch.Step{}
					r.give(s, 0, batch.Sampling{}, nil)
					r.row(s, 0, int32(start), tokens, true)
					r.run(s)
				}, func() { multiply(r.d.engine.pool) })
				n := float64(len(tokens))
				c := qwen3().Config
				flops := n*(float64(c.FLOPsPerToken())+float64(c.AttentionFLOPs(start+128))) + float64(c.HeadFLOPs())
				b.ReportMetric(n/ours, "tok/s")
				report(b, flops/ours/1e9/float64(cores), "GFLOP/s/core", peakWork*peakLanes/best/1e9, "GFLOP/s/core-peak")
			})
		}
	}
}

// BenchmarkAttention: a block of queries by one head's share of 64 pages of
// 16, which fit in the second cache.
func BenchmarkAttention(b *testing.B) {
	const n, pages, dim = 16, 64, 128
	for _, k := range variants() {
		for _, m := range []int{1, 2, 16} {
			q, rows, s := make([]float32, m*dim), make([]float32, n*pages*dim), make([]float32, m*n*pages)
			run := func(name string, f func(page int)) {
				b.Run(fmt.Sprintf("%s/%s/m=%d", name, k.name, m), func(b *testing.B) {
					p := newPool(1)
					b.Cleanup(p.close)
					const rounds = 20
					ours, best := fastest(b, func() {
						for i := range rounds * pages {
							f(i % pages)
						}
					}, func() { multiply(p) })
					report(b, 2*float64(rounds*m)*n*pages*dim/ours/1e9, "GFLOP/s", peakWork*peakLanes/best/1e9, "GFLOP/s-peak")
				})
			}
			run("scores", func(i int) { k.scores(&s[i*n], n*pages, &q[0], m, &rows[i*n*dim], n, dim) })
			run("values", func(i int) { k.values(&q[0], &s[i*n], n*pages, m, &rows[i*n*dim], n, dim) })
		}
	}
}

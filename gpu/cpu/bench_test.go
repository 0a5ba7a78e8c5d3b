package cpu

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/gpu/program"
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

// counts are the numbers of cores to measure with: one, two, half of them and all.
func counts() []int {
	n := cores()
	list := []int{1, min(2, n), max(1, n/2), n}
	slices.Sort(list)
	return slices.Compact(list)
}

// narrow are the types of weights to measure with.
var narrow = []model.DType{model.BFloat16, model.Int8, model.Int4}

func formatOf(d model.DType) format { return groupedAs(model.HeldAs(d).Matrix) }

// measured are the formats to measure with: those types, and blocks of GGUF files.
var measured = []struct {
	name   string
	format format
}{
	{"bfloat16", formatOf(model.BFloat16)},
	{"int8", formatOf(model.Int8)},
	{"int4", formatOf(model.Int4)},
	{"int4's vocabulary", groupedAs(model.HeldAs(model.Int4).Vocabulary)},
	{"Q4_K", packing{4, true, model.Times}.format(32)},
	{"Q6_K", packing{6, false, model.Times}.format(16)},
	{"Q8_0", packing{8, false, model.Halves}.format(32)},
}

// BenchmarkGEMV: one row by weights that come from memory.
func BenchmarkGEMV(b *testing.B) {
	for _, n := range counts() {
		for _, f := range measured {
			for _, shape := range [][2]int{{151936, 1024}, {6144, 1024}, {1024, 3072}} {
				b.Run(fmt.Sprintf("cores=%d/%s/%dx%d", n, f.name, shape[0], shape[1]), func(b *testing.B) {
					e := benchEngine(b, n)
					memory := stream(b)
					// As many copies as make the weights come from memory.
					m := &matrix{out: shape[0], in: shape[1], holding: holding{format: f.format}}
					size := m.panels() * m.panelBytes()
					copies := max(1, len(memory)/size)
					x, y := make([]float32, m.in), make([]float32, m.stride())
					ours, best := fastest(b, func() {
						for i := range copies {
							m.data = memory[i*size:]
							e.linear(y, m.stride(), x, m.in, 1, m, nil)
						}
					}, func() { readAll(e.pool, memory) })
					report(b, float64(size*copies)/ours/1e9, "GB/s", float64(len(memory))/best/1e9, "GB/s-read")
				})
			}
		}
	}
}

// BenchmarkGEMM: a block of rows by weights.
func BenchmarkGEMM(b *testing.B) {
	const out, in = 4096, 1024
	for _, n := range counts() {
		for _, f := range measured {
			for _, rows := range []int{4, 8, 16, 64, 240} {
				b.Run(fmt.Sprintf("cores=%d/%s/rows=%d", n, f.name, rows), func(b *testing.B) {
					e := benchEngine(b, n)
					m := &matrix{out: out, in: in, holding: holding{format: f.format}}
					m.data = make([]byte, m.panels()*m.panelBytes())
					x, y := make([]float32, rows*apart(in)), make([]float32, rows*out)
					peak, work, unit := multiply, peakWork*peakLanes, "GFLOP/s/core"
					if m.whole() {
						peak, work, unit = multiplyBytes, peakWork*peakBytes, "GOP/s/core"
					}
					ours, best := fastest(b, func() { e.linear(y, out, x, apart(in), rows, m, nil) }, func() { peak(e.pool) })
					report(b, 2*float64(rows)*out*in/ours/1e9/float64(n), unit, work/best/1e9, unit+"-peak")
				})
			}
		}
	}
}

// peakFLOPs are what each core does in multiply.
const (
	peakRounds = 100_000.0
	peakWork   = peakRounds * 12 * 2 // times the lanes
)

func multiply(p *pool) { p.run(p.size, func(_, _ int) { peakRun(peakRounds) }) }

// multiplyBytes is multiply of bytes, where there are dot products of them.
func multiplyBytes(p *pool) { p.run(p.size, func(_, _ int) { peakBytesRun(peakRounds) }) }

func report(b *testing.B, ours float64, unit string, best float64, bestUnit string) {
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(ours, unit)
	b.ReportMetric(best, bestUnit)
	b.ReportMetric(ours/best, "of-best")
}

// qwen3 is Qwen3-0.6B's shape.
func qwen3(b *testing.B) *model.Model {
	m, err := model.Open("qwen3-0.6b", true)
	if err != nil {
		b.Fatal(err)
	}
	return m
}

// decoding opens a device that can decode so many rows behind a context.
func decoding(b *testing.B, dtype model.DType, rows, cores, context int) *rig {
	until := context + 16
	r := newRig(b, device.Spec{Model: qwen3(b), DType: dtype, Slots: rows, NumPages: rows * until / 16, MaxSeqLen: until}, choose(), cores)
	r.d.engine.inspect = nil
	clear(r.d.engine.cache.memory) // or its first use would be measured
	return r
}

// decode returns a function that decodes a token of each of so many rows, at the last 16
// positions over and over.
func (r *rig) decode(rows int) func() {
	until := int32(r.info.MaxSeqLen)
	context, pagesEach, at := until-16, until/16, until
	return func() {
		s := &batch.Step{}
		for i := range int32(rows) {
			if at < until {
				r.row(s, i, at, nil, true)
				continue
			}
			r.give(s, i, batch.Sampling{}, nil)
			for j := range pagesEach {
				r.enter(s, i, i*pagesEach+j)
			}
			r.row(s, i, context, []int32{5}, true)
		}
		if at++; at > until {
			at = context + 1
		}
		r.run(s)
	}
}

// BenchmarkDecode: steps of one token a row, at a context of 256. The weights
// are read once a step, whatever the rows.
func BenchmarkDecode(b *testing.B) {
	const most = 16
	for _, n := range counts() {
		for _, dtype := range narrow {
			r := decoding(b, dtype, most, n, 256)
			memory := stream(b)
			for _, rows := range []int{1, 4, most} {
				b.Run(fmt.Sprintf("cores=%d/%s/rows=%d", n, dtype, rows), func(b *testing.B) {
					ours, best := fastest(b, r.decode(rows), func() { readAll(r.d.engine.pool, memory) })
					b.ReportMetric(float64(rows)/ours, "tok/s")
					report(b, float64(r.info.WeightBytes)/ours/1e9, "GB/s-weights", float64(len(memory))/best/1e9, "GB/s-read")
				})
			}
		}
	}
}

// BenchmarkContext: a step of one token behind longer and longer contexts, whose keys and
// values are read beside the weights.
func BenchmarkContext(b *testing.B) {
	for _, n := range counts() {
		for _, context := range []int{16, 1024, 4096} {
			b.Run(fmt.Sprintf("cores=%d/context=%d", n, context), func(b *testing.B) {
				r := decoding(b, model.Int4, 1, n, context)
				memory := stream(b)
				ours, best := fastest(b, r.decode(1), func() { readAll(r.d.engine.pool, memory) })
				b.ReportMetric(1/ours, "tok/s")
				report(b, float64(r.info.WeightBytes+r.info.KVBytes)/ours/1e9, "GB/s", float64(len(memory))/best/1e9, "GB/s-read")
			})
		}
	}
}

// prefilling opens a device for prompts in steps of 256.
func prefilling(b *testing.B, dtype model.DType, cores int) *rig {
	r := newRig(b, device.Spec{Model: qwen3(b), DType: dtype, Slots: 2, NumPages: 128, MaxSeqLen: 2048, MaxStepTokens: 256}, choose(), cores)
	r.d.engine.inspect = nil
	clear(r.d.engine.cache.memory)
	return r
}

// prefill returns a function that computes a step of a prompt from start on.
func (r *rig) prefill(start int) func() {
	tokens := prompt(r.info.MaxStepTokens, r.info.Vocab, 3)
	return func() {
		r.forget()
		s := &batch.Step{}
		r.give(s, 0, batch.Sampling{}, nil)
		r.row(s, 0, int32(start), tokens, true)
		r.run(s)
	}
}

// BenchmarkPrefill: a prompt in steps of 256.
func BenchmarkPrefill(b *testing.B) {
	for _, cores := range counts() {
		for _, dtype := range narrow {
			r := prefilling(b, dtype, cores)
			for _, start := range []int{0, 1792} {
				b.Run(fmt.Sprintf("cores=%d/%s/start=%d", cores, dtype, start), func(b *testing.B) {
					ours, best := fastest(b, r.prefill(start), func() { multiply(r.d.engine.pool) })
					n := float64(r.info.MaxStepTokens)
					pass, flops := program.NewPass([]program.Span{{Start: start, Tokens: r.info.MaxStepTokens}}, 1), 0.0
					for _, op := range r.d.engine.program.Ops {
						flops += op.Cost(pass).FLOPs
					}
					b.ReportMetric(n/ours, "tok/s")
					report(b, flops/ours/1e9/float64(cores), "GFLOP/s/core", peakWork*peakLanes/best/1e9, "GFLOP/s/core-peak")
				})
			}
		}
	}
}

// BenchmarkWhole sets steps with int8 and int4 weights beside the same with
// bfloat16, taken in turn.
func BenchmarkWhole(b *testing.B) {
	compare := func(b *testing.B, dtype model.DType, tokens int, narrow, bf16 func()) {
		ours, theirs := fastest(b, narrow, bf16)
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(float64(tokens)/ours, "tok/s-"+string(dtype))
		b.ReportMetric(float64(tokens)/theirs, "tok/s-bfloat16")
		b.ReportMetric(theirs/ours, "times-bfloat16")
	}
	const most = 8
	for _, n := range counts() {
		for _, dtype := range []model.DType{model.Int8, model.Int4} {
			ours, theirs := decoding(b, dtype, most, n, 256), decoding(b, model.BFloat16, most, n, 256)
			for _, rows := range []int{1, 2, 4, most} {
				b.Run(fmt.Sprintf("cores=%d/%s/decode=%d", n, dtype, rows), func(b *testing.B) {
					compare(b, dtype, rows, ours.decode(rows), theirs.decode(rows))
				})
			}
			ours, theirs = prefilling(b, dtype, n), prefilling(b, model.BFloat16, n)
			b.Run(fmt.Sprintf("cores=%d/%s/prefill=256", n, dtype), func(b *testing.B) {
				compare(b, dtype, 256, ours.prefill(0), theirs.prefill(0))
			})
		}
	}
}

// BenchmarkRound: weights to whole numbers, a group at a time, on one core.
func BenchmarkRound(b *testing.B) {
	values, numbers := random(rand.New(rand.NewPCG(1, 1)), 64), make([]uint8, 64)
	for name, f := range map[string]func([]uint8, []float32) float32{"int8": nearest8, "int4": model.QuantizeInt4} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				f(numbers, values)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/64, "ns/weight")
		})
	}
}

// BenchmarkLoad: a bfloat16 checkpoint of Qwen3-0.6B's shape, in memory, into
// panels. All tensors are the same random bytes.
func BenchmarkLoad(b *testing.B) {
	m := qwen3(b)
	data := make([]byte, 2*m.Config.Vocab*1024)
	for i, r := 0, rand.New(rand.NewPCG(1, 1)); i < len(data); i += 2 {
		binary.LittleEndian.PutUint16(data[i:], model.ToBF16(float32(r.NormFloat64())))
	}
	var slots []*model.Slot
	for _, w := range m.Config.Program.Weights {
		if w.Tied != nil {
			continue
		}
		s := &model.Slot{Weight: w}
		for _, p := range w.Parts {
			e := model.Plain(model.BFloat16)
			s.Sources = append(s.Sources, model.Source{Part: p, Tensor: &model.Tensor{Name: p.Tensor, Encoding: e, Shape: p.Shape, Data: data[:e.Bytes(p.Shape)]}})
		}
		slots = append(slots, s)
	}
	m.Weights = model.NewWeights(slots...)
	pl := newPlan(m.Config.Program, rules)
	for _, n := range counts() {
		p := newPool(n)
		b.Cleanup(p.close)
		for _, dtype := range narrow {
			b.Run(fmt.Sprintf("cores=%d/%s", n, dtype), func(b *testing.B) {
				for b.Loop() {
					made, err := newBuilder(m, dtype, pl)
					if err != nil {
						b.Fatal(err)
					}
					w, err := made.load(p, nil)
					if err != nil {
						b.Fatal(err)
					}
					if err := release(w.memory); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(m.WeightBytes(model.HeldAs(model.BFloat16)))*float64(b.N)/b.Elapsed().Seconds()/1e9, "GB/s-of-checkpoint")
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

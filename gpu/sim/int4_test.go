package sim

import (
	"bufio"
	"encoding/json"
	"math"
	"os"
	"slices"
	"testing"

	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/gpu/model/modeltest"
)

// product4 is a line of testdata/h200-int4.jsonl: what a product by weights of 4 bits in
// groups of 128 took an NVIDIA H200, the weights from memory (bench/results/gpu.md).
// Written on 2026-11-30 by
//
//	go test -tags cuda -run '^$' -bench Int4 ./gpu/cuda
type product4 struct {
	Rows, Out, In int
	US            float64
}

// Products of 4 bits of a layer together come out as measured; of one alone, which has
// few tiles or many, it is within a factor of 2.1.
func TestInt4Products(t *testing.T) {
	f, err := os.Open("testdata/h200-int4.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	o, err := parse("sim:h200")
	if err != nil {
		t.Fatal(err)
	}
	r := &Roofline{hw: o.hw, rates: measured}
	took, said := map[int]float64{}, map[int]float64{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var p product4
		if err := json.Unmarshal(lines.Bytes(), &p); err != nil {
			t.Fatal(err)
		}
		shape := []int{p.Out, p.In}
		k := &priced{
			bound: byInt4, starts: 3, weights: float64(model.InGroups(model.Int4, 128).Bytes(shape)),
			wide: float64(model.Plain(model.BFloat16).Bytes(shape)), flops: 2 * float64(p.Out*p.In),
		}
		us := 1e6 * (k.starts*r.rates.kernel + r.time(k, p.Rows))
		if ratio := us / p.US; math.Abs(math.Log(ratio)) > math.Log(2.1) {
			t.Errorf("%+v: %.1f µs, measured %.1f", p, us, p.US)
		}
		took[p.Rows] += p.US
		said[p.Rows] += us
	}
	if len(took) != 8 {
		t.Fatalf("products of %d numbers of rows, want 8", len(took))
	}
	for rows, us := range took {
		if ratio := said[rows] / us; ratio < 0.89 || ratio > 1.16 {
			t.Errorf("%d rows: a layer's products take %.1f µs, measured %.1f", rows, said[rows], us)
		}
	}
}

// With 4 bits a stream is faster than in bfloat16 and in FP8, a large step slower than
// both, as on a GPU; weights take so many bytes.
func TestInt4Steps(t *testing.T) {
	open := func(spec device.Spec) *Engine {
		spec.Device, spec.Model = "sim:h200", published(t, "qwen3-14b")
		e, err := New(spec)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	wide, eight, four := open(device.Spec{}), open(device.Spec{Quantization: model.FP8}), open(device.Spec{DType: model.Int4})
	ms := func(e *Engine, rows int32) float64 { return e.roof.Step(decodes(rows, 300)).Seconds() * 1e3 }
	if a, b, c := ms(wide, 1), ms(eight, 1), ms(four, 1); !(c < b && b < a) || c < 3.4 || c > 4.1 { // 3.73 was measured
		t.Errorf("one row takes %.2f ms in bfloat16, %.2f in FP8, %.2f in 4 bits", a, b, c)
	}
	if a, b, c := ms(wide, 256), ms(eight, 256), ms(four, 256); !(b < a && a < c) {
		t.Errorf("256 rows take %.2f ms in bfloat16, %.2f in FP8, %.2f in 4 bits", a, b, c)
	}
	// Projections by groups of 64 inputs, embedding, head and norms in bfloat16.
	const projections, vocabulary, norms = 40 * 5120 * (7168 + 5120 + 34816 + 17408), 2 * 151936 * 5120, 40*(2*5120+2*128) + 5120
	if got, want := four.info.WeightBytes, int64(projections/2+projections/64*4+2*(vocabulary+norms)); got != want {
		t.Errorf("weights take %d bytes, want %d", got, want)
	}
}

// What a checkpoint has in 4 bits or in FP8 is held so, as on a GPU.
func TestHeldAsPublished(t *testing.T) {
	seen := 0
	for _, c := range modeltest.Families(t) {
		m := c.Open(t)
		if !slices.Contains(model.Quantized, m.Config.DType) {
			continue
		}
		e, err := New(device.Spec{Device: "sim:h200", Model: m})
		if err != nil {
			t.Fatal(err)
		}
		want, err := device.HeldOnGPU(m, "", "", device.Hopper)
		if err != nil {
			t.Fatal(err)
		}
		if e.info.WeightBytes != m.WeightBytes(want) || len(e.info.Weights().Own) != len(want.Own) {
			t.Errorf("%s: held as %s in %d bytes, want %d", c.Name, e.info.Formats(), e.info.WeightBytes, m.WeightBytes(want))
		}
		if len(want.Own) > 0 {
			seen++
		}
	}
	if _, beside := modeltest.Fixtures(); beside && seen == 0 {
		t.Error("no checkpoint's own encodings are held")
	}
}

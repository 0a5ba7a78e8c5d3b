package cpu

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/troupe-llm/troupe/gpu/model"
)

// Products of many rows, by matrices and groups of any size: every instruction set gives
// the bits of the portable definition, whether or not it takes so many rows as tiles.
func TestWholeProductsOfManyRows(t *testing.T) {
	r := rand.New(rand.NewPCG(31, 32))
	p := newPool(2)
	defer p.close()
	check := func(f format, out, in, rows int) {
		t.Helper()
		m, x := randomMatrix(r, f, out, in), random(r, rows*in)
		multiply := func(k *kernels) []float32 {
			e := &engine{kernels: k, pool: p}
			y := guarded(rows * m.stride())
			e.linear(y, m.stride(), x, in, rows, m, nil)
			return y
		}
		want := multiply(&portable)
		for _, k := range variants() {
			for i, got := range multiply(k) {
				if math.Float32bits(got) != math.Float32bits(want[i]) {
					t.Fatalf("%s, %v, %d rows by %d x %d: row %d, output %d is %v, want %v", k.name, f, rows, out, in, i/m.stride(), i%m.stride(), got, want[i])
				}
			}
		}
	}
	for range 150 {
		all := formats([]int{16, 20, 32, 48, 64, 96, 128}[r.IntN(7)])
		f := all[r.IntN(len(all))]
		in := []int{4 * (1 + r.IntN(64)), max(f.group/2, 16) * (1 + r.IntN(8)), model.Super * (1 + r.IntN(2))}[r.IntN(3)]
		if !f.takes(in) || f.scales != model.Floats && f.group%16 != 0 || f.scales == model.Times && model.Super%f.group != 0 {
			continue
		}
		check(f, 1+r.IntN(70), in, 1+r.IntN(40))
	}
	for rows := 16; rows <= 34; rows++ { // every way to share tiles out
		check(packing{8, rows%2 == 0, model.Floats}.format(128), 32, 256, rows)
	}
	for _, p := range packings { // more than a slice of a panel
		check(p.format(32), 33, 1280+model.Super, 19)
	}
	check(packing{8, true, model.Floats}.format(128), 33, 1536, 19)
	check(packing{8, false, model.Floats}.format(128), 32, 2880, 17) // the last group is half of one
	check(packing{4, true, model.Floats}.format(32), 64, 96, rowBlock+23)
}

// BenchmarkSets: products of whole numbers by every instruction set beside the next one,
// in turn; and beside the peak of dot products of bytes in vectors.
func BenchmarkSets(b *testing.B) {
	const out, in = 4096, 1024
	sets := variants()
	for _, n := range counts() {
		for _, f := range measured[1:] {
			for _, rows := range []int{1, 4, 8, 16, 17, 24, 32, 64, 128, 240} {
				for i, k := range sets[:len(sets)-1] {
					other := sets[i+1]
					if k.whole.name == other.whole.name || other.name == portable.name {
						continue
					}
					b.Run(fmt.Sprintf("cores=%d/%s/rows=%d/%s", n, f.name, rows, k.whole.name), func(b *testing.B) {
						e, second := &engine{kernels: k, pool: newPool(n)}, &engine{kernels: other}
						defer e.pool.close()
						second.pool = e.pool
						m := randomMatrix(rand.New(rand.NewPCG(1, 2)), f.format, out, in)
						x, y := make([]float32, rows*apart(in)), make([]float32, rows*out)
						product := func(e *engine) func() { return func() { e.linear(y, out, x, apart(in), rows, m, nil) } }
						ours, theirs := fastest(b, product(e), product(second))
						work := 2 * float64(rows) * out * in / 1e9 / float64(n)
						b.ReportMetric(0, "ns/op")
						b.ReportMetric(work/ours, "GOP/s/core")
						b.ReportMetric(work/theirs, "GOP/s/core-"+other.whole.name)
						b.ReportMetric(theirs/ours, "times-"+other.whole.name)
					})
				}
			}
		}
	}
}

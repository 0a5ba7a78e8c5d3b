//go:build cuda

package cuda

import (
	"fmt"
	"os"
	"runtime"
	"testing"

	"github.com/troupe-llm/troupe/gpu/kernel"
)

// BenchmarkCodes is the products of weights in FP8, of the shapes of Qwen3-14B, in
// the ways that passes compute them, and what share they reach of reading the
// weights at 4.43 TB/s or of 1,500 TFLOP/s, whichever takes longer. Weights come
// from memory. A line each on standard error.
func BenchmarkCodes(b *testing.B) {
	require(b)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	ctx, err := openContext(0)
	if err != nil {
		b.Fatal(err)
	}
	defer ctx.close()
	const pool, rows = 1 << 30, 4096
	var at [4]kernel.Ptr // weights and scales of anything, x, y
	for i, n := range []int64{pool, 4 * rows * 34816, 4 * rows * 34816, workspaceBytes} {
		if at[i], err = ctx.allocate(n, "a benchmark"); err != nil {
			b.Fatal(err)
		}
	}
	m, err := loadModules(kernel.Shape{Heads: 40, KVHeads: 8, HeadDim: 128, PageSize: 16, Stages: 3}, ctx.gpu.architecture())
	if err != nil {
		b.Fatal(err)
	}
	q := &queue{modules: m, stream: ctx.compute, overlap: true}
	for i := range 2 {
		if _, err := kernel.FillCodes(q, at[i], pool>>i/2, 1024, uint64(i)); err != nil {
			b.Fatal(err)
		}
	}
	blas, err := newBlas(at[3], ctx.compute)
	if err != nil {
		b.Fatal(err)
	}
	scales, err := ctx.allocate(4<<20, "scales")
	if err != nil {
		b.Fatal(err)
	}
	line := func(name, way string, n int, size int64, ns float64) {
		floor := max(float64(size)/4.43e3, 2*float64(n)*float64(size)/1500e3)
		fmt.Fprintf(os.Stderr, "%-8s %4d %-10s %8.2f us %3.0f%%\n", name, n, way, ns/1e3, 100*floor/ns)
	}
	for _, s := range []struct {
		name    string
		out, in int
		float   bool
	}{
		{"qkv", 7168, 5120, false},
		{"o", 5120, 5120, false},
		{"gate_up", 34816, 5120, false},
		{"down", 5120, 17408, false},
	} {
		size := int64(s.out) * int64(s.in)
		for _, n := range []int{16, 64, 256, rows} {
			for way, name := range map[scaling]string{bare: "bare", byVectors: "by vectors", byBlocks: "by blocks"} {
				f := factors{product: product{out: s.out, n: n, in: s.in, ld: s.out, float: s.float, scaling: way}, w: at[0], x: at[1], y: at[2], ws: scales, xs: scales}
				found, err := blas.candidates(f.product, 1, false)
				if err != nil {
					b.Fatal(err)
				}
				ns, err := blas.time(f, &found[0].algo, pool/size, size, 9)
				if err != nil {
					b.Fatal(err)
				}
				line(s.name, name, n, size, ns)
			}
		}
	}
}

//go:build cuda

package cuda

import (
	"errors"
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

// BenchmarkSkinnyCodes is products of few rows with weights in FP8, with the norm, gate or
// sum that they have in a layer, beside
// cuBLASLt's products alone; and what a layer's take back to back, beside cuBLASLt's with the
// kernels that it needs around them. Weights come from memory. A line each on standard
// error: µs, and the share of reading them at 4.43 TB/s.
func BenchmarkSkinnyCodes(b *testing.B) {
	require(b)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	ctx, err := openContext(0)
	if err != nil {
		b.Fatal(err)
	}
	defer ctx.close()
	check := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	const pool = 1 << 30
	var at [5]kernel.Ptr // weights, x, y, scales, workspace
	for i, n := range []int64{pool, 4 * 16 * 51200, 4 * 16 * 51200, 4 << 20, workspaceBytes} {
		at[i], err = ctx.allocate(n, "a benchmark")
		check(err)
	}
	m, err := loadModules(kernel.Shape{Heads: 40, KVHeads: 8, HeadDim: 128, PageSize: 16, Stages: 3, Hopper: ctx.gpu.hopper()}, ctx.gpu.architecture())
	check(err)
	q := &queue{modules: m, stream: ctx.compute, overlap: true}
	_, err = kernel.FillCodes(q, at[0], pool, 1024, 1)
	check(err)
	check(kernel.FillRandom(q, at[1], 2*16*51200, 1024, 7))
	blas, err := newBlas(at[4], ctx.compute)
	check(err)
	// time is the median of what several of a kind take in a graph.
	time := func(copies int, run func(i int) error) float64 {
		ns, err := timeGraph(ctx.compute, copiesInTurn(copies, run), 9)
		check(err)
		return ns / float64(copies) / 1e3
	}
	type shape struct {
		name    string
		out, in int
		run     func(kernel.Queue, kernel.SkinnyArgs, int) error
	}
	ours := func(s shape, w kernel.Ptr, n, most int) error {
		a := kernel.SkinnyArgs{X: at[1], W: w, Norm: at[3], Y: at[2], Scales: at[3], N: int32(n), In: int32(s.in), Out: int32(s.out), Ld: int32(s.out), Eps: 1e-6}
		return s.run(q, a, most)
	}
	library := func(s shape, w kernel.Ptr, n int) error {
		return blas.multiply(factors{product: product{out: s.out, n: rounded(n, 16), in: s.in, ld: s.out, scaling: bare}, w: w, x: at[1], y: at[2]})
	}
	sms := ctx.gpu.SMs
	for _, model := range []struct {
		name                string
		hidden, qkv, o, mid int
	}{{"14b", 5120, 7168, 5120, 17408}, {"32b", 5120, 10240, 8192, 25600}, {"0.6b", 1024, 4096, 2048, 3072}} {
		shapes := []shape{
			{"qkv", model.qkv, model.hidden, kernel.SkinnyNorm},
			{"o", model.hidden, model.o, kernel.SkinnyAdd},
			{"gate_up", 2 * model.mid, model.hidden, kernel.SkinnyGate},
			{"down", model.hidden, model.mid, kernel.SkinnyAdd},
		}
		for _, n := range []int{1, 2, 4, 8, 16} {
			func() {
				var layer int64
				line := func(what string, bytes int64, took ...float64) {
					floor := float64(bytes) / 4.43e6
					fmt.Fprintf(os.Stderr, "%-4s %2d %-8s", model.name, n, what)
					for i, name := range []string{"ours", "library"} {
						fmt.Fprintf(os.Stderr, "  %s %6.2f %3.0f%%", name, took[i], 100*floor/took[i])
					}
					fmt.Fprintln(os.Stderr)
				}
				for _, s := range shapes {
					size := int64(s.out) * int64(s.in)
					layer += size
					w := func(i int) kernel.Ptr { return at[0].Plus(int64(i) * size) }
					copies := int(max(min(pool/size, 16), 256<<20/size)) // more than caches hold
					line(s.name, size,
						time(copies, func(i int) error { return ours(s, w(i), n, 2*sms) }),
						time(copies, func(i int) error { return library(s, w(i), n) }))
				}
				each := func(one func(s shape, w kernel.Ptr) error) float64 {
					return time(int(max(min(pool/layer, 16), 256<<20/layer)), func(i int) error {
						w := at[0].Plus(int64(i) * layer)
						for _, s := range shapes {
							if err := one(s, w); err != nil {
								return err
							}
							w = w.Plus(int64(s.out) * int64(s.in))
						}
						return nil
					})
				}
				code := func(s shape) error { // what cuBLASLt's products read
					codes := kernel.Codes{At: at[2], Scales: at[3]}
					switch s.name {
					case "qkv", "gate_up":
						return kernel.NormCodes(q, kernel.NormCodesArgs{X: at[1], W: at[3], Y: codes, Hidden: int32(s.in), Eps: 1e-6}, n)
					case "down":
						return kernel.SiluCodes(q, kernel.SiluCodesArgs{GateUp: at[1], Y: codes, Intermediate: int32(s.in)}, n, sms)
					}
					return kernel.CodeRows(q, kernel.CodeRowsArgs{X: kernel.View{At: at[1], Stride: int32(s.in), Half: 1}, Y: codes, Width: int32(s.in)}, n)
				}
				line("layer", layer,
					each(func(s shape, w kernel.Ptr) error { return ours(s, w, n, 2*sms) }),
					each(func(s shape, w kernel.Ptr) error { return errors.Join(code(s), library(s, w, n)) }))
			}()
		}
	}
	check(blas.close())
}

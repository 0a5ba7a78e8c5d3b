//go:build cuda

package cuda

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"runtime"
	"testing"

	"github.com/troupe-llm/troupe/gpu/kernel"
)

// BenchmarkInt4 is the products of weights of 4 bits, of the shapes of Qwen3-14B, beside
// cuBLASLt's of the same in bfloat16: what share the former reach of reading the weights
// at 4.43 TB/s or of 790 TFLOP/s, whichever takes longer. Weights come from memory. A
// line each on standard error.
func BenchmarkInt4(b *testing.B) {
	require(b)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	ctx, err := openContext(0)
	if err != nil {
		b.Fatal(err)
	}
	defer ctx.close()
	const pool, rows = 1 << 30, 2048
	partial, arrived := kernel.Int4Scratch(ctx.gpu.SMs, ctx.gpu.hopper())
	var at [7]kernel.Ptr // weights, x, y, workspace, scratch, a weight in bfloat16
	for i, n := range []int64{pool, 4 * rows * 34816, 4 * rows * 34816, workspaceBytes, partial, arrived, 2 * 34816 * 5120} {
		if at[i], err = ctx.allocate(n, "a benchmark"); err != nil {
			b.Fatal(err)
		}
	}
	m, err := loadModules(kernel.Shape{Heads: 40, KVHeads: 8, HeadDim: 128, PageSize: 16, Stages: 3, Int4: true, Hopper: ctx.gpu.hopper()}, ctx.gpu.architecture())
	if err != nil {
		b.Fatal(err)
	}
	q := &queue{modules: m, stream: ctx.compute, overlap: true}
	blas, err := newBlas(at[3], ctx.compute)
	if err != nil {
		b.Fatal(err)
	}
	check := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	for _, group := range []int{128, 64} {
		for _, s := range []struct {
			name    string
			out, in int
			gate    bool
			form    int32
		}{
			{"qkv", 7168, 5120, false, kernel.Int4Rounded},
			{"o", 5120, 5120, false, kernel.Int4Adds},
			{"gate_up", 34816, 5120, true, kernel.Int4Rounded},
			{"down", 5120, 17408, false, kernel.Int4Adds},
		} {
			size := kernel.Int4Bytes(s.out, s.in, group)
			copies := min(int(pool/size), 16)
			for i := range copies {
				check(kernel.FillInt4(q, at[0].Plus(int64(i)*size), s.out, s.in, group, uint64(i)<<40))
			}
			check(kernel.FillRandom(q, at[1], rows*34816, 1, 7))
			a := kernel.Int4Args{X: at[1], Y: at[2], Partial: at[4], Arrived: at[5], In: int32(s.in), Out: int32(s.out), Ld: int32(s.out), Form: s.form}
			if s.gate {
				a.Ld /= 2
			}
			line := func(way string, n int, bytes, ns float64) {
				floor := max(bytes/4.43e3, 2*float64(n)*float64(s.out)*float64(s.in)/790e3)
				fmt.Fprintf(os.Stderr, "%3d %-8s %4d %-6s %8.2f us %3.0f%%\n", group, s.name, n, cmp.Or(way, "chosen"), ns/1e3, 100*floor/ns)
			}
			// The medians of what as many copies take in a graph, as in a step.
			measure := func(way string, n int, run func(i int) error) {
				ns, err := timeGraph(ctx.compute, copiesInTurn(copies, run), 9)
				check(err)
				line(way, n, float64(size), ns/float64(copies))
			}
			measure("widen", 1, func(i int) error {
				return kernel.Int4Widen(q, kernel.Int4WidenArgs{W: at[0].Plus(int64(i) * size), Y: at[6], In: a.In, Out: a.Out}, group)
			})
			for _, n := range []int{1, 2, 4, 8, 16, 32, 64, 128, 256, 512} {
				ways := []string{kernel.Int4Shared}
				if ctx.gpu.hopper() > 0 {
					ways = append(ways, "")
				}
				if n > kernel.MaxInt4Few && !s.gate && ctx.gpu.hopper() > 0 {
					ways = append(ways, kernel.Int4Splits(n, s.out, ctx.gpu.hopper())...)
				}
				for _, way := range ways {
					measure(way, n, func(i int) error {
						a := a
						a.N, a.W = int32(n), at[0].Plus(int64(i)*size)
						return kernel.Int4ProductBy(q, a, group, s.gate, ctx.gpu.SMs, ctx.gpu.hopper(), way)
					})
				}
			}
			if group != 128 { // cuBLASLt's have been timed
				continue
			}
			wide := 2 * int64(s.out) * int64(s.in)
			check(kernel.FillRandom(q, at[0], pool/2, s.in, 3))
			for _, n := range []int{1, 8, 16, 32, 64, 128, 256, 512} {
				f := factors{product: product{out: s.out, n: n, in: s.in, ld: s.out, float: s.form == kernel.Int4Adds}, w: at[0], x: at[1], y: at[2], add: s.form == kernel.Int4Adds}
				found, err := blas.candidates(f.product, 1, false)
				check(err)
				ns, err := blas.time(f, &found[0].algo, pool/wide, wide, 9)
				check(err)
				line("bf16", n, float64(wide), ns)
			}
		}
	}
	check(errors.Join(blas.close()))
}

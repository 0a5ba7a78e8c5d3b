//go:build cuda

package cuda

import (
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/troupe-llm/troupe/gpu/kernel"
	"gorgonia.org/cu"
)

// wayBench times products of our own and of cuBLASLt, of weights that no cache holds.
type wayBench struct {
	*testing.B
	q       *queue
	blas    *blas
	w, x, y kernel.Ptr
	pool    int64
	at      int64 // of the pool, the next weight
	hopper  int
	codes   bool // E4M3, not bf16
}

type benchShape struct {
	name    string
	out, in int
	form    int32
}

var benchLayers = []struct {
	name   string
	shapes []benchShape
}{
	{"14b", []benchShape{{"qkv", 7168, 5120, 1}, {"o", 5120, 5120, 2}, {"gate_up", 34816, 5120, 1}, {"down", 5120, 17408, 2}}},
	{"0.6b", []benchShape{{"qkv", 4096, 1024, 1}, {"o", 1024, 2048, 2}, {"gate_up", 6144, 1024, 1}, {"down", 1024, 3072, 2}}},
}

// limit is the longer of reading weights and computing, in nanoseconds.
func (b *wayBench) limit(s benchShape, n int) float64 {
	size := float64(s.out * s.in)
	if b.codes {
		return max(size/4430, 2*float64(n)*size/1500e3)
	}
	return max(2*size/4430, 2*float64(n)*size/790e3)
}

// bytes are those of a weight.
func (b *wayBench) bytes(s benchShape) int64 {
	if b.codes {
		return int64(s.out * s.in)
	}
	return int64(2 * s.out * s.in)
}

// ways are the ways that there are.
func (b *wayBench) ways(s benchShape, n int) []kernel.Way {
	if b.codes {
		s.form = kernel.ProductRounded
	}
	return kernel.Ways(kernel.Factors{N: n, In: s.in, Out: s.out, Ld: s.out, Form: s.form, Codes: b.codes}, b.hopper)
}

// next is memory for a weight.
func (b *wayBench) next(s benchShape) kernel.Ptr {
	size := (b.bytes(s) + 1023) / 1024 * 1024
	if b.at+size > b.pool {
		b.at = 0
	}
	p := b.w.Plus(b.at)
	b.at += size
	return p
}

// ours launches a product; way nil is cuBLASLt.
func (b *wayBench) launch(s benchShape, n int, way *kernel.Way, w kernel.Ptr) error {
	scale := unscaled
	if b.codes {
		s.form, scale = kernel.ProductRounded, bare
	}
	if way == nil {
		p := product{out: s.out, n: n, in: s.in, ld: s.out, float: s.form != 1, scaling: scale}
		return b.blas.multiply(factors{product: p, w: w, x: b.x, y: b.y, add: s.form == 2})
	}
	return kernel.Product(b.q, b.q.Map, kernel.Factors{W: w, X: b.x, Y: b.y, N: n, In: s.in, Out: s.out, Ld: s.out, Most: 512, Form: s.form, Codes: b.codes}, *way)
}

// timeGraph is what a graph of launches takes in the median of so many times, in
// nanoseconds; the first is not counted.
func timeGraph(stream cu.Stream, run func() error, rounds int) (float64, error) {
	if err := run(); err != nil {
		return 0, err
	}
	g, err := capture(stream, run)
	if err != nil {
		return 0, err
	}
	var times []int64
	for range rounds + 1 {
		ns, err := timeOn(stream, func() error { return g.launch(stream) })
		if err != nil {
			return 0, errors.Join(err, g.free())
		}
		times = append(times, ns)
	}
	times = times[1:]
	slices.Sort(times)
	return float64(times[len(times)/2]), g.free()
}

// copiesInTurn runs for each of several copies.
func copiesInTurn(copies int, run func(i int) error) func() error {
	return func() error {
		for i := range copies {
			if err := run(i); err != nil {
				return err
			}
		}
		return nil
	}
}

func (b *wayBench) time(s benchShape, n int, way *kernel.Way) float64 {
	const copies = 16
	ns, err := timeGraph(b.q.stream, func() error {
		for range copies {
			if err := b.launch(s, n, way, b.next(s)); err != nil {
				return err
			}
		}
		return nil
	}, 5)
	if err != nil {
		b.Fatalf("%s, %d rows, %v: %v", s.name, n, way, err)
	}
	return ns / copies
}

// result is some of what a product writes.
func (b *wayBench) result(s benchShape, n int, way *kernel.Way) ([]float32, error) {
	s.form = 1
	if err := cu.MemsetD8Async(cu.DevicePtr(b.y), 0xff, int64(2*n*s.out), b.q.stream); err != nil {
		b.Fatal(err)
	}
	if err := b.launch(s, n, way, b.w); err != nil {
		return nil, err
	}
	if err := b.q.stream.Synchronize(); err != nil {
		b.Fatalf("%s, %d rows, %v: %v", s.name, n, way, err)
	}
	bits := make([]uint16, n*s.out)
	if err := cu.MemcpyDtoH(unsafe.Pointer(&bits[0]), cu.DevicePtr(b.y), int64(2*len(bits))); err != nil {
		b.Fatal(err)
	}
	var some []float32
	for i := 0; i < len(bits); i += 1 + len(bits)/200_000 {
		some = append(some, math.Float32frombits(uint32(bits[i])<<16))
	}
	return some, nil
}

// far is what sums that are near zero may be apart.
func (b *wayBench) far() float64 {
	if b.codes {
		return 1e4 // of millions
	}
	return 0.02
}

// compare says how far a way is from cuBLASLt.
func (b *wayBench) compare(s benchShape, n int, way kernel.Way, want []float32) string {
	got, err := b.result(s, n, &way)
	if err != nil {
		return fmt.Sprintf("FAIL %s %d rows by %v: %v", s.name, n, way, err)
	}
	for i, g := range got {
		if d := math.Abs(float64(g - want[i])); !(d <= b.far()+math.Abs(float64(want[i]))/64) {
			return fmt.Sprintf("FAIL %s %d rows by %v: sample %d is %v, cuBLASLt's %v", s.name, n, way, i, g, want[i])
		}
	}
	return ""
}

// BenchmarkWays times all ways of products that kernel.Ways lists beside cuBLASLt's,
// and whole layers of the fastest.
func BenchmarkWays(tb *testing.B) { benchmarkWays(tb, false, 16, 32, 48, 64) }

// BenchmarkCodesWays is the same of products of codes.
func BenchmarkCodesWays(tb *testing.B) { benchmarkWays(tb, true, 16, 32, 48, 64) }

func benchmarkWays(tb *testing.B, codes bool, rows ...int) {
	require(tb)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	ctx, err := openContext(0)
	if err != nil {
		tb.Fatal(err)
	}
	defer ctx.close()
	if ctx.gpu.hopper() == 0 {
		tb.Skip("not for this GPU")
	}
	b := &wayBench{B: tb, pool: 5 << 30, hopper: ctx.gpu.hopper(), codes: codes}
	var workspace kernel.Ptr
	for _, a := range []struct {
		at    *kernel.Ptr
		bytes int64
	}{{&b.w, b.pool}, {&b.x, 512 * 17408 * 2}, {&b.y, 512 * 34816 * 4}, {&workspace, workspaceBytes}} {
		if *a.at, err = ctx.allocate(a.bytes, "a benchmark"); err != nil {
			tb.Fatal(err)
		}
	}
	m, err := loadModules(kernel.Shape{Heads: 16, KVHeads: 8, HeadDim: 128, PageSize: 16, Stages: 3, Hopper: b.hopper}, ctx.gpu.architecture())
	if err != nil {
		tb.Fatal(err)
	}
	b.q = &queue{modules: m, stream: ctx.compute, overlap: true}
	if err := b.fill(); err != nil {
		tb.Fatal(err)
	}
	if b.blas, err = newBlas(workspace, ctx.compute); err != nil {
		tb.Fatal(err)
	}
	for _, layer := range benchLayers {
		for _, n := range rows {
			b.layer(layer.name, layer.shapes, n)
		}
	}
}

func (b *wayBench) fill() error {
	if !b.codes {
		return errors.Join(kernel.FillRandom(b.q, b.w, b.pool/2, 5120, 1), kernel.FillRandom(b.q, b.x, 512*17408, 3, 2))
	}
	_, err := kernel.FillCodes(b.q, b.w, b.pool, 5120, 1)
	_, again := kernel.FillCodes(b.q, b.x, 512*17408, 3, 2)
	return errors.Join(err, again)
}

type timedWay struct {
	way kernel.Way
	ns  float64
}

func (b *wayBench) layer(name string, shapes []benchShape, n int) {
	var best []*kernel.Way // nil: cuBLASLt
	ours := make([]*kernel.Way, len(shapes))
	for i, s := range shapes {
		var list []timedWay
		want, err := b.result(s, n, nil)
		if err != nil {
			b.Fatal(err)
		}
		for _, way := range b.ways(s, n) {
			if fault := b.compare(s, n, way, want); fault != "" {
				fmt.Fprintln(os.Stderr, fault)
				continue
			}
			list = append(list, timedWay{way, b.time(s, n, &way)})
		}
		lt := b.time(s, n, nil)
		slices.SortFunc(list, func(x, y timedWay) int { return int(x.ns - y.ns) })
		limit := b.limit(s, n)
		line := fmt.Sprintf("%-4s %3d %-7s lt %6.1f %3.0f%%", name, n, s.name, lt/1e3, 100*limit/lt)
		for _, w := range list[:min(4, len(list))] {
			line += fmt.Sprintf(" | %5.1f %3.0f%% %v", w.ns/1e3, 100*limit/w.ns, w.way)
		}
		fmt.Fprintln(os.Stderr, line)
		for _, w := range list {
			fmt.Fprintf(os.Stderr, "all %s %d %s %v %.2f\n", name, n, s.name, w.way, w.ns/1e3)
		}
		best = append(best, nil)
		if len(list) > 0 {
			ours[i] = &list[0].way
			if list[0].ns < lt {
				best[i] = ours[i]
			}
		}
	}
	b.whole(name, shapes, n, map[string][]*kernel.Way{"lt": make([]*kernel.Way, len(shapes)), "ours": ours, "best": best})
}

// whole times layers, one behind the other.
func (b *wayBench) whole(name string, shapes []benchShape, n int, ways map[string][]*kernel.Way) {
	size, limit := int64(0), 0.0
	for _, s := range shapes {
		size += b.bytes(s)
		limit += b.limit(s, n)
	}
	layers := int(min(28, b.pool/size))
	line := fmt.Sprintf("LAYER %-4s %3d limit %6.1f", name, n, limit/1e3)
	for _, c := range []struct {
		what    string
		overlap bool
	}{{"lt", true}, {"ours", true}, {"ours", false}, {"best", true}} {
		if slices.Contains(ways[c.what], nil) && c.what == "ours" {
			continue
		}
		b.q.overlap = c.overlap
		ns, err := timeGraph(b.q.stream, func() error {
			for range layers {
				for i, s := range shapes {
					if err := b.launch(s, n, ways[c.what][i], b.next(s)); err != nil {
						return err
					}
				}
			}
			return nil
		}, 7)
		b.q.overlap = true
		if err != nil {
			b.Fatalf("layers of %s, %d rows: %v", name, n, err)
		}
		ns /= float64(layers)
		line += fmt.Sprintf(" | %s%s %6.1f %3.0f%%", c.what, strings.Repeat(" serial", flagInt(!c.overlap)), ns/1e3, 100*limit/ns)
	}
	fmt.Fprintln(os.Stderr, line)
}

func flagInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

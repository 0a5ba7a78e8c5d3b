package kernel_test

import (
	"testing"

	"github.com/troupe-llm/troupe/gpu/kernel"
)

// Ways that are listed can be launched: they fit a multiprocessor, have all outputs, and
// in one wave where that is possible. Of more rows, and of shapes that the kernel does not
// take, there are none.
func TestWays(t *testing.T) {
	maps := func(kernel.Tensor) (kernel.TensorMap, error) { return kernel.TensorMap{}, nil }
	for _, c := range []struct{ out, in, n, ways int }{
		{7168, 5120, 16, 6},
		{5120, 17408, 64, 7},
		{34816, 5120, 16, 2},
		{34816, 5120, 50, 2},
		{1024, 3072, 33, 8},
		{151936, 1024, 1, 2},
		{7168, 5120, 65, 0},
		{100, 512, 16, 0},
		{512, 200, 16, 0},
		{1024, 256, 16, 6},
	} {
		f := kernel.Factors{N: c.n, In: c.in, Out: c.out, Ld: c.out}
		ways := kernel.Ways(f, 132)
		if len(ways) != c.ways {
			t.Errorf("%d rows, %d × %d: %d ways, want %d: %v", c.n, c.out, c.in, len(ways), c.ways, ways)
		}
		names := map[string]bool{}
		for _, w := range ways {
			names[w.String()] = true
			var l launched
			if err := kernel.Product(&l, maps, f, w); err != nil {
				t.Fatal(err)
			}
			blocks, a := l.launch.Grid[0], l.args
			if tiles := blocks / w.Split; tiles*w.Rows < c.out || (tiles-1)*w.Rows >= c.out {
				t.Errorf("%v: %d tiles for %d outputs", w, tiles, c.out)
			}
			if w.Tokens < c.n || blocks > 132 && w.Rows*w.Tokens < 4096 || l.launch.Cluster != w.Split || int(a.Depth) < min(2, c.in/64/w.Split) || l.launch.Shared > 232448 || !w.Alone && l.launch.Shared > 115712 {
				t.Errorf("%v: %+v with rings of %d", w, l.launch, a.Depth)
			}
		}
		if len(names) != len(ways) {
			t.Errorf("some of %v have a name together", ways)
		}
	}
}

// Where only a part of a GPU is to be had, clusters are as small as fit it.
func TestWaysOfFewMultiprocessors(t *testing.T) {
	for multiprocessors := 1; multiprocessors <= 33; multiprocessors++ {
		for _, out := range []int{16, 320, 1024, 5120} {
			f := kernel.Factors{N: 16, In: 1024, Out: out, Ld: out}
			for _, w := range kernel.Ways(f, multiprocessors) {
				if w.Split > multiprocessors {
					t.Errorf("%d outputs on %d multiprocessors by %v", out, multiprocessors, w)
				}
			}
		}
	}
}

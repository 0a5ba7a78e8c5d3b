package kernel

import "fmt"

// splitKernel is what a kernel of int4_split_hopper.cu is for: tiles of so many rows,
// of whose inputs so many blocks share parts.
type splitKernel struct{ rows, split int }

func (k splitKernel) String() string { return fmt.Sprintf("%d/%d", k.rows, k.split) }

var int4Split = func() map[splitKernel]*Kernel {
	all := map[splitKernel]*Kernel{}
	for _, rows := range []int{64, 128} {
		for split := 1; split <= 2; split++ {
			all[splitKernel{rows, split}] = newKernel[Int4Args]("int4_split_hopper.cu", fmt.Sprintf("int4_split_%d_%d", rows, split), func(Shape) int { return manyShared + 2048 })
		}
	}
	return all
}()

// Int4Splits are the ways to multiply more than MaxInt4Few rows without gates by tiles
// that their blocks share, in one wave or, of whole tiles, in several; that with the
// least to do comes first.
func Int4Splits(n, out, processors int) (ways []string) {
	least := 0
	for _, k := range []splitKernel{{128, 1}, {128, 2}, {64, 1}, {64, 2}} {
		tiles := ceil(out, 256) * ceil(n, k.rows)
		if k.split > 1 && tiles*k.split > processors {
			continue
		}
		cost := ceil(tiles*k.split, processors) * (16*k.rows/k.split + 1) // a wave costs something, too
		if len(ways) == 0 || cost <= least {
			least, ways = cost, append([]string{k.String()}, ways...)
		} else {
			ways = append(ways, k.String())
		}
	}
	return ways
}

// splits says of a product without a gate that its tiles are shared rather than all of its
// work is evenly. On an H200 tiles of Qwen3-14B's qkv and o take 28 and 35 µs for 44 and 72
// with 128 rows, 42 and 48 for 52 and 79 with 256, those of down, whose inputs are
// many, 86 for 100, but 132 for 125 with 256; with 64 rows they take as long.
func splits(a *Int4Args) bool { return a.N > 64 && (a.N <= 128 || a.In <= 8192) }

// int4SplitProduct is Int4Product in one of Int4Splits; false: there is no such.
func int4SplitProduct(q Queue, a Int4Args, processors int, way string) (bool, error) {
	for k, kernel := range int4Split {
		if k.String() != way {
			continue
		}
		tiles := ceil(int(a.Out), 256) * ceil(int(a.N), k.rows)
		if k.split > 1 && tiles*k.split > processors {
			return true, fmt.Errorf("kernel %s: %d tiles on %d multiprocessors; each tile's %d blocks must run at once", kernel.Name, tiles, processors, k.split)
		}
		return true, launch(q, kernel, min(tiles, max(processors/k.split, 1))*k.split, 1, 384, &a)
	}
	return false, nil
}

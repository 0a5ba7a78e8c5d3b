package kernel

import "fmt"

const minExpertRows = 32

// newExperts makes the kernels for tiles of 32, 64 and 128 entries.
func newExperts(name string) map[int]*Kernel {
	kernels := map[int]*Kernel{}
	for _, k := range []struct{ rows, stages int }{{32, 4}, {64, 4}, {128, 3}} {
		kernels[k.rows] = newKernel[ExpertArgs]("moe_tiles.cu", fmt.Sprint(name, k.rows), func(Shape) int { return k.stages * (128 + k.rows) * 128 })
	}
	return kernels
}

var (
	expertsUp   = newExperts("moe_up_")
	expertsDown = newExperts("moe_down_")
)

// ExpertRows is the rows of tiles for so many entries of so many experts:
// enough that most experts have one tile, until there is enough to compute.
func ExpertRows(entries, experts int) int {
	switch {
	case entries <= 16*experts:
		return 32
	case entries <= 192*experts:
		return 64
	default:
		return 128
	}
}

// MoEUp is the first product of experts and their gate, for tiles of so many
// rows; Out counts gates. It runs in so many blocks; two fit on a multiprocessor.
func MoEUp(q Queue, a ExpertArgs, rows, blocks int) error {
	return experts(q, expertsUp[rows], a, rows, blocks)
}

// MoEDown is the second product.
func MoEDown(q Queue, a ExpertArgs, rows, blocks int) error {
	return experts(q, expertsDown[rows], a, rows, blocks)
}

func experts(q Queue, k *Kernel, a ExpertArgs, rows, blocks int) error {
	if k == nil || a.In <= 0 || a.Out <= 0 || a.In%8 != 0 || a.Out%8 != 0 {
		return fmt.Errorf("kernel moe_tiles: tiles of %d rows, %d inputs, %d outputs; rows are 32, 64 or 128, the others multiples of 8", rows, a.In, a.Out)
	}
	threads := 128
	if rows == 128 {
		threads = 256
	}
	return launch(q, k, blocks, 1, threads, &a)
}

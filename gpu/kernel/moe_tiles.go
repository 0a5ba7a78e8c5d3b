package kernel

import "fmt"

// ExpertArgs: see moe_tiles.cu.
type ExpertArgs struct {
	X, W, Entries, Tiles, Count, Y Ptr
	In, Out                        int32
}

const minExpertRows = 16

// expertKernel is a product for tiles of so many entries.
type expertKernel struct {
	*Kernel
	threads int
}

func newExperts(name string) map[int]expertKernel {
	kernels := map[int]expertKernel{}
	for _, k := range []struct{ rows, weights, stages, threads int }{{16, 64, 8, 128}, {32, 128, 4, 128}, {64, 128, 4, 128}, {128, 128, 3, 256}} {
		shared := func(Shape) int { return k.stages * (k.weights + k.rows) * 128 }
		kernels[k.rows] = expertKernel{newKernel[ExpertArgs]("moe_tiles.cu", fmt.Sprint(name, k.rows), shared), k.threads}
	}
	return kernels
}

var (
	expertsUp    = newExperts("moe_up_")
	expertsPlain = newExperts("moe_plain_")
	expertsDown  = newExperts("moe_down_")
)

// ExpertRows is the rows of tiles for so many entries of so many experts:
// enough that most experts have one tile, until there is enough to compute.
func ExpertRows(entries, experts int) int {
	switch {
	case entries <= 2*experts:
		return 16
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

// MoEPlain is the first product without gates; Out counts all outputs. Entries'
// scales have to be 1, as MoEGroup leaves them.
func MoEPlain(q Queue, a ExpertArgs, rows, blocks int) error {
	return experts(q, expertsPlain[rows], a, rows, blocks)
}

// MoEDown is the second product.
func MoEDown(q Queue, a ExpertArgs, rows, blocks int) error {
	return experts(q, expertsDown[rows], a, rows, blocks)
}

func experts(q Queue, k expertKernel, a ExpertArgs, rows, blocks int) error {
	if err := a.check(rows); err != nil {
		return err
	}
	return launch(q, k.Kernel, blocks, 1, k.threads, &a)
}

func (a *ExpertArgs) check(rows int) error {
	if _, ok := expertsUp[rows]; !ok || a.In <= 0 || a.Out <= 0 || a.In%8 != 0 || a.Out%8 != 0 {
		return fmt.Errorf("kernel moe_tiles: tiles of %d rows, %d inputs, %d outputs; rows are 16, 32, 64 or 128, the others multiples of 8", rows, a.In, a.Out)
	}
	return nil
}

package kernel

import "fmt"

// rowsKernel is what a kernel of int4_rows.cuh is for.
type rowsKernel struct{ rows, groups int }

// rowsShape is how it shares its work out: a block has so many warps, a warp so many duos
// of panels at a time and stages of copies.
type rowsShape struct {
	warps, duos, stages int
	kernel              *Kernel
}

var int4Rows = func() map[rowsKernel]rowsShape {
	all := map[rowsKernel]rowsShape{}
	for _, v := range []struct{ rows, groups, warps, duos, stages int }{
		{8, 1, 16, 6, 3}, {8, 2, 16, 6, 3}, {8, 4, 12, 6, 3}, {16, 1, 12, 3, 4}, {16, 2, 12, 2, 4}, {16, 4, 8, 2, 4},
	} {
		// Each warp's stages and, in one place, two times 128 inputs of its rows and what
		// it has of sums; then a barrier for each stage.
		own := max(v.duos*2*v.rows/8*512, 2*v.rows*256)
		shared := func(Shape) int { return v.warps * (v.stages*(2*(1024+64*v.groups)+8) + own) }
		all[rowsKernel{v.rows, v.groups}] = rowsShape{v.warps, v.duos, v.stages, newKernel[Int4Args]("int4_rows_hopper.cu", fmt.Sprintf("int4_rows_%d_%d", v.rows, v.groups), shared)}
	}
	return all
}()

// int4Gated is Form of a product with gates in int4_rows.cuh.
const int4Gated int32 = 3

// int4RowsProduct is Int4Product of up to MaxInt4Few rows on Hopper.
func int4RowsProduct(q Queue, a Int4Args, groups int, gate bool, processors int) error {
	panels := int(a.Out) / 16
	if gate {
		a.Form, panels = int4Gated, panels/2
	}
	if bytes := Int4Bytes(int(a.Out), int(a.In), 128/groups); bytes >= 1<<32 {
		return fmt.Errorf("kernel int4_rows: a weight of %d bytes; it must be less than 4 GiB", bytes)
	}
	k := int4Rows[rowsKernel{ceil(int(a.N), 8) * 8, groups}]
	return launch(q, k.kernel, min(processors, panels), 1, 32*k.warps, &a)
}

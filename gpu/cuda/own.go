package cuda

import (
	"fmt"
	"slices"

	"github.com/troupe-llm/troupe/gpu/kernel"
)

// ownKind is what a way is chosen for: products of so many rows or fewer, more than the
// next smaller kind's.
type ownKind struct {
	out, in, ld int
	form        int32
	rows        int
}

// ownRows are the rows of kinds.
var ownRows = []int{16, 32, 48, kernel.MostProductRows}

// kindOf is a product's, if kernels of our own may multiply it.
func kindOf(f factors) (k ownKind, ok bool) {
	i, _ := slices.BinarySearch(ownRows, f.n)
	if f.scaling != unscaled || f.n <= 0 || i == len(ownRows) || f.add && !f.float {
		return k, false
	}
	k = ownKind{out: f.out, in: f.in, ld: f.ld, form: kernel.ProductRounded, rows: ownRows[i]}
	switch {
	case f.add:
		k.form = kernel.ProductAdds
	case f.float:
		k.form = kernel.ProductFloats
	}
	return k, true
}

func (k ownKind) String() string {
	return fmt.Sprintf("%d×%d of %d rows, form %d, in rows of %d", k.out, k.in, k.rows, k.form, k.ld)
}

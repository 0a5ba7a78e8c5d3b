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
	codes       bool
	rows        int
}

// ownRows are the rows of kinds, codesRows those of codes.
var (
	ownRows   = []int{16, 32, 48, kernel.MostProductRows}
	codesRows = []int{16, 32, 48, kernel.MostProductRows, 176, mostRounded}
)

// mostRounded is the most rows of products of codes that may be computed as if they were
// roundedTo, of a kind of its own: of other numbers of rows cuBLASLt takes less time than of those.
const (
	mostRounded = 192
	roundedTo   = 256
)

// rowsOf are those that there are for a product; none if it is only cuBLASLt's.
func rowsOf(f factors) []int {
	switch {
	case f.scaling == bare && !f.float:
		return codesRows
	case f.scaling == unscaled && (f.float || !f.add):
		return ownRows
	}
	return nil
}

// kindOf is a product's, if kernels of our own may multiply it.
func kindOf(f factors) (k ownKind, ok bool) {
	rows := rowsOf(f)
	i, _ := slices.BinarySearch(rows, f.n)
	if f.n <= 0 || i == len(rows) {
		return k, false
	}
	k = ownKind{out: f.out, in: f.in, ld: f.ld, form: kernel.ProductRounded, codes: f.scaling == bare, rows: rows[i]}
	switch {
	case f.add:
		k.form = kernel.ProductAdds
	case f.float:
		k.form = kernel.ProductFloats
	}
	return k, true
}

func (k ownKind) String() string {
	of := "bf16"
	if k.codes {
		of = "E4M3"
	}
	return fmt.Sprintf("%d×%d of %s of %d rows, form %d, in rows of %d", k.out, k.in, of, k.rows, k.form, k.ld)
}

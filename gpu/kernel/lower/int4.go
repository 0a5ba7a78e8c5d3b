package lower

import "github.com/troupe-llm/troupe/gpu/kernel"

// Int4Widened is from how many rows on weights of 4 bits are widened for cuBLASLt where
// there are Hopper's kernels for fewer: it multiplies by a matrix of bfloat16 faster, and
// what that costs is soon little.
const Int4Widened = 640

// Int4Way is how weights of 4 bits are multiplied.
type Int4Way int

// By kernels for few rows, by those for many, by cuBLASLt.
const (
	Int4Few Int4Way = iota
	Int4Many
	Int4Wide
)

// Int4 is how so many rows are multiplied by weights of 4 bits.
func Int4(rows int, hopper bool) Int4Way {
	switch {
	case rows <= kernel.MaxInt4Few:
		return Int4Few
	case hopper && rows < Int4Widened:
		return Int4Many
	}
	return Int4Wide
}

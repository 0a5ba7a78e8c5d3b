package cuda

import (
	"testing"

	"github.com/troupe-llm/troupe/gpu/kernel"
)

// Products are of a kind with those of somewhat more rows that write alike. Those of
// codes, of too many rows, and such as add to bf16 are of none.
func TestKindOf(t *testing.T) {
	shape := product{out: 5120, in: 1024, ld: 5120}
	with := func(change func(*factors)) factors {
		f := factors{product: shape}
		f.n = 16
		change(&f)
		return f
	}
	for _, c := range []struct {
		what string
		f    factors
		form int32
		rows int // 0: of no kind
	}{
		{"16 rows in bf16", with(func(*factors) {}), kernel.ProductRounded, 16},
		{"one row", with(func(f *factors) { f.n = 1 }), kernel.ProductRounded, 16},
		{"17 rows in float32", with(func(f *factors) { f.n, f.float = 17, true }), kernel.ProductFloats, 32},
		{"the most rows, added", with(func(f *factors) { f.n, f.float, f.add = 64, true, true }), kernel.ProductAdds, 64},
		{"too many rows", with(func(f *factors) { f.n = 65 }), 0, 0},
		{"no rows", with(func(f *factors) { f.n = 0 }), 0, 0},
		{"codes with scales", with(func(f *factors) { f.scaling = byVectors }), 0, 0},
		{"codes in float32", with(func(f *factors) { f.scaling, f.float = bare, true }), 0, 0},
		{"codes", with(func(f *factors) { f.scaling = bare }), kernel.ProductRounded, 16},
		{"many rows of codes", with(func(f *factors) { f.scaling, f.n = bare, 177 }), kernel.ProductRounded, 192},
		{"too many of codes", with(func(f *factors) { f.scaling, f.n = bare, 193 }), 0, 0},
		{"added in bf16", with(func(f *factors) { f.add = true }), 0, 0},
	} {
		k, ok := kindOf(c.f)
		want := ownKind{out: 5120, in: 1024, ld: 5120, form: c.form, codes: c.f.scaling == bare, rows: c.rows}
		if c.rows == 0 {
			want = ownKind{}
		}
		if ok != (c.rows > 0) || k != want {
			t.Errorf("%s: %+v, %v", c.what, k, ok)
		}
	}
}

package cuda

import (
	"slices"

	"github.com/troupe-llm/troupe/gpu/kernel"
)

// product is the shape of a matrix product: y[n, out] = x[n, in]·w[out, in]ᵀ.
type product struct {
	out, n, in int
	ld         int  // of y's rows, in elements
	float      bool // y is float32, not bf16
}

// factors are what a product reads and writes: y (+)= x·wᵀ.
type factors struct {
	product
	w, x, y kernel.Ptr
	add     bool
	most    int // rows that x and y have
}

// loadable is a kind of product, one of many alike, which has so many rows and
// more.
type loadable struct {
	factors
	name string
	from int
}

// load notes a product that cuBLASLt has to be ready for.
func (c *compiler) load(name string, f factors) {
	same := func(p loadable) bool { return p.product == f.product && p.add == f.add && p.most == f.most }
	if !slices.ContainsFunc(c.products, same) {
		c.products = append(c.products, loadable{f, name, c.from})
	}
}

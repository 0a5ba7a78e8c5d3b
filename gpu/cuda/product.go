package cuda

import (
	"cmp"
	"slices"

	"github.com/troupe-llm/troupe/gpu/kernel"
	"github.com/troupe-llm/troupe/gpu/kernel/lower"
)

// product is the shape of a matrix product: y[n, out] = x[n, in]·w[out, in]ᵀ.
type product struct {
	out, n, in int
	ld         int  // of y's rows, in elements
	float      bool // y is float32, not bf16
	scaling    scaling
}

// like is the shape whose algorithm p takes: one of an eighth more rows at most.
func (p product) like() product {
	p.n = lower.AlikeRows(p.n)
	return p
}

// scaling says of what numbers a product is, and by what its sums are multiplied.
type scaling int

const (
	unscaled  scaling = iota // of bf16
	bare                     // of codes, E4M3, by nothing: who reads the sums does it
	byVectors                // of codes, each output's and each row's scale
	byBlocks                 // of codes, those of 128 × 128 weights and 128 numbers of a row
)

// factors are what a product reads and writes: y (+)= x·wᵀ.
type factors struct {
	product
	w, x, y kernel.Ptr
	ws, xs  kernel.Ptr // scales of codes
	add     bool
	most    int // rows that x and y have
}

// rounded is as many rows as cuBLASLt takes best, as far as there is memory for
// them: most.
func rounded(n, most int) int { return min(lower.ProductRows(n), max(n, most)) }

// of is a product of so many rows.
func (f factors) of(n int) factors {
	f.n = n
	return f
}

// loadable is a kind of product, one of many alike, which has so many rows and
// more.
type loadable struct {
	factors
	name string
	from int
}

// load notes a product that cuBLASLt has to be ready for.
func (c *compiler) load(name string, f factors) { c.loadFrom(name, f, c.from) }

// loadFrom is load of one that has so many rows or more.
func (c *compiler) loadFrom(name string, f factors, from int) {
	same := func(p loadable) bool { return p.product == f.product && p.add == f.add && p.most == f.most }
	if !slices.ContainsFunc(c.products, same) {
		c.products = append(c.products, loadable{f, name, max(from, c.from)})
	}
}

// loadParts notes a product that is made of parts of its rows.
func (c *compiler) loadParts(name string, f factors) {
	from := leastPart(c.from - 1)
	if !slices.ContainsFunc(c.products, func(p loadable) bool { return p.product == f.product && p.add == f.add && p.from <= from }) {
		c.products = append(c.products, loadable{f, name, from})
	}
}

// distinct are products of each shape once, those of the most rows, which come first.
func distinct(products []loadable) []loadable {
	list := slices.Clone(products)
	slices.SortStableFunc(list, func(a, b loadable) int { return cmp.Compare(b.most, a.most) })
	seen := map[product]bool{}
	return slices.DeleteFunc(list, func(l loadable) bool {
		shape := l.of(0).product
		defer func() { seen[shape] = true }()
		return seen[shape]
	})
}

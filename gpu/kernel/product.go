package kernel

import "fmt"

// Tensor is a bf16 matrix in device memory, of which the copy engine brings tiles of
// 64 columns and Box rows to shared memory.
type Tensor struct {
	At            Ptr
	Rows, Columns int
	Box           int
	// Pairs has the copy engine bring of each sixteen rows those of even numbers first.
	Pairs bool
}

// TensorMap is a Tensor as the driver writes it down for the copy engine.
type TensorMap [16]uint64

// ProductArgs: see product_hopper.cu.
type ProductArgs struct {
	W, X              TensorMap
	Y                 Ptr
	N, Out, Ld, Form  int32
	Rows, Box, Chunks int32
	Split, Depth      int32
	Pad               [5]int32
}

// What a Product does with its sums.
const (
	ProductFloats  = 0 // writes float32
	ProductRounded = 1 // writes bf16
	ProductAdds    = 2 // adds to float32
)

// Factors are those of a product y[N, Ld] = x[N, In]·w[Out, In]ᵀ of bf16.
type Factors struct {
	W, X, Y        Ptr
	N, Out, In, Ld int
	Most           int // rows that x has memory for
	Form           int32
	Codes          bool // x and w are of E4M3, not bf16
}

// pairs is how many numbers of 16 bits have as many bytes as a row's inputs.
func (f Factors) pairs() int {
	if f.Codes {
		return f.In / 2
	}
	return f.In
}

// Way is how a product is shared out among blocks, which says in what order sums are
// added up.
type Way struct {
	Tokens int  // rows of x in a tile: one of 16, 32, 64, 128 and 256
	Rows   int  // of w in a tile, a multiple of 8; in gates of 16
	Split  int  // blocks that share a tile's inputs
	Alone  bool // takes all shared memory: no other block fits beside
}

func (w Way) String() string {
	s := fmt.Sprintf("%d×%d/%d", w.Tokens, w.Rows, w.Split)
	if w.Alone {
		s += "!"
	}
	return s
}

// What a block of product_hopper.cu may have of a multiprocessor's shared memory.
const (
	productWhole    = 232448
	productHalf     = 115712
	productBarriers = 1024
	productDepth    = 32
)

// mostSixtyFours is the most products of 64 rows of w that a warpgroup has.
const mostSixtyFours = 3

// sixtyFours is how many products of 64 rows of w a warpgroup has.
func (w Way) sixtyFours() int { return ceil(w.Rows, 128) }

// ProductSource is the file of the kernels of Product.
const ProductSource = "product_hopper.cu"

var productKernels = newProducts()

type productKey struct {
	tokens, sixtyFours int
	codes              bool
}

// newProducts makes them by tokens and products of 64 rows.
func newProducts() map[productKey]*Kernel {
	list := map[productKey]*Kernel{}
	for _, tokens := range []int{16, 32, 64} {
		for sixtyFours := 1; sixtyFours <= mostSixtyFours; sixtyFours++ {
			for codes, suffix := range map[bool]string{false: "", true: "_codes"} {
				name := fmt.Sprintf("product_%d_%d%s", tokens, sixtyFours, suffix)
				list[productKey{tokens, sixtyFours, codes}] = newKernel[ProductArgs](ProductSource, name, func(Shape) int { return productWhole })
			}
		}
	}
	return list
}

// layout is how many stages the ring has, and the shared memory that takes.
func (w Way) layout(chunks int) (depth, shared int) {
	stage, budget := (w.Rows+w.Tokens)*128, productHalf
	if w.Alone {
		budget = productWhole
	}
	// What products of 64 rows read behind the last.
	behind := max(0, (ceil(w.Rows, 64)*64-w.Rows-w.Tokens)*128)
	fixed := 1024 + productBarriers + behind
	sums := ceil(w.Rows/16, w.Split) * w.Split * w.Tokens * 80
	depth = min(productDepth, (budget-fixed)/stage, ceil(chunks, w.Split))
	shared = fixed + max(depth*stage, sums)
	if shared > budget {
		depth = 0
	}
	return depth, shared
}

func (w Way) check(f Factors) error {
	depth, _ := w.layout(f.pairs() / 64)
	switch {
	case productKernels[productKey{w.Tokens, w.sixtyFours(), f.Codes}] == nil, w.Rows <= 0, w.Rows%16 != 0:
		return fmt.Errorf("kernel product: tiles of %d rows by %d of weights", w.Tokens, w.Rows)
	case w.Split < 1 || w.Split > 8:
		return fmt.Errorf("kernel product: clusters of %d blocks", w.Split)
	case f.pairs()%64 != 0 || f.In%64 != 0 || f.Out%16 != 0 || f.Ld%4 != 0 || f.N <= 0 || f.pairs()/64 < w.Split:
		return fmt.Errorf("kernel product: %d × %d by %d × %d into rows of %d; inputs must be a multiple of 64, outputs of 16", f.N, f.In, f.In, f.Out, f.Ld)
	case depth < 2 && depth < f.pairs()/64/w.Split:
		return fmt.Errorf("kernel product: no room for two stages of %d rows and %d", w.Rows, w.Tokens)
	}
	return nil
}

// Product multiplies in a way, on a device of compute capability 9.0. Maps are the
// driver's.
func Product(q Queue, maps func(Tensor) (TensorMap, error), f Factors, w Way) error {
	if err := w.check(f); err != nil {
		return err
	}
	box := w.Rows
	if box > 256 {
		box = ceil(box/16, 2) * 16
	}
	weights, err := maps(Tensor{At: f.W, Rows: f.Out, Columns: f.pairs(), Box: box, Pairs: true})
	if err != nil {
		return err
	}
	x, err := maps(Tensor{At: f.X, Rows: max(f.Most, f.N), Columns: f.pairs(), Box: w.Tokens})
	if err != nil {
		return err
	}
	depth, shared := w.layout(f.pairs() / 64)
	a := ProductArgs{
		W: weights, X: x, Y: f.Y, N: int32(f.N), Out: int32(f.Out), Ld: int32(f.Ld), Form: f.Form,
		Rows: int32(w.Rows), Box: int32(box), Chunks: int32(f.pairs() / 64), Split: int32(w.Split), Depth: int32(depth),
	}
	clusters := ceil(f.Out, w.Rows) * ceil(f.N, w.Tokens)
	l := launchOf(productKernels[productKey{w.Tokens, w.sixtyFours(), f.Codes}], clusters*w.Split, 1, 288, &a)
	l.Cluster, l.Shared = w.Split, shared
	return q.Launch(l)
}

// MostProductRows is the most rows of products that ways are listed for. With more
// cuBLASLt is faster: 10.1 ms for 10.4 in a step of Qwen3-14B, 128 rows, on an H200.
const MostProductRows = 64

// Ways are those that are worth timing for a product of so many rows: w shared out
// evenly among so many multiprocessors in as few waves of blocks as can be, by clusters of several sizes.
func Ways(f Factors, multiprocessors int) (list []Way) {
	tokens := 16
	for tokens < f.N {
		tokens *= 2
	}
	for split := 1; f.N <= MostProductRows && split <= 8; split *= 2 {
		clusters := multiprocessors / split
		if split > 2 { // which lie within groups of 16 multiprocessors and some
			clusters = multiprocessors / 16 * 16 / split
		}
		if clusters == 0 { // of a part of a GPU
			break
		}
		waves := ceil(f.Out, clusters*128*mostSixtyFours)
		if waves > 1 && split > 1 {
			break
		}
		rows := ceil(ceil(f.Out, clusters*waves), 16) * 16
		for _, alone := range []bool{true, false} {
			if w := (Way{Tokens: tokens, Rows: rows, Split: split, Alone: alone}); w.check(f) == nil {
				list = append(list, w)
			}
		}
	}
	return list
}

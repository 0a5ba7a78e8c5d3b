package program

// Weight is a slot that a checkpoint's tensors fill. Which encoding its numbers
// have is not the program's affair.
type Weight struct {
	Name string // "layers.3.qkv"; unique in a program
	// Role is what weights of all layers with this part are called: "qkv".
	Role string
	// Shape is [out, in] of a matrix, [n] of a vector, [experts, out, in] of a
	// matrix for each expert.
	Shape []int
	// Parts fill the outputs, one under the other; those of experts one expert
	// after the other.
	Parts []Part
	Init  Init
	// Elementwise says that numbers are used one by one, not multiplied as a
	// matrix, whatever the shape: norms and biases are, too.
	Elementwise bool
	// Exact says that a device holds the numbers in float32, whatever it makes of
	// others: few, by which something is chosen, or that stand in an exponent.
	Exact bool
	// Plus is added to every element while loading: some families store norms'
	// weights less one.
	Plus float32
	// Tied is taken in its stead where a checkpoint has none of its tensors.
	Tied *Weight
}

// Init is what stands for a weight that is made up.
type Init int

const (
	Random Init = iota // of standard deviation 1/√in, so that signals keep their size
	Ones
	Zeros
)

// Codes says how numbers of 8 or 4 bits that a device multiplies as they are are scaled.
type Codes int

const (
	NoCodes       Codes = iota // wider numbers, without scales
	CodesByOutput              // FP8; each output has a scale
	CodesByBlock               // FP8; 128 outputs and 128 inputs have one
	CodesInGroups              // whole numbers of 4 bits; so many inputs of an output have one
	CodesMXFP4                 // E2M1; 32 inputs of an output have a power of two
)

// FP8 says that products are of values in FP8, too.
func (c Codes) FP8() bool { return c == CodesByOutput || c == CodesByBlock }

// Part is some rows of one tensor of a checkpoint. Rows are those of a matrix
// [rows, in]; of a vector each element is one.
type Part struct {
	Tensor string // its name in checkpoints
	Shape  []int  // its shape there
	// Slab is which matrix of a tensor of three dimensions; Transposed says that
	// the matrix is [in, rows] there.
	Slab       int
	Transposed bool
	// Rows are taken Block at a time, Stride apart, from row First on.
	Rows, First, Block, Stride int
	// Column is the first of a row's elements that are taken: as many as the slot
	// has inputs. With Step they come in another order, by which Column counts: of
	// pieces of Run elements (0: 1) first every Step-th, then those behind them: 2
	// puts the even ones before the odd ones.
	Column, Step, Run int
}

// Whole is the part that is all rows of a tensor, in order.
func Whole(tensor string, shape ...int) Part {
	return Part{Tensor: tensor, Shape: shape, Rows: shape[0], Block: shape[0], Stride: shape[0]}
}

// Some is n of a tensor's rows, block at a time, stride apart, from
// first on.
func Some(tensor string, shape []int, n, first, block, stride int) Part {
	return Part{Tensor: tensor, Shape: shape, Rows: n, First: first, Block: block, Stride: stride}
}

// Row is which row of the tensor's matrix row i of the part is.
func (p *Part) Row(i int) int { return p.First + i/p.Block*p.Stride + i%p.Block }

// Input is which of the inputs of the tensor's matrix, so many, input i of the part is.
func (p *Part) Input(i, inputs int) int {
	i += p.Column
	if p.Step < 2 {
		return i
	}
	run := max(p.Run, 1)
	each := inputs / (run * p.Step)
	piece := i / run
	return (piece%each*p.Step+piece/each)*run + i%run
}

// Together is how many inputs from i on lie together, of a part that has so many.
func (p *Part) Together(i, inputs int) int {
	if p.Step < 2 {
		return inputs - i
	}
	run := max(p.Run, 1)
	return min(run-(p.Column+i)%run, inputs-i)
}

// Experts is how many matrices the slot has.
func (w *Weight) Experts() int {
	if len(w.Shape) == 3 {
		return w.Shape[0]
	}
	return 1
}

// Out and In are a matrix's, of each expert; a vector's In is 1.
func (w *Weight) Out() int {
	if len(w.Shape) == 1 {
		return w.Shape[0]
	}
	return w.Shape[len(w.Shape)-2]
}

// In: see Out.
func (w *Weight) In() int {
	if len(w.Shape) == 1 {
		return 1
	}
	return w.Shape[len(w.Shape)-1]
}

// Matrix tells matrices from vectors.
func (w *Weight) Matrix() bool { return len(w.Shape) > 1 && !w.Elementwise }

// Elements is how many numbers it has.
func (w *Weight) Elements() int64 {
	n := int64(1)
	for _, d := range w.Shape {
		n *= int64(d)
	}
	return n
}

// Projections are the matrices within layers that nothing but products reads, in
// the order of the program: those that are quantised where weights are. Embeddings,
// the head, routers and experts are not among them.
func (p *Program) Projections() (list []*Weight) {
	others, routers := map[*Weight]bool{}, map[*Value]bool{}
	for _, op := range p.Ops {
		if r, is := op.(*Route); is {
			routers[r.Logits] = true
		}
	}
	for _, op := range p.Ops {
		product, is := op.(*Product)
		if is && product.Out.Rows != Sampled && !routers[product.Out] {
			continue
		}
		for _, w := range op.Uses().Weights {
			others[w] = true
		}
	}
	for _, w := range p.Weights {
		if w.Matrix() && !others[w] {
			list = append(list, w)
		}
	}
	return list
}

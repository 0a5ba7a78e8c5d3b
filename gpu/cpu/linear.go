package cpu

import (
	"unsafe"

	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/gpu/program"
)

// rowBlock is how many rows of activations pass by a panel before the next
// panel is taken: weights come from memory once per block, activations from
// the cache once per panel.
const rowBlock = 240

// epilogue finishes what a task of linear has computed: rows [row, rowEnd),
// outputs [col, colEnd), padding included. The values are still in the cache.
type epilogue func(row, rowEnd, col, colEnd int)

// apart is how far apart rows of n activations lie that products take. Were it
// a multiple of 4 KiB, the dozen rows of a call would share a few places in the
// first cache: a Zen 4 core multiplied 240 rows of 1,024 to 3,072 at 53 GFLOP/s,
// so at 115.
func apart(n int) int { return padded(n) + lanes }

// multiply is a product, and what finishes it.
func (e *engine) multiply(o *program.Product, finish epilogue) func() {
	in, out, m := e.plan.view(o.In), e.plan.view(o.Out), e.weights.matrix(o.Weight)
	return func() {
		e.linear(out.all(), out.stride, in.all(), in.stride, e.count(in.rows, in.perToken), m, finish)
	}
}

// linear computes y = x·Wᵀ for rows of x [rows, ldx] into y [rows, ldy], padding
// included, on all cores. Which core takes which outputs is chance; the bits are
// not.
func (e *engine) linear(y []float32, ldy int, x []float32, ldx, rows int, m *matrix, finish epilogue) {
	panels := m.panels()
	// Four panels are one call of gemv; fewer when cores would go idle. An
	// even number keeps gate and up together.
	group := 4
	if panels < 8*e.pool.size {
		group = 2
	}
	groups := (panels + group - 1) / group
	blocks := (rows + rowBlock - 1) / rowBlock
	e.pool.run(groups*blocks, func(worker, task int) {
		first, row := task%groups*group, task/groups*rowBlock
		e.product(worker, y, ldy, x, ldx, row, min(row+rowBlock, rows), m, first, min(first+group, panels), finish)
	})
}

// product is a task of linear: rows [row, rowEnd) by panels [first, last).
func (e *engine) product(worker int, y []float32, ldy int, x []float32, ldx, row, rowEnd int, m *matrix, first, last int, finish epilogue) {
	by := e.kernels.of(m.dtype)
	if rowEnd-row == 1 && last-first == 4 {
		by.gemv(&y[row*ldy+first*panelWidth], &x[row*ldx], m.panel(first), m.in)
	} else {
		wide := m.dtype == model.Int8 && rowEnd-row >= manyCalls*len(by.gemm)
		for p := first; p < last; p++ {
			if wide {
				e.widened(worker, y[p*panelWidth:], ldy, x, ldx, row, rowEnd, m, p)
				continue
			}
			tiles(by.gemm, y[p*panelWidth:], ldy, x, ldx, row, rowEnd, m.panel(p), m.in)
		}
	}
	if finish != nil {
		finish(row, rowEnd, first*panelWidth, last*panelWidth)
	}
}

// manyCalls is how many calls of gemm an int8 panel must be good for to be
// converted once, before them, instead of in each. Converting in each took
// prompts with AVX2 to 0.82 of bfloat16's speed.
const manyCalls = 4

// widened multiplies rows [row, rowEnd) by an int8 panel that it has made one
// of bfloat16, which holds the same numbers: the same sums, by the same order.
func (e *engine) widened(worker int, y []float32, ldy int, x []float32, ldx, row, rowEnd int, m *matrix, p int) {
	scratch := &e.pool.scratch[worker]
	grow(scratch, panelBytes(model.BFloat16, m.in)/4)
	panel := (*byte)(unsafe.Pointer(&(*scratch)[0]))
	e.kernels.widen(panel, m.panel(p), m.in)
	tiles(e.kernels.bf16.gemm, y, ldy, x, ldx, row, rowEnd, panel, m.in)
	_, scales := int8s(m.panel(p), m.in)
	for ; row < rowEnd; row++ {
		e.kernels.mulScale(&y[row*ldy], &y[row*ldy], &scales[0], 1, panelWidth)
	}
}

// tiles multiplies rows [row, end) by a panel, in as few calls as possible
// and about as many rows in each.
func tiles(gemm []gemmFunc, y []float32, ldy int, x []float32, ldx, row, end int, w *byte, k int) {
	for calls := (end - row + len(gemm) - 1) / len(gemm); row < end; calls-- {
		n := (end - row + calls - 1) / calls
		gemm[n-1](&y[row*ldy], ldy, &x[row*ldx], ldx, w, k)
		row += n
	}
}

// addBias adds a bias to x.
func addBias(x view, bias []float32) epilogue {
	return func(row, rowEnd, col, colEnd int) {
		colEnd = min(colEnd, x.width)
		for ; row < rowEnd; row++ {
			out := x.row(row)
			for j := col; j < colEnd; j++ {
				out[j] += bias[j]
			}
		}
	}
}

// addTo adds what was computed, y, to x.
func addTo(x, y view, scale float32) epilogue {
	return func(row, rowEnd, col, colEnd int) {
		colEnd = min(colEnd, x.width)
		for ; row < rowEnd; row++ {
			to, from := x.row(row)[:colEnd], y.row(row)[:colEnd]
			if scale != 1 {
				for j := col; j < colEnd; j++ {
					to[j] += float32(scale * from[j]) // not fused: the same bits everywhere
				}
				continue
			}
			for j := col; j < colEnd; j++ {
				to[j] += from[j]
			}
		}
	}
}

// gatePanels is the gate on pairs of panels, gate and up.
func (e *engine) gatePanels(in, out view, o *program.Gate) epilogue {
	act := e.kernels.activation(o.Activation)
	return func(row, rowEnd, col, colEnd int) {
		for ; row < rowEnd; row++ {
			from, to := in.all()[row*in.stride:], out.all()[row*out.stride:]
			for j := col; j < colEnd; j += 2 * panelWidth {
				act(&to[j/2], &from[j], &from[j+panelWidth], panelWidth)
			}
		}
	}
}

// gate is the gate on rows [gates | ups].
func (e *engine) gate(in, out view, o *program.Gate) epilogue {
	act, n := e.kernels.activation(o.Activation), out.width
	return func(row, rowEnd, _, _ int) {
		for ; row < rowEnd; row++ {
			from, to := in.row(row), out.row(row)
			act(&to[0], &from[0], &from[n], n)
		}
	}
}

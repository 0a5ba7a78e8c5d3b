package cpu

import "github.com/troupe-llm/troupe/gpu/program"

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
	a := e.operands(rows, func(i int) []float32 { return x[i*ldx:][:m.in] }, operand{x: x, ldx: ldx}, m)
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
		e.product(worker, y, ldy, a, row, min(row+rowBlock, rows), m, first, min(first+group, panels), finish)
	})
}

// operand is rows that are multiplied: words, of float32 or what products.round makes,
// or whole numbers.
type operand struct {
	x       []float32
	ldx     int
	numbers []byte
	bytes   int // how far apart rows of numbers lie
}

// operands are rows as each of a matrix's parts takes them.
func (e *engine) operands(rows int, row func(i int) []float32, as operand, m *matrix) []operand {
	w, parts := &e.work, max(1, len(m.parts))
	for len(w.operands) < parts {
		w.operands, w.numbers, w.rounded = append(w.operands, operand{}), append(w.numbers, nil), append(w.rounded, nil)
	}
	for i := range parts {
		of := m
		if m.parts != nil {
			of = m.parts[i]
		}
		switch by := e.kernels.of(of.dtype); {
		case of.whole():
			w.operands[i] = e.quantize(&w.numbers[i], rows, row, of)
		case by.round != nil:
			w.operands[i] = e.round(&w.rounded[i], rows, row, of)
		default:
			w.operands[i] = as
		}
	}
	return w.operands[:parts]
}

// round makes of rows what a matrix of bfloat16 takes.
func (e *engine) round(to *[]float32, rows int, row func(i int) []float32, m *matrix) operand {
	by := e.kernels.of(m.dtype)
	n := by.words(m.in)
	a := operand{ldx: apart(n)}
	grow(to, rows*a.ldx)
	a.x = *to
	e.each(rows, 8, func(i int) { by.round(a.x[i*a.ldx:][:n], row(i)) })
	return a
}

// quantize makes whole numbers of rows, as a matrix takes them.
func (e *engine) quantize(to *[]byte, rows int, row func(i int) []float32, m *matrix) operand {
	a := operand{bytes: m.rowBytes(m.in)}
	grow(to, rows*a.bytes)
	a.numbers = *to
	e.each(rows, 2, func(i int) {
		to, x := a.numbers[i*a.bytes:][:a.bytes], row(i)
		if m.order != nil {
			sorted := make([]float32, m.in)
			for k, from := range m.order {
				sorted[k] = x[from]
			}
			x = sorted
		}
		e.kernels.whole.quantize(to, x, m.format)
	})
	return a
}

// product is a task of linear: rows [row, rowEnd) by panels [first, last).
func (e *engine) product(worker int, y []float32, ldy int, a []operand, row, rowEnd int, m *matrix, first, last int, finish epilogue) {
	if m.parts == nil {
		e.panels(worker, y[first*panelWidth:], ldy, a[0], row, rowEnd, m, first, last)
	} else {
		for p, at := range m.where[first:last] {
			e.panels(worker, y[(first+p)*panelWidth:], ldy, a[at.part], row, rowEnd, m.parts[at.part], at.panel, at.panel+1)
		}
	}
	if finish != nil {
		finish(row, rowEnd, first*panelWidth, last*panelWidth)
	}
}

// panels multiplies rows [row, rowEnd) by panels [first, last) of one format; y begins
// at the first one's outputs.
func (e *engine) panels(worker int, y []float32, ldy int, a operand, row, rowEnd int, m *matrix, first, last int) {
	switch by := e.kernels.of(m.dtype); {
	case m.whole():
		by, tiled := e.kernels.whole.of(m.format), e.kernels.whole.tiled
		for p := first; p < last; p++ {
			y := y[(p-first)*panelWidth:]
			if tiled == nil || !tiled(m, y, ldy, a, row, rowEnd, p, &e.pool.scratch[worker]) {
				m.tiles(by, y, ldy, a, row, rowEnd, p)
			}
		}
	case rowEnd-row == 1 && last-first == 4:
		by.gemv(&y[row*ldy], &a.x[row*a.ldx], m.panel(first), m.steps(m.in))
	default:
		for p := first; p < last; p++ {
			tiles(by.gemm, y[(p-first)*panelWidth:], ldy, a.x, a.ldx, row, rowEnd, m.panel(p), m.steps(m.in))
		}
	}
}

// tiles is that of whole numbers.
func (m *matrix) tiles(by blockProducts, y []float32, ldy int, a operand, row, end, p int) {
	w := m.panel(p)
	for calls := (end - row + len(by) - 1) / len(by); row < end; calls-- {
		n := (end - row + calls - 1) / calls
		by[n-1](&y[row*ldy], ldy, &a.numbers[row*a.bytes], a.bytes, w, (m.in+3)/4, m.group/4)
		row += n
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
func addTo(k *kernels, x, y view, scale float32) epilogue {
	one := float32(1)
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
			if col < colEnd { // once the number itself: fused is rounded as a sum is
				k.values(&to[col], &one, 1, 1, &from[col], 1, colEnd-col)
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

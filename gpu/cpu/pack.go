package cpu

import (
	"encoding/binary"
	"slices"
	"unsafe"

	"github.com/troupe-llm/troupe/gpu/model"
)

// matrix is a weight matrix [out, in] in panels of 32 outputs:
//
//	float32   w[out/32][in][32]        output j of the panel at j
//	bfloat16  w[out/32][in/2][32][2]   of output j two inputs at j, side by side
//	int8      w[out/32][in/group]{[32] scales, [group/4][32][4]}: output j at j
//	int4      w[out/32][in/group]{[32] scales, [group/4][16][4]}: of a byte the
//	          lower half is output j's, the upper j+16's
//
// A pair of inputs of a bfloat16 panel is 32 words, as dot products of pairs take
// them; a shift yields the float32 of the even input and a mask that of the odd one.
// Outputs and inputs past the end are zero.
//
// Scales are float32; behind them lie [32] offsets where the format has some.
// Whole numbers are stored from 0 on: blocks.go says what is computed with them.
//
// Weights are copied into this layout instead of being used where the file is
// mapped: vector lanes then hold outputs, so each output has one order of
// summation; a stream of weights is contiguous and, in anonymous memory, can
// lie in huge pages. It serves one row and many.
//
// A matrix whose tensors are held in several formats is one of parts.
type matrix struct {
	out, in int
	holding
	data []byte // 64-byte aligned

	// parts have whole panels each, all of one format, and where says which of them
	// has a panel; nil: the matrix is one by itself.
	parts []*matrix
	where []place
}

// place is a panel of one of a matrix's parts.
type place struct{ part, panel int }

// holding is how the weights of a source are held.
type holding struct {
	format
	// order is which input is k-th, where groups are not of inputs one behind the
	// other; nil: they are.
	order []int32
	// kept says that the numbers are the checkpoint's own.
	kept bool
}

// format is how a matrix's numbers are held.
type format struct {
	dtype   model.DType // Float32, BFloat16, Int8 or Int4
	group   int         // of Int8 and Int4: inputs that share a scale
	offsets bool        // of those: each group has one
}

// whole says that numbers are whole, times scales.
func (f format) whole() bool { return f.dtype == model.Int8 || f.dtype == model.Int4 }

// line is the bytes of four inner indices of a panel of whole numbers.
func (f format) line() int {
	if f.dtype == model.Int4 {
		return 2 * panelWidth
	}
	return 4 * panelWidth
}

// head is the bytes before a group's lines.
func (f format) head() int {
	if f.offsets {
		return 2 * 4 * panelWidth
	}
	return 4 * panelWidth
}

// blockBytes is the bytes of a whole group.
func (f format) blockBytes() int { return f.head() + f.group/4*f.line() }

func (m *matrix) panels() int { return (m.out + panelWidth - 1) / panelWidth }

// stride is the number of outputs, padding included.
func (m *matrix) stride() int { return m.panels() * panelWidth }

func (m *matrix) panelBytes() int { return m.format.panelBytes(m.in) }

func (f format) panelBytes(in int) int {
	if f.whole() {
		return (in+f.group-1)/f.group*f.head() + (in+3)/4*f.line()
	}
	return f.steps(in) * panelWidth * 4
}

// takesRows says that some weights are multiplied by rows as they are.
func (m *matrix) takesRows() bool {
	return m.dtype == model.Float32 || slices.ContainsFunc(m.parts, (*matrix).takesRows)
}

// steps is how many words of an output of bfloat16 or float32 so many inputs take.
func (f format) steps(in int) int {
	if f.dtype == model.BFloat16 {
		return (in + 1) / 2
	}
	return in
}

func (m *matrix) panel(p int) *byte {
	return &m.data[p*m.panelBytes()]
}

// float32s and bfloat16s are the weights of a panel.
func (m *matrix) float32s(p int) []float32 {
	return unsafe.Slice((*float32)(unsafe.Pointer(m.panel(p))), m.in*panelWidth)
}

func (m *matrix) bfloat16s(p int) []uint16 {
	return unsafe.Slice((*uint16)(unsafe.Pointer(m.panel(p))), (m.in+1)/2*2*panelWidth)
}

// block is a group of a panel: its outputs' scales, and offsets behind them, and
// the lines of its whole numbers.
func (m *matrix) block(p, g int) (scales []float32, lines []byte) {
	at := g * m.blockBytes()
	end := min(at+m.blockBytes(), m.panelBytes())
	b := m.data[p*m.panelBytes():][at:end]
	return unsafe.Slice((*float32)(unsafe.Pointer(&b[0])), m.head()/4), b[m.head():]
}

// put stores the numbers of a group of output j, from 0 on, where there are none yet.
func (f format) put(lines []byte, j int, numbers []uint8) {
	at, shift := 4*j, 0
	if f.dtype == model.Int4 && j >= panelWidth/2 {
		at, shift = 4*(j-panelWidth/2), 4
	}
	for line := f.line(); len(numbers) > 0; at += line {
		to := lines[at:][:4]
		for i, q := range numbers[:min(4, len(numbers))] {
			to[i] |= q << shift
		}
		numbers = numbers[min(4, len(numbers)):]
	}
}

// number is what is stored as the k-th of a group of output j.
func (f format) number(lines []byte, j, k int) uint8 {
	at := k/4*f.line() + 4*j + k%4
	switch {
	case f.dtype == model.Int8:
		return lines[at]
	case j < panelWidth/2:
		return lines[at] & 15
	}
	return lines[at-4*panelWidth/2] >> 4
}

// row copies one output's weights to dst [in]: how an embedding is looked up.
func (m *matrix) row(dst []float32, out int) {
	p, j := out/panelWidth, out%panelWidth
	if m.parts != nil {
		of := m.where[p]
		m.parts[of.part].row(dst, of.panel*panelWidth+j)
		return
	}
	switch m.dtype {
	case model.Float32:
		w := m.float32s(p)[j:]
		for k := range dst {
			dst[k] = w[k*panelWidth]
		}
	case model.BFloat16:
		w := m.bfloat16s(p)
		for k := range dst {
			dst[k] = model.FromBF16(w[inPairs(j, k)])
		}
	default:
		m.wholeRow(dst, p, j)
	}
}

func (m *matrix) wholeRow(dst []float32, p, j int) {
	zero := middle(m.dtype)
	for first := 0; first < m.in; first += m.group {
		scales, lines := m.block(p, first/m.group)
		for k := range min(m.group, m.in-first) {
			v := float32(int32(m.number(lines, j, k))-zero) * scales[j]
			if m.offsets {
				v += scales[panelWidth+j]
			}
			at := first + k
			if m.order != nil {
				at = int(m.order[at])
			}
			dst[at] = v
		}
	}
}

// inPairs is where input k of output j of a bfloat16 panel lies.
func inPairs(j, k int) int { return (k/2*panelWidth+j)*2 + k%2 }

// packPanel fills panel p; source gives the weights of an output.
func (m *matrix) packPanel(p int, source func(out int) row, s *scratch) {
	var rows [panelWidth]row
	n := min(m.out-p*panelWidth, panelWidth)
	raw := m.dtype == model.BFloat16
	var lines [panelWidth][]byte
	for j := range n {
		rows[j] = source(p*panelWidth + j)
		lines[j] = rows[j].bfloat16s(m.in)
		raw = raw && lines[j] != nil
	}
	if raw {
		// The common case: a word of each output in turn.
		w := unsafe.Slice((*uint32)(unsafe.Pointer(m.panel(p))), m.steps(m.in)*panelWidth)
		for k := range m.in / 2 {
			line := w[k*panelWidth:][:panelWidth]
			for j, r := range lines[:n] {
				line[j] = binary.LittleEndian.Uint32(r[4*k:])
			}
		}
		if k := m.in - 1; k%2 == 0 {
			for j, r := range lines[:n] {
				w[k/2*panelWidth+j] = uint32(binary.LittleEndian.Uint16(r[2*k:]))
			}
		}
		return
	}
	if m.kept {
		m.keep(p, rows[:n], s)
		return
	}
	grow(&s.values, n*m.in)
	for j := 0; j < n; {
		many := together(rows[j:n])
		rows[j].read(many, s.values[:many*m.in])
		for l := range many {
			m.pack(p, j+l, s.values[l*m.in:][:m.in])
		}
		j += many
	}
}

// together is how many of the first rows follow each other in one source: what
// shares words is read at once.
func together(rows []row) int {
	n := 1
	for n < len(rows) && rows[n] == (row{rows[0].source, rows[0].i + n}) {
		n++
	}
	return n
}

// pack writes the weights of output j of panel p.
func (m *matrix) pack(p, j int, values []float32) {
	switch m.dtype {
	case model.Float32:
		w := m.float32s(p)[j:]
		for k, v := range values {
			w[k*panelWidth] = v
		}
	case model.BFloat16:
		w := m.bfloat16s(p)
		for k, v := range values {
			w[inPairs(j, k)] = model.ToBF16(v)
		}
	default:
		m.round(p, j, values)
	}
}

// row is one row of a slot, as its tensor has it; without a source it is zeros.
type row struct {
	source *model.Source
	i      int
}

var zeros [1 << 20]byte

// bfloat16s are the row's n elements where they lie so in the file; else nil.
func (r row) bfloat16s(n int) []byte {
	switch {
	case r.source == nil && 2*n <= len(zeros):
		return zeros[:2*n]
	case r.source == nil || r.source.Tensor.Encoding != model.Plain(model.BFloat16):
		return nil
	}
	return r.source.Bytes(r.i, 1)
}

// read converts n rows, of which it is the first, to dst.
func (r row) read(n int, dst []float32) {
	if r.source == nil {
		clear(dst)
		return
	}
	r.source.ReadRows(r.i, n, dst)
}

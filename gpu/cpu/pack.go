package cpu

import (
	"encoding/binary"
	"math"
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
//	int6      as int4, but before two lines, A and B, [16][4] with the fifth and sixth
//	          bits: of a byte the lowest two are output j's of A, then j+16's, then B's
//
// A pair of inputs of a bfloat16 panel is 32 words, as dot products of pairs take
// them; a shift yields the float32 of the even input and a mask that of the odd one.
// Outputs and inputs past the end are zero.
//
// Behind scales lie [32] offsets where the format has some. Both are float32, float16,
// or int8 that count float16s, which then lie before the groups of each 256 inputs.
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
	dtype   model.DType // Float32, BFloat16, Int8, Int6 or Int4
	group   int         // of whole numbers: inputs that share a scale
	offsets bool        // of those: each group has one
	scales  model.Scaling
}

// whole says that numbers are whole, times scales.
func (f format) whole() bool { return f.bits() < 16 }

// bits is how many a number takes.
func (f format) bits() int {
	switch f.dtype {
	case model.Int4:
		return 4
	case model.Int6:
		return 6
	case model.Int8:
		return 8
	case model.BFloat16:
		return 16
	}
	return 32
}

// middle is the whole number that stands for zero.
func (f format) middle() int32 {
	if f.offsets && f.scales != model.Floats {
		return 0
	}
	return 1 << (f.bits() - 1)
}

// line is the bytes of four inner indices of a panel of whole numbers.
func (f format) line() int { return f.bits() * panelWidth / 2 }

// twice is n, or twice as much for offsets.
func (f format) twice(n int) int {
	if f.offsets {
		return 2 * n
	}
	return n
}

// head is the bytes before a group's lines.
func (f format) head() int { return f.twice(panelWidth * []int{4, 2, 1}[f.scales]) }

// super is the bytes before the groups of model.Super inputs.
func (f format) super() int {
	if f.scales == model.Times {
		return f.twice(2 * panelWidth)
	}
	return 0
}

// blockBytes is the bytes of a whole group.
func (f format) blockBytes() int { return f.head() + f.group/4*f.line() }

func (m *matrix) panels() int { return (m.out + panelWidth - 1) / panelWidth }

// stride is the number of outputs, padding included.
func (m *matrix) stride() int { return m.panels() * panelWidth }

func (m *matrix) panelBytes() int { return m.format.panelBytes(m.in) }

func (f format) panelBytes(in int) int {
	if f.whole() {
		return (in+model.Super-1)/model.Super*f.super() + (in+f.group-1)/f.group*f.head() + (in+3)/4*f.line()
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

// block is a group of a panel: its head and the lines of its whole numbers.
func (m *matrix) block(p, g int) (head, lines []byte) {
	at := g*m.blockBytes() + m.superBefore(g)
	end := min(at+m.blockBytes(), m.panelBytes())
	b := m.data[p*m.panelBytes():][at:end]
	return b[:m.head()], b[m.head():]
}

// superBefore is the bytes of the heads of model.Super inputs up to a group.
func (m *matrix) superBefore(g int) int {
	if m.super() == 0 {
		return 0
	}
	return (g*m.group/model.Super + 1) * m.super()
}

// above is the head of the model.Super inputs that a group is of; nil: there is none.
func (m *matrix) above(p, g int) []byte {
	if m.super() == 0 {
		return nil
	}
	first := g / (model.Super / m.group) * (model.Super / m.group)
	at := p*m.panelBytes() + first*m.blockBytes() + m.superBefore(first) - m.super()
	return m.data[at:][:m.super()]
}

// floats are a head's scales, and offsets behind them, where they are float32.
func floats(head []byte) []float32 {
	return unsafe.Slice((*float32)(unsafe.Pointer(&head[0])), len(head)/4)
}

// scale is that of output j of a group, and its offset.
func (f format) scale(head, above []byte, j int) (scale, offset float32) {
	at := func(j int) float32 {
		switch f.scales {
		case model.Halves:
			return model.FromF16(binary.LittleEndian.Uint16(head[2*j:]))
		case model.Times:
			return float32(int8(head[j])) * model.FromF16(binary.LittleEndian.Uint16(above[2*j:]))
		}
		return math.Float32frombits(binary.NativeEndian.Uint32(head[4*j:]))
	}
	if scale = at(j); f.offsets {
		offset = at(panelWidth + j)
	}
	return scale, offset
}

// put stores the numbers of a group of output j, from 0 on, where there are none yet: four
// inner indices are a word.
func (f format) put(lines []byte, j int, numbers []uint8) {
	at, shift, line := 4*j, 0, f.line()
	switch {
	case f.dtype == model.Int6:
		f.put6(lines, j, numbers)
		return
	case f.dtype == model.Int4 && j >= panelWidth/2:
		at, shift = 4*(j-panelWidth/2), 4
	}
	for ; len(numbers) >= 4; numbers = numbers[4:] {
		word := lines[at:][:4]
		binary.LittleEndian.PutUint32(word, binary.LittleEndian.Uint32(word)|binary.LittleEndian.Uint32(numbers)<<shift)
		at += line
	}
	for k, q := range numbers {
		lines[at+k] |= q << shift
	}
}

// put6 stores those of 6 bits, of which two words are four lower bits each and half of a third.
func (f format) put6(lines []byte, j int, numbers []uint8) {
	at, upper, line := 4*(j%(panelWidth/2)), j/(panelWidth/2), 2*f.line()
	word := func(which int) []byte { return lines[at+2*panelWidth*which:][:4] }
	for ; len(numbers) > 0; numbers = numbers[8:] {
		var high uint32
		for second := range 2 {
			four := binary.LittleEndian.Uint32(numbers[4*second:])
			lower := word(1 + second)
			binary.LittleEndian.PutUint32(lower, binary.LittleEndian.Uint32(lower)|four&0x0f0f0f0f<<(4*upper))
			high |= four >> 4 & 0x03030303 << (4*second + 2*upper)
		}
		binary.LittleEndian.PutUint32(word(0), binary.LittleEndian.Uint32(word(0))|high)
		at += line
	}
}

// number is what is stored as the k-th of a group of output j.
func (f format) number(lines []byte, j, k int) uint8 {
	if f.dtype == model.Int8 {
		return lines[k/4*f.line()+4*j+k%4]
	}
	at, upper := 4*(j%(panelWidth/2))+k%4, j/(panelWidth/2)
	if f.dtype == model.Int4 {
		return lines[k/4*f.line()+at] >> (4 * upper) & 15
	}
	pair, second := lines[k/8*2*f.line():], k/4%2
	low := pair[4*panelWidth/2*(1+second)+at] >> (4 * upper) & 15
	return low | pair[at]>>(4*second+2*upper)&3<<4
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
	zero := m.middle()
	for first := 0; first < m.in; first += m.group {
		head, lines := m.block(p, first/m.group)
		scale, offset := m.scale(head, m.above(p, first/m.group), j)
		for k := range min(m.group, m.in-first) {
			v := float32(float32(int32(m.number(lines, j, k))-zero)*scale) + offset
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

package cpu

import (
	"encoding/binary"
	"math"
	"unsafe"

	"github.com/troupe-llm/troupe/gpu/model"
)

// matrix is a weight matrix [out, in] in panels of 32 outputs:
//
//	float32   w[out/32][in][32]        output j of the panel at j
//	bfloat16  w[out/32][in][16][2]     outputs j and j+16 at j, side by side
//	int8      w[out/32]{[in][32], [32] float32}: output j at j, then its scale
//
// One inner index of a bfloat16 panel is one cache line; read as 16 words of
// 32 bits, a shift yields the float32 of outputs 0–15 and a mask those of
// 16–31. Outputs past the end are zero.
//
// int8 weights are numbers from −127 to 127, times the output's scale. Scales
// for groups of 128 inner indices were no closer to transformers on the twelve
// checkpoints of reference_test.go (0.92 to 1.08 times the difference of
// log-probabilities, 0.99 on average), of 64 hardly (0.93), of 32 somewhat
// (0.83), for an eighth more memory and another product a weight. The routers
// of mixtures left as they are made no difference.
//
// Weights are copied into this layout instead of being used where the file is
// mapped: vector lanes then hold outputs, so each output has one order of
// summation; a stream of weights is contiguous and, in anonymous memory, can
// lie in huge pages.
type matrix struct {
	out, in int
	dtype   model.DType // Float32, BFloat16 or Int8
	data    []byte      // 64-byte aligned
}

func (m *matrix) panels() int { return (m.out + panelWidth - 1) / panelWidth }

// stride is the number of outputs, padding included.
func (m *matrix) stride() int { return m.panels() * panelWidth }

func (m *matrix) panelBytes() int { return panelBytes(m.dtype, m.in) }

func panelBytes(dtype model.DType, in int) int {
	n := in * panelWidth * dtype.Size()
	if dtype == model.Int8 {
		n += panelWidth * model.Float32.Size()
	}
	return n
}

func (m *matrix) panel(p int) *byte {
	return &m.data[p*m.panelBytes()]
}

// float32s and bfloat16s are the weights of a panel.
func (m *matrix) float32s(p int) []float32 {
	return unsafe.Slice((*float32)(unsafe.Pointer(m.panel(p))), m.in*panelWidth)
}

func (m *matrix) bfloat16s(p int) []uint16 {
	return unsafe.Slice((*uint16)(unsafe.Pointer(m.panel(p))), m.in*panelWidth)
}

// int8s are the numbers of an int8 panel, and its outputs' scales.
func int8s(panel *byte, in int) ([]int8, []float32) {
	n := in * panelWidth
	return unsafe.Slice((*int8)(unsafe.Pointer(panel)), n), unsafe.Slice((*float32)(unsafe.Add(unsafe.Pointer(panel), n)), panelWidth)
}

// row copies one output's weights to dst [in]: how an embedding is looked up.
func (m *matrix) row(dst []float32, out int) {
	p, j := out/panelWidth, out%panelWidth
	switch m.dtype {
	case model.Float32:
		w := m.float32s(p)[j:]
		for k := range dst {
			dst[k] = w[k*panelWidth]
		}
	case model.BFloat16:
		w := m.bfloat16s(p)[lane(j):]
		for k := range dst {
			dst[k] = model.FromBF16(w[k*panelWidth])
		}
	case model.Int8:
		w, scales := int8s(m.panel(p), m.in)
		for k := range dst {
			dst[k] = float32(w[k*panelWidth+j]) * scales[j]
		}
	}
}

// lane is where output j of a bfloat16 panel lies.
func lane(j int) int { return 2*(j%(panelWidth/2)) + j/(panelWidth/2) }

// packPanel fills panel p; source gives the weights of an output.
func (m *matrix) packPanel(p int, source func(out int) row) {
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
		// The common case: whole cache lines, two outputs a word.
		w := m.bfloat16s(p)
		for k := range m.in {
			line := w[k*panelWidth:][:panelWidth]
			for j, r := range lines[:n] {
				line[lane(j)] = binary.LittleEndian.Uint16(r[2*k:])
			}
		}
		return
	}
	values := make([]float32, n*m.in)
	for j := 0; j < n; {
		many := together(rows[j:n])
		rows[j].read(many, values[:many*m.in])
		for l := range many {
			m.pack(p, j+l, values[l*m.in:][:m.in])
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
		w := m.bfloat16s(p)[lane(j):]
		for k, v := range values {
			w[k*panelWidth] = model.ToBF16(v)
		}
	case model.Int8:
		w, scales := int8s(m.panel(p), m.in)
		scales[j] = quantize(w[j:], values)
	}
}

// quantize writes an output's weights as whole numbers, panelWidth apart, of
// which the one farthest from zero is 127, and returns what they count.
func quantize(w []int8, values []float32) (scale float32) {
	var bits uint32
	for _, v := range values { // of the size alone; what is no number is above all
		bits = max(bits, math.Float32bits(v)&^(1<<31))
	}
	most := math.Float32frombits(bits)
	if most < 0x1p-100 { // or its inverse might be infinite
		return 0
	}
	inverse := 127 / most
	for k, v := range values {
		// Adding 1.5·2²³ rounds to the nearest whole number, ties to even,
		// and leaves it in the lowest bits.
		w[k*panelWidth] = int8(math.Float32bits(float32(v*inverse) + 0x1.8p23))
	}
	return most / 127
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

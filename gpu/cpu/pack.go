package cpu

import (
	"encoding/binary"
	"fmt"
	"math"
	"unsafe"

	"github.com/troupe-llm/troupe/gpu/model"
)

// matrix is a weight matrix [out, in] in panels of 32 outputs:
//
//	float32   w[out/32][in][32]        output j of the panel at j
//	bfloat16  w[out/32][in][16][2]     outputs j and j+16 at j, side by side
//
// One inner index of a bfloat16 panel is one cache line; read as 16 words of
// 32 bits, a shift yields the float32 of outputs 0–15 and a mask those of
// 16–31. Outputs past the end are zero.
//
// Weights are copied into this layout instead of being used where the file is
// mapped: vector lanes then hold outputs, so each output has one order of
// summation; a stream of weights is contiguous and, in anonymous memory, can
// lie in huge pages.
type matrix struct {
	out, in int
	dtype   model.DType // Float32 or BFloat16
	data    []byte      // 64-byte aligned
}

func (m *matrix) panels() int { return (m.out + panelWidth - 1) / panelWidth }

// stride is the number of outputs, padding included.
func (m *matrix) stride() int { return m.panels() * panelWidth }

func (m *matrix) panelBytes() int { return m.in * panelWidth * m.dtype.Size() }

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

// row copies one output's weights to dst [in]: how an embedding is looked up.
func (m *matrix) row(dst []float32, out int) {
	p, j := out/panelWidth, out%panelWidth
	if m.dtype == model.Float32 {
		w := m.float32s(p)
		for k := range dst {
			dst[k] = w[k*panelWidth+j]
		}
		return
	}
	w := m.bfloat16s(p)[lane(j):]
	for k := range dst {
		dst[k] = model.FromBF16(w[k*panelWidth])
	}
}

// lane is where output j of a bfloat16 panel lies.
func lane(j int) int { return 2*(j%(panelWidth/2)) + j/(panelWidth/2) }

// packPanel fills panel p; source gives the weights of an output.
func (m *matrix) packPanel(p int, source func(out int) row) {
	var rows [panelWidth]row
	n := min(m.out-p*panelWidth, panelWidth)
	for j := range n {
		rows[j] = source(p*panelWidth + j)
	}
	if m.dtype == model.Float32 {
		w := m.float32s(p)
		for j, r := range rows[:n] {
			for k := range m.in {
				w[k*panelWidth+j] = r.float32(k)
			}
		}
		return
	}
	w := m.bfloat16s(p)
	if rows[0].dtype == model.BFloat16 {
		// The common case: whole cache lines, two outputs a word.
		for k := range m.in {
			line := w[k*panelWidth:][:panelWidth]
			for j, r := range rows[:n] {
				line[lane(j)] = binary.LittleEndian.Uint16(r.data[2*k:])
			}
		}
		return
	}
	for j, r := range rows[:n] {
		for k := range m.in {
			w[k*panelWidth+lane(j)] = model.ToBF16(r.float32(k))
		}
	}
}

// row is one row of a tensor, as the file has it.
type row struct {
	dtype model.DType
	data  []byte
}

func (r row) float32(k int) float32 {
	switch r.dtype {
	case model.Float32:
		return math.Float32frombits(binary.LittleEndian.Uint32(r.data[4*k:]))
	case model.Float16:
		return model.FromF16(binary.LittleEndian.Uint16(r.data[2*k:]))
	}
	return model.FromBF16(binary.LittleEndian.Uint16(r.data[2*k:]))
}

// tensorRow is row i of a tensor with rows of n elements.
func tensorRow(t *model.Tensor, i, n int) row {
	b := n * t.DType.Size()
	return row{t.DType, t.Data[i*b : (i+1)*b]}
}

// checkTensor reports a tensor that is not what the configuration says.
func checkTensor(t *model.Tensor, shape ...int) error {
	elements := 1
	for _, d := range shape {
		elements *= d
	}
	switch t.DType {
	case model.Float32, model.Float16, model.BFloat16:
	default:
		return fmt.Errorf("cpu: tensor %q in %s has type %q; the CPU device takes float32, float16 and bfloat16", t.Name, t.File, t.DType)
	}
	if want := elements * t.DType.Size(); len(t.Data) != want {
		return fmt.Errorf("cpu: tensor %q in %s has %d bytes; %v of %s are %d", t.Name, t.File, len(t.Data), shape, t.DType, want)
	}
	return nil
}

// vector reads a one-dimensional tensor as float32.
func vector(t *model.Tensor) []float32 {
	r := row{t.DType, t.Data}
	v := make([]float32, len(t.Data)/t.DType.Size())
	for i := range v {
		v[i] = r.float32(i)
	}
	return v
}

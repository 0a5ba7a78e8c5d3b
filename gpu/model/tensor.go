package model

import (
	"slices"

	"github.com/troupe-llm/troupe/gpu/program"
)

// Tensor is a read-only view of weights, usually of a memory-mapped file.
type Tensor struct {
	Name     string // as in the file
	File     string
	Encoding Encoding
	Shape    []int
	Data     []byte // not necessarily aligned
}

// Source is the tensor that fills a part of a slot.
type Source struct {
	program.Part
	Tensor *Tensor
	plus   float32
}

// columns is how many elements a row of the part has.
func (s *Source) columns() int {
	switch shape := s.Tensor.Shape; {
	case len(shape) == 1:
		return 1
	case s.Transposed:
		return shape[len(shape)-2]
	default:
		return shape[len(shape)-1]
	}
}

// Bytes are the elements of rows [row, row+n) of the part as they lie in the
// file, one behind the other; nil where they do not, or are not as the slot wants
// them.
func (s *Source) Bytes(row, n int) []byte {
	at := s.Row(row)
	if s.Transposed || s.plus != 0 || s.Tensor.Encoding.Scale != "" || s.Row(row+n-1) != at+n-1 {
		return nil
	}
	size := s.columns() * s.Tensor.Encoding.Element.Size()
	slab := s.Slab * s.slabRows() * size
	return s.Tensor.Data[slab+at*size : slab+(at+n)*size]
}

// slabRows is how many rows a matrix of the tensor has.
func (s *Source) slabRows() int {
	if shape := s.Tensor.Shape; len(shape) == 3 {
		return shape[1]
	}
	return 0
}

// Read widens row i of the part into dst, which has its length.
func (s *Source) Read(i int, dst []float32) {
	t := s.Tensor
	read, size := types[t.Encoding.Element].read, t.Encoding.Element.Size()
	if s.Transposed {
		s.readColumn(i, dst)
	} else {
		at := (s.Slab*s.slabRows() + s.Row(i)) * len(dst) * size
		read(dst, t.Data[at:at+len(dst)*size])
	}
	if s.plus != 0 {
		for j := range dst {
			dst[j] += s.plus
		}
	}
}

// readColumn widens a row that is a column of the tensor's matrix.
func (s *Source) readColumn(i int, dst []float32) {
	t := s.Tensor
	read, size := types[t.Encoding.Element].read, t.Encoding.Element.Size()
	width := t.Shape[len(t.Shape)-1]
	at := (s.Slab*s.slabRows()*width + s.Row(i)) * size
	for j := range dst {
		read(dst[j:j+1], t.Data[at+j*width*size:])
	}
}

// Slot is a weight of the program with the tensors that fill it.
type Slot struct {
	Weight  *program.Weight
	Sources []Source

	begins []int // each source's first output; set when the slot joins Weights
}

// Row finds an output's row: the source that has it and which of its rows it is.
// Outputs of experts are counted one expert after the other.
func (s *Slot) Row(out int) (*Source, int) {
	i, found := slices.BinarySearch(s.begins, out)
	if !found {
		i--
	}
	return &s.Sources[i], out - s.begins[i]
}

// index notes where sources begin.
func (s *Slot) index() {
	s.begins = s.begins[:0]
	out := 0
	for i := range s.Sources {
		s.begins = append(s.begins, out)
		out += s.Sources[i].Rows
	}
}

// Vector widens a slot of one dimension.
func (s *Slot) Vector() []float32 {
	v := make([]float32, s.Weight.Out())
	at := 0
	for i := range s.Sources {
		for j := range s.Sources[i].Rows {
			s.Sources[i].Read(j, v[at:at+1])
			at++
		}
	}
	return v
}

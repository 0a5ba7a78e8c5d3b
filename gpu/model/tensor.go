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

	mapped bool // Data is a view of a mapped file
}

// Drop lets the system have back the memory that holds a part of a mapped file,
// Data[from:to]: who has copied it would hold it twice. It is read again when it is
// looked at again.
func (t *Tensor) Drop(from, to int) {
	if t.mapped {
		drop(t.Data[from:to])
	}
}

// Source is the tensor that fills a part of a slot.
type Source struct {
	program.Part
	Tensor *Tensor
	// Of the slot, set when it joins Weights.
	in   int     // elements of a row
	plus float32 // added to each
}

// matrix is how many rows and columns each matrix of the tensor has; a vector's
// rows have one element.
func (s *Source) matrix() (rows, columns int) {
	shape := s.Tensor.Shape
	switch n := len(shape); n {
	case 1:
		return shape[0], 1
	default:
		columns = 1
		for _, d := range shape[n-1:] {
			columns *= d
		}
		return shape[n-2], columns
	}
}

// Bytes are the elements of rows [row, row+n) of the part as they lie in the
// file, one behind the other; nil where they do not, or are not as the slot wants
// them.
func (s *Source) Bytes(row, n int) []byte {
	rows, columns := s.matrix()
	at := s.Row(row)
	if s.Transposed || s.Step > 1 || s.plus != 0 || s.Tensor.Encoding.Scale != "" || columns != s.in || s.Row(row+n-1) != at+n-1 {
		return nil
	}
	size := columns * s.Tensor.Encoding.Element.Size()
	at = (s.Slab*rows + at) * size
	return s.Tensor.Data[at : at+n*size]
}

// Read widens row i of the part into dst, which has its length.
func (s *Source) Read(i int, dst []float32) {
	rows, columns := s.matrix()
	at := s.Slab*rows*columns + s.Row(i)*columns + s.Column
	step := 1
	if s.Transposed {
		at, step = s.Slab*rows*columns+s.Column*columns+s.Row(i), columns
	}
	t := s.Tensor
	read, size := types[t.Encoding.Element].read, t.Encoding.Element.Size()
	switch {
	case s.Step > 1:
		s.readTurns(dst, at)
	case step == 1:
		read(dst, t.Data[at*size:(at+len(dst))*size])
	default:
		for j := range dst {
			read(dst[j:j+1], t.Data[(at+j*step)*size:])
		}
	}
	if s.plus != 0 {
		for j := range dst {
			dst[j] += s.plus
		}
	}
}

// readTurns widens every Step-th element from at on, then those behind them.
func (s *Source) readTurns(dst []float32, at int) {
	t := s.Tensor
	read, size := types[t.Encoding.Element].read, t.Encoding.Element.Size()
	each := len(dst) / s.Step
	for j := range dst {
		read(dst[j:j+1], t.Data[(at+j%each*s.Step+j/each)*size:])
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
		s.Sources[i].in, s.Sources[i].plus = s.Weight.In(), s.Weight.Plus
		out += s.Sources[i].Rows
	}
}

// Vector widens a slot whose numbers are used one by one.
func (s *Slot) Vector() []float32 {
	v := make([]float32, 0, s.Weight.Elements())
	for i := range s.Sources {
		for j := range s.Sources[i].Rows {
			v = v[:len(v)+s.Weight.In()]
			s.Sources[i].Read(j, v[len(v)-s.Weight.In():])
		}
	}
	return v
}

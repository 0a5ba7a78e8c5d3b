package model

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/troupe-llm/troupe/gpu/program"
)

// Tensor is a read-only view of weights, usually of a memory-mapped file.
type Tensor struct {
	Name     string // as in the file; that of its elements
	File     string
	Encoding Encoding
	Shape    []int  // of the numbers, however they are packed
	Data     []byte // not necessarily aligned
	// Scales and zero points lie as Encoding says.
	Scales, Zeros []byte
	// Groups is each input's group (int32) where those are not one behind the other.
	Groups []byte

	mapped bool // all of these are views of mapped files
}

// Check says what of the tensor has another size than its encoding takes.
func (t *Tensor) Check() error {
	elements, scales, zeros := t.Encoding.sizes(t.Shape)
	for _, c := range []struct {
		what string
		has  []byte
		want int64
	}{{"", t.Data, elements}, {" of scales", t.Scales, scales}, {" of zero points", t.Zeros, zeros}} {
		if int64(len(c.has)) != c.want {
			return fmt.Errorf("tensor %q in %s has %d bytes%s; %v of %s are %d", t.Name, t.File, len(c.has), c.what, t.Shape, t.Encoding, c.want)
		}
	}
	return nil
}

// same says that both are the very same bytes.
func (t *Tensor) same(o *Tensor) bool {
	return t.Encoding == o.Encoding && bytes.Equal(t.Data, o.Data) && bytes.Equal(t.Scales, o.Scales) && bytes.Equal(t.Zeros, o.Zeros) &&
		bytes.Equal(t.Groups, o.Groups)
}

// Drop lets the system have back the memory that holds the tensor's part of a mapped
// file: who has copied it would hold it twice. It is read again when it is looked at
// again.
func (t *Tensor) Drop() {
	if !t.mapped {
		return
	}
	for _, data := range [][]byte{t.Data, t.Scales, t.Zeros, t.Groups} {
		drop(data)
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
func (t *Tensor) matrix() (rows, columns int) {
	shape := t.Shape
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
// them. Of some of a tensor's columns only a single row lies so.
func (s *Source) Bytes(row, n int) []byte {
	rows, columns := s.Tensor.matrix()
	at := s.Row(row)
	if s.Transposed || s.Step > 1 || s.plus != 0 || s.Tensor.Encoding.Scale != "" || columns != s.in && n > 1 || s.Row(row+n-1) != at+n-1 {
		return nil
	}
	f := types[s.Tensor.Encoding.Element]
	if f.block > 0 && (s.Column%f.block != 0 || s.in%f.block != 0) {
		return nil
	}
	at = (s.Slab*rows+at)*f.line(columns) + f.line(s.Column)
	return s.Tensor.Data[at : at+n*f.line(s.in)]
}

// Prefetch has the system read what rows [row, row+n) need, where they lie
// together; else a tensor's whole data when its first row is asked for.
func (s *Source) Prefetch(row, n int) {
	from := s.Bytes(row, n)
	if from == nil && row == 0 && s.Slab == 0 {
		from = s.Tensor.Data
	}
	Prefetch(from)
}

// Read widens row i of the part into dst, which has its length.
func (s *Source) Read(i int, dst []float32) { s.ReadRows(i, 1, dst) }

// ReadRows widens rows [i, i+n) of the part into dst, one behind the other. Where
// rows share words, some tens of them at a time take the least time.
func (s *Source) ReadRows(i, n int, dst []float32) {
	width := len(dst) / n
	for first := 0; first < n; {
		at, many := s.Row(i+first), 1
		for first+many < n && s.Row(i+first+many) == at+many {
			many++
		}
		rows := dst[first*width : (first+many)*width]
		if s.Transposed || s.Step > 1 {
			s.gather(rows, many, at)
		} else {
			s.Tensor.widen(rows, many, s.Slab, at, s.Column)
		}
		first += many
	}
	if s.plus != 0 {
		for j := range dst {
			dst[j] += s.plus
		}
	}
}

// gather widens n rows whose elements do not lie together: of a transposed matrix,
// or in the order of Step.
func (s *Source) gather(dst []float32, n, row int) {
	width, t := len(dst)/n, s.Tensor
	rows, columns := t.matrix()
	switch {
	case !s.Transposed:
		for j := range n {
			for k := 0; k < width; {
				many := s.Together(k, width)
				t.widen(dst[j*width+k:][:many], 1, s.Slab, row+j, s.Input(k, columns))
				k += many
			}
		}
	case n > 1 || t.Encoding.Quantized():
		line := make([]float32, n)
		for c := range width {
			t.widen(line, 1, s.Slab, s.Input(c, rows), row)
			for j, v := range line {
				dst[j*width+c] = v
			}
		}
	default:
		at := t.reader(s.Slab)
		for c := range dst {
			at(dst[c:c+1], s.Input(c, rows), row)
		}
	}
}

// reader reads single numbers of a matrix.
func (t *Tensor) reader(matrix int) func(dst []float32, row, column int) {
	if t.Encoding.Quantized() {
		return func(dst []float32, row, column int) { t.widen(dst, 1, matrix, row, column) }
	}
	rows, columns := t.matrix()
	read, size := types[t.Encoding.Element].read, t.Encoding.Element.Size()
	data := t.Data[matrix*rows*columns*size:]
	return func(dst []float32, row, column int) { read(dst, data[(row*columns+column)*size:]) }
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

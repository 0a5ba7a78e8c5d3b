package model

import "bytes"

// Whole says of how many bits the part's numbers are, where those are whole and lie
// as ReadWhole takes them, and how many inputs share a scale, 0: all of them; bits
// are 0 of others.
func (s *Source) Whole() (bits, group int) {
	n, are := s.layout()
	if w := wholes[s.Tensor.Encoding.Element]; !are || n.Offsets || w.group > 0 && w.group != types[s.Tensor.Encoding.Element].block {
		return 0, 0
	}
	return n.Bits, n.Group
}

// ReadWhole reads rows [i, i+n) of a part of whole numbers as they are stored, from
// 0 on, and of each row its groups' scales and zero points: a number is
// (element − zero point)·scale. Each has its rows one behind the other.
func (s *Source) ReadWhole(i, n int, elements, scales, zeros []float32) {
	if w := wholes[s.Tensor.Encoding.Element]; w.group > 0 {
		numbers := make([]uint8, len(elements))
		s.readBlocks(i, n, numbers, scales, zeros)
		for k, v := range numbers {
			elements[k] = float32(v)
		}
		for g := range zeros {
			zeros[g] = float32(int(1) << (w.bits - 1))
		}
		return
	}
	t := s.Tensor
	width, groups := len(elements)/n, len(scales)/n
	by, first := newScaler(t, s.Slab), 0
	if each := t.Encoding.Columns; each > 0 {
		first = s.Column / each
	}
	for j := 0; j < n; {
		at, many := s.Row(i+j), 1
		for j+many < n && s.Row(i+j+many) == at+many {
			many++
		}
		t.read(elements[j*width:(j+many)*width], many, s.Slab, at, s.Column)
		for l := range many {
			by.readScales(at + l)
			by.readZeros(at + l)
			copy(scales[(j+l)*groups:][:groups], by.scales[first:])
			copy(zeros[(j+l)*groups:][:groups], by.zeros[first:])
		}
		j += many
	}
}

// Numbers is how whole numbers stand for a part's: in groups of so many inputs, 0: all
// of them, each number n of so many bits, from 0 on, for
//
//	scale·(n − 2^(bits−1)) + offset
//
// where offsets are 0 unless there are some. Blocks of odd numbers of bits take 4 or 8.
type Numbers struct {
	Bits, Group int
	Offsets     bool
}

// Numbers is how ReadNumbers reads the part; false: it does not.
func (s *Source) Numbers() (n Numbers, are bool) {
	n, are = s.layout()
	n.Offsets = n.Offsets || are && !s.Tensor.centred()
	return n, are
}

// layout is Numbers without a look at stored zero points.
func (s *Source) layout() (n Numbers, are bool) {
	t := s.Tensor
	f, group := types[t.Encoding.Element], t.Encoding.Columns
	_, columns := t.matrix()
	if w := wholes[t.Encoding.Element]; w.group > 0 {
		n = Numbers{w.bits, w.group, w.offsets}
		fits := s.Column%w.group == 0 && s.in%w.group == 0 && (s.Step < 2 || s.Run%w.group == 0)
		known := t.Encoding.Scale == "" || t.Encoding.Scale == Exponent8 && group == w.group
		return n, fits && known && !s.Transposed && s.plus == 0
	}
	switch {
	case s.Transposed, s.plus != 0, s.Step > 1, f.word == unpacked:
		return n, false
	case s.Column == 0 && s.in == columns:
	case t.Groups != nil, group == 0, s.Column%max(group, 1) != 0:
		return n, false
	}
	return Numbers{Bits: f.bits, Group: group}, true
}

// ReadNumbers reads rows [i, i+n) of the part, and of each row its groups' scales and
// offsets. Each has its rows one behind the other.
func (s *Source) ReadNumbers(i, n int, numbers []uint8, scales, offsets []float32) {
	if wholes[s.Tensor.Encoding.Element].group > 0 {
		s.readBlocks(i, n, numbers, scales, offsets)
		return
	}
	elements := make([]float32, len(numbers))
	s.ReadWhole(i, n, elements, scales, offsets)
	for k, v := range elements {
		numbers[k] = uint8(v)
	}
	middle := float32(int(1) << (types[s.Tensor.Encoding.Element].bits - 1))
	for g, zero := range offsets {
		offsets[g] = scales[g] * (middle - zero)
	}
}

// readBlocks is ReadNumbers of blocks, piece by piece of what lies together.
func (s *Source) readBlocks(i, n int, numbers []uint8, scales, offsets []float32) {
	t, width := s.Tensor, len(numbers)/n
	group := wholes[t.Encoding.Element].group
	_, columns := t.matrix()
	for j := range n {
		for k := 0; k < width; {
			many := s.Together(k, width)
			g, of := (j*width+k)/group, many/group
			t.readNumbers(numbers[j*width+k:][:many], scales[g:][:of], offsets[g:][:of], s.Slab, s.Row(i+j), s.Input(k, columns))
			k += many
		}
	}
}

// readNumbers reads those of a row from a column on, where a group begins.
func (t *Tensor) readNumbers(numbers []uint8, scales, offsets []float32, matrix, row, column int) {
	f, w := types[t.Encoding.Element], wholes[t.Encoding.Element]
	rows, columns := t.matrix()
	line := (matrix*rows + row) * f.line(columns)
	if f.block == 0 { // scales lie elsewhere
		of := t.Scales[(matrix*rows+row)*columns/w.group+column/w.group:]
		w.read(numbers, scales, offsets, t.Data[line+f.line(column):])
		for g := range scales {
			scales[g] = halfOf(of[g])
			offsets[g] = 0
		}
		return
	}
	for len(numbers) > 0 {
		begin := column % f.block
		from := t.Data[line+f.line(column-begin):][:f.bytes]
		n := min(f.block-begin, len(numbers))
		if n == f.block {
			w.read(numbers[:n], scales[:n/w.group], offsets[:n/w.group], from)
		} else {
			w.part(numbers[:n], scales, offsets, from, begin, f.block)
		}
		numbers, scales, offsets, column = numbers[n:], scales[n/w.group:], offsets[n/w.group:], column+n
	}
}

// centred says that all zero points are the middle of what elements can be.
func (t *Tensor) centred() bool {
	f := types[t.Encoding.Element]
	if t.Encoding.Zeros == NoZeros {
		return true
	}
	zero := byte(1) << (f.bits - 1)
	if t.Encoding.Zeros == ZerosLessOne {
		zero--
	}
	if f.bits == 4 {
		zero |= zero << 4
	}
	return bytes.Count(t.Zeros, []byte{zero}) == len(t.Zeros)
}

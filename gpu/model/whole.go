package model

import "bytes"

// Numbers is how whole numbers stand for a part's: in groups of so many inputs, 0: all
// of them, each number n of so many bits, from 0 on, for
//
//	scale·(n − 2^(bits−1)) + offset
//
// with offsets of float32, or for scale·n + offset with others; without offsets, for
// scale·(n − 2^(bits−1)). Types of odd numbers of bits take 4, 6 or 8.
type Numbers struct {
	Bits, Group int
	Offsets     bool
	Scales      Scaling
}

// Scaling is what groups' scales and offsets are.
type Scaling int

const (
	// Floats: each is a float32.
	Floats Scaling = iota
	// Halves: each is a float16.
	Halves
	// Times: each is so many times a float16 of Super inputs.
	Times
)

// Super is how many inputs share a scale of scales.
const Super = 256

// WholeRows are rows of whole numbers with what scales them, each row behind the other:
// of groups Scales and Offsets, or Halves and HalfOffsets, or of groups ScaleTimes and
// OffsetTimes and of Super inputs the halves.
type WholeRows struct {
	Numbers                 []uint8
	Scales, Offsets         []float32
	Halves, HalfOffsets     []uint16
	ScaleTimes, OffsetTimes []int8
}

// Whole says of how many bits the part's numbers are, where those are whole and lie
// as ReadWhole takes them, and how many inputs share a scale, 0: all of them; bits
// are 0 of others.
func (s *Source) Whole() (bits, group int) {
	n, are := s.layout()
	if w := wholes[s.Tensor.Encoding.Element]; !are || w.group > 0 && (n.Offsets || n.Bits == 6 || w.group != types[s.Tensor.Encoding.Element].block) {
		return 0, 0
	}
	return n.Bits, n.Group
}

// ReadWhole reads rows [i, i+n) of a part of whole numbers as they are stored, from
// 0 on, and of each row its groups' scales and zero points: a number is
// (element − zero point)·scale. Each has its rows one behind the other.
func (s *Source) ReadWhole(i, n int, elements, scales, zeros []float32) {
	if w := wholes[s.Tensor.Encoding.Element]; w.group > 0 {
		to := WholeRows{Numbers: make([]uint8, len(elements)), Scales: scales, Offsets: zeros}
		s.readBlocks(i, n, &to, Floats)
		for k, v := range to.Numbers {
			elements[k] = float32(v)
		}
		for g := range zeros {
			zeros[g] = float32(w.middle())
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
		fits := func(each int) bool { return s.Column%each == 0 && s.in%each == 0 && (s.Step < 2 || s.Run%each == 0) }
		known := t.Encoding.Scale == "" || t.Encoding.Scale == Exponent8 && group == w.group
		return w.numbers(f.block, fits(max(f.block, w.group))), known && fits(w.group) && !s.Transposed && s.plus == 0
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

// numbers says how those are read of so many elements a block, whole blocks or not.
func (w *wholeBlocks) numbers(block int, whole bool) Numbers {
	n := Numbers{w.bits, w.group, w.offsets, Halves}
	switch {
	case w.exponent:
		n.Scales = Floats
	case !whole:
		n.Scales, n.Bits = Floats, max(4, (w.bits+3)/4*4)
	case w.group < block:
		n.Scales = Times
	}
	return n
}

// ReadNumbers reads rows [i, i+n) of the part, as Numbers says.
func (s *Source) ReadNumbers(i, n int, to *WholeRows) {
	if wholes[s.Tensor.Encoding.Element].group > 0 {
		how, _ := s.layout()
		s.readBlocks(i, n, to, how.Scales)
		return
	}
	elements := make([]float32, len(to.Numbers))
	s.ReadWhole(i, n, elements, to.Scales, to.Offsets)
	for k, v := range elements {
		to.Numbers[k] = uint8(v)
	}
	middle := float32(int(1) << (types[s.Tensor.Encoding.Element].bits - 1))
	for g, zero := range to.Offsets {
		to.Offsets[g] = to.Scales[g] * (middle - zero)
	}
}

// readBlocks is ReadNumbers of blocks, piece by piece of what lies together.
func (s *Source) readBlocks(i, n int, to *WholeRows, how Scaling) {
	t, width := s.Tensor, len(to.Numbers)/n
	_, columns := t.matrix()
	for j := range n {
		for k := 0; k < width; {
			many := s.Together(k, width)
			t.readNumbers(to, j*width+k, many, how, s.Slab, s.Row(i+j), s.Input(k, columns))
			k += many
		}
	}
}

// readNumbers reads n of a row from a column on, where a group begins, as numbers from at
// on.
func (t *Tensor) readNumbers(to *WholeRows, at, n int, how Scaling, matrix, row, column int) {
	f, w := types[t.Encoding.Element], wholes[t.Encoding.Element]
	rows, columns := t.matrix()
	line := t.Data[(matrix*rows+row)*f.line(columns):]
	if f.block == 0 { // scales lie elsewhere
		w.read(to.Numbers[at:][:n], nil, line[f.line(column):])
		of := t.Scales[((matrix*rows+row)*columns+column)/w.group:]
		for g := range n / w.group {
			to.Scales[at/w.group+g], to.Offsets[at/w.group+g] = halfOf(of[g]), 0
		}
		return
	}
	var head blockHead
	var part [Super]uint8
	for end := at + n; at < end; {
		begin := column % f.block
		from := line[f.line(column-begin):][:f.bytes]
		n := min(f.block-begin, end-at)
		if n == f.block {
			w.read(to.Numbers[at:][:n], &head, from)
		} else {
			w.read(part[:f.block], &head, from)
			copy(to.Numbers[at:][:n], part[begin:])
		}
		if how == Floats {
			w.floats(to, at, n, &head, begin/w.group, f.block > w.group, from)
		} else {
			w.heads(to, at, n, &head)
		}
		at, column = at+n, column+n
	}
}

// heads writes a whole block's.
func (w *wholeBlocks) heads(to *WholeRows, at, n int, h *blockHead) {
	to.Halves[at/n], to.HalfOffsets[at/n] = h.scale, h.offset
	if groups := n / w.group; groups > 1 {
		copy(to.ScaleTimes[at/w.group:][:groups], h.scaleTimes[:])
		copy(to.OffsetTimes[at/w.group:][:groups], h.offsetTimes[:])
	}
}

// floats makes float32 of the heads of n numbers, from a group of their block on, of which
// there are several or one, and numbers of 4 or 8 bits of theirs.
func (w *wholeBlocks) floats(to *WholeRows, at, n int, h *blockHead, group int, several bool, b []byte) {
	scale, offset := FromF16(h.scale), FromF16(h.offset)
	if w.exponent {
		scale, offset = halfOf(b[0]), 0
	}
	for g := range n / w.group {
		s, o := scale, offset
		if several {
			s, o = s*float32(h.scaleTimes[group+g]), o*float32(h.offsetTimes[group+g])
		}
		if w.bits == 4 && w.offsets {
			o += 8 * s // from the middle on
		}
		to.Scales[at/w.group+g], to.Offsets[at/w.group+g] = s, o
	}
	if w.bits == 6 {
		for k := range n {
			to.Numbers[at+k] += uint8(128 - w.middle())
		}
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

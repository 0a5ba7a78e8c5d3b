package model

import "encoding/binary"

// widen writes what rows [row, row+n) of a matrix have from a column on into dst,
// one row behind the other: the numbers that its elements stand for.
func (t *Tensor) widen(dst []float32, n, matrix, row, column int) {
	t.read(dst, n, matrix, row, column)
	if t.Encoding.Scale == "" {
		return
	}
	width := len(dst) / n
	by := newScaler(t, matrix)
	for j := range n {
		by.scale(dst[j*width:(j+1)*width], row+j, column)
	}
}

// read is widen without scales and zero points.
func (t *Tensor) read(dst []float32, n, matrix, row, column int) {
	width := len(dst) / n
	switch types[t.Encoding.Element].word {
	case byInput:
		t.readByInput(dst, n, matrix, row, column)
	case awqOrder:
		t.readByOutputs(dst, n, matrix, row, column)
	default:
		for j := range n {
			t.readRow(dst[j*width:(j+1)*width], matrix, row+j, column)
		}
	}
}

// readRow reads elements of which a row lies together.
func (t *Tensor) readRow(dst []float32, matrix, row, column int) {
	f := types[t.Encoding.Element]
	rows, columns := t.matrix()
	each := f.line(columns)
	if f.word != unpacked {
		each = 4 * int(blocks(columns, f.perWord()))
	}
	line := t.Data[(matrix*rows+row)*each:][:each]
	if f.block > 0 {
		f.readBlocks(dst, line, column)
		return
	}
	if f.bits == 4 && column%2 == 1 { // it begins within a byte
		var two [2]float32
		f.read(two[:], line[column/2:])
		dst[0] = two[1]
		dst, column = dst[1:], column+1
	}
	f.read(dst, line[column*f.bits/8:])
}

// readBlocks reads elements of a row from a column on, where a block is read whole.
func (t traits) readBlocks(dst []float32, line []byte, column int) {
	var one []float32
	for len(dst) > 0 {
		begin := column % t.block
		from := line[t.line(column-begin):]
		n := len(dst) / t.block * t.block
		if begin > 0 || n == 0 {
			if one == nil {
				one = make([]float32, t.block)
			}
			t.read(one, from)
			n = copy(dst, one[begin:])
		} else {
			t.read(dst[:n], from)
		}
		dst, column = dst[n:], column+n
	}
}

// readByInput reads elements of words [in/n, out].
func (t *Tensor) readByInput(dst []float32, n, matrix, row, column int) {
	f, width := types[t.Encoding.Element], len(dst)/n
	rows, columns := t.matrix()
	each, mask, bits := f.perWord(), uint32(1)<<f.bits-1, f.bits&31
	words := t.Data[4*matrix*int(blocks(columns, each))*rows:]
	for c := column; c < column+width; {
		lane := c % each
		many := min(each-lane, column+width-c)
		line := words[4*(c/each*rows+row):]
		for j := range n {
			w := binary.LittleEndian.Uint32(line[4*j:]) >> (lane * bits & 31)
			to := dst[j*width+c-column:][:many]
			for l := range to {
				to[l] = float32(int32(w & mask))
				w >>= bits & 31
			}
		}
		c += many
	}
}

// readByOutputs reads elements of words [in, out/n]: each word once for all the
// rows that have their elements there.
func (t *Tensor) readByOutputs(dst []float32, n, matrix, row, column int) {
	f, width := types[t.Encoding.Element], len(dst)/n
	rows, columns := t.matrix()
	each, mask := f.perWord(), uint32(1)<<f.bits-1
	line := int(blocks(rows, each))
	words := t.Data[4*matrix*columns*line:]
	var shifts [8]int
	for first := row; first < row+n; {
		many := min(each-first%each, row+n-first)
		for l := range many {
			shifts[l] = awqLane(first+l) * f.bits
		}
		to := dst[(first-row)*width:]
		for c := range width {
			w := binary.LittleEndian.Uint32(words[4*((column+c)*line+first/each):])
			for l, shift := range shifts[:many] {
				to[l*width+c] = float32(int32(w >> (shift & 31) & mask))
			}
		}
		first += many
	}
}

// awqLane is where in its word an output's element is: outputs 0 2 4 6 1 3 5 7 lie
// one behind the other.
func awqLane(row int) int { return row%8/2 + row%2*4 }

// scaler takes off a matrix's zero points and multiplies by its scales.
type scaler struct {
	t             *Tensor
	matrix        int
	rows, columns int
	scales, zeros []float32 // of a row's groups
}

func newScaler(t *Tensor, matrix int) *scaler {
	rows, columns := t.matrix()
	groups := int(blocks(columns, t.Encoding.Columns))
	both := make([]float32, 2*groups)
	return &scaler{t, matrix, rows, columns, both[:groups], both[groups:]}
}

// scale does it with elements of a row from a column on.
func (s *scaler) scale(v []float32, row, column int) {
	s.readScales(row)
	s.readZeros(row)
	if s.t.Groups != nil {
		for j := range v {
			g := binary.LittleEndian.Uint32(s.t.Groups[4*(column+j):])
			v[j] = (v[j] - s.zeros[g]) * s.scales[g]
		}
		return
	}
	for len(v) > 0 {
		g, n := 0, len(v)
		if each := s.t.Encoding.Columns; each > 0 {
			g = column / each
			n = min(n, (g+1)*each-column)
		}
		zero, scale := s.zeros[g], s.scales[g]
		for j := range v[:n] {
			v[j] = (v[j] - zero) * scale
		}
		v, column = v[n:], column+n
	}
}

// readScales reads those of a row's groups.
func (s *scaler) readScales(row int) {
	e, groups := s.t.Encoding, len(s.scales)
	f := types[e.Scale]
	size := f.bits / 8
	if types[e.Element].word > byOutput { // they lie by group
		for g := range s.scales {
			f.read(s.scales[g:g+1], s.t.Scales[size*((s.matrix*groups+g)*s.rows+row):])
		}
		return
	}
	block := 0
	if e.Rows > 0 {
		block = row / e.Rows
	}
	f.read(s.scales, s.t.Scales[size*(s.matrix*int(blocks(s.rows, e.Rows))+block)*groups:])
}

// readZeros reads the zero points of a row's groups.
func (s *scaler) readZeros(row int) {
	e, groups := s.t.Encoding, len(s.zeros)
	f := types[e.Element]
	if f.word == unpacked {
		return
	}
	if e.Zeros == NoZeros {
		for g := range s.zeros {
			s.zeros[g] = float32(int(1) << (f.bits - 1))
		}
		return
	}
	each, mask, lane := f.perWord(), uint32(1)<<f.bits-1, row%f.perWord()
	if f.word == awqOrder {
		lane = awqLane(row)
	}
	line := int(blocks(s.rows, each))
	for g := range s.zeros {
		at := (s.matrix*groups+g)*line + row/each
		if f.word == byOutput {
			at = (s.matrix*line+row/each)*groups + g
		}
		s.zeros[g] = float32(binary.LittleEndian.Uint32(s.t.Zeros[4*at:]) >> (lane * f.bits) & mask)
		if e.Zeros == ZerosLessOne {
			s.zeros[g]++
		}
	}
}

// GroupOf is the group of each input; nil where those are one behind the other.
func (t *Tensor) GroupOf() []int32 {
	if t.Groups == nil {
		return nil
	}
	g := make([]int32, len(t.Groups)/4)
	for i := range g {
		g[i] = int32(binary.LittleEndian.Uint32(t.Groups[4*i:]))
	}
	return g
}

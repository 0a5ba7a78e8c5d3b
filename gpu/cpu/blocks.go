package cpu

import (
	"math"
	"unsafe"

	"github.com/troupe-llm/troupe/gpu/model"
)

// Products of whole numbers: weights of 8, 6 or 4 bits by activations of 8, by groups
// of inner indices, of weights and activations the same. Sums of a group are
// exact, so every instruction set makes the same ones; they count what both scales
// say:
//
//	y_j = Σ_g (Σ_{k∈g} a_k·q_kj) · s_gj · t_g  +  o_gj · t_g·Σ_{k∈g} a_k
//
// with activations t_g·a_k and weights s_gj·q_kj + o_gj; o are offsets, of groups
// whose zero point is not the middle. In float32, in the order of groups, it is
//
//	y = fma(float(sum)·s, t, y), then fma(o, t·Σa, y)
//
// A row of activations is, group by group,
//
//	{t float32, −middle·Σa int32, t·Σa float32, a [group rounded up to 4] int8}
//
// since weights are stored as q + middle, from 0 on: what multiplies bytes takes
// one of them without a sign. Scales and offsets that are float16, or count one, are made
// float32 first, which is exact.

// rowHead is the bytes before a group of a row's numbers.
const rowHead = 12

// blockFunc multiplies m rows of activations, lda bytes apart, by a panel of
// weights: c[i·ldc + j]. k and group count inner indices by fours.
type blockFunc func(c *float32, ldc int, a *byte, lda int, w *byte, k, group int)

// blockProducts are those of one format; the m-th takes m+1 rows at once.
type blockProducts []blockFunc

// whole are the products of whole numbers, and what makes them of activations.
type whole struct {
	name string                    // of the instructions
	by   map[packing]blockProducts // in all formats, or portable
	// tiled multiplies rows [row, end) by panel p as tiles, with room of a worker's own;
	// false: it does not take them. nil: there are no tiles.
	tiled func(m *matrix, y []float32, ldy int, a operand, row, end, p int, room *[]float32) bool
	// sizeOf is the largest of the bits without signs.
	sizeOf func(x *float32, n int) uint32
	// round writes x·by to the nearest whole number and returns their sum.
	round func(to *byte, x *float32, by float32, n int) int32
}

// packing is what of a format decides which product takes it.
type packing struct {
	bits    int
	offsets bool
	scales  model.Scaling
}

// format is one that is packed so, in groups of so many inputs.
func (p packing) format(group int) format {
	return format{map[int]model.DType{4: model.Int4, 6: model.Int6, 8: model.Int8}[p.bits], group, p.offsets, p.scales}
}

// packings are all that there are.
var packings = []packing{
	{4, false, model.Floats},
	{4, true, model.Floats},
	{8, false, model.Floats},
	{8, true, model.Floats},
	{4, false, model.Halves},
	{4, true, model.Halves},
	{6, false, model.Halves},
	{6, true, model.Halves},
	{8, false, model.Halves},
	{4, false, model.Times},
	{4, true, model.Times},
	{6, false, model.Times},
	{6, true, model.Times},
	{8, false, model.Times},
}

// of is the products with weights of a format.
func (w *whole) of(f format) blockProducts {
	return w.by[packing{f.bits(), f.offsets, f.scales}]
}

// portableWhole is the definition of them all.
var portableWhole = whole{name: "portable", by: portableProductsOf(), sizeOf: sizeOf, round: round}

func portableProductsOf() map[packing]blockProducts {
	by := map[packing]blockProducts{}
	for _, p := range packings {
		by[p] = portableBlocks(p.format(0))
	}
	return by
}

func portableBlocks(f format) blockProducts {
	table := make(blockProducts, 4)
	for i := range table {
		table[i] = func(c *float32, ldc int, a *byte, lda int, w *byte, k, group int) {
			for r := range i + 1 {
				f.product(unsafe.Slice(at(c, r*ldc), panelWidth), (*byte)(unsafe.Add(unsafe.Pointer(a), r*lda)), w, k, group)
			}
		}
	}
	return table
}

// product multiplies a row by a panel.
func (f format) product(y []float32, a, w *byte, k, group int) {
	clear(y)
	var above []byte
	for at := 0; at < k; at += group {
		n := min(group, k-at)
		if f.super() > 0 && at%(model.Super/4) == 0 {
			above = unsafe.Slice(w, f.super())
			w = (*byte)(unsafe.Add(unsafe.Pointer(w), f.super()))
		}
		row := unsafe.Slice((*float32)(unsafe.Pointer(a)), 3)
		numbers := unsafe.Slice((*int8)(unsafe.Add(unsafe.Pointer(a), rowHead)), 4*n)
		block := unsafe.Slice(w, f.head()+n*f.line())
		var sums [panelWidth]int32
		for j := range sums {
			sums[j] = int32(math.Float32bits(row[1]))
		}
		f.dot(&sums, block[f.head():], numbers)
		for j, sum := range sums {
			scale, offset := f.scale(block, above, j)
			y[j] = fma(float32(float32(sum)*scale), row[0], y[j])
			if f.offsets {
				y[j] = fma(offset, row[2], y[j])
			}
		}
		if at+n < k { // there is no pointer past the end
			a = (*byte)(unsafe.Add(unsafe.Pointer(a), rowHead+4*n))
			w = (*byte)(unsafe.Add(unsafe.Pointer(w), len(block)))
		}
	}
}

// dot adds a group's products.
func (f format) dot(sums *[panelWidth]int32, lines []byte, a []int8) {
	line := f.line()
	for k := 0; k < len(a); k += 4 {
		a0, a1, a2, a3 := int32(a[k]), int32(a[k+1]), int32(a[k+2]), int32(a[k+3])
		switch f.dtype {
		case model.Int8:
			for j := range sums {
				w := lines[k/4*line+4*j:][:4]
				sums[j] += a0*int32(w[0]) + a1*int32(w[1]) + a2*int32(w[2]) + a3*int32(w[3])
			}
		case model.Int4:
			for j := range panelWidth / 2 {
				w := lines[k/4*line+4*j:][:4]
				sums[j] += a0*int32(w[0]&15) + a1*int32(w[1]&15) + a2*int32(w[2]&15) + a3*int32(w[3]&15)
				sums[j+panelWidth/2] += a0*int32(w[0]>>4) + a1*int32(w[1]>>4) + a2*int32(w[2]>>4) + a3*int32(w[3]>>4)
			}
		default:
			for j := range sums {
				n := func(i int) int32 { return int32(f.number(lines, j, k+i)) }
				sums[j] += a0*n(0) + a1*n(1) + a2*n(2) + a3*n(3)
			}
		}
	}
}

func sizeOf(x *float32, n int) (bits uint32) {
	for _, v := range unsafe.Slice(x, n) { // of the size alone; what is no number is above all
		bits = max(bits, math.Float32bits(v)&^(1<<31))
	}
	return bits
}

// magic is 1.5·2²³: adding it rounds to the nearest whole number, ties to even,
// and leaves it in the lowest bits.
const magic = 0x1.8p23

func round(to *byte, x *float32, by float32, n int) (sum int32) {
	q := unsafe.Slice((*int8)(unsafe.Pointer(to)), n)
	for i, v := range unsafe.Slice(x, n) {
		q[i] = int8(math.Float32bits(float32(v*by) + magic))
		sum += int32(q[i])
	}
	return sum
}

// grouped makes them of any number of elements, by functions that take 32 at a time.
func grouped(w whole) whole {
	const some = 32
	size, rounded := w.sizeOf, w.round
	w.sizeOf = func(x *float32, n int) uint32 {
		whole, bits := n&^(some-1), uint32(0)
		if whole > 0 {
			bits = size(x, whole)
		}
		if whole < n { // there is no pointer past the end
			bits = max(bits, sizeOf(at(x, whole), n-whole))
		}
		return bits
	}
	w.round = func(to *byte, x *float32, by float32, n int) int32 {
		whole := n &^ (some - 1)
		sum := rounded(to, x, by, whole)
		if whole < n {
			sum += round((*byte)(unsafe.Add(unsafe.Pointer(to), whole)), at(x, whole), by, n-whole)
		}
		return sum
	}
	return w
}

// scaleOf is what whole numbers count of which most stands for the largest size,
// and its inverse; 0: all are nothing.
func scaleOf(bits uint32, most float32) (scale, inverse float32) {
	size := math.Float32frombits(bits)
	if size < 0x1p-100 { // or the inverse might be infinite
		return 0, 0
	}
	return size / most, most / size
}

// rowBytes is what a row of activations takes, and how far apart rows lie: not a
// multiple of 4 KiB; see apart.
func (f format) rowBytes(in int) int {
	groups := (in + f.group - 1) / f.group
	n := groups*rowHead + (in+3)/4*4
	return (n+63)/64*64 + 64*(1-(n+63)/64%2)
}

// quantize makes whole numbers of a row of activations.
func (w *whole) quantize(to []byte, x []float32, f format) {
	for at := 0; len(x) > 0; {
		n := min(f.group, len(x))
		scale, inverse := scaleOf(w.sizeOf(&x[0], n), 127)
		numbers := to[at+rowHead:][:(n+3)/4*4]
		clear(numbers[n:])
		sum := w.round(&numbers[0], &x[0], inverse, n)
		head := unsafe.Slice((*uint32)(unsafe.Pointer(&to[at])), 3)
		head[0] = math.Float32bits(scale)
		head[1] = uint32(-f.middle() * sum)
		head[2] = math.Float32bits(float32(scale * float32(sum)))
		at += rowHead + len(numbers)
		x = x[n:]
	}
}

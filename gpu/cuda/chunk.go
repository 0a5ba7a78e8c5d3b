package cuda

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/troupe-llm/troupe/gpu/kernel"
	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/gpu/program"
)

const (
	chunkBytes   = 32 << 20
	bytesPerCore = 256 << 10
	// rowsAtOnce are converted together: packed ones share words.
	rowsAtOnce = 32
)

// chunk is n rows of a part of a slot, from row first on, and where they go.
type chunk struct {
	to              kernel.Ptr
	source          *model.Source
	first, n, width int
	plain           model.Encoding // of what has its scales with it: bfloat16, float32, or groups of 4 bits
	// Of FP8 and MXFP4: how they are scaled, where the scales go, how far apart those
	// of a row are, or of 128, and whether codes are in the order of products of experts.
	codes   program.Codes
	scales  kernel.Ptr
	stride  int
	experts bool
}

// sizes are the bytes of its rows on the device, and of their scales.
func (c *chunk) sizes() (rows, scales int64) {
	if !scaledApart(c.codes) {
		return c.plain.Bytes([]int{c.n, c.width}), 0
	}
	return int64(c.n) * int64(c.width) * codeBits(c.codes) / 8, scaleBytes(c.codes, c.n, c.stride)
}

// scaledApart says that scales of codes lie apart from them on the device.
func scaledApart(codes program.Codes) bool { return codes.FP8() || codes == program.CodesMXFP4 }

// codeBits is what a code takes of those.
func codeBits(codes program.Codes) int64 {
	if codes == program.CodesMXFP4 {
		return 4
	}
	return 8
}

// bytes is what it takes in a buffer: scales lie behind rows.
func (c *chunk) bytes() int64 {
	rows, scales := c.sizes()
	return rows + scales
}

// scaleBytes is what the scales of n outputs take: those of blocks in rows that
// cuBLASLt wants to be multiples of 16 bytes.
func scaleBytes(codes program.Codes, n, stride int) int64 {
	switch codes {
	case program.CodesByOutput:
		return f32 * int64(n)
	case program.CodesByBlock:
		return f32 * int64((n+127)/128) * int64(stride)
	case program.CodesMXFP4:
		return int64(n) * int64(stride)
	}
	return 0
}

// scaleStride is how many scales apart those of a row, or of a row of blocks, are from
// the next.
func scaleStride(codes program.Codes, in int) int {
	switch codes {
	case program.CodesByBlock:
		return ((in+127)/128 + 3) &^ 3
	case program.CodesMXFP4:
		return (in/32 + 3) &^ 3
	}
	return 0
}

// chunksOf cuts what fills a slot into chunks, which go one behind the other.
func chunksOf(s *model.Slot, to kernel.Ptr, held model.Held, scales kernel.Ptr) (list []chunk) {
	width, codes := s.Weight.In(), held.Codes(s.Weight)
	c := chunk{width: width, plain: held.Of(s.Weight), codes: codes, stride: scaleStride(codes, width), n: 128, experts: len(s.Weight.Shape) == 3}
	most := max(1, int(chunkBytes*128/c.bytes()))
	if codes != program.NoCodes {
		most = max(128, most/128*128)
	}
	for i := range s.Sources {
		rows := s.Sources[i].Rows
		for first := 0; first < rows; first += most {
			c.to, c.scales, c.source, c.first, c.n = to, scales, &s.Sources[i], first, min(most, rows-first)
			list = append(list, c)
			elements, more := c.sizes()
			to, scales = to.Plus(elements), scales.Plus(more)
		}
	}
	return list
}

// read writes the chunk's rows as they lie on the device, on all cores: one alone
// does not keep up with the bus.
func (c *chunk) read(to []byte) error {
	each := max((c.n+runtime.GOMAXPROCS(0)-1)/runtime.GOMAXPROCS(0), bytesPerCore/(bf16*c.width), 1)
	each = (each + rowsAtOnce - 1) / rowsAtOnce * rowsAtOnce
	var group sync.WaitGroup
	var tooLarge atomic.Bool
	for begin := 0; begin < c.n; begin += each {
		n := min(c.n, begin+each) - begin
		group.Go(func() {
			switch {
			case c.codes.FP8():
				c.quantized(to, begin, n)
				return
			case c.codes == program.CodesMXFP4:
				if !c.microscaled(to, begin, n) {
					tooLarge.Store(true)
				}
				return
			case c.codes == program.CodesInGroups:
				c.grouped(to, begin, n)
				return
			}
			row := int(c.plain.Bytes([]int{1, c.width}))
			c.rows(to[begin*row:(begin+n)*row], c.first+begin, n)
		})
	}
	group.Wait()
	if tooLarge.Load() {
		return fmt.Errorf("tensor %q has scales above 2, which the kernels of MXFP4 do not take; --dtype bfloat16 widens it", c.source.Tensor.Name)
	}
	return nil
}

// rows writes n rows, as they are where they lie so in the file.
func (c *chunk) rows(to []byte, first, n int) {
	if from := c.source.Bytes(first, n); from != nil && c.source.Tensor.Encoding == c.plain {
		copy(to, from)
		return
	}
	if c.source.Tensor.Encoding == c.plain && c.source.Bytes(first, 1) != nil { // some columns, or rows apart
		for j := range n {
			copy(to[j*c.width*c.plain.Element.Size():], c.source.Bytes(first+j, 1))
		}
		return
	}
	c.values(first, n, func(row int, values []float32) {
		for j, v := range values {
			if i := row*c.width + j; c.plain.Element == model.Float32 {
				binary.LittleEndian.PutUint32(to[f32*i:], math.Float32bits(v))
			} else {
				binary.LittleEndian.PutUint16(to[bf16*i:], model.ToBF16(v))
			}
		}
	})
}

// values reads n rows, from first on, and hands each over.
func (c *chunk) values(first, n int, use func(row int, values []float32)) {
	values := make([]float32, min(n, rowsAtOnce)*c.width)
	for begin := 0; begin < n; begin += rowsAtOnce {
		many := min(n-begin, rowsAtOnce)
		c.source.ReadRows(first+begin, many, values[:many*c.width])
		for j := range many {
			use(begin+j, values[j*c.width:][:c.width])
		}
	}
}

// quantized writes codes and scales of n of the chunk's rows, from one on: as they are
// in the file, or quantised.
func (c *chunk) quantized(to []byte, begin, n int) {
	elements, _ := c.sizes()
	out, scales := to[begin*c.width:][:n*c.width], to[elements:]
	if c.experts {
		defer kernel.PackFP8(out)
	}
	put := func(i int, v float32) { binary.LittleEndian.PutUint32(scales[f32*i:], math.Float32bits(v)) }
	if c.source.Tensor.Encoding.Element != model.Float8 {
		c.values(c.first+begin, n, func(row int, values []float32) {
			put(begin+row, model.Quantize(values, out[row*c.width:][:c.width]))
		})
		return
	}
	c.source.Codes(c.first+begin, n, out)
	line := make([]float32, max(1, c.stride))
	for row := begin; row < begin+n; row++ {
		if c.codes == program.CodesByOutput {
			c.source.Scales(c.first+row, line)
			put(row, line[0])
		} else if row%128 == 0 {
			c.source.Scales(c.first+row, line)
			for j, v := range line {
				put(row/128*c.stride+j, v)
			}
		}
	}
}

// microscaled writes codes and scales of n of the chunk's rows of MXFP4, from one on, as
// products of experts take them; false: a scale is larger than these do.
func (c *chunk) microscaled(to []byte, begin, n int) bool {
	elements, _ := c.sizes()
	fit, each := true, c.width/2
	for row := begin; row < begin+n; row++ {
		codes, scales := to[row*each:][:each], to[int(elements)+row*c.stride:][:c.stride]
		c.source.Microscaled(c.first+row, codes, scales)
		kernel.PackMXFP4(codes)
		clear(scales[c.width/32:]) // what fills up the stride
		for i, scale := range scales[:c.width/32] {
			fit = fit && scale <= kernel.MostMXFP4
			scales[i] = kernel.PackScale(scale)
		}
	}
	return fit
}

// grouped writes n of the chunk's rows, from one on, both multiples of 16, in 4 bits: as
// they are in the file, or quantised.
func (c *chunk) grouped(to []byte, begin, n int) {
	each := int(c.plain.Bytes([]int{16, c.width}))
	w := kernel.Whole4{In: c.width, Group: c.plain.Columns, Codes: make([]byte, 16*c.width)}
	w.Scales, w.Zeros = make([]float32, 16*c.width/w.Group), make([]float32, 16*c.width/w.Group)
	read := c.quantize4
	if bits, _ := c.source.Whole(); bits == 4 {
		read = c.whole4
	}
	for row := begin; row < begin+n; row += 16 {
		read(&w, c.first+row)
		w.Pack(to[row/16*each:][:each])
	}
}

// whole4 reads 16 rows that are in 4 bits, their inputs in the order of their groups.
func (c *chunk) whole4(w *kernel.Whole4, first int) {
	_, group := c.source.Whole()
	group = cmp.Or(group, c.width)
	order, _ := c.source.Tensor.Order()
	elements, groups := make([]float32, 16*c.width), c.width/group
	scales, zeros := make([]float32, 16*groups), make([]float32, 16*groups)
	c.source.ReadWhole(first, 16, elements, scales, zeros)
	for i := range w.Codes {
		row, k := i/c.width, i%c.width
		if order != nil {
			k = int(order[k])
		}
		w.Codes[i] = byte(elements[row*c.width+k])
	}
	for i := range w.Scales {
		of := i*w.Group/c.width*groups + i*w.Group%c.width/group
		w.Scales[i], w.Zeros[i] = scales[of], zeros[of]
	}
}

// quantize4 rounds 16 rows to 4 bits.
func (c *chunk) quantize4(w *kernel.Whole4, first int) {
	values := make([]float32, 16*c.width)
	c.source.ReadRows(first, 16, values)
	for i := range w.Scales {
		at := i * w.Group
		w.Scales[i], w.Zeros[i] = model.QuantizeInt4(w.Codes[at:at+w.Group], values[at:at+w.Group]), 8
	}
}

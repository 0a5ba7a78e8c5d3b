package cuda

import (
	"encoding/binary"
	"runtime"
	"sync"

	"github.com/troupe-llm/troupe/gpu/kernel"
	"github.com/troupe-llm/troupe/gpu/model"
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
}

// bytes is what it takes on the device.
func (c *chunk) bytes() int64 { return held.Matrix.Bytes([]int{c.n, c.width}) }

// chunksOf cuts what fills a slot into chunks, which go one behind the other.
func chunksOf(s *model.Slot, to kernel.Ptr) (list []chunk) {
	width := s.Weight.In()
	most := max(1, chunkBytes/int(held.Matrix.Bytes([]int{1, width})))
	for i := range s.Sources {
		rows := s.Sources[i].Rows
		for first := 0; first < rows; first += most {
			c := chunk{to, &s.Sources[i], first, min(most, rows-first), width}
			list = append(list, c)
			to = to.Plus(c.bytes())
		}
	}
	return list
}

// read writes the chunk's rows as they lie on the device, on all cores: one alone
// does not keep up with the bus.
func (c *chunk) read(to []byte) {
	each := max((c.n+runtime.GOMAXPROCS(0)-1)/runtime.GOMAXPROCS(0), bytesPerCore/(bf16*c.width), 1)
	var group sync.WaitGroup
	for begin := 0; begin < c.n; begin += each {
		end := min(c.n, begin+each)
		group.Go(func() { c.rows(to[bf16*begin*c.width:bf16*end*c.width], c.first+begin, end-begin) })
	}
	group.Wait()
}

// rows writes n rows, as they are where they lie so in the file.
func (c *chunk) rows(to []byte, first, n int) {
	if from := c.source.Bytes(first, n); from != nil && c.source.Tensor.Encoding == held.Matrix {
		copy(to, from)
		return
	}
	values := make([]float32, min(n, rowsAtOnce)*c.width)
	for begin := 0; begin < n; begin += rowsAtOnce {
		many := min(n-begin, rowsAtOnce)
		c.source.ReadRows(first+begin, many, values[:many*c.width])
		out := to[bf16*begin*c.width:]
		for j, v := range values[:many*c.width] {
			binary.LittleEndian.PutUint16(out[bf16*j:], model.ToBF16(v))
		}
	}
}

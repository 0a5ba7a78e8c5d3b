//go:build cuda

package cuda

import (
	"encoding/binary"
	"fmt"
	"math"
	"sync"
	"unsafe"

	"github.com/troupe-llm/troupe/gpu/kernel"
	"github.com/troupe-llm/troupe/gpu/model"
	"gorgonia.org/cu"
)

// weights are a model's on the device, bf16, row-major as published; queries,
// keys and values one under the other, and so gates and ups.
type weights struct {
	embed, head, norm kernel.Ptr
	layers            []layer
	bytes             int64
}

type layer struct {
	attnNorm, qkv, qkvBias, qNorm, kNorm, o, mlpNorm, gateUp, down kernel.Ptr
}

// part is a tensor and where it goes.
type part struct {
	to     *kernel.Ptr // set where the tensor begins an allocation of its own
	tensor *model.Tensor
	n      int64 // elements
	inputs int   // of a matrix, which may be filled at random; 0: a norm; < 0: a bias
}

// place is where the part begins, given where the one before ends: what is an
// allocation of its own is aligned as cuBLASLt supposes, what follows within
// one comes right behind.
func (p *part) place(end int64) int64 {
	if p.to != nil {
		return (end + 255) &^ 255
	}
	return end
}

// parts lists all weights in the order they lie in memory.
func (w *weights) parts(m *model.Model) []part {
	c := &m.Config
	source := m.Weights
	if source == nil {
		source = &model.Weights{Layers: make([]model.Layer, c.Layers)}
	}
	h, q, kv, i, d := c.Hidden, c.Heads*c.HeadDim, c.KVHeads*c.HeadDim, c.Intermediate, c.HeadDim
	matrix := func(to *kernel.Ptr, t *model.Tensor, out, in int) part {
		return part{to, t, int64(out) * int64(in), in}
	}
	vector := func(to *kernel.Ptr, t *model.Tensor, n int) part { return part{to, t, int64(n), 0} }
	bias := func(to *kernel.Ptr, t *model.Tensor, n int) part { return part{to, t, int64(n), -1} }
	list := []part{matrix(&w.embed, &source.Embed, c.Vocab, h)}
	if !c.TieEmbedding {
		list = append(list, matrix(&w.head, &source.Head, c.Vocab, h))
	}
	list = append(list, vector(&w.norm, &source.Norm, h))
	w.layers = make([]layer, c.Layers)
	for j := range w.layers {
		l, s := &w.layers[j], &source.Layers[j]
		list = append(list, vector(&l.attnNorm, &s.AttnNorm, h),
			matrix(&l.qkv, &s.Q, q, h), matrix(nil, &s.K, kv, h), matrix(nil, &s.V, kv, h))
		if c.QKVBias {
			list = append(list, bias(&l.qkvBias, &s.QBias, q), bias(nil, &s.KBias, kv), bias(nil, &s.VBias, kv))
		}
		if c.QKNorm {
			list = append(list, vector(&l.qNorm, &s.QNorm, d), vector(&l.kNorm, &s.KNorm, d))
		}
		list = append(list, matrix(&l.o, &s.O, h, q), vector(&l.mlpNorm, &s.MLPNorm, h),
			matrix(&l.gateUp, &s.Gate, i, h), matrix(nil, &s.Up, i, h), matrix(&l.down, &s.Down, h, i))
	}
	return list
}

// one is 1 as bf16.
const one = 0x3f80

// stagingBytes is the size of each of the two pinned buffers that weights pass
// through: one is filled from the file while the other is copied.
const stagingBytes = 64 << 20

// loadWeights allocates and fills the weights.
func loadWeights(c *context, q *queue, m *model.Model, progress func(done, total int64)) (*weights, error) {
	w := &weights{}
	parts := w.parts(m)
	for _, p := range parts {
		if m.Weights != nil && (!p.tensor.Present() || p.tensor.Len() != p.n) {
			return nil, fmt.Errorf("cuda: tensor %q has shape %v; %d elements were expected", p.tensor.Name, p.tensor.Shape, p.n)
		}
		w.bytes = p.place(w.bytes) + 2*p.n
	}
	memory, err := c.allocate(w.bytes, "weights")
	if err != nil {
		return nil, err
	}
	if err := c.compute.Synchronize(); err != nil { // cleared before anything is copied
		return nil, fmt.Errorf("cuda: clearing the weights: %w", err)
	}
	l := &loader{context: c, progress: progress}
	for _, p := range parts {
		l.total += 2 * p.n
	}
	offset := int64(0)
	for i, p := range parts {
		offset = p.place(offset)
		at := memory.Plus(offset)
		if p.to != nil {
			*p.to = at
		}
		switch {
		case m.Weights != nil:
			err = l.tensor(at, p.tensor)
		case p.inputs > 0:
			err = kernel.FillRandom(q, at, p.n, p.inputs, uint64(i)<<40)
			l.advance(2 * p.n)
		default: // a bias stays zero
			if p.inputs == 0 {
				err = cu.MemsetD16Async(cu.DevicePtr(at), one, p.n, c.compute)
			}
			l.advance(2 * p.n)
		}
		if err != nil {
			return nil, err
		}
		offset += 2 * p.n
	}
	if w.head == 0 {
		w.head = w.embed
	}
	return w, l.finish()
}

// loader copies tensors through two pinned buffers.
type loader struct {
	*context
	buffers     [2]pinned
	copied      [2]cu.Event
	used        int // of the buffer being filled
	next        int // which
	done, total int64
	progress    func(done, total int64)
}

func (l *loader) advance(n int64) {
	l.done += n
	if l.progress != nil {
		l.progress(l.done, l.total)
	}
}

func (l *loader) tensor(to kernel.Ptr, t *model.Tensor) error {
	if l.buffers[0] == nil {
		for i := range l.buffers {
			var err error
			if l.buffers[i], err = allocatePinned(stagingBytes); err != nil {
				return err
			}
			if l.copied[i], err = cu.MakeEvent(cu.DisableTiming); err != nil {
				return err
			}
		}
	}
	for first, n := int64(0), t.Len(); first < n; {
		some := min(n-first, stagingBytes/2)
		b := l.buffers[l.next]
		if err := l.copied[l.next].Synchronize(); err != nil { // not yet recorded: no wait
			return fmt.Errorf("cuda: copying weights: %w", err)
		}
		convert(b[:2*some], t, first)
		if err := cu.MemcpyHtoDAsync(cu.DevicePtr(to.Plus(2*first)), unsafe.Pointer(&b[0]), 2*some, l.copies); err != nil {
			return fmt.Errorf("cuda: copying %s: %w", t.Name, err)
		}
		if err := l.copied[l.next].Record(l.copies); err != nil {
			return fmt.Errorf("cuda: copying weights: %w", err)
		}
		l.next = 1 - l.next
		first += some
		l.advance(2 * some)
	}
	return nil
}

// finish waits for all copies and gives the buffers back.
func (l *loader) finish() error {
	if err := l.copies.Synchronize(); err != nil {
		return fmt.Errorf("cuda: copying weights: %w", err)
	}
	if err := l.compute.Synchronize(); err != nil {
		return fmt.Errorf("cuda: filling weights: %w", err)
	}
	for _, b := range l.buffers {
		if err := b.free(); err != nil {
			return err
		}
	}
	return nil
}

// convert writes elements of a tensor from first on as bf16, several cores at
// once: one alone does not keep up with the bus.
func convert(to []byte, t *model.Tensor, first int64) {
	const workers = 8
	n := len(to) / 2
	each := (n/workers + 1 + 63) &^ 63
	var group sync.WaitGroup
	for from := 0; from < n; from += each {
		group.Go(func() {
			end := min(n, from+each)
			size := t.DType.Size()
			source := t.Data[(first+int64(from))*int64(size):][:(end-from)*size]
			out := to[2*from : 2*end]
			switch t.DType {
			case model.BFloat16:
				copy(out, source)
			case model.Float16:
				for i := range end - from {
					binary.LittleEndian.PutUint16(out[2*i:], roundBF16(halfToFloat(binary.LittleEndian.Uint16(source[2*i:]))))
				}
			case model.Float32:
				for i := range end - from {
					binary.LittleEndian.PutUint16(out[2*i:], roundBF16(math.Float32frombits(binary.LittleEndian.Uint32(source[4*i:]))))
				}
			}
		})
	}
	group.Wait()
}

//go:build cuda

package cuda

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"runtime"
	"sync"
	"unsafe"

	"github.com/troupe-llm/troupe/gpu/kernel"
	"github.com/troupe-llm/troupe/gpu/model"
	"gorgonia.org/cu"
)

// weights are a model's on the device, bf16, row-major as published; queries,
// keys and values one under the other, and so gates and ups; experts one after
// the other.
type weights struct {
	embed, head, norm kernel.Ptr
	layers            []layer
	bytes             int64
}

type layer struct {
	attnNorm, qkv, qkvBias, qNorm, kNorm, o, mlpNorm, router, gateUp, down kernel.Ptr
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
		list = append(list, matrix(&l.o, &s.O, h, q), vector(&l.mlpNorm, &s.MLPNorm, h))
		if c.MoE == nil {
			list = append(list, matrix(&l.gateUp, &s.Gate, i, h), matrix(nil, &s.Up, i, h), matrix(&l.down, &s.Down, h, i))
			continue
		}
		list = append(list, matrix(&l.router, &s.Router, c.MoE.Experts, h))
		experts, i := s.Experts, c.MoE.Intermediate
		if experts == nil {
			experts = make([]model.Expert, c.MoE.Experts)
		}
		for n := range experts {
			x := &experts[n]
			list = append(list, matrix(first(n, &l.gateUp), &x.Gate, i, h), matrix(nil, &x.Up, i, h))
		}
		for n := range experts {
			list = append(list, matrix(first(n, &l.down), &experts[n].Down, h, i))
		}
	}
	return list
}

// first is where the first of several tensors goes that lie behind one another.
func first(n int, to *kernel.Ptr) *kernel.Ptr {
	if n > 0 {
		return nil
	}
	return to
}

// one is 1 as bf16.
const one = 0x3f80

// Weights pass through pinned buffers, a chunk at a time: some are copied to the
// device while another is filled.
const (
	chunkBytes    = 32 << 20
	chunkBuffers  = 4
	chunksAhead   = 32 // that the system reads from disk in the background
	bytesPerCore  = 256 << 10
	chunkElements = chunkBytes / 2
)

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
	offset := int64(0)
	for i, p := range parts {
		offset = p.place(offset)
		at := memory.Plus(offset)
		if p.to != nil {
			*p.to = at
		}
		offset += 2 * p.n
		l.total += 2 * p.n
		switch {
		case m.Weights != nil:
			for first := int64(0); first < p.n; first += chunkElements {
				l.chunks = append(l.chunks, chunk{at.Plus(2 * first), p.tensor, first, min(p.n-first, chunkElements)})
			}
		case p.inputs > 0:
			err = kernel.FillRandom(q, at, p.n, p.inputs, uint64(i)<<40)
		case p.inputs == 0:
			err = cu.MemsetD16Async(cu.DevicePtr(at), one, p.n, c.compute)
		default: // a bias stays zero
		}
		if err != nil {
			return nil, err
		}
	}
	if w.head == 0 {
		w.head = w.embed
	}
	if m.Weights == nil {
		if err := c.compute.Synchronize(); err != nil {
			return nil, fmt.Errorf("cuda: filling weights: %w", err)
		}
		l.advance(l.total)
		return w, nil
	}
	return w, l.load()
}

// chunk is n elements of a tensor, from first on, and where they go.
type chunk struct {
	to       kernel.Ptr
	tensor   *model.Tensor
	first, n int64
}

func (c *chunk) source() []byte {
	size := int64(c.tensor.DType.Size())
	return c.tensor.Data[c.first*size:][:c.n*size]
}

// loader copies chunks to the device.
type loader struct {
	*context
	chunks      []chunk
	buffers     [chunkBuffers]pinned
	copied      [chunkBuffers]cu.Event
	done, total int64
	progress    func(done, total int64)
}

func (l *loader) advance(n int64) {
	l.done += n
	if l.progress != nil {
		l.progress(l.done, l.total)
	}
}

func (l *loader) load() (err error) {
	for i := range l.buffers {
		if l.buffers[i], err = allocatePinned(chunkBytes); err != nil {
			return err
		}
		if l.copied[i], err = cu.MakeEvent(cu.DisableTiming); err != nil {
			return err
		}
	}
	asked, stop := make(chan chunk, chunksAhead), make(chan struct{})
	defer close(stop)
	go func() { // the channel's room is how far ahead the disk is
		for _, c := range l.chunks {
			model.Prefetch(c.source())
			select {
			case asked <- c:
			case <-stop:
				return
			}
		}
	}()
	for i := range l.chunks {
		if err := l.copy(<-asked, i%chunkBuffers); err != nil {
			return err
		}
	}
	return l.finish()
}

// copy enqueues a chunk's copy through a buffer, when that is free.
func (l *loader) copy(c chunk, buffer int) error {
	if err := l.copied[buffer].Synchronize(); err != nil { // not yet recorded: no wait
		return fmt.Errorf("cuda: copying weights: %w", err)
	}
	b := l.buffers[buffer][:2*c.n]
	convert(b, c.source(), c.tensor.DType)
	if err := cu.MemcpyHtoDAsync(cu.DevicePtr(c.to), unsafe.Pointer(&b[0]), 2*c.n, l.copies); err != nil {
		return fmt.Errorf("cuda: copying %s: %w", c.tensor.Name, err)
	}
	if err := l.copied[buffer].Record(l.copies); err != nil {
		return fmt.Errorf("cuda: copying weights: %w", err)
	}
	l.advance(2 * c.n)
	return nil
}

// finish waits for all copies and gives the buffers back.
func (l *loader) finish() error {
	if err := l.copies.Synchronize(); err != nil {
		return fmt.Errorf("cuda: copying weights: %w", err)
	}
	for i := range l.buffers {
		if err := errors.Join(l.buffers[i].free(), cu.DestroyEvent(&l.copied[i])); err != nil {
			return err
		}
	}
	return nil
}

// convert writes elements as bf16, on all cores: one alone does not keep up
// with the bus.
func convert(to, from []byte, dtype model.DType) {
	size, n := dtype.Size(), len(to)/2
	each := max(n/runtime.GOMAXPROCS(0)+1, bytesPerCore/2)
	var group sync.WaitGroup
	for begin := 0; begin < n; begin += each {
		group.Go(func() {
			end := min(n, begin+each)
			source, out := from[begin*size:end*size], to[2*begin:2*end]
			switch dtype {
			case model.BFloat16:
				copy(out, source)
			case model.Float16:
				for i := range end - begin {
					binary.LittleEndian.PutUint16(out[2*i:], model.ToBF16(model.FromF16(binary.LittleEndian.Uint16(source[2*i:]))))
				}
			case model.Float32:
				for i := range end - begin {
					binary.LittleEndian.PutUint16(out[2*i:], model.ToBF16(math.Float32frombits(binary.LittleEndian.Uint32(source[4*i:]))))
				}
			}
		})
	}
	group.Wait()
}

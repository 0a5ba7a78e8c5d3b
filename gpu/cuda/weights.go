//go:build cuda

package cuda

import (
	"errors"
	"fmt"
	"math"
	"unsafe"

	"github.com/troupe-llm/troupe/gpu/kernel"
	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/gpu/program"
	"gorgonia.org/cu"
)

// one is 1 as bf16.
const one = 0x3f80

// Weights pass through pinned buffers, a chunk at a time: some are copied to the
// device while another is filled.
const (
	chunkBuffers = 4
	chunksAhead  = 32 // that the system reads from disk in the background
)

// placed is where weights lie on the device, by slot, and the scales of those that
// are codes.
type placed struct {
	at     map[*program.Weight]kernel.Ptr
	scales map[*program.Weight]scales
	order  map[*program.Weight]kernel.Ptr // of inputs, where some of 4 bits have one
	bytes  int64
}

// lay gives weights places one behind the other, from an address on: codes, then
// their scales.
func lay(m *model.Model, held model.Held, from kernel.Ptr) placed {
	p := placed{at: map[*program.Weight]kernel.Ptr{}, scales: map[*program.Weight]scales{}}
	take := func(bytes int64) kernel.Ptr {
		at := (p.bytes + 255) &^ 255 // as cuBLASLt supposes
		p.bytes = at + bytes
		return from.Plus(at)
	}
	for _, w := range m.Config.Program.Weights {
		if m.Shared(w) != w {
			continue
		}
		codes := held.Codes(w)
		if !scaledApart(codes) {
			p.at[w] = take(held.Of(w).Bytes(w.Shape))
			continue
		}
		p.at[w] = take(w.Elements() * codeBits(codes) / 8)
		stride := scaleStride(codes, w.In())
		p.scales[w] = scales{take(scaleBytes(codes, w.Experts()*w.Out(), stride)), int32(stride)}
	}
	for _, w := range m.Config.Program.Weights {
		p.at[w] = p.at[m.Shared(w)]
	}
	return p
}

// loadWeights allocates and fills the weights: in the order of the program, a
// slot's parts one under the other, row-major. What is tied to another slot has
// its place.
func loadWeights(c *context, q *queue, m *model.Model, held model.Held, progress func(done, total int64)) (p placed, err error) {
	memory, err := c.allocate(lay(m, held, 0).bytes, "weights")
	if err != nil {
		return p, err
	}
	if err := c.compute.Synchronize(); err != nil { // cleared before anything is copied
		return p, fmt.Errorf("cuda: clearing the weights: %w", err)
	}
	p = lay(m, held, memory)
	if p.order, err = orders(c, m, held); err != nil {
		return p, err
	}
	l := &loader{context: c, progress: progress}
	for i, w := range m.Config.Program.Weights {
		if m.Shared(w) != w {
			continue
		}
		if m.Weights == nil {
			if err := makeUp(c, q, w, held, p.at[w], p.scales[w], uint64(i)); err != nil {
				return p, err
			}
			continue
		}
		for _, c := range chunksOf(m.Weights.Of(w), p.at[w], held, p.scales[w].at) {
			l.total += c.bytes()
			l.chunks = append(l.chunks, c)
		}
	}
	if m.Weights != nil {
		return p, l.load()
	}
	if err := c.compute.Synchronize(); err != nil {
		return p, fmt.Errorf("cuda: filling weights: %w", err)
	}
	l.total = p.bytes
	l.advance(l.total)
	return p, nil
}

// orders brings the orders of inputs that are not their groups' to the device.
func orders(c *context, m *model.Model, held model.Held) (map[*program.Weight]kernel.Ptr, error) {
	at := map[*program.Weight]kernel.Ptr{}
	for _, w := range m.Config.Program.Weights {
		if m.Weights == nil || held.Codes(w) != program.CodesInGroups {
			continue
		}
		order, _ := m.Weights.Of(w).Sources[0].Tensor.Order()
		if order == nil {
			continue
		}
		var err error
		if at[w], err = allocateWith(c, order, "an order of inputs"); err != nil {
			return nil, err
		}
	}
	return at, nil
}

// makeUp fills a weight of a model without weights, whose memory is zero.
func makeUp(c *context, q *queue, w *program.Weight, held model.Held, at kernel.Ptr, s scales, seed uint64) error {
	switch {
	case held.Codes(w) == program.CodesInGroups:
		return kernel.FillInt4(q, at, w.Out(), w.In(), held.Of(w).Columns, seed<<40)
	case held.Codes(w) == program.CodesMXFP4:
		scale, err := kernel.FillMXFP4(q, at, w.Elements(), w.In(), seed<<40)
		if err != nil {
			return err
		}
		return cu.MemsetD8Async(cu.DevicePtr(s.at), scale, int64(w.Experts()*w.Out())*int64(s.stride), c.compute)
	case s.at != 0:
		scale, err := kernel.FillCodes(q, at, w.Elements(), w.In(), seed<<40)
		if err != nil {
			return err
		}
		return cu.MemsetD32Async(cu.DevicePtr(s.at), uint(math.Float32bits(scale)), int64(w.Experts()*w.Out()), c.compute)
	case w.Init == program.Random:
		return kernel.FillRandom(q, at, w.Elements(), w.In(), seed<<40)
	case w.Init == program.Ones && w.Exact:
		return cu.MemsetD32Async(cu.DevicePtr(at), uint(math.Float32bits(1)), w.Elements(), c.compute)
	case w.Init == program.Ones:
		return cu.MemsetD16Async(cu.DevicePtr(at), one, w.Elements(), c.compute)
	}
	return nil
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
			c.source.Prefetch(c.first, c.n)
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
	b := l.buffers[buffer][:c.bytes()]
	if err := c.read(b); err != nil {
		return fmt.Errorf("cuda: %s: %w", c.source.Tensor.File, err)
	}
	rows, scales := c.sizes()
	err := cu.MemcpyHtoDAsync(cu.DevicePtr(c.to), unsafe.Pointer(&b[0]), rows, l.copies)
	if err == nil && scales > 0 {
		err = cu.MemcpyHtoDAsync(cu.DevicePtr(c.scales), unsafe.Pointer(&b[rows]), scales, l.copies)
	}
	if err != nil {
		return fmt.Errorf("cuda: copying %s: %w", c.source.Tensor.Name, err)
	}
	if err := l.copied[buffer].Record(l.copies); err != nil {
		return fmt.Errorf("cuda: copying weights: %w", err)
	}
	l.advance(int64(len(b)))
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

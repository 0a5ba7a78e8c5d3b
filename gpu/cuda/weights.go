//go:build cuda

package cuda

import (
	"errors"
	"fmt"
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

// placed is where weights lie on the device, by slot.
type placed map[*program.Weight]kernel.Ptr

// loadWeights allocates and fills the weights: in the order of the program, a
// slot's parts one under the other, row-major. What is tied to another slot has
// its place.
func loadWeights(c *context, q *queue, m *model.Model, progress func(done, total int64)) (at placed, bytes int64, err error) {
	at, weights := placed{}, m.Config.Program.Weights
	size := func(w *program.Weight) int64 { return held.Of(w).Bytes(w.Shape) }
	for _, w := range weights {
		if m.Shared(w) == w {
			bytes = (bytes+255)&^255 + size(w) // aligned as cuBLASLt supposes
		}
	}
	memory, err := c.allocate(bytes, "weights")
	if err != nil {
		return nil, 0, err
	}
	if err := c.compute.Synchronize(); err != nil { // cleared before anything is copied
		return nil, 0, fmt.Errorf("cuda: clearing the weights: %w", err)
	}
	l, end := &loader{context: c, progress: progress}, int64(0)
	for i, w := range weights {
		if m.Shared(w) != w {
			continue
		}
		end = (end + 255) &^ 255
		at[w] = memory.Plus(end)
		end += size(w)
		l.total += size(w)
		if m.Weights != nil {
			l.chunks = append(l.chunks, chunksOf(m.Weights.Of(w), at[w])...)
		} else if err := makeUp(c, q, w, at[w], uint64(i)); err != nil {
			return nil, 0, err
		}
	}
	for _, w := range weights {
		at[w] = at[m.Shared(w)]
	}
	if m.Weights != nil {
		return at, bytes, l.load()
	}
	if err := c.compute.Synchronize(); err != nil {
		return nil, 0, fmt.Errorf("cuda: filling weights: %w", err)
	}
	l.advance(l.total)
	return at, bytes, nil
}

// makeUp fills a weight of a model without weights, whose memory is zero.
func makeUp(c *context, q *queue, w *program.Weight, at kernel.Ptr, seed uint64) error {
	switch w.Init {
	case program.Random:
		return kernel.FillRandom(q, at, w.Elements(), w.In(), seed<<40)
	case program.Ones:
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
	c.read(b)
	if err := cu.MemcpyHtoDAsync(cu.DevicePtr(c.to), unsafe.Pointer(&b[0]), int64(len(b)), l.copies); err != nil {
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

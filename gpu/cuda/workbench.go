//go:build cuda

package cuda

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"github.com/troupe-llm/troupe/gpu/kernel"
	"gorgonia.org/cu"
)

// Workbench runs single kernels, for their tests and timings. It belongs to
// one goroutine, which Open locks to its thread until Close.
type Workbench struct {
	*queue
	ctx *context
	// Blocks is how many blocks of decode attention fit on the device.
	Blocks int
	GPU    GPU
}

// OpenWorkbench compiles all kernels for a shape on the first device; its
// Stages and Hopper are set to what the device has.
func OpenWorkbench(s *kernel.Shape) (*Workbench, error) {
	runtime.LockOSThread()
	ctx, err := openContext(0)
	if err != nil {
		return nil, err
	}
	s.Stages, s.Hopper, s.Experts, s.Latent, s.Int4 = stages(*s, ctx.shared), ctx.gpu.hopper(), true, true, true
	s.ExpertsFP8, s.ExpertsMXFP4 = true, true
	m, err := loadModules(*s, ctx.gpu.architecture())
	if err != nil {
		return nil, errors.Join(err, ctx.close())
	}
	blocks, err := m.decodeBlocks(*s, ctx.gpu)
	if err != nil {
		return nil, errors.Join(err, ctx.close())
	}
	return &Workbench{queue: &queue{modules: m, stream: ctx.compute}, ctx: ctx, Blocks: blocks, GPU: ctx.gpu}, nil
}

// Overlap lets kernels be scheduled before those ahead have ended, as in a
// step, where the device can.
func (w *Workbench) Overlap() { w.overlap = w.GPU.Capability >= 90 }

// Allocate returns zeroed memory.
func (w *Workbench) Allocate(bytes int64) (kernel.Ptr, error) {
	return w.ctx.allocate(bytes, "a test")
}

// Fill sets every byte.
func (w *Workbench) Fill(at kernel.Ptr, value byte, bytes int64) error {
	return cu.MemsetD8Async(cu.DevicePtr(at), value, bytes, w.stream)
}

// Upload copies data to memory of its own.
func Upload[T any](w *Workbench, data []T) (kernel.Ptr, error) {
	return allocateWith(w.ctx, data, "a test")
}

// PassMaps writes matrices down for decode_pass, with room behind the last.
func (w *Workbench) PassMaps(list []kernel.PassTensor) (kernel.Ptr, error) {
	maps, err := passMaps(list)
	if err != nil {
		return 0, err
	}
	return Upload(w, maps)
}

// Download fills data from memory when all that was launched is done.
func Download[T any](w *Workbench, data []T, from kernel.Ptr) error {
	if err := w.Synchronize(); err != nil {
		return err
	}
	return cu.MemcpyDtoH(unsafe.Pointer(&data[0]), cu.DevicePtr(from), int64(len(data))*int64(unsafe.Sizeof(data[0])))
}

// Synchronize waits for everything launched.
func (w *Workbench) Synchronize() error {
	if err := w.stream.Synchronize(); err != nil {
		return fmt.Errorf("cuda: %w", err)
	}
	return nil
}

// Time is how long what f launches takes on the device, in nanoseconds: the
// mean of eight in a graph, as in a step.
func (w *Workbench) Time(f func() error) (int64, error) {
	const times = 8
	g, err := capture(w.stream, func() error {
		for range times {
			if err := f(); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	run := func() error { return g.launch(w.stream) }
	ns, err := int64(0), run() // the first brings the graph to the device
	if err == nil {
		ns, err = timeOn(w.stream, run)
	}
	return ns / times, errors.Join(err, g.free())
}

func timeOn(stream cu.Stream, f func() error) (int64, error) {
	var events [2]cu.Event
	for i := range events {
		var err error
		if events[i], err = cu.MakeEvent(cu.DefaultEvent); err != nil {
			return 0, err
		}
	}
	if err := events[0].Record(stream); err != nil {
		return 0, err
	}
	if err := f(); err != nil {
		return 0, err
	}
	if err := events[1].Record(stream); err != nil {
		return 0, err
	}
	if err := stream.Synchronize(); err != nil {
		return 0, fmt.Errorf("cuda: %w", err)
	}
	ns, err := elapsed(events[0], events[1])
	for i := range events {
		err = errors.Join(err, cu.DestroyEvent(&events[i]))
	}
	return ns, err
}

// Close frees everything and unlocks the thread.
func (w *Workbench) Close() error {
	defer runtime.UnlockOSThread()
	return w.ctx.close()
}

// Fork is a queue on a stream of its own, for kernels that wait for each other.
func (w *Workbench) Fork() (kernel.Queue, error) {
	s, err := cu.MakeStream(cu.NonBlocking)
	if err != nil {
		return nil, fmt.Errorf("cuda: making a stream: %w", err)
	}
	return &queue{modules: w.modules, stream: s, overlap: w.overlap}, nil
}

// Settle waits for everything launched on any queue.
func (w *Workbench) Settle() error { return settled() }

//go:build cuda

package cuda

import (
	"errors"
	"fmt"
	"slices"

	"github.com/troupe-llm/troupe/gpu/kernel"
	"gorgonia.org/cu"
)

// GPU is what a probe finds.
type GPU struct {
	Name       string
	Capability int // compute capability without the point: 90
	SMs        int
	Bytes      int64 // of memory
}

// Probe lists the GPUs, or says in one line why there are none to use.
func Probe() ([]GPU, error) {
	if err := start(); err != nil {
		return nil, err
	}
	n, err := cu.NumDevices()
	if err != nil {
		return nil, fmt.Errorf("cuda: counting devices: %w", err)
	}
	var list []GPU
	for i := range n {
		dev, err := cu.GetDevice(i)
		if err != nil {
			return nil, fmt.Errorf("cuda: device %d: %w", i, err)
		}
		g, err := describe(dev)
		if err != nil {
			return nil, fmt.Errorf("cuda: device %d: %w", i, err)
		}
		list = append(list, g)
	}
	if len(list) == 0 {
		return nil, errors.New("cuda: the driver sees no GPU")
	}
	return list, nil
}

// Usable is nil when there is a GPU and all that running models on it takes.
func Usable() error {
	if _, err := Probe(); err != nil {
		return err
	}
	return need(libnvrtc, libblas)
}

func describe(dev cu.Device) (g GPU, err error) {
	if g.Name, err = dev.Name(); err != nil {
		return g, err
	}
	if g.Bytes, err = dev.TotalMem(); err != nil {
		return g, err
	}
	if g.SMs, err = dev.Attribute(cu.MultiprocessorCount); err != nil {
		return g, err
	}
	major, err := dev.Attribute(cu.ComputeCapabilityMajor)
	if err != nil {
		return g, err
	}
	minor, err := dev.Attribute(cu.ComputeCapabilityMinor)
	g.Capability = 10*major + minor
	return g, err
}

// architecture is what kernels are compiled for: with the features of this
// very generation on Hopper, which later ones do not all have.
func (g GPU) architecture() string {
	if g.Capability == 90 {
		return "sm_90a"
	}
	return fmt.Sprintf("sm_%d", g.Capability)
}

// hopper is how many multiprocessors run kernels that are for Hopper alone.
func (g GPU) hopper() int {
	if g.Capability == 90 {
		return g.SMs
	}
	return 0
}

// context is a device's context with what is allocated in it. The thread that
// makes it is the one that uses it, but for waiting.
type context struct {
	gpu     GPU
	handle  cu.CUContext
	shared  int // bytes of shared memory that a block may have
	compute cu.Stream
	copies  cu.Stream
	host    []pinned // freed with the context
	common  *shared  // of a rank
	// primary is the GPU whose primary context it is, which others keep, too: then
	// owned is freed with it. nil: it is one of its own.
	primary *cu.Device
	owned   []cu.DevicePtr
}

func openContext(ordinal int) (*context, error) { return enterContext(ordinal, false) }

// enterContext makes a context, or takes the device's primary one.
func enterContext(ordinal int, primary bool) (*context, error) {
	gpus, err := Probe()
	if err != nil {
		return nil, err
	}
	if ordinal < 0 || ordinal >= len(gpus) {
		return nil, fmt.Errorf("cuda: no device %d; there are %d", ordinal, len(gpus))
	}
	c := &context{gpu: gpus[ordinal]}
	if c.gpu.Capability < 80 {
		return nil, fmt.Errorf("cuda: %s has compute capability %d.%d; bf16 kernels need 8.0", c.gpu.Name, c.gpu.Capability/10, c.gpu.Capability%10)
	}
	dev, err := cu.GetDevice(ordinal)
	if err != nil {
		return nil, fmt.Errorf("cuda: device %d: %w", ordinal, err)
	}
	if c.shared, err = sharedPerBlock(dev); err != nil {
		return nil, err
	}
	if primary {
		c.primary = &dev
		c.handle, err = dev.RetainPrimaryCtx()
	} else {
		c.handle, err = dev.MakeContext(cu.SchedAuto | cu.MapHost)
	}
	if err != nil {
		return nil, fmt.Errorf("cuda: making a context on %s: %w", c.gpu.Name, err)
	}
	if err := c.streams(); err != nil {
		return nil, errors.Join(err, c.close())
	}
	return c, nil
}

// streams enters the context and makes its streams.
func (c *context) streams() (err error) {
	if err := c.attach(); err != nil {
		return err
	}
	if c.compute, err = cu.MakeStream(cu.NonBlocking); err == nil {
		c.copies, err = cu.MakeStream(cu.NonBlocking)
	}
	if err != nil {
		return fmt.Errorf("cuda: making a stream: %w", err)
	}
	return nil
}

// attach makes the context current on the calling thread.
func (c *context) attach() error {
	if err := cu.SetCurrentContext(c.handle); err != nil {
		return fmt.Errorf("cuda: entering the context: %w", err)
	}
	return nil
}

// allocate returns n bytes of device memory, zeroed; the context frees them.
func (c *context) allocate(n int64, what string) (kernel.Ptr, error) {
	p, err := cu.MemAlloc(max(n, 16))
	if err != nil {
		return 0, fmt.Errorf("cuda: %d MiB for %s: %w", n>>20, what, err)
	}
	c.own(p)
	if err := cu.MemsetD8Async(p, 0, max(n, 16), c.compute); err != nil {
		return 0, fmt.Errorf("cuda: clearing %s: %w", what, err)
	}
	return kernel.Ptr(p), nil
}

// own notes memory that is freed with the context.
func (c *context) own(p cu.DevicePtr) {
	if c.primary != nil {
		c.owned = append(c.owned, p)
	}
}

// free gives memory back before the context does.
func (c *context) free(p kernel.Ptr) error {
	c.owned = slices.DeleteFunc(c.owned, func(o cu.DevicePtr) bool { return o == cu.DevicePtr(p) })
	return cu.MemFree(cu.DevicePtr(p))
}

// settled waits for everything in the current context. A copy from memory that
// is not pinned returns when its last piece is on the way, and streams that do
// not block do not wait for that.
func settled() error {
	if err := cu.Synchronize(); err != nil {
		return fmt.Errorf("cuda: waiting for the device: %w", err)
	}
	return nil
}

func (c *context) pin(n int) (pinned, error) {
	p, err := allocatePinned(n)
	if err == nil {
		c.host = append(c.host, p)
	}
	return p, err
}

// close frees pinned memory and destroys the context, and with it streams,
// events, modules and device memory. After a fault the first of these fail;
// destroying the context is tried all the same.
func (c *context) close() error {
	var errs []error
	for _, p := range c.host {
		errs = append(errs, p.free())
	}
	c.host = nil
	if c.common != nil && c.common.users.Add(-1) > 0 { // whoever is last destroys it
		return errors.Join(errs...)
	}
	if c.primary == nil {
		return errors.Join(append(errs, destroyContext(c.handle))...)
	}
	for _, p := range c.owned {
		errs = append(errs, cu.MemFree(p))
	}
	errs = append(errs, c.primary.ReleasePrimaryCtx())
	return errors.Join(errs...)
}

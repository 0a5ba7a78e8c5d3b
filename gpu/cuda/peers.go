//go:build cuda

package cuda

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/kernel"
	"gorgonia.org/cu"
)

// shared is a context that several ranks on one GPU have in common: for trying
// several where there is one.
type shared struct {
	ordinal int
	gpu     GPU
	block   int // shared memory of a block
	handle  cu.CUContext
	ranks   int // on the GPU
	users   atomic.Int32
}

// canReach says whether a GPU can reach another's memory. Tests have GPUs that cannot.
var canReach = func(own, other cu.Device) bool {
	can, err := own.CanAccessPeer(other)
	return err == nil && can != 0
}

// Peers says how GPUs that share a model would add up; "" of fewer than two.
func Peers() string {
	all, err := Probe()
	if err != nil || len(all) < 2 {
		return ""
	}
	for i := range all {
		for j := range all {
			own, err := cu.GetDevice(i)
			other, err2 := cu.GetDevice(j)
			if errors.Join(err, err2) != nil || i == j || canReach(own, other) {
				continue
			}
			by := "NCCL adds up for --tp"
			if f := libnccl.opened(); f.Err != nil {
				by = "--tp takes NCCL, which is not there (" + ncclLibrary.From + ")"
			}
			return fmt.Sprintf("GPU %d cannot reach the memory of GPU %d: %s", i, j, by)
		}
	}
	return fmt.Sprintf("%d GPUs reach each other's memory, over which --tp adds up", len(all))
}

// openRank is openContext for a rank. Ranks on the same GPU take the context of the
// first of them. Where some GPUs cannot reach each other's memory, or NCCL is wanted all
// the same, it is the GPU's primary context, which NCCL works in.
func openRank(ordinal int, rank *device.Rank, nccl bool) (*context, error) {
	var others []int
	if err := device.Meet(rank, ordinal, func(all []int) { others = all }); err != nil {
		return nil, err
	}
	first, here := slices.Index(others, ordinal), 0
	for _, o := range others {
		if o == ordinal {
			here++
		}
	}
	apart, err := someApart(others, rank)
	if err != nil {
		return nil, err
	}
	var mine *context
	var brings *shared
	if first == rank.Index {
		if mine, err = enterContext(ordinal, apart || nccl); err != nil {
			return nil, err
		}
		brings = &shared{ordinal: ordinal, gpu: mine.gpu, block: mine.shared, handle: mine.handle, ranks: here}
		mine.common = brings
		brings.users.Store(1)
	}
	var all []*shared
	err = device.Meet(rank, brings, func(list []*shared) {
		if all = list; mine == nil {
			all[first].users.Add(1)
		}
	})
	if err == nil && mine == nil {
		s := all[first]
		mine = &context{gpu: s.gpu, shared: s.block, handle: s.handle, common: s}
		err = mine.streams()
	}
	if err == nil && !apart {
		err = mine.reach(all)
	}
	if err != nil && mine != nil {
		return nil, errors.Join(err, mine.close())
	}
	return mine, err
}

// someApart says whether any GPU of any rank cannot reach another's memory.
func someApart(ordinals []int, rank *device.Rank) (apart bool, err error) {
	if err := start(); err != nil {
		return false, err
	}
	own, err := cu.GetDevice(ordinals[rank.Index])
	if err != nil {
		return false, err
	}
	mine := false
	for _, o := range ordinals {
		other, err := cu.GetDevice(o)
		if err != nil {
			return false, err
		}
		mine = mine || own != other && !canReach(own, other)
	}
	err = device.Meet(rank, mine, func(all []bool) { apart = slices.Contains(all, true) })
	return apart, err
}

// reach makes the memory of other ranks' GPUs accessible.
func (c *context) reach(all []*shared) error {
	for _, s := range all {
		if s == nil || s == c.common {
			continue
		}
		if err := s.handle.EnablePeerAccess(0); err != nil {
			return fmt.Errorf("cuda: reaching the memory of GPU %d from GPU %d: %w", s.ordinal, c.common.ordinal, err)
		}
	}
	return nil
}

// join lets the engine add up with the other ranks.
func (e *engine) join(rank *device.Rank) (err error) {
	if e.rank = rank; rank == nil {
		return nil
	}
	if e.primary != nil {
		if e.nccl, err = communicate(rank, e.compute); err == nil {
			e.all = e.nccl
		}
		return err
	}
	if err := e.meetings.join(e.context, e.blocks); err != nil {
		return err
	}
	if err := e.meetings.copyWith(e.context); err != nil {
		return err
	}
	return e.together()
}

// join makes the memory in which ranks add up, cleared before any of them comes.
func (m *meetings) join(c *context, blocks int) error {
	ranks := m.rank.Ranks
	if ranks > kernel.MaxRanks {
		return fmt.Errorf("cuda: %d ranks; there may be %d", ranks, kernel.MaxRanks)
	}
	if here := c.common.ranks; here > 1 {
		// What waits on a multiprocessor keeps kernels from it that want all of its registers
		// or another division of its memory, and those of another rank must come through.
		blocks = max(2, blocks/(4*here))
	}
	m.links = kernel.Links{Rank: int32(m.rank.Index), Ranks: int32(ranks), Blocks: blocks}
	var flags, inbox kernel.Ptr
	each := kernel.InboxBytes(ranks)
	for _, s := range []sized{
		{&flags, kernel.FlagBytes, "flags"},
		{&m.links.Turns, kernel.TurnBytes, "turns"},
		{&m.links.Done, f32, "sums"},
		{&m.links.Spent, kernel.SpentBytes, "times of sums"},
		{&inbox, inboxes * each, "what other ranks send"},
	} {
		var err error
		if *s.at, err = c.allocate(s.bytes, s.what); err != nil {
			return err
		}
	}
	if err := cu.MemsetD8Async(cu.DevicePtr(inbox), 0xff, inboxes*each, c.compute); err != nil {
		return fmt.Errorf("cuda: emptying inboxes: %w", err)
	}
	if err := c.compute.Synchronize(); err != nil {
		return fmt.Errorf("cuda: emptying inboxes: %w", err)
	}
	m.links.Flags = m.addresses(flags)
	for i := range m.inboxes {
		m.inboxes[i] = m.addresses(inbox.Plus(int64(i) * each))
	}
	return m.err
}

// outbox is a copier, of a stream beside that of what is computed. It launches no kernel:
// there may be no room for one where another waits for what is copied.
type outbox struct {
	compute, stream cu.Stream
	begun, left     cu.Event
	one             kernel.Ptr // u32, not 0
}

// copyWith makes the copier, and learns where others have their inboxes.
func (m *meetings) copyWith(c *context) (err error) {
	if m.landing.bytes == 0 {
		return nil
	}
	var told kernel.Ptr
	o := &outbox{compute: c.compute}
	if told, err = c.allocate(toldBytes, "what was copied"); err == nil {
		o.one, err = c.allocate(f32, "what was copied")
	}
	if err == nil {
		err = errors.Join(cu.MemsetD8Async(cu.DevicePtr(o.one), 1, f32, c.compute), c.compute.Synchronize())
	}
	if err != nil {
		return fmt.Errorf("cuda: what was copied: %w", err)
	}
	m.landing.told = m.addresses(told)
	for i := range m.landing.inboxes {
		m.landing.inboxes[i] = m.addresses(m.landing.mine.Plus(int64(i) * m.landing.bytes))
	}
	if o.stream, err = cu.MakeStream(cu.NonBlocking); err != nil {
		return fmt.Errorf("cuda: making a stream: %w", err)
	}
	for _, e := range []*cu.Event{&o.begun, &o.left} {
		if *e, err = cu.MakeEvent(cu.DisableTiming); err != nil {
			return fmt.Errorf("cuda: making an event: %w", err)
		}
	}
	if m.err != nil {
		return m.err
	}
	m.landing.by = o
	return o.first(m.landing.inboxes[0])
}

// first copies to each other rank once: what may wait for the device must not while a
// kernel waits for another rank.
func (o *outbox) first(to [kernel.MaxRanks]kernel.Ptr) error {
	for _, at := range to {
		if at == 0 {
			continue
		}
		if err := cu.MemcpyDtoDAsync(cu.DevicePtr(at), cu.DevicePtr(o.one), f32, o.stream); err != nil {
			return fmt.Errorf("cuda: copying to another rank: %w", err)
		}
	}
	return o.stream.Synchronize()
}

func (o *outbox) copy(from kernel.Ptr, to, told [kernel.MaxRanks]kernel.Ptr, bytes int64) error {
	if err := follow(o.stream, o.compute, o.begun); err != nil {
		return err
	}
	for r, at := range to {
		if at == 0 {
			continue
		}
		err := cu.MemcpyDtoDAsync(cu.DevicePtr(at), cu.DevicePtr(from), bytes, o.stream)
		if err == nil {
			err = cu.MemcpyDtoDAsync(cu.DevicePtr(told[r]), cu.DevicePtr(o.one), f32, o.stream)
		}
		if err != nil {
			return fmt.Errorf("copying %d bytes to rank %d: %w", bytes, r, err)
		}
	}
	return nil
}

func (o *outbox) join() error { return follow(o.compute, o.stream, o.left) }

// follow has what is enqueued from now on wait for all that another stream was given.
func follow(s, ahead cu.Stream, at cu.Event) error {
	if err := at.Record(ahead); err != nil {
		return err
	}
	return s.Wait(at, 0)
}

// clearSpent forgets what sums took before the first step.
func (e *engine) clearSpent() error {
	if e.links.Spent == 0 {
		return nil
	}
	return cu.MemsetD8Async(cu.DevicePtr(e.links.Spent), 0, kernel.SpentBytes, e.compute)
}

// tellSpent writes what sums took to memory of the host. A kernel does: a copy would stand
// in the queue of copies until the step is done, before that of another rank's next step.
func (e *engine) tellSpent(to kernel.Ptr) error {
	if e.links.Spent == 0 {
		return nil
	}
	words := kernel.SpentBytes / f32
	return kernel.CopyRows(e.queue, kernel.CopyArgs{
		From: kernel.View{At: e.links.Spent, Stride: int32(words)}, To: kernel.View{At: to, Stride: int32(words)}, Rows: 1, Heads: 1, Width: int32(words),
	})
}

// together waits until all ranks have done what was enqueued: what may wait for the
// device itself, as loading and capturing do, must not while a kernel waits for
// another rank that is about to.
func (e *engine) together() error {
	if e.rank == nil {
		return nil
	}
	return e.context.together(e.rank)
}

func (c *context) together(rank *device.Rank) error {
	if err := c.compute.Synchronize(); err != nil {
		return fmt.Errorf("cuda: before ranks meet: %w", err)
	}
	_, err := rank.Meet(nil, func([]any) {})
	return err
}

//go:build cuda

package cuda

import (
	"errors"
	"fmt"
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
	users   atomic.Int32
}

// openRank is openContext for a rank. Ranks on the same GPU take the context of the
// first of them.
func openRank(ordinal int, rank *device.Rank) (*context, error) {
	var others []int
	if _, err := rank.Meet(ordinal, func(all []any) {
		for _, o := range all {
			others = append(others, o.(int))
		}
	}); err != nil {
		return nil, err
	}
	first := 0
	for others[first] != ordinal {
		first++
	}
	var mine *context
	var brings *shared
	if first == rank.Index {
		var err error
		if mine, err = openContext(ordinal); err != nil {
			return nil, err
		}
		brings = &shared{ordinal: ordinal, gpu: mine.gpu, block: mine.shared, handle: mine.handle}
		mine.common = brings
		brings.users.Store(1)
	}
	var all []*shared
	_, err := rank.Meet(brings, func(list []any) {
		for _, s := range list {
			all = append(all, s.(*shared))
		}
		if mine == nil {
			all[first].users.Add(1)
		}
	})
	if err == nil && mine == nil {
		s := all[first]
		mine = &context{gpu: s.gpu, shared: s.block, handle: s.handle, common: s}
		err = mine.streams()
	}
	if err == nil {
		err = mine.reach(all)
	}
	if err != nil && mine != nil {
		return nil, errors.Join(err, mine.close())
	}
	return mine, err
}

// reach makes the memory of other ranks' GPUs accessible.
func (c *context) reach(all []*shared) error {
	own, err := cu.GetDevice(c.common.ordinal)
	if err != nil {
		return err
	}
	for _, s := range all {
		if s == nil || s == c.common {
			continue
		}
		other, err := cu.GetDevice(s.ordinal)
		if err != nil {
			return err
		}
		if can, err := own.CanAccessPeer(other); err != nil || can == 0 {
			return fmt.Errorf("cuda: GPU %d cannot reach the memory of GPU %d (%v); ranks add up over peer memory alone", c.common.ordinal, s.ordinal, err)
		}
		if err := s.handle.EnablePeerAccess(0); err != nil {
			return fmt.Errorf("cuda: reaching the memory of GPU %d from GPU %d: %w", s.ordinal, c.common.ordinal, err)
		}
	}
	return nil
}

// join makes the memory in which ranks meet, cleared before any of them comes.
func (e *engine) join(rank *device.Rank) error {
	if e.rank = rank; rank == nil {
		return nil
	}
	if rank.Ranks > kernel.MaxRanks {
		return fmt.Errorf("cuda: %d ranks; there may be %d", rank.Ranks, kernel.MaxRanks)
	}
	flags, err := e.allocate(kernel.FlagBytes, "flags")
	if err != nil {
		return err
	}
	if e.turns, err = e.allocate(kernel.TurnBytes, "turns"); err != nil {
		return err
	}
	if err := e.compute.Synchronize(); err != nil {
		return fmt.Errorf("cuda: clearing flags: %w", err)
	}
	e.flags = e.addresses(flags)
	return e.meetings.err
}

// together waits until all ranks have done what was enqueued: what may wait for the
// device itself, as loading and capturing do, must not while a kernel waits for
// another rank that is about to.
func (e *engine) together() error {
	if e.rank == nil {
		return nil
	}
	if err := e.compute.Synchronize(); err != nil {
		return fmt.Errorf("cuda: before ranks meet: %w", err)
	}
	_, err := e.rank.Meet(nil, func([]any) {})
	return err
}

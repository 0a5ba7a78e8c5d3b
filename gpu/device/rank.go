package device

import (
	"fmt"
	"slices"
	"time"
)

// Rank is a device's place among those that share a model; package gang makes
// them. The model it is given is its share.
type Rank struct {
	Index, Ranks int
	// Meet waits until every rank has called it, each with what it brings, calls do
	// with what all brought, at every rank, and returns when each of them is done.
	// All ranks meet in the same order. An error says that one is lost: nobody will
	// meet any more.
	Meet func(mine any, do func(all []any)) (waited time.Duration, err error)
}

// least is the smallest of what ranks say; of a device by itself what it says.
func (r *Rank) least(n int) (int, error) {
	if r == nil {
		return n, nil
	}
	_, err := r.Meet(n, func(all []any) {
		for _, other := range all {
			n = min(n, other.(int))
		}
	})
	return n, err
}

// Together describes devices that share a model as one. They have to agree in all
// that a step sees.
func Together(ranks []Info) (Info, error) {
	all := ranks[0]
	all.Ranks = len(ranks)
	for i, r := range ranks[1:] {
		if a, b := all.sizes(), r.sizes(); !slices.Equal(a, b) {
			return all, fmt.Errorf("rank %d has slots, page size, pages, lengths, snapshots %v; rank 0 has %v", i+1, b, a)
		}
		all.MaxDraws = min(all.MaxDraws, r.MaxDraws)
		all.WeightBytes += r.WeightBytes
		all.KVBytes += r.KVBytes
		all.StateBytes += r.StateBytes
		all.FreeBytes += r.FreeBytes
	}
	if all.Ranks > 1 {
		all.Hardware = fmt.Sprintf("%d × %s", all.Ranks, all.Hardware)
	}
	return all, nil
}

func (i *Info) sizes() []int {
	return []int{i.Slots, i.PageSize, i.NumPages, i.MaxSeqLen, i.MaxStepTokens, i.Vocab, i.Snapshots, i.Window}
}

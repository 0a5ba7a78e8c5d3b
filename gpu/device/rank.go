package device

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
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

// Meet has a rank meet the others, of which each brings what is of one type. An error says
// that another brought something else: it is at another place, which is a fault of the
// device's.
func Meet[T any](r *Rank, mine T, do func(all []T)) error {
	var elsewhere error
	_, err := r.Meet(mine, func(brought []any) {
		all := make([]T, len(brought))
		for i, other := range brought {
			v, is := other.(T)
			if !is && elsewhere == nil {
				elsewhere = fmt.Errorf("rank %d of %d meets with %T where rank %d has %T: ranks do not compute the same", i, r.Ranks, other, r.Index, mine)
			}
			all[i] = v
		}
		if elsewhere == nil {
			do(all)
		}
	})
	return cmp.Or(err, elsewhere)
}

// Same is an error if ranks do not bring the same: of is what.
func (r *Rank) Same(of string, mine []string) (err error) {
	if r == nil {
		return nil
	}
	met := Meet(r, mine, func(all [][]string) {
		for i, other := range all {
			if k := differs(mine, other); k >= 0 && err == nil {
				err = fmt.Errorf("%s: number %d is %s on rank %d and %s on rank %d", of, k, at(mine, k), r.Index, at(other, k), i)
			}
		}
	})
	return cmp.Or(met, err)
}

// differs is where lists do first; −1: nowhere.
func differs(a, b []string) int {
	for i := range max(len(a), len(b)) {
		if at(a, i) != at(b, i) {
			return i
		}
	}
	return -1
}

func at(list []string, i int) string {
	if i < len(list) {
		return strconv.Quote(list[i])
	}
	return "nothing"
}

// least is the smallest of what ranks say; of a device by itself what it says.
func (r *Rank) least(n int) (int, error) {
	if r == nil {
		return n, nil
	}
	err := Meet(r, n, func(all []int) { n = slices.Min(all) })
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

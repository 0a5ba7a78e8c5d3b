package model

import (
	"fmt"
	"maps"
)

// Share is what one of some ranks runs and holds of a model (program.Share): of
// each tensor the rows and columns that it has, read from the same mapped files.
// It is good for as long as the whole model is open. A rank's outputs and inputs
// end at the borders of blocks that share scales, where there are enough blocks.
func (m *Model) Share(rank, ranks int) (*Model, error) {
	if ranks == 1 {
		return m, nil
	}
	s, err := m.Config.Program.Share(rank, ranks, m.block())
	if err != nil {
		return nil, fmt.Errorf("the model cannot be shared by %d: %w", ranks, err)
	}
	own := *m
	own.release, own.Config.Program, own.of, own.ranks = nil, s.Program, m, ranks
	if m.Weights == nil {
		return &own, nil
	}
	own.Weights = NewWeights()
	own.Weights.caches = m.Weights.caches
	for _, w := range s.Weights {
		whole := m.Weights.slots[s.Whole[w]]
		if whole == nil {
			continue // tied
		}
		slot := &Slot{Weight: w}
		for i, p := range w.Parts {
			slot.Sources = append(slot.Sources, Source{Part: p, Tensor: whole.Sources[s.From[w][i]].Tensor})
		}
		own.Weights.add(slot)
	}
	return &own, nil
}

// HeldByAll is how a device holds the model; of a share, in encodings of their own only the
// slots that every rank holds so. Ranks run the same kernels, but the last one's inputs may
// end where no block does.
func (m *Model) HeldByAll(how func(*Model) (Held, error)) (Held, error) {
	held, err := how(m)
	for rank := range m.ranks {
		if err != nil || held.Own == nil {
			break
		}
		var share *Model
		var other Held
		if share, err = m.of.Share(rank, m.ranks); err == nil {
			other, err = how(share)
		}
		maps.DeleteFunc(held.Own, func(name string, e Encoding) bool { return other.Own[name] != e })
	}
	return held, err
}

// block is the largest number of inputs or outputs that share a scale.
func (m *Model) block() (n int) {
	if m.Weights == nil {
		return 0
	}
	for _, slot := range m.Weights.slots {
		for i := range slot.Sources {
			e := &slot.Sources[i].Tensor.Encoding
			n = max(n, e.Rows, e.Columns, types[e.Element].block)
		}
	}
	return n
}

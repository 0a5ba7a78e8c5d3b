//go:build cuda

package gpu

import (
	"fmt"

	"github.com/troupe-llm/troupe/gpu/cuda"
	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/gang"
)

// hasCUDA reports whether there is a GPU to open.
func hasCUDA() bool { return cuda.Usable() == nil }

// Idle says why a GPU that is there is not what "auto" takes, nil if it is or
// there is none.
func Idle() error {
	if _, err := cuda.Probe(); err != nil {
		return nil // none
	}
	return cuda.Usable()
}

func openCUDA(spec device.Spec) (device.Device, error) {
	d, err := cuda.Open(spec)
	if err != nil {
		return nil, err
	}
	return d, nil
}

// TimeSums times what GPUs add up that share a model of rows so wide, for each number
// of rows, the most last. They are named as for Open.
func TimeSums(name string, ranks, width int, rows []int) ([]cuda.SumTimes, error) {
	names, err := gang.Names(name, ranks)
	if err != nil {
		return nil, fmt.Errorf("gpu: %w", err)
	}
	if len(names) < 2 {
		return nil, fmt.Errorf("gpu: one GPU has nothing to add up; name several, or give their number")
	}
	var times []cuda.SumTimes
	err = gang.Run(len(names), func(rank *device.Rank) error {
		ordinal, err := cuda.Ordinal(names[rank.Index])
		if err != nil {
			return err
		}
		mine, err := cuda.TimeSums(rank, ordinal, width, rows)
		if rank.Index == 0 {
			times = mine
		}
		return err
	})
	return times, err
}

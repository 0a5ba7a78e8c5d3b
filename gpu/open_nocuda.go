//go:build !cuda

package gpu

import (
	"errors"
	"fmt"

	"github.com/troupe-llm/troupe/gpu/cuda"
	"github.com/troupe-llm/troupe/gpu/device"
)

func hasCUDA() bool { return false }

// Idle is nil: this build knows of no GPU that it could use.
func Idle() error { return nil }

func openCUDA(spec device.Spec) (device.Device, error) {
	return nil, fmt.Errorf(`gpu: device %q: this binary was built without CUDA; use "cpu"`, spec.Device)
}

// TimeSums has no GPUs to time.
func TimeSums(string, int, int, []int) ([]cuda.SumTimes, error) {
	return nil, errors.New("gpu: sums of GPUs are timed on GPUs, and this binary was built without CUDA")
}

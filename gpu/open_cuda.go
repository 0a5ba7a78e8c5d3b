//go:build cuda

package gpu

import (
	"github.com/troupe-llm/troupe/gpu/cuda"
	"github.com/troupe-llm/troupe/gpu/device"
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

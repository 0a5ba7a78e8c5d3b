//go:build cuda

package gpu

import (
	"github.com/troupe-llm/troupe/gpu/cuda"
	"github.com/troupe-llm/troupe/gpu/device"
)

// hasCUDA reports whether there is a GPU to open.
func hasCUDA() bool {
	_, err := cuda.Probe()
	return err == nil
}

func openCUDA(spec device.Spec) (device.Device, error) {
	d, err := cuda.Open(spec)
	if err != nil {
		return nil, err
	}
	return d, nil
}

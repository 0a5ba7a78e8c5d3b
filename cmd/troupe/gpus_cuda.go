//go:build cuda

package main

import "github.com/troupe-llm/troupe/gpu/cuda"

// gpus are those of this machine, none when none can be used.
func gpus() (list []gpuSize) {
	found, err := cuda.Probe()
	if err != nil {
		return nil
	}
	for _, g := range found {
		list = append(list, gpuSize{g.Bytes, g.Capability})
	}
	return list
}

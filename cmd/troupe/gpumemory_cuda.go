//go:build cuda

package main

import "github.com/troupe-llm/troupe/gpu/cuda"

// gpuMemory is how much each GPU has, none when none can be used.
func gpuMemory() (bytes []int64) {
	gpus, err := cuda.Probe()
	if err != nil {
		return nil
	}
	for _, g := range gpus {
		bytes = append(bytes, g.Bytes)
	}
	return bytes
}

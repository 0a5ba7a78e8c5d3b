//go:build !cuda

package main

// gpuMemory is how much each GPU has: this program can use none.
func gpuMemory() []int64 { return nil }

//go:build !cuda

package main

// gpus are those of this machine: this program can use none.
func gpus() []gpuSize { return nil }

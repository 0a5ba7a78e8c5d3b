// Package gpu opens devices by name. What a device is, package device says;
// what it runs, package batch.
package gpu

import (
	"fmt"
	"strings"

	"github.com/troupe-llm/troupe/gpu/cpu"
	"github.com/troupe-llm/troupe/gpu/cuda"
	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/gang"
	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/gpu/sim"
)

// Open opens the device that spec.Device names:
//
//	auto      a GPU, if there is one and CUDA's libraries are, else the processor; "" too
//	cpu       the processor, all cores
//	cuda:N    an NVIDIA GPU, in a binary built with the tag "cuda"; "cuda" is "cuda:0"
//	cuda:M,N  several, which share the model
//	sim:X     a simulated GPU, such as "sim:h200"; see package sim
//
// With spec.TP above 1 so many of them share the model: package gang makes one
// device of them.
func Open(spec device.Spec) (device.Device, error) {
	spec.Device = Resolve(spec.Device)
	kind, _, _ := strings.Cut(spec.Device, ":")
	if kind != "cuda" && spec.GraphRows != 0 {
		return nil, fmt.Errorf("gpu: graphs of %d rows are asked for; only a CUDA device has graphs", spec.GraphRows)
	}
	if err := model.CheckQuantization(spec.Quantization); err != nil {
		return nil, fmt.Errorf("gpu: %w", err)
	}
	if kind == "cpu" && spec.Quantization == model.FP8 {
		return nil, fmt.Errorf("gpu: quantization %q is asked for; a processor has no products of FP8, its weights may be %s or %s", model.FP8, model.Int8, model.Int4)
	}
	if kind != "cuda" && spec.Attention != "" && spec.Attention != "auto" {
		return nil, fmt.Errorf("gpu: attention by %q is asked for; only a CUDA device has a choice", spec.Attention)
	}
	names, err := gang.Names(spec.Device, spec.TP)
	if err != nil {
		return nil, fmt.Errorf("gpu: %w", err)
	}
	if len(names) == 1 {
		return open(spec)
	}
	g, err := gang.Open(spec, names, open)
	if err != nil {
		return nil, err
	}
	return g, nil
}

// Resolve is the device that a name stands for: of "auto" and "" the best there is.
func Resolve(name string) string {
	switch {
	case name != "" && name != "auto":
		return name
	case hasCUDA():
		return "cuda"
	}
	return "cpu"
}

// open opens one device.
func open(spec device.Spec) (device.Device, error) {
	kind, _, _ := strings.Cut(spec.Device, ":")
	switch {
	case spec.Device == "cpu":
		d, err := cpu.Open(spec)
		if err != nil {
			return nil, err
		}
		return d, nil
	case kind == "sim":
		d, err := sim.Open(spec)
		if err != nil {
			return nil, err
		}
		return d, nil
	case kind == "cuda":
		return openCUDA(spec)
	}
	return nil, fmt.Errorf(`gpu: unknown device %q; there are "auto", "cpu", "cuda" and "sim:h200"`, spec.Device)
}

// CacheTypes are those of keys and values that a kind of device keeps, "cpu" or
// "cuda", the usual first.
func CacheTypes(kind string) []model.DType {
	if kind == "cuda" {
		return []model.DType{model.BFloat16}
	}
	return cpu.CacheTypes
}

// Formats are the encodings of checkpoints that a kind of device takes, "cpu" or
// "cuda", whether or not there is one.
func Formats(kind string) device.Formats {
	if kind == "cuda" {
		return cuda.Formats
	}
	return cpu.Formats
}

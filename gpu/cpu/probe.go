package cpu

import (
	"fmt"
	"runtime"
)

// Facts is what this machine offers the CPU device.
type Facts struct {
	Processor string // as it names itself; "" when unknown
	Arch      string // "amd64"
	Cores     int    // that the device uses: GOMAXPROCS
	Features  []string
	// Kernels names the instruction set the device computes with, Why says
	// for what reason.
	Kernels, Why string
	// Memory in bytes: all of it, and what can be used without swapping.
	MemoryTotal, MemoryAvailable int64
}

// Probe looks at the machine. It opens nothing.
func Probe() Facts {
	k := choose()
	f := Facts{
		Processor: processor(), Arch: runtime.GOARCH, Cores: cores(),
		Features: features(), Kernels: k.name, Why: why(),
	}
	f.MemoryTotal, f.MemoryAvailable = memory()
	return f
}

// hardware is one line for a person.
func (f Facts) hardware(k *kernels, cores int) string {
	name := f.Processor
	if name == "" {
		name = f.Arch
	}
	if cores == 1 {
		return fmt.Sprintf("%s, 1 core, %s", name, k.name)
	}
	return fmt.Sprintf("%s, %d cores, %s", name, cores, k.name)
}

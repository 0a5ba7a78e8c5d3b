//go:build cuda

package cuda

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"unsafe"

	"github.com/troupe-llm/troupe/gpu/kernel"
	"gorgonia.org/cu"
)

// What a kernel's fault leaves usable: nothing in the process. Each is provoked
// in a process of its own, in one of two contexts on the same GPU; see
// ARCHITECTURE.md for what follows from it.
func TestFaults(t *testing.T) {
	require(t)
	for _, fault := range []string{"illegal address", "trap"} {
		t.Run(fault, func(t *testing.T) {
			cmd := exec.Command(os.Args[0], "-test.run=^TestFault$", "-test.v")
			cmd.Env = append(os.Environ(), "TROUPE_FAULT="+fault)
			out, err := cmd.CombinedOutput()
			t.Logf("%s", out)
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestFault is the process that TestFaults runs.
func TestFault(t *testing.T) {
	body := map[string]string{"illegal address": "*(volatile int*)16 = 1;", "trap": "asm volatile(\"trap;\");"}[os.Getenv("TROUPE_FAULT")]
	if body == "" {
		t.Skip("TestFaults runs this")
	}
	runtime.LockOSThread()
	// works says whether a context computes.
	works := func(c *context) error {
		if err := c.attach(); err != nil {
			return err
		}
		p, err := c.allocate(1<<20, "a test")
		if err != nil {
			return err
		}
		return errors.Join(settled(), cu.MemFree(cu.DevicePtr(p)))
	}
	other, err := openContext(0)
	if err != nil {
		t.Fatal(err)
	}
	ill, err := openContext(0)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(works(other), works(ill)); err != nil {
		t.Fatal(err)
	}
	source := "extern \"C\" __global__ void fault(long long unused) { " + body + " }"
	code, _, err := Compile(kernel.Program{Name: "fault.cu", Text: source}, ill.gpu.architecture())
	if err != nil {
		t.Fatal(err)
	}
	module, err := cu.LoadData(string(code))
	if err != nil {
		t.Fatal(err)
	}
	f, err := module.Function("fault")
	if err != nil {
		t.Fatal(err)
	}
	var unused int64
	launch := kernel.Launch{Kernel: &kernel.Kernel{Name: "fault"}, Grid: [2]int{1, 1}, Block: 1, Args: unsafe.Pointer(&unused)}
	if err := launchKernel(f, launch, 0, ill.compute, false); err != nil {
		t.Fatal(err)
	}
	err = ill.compute.Synchronize()
	t.Logf("the kernel: %v", err)
	if err == nil {
		t.Fatal("no fault")
	}
	same, beside := works(ill), works(other)
	t.Logf("the same context: %v; the other: %v", same, beside)
	t.Logf("closing them: %v; %v", ill.close(), other.close())
	again, err := openContext(0)
	t.Logf("another context: %v", err)
	if same == nil || beside == nil || err == nil {
		t.Error("something in the process outlived the fault: serving could go on without a restart")
		if err == nil {
			t.Logf("it computes: %v", works(again))
		}
	}
}

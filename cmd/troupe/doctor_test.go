package main

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/troupe-llm/troupe/gpu/cpu"
)

// machine makes a file system; each file is "path=content".
func machine(files ...string) fs.FS {
	m := fstest.MapFS{}
	for _, f := range files {
		name, content, _ := strings.Cut(f, "=")
		m[name] = &fstest.MapFile{Data: []byte(content)}
	}
	return m
}

func TestDoctorFindsWhatKeepsCUDAFromUse(t *testing.T) {
	gpu := []string{
		"sys/bus/pci/devices/0000:01:00.0/vendor=0x10de\n",
		"sys/bus/pci/devices/0000:01:00.0/class=0x030200\n",
		"sys/bus/pci/devices/0000:01:00.0/device=0x2335\n",
		"sys/bus/pci/devices/0000:02:00.0/vendor=0x8086\n",
		"sys/bus/pci/devices/0000:02:00.0/class=0x030000\n",
	}
	driver := append(gpu[:len(gpu):len(gpu)],
		"proc/driver/nvidia/version=NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.95.05  Tue Sep\n",
		"proc/driver/nvidia/gpus/0000:01:00.0/information=Model: \t\t NVIDIA H200\nIRQ: 5\n")
	files := append(driver[:len(driver):len(driver)], "dev/nvidia0=", "dev/nvidiactl=")
	lacks := errors.New("cuda: NVRTC cannot be used")
	for _, c := range []struct {
		name  string
		files []string
		tags  string
		err   error  // what CUDA says, where all the rest is there
		why   string // "" when CUDA can be used
	}{
		{"nothing", nil, "cuda", lacks, "no NVIDIA GPU was found"},
		{"card", gpu, "cuda", lacks, "driver is not loaded"},
		{"driver", driver, "cuda", lacks, "/dev/nvidia0"},
		{"device files", files, "cuda", lacks, "NVRTC cannot be used"},
		{"all, other build", files, "invariants", lacks, "built without CUDA"},
		{"all", files, "invariants,cuda", nil, ""},
	} {
		f := examine(machine(c.files...), Build{Tags: c.tags}, cpu.Facts{Kernels: "portable"}, CUDA{usable: c.err})
		cuda, cpu := f.Devices[0], f.Devices[1]
		if usable := c.why == ""; cuda.Usable != usable || cuda.Auto != usable || cpu.Auto == usable || !cpu.Usable {
			t.Errorf("%s: %+v", c.name, f.Devices)
		}
		if !strings.Contains(cuda.Why, c.why) {
			t.Errorf("%s: %q, want %q", c.name, cuda.Why, c.why)
		}
	}
	f := examine(machine(files...), Build{}, cpu.Facts{}, CUDA{})
	if len(f.GPUs) != 1 || f.GPUs[0] != (GPU{"NVIDIA H200", "0000:01:00.0", true}) {
		t.Errorf("GPUs %+v", f.GPUs)
	}
	if f.CUDA.Driver != "580.95.05" || len(f.CUDA.Devices) != 1 {
		t.Errorf("CUDA %+v", f.CUDA)
	}
}

func TestDoctorSpeaks(t *testing.T) {
	status, stdout, stderr := invoke(t, "", "doctor")
	if status != 0 || stderr != "" || !strings.Contains(stdout, "is what --device auto takes") || !strings.Contains(stdout, "memory") {
		t.Errorf("status %d, %q\n%s", status, stderr, stdout)
	}
	if status, stdout, _ := invoke(t, "", "doctor", "--json"); status != 0 || !strings.Contains(stdout, `"devices": [`) {
		t.Errorf("status %d\n%s", status, stdout)
	}
}

// How several GPUs would share a model is said where there are several.
func TestDoctorTellsPeers(t *testing.T) {
	for _, peers := range []string{"", "2 GPUs reach each other's memory, over which --tp adds up"} {
		var b strings.Builder
		if err := examine(machine(), Build{}, cpu.Facts{}, CUDA{Peers: peers}).print(&b); err != nil {
			t.Fatal(err)
		}
		if said := strings.Contains(b.String(), "  peers     "+peers+"\n"); said != (peers != "") {
			t.Errorf("%q:\n%s", peers, b.String())
		}
	}
}

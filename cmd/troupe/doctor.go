package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/troupe-llm/troupe/gpu"
	"github.com/troupe-llm/troupe/gpu/cpu"
	"github.com/troupe-llm/troupe/gpu/cuda"
	"github.com/troupe-llm/troupe/gpu/model"
)

// Findings are what doctor found on this machine.
type Findings struct {
	Build     Build          `json:"build"`
	Processor Processor      `json:"processor"`
	GPUs      []GPU          `json:"gpus"`
	CUDA      CUDA           `json:"cuda"`
	Devices   []DeviceChoice `json:"devices"`
}

// Processor is what the CPU device would work with.
type Processor struct {
	Name            string   `json:"name"` // "" when it does not say
	Arch            string   `json:"arch"`
	Cores           int      `json:"cores"` // that would be used
	Features        []string `json:"features"`
	Kernels         string   `json:"kernels"` // the instructions it would compute with
	Why             string   `json:"why"`     // those
	MemoryTotal     int64    `json:"memory_total_bytes"`
	MemoryAvailable int64    `json:"memory_available_bytes"`
}

// GPU is a graphics processor the system knows of.
type GPU struct {
	Name   string `json:"name"`
	Bus    string `json:"bus"`    // its place on PCI
	Driver bool   `json:"driver"` // NVIDIA's driver has taken it
}

// CUDA is what a build with CUDA needs to run.
type CUDA struct {
	Built     bool      `json:"built"`            // this program was built with it
	Driver    string    `json:"driver,omitempty"` // the kernel driver's version
	Devices   []string  `json:"devices"`          // device files
	Libraries []Library `json:"libraries"`
	Looked    []string  `json:"looked"`          // where libraries were looked for
	Peers     string    `json:"peers,omitempty"` // how several GPUs would share a model
	usable    error     // what the build itself says, nil when it can use a GPU
}

// Library is one that is opened at run time.
type Library struct {
	Name    string `json:"name"`
	Path    string `json:"path,omitempty"`
	Version string `json:"version,omitempty"` // "" when it was not opened
	Problem string `json:"problem,omitempty"`
}

// DeviceChoice is a value for --device: whether it can be used, and why.
type DeviceChoice struct {
	Name   string `json:"name"`
	Usable bool   `json:"usable"`
	Auto   bool   `json:"auto"` // what --device auto takes
	Why    string `json:"why"`
	// Formats are the types of weights that it takes, and as what it holds them.
	Formats string `json:"formats"`
	// CacheTypes are those of keys and values that it keeps, the usual first.
	CacheTypes []model.DType `json:"kv_dtypes"`
}

func newDoctor() *cobra.Command {
	var options struct {
		JSON bool `flag:"json" help:"print JSON"`
	}
	cmd := &cobra.Command{
		Use:   "doctor [flags]",
		Short: "Say what this machine has, what would be used, and why",
		Args:  noArgs,
	}
	found := bind(cmd, section{"Output", &options})
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := found.err(); err != nil {
			return err
		}
		f := examine(os.DirFS("/"), thisBuild(), cpu.Probe(), cudaHere())
		if options.JSON {
			return printJSON(cmd.OutOrStdout(), f)
		}
		return f.print(cmd.OutOrStdout())
	}
	return cmd
}

// examine looks at the machine whose file system this is. Only Linux tells
// about its graphics processors this way.
func examine(root fs.FS, build Build, processor cpu.Facts, libraries CUDA) *Findings {
	f := &Findings{Build: build, Processor: describe(processor), GPUs: findGPUs(root), CUDA: libraries}
	f.CUDA.Driver, f.CUDA.Devices = findDriver(root), findDevices(root)
	f.CUDA.Built = slices.Contains(strings.Split(build.Tags, ","), "cuda")
	f.Devices = []DeviceChoice{
		{Name: "cuda", Usable: f.whyNoCUDA() == "", Why: f.whyNoCUDA()},
		{Name: "cpu", Usable: true, Why: processor.Kernels + " kernels: " + processor.Why},
	}
	if cuda := &f.Devices[0]; cuda.Usable {
		cuda.Why = fmt.Sprintf("driver %s, %d device files", f.CUDA.Driver, len(f.CUDA.Devices))
	}
	for i := range f.Devices {
		f.Devices[i].Formats = gpu.Formats(f.Devices[i].Name).String()
		f.Devices[i].CacheTypes = gpu.CacheTypes(f.Devices[i].Name)
	}
	for i := range f.Devices {
		if f.Devices[i].Usable {
			f.Devices[i].Auto = true
			break
		}
	}
	return f
}

func describe(f cpu.Facts) Processor {
	return Processor{
		Name: f.Processor, Arch: f.Arch, Cores: f.Cores, Features: append([]string{}, f.Features...),
		Kernels: f.Kernels, Why: f.Why, MemoryTotal: f.MemoryTotal, MemoryAvailable: f.MemoryAvailable,
	}
}

// whyNoCUDA is the first thing that keeps CUDA from being used, and what to do.
func (f *Findings) whyNoCUDA() string {
	switch c := &f.CUDA; {
	case len(f.GPUs) == 0 && len(c.Devices) == 0:
		return "no NVIDIA GPU was found"
	case c.Driver == "":
		return "there is a GPU, but NVIDIA's driver is not loaded"
	case len(c.Devices) == 0:
		return "the driver is loaded, but there is no /dev/nvidia0: pass the devices into this container"
	case !c.Built:
		return "this program was built without CUDA (build tag cuda)"
	case c.usable != nil:
		return brief(c.usable)
	}
	return ""
}

// findGPUs lists the display controllers of NVIDIA on the PCI bus.
func findGPUs(root fs.FS) []GPU {
	const nvidia, display = "0x10de", "0x03"
	gpus := []GPU{}
	devices, _ := fs.Glob(root, "sys/bus/pci/devices/*") // the pattern is good
	for _, dir := range devices {
		if readLine(root, dir+"/vendor") != nvidia || !strings.HasPrefix(readLine(root, dir+"/class"), display) {
			continue
		}
		bus := dir[strings.LastIndexByte(dir, '/')+1:]
		g := GPU{Name: "NVIDIA " + readLine(root, dir+"/device"), Bus: bus}
		for _, line := range strings.Split(readAll(root, "proc/driver/nvidia/gpus/"+bus+"/information"), "\n") {
			if model, is := strings.CutPrefix(line, "Model:"); is {
				g.Name, g.Driver = strings.TrimSpace(model), true
			}
		}
		gpus = append(gpus, g)
	}
	return gpus
}

// findDriver is the version of NVIDIA's kernel driver, "" without one.
func findDriver(root fs.FS) string {
	for _, line := range strings.Split(readAll(root, "proc/driver/nvidia/version"), "\n") {
		if rest, is := strings.CutPrefix(line, "NVRM version:"); is {
			return versionIn(rest)
		}
	}
	return ""
}

// findDevices lists the device files of GPUs.
func findDevices(root fs.FS) []string {
	list := []string{}
	files, _ := fs.Glob(root, "dev/nvidia[0-9]*") // the pattern is good
	for _, name := range files {
		list = append(list, "/"+name)
	}
	return list
}

// cudaHere is what is known of CUDA's libraries on this machine: a build that uses
// them opens them.
func cudaHere() CUDA {
	c := CUDA{Looked: cuda.Looked(), usable: cuda.Usable(), Peers: cuda.Peers()}
	for _, found := range cuda.Libraries() {
		l := Library{Name: found.Name, Path: found.Path, Version: found.Version}
		if found.Err != nil {
			l.Problem = brief(found.Err)
		}
		c.Libraries = append(c.Libraries, l)
	}
	return c
}

// brief is an error of CUDA's libraries without the places, which are listed.
func brief(err error) string {
	if missing := new(cuda.NotFound); errors.As(err, &missing) {
		return missing.Brief()
	}
	return strings.TrimPrefix(err.Error(), "cuda: ")
}

// versionIn is the first word that is a number with dots, "" if there is none.
func versionIn(text string) string {
	for _, word := range strings.Fields(text) {
		if strings.Contains(word, ".") && strings.Trim(word, "0123456789.") == "" {
			return word
		}
	}
	return ""
}

// readAll is a file's text, "" when it cannot be read.
func readAll(root fs.FS, name string) string {
	data, err := fs.ReadFile(root, name)
	if err != nil {
		return "" // absence is the finding
	}
	return string(data)
}

func readLine(root fs.FS, name string) string { return strings.TrimSpace(readAll(root, name)) }

func (f *Findings) print(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n", f.Build)
	p := &f.Processor
	name := p.Name
	if name == "" {
		name = "unknown"
	}
	fmt.Fprintf(&b, "Processor   %s, %d cores used\n", name, p.Cores)
	fmt.Fprintf(&b, "  features  %s\n", orNone(p.Features))
	fmt.Fprintf(&b, "  memory    %s, %s available\n", gib(p.MemoryTotal), gib(p.MemoryAvailable))
	if len(f.GPUs) == 0 {
		fmt.Fprintf(&b, "GPU         none found\n")
	}
	for _, g := range f.GPUs {
		fmt.Fprintf(&b, "GPU         %s at %s\n", g.Name, g.Bus)
	}
	driver := f.CUDA.Driver
	if driver == "" {
		driver = "not loaded"
	}
	fmt.Fprintf(&b, "CUDA driver %s\n", driver)
	fmt.Fprintf(&b, "  devices   %s\n", orNone(f.CUDA.Devices))
	for _, l := range f.CUDA.Libraries {
		fmt.Fprintf(&b, "  %-9s %s\n", l.Name, l)
	}
	if f.CUDA.Peers != "" {
		fmt.Fprintf(&b, "  peers     %s\n", f.CUDA.Peers)
	}
	fmt.Fprintf(&b, "  looked in %s\n\n", strings.Join(f.CUDA.Looked, "\n            "))
	for _, d := range f.Devices {
		mark, verb := " ", "cannot be used"
		if d.Usable {
			verb = "can be used"
		}
		if d.Auto {
			mark, verb = "*", "is what --device auto takes"
		}
		fmt.Fprintf(&b, "%s --device %-5s %s: %s\n                   weights in %s\n                   keys and values in %s\n",
			mark, d.Name, verb, d.Why, d.Formats, strings.Trim(fmt.Sprint(d.CacheTypes), "[]"))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (l Library) String() string {
	switch {
	case l.Problem != "":
		return strings.TrimPrefix(l.Problem, l.Name+" ")
	case l.Version == "":
		return l.Path
	}
	return l.Path + ", version " + l.Version
}

func orNone(words []string) string {
	if len(words) == 0 {
		return "none"
	}
	return strings.Join(words, " ")
}

func gib(bytes int64) string {
	if bytes <= 0 {
		return "unknown"
	}
	return fmt.Sprintf("%.1f GiB", float64(bytes)/(1<<30))
}

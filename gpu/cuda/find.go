package cuda

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Library is one of CUDA's that is opened at run time.
type Library struct {
	Name   string
	Files  []string // names of its file, best first
	From   string   // what brings it
	beside string   // pattern of files in its directory that it opens by name
}

var (
	driverLibrary = Library{Name: "libcuda", Files: []string{"libcuda.so.1"}, From: "NVIDIA's driver"}
	nvrtcLibrary  = Library{
		Name: "NVRTC", Files: []string{"libnvrtc.so.13", "libnvrtc.so.12"},
		From: "the CUDA toolkit, or pip install nvidia-cuda-nvrtc", beside: "libnvrtc-builtins.so.*",
	}
	blasLibrary = Library{
		Name: "cuBLASLt", Files: []string{"libcublasLt.so.13", "libcublasLt.so.12"},
		From: "the CUDA toolkit, or pip install nvidia-cublas",
	}
)

// Found is a library and where it is, or why it cannot be used.
type Found struct {
	Library
	Path    string
	Version string // "" when it was not opened
	Err     error
}

// Search is where libraries are looked for: by the system's loader, then in the
// directories of Places.
type Search struct {
	LoaderPath string   // LD_LIBRARY_PATH
	Places     []string // patterns of directories, in order
	root       fs.FS
	newest     int // major version that the driver can run; 0 is any
}

// here looks on this machine.
func here() Search { return NewSearch(os.Getenv, os.DirFS("/")) }

// NewSearch takes places from an environment: a toolkit's, pip's packages of the
// Pythons that are active, on PATH, or the user's, and the usual ones.
func NewSearch(env func(string) string, root fs.FS) Search {
	s := Search{LoaderPath: env("LD_LIBRARY_PATH"), root: root}
	add := func(place string) {
		if path.IsAbs(place) && !slices.Contains(s.Places, place) {
			s.Places = append(s.Places, place)
		}
	}
	for _, toolkit := range []string{env("CUDA_HOME"), env("CUDA_PATH")} {
		if toolkit != "" {
			add(path.Join(toolkit, "lib64"))
		}
	}
	for _, prefix := range pythons(env) {
		if python := path.Join(prefix, "lib/python3*"); len(s.glob(python)) > 0 {
			add(path.Join(python, "*-packages/nvidia/*/lib"))
		}
	}
	for _, place := range []string{"/usr/local/cuda/lib64", "/usr/local/cuda-*/lib64", "/opt/cuda/lib64", "/usr/local/nvidia/lib64", "/usr/lib/wsl/lib"} {
		add(place)
	}
	return s
}

// pythons are the directories that Pythons may be installed under.
func pythons(env func(string) string) []string {
	list := []string{env("VIRTUAL_ENV"), env("CONDA_PREFIX")}
	for _, dir := range filepath.SplitList(env("PATH")) {
		if prefix, name := path.Split(path.Clean(dir)); name == "bin" {
			list = append(list, prefix)
		}
	}
	if home := env("HOME"); home != "" {
		list = append(list, path.Join(home, ".local"), path.Join(home, ".pyenv/versions/*"))
	}
	return append(list, "/usr/local", "/usr")
}

// candidates are the files to open for a library: names, which the system's loader
// looks for, then paths of files that are there.
func (s Search) candidates(l Library) []string {
	files := s.files(l)
	list := slices.Clone(files)
	for _, file := range files {
		for _, place := range s.Places {
			list = append(list, s.glob(path.Join(place, file))...)
		}
	}
	return list
}

// files are the names of a library's file that are not too new for the driver.
func (s Search) files(l Library) []string {
	return slices.DeleteFunc(slices.Clone(l.Files), func(file string) bool {
		return s.newest > 0 && majorIn(file) > s.newest
	})
}

// majorIn is the version in a library's name: 13 of "libnvrtc.so.13".
func majorIn(file string) int {
	_, version, _ := strings.Cut(file, ".so.")
	n, _ := strconv.Atoi(version) // 0 of none
	return n
}

// glob lists files, of more than one version the latest first.
func (s Search) glob(pattern string) []string {
	files, _ := fs.Glob(s.root, strings.TrimPrefix(pattern, "/")) // one that is bad matches nothing
	slices.Reverse(files)
	for i := range files {
		files[i] = "/" + files[i]
	}
	return files
}

// loaderDirs is where loaders of Linux distributions look by themselves.
var loaderDirs = []string{
	"/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib", "/lib64", "/lib", "/usr/local/lib",
}

// Find looks for the files of all libraries, and opens none.
func (s Search) Find() []Found {
	var list []Found
	for _, l := range []Library{driverLibrary, nvrtcLibrary, blasLibrary} {
		f := Found{Library: l}
		for _, dir := range slices.Concat(filepath.SplitList(s.LoaderPath), loaderDirs, s.Places) {
			for _, file := range l.Files {
				if files := s.glob(path.Join(dir, file)); len(files) > 0 && f.Path == "" {
					f.Path = files[0]
				}
			}
		}
		if f.Path == "" {
			f.Err = &NotFound{l, s}
		}
		list = append(list, f)
	}
	return list
}

// NotFound is the error of a library that is in none of the places.
type NotFound struct {
	Library
	Search
}

// Brief leaves out the places.
func (e *NotFound) Brief() string {
	return fmt.Sprintf("%s was not found; %s comes with %s", e.Name, strings.Join(e.files(e.Library), " or "), e.From)
}

func (e *NotFound) Error() string {
	return fmt.Sprintf("%s was not found: %s is neither where the system's loader looks (%s) nor in %s; it comes with %s",
		e.Name, strings.Join(e.files(e.Library), " or "), e.loader(), strings.Join(e.Places, ", "), e.From)
}

// loader says where the system's loader looks.
func (s Search) loader() string {
	if s.LoaderPath == "" {
		return "LD_LIBRARY_PATH is not set"
	}
	return "LD_LIBRARY_PATH is " + s.LoaderPath
}

// Looked lists where libraries are looked for on this machine.
func Looked() []string {
	s := here()
	return append([]string{"what the system's loader knows (" + s.loader() + ")"}, s.Places...)
}

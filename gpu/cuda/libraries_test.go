//go:build cuda

package cuda

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gorgonia.org/cu"
)

// A library that is missing, broken or another is an error, and what was bound
// before stays as it was.
func TestLibrariesThatCannotBeUsed(t *testing.T) {
	dir := t.TempDir()
	broken := filepath.Join(dir, "libbroken.so")
	if err := os.WriteFile(broken, []byte("no library"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, file string
		want       string
	}{
		{"absent", "libtroupe-absent.so.7", "it was not found: libtroupe-absent.so.7 is neither where"},
		{"broken", "libbroken.so", "it cannot be used: " + broken},
		{"another", "libc.so.6", "lacks cublasLtCreate"},
	} {
		l := &library{
			Library: Library{Name: "it", Files: []string{c.file}}, functions: libblas.functions, whole: true,
			version: func() string { t.Errorf("%s: asked for its version", c.name); return "" },
			find:    func() Search { return Search{Places: []string{dir}, root: os.DirFS("/")} },
		}
		err := need(l)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v; want an error with %q", c.name, err, c.want)
		}
		if again := need(l); !errors.Is(again, l.found.Err) {
			t.Errorf("%s: %v the first time, then %v", c.name, err, again)
		}
	}
}

// What is called without its library returns an error, whoever calls it.
func TestCallsWithoutTheDriver(t *testing.T) {
	if libcuda.opened().Err == nil {
		t.Skip("there is a driver")
	}
	if n, err := cu.NumDevices(); err == nil {
		t.Errorf("%d devices", n)
	}
	if _, _, err := freeBytes(); err == nil {
		t.Error("memory of no device")
	}
	missing := new(NotFound)
	if _, err := Probe(); !errors.As(err, &missing) || !slices.Contains(missing.Files, "libcuda.so.1") {
		t.Errorf("%v; want that libcuda.so.1 was not found", err)
	}
	if err := Usable(); !errors.As(err, &missing) {
		t.Errorf("%v; want that libcuda.so.1 was not found", err)
	}
}

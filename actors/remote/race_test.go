//go:build race && unix

package remote

import (
	"os"
	"strings"
	"syscall"
	"testing"
)

// races are those of libraries, by function.
const races = "testdata/races.txt"

// The detector reads what to pass over when a process starts: so this one starts again, told of it.
func init() {
	const name = "GORACE"
	given := os.Getenv(name)
	self, err := os.Executable()
	if _, missing := os.Stat(races); err != nil || missing != nil || strings.Contains(given, races) {
		return
	}
	_ = os.Setenv(name, strings.TrimSpace(given+" suppressions="+races))
	panic(syscall.Exec(self, os.Args, os.Environ()))
}

// No race of this program's own is passed over, and each that is has its reason in life.go.
func TestRacesOfLibraries(t *testing.T) {
	list, err := os.ReadFile(races)
	if err != nil {
		t.Fatal(err)
	}
	why, err := os.ReadFile("life.go")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(os.Getenv("GORACE"), races) {
		t.Error("the detector has not been told")
	}
	for line := range strings.Lines(string(list)) {
		function, is := strings.CutPrefix(strings.TrimSpace(line), "race:")
		if !is {
			continue
		}
		of := function[strings.LastIndex(function, "/")+1:]
		if strings.Contains(function, "troupe") || strings.ContainsRune(function, '*') && !strings.Contains(function, "(*") || !strings.Contains(string(why), of) {
			t.Errorf("%s is passed over, and life.go does not say why", function)
		}
	}
}

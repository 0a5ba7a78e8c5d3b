package main

import (
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// A small run of the load: every token is checked, and nothing is left of the
// clients when they have vanished.
func TestBenchStreams(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the load needs Linux")
	}
	name, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	profile := filepath.Join(t.TempDir(), "cpu.pprof")
	out, err := exec.Command(name, "bench", "streams", "--streams", "40", "--rate", "200", "--tokens", "30", "--for", "200ms", "--profile", profile).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"none lost, doubled or out of order", "µs a token", "no goroutine after"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if found, _ := filepath.Glob(profile); len(found) == 0 {
		t.Error("no profile was written")
	}
}

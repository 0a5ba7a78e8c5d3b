package main

import (
	"bufio"
	"io"
	"os"
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
	profile, json := filepath.Join(t.TempDir(), "cpu.pprof"), filepath.Join(t.TempDir(), "out.json")
	out, err := exec.Command(name, "bench", "streams", "--streams", "40", "--rate", "200", "--tokens", "30", "--for", "200ms", "--profile", profile, "--json", json).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"none lost, doubled or out of order", "µs a token", "no goroutine after"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	r, err := openReport(json)
	if err != nil {
		t.Fatal(err)
	}
	if r.Kind != "streams" || r.Streams.Streams != 40 || r.TotalOutputTokens == 0 || r.ITL.P50 <= 0 || r.Streams.ServerUserUS < 0 {
		t.Errorf("%+v %+v", r, r.Streams)
	}
	if found, _ := filepath.Glob(profile); len(found) == 0 {
		t.Error("no profile was written")
	}
}

// Ctrl-C ends it and says so, not what broke then.
func TestBenchStreamsInterrupted(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the load needs Linux")
	}
	name, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(name, "bench", "streams", "--streams", "10", "--rate", "50", "--tokens", "30")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(stderr)
	if line, err := lines.ReadString('\n'); err != nil || !strings.Contains(line, "requests open") {
		t.Errorf("%q, %v", line, err)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(lines)
	if err != nil || string(rest) != "troupe: interrupted\n" {
		t.Errorf("%q, %v", rest, err)
	}
	if _ = cmd.Wait(); cmd.ProcessState.ExitCode() != 130 {
		t.Errorf("%v, want status 130", cmd.ProcessState)
	}
}

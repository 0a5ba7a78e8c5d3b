package main

import (
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/rs/zerolog"
)

// Hosts are those that a program prints, which is told this one's address; what else it prints is passed over.
func TestJoinCommand(t *testing.T) {
	if _, err := exec.LookPath("printf"); err != nil {
		t.Skip(err)
	}
	logs := new(strings.Builder)
	j := &joiner{args: []string{"printf", `%s\n`, "10.0.0.2:7946", "nonsense", "[fd00::2]:7946", "10.0.0.2:7946", "10.0.0.1:7946"}, stderr: io.Discard, log: zerolog.New(logs), known: map[string]struct{}{}}
	if err := j.run(); err != nil {
		t.Fatal(err)
	}
	if got, want := slices.Sorted(slices.Values(j.hosts())), []string{"10.0.0.1:7946", "10.0.0.2:7946", "[fd00::2]:7946"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if !strings.Contains(logs.String(), "nonsense") {
		t.Errorf("of the line that is no address it says %q", logs)
	}
	j.args = []string{"no-such-program", "10.0.0.1:7946"}
	if err := j.run(); err == nil || !strings.Contains(err.Error(), "no-such-program") {
		t.Errorf("of a program that is not there: %v", err)
	}
}

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A measurement writes its page, and bench report makes one of several
// measurements.
func TestReportsBecomePages(t *testing.T) {
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	for _, overlap := range []string{"true", "false"} {
		status, _, stderr := invoke(t, "", "bench", "virtual", "--num-seqs=20", "--input-len=8:16", "--output-len=8:16", "--overlap="+overlap,
			"--json", file("overlap-"+overlap+".json"), "--html", file(overlap+".html"))
		if status != 0 {
			t.Fatalf("status %d: %s", status, stderr)
		}
	}
	status, _, stderr := invoke(t, "", "bench", "report", file("overlap-true.json"), file("overlap-false.json"), "--html", file("both.html"))
	if status != 0 {
		t.Fatalf("status %d: %s", status, stderr)
	}
	for name, want := range map[string]string{
		"true.html": "Virtual benchmark</h1>", "both.html": "<b>B</b> overlap-false",
	} {
		page, err := os.ReadFile(file(name))
		if err != nil || !strings.Contains(string(page), want) {
			t.Errorf("%s: %v, want %q in it", name, err, want)
		}
	}
	if err := os.WriteFile(file("other.json"), []byte(`{"a": 1}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if status, _, stderr := invoke(t, "", "bench", "report", file("other.json")); status != 1 || !strings.Contains(stderr, "other.json: this is no report") {
		t.Errorf("of another file: status %d, %s", status, stderr)
	}
}

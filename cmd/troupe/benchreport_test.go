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

// Scales of a trace that were played one by one become one report, whose page draws them
// as a curve.
func TestReportsBecomeOne(t *testing.T) {
	dir, trace := t.TempDir(), burst(t, 40)
	file := func(name string) string { return filepath.Join(dir, name) }
	for _, scale := range []string{"2", "0.5"} {
		status, _, stderr := invoke(t, "", "bench", "virtual", "--model", "qwen3-0.6b", "--trace-file", trace, "--scale", scale, "--json", file(scale+".json"))
		if status != 0 {
			t.Fatal(stderr)
		}
	}
	if status, _, stderr := invoke(t, "", "bench", "report", file("0.5.json"), file("2.json"), "--json", file("both.json"), "--html", file("apart.html")); status != 0 {
		t.Fatal(stderr)
	}
	text, err := os.ReadFile(file("both.json"))
	if err != nil {
		t.Fatal(err)
	}
	if r := readReport(t, string(text)); len(r.Runs) != 2 || r.Runs[0].Label != "scale 0.5" || r.Runs[1].Label != "scale 2" || r.Requests != 40 {
		t.Errorf("together they are %d runs, of %d requests", len(r.Runs), r.Requests)
	}
	if status, page, stderr := invoke(t, "", "bench", "report", file("both.json"), "--html", "-"); status != 0 || !strings.Contains(page, "Scale against latency") {
		t.Errorf("status %d: %s; no curve is drawn", status, stderr)
	}
	if status, _, stderr := invoke(t, "", "bench", "report", file("2.json"), "--html", "-", "--json", "-"); status != 2 || !strings.Contains(stderr, "standard output takes one") {
		t.Errorf("both to standard output: status %d, %s", status, stderr)
	}
}

package main

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestBenchClusterComparesPolicies(t *testing.T) {
	trace := burst(t, 40)
	report := filepath.Join(t.TempDir(), "out.json")
	status, out, errs := invoke(t, "", "bench", "cluster", "--model", "qwen3-0.6b", "--num-pages", "2048", "--trace-file", trace, "--trace-file", trace, "--num-requests", "120",
		"--engines", "2,3", "--policies", "prefix,pooled", "--rate", "10", "--window", "1s", "--engine-dies", "1s", "--json", report)
	if status != 0 {
		t.Fatal(errs)
	}
	for _, want := range []string{"prefix        2       120", "pooled        1       120", "prefix, 3 engines\n", "digests, kB/s"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	status, page, errs := invoke(t, "", "bench", "report", report, "--html", "-")
	if status != 0 || !strings.Contains(page, "prefix, 2 engines") {
		t.Errorf("status %d: %s", status, errs)
	}
}

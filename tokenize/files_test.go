package tokenize

import (
	"os"
	"path/filepath"
	"testing"
)

// TestWriteTexts writes the benchmarks' texts to TROUPE_WRITE_TEXTS, for other
// tokenizers to be timed on.
func TestWriteTexts(t *testing.T) {
	dir := os.Getenv("TROUPE_WRITE_TEXTS")
	if dir == "" {
		t.Skip("TROUPE_WRITE_TEXTS is not set")
	}
	for _, c := range benchTexts(t) {
		if err := os.WriteFile(filepath.Join(dir, c.name), []byte(c.text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// BenchmarkFiles encodes each file in TROUPE_TEXTS by itself: the first time,
// by a tokenizer that has encoded nothing before, and again. The best of all
// rounds counts: other work on the machine only ever slows one down.
func BenchmarkFiles(b *testing.B) {
	dir := os.Getenv("TROUPE_TEXTS")
	if dir == "" {
		b.Skip("TROUPE_TEXTS is not set")
	}
	tok := qwen(b)
	tok.Encode("é", false) // makes Unicode tables
	paths, _ := filepath.Glob(filepath.Join(dir, "*"))
	for _, p := range paths {
		text, err := os.ReadFile(p)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(filepath.Base(p), func(b *testing.B) {
			dst := make([]int32, 0, 2*len(text))
			rate := func() float64 {
				cpu := cpuTime()
				dst = tok.AppendEncode(dst[:0], string(text), false)
				return float64(len(text)) / 1e6 / (cpuTime() - cpu).Seconds()
			}
			first, again := 0.0, 0.0
			for b.Loop() {
				forget(tok)
				first = max(first, rate())
				again = max(again, rate())
			}
			b.ReportMetric(first, "first-cpuMB/s")
			b.ReportMetric(again, "again-cpuMB/s")
			b.ReportMetric(float64(len(dst)), "tokens")
		})
	}
}

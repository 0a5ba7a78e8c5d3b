package tokenize

import (
	"os"
	"path/filepath"
	"testing"
	"time"
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

// BenchmarkFiles encodes each file in TROUPE_TEXTS by itself. The best of all
// rounds counts: other work on the machine only ever slows one down.
func BenchmarkFiles(b *testing.B) {
	dir := os.Getenv("TROUPE_TEXTS")
	if dir == "" {
		b.Skip("TROUPE_TEXTS is not set")
	}
	tok := qwen(b)
	paths, _ := filepath.Glob(filepath.Join(dir, "*"))
	for _, p := range paths {
		text, err := os.ReadFile(p)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(filepath.Base(p), func(b *testing.B) {
			dst := make([]int32, 0, len(text))
			best := time.Duration(1 << 62)
			for b.Loop() {
				cpu := cpuTime()
				dst = tok.AppendEncode(dst[:0], string(text), false)
				best = min(best, cpuTime()-cpu)
			}
			b.ReportMetric(float64(len(text))/1e6/best.Seconds(), "best-cpuMB/s")
			b.ReportMetric(float64(len(dst)), "tokens")
		})
	}
}

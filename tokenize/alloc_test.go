package tokenize

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestAllocations holds encoding into a caller's buffer to a few allocations,
// as many for a long text as for a short one.
func TestAllocations(t *testing.T) {
	tok := qwen(t)
	llama := load(t, filepath.Join(fixtures(t), "models", "mistral"))
	for _, c := range []struct {
		name string
		tok  *Tokenizer
		text func(n int) string
		most float64
	}{
		{"prose", tok, func(n int) string { return prose(1, n) }, 4},
		{"code", tok, goCode, 4},
		{"many scripts", tok, func(n int) string { return babel(1, n) }, 12},
		{"decomposed", tok, func(n int) string { return strings.Repeat("cafe\u0301 ", n/7) }, 12},
		{"line", tok, func(n int) string { return strings.Repeat("a", n) }, 4},
		{"sentencepiece", llama, func(n int) string { return prose(1, n) }, 12},
	} {
		measure := func(n int) float64 {
			text := c.text(n)
			dst := make([]int32, 0, 2*n)
			return testing.AllocsPerRun(3, func() { c.tok.AppendEncode(dst, text, false) })
		}
		short, long := measure(1<<14), measure(1<<19)
		t.Logf("%s: %v, %v", c.name, short, long)
		if long > short || short > c.most {
			t.Errorf("%s: %v allocations for 16 kB, %v for 512 kB; want the same, at most %v", c.name, short, long, c.most)
		}
	}
}

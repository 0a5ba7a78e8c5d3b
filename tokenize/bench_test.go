package tokenize

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func qwen(b testing.TB) *Tokenizer {
	return load(b, filepath.Join(fixtures(b), "tokenizers", "qwen3"))
}

// sentences joins the real sentences of the fixtures to about n bytes.
func sentences(b testing.TB, n int) string {
	var s strings.Builder
	all := readLines[vector](b, filepath.Join(fixtures(b), "tokenizers", "qwen3", "vectors.jsonl"))
	for s.Len() < n {
		for _, v := range all {
			s.WriteString(v.Text)
			s.WriteByte('\n')
		}
	}
	return s.String()
}

// cpuTime is the processor time of this process, which other work on a shared
// machine stretches less than the clock's.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// forget makes a tokenizer one that has not encoded anything before.
func forget(tok *Tokenizer) {
	tok.idle = make(chan *scratch, 1)
	tok.idle <- new(scratch)
}

const benchSize = 1 << 20

type benchText struct{ name, text string }

func benchTexts(b testing.TB) []benchText {
	return []benchText{
		{"prose", prose(1, benchSize)},
		{"comments", goComments(benchSize)},
		{"code", goCode(benchSize)},
		{"sentences", sentences(b, benchSize)},
		{"babel", babel(1, benchSize)},
		{"letter", strings.Repeat("a", benchSize)},
		{"digits", strings.Repeat("1234567890", benchSize/10)},
		{"spaces", strings.Repeat(" ", benchSize)},
		{"newlines", strings.Repeat("\n", benchSize)},
		{"punctuation", strings.Repeat("!?.,", benchSize/4)},
		{"brackets", strings.Repeat("<", benchSize)},
		{"ab", strings.Repeat("ab", benchSize/2)},
		{"han", strings.Repeat("的", benchSize/3)},
	}
}

func BenchmarkEncode(b *testing.B) {
	tok := qwen(b)
	tok.Encode("é", false) // makes Unicode tables
	for _, c := range benchTexts(b) {
		b.Run(c.name, func(b *testing.B) {
			dst := make([]int32, 0, len(c.text))
			b.SetBytes(int64(len(c.text)))
			b.ReportAllocs()
			tokens, cpu := 0, cpuTime()
			for b.Loop() {
				tokens = len(tok.AppendEncode(dst[:0], c.text, false))
			}
			b.ReportMetric(float64(len(c.text))/float64(tokens), "bytes/token")
			b.ReportMetric(float64(b.N*len(c.text))/1e6/(cpuTime()-cpu).Seconds(), "cpuMB/s")
		})
	}
}

// BenchmarkUnseen encodes another text each round. A "first" text is encoded
// by a tokenizer that has encoded nothing before; a "next" one may have words,
// but no sentence, of those before. The best round counts, as in
// BenchmarkFiles.
func BenchmarkUnseen(b *testing.B) {
	tok := qwen(b)
	tok.Encode("é", false) // makes Unicode tables
	for _, c := range []struct {
		name string
		make func(seed uint64, n int) string
	}{{"prose", prose}, {"babel", babel}} {
		for _, first := range []bool{true, false} {
			name := c.name + map[bool]string{true: "/first", false: "/next"}[first]
			b.Run(name, func(b *testing.B) {
				dst := make([]int32, 0, 2*benchSize)
				seed, best := uint64(1), 0.0
				for b.Loop() {
					seed++
					text := c.make(seed, benchSize)
					if first {
						forget(tok)
					}
					cpu := cpuTime()
					dst = tok.AppendEncode(dst[:0], text, false)
					best = max(best, float64(len(text))/1e6/(cpuTime()-cpu).Seconds())
				}
				b.ReportMetric(best, "best-cpuMB/s")
			})
		}
	}
}

// BenchmarkLength is the time per byte of texts of growing length, by a
// tokenizer that has encoded nothing before. It does not grow when time is
// linear; it falls while words are still met for the first time. The best
// round counts.
func BenchmarkLength(b *testing.B) {
	tok := qwen(b)
	whole := prose(1, 4<<20)
	for _, c := range []struct{ name, text string }{
		{"prose", whole},
		{"letter", strings.Repeat("a", len(whole))},
		{"ab", strings.Repeat("ab", len(whole)/2)},
		{"spaces", strings.Repeat(" ", len(whole))},
	} {
		for _, kB := range []int{64, 256, 1024, 4096} {
			b.Run(fmt.Sprintf("%s/%dkB", c.name, kB), func(b *testing.B) {
				text := c.text[:kB<<10]
				dst := make([]int32, 0, len(text))
				best := time.Duration(1 << 62)
				for b.Loop() {
					forget(tok)
					cpu := cpuTime()
					dst = tok.AppendEncode(dst[:0], text, false)
					best = min(best, cpuTime()-cpu)
				}
				b.ReportMetric(float64(best.Nanoseconds())/float64(len(text)), "best-cpu-ns/byte")
			})
		}
	}
}

func BenchmarkLoad(b *testing.B) {
	fsys := os.DirFS(filepath.Join(fixtures(b), "tokenizers", "qwen3"))
	cpu := cpuTime()
	defer func() { b.ReportMetric(float64((cpuTime()-cpu).Milliseconds())/float64(b.N), "cpu-ms") }()
	for b.Loop() {
		if _, err := Load(fsys); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	tok := qwen(b)
	text := prose(1, benchSize)
	ids := tok.Encode(text, false)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		tok.Decode(ids, true)
	}
}

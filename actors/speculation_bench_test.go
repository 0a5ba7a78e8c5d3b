package actors

import (
	"slices"
	"testing"
	"time"

	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/model"
)

// BenchmarkSpeculation asks for the same replies with drafts and without, in turns, of one request
// at a time and of several. Text is likely to repeat itself where the likeliest token is drawn, most of
// all from random weights, and hardly does at temperature 1 from those. It reports the median of how
// many times as fast pairs were with drafts, and the share of tokens that were drafted.
func BenchmarkSpeculation(b *testing.B) {
	for _, m := range []struct {
		name string
		cfg  Config
		out  int
	}{
		{"builtin", Config{Model: model.Builtin}, 200},
		{"qwen3-0.6b", Config{Model: "qwen3-0.6b", DummyWeights: true, MaxSeqLen: 512, NumPages: 256}, 48},
		{"qwen3-0.6b-int8", Config{Model: "qwen3-0.6b", DummyWeights: true, DType: model.Int8, MaxSeqLen: 512, NumPages: 256}, 48},
	} {
		b.Run(m.name, func(b *testing.B) {
			s := openSystem(b, m.cfg)
			prompt := make([]int32, 64)
			for i := range prompt {
				prompt[i] = int32(20 + i*i*7%150)
			}
			ask := func(streams int, temperature float32, seed int, way Speculation) (took time.Duration, accepted, tokens int) {
				began := time.Now()
				var all []*Stream
				for i := range streams {
					prompt := slices.Clone(prompt)
					prompt[0] = int32(20 + i)
					all = append(all, submit(b, s, &Request{
						Tokens: prompt, MaxTokens: m.out, IgnoreEOS: true, Speculative: way,
						Sampling: &batch.Sampling{Temperature: temperature, Seed: uint64(seed*100 + i)},
					}))
				}
				for _, st := range all {
					_, f := collect(b, st)
					accepted += f.Usage.AcceptedTokens
					tokens += f.Usage.CompletionTokens
				}
				return time.Since(began), accepted, tokens
			}
			for _, text := range []struct {
				name        string
				temperature float32
				streams     int
			}{{"likeliest/1", 0, 1}, {"likeliest/4", 0, 4}, {"random/1", 1, 1}, {"random/4", 1, 4}} {
				b.Run(text.name, func(b *testing.B) {
					var ratios []float64
					var accepted, tokens int
					ask(text.streams, text.temperature, 0, NGram)
					for i := range b.N {
						without, _, _ := ask(text.streams, text.temperature, i, NoSpeculation)
						with, a, n := ask(text.streams, text.temperature, i, NGram)
						ratios = append(ratios, without.Seconds()/with.Seconds())
						accepted, tokens = accepted+a, tokens+n
					}
					slices.Sort(ratios)
					b.ReportMetric(ratios[len(ratios)/2], "times")
					b.ReportMetric(float64(accepted)/float64(tokens), "drafted")
				})
			}
		})
	}
}

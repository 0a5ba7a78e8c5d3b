package actors

import (
	"flag"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/model"
)

var speculationDevice = flag.String("speculation.device", "cpu", "the device of BenchmarkSpeculation")

// spoken is a kind of text, which repeats itself more or less.
type spoken struct {
	name     string
	sampling batch.Sampling
	streams  []int
}

// BenchmarkSpeculation asks for the same replies with drafts and without, in turns, of one request
// at a time and of several. Text is likely to repeat itself where the likeliest token is drawn, most of
// all from random weights, and hardly does at temperature 1 from those; edited text is of one token but
// for one in eight or so, as a bias has it. It reports the median of how many times as fast pairs were
// with drafts, what a token of a request took without and with, and the share of tokens that were
// drafted.
func BenchmarkSpeculation(b *testing.B) {
	type shape struct {
		name string
		cfg  Config
		out  int
	}
	shapes := []shape{
		{"builtin", Config{Model: model.Builtin}, 200},
		{"qwen3-0.6b", Config{Model: "qwen3-0.6b", DummyWeights: true, MaxSeqLen: 512, NumPages: 256}, 48},
		{"qwen3-0.6b-int8", Config{Model: "qwen3-0.6b", DummyWeights: true, DType: model.Int8, MaxSeqLen: 512, NumPages: 256}, 48},
	}
	texts := []spoken{
		{"likeliest", batch.Sampling{}, []int{1, 4}},
		{"edited", batch.Sampling{Temperature: 1, Bias: []batch.TokenBias{{Token: 21, Bias: 100}, {Token: 22, Bias: 98}}}, []int{1, 4}},
		{"random", batch.Sampling{Temperature: 1}, []int{1, 4}},
	}
	if *speculationDevice != "cpu" {
		shapes = []shape{
			{"qwen3-0.6b", Config{Model: "qwen3-0.6b", DummyWeights: true, MaxSeqLen: 2048}, 256},
			{"qwen3-14b", Config{Model: "qwen3-14b", DummyWeights: true, MaxSeqLen: 2048}, 128},
		}
		for i := range texts {
			texts[i].streams = []int{1, 8, 64}
		}
	}
	for _, m := range shapes {
		b.Run(m.name, func(b *testing.B) {
			m.cfg.Device, m.cfg.MaxRunningRequests, m.cfg.Speculative = *speculationDevice, 64, NGram
			s := openSystem(b, m.cfg)
			for _, text := range texts {
				for _, streams := range text.streams {
					b.Run(text.name+"/"+strconv.Itoa(streams), func(b *testing.B) { speak(b, s, text, streams, m.out) })
				}
			}
		})
	}
}

// speak measures pairs.
func speak(b *testing.B, s *System, text spoken, streams, out int) {
	prompt := make([]int32, 64)
	for i := range prompt {
		prompt[i] = int32(20 + i*i*7%150)
	}
	ask := func(seed int, way Speculation) (took time.Duration, accepted, tokens int) {
		began := time.Now()
		var all []*Stream
		for i := range streams {
			prompt, sampling := slices.Clone(prompt), text.sampling
			prompt[0], sampling.Seed = int32(20+i), uint64(seed*100+i)
			all = append(all, submit(b, s, &Request{Tokens: prompt, MaxTokens: out, IgnoreEOS: true, Speculative: way, Sampling: &sampling}))
		}
		for _, st := range all {
			_, f := collect(b, st)
			accepted += f.Usage.AcceptedTokens
			tokens += f.Usage.CompletionTokens
		}
		return time.Since(began), accepted, tokens
	}
	ask(0, NoSpeculation)
	ask(0, NGram)
	var ratios, before, after []float64
	var accepted, tokens int
	each := func(t time.Duration) float64 { return t.Seconds() * 1e3 / float64(out) }
	for i := 0; b.Loop(); i++ {
		without, _, _ := ask(i, NoSpeculation)
		with, a, n := ask(i, NGram)
		ratios = append(ratios, without.Seconds()/with.Seconds())
		before, after = append(before, each(without)), append(after, each(with))
		accepted, tokens = accepted+a, tokens+n
	}
	for unit, list := range map[string][]float64{"times": ratios, "ms/token-without": before, "ms/token-with": after} {
		slices.Sort(list)
		b.ReportMetric(list[len(list)/2], unit)
	}
	b.ReportMetric(float64(accepted)/float64(tokens), "accepted")
}

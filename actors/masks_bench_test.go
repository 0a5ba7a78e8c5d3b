package actors

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/troupe-llm/troupe/gpu"
	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/tokenize"
	"github.com/troupe-llm/troupe/tokenize/grammar"
)

// benchSchema is what half of the requests of BenchmarkGrammar keep to.
const benchSchema = `{"type": "object", "required": ["title", "chapters"], "additionalProperties": false, "properties": {
	"title": {"type": "string"}, "year": {"type": "integer"},
	"chapters": {"type": "array", "minItems": 20, "items": {"type": "object", "required": ["heading", "text"],
		"properties": {"heading": {"type": "string"}, "text": {"type": "string", "minLength": 40}, "rating": {"type": "number"}}}}}}`

// BenchmarkGrammar is how fast requests with a grammar and others generate, on the
// built-in model and on a simulated H200 that takes the time of Qwen3-0.6B and
// draws at random from what is allowed: so many requests, of which so many have
// one. The simulation's vocabulary is Qwen3's where the fixtures are.
func BenchmarkGrammar(b *testing.B) {
	for _, on := range []struct{ model, device string }{{"qwen3-0.6b", "sim:h200"}, {"builtin", "cpu"}} {
		for _, n := range [][2]int{{1, 1}, {16, 8}, {256, 128}, {256, 8}} {
			if on.device == "cpu" && n[0] > 64 {
				continue
			}
			b.Run(fmt.Sprintf("%s/%d-of-%d", on.device, n[1], n[0]), func(b *testing.B) {
				s := grammarSystem(b, on.model, on.device, max(n[0], 2))
				defer func() {
					if err := s.Close(); err != nil {
						b.Error(err)
					}
				}()
				runBoth(b, s, n, -1) // compiles the grammar, and fills its masks
				var with, without rate
				before, began := s.Stats().Device, time.Now()
				for b.Loop() {
					a, o := runBoth(b, s, n, b.N)
					with.add(a)
					without.add(o)
				}
				b.ReportMetric(with.perToken(), "ms/token-with")
				b.ReportMetric(without.perToken(), "ms/token-without")
				b.ReportMetric(float64(with.tokens+without.tokens)/time.Since(began).Seconds(), "tokens/s")
				dev := s.Stats().Device
				busy, idle := dev.Busy-before.Busy, dev.Idle-before.Idle
				b.ReportMetric(100*float64(idle)/float64(busy+idle), "%idle")
			})
		}
	}
}

// rate is how long requests took from their first token to their last.
type rate struct {
	tokens, steps int
	took          time.Duration
}

func (r *rate) add(o rate) {
	r.tokens += o.tokens
	r.steps += o.steps
	r.took += o.took
}

func (r *rate) perToken() float64 { return r.took.Seconds() * 1e3 / float64(max(1, r.steps)) }

// runBoth runs n[0] requests at once, of which n[1] have a grammar.
func runBoth(b *testing.B, s *System, n [2]int, round int) (with, without rate) {
	const tokens = 200
	var streams []*Stream
	every := n[0] / n[1]
	for i := range n[0] {
		r := &Request{Text: "Once upon a time", MaxTokens: tokens, Sampling: &batch.Sampling{Temperature: 1, Seed: uint64(round*n[0] + i)}}
		if i%every == 0 {
			r.Grammar = grammar.Schema([]byte(benchSchema))
		} else {
			r.IgnoreEOS = true
		}
		streams = append(streams, submit(b, s, r))
	}
	for i, st := range streams {
		got := read(b, st)
		if got.final.Err != nil {
			b.Fatal(got.final.Err)
		}
		of := &without
		if i%every == 0 {
			of = &with
		}
		of.add(rate{len(got.tokens), len(got.tokens) - 1, time.Duration(got.final.Times.Ended - got.final.Times.First)})
	}
	return with, without
}

func grammarSystem(b *testing.B, name, on string, slots int) *System {
	b.Helper()
	m, err := model.Open(name, name != "builtin")
	if err != nil {
		b.Fatal(err)
	}
	text := m
	if text.Files == nil {
		if text, err = model.Open("builtin", false); err != nil {
			b.Fatal(err)
		}
	}
	codec, err := tokenize.Load(text.Files)
	if err != nil {
		b.Fatal(err)
	}
	dir := os.Getenv("TROUPE_FIXTURES")
	if dir == "" {
		dir = filepath.Join("..", "..", "shared", "fixtures")
	}
	if m.Files == nil {
		if qwen, err := tokenize.Load(os.DirFS(filepath.Join(dir, "tokenizers", "qwen3"))); err == nil {
			codec = qwen
		}
	}
	cfg := Config{Log: zerolog.Nop()}
	cfg.fill()
	s, err := start(cfg, m, codec, func() (device.Device, error) {
		return gpu.Open(device.Spec{Device: on, Model: m, Slots: slots, MaxSeqLen: 512})
	})
	if err != nil {
		b.Fatal(err)
	}
	return s
}

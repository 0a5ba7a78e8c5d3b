//go:build cuda

package cuda

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/cpu"
	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/model"
	"github.com/troupe-llm/troupe/gpu/model/modeltest"
)

// within bounds how far log-probabilities may be off. Roundings of activations to
// bf16 put each off by about 0.014 (rms, on random weights), and of hundreds the worst by four times that or more. The mean does
// not grow with their number. A token scored in its neighbour's place would be
// off by whole nats.
type within struct {
	greedy, any float64 // against transformers in float32; against the processor
}

// meanWithin bounds the mean difference; 0.007 to 0.019 was measured, by checkpoint.
const meanWithin = 0.025

func withinOf(checkpoint string) within {
	if checkpoint == "qwen2" { // its biases are large
		return within{greedy: 0.12, any: 0.3}
	}
	return within{greedy: 0.07, any: 0.16}
}

// score computes texts in chunks, in slots from 1 on, and returns what is said
// of every token but the first of each. Beside them slot 0 decodes.
func (r *rig) score(texts [][]int32, sampling batch.Sampling, chunk int, beside []int32) (scores [][]batch.Logprob, decoded []*batch.Result) {
	r.t.Helper()
	scores = make([][]batch.Logprob, len(texts))
	decoded = append(decoded, r.prefill([][]int32{beside}, batch.Sampling{Logprobs: 1}, 4096)[0])
	for start, left := 0, true; left; start += chunk {
		s := &batch.Step{}
		left = false
		r.row(s, 0, int32(len(beside)+len(decoded)-1), nil, true)
		of := []int{-1}
		for i, p := range texts {
			if start >= len(p) {
				continue
			}
			if start == 0 {
				r.give(s, int32(i+1), sampling)
			}
			end := min(len(p), start+chunk)
			r.row(s, int32(i+1), int32(start), p[start:end], end == len(p))
			s.Rows[len(s.Rows)-1].Score = p[start+1 : min(end+1, len(p))]
			of = append(of, i)
			left = left || end < len(p)
		}
		r.launch(s)
		res := r.wait()
		decoded = append(decoded, res)
		all := res.Scores
		for j, i := range of[1:] {
			n := len(s.Rows[j+1].Score)
			if len(all) < n {
				r.t.Fatalf("%d scores from position %d on; a row wants %d of the last %d", len(res.Scores), start, n, len(all))
			}
			scores[i] = append(scores[i], all[:n]...)
			all = all[n:]
		}
		if len(all) > 0 {
			r.t.Fatalf("%d scores more than asked for", len(all))
		}
	}
	return scores, decoded
}

// Every checkpoint: what is said of prompts and their greedy continuations is
// what the processor says, and of the continuations what transformers does; with
// few rows of logits at a time and many, in chunks and whole.
func TestScores(t *testing.T) {
	require(t)
	for _, c := range modeltest.All(t) {
		m, ref := c.Open(t), c.Reference(t)
		if mixed(&m.Config) {
			t.Logf("left out: %s has a mixture of experts", c.Name)
			continue
		}
		var texts [][]int32
		for _, c := range ref.Cases {
			texts = append(texts, slices.Concat(c.PromptIDs, c.GreedyIDs))
		}
		few := max(8, len(texts)+1)
		for _, v := range []struct {
			name         string
			chunk, slots int
			logprobs     int32
		}{
			{"whole", 4096, 256, 6},
			{"few-rows", 4096, few, 21},
			{"chunks", 7, few, 1},
			{"tokens-alone", 33, 40, 0},
		} {
			t.Run(c.Name+"/"+v.name, func(t *testing.T) {
				spec := device.Spec{Model: m, DType: model.BFloat16, Slots: v.slots, MaxStepTokens: 4096, NumPages: 4096}
				sampling := batch.Sampling{Logprobs: v.logprobs}
				host, err := cpu.Open(spec)
				want, _ := openRig(t, host, err).score(texts, sampling, v.chunk, ref.Cases[0].PromptIDs)
				got, decoded := openCUDA(t, spec).score(texts, sampling, v.chunk, ref.Cases[0].PromptIDs)
				within := withinOf(c.Name)
				decodedAs(t, ref.Cases[0], decoded, within.greedy)
				worst, sum, n := 0.0, 0.0, 0
				differ := func(got, want float32, most float64, what string, at ...any) {
					t.Helper()
					d := math.Abs(float64(got) - float64(want))
					if worst = max(worst, d); d > most || math.IsNaN(d) {
						t.Errorf(what+": %v, want %v", append(at, got, want)...)
					}
					sum, n = sum+d, n+1
				}
				for i, c := range ref.Cases {
					if len(got[i]) != len(texts[i])-1 || len(want[i]) != len(got[i]) {
						t.Fatalf("text %d: %d scores of %d tokens", i, len(got[i]), len(texts[i]))
					}
					for j, w := range want[i] {
						g := got[i][j]
						// Of unlikely tokens roundings are larger.
						differ(g.Token, w.Token, within.any+0.01*math.Abs(float64(w.Token)), "text %d, token %d", i, j+1)
						if at := j + 1 - len(c.PromptIDs); at >= 0 {
							differ(g.Token, c.GreedyLogprobs[at], within.greedy, "text %d, greedy token %d", i, at)
						}
						if len(g.Top) != len(w.Top) {
							t.Fatalf("text %d, token %d: %d alternatives, want %d", i, j+1, len(g.Top), len(w.Top))
						}
						for k, a := range g.Top {
							differ(a.Logprob, w.Top[k].Logprob, within.any+0.01*math.Abs(float64(w.Top[k].Logprob)), "text %d, token %d, alternative %d", i, j+1, k)
							if apart(w.Top, k, within.any) && a.Token != w.Top[k].Token {
								t.Errorf("text %d, token %d: alternative %d is token %d, want %d", i, j+1, k, a.Token, w.Top[k].Token)
							}
						}
					}
				}
				t.Logf("difference of a log-probability: %.4f at most, %.4f in the mean of %d", worst, sum/float64(n), n)
				if sum > meanWithin*float64(n) {
					t.Errorf("the mean difference is %.4f", sum/float64(n))
				}
			})
		}
	}
}

// apart reports whether the k-th alternative cannot be another by rounding.
func apart(top []batch.TokenLogprob, k int, most float64) bool {
	gap := float32(2 * most)
	return (k == 0 || top[k-1].Logprob-top[k].Logprob > gap) && k+1 < len(top) && top[k].Logprob-top[k+1].Logprob > gap
}

// decodedAs holds what slot 0 drew beside the scoring against the reference.
func decodedAs(t *testing.T, c modeltest.Case, decoded []*batch.Result, most float64) {
	t.Helper()
	for at, res := range decoded[:min(len(decoded), len(c.GreedyIDs))] {
		margin := c.MinMargin
		if len(c.GreedyMargins) > at {
			margin = c.GreedyMargins[at]
		}
		if res.Tokens[0] != c.GreedyIDs[at] {
			if margin > tie {
				t.Errorf("decoding beside: token %d is %d, want %d (margin %v)", at, res.Tokens[0], c.GreedyIDs[at], margin)
			}
			return // another text from here on
		}
		if d := math.Abs(float64(res.Logprobs[0].Token - c.GreedyLogprobs[at])); d > most || math.IsNaN(d) {
			t.Errorf("decoding beside: log-probability of token %d is %v, want %v", at, res.Logprobs[0].Token, c.GreedyLogprobs[at])
		}
	}
}

// BenchmarkScores is a prompt of a model of random weights without scores, and
// with them: of its tokens alone, and with alternatives.
func BenchmarkScores(b *testing.B) {
	for _, name := range []string{"qwen3-0.6b", "qwen3-14b"} {
		m, err := model.Open(name, true)
		if err != nil {
			b.Fatal(err)
		}
		for _, logprobs := range []int32{-1, 1, 6, 21} {
			b.Run(fmt.Sprintf("%s/%d", name, logprobs), func(b *testing.B) {
				const tokens = 2048
				r := openCUDA(b, device.Spec{Model: m, Slots: 256, MaxSeqLen: 8192})
				text := make([]int32, tokens)
				for i := range text {
					text[i] = int32(i * 7919 % m.Config.Vocab)
				}
				var busy int64
				for b.Loop() {
					s := &batch.Step{}
					r.give(s, 0, batch.Sampling{Logprobs: max(0, logprobs)})
					r.row(s, 0, 0, text, true)
					if logprobs >= 0 {
						s.Rows[0].Score = text[1:]
					}
					r.launch(s)
					res := r.wait()
					busy += res.Ended - res.Began
				}
				b.ReportMetric(float64(busy)/float64(b.N)/1e3, "us-gpu/op")
			})
		}
	}
}

//go:build cuda

package kernel_test

import (
	"fmt"
	"math"
	"testing"
	"unsafe"

	"github.com/troupe-llm/troupe/gpu/cuda"
	"github.com/troupe-llm/troupe/gpu/kernel"
	"github.com/troupe-llm/troupe/gpu/kernel/ref"
)

// logitRows are rows that are hard in different ways to find the best of.
func (b *bench) logitRows(vocab int) [][]float32 {
	rows := make([][]float32, 5)
	for i := range rows {
		rows[i] = make([]float32, vocab)
		for t := range rows[i] {
			z := 4 * float32(b.rand.NormFloat64())
			switch i {
			case 1: // ties
				z = float32(math.Round(float64(z)))
			case 2: // all the best are one thread's
				if t%1024 == 1000%min(1024, vocab) {
					z += 100
				}
			case 3: // the worst come first
				z = float32(t) / 1e4
			case 4: // nothing but ties
				z = -7
			}
			rows[i][t] = z
		}
	}
	return rows
}

// Log-probabilities of tokens that are given and of tokens that were drawn, with
// every number of alternatives.
func TestLogprobs(t *testing.T) {
	b := open(t, shapes[0])
	for _, vocab := range []int{3, 100, 1024, 1030, 5000, 151936, 262144, 262208, kernel.MaxVocab} {
		rows := b.logitRows(vocab)
		var wants []said
		for _, z := range rows {
			all, top := ref.Logprobs(z, kernel.MaxTop)
			wants = append(wants, said{all, top})
		}
		ld := (vocab + 7) &^ 7
		var flat []float32
		for _, z := range rows {
			flat = append(append(flat, z...), make([]float32, ld-vocab)...)
			for i := len(flat) - ld + vocab; i < len(flat); i++ {
				flat[i] = 1000 // padding is nobody's
			}
		}
		logits := upload(b, flat)
		for _, logprobs := range []int32{0, 1, 2, 6, kernel.MaxTop + 1, kernel.MaxTop + 9} {
			what := fmt.Sprintf("%d tokens, logprobs %d", vocab, logprobs)
			k := int(max(0, min(logprobs-1, kernel.MaxTop)))
			slots := upload(b, []kernel.Slot{{}, {Logprobs: logprobs}})
			scores := b.zeros(int64(len(rows)) * int64(unsafe.Sizeof(kernel.Score{})))
			targets := make([]kernel.Target, len(rows))
			for i := range targets {
				targets[i] = kernel.Target{Token: int32(b.rand.IntN(vocab)), Slot: 1}
			}
			b.must(kernel.ScoreTokens(b, kernel.ScoreArgs{
				Logits: logits, Targets: upload(b, targets), Slots: slots, Scores: scores, Vocab: int32(vocab), Ld: int32(ld),
			}, len(rows)))
			got := make([]kernel.Score, len(rows))
			b.must(cuda.Download(b.Workbench, got, scores))
			for i, w := range wants {
				w.compare(t, fmt.Sprintf("%s, row %d", what, i), k, targets[i].Token, got[i].Logprob, got[i].Top[:])
			}
			b.drawn(what, wants, logits, slots, k, logprobs > 0, ld)
		}
	}
}

// drawn draws greedily and looks at what is reported of that.
func (b *bench) drawn(what string, wants []said, logits, slots kernel.Ptr, k int, asked bool, ld int) {
	b.t.Helper()
	rows := len(wants)
	most := rows + 3
	memory := b.zeros(int64(kernel.ResultBytes(most)))
	for i, w := range wants { // one after the other: all are one slot's
		b.must(kernel.Sample(b, kernel.SampleArgs{
			Logits: logits.Plus(int64(4 * i * ld)), Draws: upload(b, []kernel.Draw{{Row: int32(i), Slot: 1}, {Row: -1}}), Slots: slots,
			Parts: b.zeros(2 * kernel.PartBytes), Last: b.zeros(8), Drawn: b.zeros(8), Result: upload(b, []kernel.Ptr{memory}),
			Vocab: int32(len(w.logprobs)), Ld: int32(ld), Rows: int32(most),
		}, 2))
	}
	tokens, logprobs, tops := make([]int32, most), make([]float32, most), make([]kernel.Alternative, most*kernel.MaxTop)
	b.must(cuda.Download(b.Workbench, tokens, memory))
	b.must(cuda.Download(b.Workbench, logprobs, memory.Plus(int64(4*most))))
	b.must(cuda.Download(b.Workbench, tops, memory.Plus(int64(8*most))))
	for i, w := range wants {
		what := fmt.Sprintf("%s, drawn from row %d", what, i)
		if tokens[i] != w.top[0] {
			b.t.Errorf("%s: %d, want %d", what, tokens[i], w.top[0])
		}
		if asked {
			w.compare(b.t, what, k, tokens[i], logprobs[i], tops[i*kernel.MaxTop:][:kernel.MaxTop])
		} else if logprobs[i] != 0 || tops[i*kernel.MaxTop] != (kernel.Alternative{}) {
			b.t.Errorf("%s: log-probabilities that nobody asked for", what)
		}
	}
}

// said is what should be reported of a row.
type said struct {
	logprobs []float64
	top      []int32
}

// compare takes a token's log-probability and k alternatives; beyond those
// nothing should be written.
func (s said) compare(t testing.TB, what string, k int, token int32, logprob float32, top []kernel.Alternative) {
	t.Helper()
	near := func(got float32, want float64) bool { return math.Abs(float64(got)-want) <= 1e-4+1e-6*math.Abs(want) }
	if !near(logprob, s.logprobs[token]) {
		t.Errorf("%s: token %d has log-probability %v, want %v", what, token, logprob, s.logprobs[token])
	}
	for i, a := range top {
		var want kernel.Alternative
		if i < min(k, len(s.top)) {
			want = kernel.Alternative{Token: s.top[i], Logprob: float32(s.logprobs[s.top[i]])}
		}
		if a.Token != want.Token || !near(a.Logprob, float64(want.Logprob)) {
			t.Errorf("%s: alternative %d is %+v, want %+v", what, i, a, want)
		}
	}
}

// BenchmarkLogprobs reports the share of 4.43 TB/s, an H200's read rate, that
// reading the logits once makes.
func BenchmarkLogprobs(b *testing.B) {
	for _, rows := range []int{1, 256} {
		for _, k := range []int{0, 5, kernel.MaxTop} {
			b.Run(fmt.Sprintf("%d×%d", rows, k), func(tb *testing.B) {
				const vocab = 151936
				b := open(tb, shapes[0])
				flat := make([]float32, rows*vocab)
				for i := range flat {
					flat[i] = 4 * float32(b.rand.NormFloat64())
				}
				a := kernel.ScoreArgs{
					Logits: upload(b, flat), Targets: upload(b, make([]kernel.Target, rows)), Slots: upload(b, []kernel.Slot{{Logprobs: int32(k + 1)}}),
					Scores: b.zeros(int64(rows) * int64(unsafe.Sizeof(kernel.Score{}))), Vocab: vocab, Ld: vocab,
				}
				ns := b.median(tb, func() error { return kernel.ScoreTokens(b, a, rows) })
				tb.ReportMetric(ns/1e3, "us-gpu/op")
				tb.ReportMetric(float64(4*rows*vocab)/ns/4430, "of-H200-limit")
			})
		}
	}
}

package cuda

import (
	"unsafe"

	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/kernel"
)

// readResult fills in a result from the memory that kernels wrote, laid out
// for the most rows: see kernel.ResultBytes.
func readResult(r *batch.Result, memory []byte, rows []launched, most int) {
	tokens := unsafe.Slice((*int32)(unsafe.Pointer(&memory[0])), most)
	logprobs := unsafe.Slice((*float32)(unsafe.Pointer(&memory[4*most])), most)
	tops := unsafe.Slice((*kernel.Alternative)(unsafe.Pointer(&memory[8*most])), most*kernel.MaxTop)
	wanted := false
	for _, row := range rows {
		for range 1 + row.drafts {
			t := batch.NoToken
			if row.sample {
				t = tokens[len(r.Tokens)]
			}
			r.Tokens = append(r.Tokens, t)
		}
		wanted = wanted || row.logprobs > 0
	}
	if !wanted {
		return
	}
	for _, row := range rows {
		for j := range 1 + row.drafts {
			var l batch.Logprob
			i := len(r.Logprobs)
			drawn := r.Tokens[i] != batch.NoToken
			if drawn && row.logprobs > 0 {
				l.Token = logprobs[i]
			}
			if row.sample && (drawn || j == 0) { // else a draft before it was rejected
				for _, a := range tops[i*kernel.MaxTop:][:row.alternatives()] {
					l.Top = append(l.Top, batch.TokenLogprob{Token: a.Token, Logprob: a.Logprob})
				}
			}
			r.Logprobs = append(r.Logprobs, l)
		}
	}
}

// readScores fills in a result's scores from the memory that kernels wrote,
// a kernel.Score for each.
func readScores(r *batch.Result, memory []byte, rows []launched) {
	n, alternatives := 0, 0
	for _, row := range rows {
		n += row.scores
		alternatives += row.scores * row.alternatives()
	}
	if n == 0 {
		return
	}
	scores := unsafe.Slice((*kernel.Score)(unsafe.Pointer(&memory[0])), n)
	all := make([]batch.TokenLogprob, 0, alternatives)
	for _, row := range rows {
		k := row.alternatives()
		for i := range scores[:row.scores] {
			l := batch.Logprob{Token: scores[i].Logprob}
			if k > 0 {
				for _, a := range scores[i].Top[:k] {
					all = append(all, batch.TokenLogprob{Token: a.Token, Logprob: a.Logprob})
				}
				l.Top = all[len(all)-k : len(all) : len(all)]
			}
			r.Scores = append(r.Scores, l)
		}
		scores = scores[row.scores:]
	}
}

// launched is what Wait must know of a row.
type launched struct {
	sample   bool
	logprobs int32
	scores   int // tokens to score
	drafts   int32
}

// alternatives is how many of the likeliest tokens are reported.
func (l launched) alternatives() int { return max(0, min(int(l.logprobs)-1, kernel.MaxTop)) }

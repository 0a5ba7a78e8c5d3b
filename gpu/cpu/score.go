package cpu

import "github.com/troupe-llm/troupe/gpu/batch"

// scored is a token to be scored.
type scored struct {
	at    int32 // in the step's tokens: the one it follows
	token int32
	slot  int32
}

// scoreBlock is how many tokens are scored at a time: enough to share the
// reading of the head's weights, and their logits are no great memory.
const scoreBlock = 16

// score reports what the model says of the tokens that rows ask for.
func (e *engine) score(s *batch.Step, r *batch.Result) {
	var all []scored
	first := 0
	for i := range s.Rows {
		row := &s.Rows[i]
		for j, t := range row.Score {
			all = append(all, scored{int32(first + j), t, row.Slot})
		}
		first += row.Len()
	}
	r.Scores = append(r.Scores, make([]batch.Logprob, len(all))...)
	w, logits := &e.work, &e.plan.logits
	for done := 0; done < len(all); done += scoreBlock {
		block := all[done:min(done+scoreBlock, len(all))]
		w.looked = w.looked[:0]
		for _, t := range block {
			w.looked = append(w.looked, t.at)
		}
		e.head()
		e.pool.run(len(block), func(worker, i int) {
			t, lp := block[i], &r.Scores[done+i]
			total := w.drawers[worker].likely(logits.row(i), e.slots[t.slot].sampling.Logprobs, lp)
			lp.Token = float32(float64(logits.row(i)[t.token]) - total)
		})
	}
}

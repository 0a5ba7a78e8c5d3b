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
	w, h, stride := &e.work, e.config.Hidden, e.weights.head.stride()
	for done := 0; done < len(all); done += scoreBlock {
		block := all[done:min(done+scoreBlock, len(all))]
		grow(&w.logits, len(block)*stride)
		for i, t := range block {
			e.rmsNorm(w.normed[i*apart(h):][:h], w.x[int(t.at)*h:][:h], e.weights.norm)
		}
		e.linear(w.logits, w.normed, apart(h), len(block), e.weights.head, nil)
		e.pool.run(len(block), func(worker, i int) {
			t, lp := block[i], &r.Scores[done+i]
			logits := w.logits[i*stride:][:e.config.Vocab]
			total := w.drawers[worker].likely(logits, e.slots[t.slot].sampling.Logprobs, lp)
			lp.Token = float32(float64(logits[t.token]) - total)
		})
	}
}

package plan

import (
	"fmt"
	"slices"

	"github.com/troupe-llm/troupe/gpu/batch"
)

// Commit takes the result of the oldest outstanding step and returns the
// tokens it brought, in row order. The slice is valid until the next Commit.
func (p *Planner) Commit(res *batch.Result) []Output {
	seq := p.step - uint64(p.out) + 1
	if p.out == 0 || res.Seq != seq {
		panic(fmt.Sprintf("plan: result of step %d committed with %d outstanding, the oldest %d", res.Seq, p.out, seq))
	}
	f := &p.ring[seq%uint64(len(p.ring))]
	if f.owed {
		panic(fmt.Sprintf("plan: result of step %d committed, which was not given its masks", seq))
	}
	draws := 0
	for i := range f.step.Rows {
		draws += f.step.Rows[i].Draws()
	}
	if len(res.Tokens) != draws {
		panic(fmt.Sprintf("plan: step %d draws %d tokens, its result has %d", seq, draws, len(res.Tokens)))
	}
	p.out--
	p.outputs = p.outputs[:0]
	scores, at := res.Scores, 0
	for i, r := range f.reqs {
		row := &f.step.Rows[i]
		n := len(row.Score)
		if len(scores) < n {
			panic(fmt.Sprintf("plan: step %d has too few scores: row %d wants %d of the last %d", seq, i, n, len(scores)))
		}
		fresh := r.brought(row, scores[:n])
		scores = scores[n:]
		switch all := int(row.Start)+row.Len() == len(r.Prompt); {
		case row.Sample:
			p.commit(r, res, row, at, fresh)
		case r.PromptOnly && all && r.state != ended:
			p.end(r, Length)
			p.outputs = append(p.outputs, Output{Req: r, Token: batch.NoToken, Scores: fresh, Finish: Length})
		case len(fresh) > 0:
			p.outputs = append(p.outputs, Output{Req: r, Token: batch.NoToken, Scores: fresh})
		}
		at += row.Draws()
		if p.cfg.Window > 0 && r.state == running {
			next := int(row.Start) + row.Len()
			if row.Guesses > 0 {
				next = int(r.computed)
			}
			p.giveBack(r, next)
		}
		if r.last == seq && r.state != running {
			p.leave(r)
			if r.state == leaving {
				p.enqueue(r)
			}
		}
	}
	clear(f.reqs)
	p.check()
	return p.outputs
}

// brought takes note of a row's scores and returns those that are new: a
// request that was preempted may have some computed again.
func (r *Request) brought(row *batch.Row, scores []batch.Logprob) []batch.Logprob {
	last := row.Start + int32(len(scores)) // the position of the last one's token
	if len(scores) == 0 || r.state == ended || last <= r.scored {
		return nil
	}
	fresh := scores[len(scores)-int(last-r.scored):]
	r.scored = last
	return fresh
}

// commit appends the tokens that a row drew to r: one, and one for each guess that came
// true. They are the result's from at on.
func (p *Planner) commit(r *Request, res *batch.Result, row *batch.Row, at int, scores []batch.Logprob) {
	if r.state == ended {
		p.stats.Wasted++
		return
	}
	r.pending -= int32(row.Draws())
	r.computed -= int32(row.Guesses)
	guesses := row.Tokens[len(row.Tokens)-row.Guesses:]
	for i := range row.Draws() {
		t := res.Tokens[at+i]
		o := Output{Req: r, Token: t, Scores: scores}
		if t < 0 {
			o.Token, o.Finish = batch.NoToken, Failed
		} else {
			p.append(r, t)
			o.Finish = r.finish(t)
			if r.Sampling.Logprobs > 0 && at+i < len(res.Logprobs) {
				o.Logprob = &res.Logprobs[at+i]
			}
		}
		if o.Finish != Running {
			p.end(r, o.Finish)
		}
		p.outputs = append(p.outputs, o)
		if i == row.Guesses || t != guesses[i] {
			return
		}
		p.stats.Accepted++
		if o.Finish != Running {
			return
		}
		r.computed++ // the guess is there
		scores = nil
	}
}

// append adds a token that was drawn.
func (p *Planner) append(r *Request, t int32) {
	r.tokens = append(r.tokens, t)
	p.stats.Generated++
	r.client.served += drawn
	if r.speculation != nil {
		r.speculation.learn(r.tokens)
	}
}

// finish says whether r ends with token t, just appended.
func (r *Request) finish(t int32) Reason {
	switch {
	case slices.Contains(r.stops, t) && len(r.Output()) >= r.MinTokens:
		return Stop
	case len(r.tokens) >= int(r.limit):
		return Length
	}
	return Running
}

// giveBack frees r's own pages that no token from position next on sees. Those in
// the tree it keeps: others may begin with them, and nothing could be found below
// a node that is gone. No launched step sees them either: that of next was the
// last that may have.
func (p *Planner) giveBack(r *Request, next int) {
	// The last token before is always seen: a simulated device looks at it.
	to := int32(max(0, next+1-max(p.cfg.Window, 2))) >> p.shift
	if r.gone == r.gap {
		r.gap, r.gone = r.treed, r.treed
	}
	table := p.seats[r.slot].table
	for ; r.gone < to; r.gone++ {
		p.pages.release(table[r.gone], p.step)
	}
}

// without reports whether r gave its page i back.
func (r *Request) without(i int32) bool { return i >= r.gap && i < r.gone }

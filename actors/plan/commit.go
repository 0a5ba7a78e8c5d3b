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
	draws := len(f.reqs)
	for i := f.step.NumDecode; i < f.step.Replies(); i++ {
		draws += int(f.step.Rows[i].Drafts)
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
		case row.Sample && r.state == ended:
			p.stats.Wasted++
		case row.Sample:
			r.pending--
			if over := p.commitDraw(r, res, at, fresh); row.Drafts > 0 {
				p.commitDrafts(r, res, row, at, over)
			}
		case r.PromptOnly && all && r.state != ended:
			p.end(r, Length)
			p.outputs = append(p.outputs, Output{Req: r, Token: batch.NoToken, Scores: fresh, Finish: Length})
		case len(fresh) > 0:
			p.outputs = append(p.outputs, Output{Req: r, Token: batch.NoToken, Scores: fresh})
		}
		at += row.Draws()
		if p.cfg.Window > 0 && r.state == running {
			next := int(row.Start) + row.Len()
			if row.Drafts > 0 {
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

// commitDrafts appends what a row drew behind its first token, which is the result's at a
// place and may have ended r: a token for each draft that is accepted.
func (p *Planner) commitDrafts(r *Request, res *batch.Result, row *batch.Row, at int, ended bool) {
	r.pending -= row.Drafts
	r.computed -= row.Drafts
	first := len(p.outputs) - 1
	defer func() { // told with the first: behind any other the request may have ended by what it says
		p.outputs[first].Rejected = row.Drafts - int32(len(p.outputs)-1-first)
	}()
	for _, draft := range row.Tokens[len(row.Tokens)-int(row.Drafts):] {
		if res.Tokens[at] != draft {
			return
		}
		if ended { // by the token before, so that this draft gives none
			return
		}
		p.stats.Accepted++
		r.computed++ // the draft is there
		at++
		ended = p.commitDraw(r, res, at, nil)
	}
}

// commitDraw appends the token that a result has at a place, and reports whether r ends
// with it.
func (p *Planner) commitDraw(r *Request, res *batch.Result, at int, scores []batch.Logprob) (ended bool) {
	t := res.Tokens[at]
	o := Output{Req: r, Token: t, Scores: scores}
	if t < 0 {
		o.Token, o.Finish = batch.NoToken, Failed
	} else {
		r.tokens = append(r.tokens, t)
		o.Finish = r.finish(t)
		p.stats.Generated++
		r.client.served += drawn
		if r.Sampling.Logprobs > 0 && at < len(res.Logprobs) {
			o.Logprob = &res.Logprobs[at]
		}
		if r.speculation != nil {
			r.speculation.learn(r.tokens)
		}
	}
	if o.Finish != Running {
		p.end(r, o.Finish)
	}
	p.outputs = append(p.outputs, o)
	return o.Finish != Running
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

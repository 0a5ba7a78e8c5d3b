package plan

import "github.com/troupe-llm/troupe/gpu/batch"

// A step takes what its longest part takes, so who decodes waits for the prompts
// that are computed beside it. Under Config.TargetITL a step with decode rows gets
// as much of prompts as is predicted to end in time: a budget in time beside that in
// tokens. Steps without decode rows keep nobody waiting, and are as large as ever.

// promptShare is the part of the target that prompts have of every step, however
// long its decode rows take: or else, under load, requests would wait for ever for
// others to end.
const promptShare = 4

// paceTries is how often a step is priced, at most, to find out how many tokens fit.
// What a token adds hardly depends on how many there are, so few are enough.
const paceTries = 5

// within cuts a chunk of n tokens of r to what the step has time for, at least 1, and
// says what is left of the budget to share out, this chunk included: when time is up,
// no more than the chunk.
func (p *Planner) within(f *flight, r *Request, n, budget int) (chunk, left int) {
	if p.cfg.TargetITL == 0 || f.step.Replies() == 0 {
		return n, budget
	}
	took := func(tokens int) int64 { return p.stepTime(f, r, tokens) }
	if f.allowed == 0 {
		f.allowed = max(p.cfg.TargetITL, took(0)+p.cfg.TargetITL/promptShare)
	}
	whole := took(n)
	if whole <= f.allowed {
		return n, budget
	}
	// Between low, which fits, and high, which does not: where a straight line meets
	// what is allowed.
	low, high, least, most := 0, n, took(0), whole
	for range paceTries {
		if high-low <= 1 || most <= least {
			break
		}
		mid := low + int(float64(high-low)*float64(f.allowed-least)/float64(most-least))
		mid = min(max(mid, low+1), high-1)
		if t := took(mid); t <= f.allowed {
			low, least = mid, t
		} else {
			high, most = mid, t
		}
	}
	n = max(1, low)
	return n, n
}

// stepTime predicts the step as it is with so many more tokens of r; 0: as it is.
func (p *Planner) stepTime(f *flight, r *Request, tokens int) int64 {
	rows, total := len(f.step.Rows), f.step.NumTokens
	if tokens > 0 {
		row := batch.Row{Slot: r.slot, Start: r.computed, Tokens: r.tokens[r.computed:][:tokens]}
		row.Sample = int(r.computed)+tokens == len(r.tokens)
		f.step.Rows = append(f.step.Rows, row)
		f.step.NumTokens += tokens
	}
	t := p.cfg.StepTime(&f.step)
	f.step.Rows, f.step.NumTokens = f.step.Rows[:rows], total
	return t
}

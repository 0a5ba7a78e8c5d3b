package cpu

import (
	"math"
	"slices"

	"github.com/troupe-llm/troupe/gpu/batch"
)

// draw draws the tokens of the rows that ask for one, rows in parallel.
func (e *engine) draw(s *batch.Step, late [][]uint32, r *batch.Result) {
	w := &e.work
	places, logprobs := 0, false
	for i := range s.Rows {
		places += s.Rows[i].Draws()
		logprobs = logprobs || e.slots[s.Rows[i].Slot].sampling.Logprobs > 0
	}
	for range places {
		r.Tokens = append(r.Tokens, batch.NoToken)
	}
	if logprobs {
		r.Logprobs = append(r.Logprobs, make([]batch.Logprob, places)...)
	}
	for i := range w.rows {
		if s.Rows[w.rows[i].row].Late {
			w.rows[i].allow, late = late[0], late[1:]
		}
	}
	defer clear(w.rows) // masks are their owner's again
	if e.inspect != nil {
		for _, d := range w.rows {
			for j := range s.Rows[d.row].Draws() {
				e.inspect(s, d.row, e.plan.logits.row(d.looked+j))
			}
		}
	}
	for len(w.drawers) < e.pool.size {
		w.drawers = append(w.drawers, drawer{kernels: e.kernels})
	}
	e.pool.run(len(w.rows), func(worker, j int) {
		e.drawRow(&w.drawers[worker], &s.Rows[w.rows[j].row], &w.rows[j], r)
	})
}

// drawRow draws a row's token, and of one with drafts the next as long as they come
// true.
func (e *engine) drawRow(d *drawer, row *batch.Row, of *drawing, r *batch.Result) {
	sl := &e.slots[row.Slot]
	drafts := row.Tokens[len(row.Tokens)-int(row.Drafts):]
	position, allow := row.Start+int32(row.Len())-row.Drafts, of.allow
	for i := range row.Draws() {
		var lp *batch.Logprob
		if sl.sampling.Logprobs > 0 {
			lp = &r.Logprobs[of.at+i]
		}
		t := d.token(e.plan.logits.row(of.looked+i), sl, allow, position+int32(i), lp)
		r.Tokens[of.at+i], sl.last = t, t
		if sl.seen != nil && t != batch.NoToken {
			sl.seen[t]++
		}
		if i == len(drafts) || t != drafts[i] {
			return
		}
		allow = row.AllowAt(i + 1)
	}
}

// drawer turns logits into a token. Each worker has one.
type drawer struct {
	kernels *kernels
	weights []float32 // of every token
	raw     []float32 // the model's own logits
	filter  filter
}

// token draws the token of a position and reports log-probabilities into lp
// when it is not nil. Logits are overwritten. NoToken means that nothing may
// be drawn: everything is suppressed or not allowed.
func (d *drawer) token(logits []float32, sl *slot, allow []uint32, position int32, lp *batch.Logprob) int32 {
	s := &sl.sampling
	var total float64 // log Σ exp
	if lp != nil {
		d.raw = append(d.raw[:0], logits...)
		total = d.likely(logits, s.Logprobs, lp)
	}
	shape(logits, sl, allow, position)
	var t int32
	if s.Temperature <= 0 {
		t = d.argmax(logits)
	} else {
		t = d.sample(logits, s, batch.Uniform(s.Seed, position))
	}
	if lp != nil && t != batch.NoToken {
		lp.Token = float32(float64(d.raw[t]) - total)
	}
	return t
}

// likely lists the alternatives and returns log Σ exp(logits).
func (d *drawer) likely(logits []float32, logprobs int32, lp *batch.Logprob) float64 {
	top := d.kernels.maxOf(&logits[0], len(logits))
	total := float64(top) + math.Log(d.weigh(logits, top, 1))
	for _, t := range likeliest(logits, int(logprobs)-1) {
		lp.Top = append(lp.Top, batch.TokenLogprob{Token: t, Logprob: float32(float64(logits[t]) - total)})
	}
	return total
}

// shape applies what changes logits: bias, suppression, penalties (repetition,
// then frequency and presence) and the set of allowed tokens.
func shape(logits []float32, sl *slot, allow []uint32, position int32) {
	s := &sl.sampling
	never := float32(math.Inf(-1))
	for _, b := range s.Bias {
		logits[b.Token] += b.Bias
	}
	if position < s.SuppressBelow {
		for _, t := range s.Suppress {
			logits[t] = never
		}
	}
	for t, count := range sl.seen {
		z := logits[t]
		if s.Repetition != 0 && s.Repetition != 1 {
			if z > 0 {
				z /= s.Repetition
			} else {
				z *= s.Repetition
			}
		}
		if count > 0 {
			z = z - float32(s.Frequency*float32(count)) - s.Presence
		}
		logits[t] = z
	}
	if allow != nil {
		for t := range logits {
			if allow[t/32]>>(t%32)&1 == 0 {
				logits[t] = never
			}
		}
	}
}

// argmax is the likeliest token, the lowest id among equals; NoToken when all
// are impossible.
func (d *drawer) argmax(logits []float32) int32 {
	top := d.kernels.maxOf(&logits[0], len(logits))
	if math.IsInf(float64(top), -1) {
		return batch.NoToken
	}
	return int32(slices.Index(logits, top)) // −1 is NoToken: nothing but NaN
}

// likeliest returns the k likeliest tokens, best first, ties by lower id.
func likeliest(logits []float32, k int) []int32 {
	k = min(k, len(logits))
	if k <= 0 {
		return nil
	}
	top := make([]int32, 0, k+1)
	for i, z := range logits {
		if len(top) == k && z <= logits[top[k-1]] {
			continue
		}
		at := len(top)
		for at > 0 && z > logits[top[at-1]] {
			at--
		}
		top = slices.Insert(top, at, int32(i))
		top = top[:min(len(top), k)]
	}
	return top
}

// sumBlock is how many weights are summed in float32 before the sum goes on
// in float64.
const sumBlock = 1024

// weigh makes weights exp((logits−top)·scale) and returns their sum.
func (d *drawer) weigh(logits []float32, top, scale float32) float64 {
	d.weights = append(d.weights[:0], logits...)
	var sum float64
	for w := d.weights; len(w) > 0; {
		n := min(sumBlock, len(w))
		sum += float64(d.kernels.expSum(&w[0], n, top, scale))
		w = w[n:]
	}
	return sum
}

// sample draws from softmax(logits/Temperature) with u in [0, 1): the kept
// tokens' weights are added up in the order of their ids until the sum exceeds
// u times the sum of all.
func (d *drawer) sample(logits []float32, s *batch.Sampling, u float32) int32 {
	top := d.kernels.maxOf(&logits[0], len(logits))
	if math.IsInf(float64(top), -1) || math.IsNaN(float64(top)) { // nothing but NaN would be drawn from, too
		return batch.NoToken
	}
	scale := 1 / max(s.Temperature, 1e-6)
	total := d.weigh(logits, top, scale)
	if filters(s, len(logits)) {
		total = d.filter.apply(logits, d.weights, s, top, scale, total)
	}

	target, sum := float64(u)*total, 0.0
	last := batch.NoToken
	for i, w := range d.weights {
		if w > 0 {
			if sum += float64(w); sum > target {
				return int32(i)
			}
			last = int32(i)
		}
	}
	return last // the sums differ in rounding
}

package cpu

import (
	"math"

	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/program"
)

// states are what recurrent layers keep of each slot's request, and behind them
// snapshots: float32, for each of the program's states
// [Slots + Snapshots, Elements].
type states map[*program.State][]float32

func newStates(p *program.Program, places int) states {
	s := states{}
	for _, state := range p.States {
		s[state] = make([]float32, places*state.Elements)
	}
	return s
}

// span is the new tokens of one row.
type span struct {
	first, n int
	slot     int32
}

// begin gives slots whose requests begin the states they begin with.
func (e *engine) begin(s *batch.Step) {
	for _, c := range s.Restores {
		e.states.copy(c.Slot, e.snapshot(c))
	}
	e.work.spans = e.work.spans[:0]
	first := 0
	for i := range s.Rows {
		r := &s.Rows[i]
		e.work.spans = append(e.work.spans, span{first, r.Len(), r.Slot})
		first += r.Len()
		if r.Start == 0 {
			for state, all := range e.states {
				clear(all[int(r.Slot)*state.Elements:][:state.Elements])
			}
		}
	}
}

// save keeps the states that slots have after their rows.
func (e *engine) save(s *batch.Step) {
	for _, c := range s.Saves {
		e.states.copy(e.snapshot(c), c.Slot)
	}
}

// snapshot is where a snapshot lies among states.
func (e *engine) snapshot(c batch.StateCopy) int32 { return int32(e.info.Slots) + c.Snapshot }

func (s states) copy(to, from int32) {
	for state, all := range s {
		n := state.Elements
		copy(all[int(to)*n:][:n], all[int(from)*n:][:n])
	}
}

// stateOf is a slot's state.
func (e *engine) stateOf(s *program.State, slot int32) []float32 {
	return e.states[s][int(slot)*s.Elements:][:s.Elements]
}

// convolve is a causal convolution of each channel, and SiLU, token by token; see
// program.Conv. The state is [K−1, channels]: the inputs before, the oldest first.
func (e *engine) convolve(o *program.Conv) func() {
	in, out, w := e.plan.view(o.In), e.plan.view(o.Out), e.weights.vectors[o.Weight]
	k, channels := o.Weight.In(), o.Weight.Out()
	const each = 64 // channels of a task
	return func() {
		spans, blocks := e.work.spans, (channels+each-1)/each
		e.pool.run(len(spans)*blocks, func(_, task int) {
			s, from := spans[task/blocks], task%blocks*each
			before := e.stateOf(o.State, s.slot)
			for c := from; c < min(from+each, channels); c++ {
				convolveChannel(in, out, s, c, w[c*k:][:k], before[c:], channels)
			}
		})
	}
}

// convolveChannel is one channel of a row, whose inputs before lie stride apart.
func convolveChannel(in, out view, s span, c int, w, before []float32, stride int) {
	k := len(w)
	at := func(t int) float32 { // input t of the row, or before it
		if t >= 0 {
			return in.row(s.first + t)[c]
		}
		return before[(k-1+t)*stride]
	}
	for t := range s.n {
		sum := float32(0)
		for j, v := range w {
			sum += float32(v * at(t-k+1+j))
		}
		out.row(s.first + t)[c] = activated(program.SiLU, sum)
	}
	for j := range k - 1 { // in order: none is read that was written
		before[j*stride] = at(s.n - k + 1 + j)
	}
}

// delta is the gated delta rule, token by token for prompts, too: so the bits do
// not depend on how a prompt is cut. The state of a head is [KeyDim, ValueDim].
func (e *engine) delta(o *program.Delta) func() {
	r := &recurrence{
		Delta: o, keyDim: o.Key.Width / o.KeyHeads, valueDim: o.Value.Width / o.Heads,
		query: e.plan.view(o.Query), key: e.plan.view(o.Key), value: e.plan.view(o.Value), a: e.plan.view(o.A), b: e.plan.view(o.B), out: e.plan.view(o.Out),
		step: e.weights.vectors[o.StepBias],
	}
	for _, v := range e.weights.vectors[o.Decay] {
		r.decay = append(r.decay, math.Exp(float64(v)))
	}
	return func() {
		spans := e.work.spans
		e.pool.run(len(spans)*o.Heads, func(worker, task int) {
			s, h := spans[task/o.Heads], task%o.Heads
			n := r.keyDim * r.valueDim
			grow(&e.pool.scratch[worker], 2*r.keyDim+r.valueDim)
			r.run(e.kernels, s, h, e.stateOf(o.State, s.slot)[h*n:][:n], e.pool.scratch[worker])
		})
	}
}

// recurrence is a layer of the gated delta rule.
type recurrence struct {
	*program.Delta
	keyDim, valueDim             int
	query, key, value, a, b, out view
	decay                        []float64 // exp(Decay) of each head
	step                         []float32
}

func (r *recurrence) run(k *kernels, s span, h int, state, scratch []float32) {
	q, key, delta := scratch[:r.keyDim], scratch[r.keyDim:][:r.keyDim], scratch[2*r.keyDim:][:r.valueDim]
	keyHead := h / (r.Heads / r.KeyHeads)
	for i := s.first; i < s.first+s.n; i++ {
		unit(k, q, r.query.row(i)[keyHead*r.keyDim:][:r.keyDim], 1/math.Sqrt(float64(r.keyDim)))
		unit(k, key, r.key.row(i)[keyHead*r.keyDim:][:r.keyDim], 1)
		g := float32(math.Exp(-r.decay[h] * softplus(float64(r.a.row(i)[h]+r.step[h]))))
		for j := range state {
			state[j] *= g
		}
		clear(delta)
		k.values(&delta[0], &key[0], r.keyDim, 1, &state[0], r.keyDim, r.valueDim)
		beta := float32(sigmoid(float64(r.b.row(i)[h])))
		for j, v := range r.value.row(i)[h*r.valueDim:][:r.valueDim] {
			delta[j] = (v - delta[j]) * beta
		}
		for d, share := range key {
			row := state[d*r.valueDim:][:r.valueDim]
			for j, v := range delta {
				row[j] += float32(share * v) // not fused: the same bits everywhere
			}
		}
		out := r.out.row(i)[h*r.valueDim:][:r.valueDim]
		clear(out)
		k.values(&out[0], &q[0], r.keyDim, 1, &state[0], r.keyDim, r.valueDim)
	}
}

// unit scales x to a length.
func unit(k *kernels, y, x []float32, length float64) {
	scale := float32(length / math.Sqrt(float64(k.sumSquares(&x[0], len(x)))+1e-6))
	for i, v := range x {
		y[i] = v * scale
	}
}

func softplus(x float64) float64 {
	if x > 20 { // where the difference is nothing
		return x
	}
	return math.Log1p(math.Exp(x))
}

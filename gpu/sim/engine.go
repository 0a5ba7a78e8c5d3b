package sim

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/device"
)

// Engine runs steps one after the other, each at once. It refuses what a real
// device refuses, and rows whose history is not in their pages. After an error
// it is worth nothing.
type Engine struct {
	info device.Info
	opts options
	roof *Roofline
	eos  []int32

	checker *device.Checker
	slots   []slot
	kv      []uint64 // [page][offset]: the state after the token there; 0: never written
	saved   []uint64 // [snapshot]: the state that was saved there
	turn    uint64   // steps run
}

// slot is what the device keeps for a request.
type slot struct {
	drawn    int32
	length   int32  // tokens computed
	state    uint64 // after them; 0: there are none
	sampling batch.Sampling
}

// New works out the device's size; the model's weights are not needed.
func New(spec device.Spec) (*Engine, error) {
	o, err := parse(spec.Device)
	if err != nil {
		return nil, err
	}
	if spec.Model == nil {
		return nil, errors.New("sim: no model")
	}
	if o.tp > 1 && (spec.TP > 1 || spec.Rank != nil) {
		return nil, fmt.Errorf("sim: device %q: how many GPUs share the model is said twice", spec.Device)
	}
	o.tp = max(o.tp, spec.TP)
	if spec.Model, err = spec.Model.Share(0, o.tp); err != nil {
		return nil, fmt.Errorf("sim: %w", err)
	}
	c := &spec.Model.Config
	info, err := o.size(&spec)
	if err != nil {
		return nil, fmt.Errorf("sim: %w", err)
	}
	if info, err = device.Together(slices.Repeat([]device.Info{info}, o.tp)); err != nil {
		return nil, fmt.Errorf("sim: %w", err)
	}
	e := &Engine{info: info, opts: o, checker: device.NewChecker(info), roof: newRoofline(&o, c.Program, &info, measured)}
	e.eos = slices.Concat(c.EOS, spec.Model.Generation.EOS)
	if len(e.eos) >= info.Vocab {
		return nil, fmt.Errorf("sim: all %d tokens of the vocabulary end a sequence", info.Vocab)
	}
	e.slots = make([]slot, info.Slots)
	e.kv = make([]uint64, info.NumPages*info.PageSize)
	e.saved = make([]uint64, info.Snapshots)
	return e, nil
}

// Info says what was opened.
func (e *Engine) Info() device.Info { return e.info }

// Run runs a step, fills in its tokens, those of late rows excepted, and says
// how long it would have taken.
func (e *Engine) Run(s *batch.Step, r *batch.Result) (time.Duration, error) {
	if err := e.run(s, r); err != nil {
		return 0, fmt.Errorf("sim: step %d: %w", s.Seq, err)
	}
	took, met := e.roof.step(s)
	r.Reducing = int64(e.scaled(met))
	return max(e.opts.step, e.scaled(took)), nil
}

// Predict says how long a step would take.
func (e *Engine) Predict(s *batch.Step) time.Duration {
	return max(e.opts.step, e.scaled(e.roof.Step(s)))
}

// scaled is a time at the speed that was asked for.
func (e *Engine) scaled(d time.Duration) time.Duration {
	if math.IsInf(e.opts.speed, 1) {
		return 0
	}
	return time.Duration(float64(d) / e.opts.speed)
}

// Mask draws the tokens of a step's late rows, which was the last to run, into
// its result, and says how much of the step's time its drawing takes.
func (e *Engine) Mask(s *batch.Step, m *batch.Masks, r *batch.Result) (time.Duration, error) {
	if err := m.Check(s.Seq, s.Late(), e.info.Vocab); err != nil {
		return 0, fmt.Errorf("sim: %w", err)
	}
	late, draws, place := m.Allow, 0, 0
	for i := range s.Rows {
		row := &s.Rows[i]
		if row.Sample {
			draws += row.Draws()
		}
		if row.Late {
			at := &e.slots[row.Slot]
			at.drawn = e.draw(at, late[0])
			late = late[1:]
			r.Tokens[place] = at.drawn
			if len(r.Logprobs) > 0 {
				r.Logprobs[place] = e.logprob(at, at.drawn)
			}
		}
		place += row.Draws()
	}
	return e.scaled(e.roof.Draw(draws)), nil
}

// fails says whether the step at hand was to fail.
func (e *Engine) fails() bool { return e.turn > 0 && (e.turn == e.opts.fail || e.turn == e.opts.lost) }

// hangs says whether the step at hand was to hang.
func (e *Engine) hangs() bool { return e.turn > 0 && e.turn == e.opts.hang }

func (e *Engine) run(s *batch.Step, r *batch.Result) error {
	e.turn++
	r.Reset()
	r.Seq = s.Seq
	if e.fails() {
		if e.turn == e.opts.lost {
			lost.Store(true)
		}
		return errors.New("the device failed, as it was asked to")
	}
	if err := e.checker.Admit(s); err != nil {
		return err
	}
	for i := range s.Slots {
		in := &s.Slots[i]
		e.slots[in.Slot] = slot{drawn: batch.NoToken, sampling: in.Sampling}
	}
	for _, c := range s.Restores {
		e.slots[c.Slot].state = e.saved[c.Snapshot]
	}
	logprobs := slices.ContainsFunc(s.Rows, func(row batch.Row) bool { return e.slots[row.Slot].sampling.Logprobs > 0 })
	for i := range s.Rows {
		row := &s.Rows[i]
		first := len(r.Tokens)
		if err := e.row(row, r); err != nil {
			return fmt.Errorf("row %d (slot %d): %w", i, row.Slot, err)
		}
		if logprobs {
			for _, t := range r.Tokens[first:] {
				r.Logprobs = append(r.Logprobs, e.logprob(&e.slots[row.Slot], t))
			}
		}
		for _, t := range row.Score {
			r.Scores = append(r.Scores, e.logprob(&e.slots[row.Slot], t))
		}
	}
	for _, c := range s.Saves {
		e.saved[c.Snapshot] = e.slots[c.Slot].state
	}
	return nil
}

// row computes a row's states and draws its tokens.
func (e *Engine) row(row *batch.Row, r *batch.Result) error {
	s := &e.slots[row.Slot]
	state := uint64(1)
	if row.Start > 0 {
		state = *e.at(row.Slot, row.Start-1)
		if state == 0 || s.state != 0 && state != s.state {
			return fmt.Errorf("start %d: position %d is not what the slot's history left there", row.Start, row.Start-1)
		}
	}
	if row.Tokens == nil { // a slot that could draw nothing goes on with any token
		state = mix(state, max(s.drawn, 0))
		*e.at(row.Slot, row.Start) = state
	}
	for i, t := range row.Tokens {
		state = mix(state, t)
		*e.at(row.Slot, row.Start+int32(i)) = state
	}
	s.state, s.length, s.drawn = state, row.Start+int32(row.Len()), batch.NoToken
	for range row.Draws() {
		r.Tokens = append(r.Tokens, batch.NoToken)
	}
	if row.Sample && !row.Late {
		e.drawRow(s, row, r.Tokens[len(r.Tokens)-row.Draws():])
	}
	return nil
}

// drawRow draws a row's token, and of one with drafts the next as long as they come
// true. What is behind the first that did not is as if it had not been computed.
func (e *Engine) drawRow(s *slot, row *batch.Row, tokens []int32) {
	drafts := row.Tokens[len(row.Tokens)-int(row.Drafts):]
	end := s.length
	for i := range tokens {
		if row.Drafts > 0 {
			s.length = end - int32(len(drafts)-i)
			s.state = *e.at(row.Slot, s.length-1)
		}
		s.drawn = e.draw(s, row.AllowAt(i))
		if tokens[i] = s.drawn; i == len(drafts) || s.drawn != drafts[i] {
			return
		}
	}
}

// at is where the state after the token at a slot's position is kept.
func (e *Engine) at(slot, position int32) *uint64 {
	size := int32(e.info.PageSize)
	page := e.checker.Page(slot, position/size)
	return &e.kv[int(page)*e.info.PageSize+int(position%size)]
}

// mix is the hash that stands for a model; it never comes to 0.
func mix(state uint64, token int32) uint64 {
	h := (state ^ uint64(uint32(token))) * 0xff51afd7ed558ccd
	return max(1, h^h>>32)
}

// strays is one of how many tokens, under the option repeat, is another one.
const strays = 8

// draw picks the first allowed token at or after a random one. It ends a
// sequence only when the device was asked to, or nothing else is allowed.
func (e *Engine) draw(s *slot, allow []uint32) int32 {
	h := s.state
	if s.sampling.Temperature > 0 {
		h = mix(h^s.sampling.Seed, s.length)
	}
	h = mix(h, 0)
	may := func(t int32) bool {
		return (allow == nil || allow[t/32]>>(t%32)&1 == 1) &&
			(s.length >= s.sampling.SuppressBelow || !slices.Contains(s.sampling.Suppress, t))
	}
	if n := e.opts.eos; n > 0 && len(e.eos) > 0 && h>>40%uint64(n) == 0 && may(e.eos[0]) {
		return e.eos[0]
	}
	if n := e.opts.repeat; n > 0 && s.state>>20%strays != 0 {
		h = mix(s.sampling.Seed|1, s.length%int32(n))
	}
	vocab := int32(e.info.Vocab)
	t := int32(h >> 8 % uint64(vocab))
	ends := batch.NoToken
	for seen := int32(0); seen < vocab; {
		n := int32(1)
		switch {
		case allow != nil && allow[t/32]>>(t%32) == 0: // nor the rest of the word
			n = min(32-t%32, vocab-t)
		case !may(t):
		case slices.Contains(e.eos, t):
			ends = t
		default:
			return t
		}
		seen, t = seen+n, (t+n)%vocab
	}
	return ends
}

// logprob makes up a distribution: the drawn token, or that of a prompt, has
// half of it, the next ids half of what is left each.
func (e *Engine) logprob(s *slot, t int32) batch.Logprob {
	if s.sampling.Logprobs == 0 || t == batch.NoToken {
		return batch.Logprob{}
	}
	l := batch.Logprob{Token: -math.Ln2}
	for i := range s.sampling.Logprobs - 1 {
		l.Top = append(l.Top, batch.TokenLogprob{Token: (t + i) % int32(e.info.Vocab), Logprob: -math.Ln2 * float32(i+1)})
	}
	return l
}

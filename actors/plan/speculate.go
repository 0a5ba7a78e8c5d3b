package plan

import (
	"github.com/troupe-llm/troupe/actors/plan/ngram"
	"github.com/troupe-llm/troupe/gpu/batch"
)

// Speculation: what a request will draw is drafted to be what followed its last tokens when
// it, or its prompt, had them before. Several drafts are computed in one row, and those
// that are drawn are tokens for which no step had to be made.
//
// Drafting costs nothing and is done for every token; computing drafts is not. So how often
// they are accepted is known before any is computed, of each request, and step by step as many
// are computed as make the step, by what it is predicted to take, bring the most tokens a
// second: none, where texts do not repeat themselves or the step is large already.
//
// What is drafted depends on what is known, so a step with drafts cannot be prepared while
// another is computed: while they pay there is no overlap, for nobody. That is part of their
// price.

// leastGain is how many tokens more drafts have to bring, one for so many requests that
// decode: with fewer it is not looked at whether they pay. It is also what a step is taken to
// last longer that was not prepared while another was computed, until that is known: 3%
// (README, "Measured").
const leastGain = 32

// speculation drafts the tokens of one request.
type speculation struct {
	index ngram.Index
	// at is where in the tokens what the next one is drafted to be stands, and long how many
	// before agree, afterEdit: only tokens before the last one; 0: there is no draft.
	at, long int
	// rate is how often drafts were accepted of late, by how many tokens agreed, whether they
	// were computed or not.
	rate [ngram.Longest + 1]float64
	// The last token and the drafts, as a row has them, and the masks behind these.
	row   []int32
	masks [][]uint32
}

const (
	// readAtOnce is how many tokens of a prompt are indexed when a token is drawn.
	readAtOnce = 4096
	// rateMemory is of how many drafts a rate is, about.
	rateMemory = 16
	// afterEdit is how long an agreement counts that the last token has ended: text that is
	// edited has another token in its place, and goes on as before.
	afterEdit = 1
)

// firstRates are what rates are taken for before there was a draft.
var firstRates = [ngram.Longest + 1]float64{afterEdit: 0.3, 2: 0.4, 3: 0.6, 4: 0.75}

func newSpeculation() *speculation { return &speculation{rate: firstRates} }

// learn takes in the token drawn last, and drafts the next.
func (s *speculation) learn(tokens []int32) {
	if s.at > 0 {
		came := 0.0
		if tokens[s.at] == tokens[len(tokens)-1] {
			came = 1
		}
		s.rate[s.long] += (came - s.rate[s.long]) / rateMemory
	}
	s.index.Read(tokens, min(len(tokens), s.index.Indexed()+readAtOnce))
	was := s.at
	s.at, s.long = 0, 0
	if s.index.Indexed() == len(tokens) {
		s.at, s.long = s.index.Find(tokens)
	}
	if s.long == 0 && was > 0 {
		s.at, s.long = was+1, afterEdit
	}
}

// expect is how many of n drafts are expected to be accepted: each needs those before it.
func (s *speculation) expect(n int) (sum float64) {
	all, long := 1.0, s.long
	for range n {
		all *= s.rate[long]
		sum += all
		long = min(long+1, ngram.Longest)
	}
	return sum
}

// draftable is how many of r's next tokens may be drafted in a step.
func (r *Request) draftable(most int) int {
	if r.speculation == nil || r.speculation.at == 0 || !r.wantsToken() {
		return 0
	}
	return max(0, min(most, int(r.limit-r.length())-1))
}

// Speculates reports whether there are requests whose tokens are drafted.
func (p *Planner) Speculates() bool { return p.speculating > 0 }

// speculates reports whether the next step has to be built when all is known: the last one
// has drafts, or they would pay in the next.
func (p *Planner) speculates() bool {
	if p.speculating == 0 {
		return false
	}
	last := &p.ring[p.step%uint64(len(p.ring))].step
	return last.Replies() > last.NumDecode || p.depth() > 0
}

// depth is how many drafts each request should have in the step being built: what brings
// the most tokens in the time that the step is predicted to take.
func (p *Planner) depth() int {
	if p.speculating == 0 {
		return 0
	}
	decodes, drafted, gain := p.weigh(p.cfg.Drafts)
	if gain*leastGain <= decodes {
		return 0
	}
	best, most := 0, decodes/p.decodeTime(0)
	for n := min(p.cfg.Drafts, p.draftRoom()/max(drafted, 1)); n > 0; n /= 2 {
		_, _, gain := p.weigh(n)
		if speed := (decodes + gain) / p.unprepared(p.decodeTime(n)); speed > most {
			best, most = n, speed
		}
	}
	return best
}

// unprepared is how long a step takes, with the time before it in which the device has
// nothing to do, since it was not prepared while another was computed.
func (p *Planner) unprepared(took float64) float64 {
	if p.cfg.Idle != nil {
		if idle := p.cfg.Idle(); idle > 0 {
			return took + float64(idle)
		}
	}
	return took * (1 + 1./leastGain)
}

// draftRoom is how many draft tokens the step being built may have: half of its tokens, and no
// more draws than the device makes of a step, of which every request may need one that runs or
// is seated by this step.
func (p *Planner) draftRoom() int {
	room := (p.cfg.StepTokens - p.seated) / 2
	if p.cfg.Draws > 0 {
		room = min(room, p.cfg.Draws-min(p.cfg.Slots, p.seated+p.queue.len()))
	}
	return room
}

// weigh is how many requests decode, how many of them have drafts, and how many tokens more are
// expected of n each.
func (p *Planner) weigh(n int) (decodes float64, drafted int, gain float64) {
	for i := range p.seats[:p.top] {
		if r := p.seats[i].req; r != nil && r.wantsToken() {
			decodes++
			if k := r.draftable(n); k > 0 {
				drafted++
				gain += r.speculation.expect(k)
			}
		}
	}
	return decodes, drafted, gain
}

// decodeTime predicts a step of all that decode, with n drafts each.
func (p *Planner) decodeTime(n int) float64 {
	s := &p.priced
	s.Reset()
	for _, drafting := range []bool{false, true} {
		for i := range p.seats[:p.top] {
			r := p.seats[i].req
			if r == nil || !r.wantsToken() {
				continue
			}
			k := r.draftable(n)
			if drafting != (k > 0) {
				continue
			}
			row := batch.Row{Slot: r.slot, Start: r.computed, Sample: true, Drafts: int32(k)}
			if k > 0 {
				row.Tokens = p.unknown[:1+k]
			}
			s.Rows = append(s.Rows, row)
			s.NumTokens += row.Len()
		}
		if !drafting {
			s.NumDecode = len(s.Rows)
		}
	}
	return float64(max(1, p.cfg.StepTime(s)))
}

// draft makes at most n drafts for r's row, of which its pages and its grammar allow the
// first ones, and reports whether there are any.
func (p *Planner) draft(f *flight, r *Request, n int) bool {
	n = r.draftable(n)
	if n <= 0 {
		return false
	}
	// A page of their own they have where everybody else could have one, too.
	for int(r.computed)+1+n > int(r.pages)<<p.shift && p.pages.available() > p.seated {
		p.give(f, r, p.pages.alloc())
	}
	n = min(n, int(r.pages)<<p.shift-int(r.computed)-1)
	if n <= 0 {
		return false
	}
	s := r.speculation
	s.row = ngram.Draft(append(s.row[:0], r.tokens[len(r.tokens)-1]), r.tokens, s.at, n)
	row := batch.Row{Slot: r.slot, Start: r.computed, Sample: true}
	if r.Constraint != nil {
		row.Allow = r.Constraint.Allow(r.Output())
		// The drafts stand behind the tokens for the time being, where the next are to come.
		all := append(r.tokens, s.row[1:]...)
		s.masks = r.Constraint.Ahead(all[len(r.Prompt):], n)
		row.AllowNext, n = &s.masks, len(s.masks)
	}
	if n == 0 {
		return false
	}
	row.Tokens, row.Drafts = s.row[:1+n], int32(n)
	f.drafts = append(f.drafts, drafted{r, row})
	return true
}

// drafted is a row with drafts, which has its place in the step behind decode rows.
type drafted struct {
	req *Request
	row batch.Row
}

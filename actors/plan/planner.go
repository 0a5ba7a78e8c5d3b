package plan

import (
	"math/bits"

	"github.com/troupe-llm/troupe/gpu/batch"
)

// Planner decides what every step computes. It is not safe for concurrent use.
type Planner struct {
	cfg   Config
	shift uint // log2 of the page size

	// Requests. live has every one that was added and has not ended.
	live    map[uint64]*Request
	arrived uint64 // requests ever added
	queue   queue  // state waiting
	// prefill has those in state running that do not decode yet, in the order
	// they were seated.
	prefill []*Request
	aside   []*Request // taken from the queue and not seated: go back
	reserve reserve

	// Seats. Invariant: req is set in seated of them, and bit i of vacant says
	// in which it is not; all at and above top are vacant.
	seats  []seat
	seated int
	vacant []uint64
	top    int

	pages *pages

	// Steps. Step i is in ring[i % len]. Invariant: steps step−out+1 … step
	// are launched and not committed; out ≤ Config.outstanding() < len(ring),
	// so the step committed last is intact until the next is built.
	step    uint64
	out     int
	ring    [maxOutstanding + 1]flight
	run     int // prefill steps in a row, under PrefillFirst; ≤ maxPrefillRun
	outputs []Output
	// Speculation: speculating is how many of live are speculated for; priced and unknown
	// are what a step is priced by.
	speculating int
	priced      batch.Step
	unknown     []int32
	// admitted are those that the last step built seated for the first time.
	admitted []*Request

	stats Stats
}

// seat is a slot of the device and who has it.
type seat struct {
	req *Request // nil: vacant
	// table is the slot's row of the device's page table as the last step
	// built leaves it. The first req.pages entries are req's; what follows is
	// left from earlier and tells which entries need not be sent.
	table []int32
}

// flight is a step on its way and whose its rows are.
type flight struct {
	step batch.Step
	reqs []*Request // of each row
	// drafts are the rows with drafts, until they are in the step.
	drafts []drafted
	// masks are its late rows'. While owed, the device has not been given them.
	masks batch.Masks
	owed  bool
	// allowed is how long the step may be predicted to take, under Config.TargetITL,
	// in nanoseconds; 0: not known yet.
	allowed int64
}

func (f *flight) reset() {
	f.step.Reset()
	clear(f.reqs)
	clear(f.masks.Allow)
	clear(f.drafts)
	*f = flight{step: f.step, reqs: f.reqs[:0], drafts: f.drafts[:0], masks: batch.Masks{Allow: f.masks.Allow[:0]}}
}

// Output is one token of one request, or its end.
type Output struct {
	Req   *Request
	Token int32 // batch.NoToken when the request Failed, or there are only Scores, or an end
	// Logprob is nil unless the request asked; valid as long as the Result.
	Logprob *batch.Logprob
	// Scores are those of the prompt's next tokens, from the second on, when
	// asked for; valid as long as the Result. They may come without a token.
	Scores []batch.Logprob
	Finish Reason // Running: more will come
	// Rejected is how many draft tokens of the step are not among those it brought, told with
	// the first of these.
	Rejected int32
}

// New checks the configuration; its error names every fault.
func New(cfg Config) (*Planner, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	p := &Planner{cfg: cfg, queue: queue{clients: map[string]*client{}}, shift: uint(bits.TrailingZeros(uint(cfg.PageSize))), live: make(map[uint64]*Request)}
	p.pages = newPages(cfg.NumPages, cfg.PageSize, p.shift, cfg.Cache == Radix, cfg.Snapshots)
	if cfg.Digest {
		p.pages.changes = new(Changes)
	}
	p.seats = make([]seat, cfg.Slots)
	p.vacant = make([]uint64, (cfg.Slots+63)/64)
	p.vacate()
	p.reserve.init()
	p.unknown = make([]int32, 1+cfg.Drafts)
	return p, nil
}

// vacate empties every seat; the device's page table is unknown afterwards.
func (p *Planner) vacate() {
	clear(p.vacant)
	for i := range p.seats {
		p.seats[i] = seat{table: p.seats[i].table[:0]}
		p.vacant[i/64] |= 1 << (i % 64)
	}
	p.top, p.seated = 0, 0
}

// Add queues a request, or says (*InputError) why it could never run.
func (p *Planner) Add(r *Request) error {
	if err := p.cfg.check(r); err != nil {
		return err
	}
	if p.live[r.ID] != nil {
		return inputErrorf("request %d is running already", r.ID)
	}
	if r.state != fresh {
		return inputErrorf("request %d was added before: a Request is used once", r.ID)
	}
	p.cfg.prepare(r)
	if r.Speculate {
		p.speculating++
		r.speculation = newSpeculation()
	}
	p.arrived++
	r.arrival, r.since = p.arrived, p.step
	name := r.Client
	if p.cfg.Policy == Priority { // whoever sends it
		r.rank = int64(p.step) - int64(r.Priority)*int64(p.cfg.AgeSteps)
		name = ""
	}
	r.client = p.queue.join(name)
	p.live[r.ID] = r
	p.enqueue(r)
	return nil
}

func (p *Planner) enqueue(r *Request) {
	r.state = waiting
	r.slot, r.computed, r.pending, r.pages, r.treed, r.filled = none, 0, 0, 0, 0, 0
	r.decoding, r.private, r.last = false, false, 0
	r.end, r.parts, r.held, r.gap, r.gone = 0, cursor{}, none, 0, 0
	p.queue.push(r)
}

// Abort ends a request wherever it is; no Output follows. It reports false
// when there is no such request or it has ended.
func (p *Planner) Abort(id uint64) bool { return p.Finish(id, Aborted) }

// Finish ends a request with this reason, as when a stop string was found in
// its text; no Output follows. It reports false when there is no such request
// or it has ended.
func (p *Planner) Finish(id uint64, why Reason) bool {
	r := p.live[id]
	if r == nil {
		return false
	}
	p.end(r, why)
	if r.slot != none && !p.launched(r) {
		p.leave(r)
	}
	return true
}

// end makes r's end known. Its seat and pages stay until its rows are
// committed.
func (p *Planner) end(r *Request, why Reason) {
	switch r.state {
	case waiting:
		p.queue.remove(r)
	case running:
		p.deactivate(r)
	}
	r.state, r.Finish = ended, why
	delete(p.live, r.ID)
	p.queue.left(r.client)
	if r.Speculate {
		p.speculating--
	}
	p.stats.Finished[why]++
	p.reserve.finished(r)
}

// deactivate keeps r out of the steps to come.
func (p *Planner) deactivate(r *Request) {
	r.client.running--
	if !r.decoding {
		for i, q := range p.prefill {
			if q == r {
				p.prefill = append(p.prefill[:i], p.prefill[i+1:]...)
				break
			}
		}
	}
}

// launched reports whether a step with a row of r awaits its result.
func (p *Planner) launched(r *Request) bool { return r.last > p.step-uint64(p.out) }

// Changes are what became of the prefixes in the tree since the last call, under
// Config.Digest: pages join when they are about to be computed. They are the caller's
// until the next call of the planner.
func (p *Planner) Changes() (c Changes) {
	if of := p.pages.changes; of != nil {
		c = *of
		of.Cleared, of.Pages = false, of.Pages[:0]
	}
	return c
}

// Reset forgets the device: every launched step is lost, every page empty.
// Whatever had not ended waits again, keeping its tokens and its place.
func (p *Planner) Reset() {
	for i := range p.seats[:p.top] {
		r := p.seats[i].req
		if r == nil {
			continue
		}
		r.seen = cursor{}
		if r.state == running {
			r.client.running--
		}
		if r.state != ended {
			r.slot = none
			p.enqueue(r)
		}
	}
	for i := range p.ring {
		p.ring[i].reset()
	}
	p.out, p.run = 0, 0
	p.prefill = p.prefill[:0]
	p.pages.reset()
	p.vacate()
	p.check()
}

// leave takes r's seat and pages away; no launched step may have a row of it.
// What it computed joins the tree.
func (p *Planner) leave(r *Request) {
	table := p.seats[r.slot].table[:r.pages]
	if p.cfg.Cache == Radix {
		p.keep(r, table)
		p.dropStates(r)
	}
	for i := len(table) - 1; i >= 0; i-- {
		if !r.without(int32(i)) {
			p.pages.release(table[i], p.step)
		}
	}
	p.seats[r.slot].req = nil
	p.vacant[r.slot/64] |= 1 << (r.slot % 64)
	p.seated--
	for p.top > 0 && p.seats[p.top-1].req == nil {
		p.top--
	}
	r.slot, r.pages = none, 0
}

// keep puts the full pages r computed into the tree, below the ones that are
// in it already, and takes out those it did not come to compute.
func (p *Planner) keep(r *Request, table []int32) {
	for ; r.treed > r.filled; r.treed-- {
		p.pages.unlink(table[r.treed-1])
	}
	if r.Finish == Failed { // what made it fail may be in its pages
		for ; r.treed > 0 && p.pages.sole(table[r.treed-1]); r.treed-- {
			p.pages.unlink(table[r.treed-1])
		}
		return
	}
	// A row computed too often may have gone one past the known tokens.
	full := min(r.computed, int32(len(r.tokens))) >> p.shift
	if r.gone > r.gap {
		return // nothing to hang the rest below
	}
	at := root
	if r.treed > 0 {
		at = table[r.treed-1]
	}
	for i := r.treed; i < full; i++ {
		tokens := r.tokens[int(i)<<p.shift:][:p.cfg.PageSize]
		switch id := p.pages.child(at, tokens); {
		case id == none:
			p.pages.link(table[i], at, tokens, r.last, p.step)
			at = table[i]
		case p.pages.all[id].filled == unfilled:
			return // another is about to fill the rest
		default:
			p.pages.touch(id, p.step)
			at = id
		}
		if r.held != none && i+1 == r.end {
			p.pages.states.settle(r, at)
		}
	}
}

package plan

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/troupe-llm/troupe/gpu/batch"
)

const testVocab = 50

// world is a planner, a machine and what is known of every request.
type world struct {
	p      *Planner
	m      *machine
	rng    *rand.Rand
	nextID uint64
	live   []*Request
	over   map[uint64]Reason // how each ended
	got    map[uint64][]int32
	scores map[uint64]int // brought so far; the machine's are positions
	given  uint64         // requests that came with output
	known  map[uint64]int // nodes by their hashes, as the planner's changes tell of them
	fairs  ledger
}

func newWorld(t testing.TB, cfg Config, seed uint64) *world {
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return &world{
		p: p, m: newMachine(&cfg, testVocab),
		rng:  rand.New(rand.NewPCG(seed, 1)),
		over: map[uint64]Reason{}, got: map[uint64][]int32{}, scores: map[uint64]int{}, known: map[uint64]int{},
		fairs: ledger{served: map[string]int{}, paid: map[uint64]bool{}},
	}
}

// add submits a request and works out what must become of it.
func (w *world) add(r *Request) error {
	r.Sampling.Seed = r.ID
	if w.rng.IntN(6) == 0 {
		w.give(r)
	}
	if err := w.p.Add(r); err != nil {
		return err
	}
	w.m.invite(r, int(r.limit), r.stops)
	w.fairs.came(w.live, r)
	w.live = append(w.live, r)
	return nil
}

// give has a request come with the beginning of its output, as from another planner.
func (w *world) give(r *Request) {
	twin := *r
	w.p.cfg.prepare(&twin)
	g := w.m.invite(&twin, int(twin.limit), twin.stops)
	if all := g.want[g.n:]; len(all) > 0 {
		r.Given = all[:w.rng.IntN(len(all))]
		w.got[r.ID] = slices.Clone(r.Given)
		w.given++
	}
}

// masks hands over what the last step was launched without.
func (w *world) masks() error {
	if m := w.p.Masks(); m != nil {
		return w.m.mask(m)
	}
	return nil
}

func (w *world) launch() (bool, error) {
	if err := w.masks(); err != nil {
		return false, err
	}
	evicted := w.p.pages.evicted
	s := w.p.Next()
	if s == nil {
		return false, nil
	}
	if err := w.m.launch(s); err != nil {
		return true, err
	}
	if err := w.fair(); err != nil {
		return true, err
	}
	// What somebody waited for may be gone since.
	return true, w.inOrder(w.p.pages.states.kept() && w.p.pages.evicted > evicted)
}

// fair checks, right after a step was built, that nobody was passed over
// without the reason there is for it.
func (w *world) fair() error {
	p := w.p
	if err := p.checkPace(); err != nil {
		return err
	}
	decoded := p.cfg.Schedule == Mixed || p.run == 0
	for i := range p.seats {
		r := p.seats[i].req
		if r == nil || !decoded || r.last == p.step || !r.wantsToken() {
			continue
		}
		if starved := r.computed>>p.shift == r.pages && p.pages.available() == 0; !starved {
			return fmt.Errorf("request %d decodes, but has no row in step %d", r.ID, p.step)
		}
	}
	if p.cfg.Schedule == PrefillFirst {
		if p.run > maxPrefillRun {
			return fmt.Errorf("%d prefill steps in a row", p.run)
		}
	} else if step := &p.ring[p.step%uint64(len(p.ring))].step; len(p.prefill) > 0 && p.prefill[0].last != p.step && step.NumTokens < p.cfg.StepTokens &&
		(p.cfg.TargetITL == 0 || len(step.Rows) == step.Replies()) { // else time may be up, of which others had some
		return fmt.Errorf("request %d is next to prefill, but has no row in step %d", p.prefill[0].ID, p.step)
	}
	return nil
}

// inOrder checks that whoever the step seated had to overtake nobody, or
// somebody who waits for what another computes.
func (w *world) inOrder(lenient bool) error {
	p := w.p
	f := &p.ring[p.step%uint64(len(p.ring))]
	for i, in := range f.step.Slots {
		r := p.seats[in.Slot].req
		late := f.step.Slots[i+1:] // those that were seated after it
		for _, q := range w.live {
			waited := q.state == waiting || slices.ContainsFunc(late, func(in batch.SlotInit) bool { return p.seats[in.Slot].req == q })
			if !waited || lenient || p.cfg.Policy == LongestPrefix || !w.fairs.overtaken(q, r) {
				continue
			}
			if q.state != waiting || !p.lookup(q, p.step).wait {
				return fmt.Errorf("step %d seated request %d before %d, of clients %q and %q, having served %v", p.step, r.ID, q.ID, r.Client, q.Client, w.fairs.served)
			}
		}
		row := slices.IndexFunc(f.step.Rows, func(row batch.Row) bool { return row.Slot == in.Slot })
		w.fairs.seated(r, len(r.tokens)-int(f.step.Rows[row].Start))
	}
	return nil
}

// ledger keeps, the dumb way, what clients were served.
type ledger struct {
	served map[string]int
	most   int // of the client seated last, or more
	paid   map[uint64]bool
}

// client is whom a request counts for.
func (*ledger) client(r *Request) string {
	if r.client.name != r.Client { // under the priority policy
		return ""
	}
	return r.Client
}

// came notes a request beside those that have not ended.
func (l *ledger) came(live []*Request, r *Request) {
	if !slices.ContainsFunc(live, func(q *Request) bool { return l.client(q) == l.client(r) }) {
		l.served[l.client(r)] = l.most
	}
}

// overtaken reports whether q, which waits, should have been seated before r.
func (l *ledger) overtaken(q, r *Request) bool {
	mine, others := l.served[l.client(q)], l.served[l.client(r)]
	first := q.rank < r.rank || q.rank == r.rank && q.arrival < r.arrival
	if given := len(q.Given) > 0; q.rank == r.rank && given != (len(r.Given) > 0) {
		first = given
	}
	return mine < others || mine == others && first
}

// seated charges r, the first time, for the tokens that it has to compute.
func (l *ledger) seated(r *Request, tokens int) {
	if !l.paid[r.ID] {
		l.paid[r.ID] = true
		l.served[l.client(r)] += tokens
		l.most = max(l.most, l.served[l.client(r)])
	}
}

// commit hands the oldest result over and checks every output against the
// reference.
func (w *world) commit() (err error) {
	if err := w.masks(); err != nil {
		return err
	}
	accepted, before := 0, w.p.stats.Accepted
	defer func() {
		if got := int(w.p.stats.Accepted - before); err == nil && got != accepted {
			err = fmt.Errorf("%d tokens came behind a step's first of their request, %d drafts are counted as accepted", accepted, got)
		}
	}()
	drew := map[uint64]bool{}
	for _, o := range w.p.Commit(w.m.wait()) {
		id := o.Req.ID
		if o.Token != batch.NoToken {
			if drew[id] {
				accepted++
			}
			drew[id] = true
		}
		if why, done := w.over[id]; done {
			return fmt.Errorf("request %d has output after it ended (%v)", id, why)
		}
		for _, s := range o.Scores {
			if w.scores[id]++; s.Token != float32(w.scores[id]) {
				return fmt.Errorf("request %d: the score of position %v is number %d", id, s.Token, w.scores[id])
			}
		}
		if o.Token == batch.NoToken && len(o.Scores) > 0 && o.Finish == Running {
			continue
		}
		if want := len(o.Req.Prompt) - 1; o.Req.Score && w.scores[id] != want || !o.Req.Score && w.scores[id] > 0 {
			return fmt.Errorf("request %d: its prompt of %d tokens has %d scores", id, want+1, w.scores[id])
		}
		g := w.m.guests[id]
		if o.Token != batch.NoToken || !o.Req.PromptOnly {
			w.got[id] = append(w.got[id], o.Token)
		}
		if o.Token != batch.NoToken {
			w.fairs.served[w.fairs.client(o.Req)] += 2
		}
		n := len(w.got[id])
		if n > 0 && (g.n+n > len(g.want) || g.want[g.n+n-1] != o.Token) {
			return fmt.Errorf("request %d: output %d is token %d, which is wrong", id, n, o.Token)
		}
		if atEnd := g.n+n == len(g.want); atEnd != (o.Finish != Running) {
			return fmt.Errorf("request %d: finish %v after %d tokens of %d", id, o.Finish, n, len(g.want)-g.n)
		}
		if o.Finish != Running {
			w.ended(o.Req, o.Finish)
		}
	}
	return nil
}

func (w *world) ended(r *Request, why Reason) {
	w.over[r.ID] = why
	i := slices.Index(w.live, r)
	w.live = slices.Delete(w.live, i, i+1)
	delete(w.m.guests, r.ID)
	delete(w.got, r.ID)
	delete(w.scores, r.ID)
}

func (w *world) abort(r *Request) error {
	if !w.p.Abort(r.ID) {
		return fmt.Errorf("request %d cannot be aborted", r.ID)
	}
	w.ended(r, Aborted)
	if w.p.Abort(r.ID) {
		return fmt.Errorf("request %d was aborted twice", r.ID)
	}
	return nil
}

// request makes up a request whose prompt often begins like others.
func (w *world) request(maxPrompt, maxOut int) *Request {
	w.nextID++
	n := 1 + w.rng.IntN(maxPrompt)
	prompt := make([]int32, n)
	family, depth := int32(w.rng.IntN(3)), w.rng.IntN(n+1)
	for i := range prompt {
		if i < depth {
			prompt[i] = (int32(i)*7 + family*11) % testVocab
		} else {
			prompt[i] = int32(w.rng.IntN(testVocab))
		}
	}
	r := &Request{ID: w.nextID, Prompt: prompt, MaxTokens: 1 + w.rng.IntN(maxOut), Priority: w.rng.IntN(3), Client: []string{"a", "a", "a", "b", "c"}[w.rng.IntN(5)]}
	if w.rng.IntN(4) == 0 {
		r.IgnoreEOS = true
	}
	if w.rng.IntN(4) == 0 {
		r.MinTokens = 1 + w.rng.IntN(r.MaxTokens)
	}
	if w.rng.IntN(8) == 0 {
		r.StopTokens = []int32{int32(w.rng.IntN(testVocab))}
	}
	if w.rng.IntN(8) == 0 {
		r.Constraint = parity{}
	}
	r.Speculate = w.p.cfg.Drafts > 0 && w.rng.IntN(3) > 0
	r.Score = w.rng.IntN(8) == 0
	r.PromptOnly = w.rng.IntN(8) == 0
	return r
}

// fewTokensFree is what steps are predicted to take where a token more hardly counts.
func fewTokensFree(s *batch.Step) int64 { return int64(40 + s.NumTokens) }

// parity allows tokens of the same parity as the output's length, and 0.
type parity struct{}

func (parity) Allow(output []int32) []uint32 {
	if len(output)%2 == 0 {
		return []uint32{0x55555555, 0x55555555}
	}
	return []uint32{0xaaaaaaab, 0xaaaaaaaa}
}

func (c parity) Ahead(output []int32, n int) [][]uint32 { return ahead(c, output, n) }

// ahead is Constraint.Ahead of one that Allow says all of.
func ahead(c Constraint, output []int32, n int) (masks [][]uint32) {
	for i := len(output) - n; i < len(output); i++ {
		t, allow := output[i], c.Allow(output[:i])
		if allow[t/32]>>(t%32)&1 == 0 {
			break
		}
		masks = append(masks, c.Allow(output[:i+1]))
	}
	return masks
}

// run drives the world for some steps, then lets everything end.
func (w *world) run(steps, maxPrompt, maxOut int, faults bool) error {
	waiting := w.p.cfg.Slots * 2
	for w.m.steps < steps || len(w.live) > 0 {
		if w.m.steps < steps && len(w.live) < waiting+w.p.cfg.Slots && w.rng.IntN(3) == 0 {
			for range 1 + w.rng.IntN(4) {
				if err := w.add(w.request(maxPrompt, maxOut)); err != nil {
					return err
				}
			}
		}
		if faults && len(w.live) > 0 {
			switch x := w.rng.IntN(4000); {
			case x < 60:
				if err := w.abort(w.live[w.rng.IntN(len(w.live))]); err != nil {
					return err
				}
			case x == 60: // a storm
				for len(w.live) > 0 {
					if err := w.abort(w.live[0]); err != nil {
						return err
					}
				}
			case x == 61:
				w.m.lose()
				w.p.Reset()
			}
		}
		ok, err := w.launch()
		if err != nil {
			return err
		}
		if len(w.m.out) > 0 && (!ok || w.rng.IntN(2) == 0) {
			err = w.commit()
		} else if !ok && len(w.live) > 0 {
			err = fmt.Errorf("deadlock: %d requests are left and nothing runs: %v", len(w.live), w.p.Stats())
		}
		if err != nil {
			return err
		}
		if w.p.stats.Accepted > w.m.right {
			return fmt.Errorf("%d drafts were accepted, counted %d", w.m.right, w.p.stats.Accepted)
		}
		if !checks && w.m.steps%64 == 0 {
			if err := w.p.audit(); err != nil {
				return err
			}
		}
		if w.m.steps%64 == 0 {
			if err := w.digest(); err != nil {
				return err
			}
		}
	}
	for len(w.m.out) > 0 {
		if err := w.commit(); err != nil {
			return err
		}
	}
	if s := w.p.Stats(); s.PagesUsed != 0 || s.Running != 0 || s.Waiting != 0 || len(w.p.live) != 0 {
		return fmt.Errorf("everything ended, but %v, live %d", s, len(w.p.live))
	}
	return w.p.audit()
}

// digest checks that whoever listens to changes knows which prefixes are in the tree.
func (w *world) digest() error {
	c := w.p.Changes()
	if c.Cleared {
		clear(w.known)
	}
	for _, page := range c.Pages {
		if !page.Gone {
			w.known[page.Hash]++
		} else if w.known[page.Hash]--; w.known[page.Hash] == 0 {
			delete(w.known, page.Hash)
		}
	}
	s, nodes := w.p.pages, 0
	var hash func(id int32) uint64
	hash = func(id int32) uint64 {
		if id == root {
			return 0
		}
		return HashPage(hash(s.all[id].parent), s.nodeTokens(id))
	}
	for i := range s.all {
		if s.all[i].parent == notNode {
			continue
		}
		if nodes++; w.known[hash(int32(i))] != 1 {
			return fmt.Errorf("page %d is in the tree, and changes say so %d times", i, w.known[hash(int32(i))])
		}
	}
	if w.p.cfg.Digest && nodes != len(w.known) {
		return fmt.Errorf("%d nodes, and changes told of %d", nodes, len(w.known))
	}
	return nil
}

// A million steps of random schedules, sizes, shortages and faults, every
// token, page and end of every request checked against the reference.
func TestRandom(t *testing.T) {
	runs, steps := uint64(500), 2000
	if checks {
		runs = 25 // each step is audited
	}
	var sum Stats
	var late, given, right, wrong uint64
	for seed := range runs {
		rng := rand.New(rand.NewPCG(seed, 0))
		cfg := Config{Slots: 1 + rng.IntN(8), PageSize: 1 << rng.IntN(5), MaxSeqLen: 40 + rng.IntN(60), EOS: []int32{7}, Vocab: testVocab}
		cfg.StepTokens = cfg.Slots + 1 + rng.IntN(40)
		cfg.NumPages = (40+rng.IntN(200))/cfg.PageSize + 2
		cfg.Cache = []Cache{Radix, Radix, Naive}[rng.IntN(3)]
		cfg.Schedule = []Schedule{Mixed, Mixed, PrefillFirst}[rng.IntN(3)]
		cfg.Policy = []Policy{FCFS, Priority, LongestPrefix}[rng.IntN(3)]
		cfg.Overlap = rng.IntN(4) > 0
		cfg.Digest = true
		if cfg.States = rng.IntN(2) == 0; cfg.States {
			cfg.Snapshots = rng.IntN(8)
		}
		if rng.IntN(4) == 0 {
			cfg.Window = 1 + rng.IntN(40)
		}
		if cfg.Schedule == Mixed && rng.IntN(3) == 0 {
			cfg.TargetITL, cfg.StepTime = 1+rng.Int64N(80), testStepTime
		}
		if !cfg.States && rng.IntN(2) == 0 {
			cfg.Drafts = 1 + rng.IntN(8)
			if cfg.StepTime == nil || rng.IntN(2) == 0 {
				cfg.StepTime = fewTokensFree
			}
			if rng.IntN(2) == 0 {
				cfg.Draws = cfg.Slots + rng.IntN(2*cfg.Slots)
			}
		}
		w := newWorld(t, cfg, seed)
		maxPrompt := min(cfg.MaxSeqLen-1, cfg.NumPages*cfg.PageSize, 60)
		if err := w.run(steps, maxPrompt, 40, seed%2 == 0); err != nil {
			t.Fatalf("seed %d, step %d, %+v:\n%v", seed, w.m.steps, cfg, err)
		}
		st := w.p.Stats()
		late += w.m.lateRows
		right += w.m.right
		wrong += w.m.wrong
		sum.Drafted += st.Drafted
		sum.Accepted += st.Accepted
		given += w.given
		sum.Steps += st.Steps
		sum.Preempted += st.Preempted
		sum.Yielded += st.Yielded
		sum.Wasted += st.Wasted
		sum.Deferred += st.Deferred
		sum.CachedTokens += st.CachedTokens
		sum.Evicted += st.Evicted
		sum.Saved += st.Saved
		sum.Restored += st.Restored
		for i, n := range st.Finished {
			sum.Finished[i] += n
		}
	}
	t.Logf("%d tokens drafted, %d accepted", sum.Drafted, sum.Accepted)
	t.Logf("%d steps; %d preempted, %d of them for a client, %d rows too many, %d put off, %d tokens cached, %d pages evicted, %d snapshots, used %d times, ended %v",
		sum.Steps, sum.Preempted, sum.Yielded, sum.Wasted, sum.Deferred, sum.CachedTokens, sum.Evicted, sum.Saved, sum.Restored, sum.Finished)
	for what, n := range map[string]uint64{
		"preemption": sum.Preempted, "preemption for a client": sum.Yielded, "row too many": sum.Wasted, "late mask": late, "draft accepted": right, "draft rejected": wrong, "output given": given, "wait for a common prefix": sum.Deferred, "cached token": sum.CachedTokens,
		"snapshot": sum.Saved, "snapshot used": sum.Restored,
		"eviction": sum.Evicted, "stop": sum.Finished[Stop], "length": sum.Finished[Length], "abort": sum.Finished[Aborted],
	} {
		if n < runs {
			t.Errorf("only %d times a %s in %d runs: the test has lost its teeth", n, what, runs)
		}
	}
}

// Whatever keeps arriving, nobody waits for ever.
func TestNobodyStarves(t *testing.T) {
	for _, c := range []struct {
		policy  Policy
		poor    Request // the one that others would be preferred to
		rich    func(i int) Request
		atLeast int // requests that overtake it, to show that the policy matters
		atMost  int
	}{
		{
			Priority,
			Request{Prompt: []int32{1, 2}, MaxTokens: 2},
			func(i int) Request { return Request{Prompt: []int32{3, 4}, MaxTokens: 2, Priority: 2} }, 20, 80,
		}, // those of 2·AgeSteps steps,
		{
			LongestPrefix,
			Request{Prompt: []int32{1, 2, 3}, MaxTokens: 2},
			func(i int) Request { return Request{Prompt: append(make([]int32, 36), int32(i)), MaxTokens: 2} }, 5, 30,
		},
		{FCFS, Request{Prompt: make([]int32, 30), MaxTokens: 2}, // large, among small
			func(i int) Request { return Request{Prompt: []int32{9, 9}, MaxTokens: 2} }, 0, 12},
	} {
		t.Run(string(c.policy), func(t *testing.T) {
			cfg := Config{Slots: 2, NumPages: 60, PageSize: 2, MaxSeqLen: 40, StepTokens: 16, Vocab: testVocab, Policy: c.policy, AgeSteps: 20, Overlap: true}
			w := newWorld(t, cfg, 1)
			overtook, before := -1, 0
			add := func(r Request, i int) *Request {
				r.ID = uint64(i + 1)
				if err := w.add(&r); err != nil {
					t.Fatal(err)
				}
				return &r
			}
			var poor *Request
			for i := 0; overtook < 0; i++ {
				if i > 500 {
					t.Fatal("it still waits")
				}
				if i == 20 {
					poor = add(c.poor, i)
				} else {
					add(c.rich(i%testVocab), i)
				}
				ok, err := w.launch()
				if err != nil {
					t.Fatal(err)
				}
				if len(w.m.out) > 0 && (!ok || len(w.m.out) > 1) {
					if err := w.commit(); err != nil {
						t.Fatal(err)
					}
				}
				if poor != nil && poor.counted {
					for _, r := range w.live {
						if r.ID > poor.ID && r.counted {
							before++
						}
					}
					for id := range w.over {
						if id > poor.ID {
							before++
						}
					}
					overtook = before
				}
			}
			if overtook < c.atLeast || overtook > c.atMost {
				t.Errorf("%d requests overtook it, want %d to %d", overtook, c.atLeast, c.atMost)
			}
		})
	}
}

// checkPace is whether the step built last is predicted to end in time, but for its
// last row, of which there is one token when there was no time for any.
func (p *Planner) checkPace() error {
	s := p.ring[p.step%uint64(len(p.ring))].step
	replies := s.Replies()
	if p.cfg.TargetITL == 0 || replies == 0 || len(s.Rows) == replies {
		return nil
	}
	took := func(rows int) int64 {
		s := s
		s.Rows, s.NumTokens = s.Rows[:rows], 0
		for i := range s.Rows {
			s.NumTokens += s.Rows[i].Len()
		}
		return p.cfg.StepTime(&s)
	}
	rows := len(s.Rows)
	if s.Rows[rows-1].Len() == 1 {
		rows--
	}
	if allowed := max(p.cfg.TargetITL, took(replies)+p.cfg.TargetITL/promptShare); took(rows) > allowed {
		return fmt.Errorf("step %d is predicted to take %d, of %d allowed", s.Seq, took(rows), allowed)
	}
	return nil
}

package plan

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
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
}

func newWorld(t testing.TB, cfg Config, seed uint64) *world {
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return &world{
		p: p, m: newMachine(cfg.NumPages, cfg.PageSize, testVocab, cfg.StepTokens),
		rng:  rand.New(rand.NewPCG(seed, 1)),
		over: map[uint64]Reason{}, got: map[uint64][]int32{},
	}
}

// add submits a request and works out what must become of it.
func (w *world) add(r *Request) error {
	r.Sampling.Seed = r.ID
	if err := w.p.Add(r); err != nil {
		return err
	}
	w.m.invite(r, int(r.limit), r.stops)
	w.live = append(w.live, r)
	return nil
}

func (w *world) launch() (bool, error) {
	s := w.p.Next()
	if s == nil {
		return false, nil
	}
	return true, w.m.launch(s)
}

// commit hands the oldest result over and checks every output against the
// reference.
func (w *world) commit() error {
	for _, o := range w.p.Commit(w.m.wait()) {
		id := o.Req.ID
		if why, done := w.over[id]; done {
			return fmt.Errorf("request %d has output after it ended (%v)", id, why)
		}
		w.got[id] = append(w.got[id], o.Token)
		g := w.m.guests[id]
		n := len(w.got[id])
		if g.n+n > len(g.want) || g.want[g.n+n-1] != o.Token {
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
	r := &Request{ID: w.nextID, Prompt: prompt, MaxTokens: 1 + w.rng.IntN(maxOut), Priority: w.rng.IntN(3)}
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
	return r
}

// parity allows tokens of the same parity as the output's length, and 0.
type parity struct{}

func (parity) Allow(output []int32) []uint32 {
	if len(output)%2 == 0 {
		return []uint32{0x55555555, 0x55555555}
	}
	return []uint32{0xaaaaaaab, 0xaaaaaaaa}
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
		if !checks && w.m.steps%64 == 0 {
			if err := w.p.audit(); err != nil {
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

func TestRandom(t *testing.T) {
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 0))
		cfg := Config{Slots: 1 + rng.IntN(8), PageSize: 1 << rng.IntN(5), MaxSeqLen: 40 + rng.IntN(60), EOS: []int32{7}, Vocab: testVocab}
		cfg.StepTokens = cfg.Slots + 1 + rng.IntN(40)
		cfg.NumPages = (40+rng.IntN(200))/cfg.PageSize + 2
		cfg.Cache = []Cache{Radix, Radix, Naive}[rng.IntN(3)]
		cfg.Schedule = []Schedule{Mixed, Mixed, PrefillFirst}[rng.IntN(3)]
		cfg.Policy = []Policy{FCFS, Priority, LongestPrefix}[rng.IntN(3)]
		cfg.Overlap = rng.IntN(4) > 0
		w := newWorld(t, cfg, seed)
		maxPrompt := min(cfg.MaxSeqLen-1, cfg.NumPages*cfg.PageSize, 60)
		if err := w.run(2000, maxPrompt, 40, seed%2 == 0); err != nil {
			t.Fatalf("seed %d, step %d, %+v:\n%v", seed, w.m.steps, cfg, err)
		}
	}
}

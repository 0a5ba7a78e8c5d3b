package remote

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/troupe-llm/troupe/actors/engine"
	"github.com/troupe-llm/troupe/actors/wire"
	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/device"
)

// machine is an engine that computes when it is told to: a request's n-th token is 1000 times its
// prompt's only token, plus n.
type machine struct {
	deliver  func(*wire.Batch)
	running  []*wire.Request
	state    engine.State
	same     wire.Identity
	prefixes wire.Prefixes
	seq      uint64
}

func (m *machine) Identity() wire.Identity  { return m.same }
func (m *machine) Info() device.Info        { return device.Info{Name: "machine", Slots: 4} }
func (m *machine) State() engine.State      { return m.state }
func (m *machine) Stats() (st engine.Stats) { st.Steps = m.seq; return st }
func (m *machine) Close() error             { return nil }
func (m *machine) Prefixes(since uint64) wire.Prefixes {
	if since == m.prefixes.Seq {
		return wire.Prefixes{Seq: since}
	}
	return m.prefixes
}

func (m *machine) Submit(r *wire.Request) {
	copied := *r
	m.running = append(m.running, &copied)
	m.deliver(&wire.Batch{About: r.ID, Outputs: []wire.Output{{Ref: r.Ref, Token: batch.NoToken, Accepted: true}}})
}

func (m *machine) Cancel(ref wire.Ref) {
	for i, r := range m.running {
		if r.Ref == ref {
			m.running = slices.Delete(m.running, i, i+1)
			m.deliver(&wire.Batch{About: r.ID, Outputs: []wire.Output{{Ref: ref, Token: batch.NoToken, Reason: wire.Aborted}}})
			return
		}
	}
}

func (m *machine) step() {
	if len(m.running) == 0 {
		return
	}
	m.seq++
	b := wire.NewBatch(m.seq, len(m.running))
	left := m.running[:0]
	for _, r := range m.running {
		o := wire.Output{Ref: r.Ref, Token: token(r.Prompt[0], len(r.Given))}
		r.Given = append(slices.Clone(r.Given), o.Token)
		if len(r.Given) == r.MaxTokens {
			o.Reason = wire.Length
		} else {
			left = append(left, r)
		}
		b.Outputs = append(b.Outputs, o)
	}
	m.running = left
	m.deliver(b)
}

func token(prompt int32, n int) int32 { return prompt*1000 + int32(n) }

// stage is a front with links to hosts, on one clock, and a network that a test has a hand in.
type stage struct {
	now   int64
	ahead []int64 // the hosts' clocks
	hosts []*host
	links []*Link
	// The frames under way, as bytes, to each host and from it. What is dark stays there.
	to, from []wires
	got      []wire.Output // what links delivered
	changes  int
}

type wires struct {
	queue [][]byte
	dark  bool
}

func newStage(t *testing.T, engines int, machines func(i int, m *machine)) *stage {
	s := &stage{now: 1, to: make([]wires, engines), from: make([]wires, engines)}
	mine := wire.Identity{Version: wire.Version}
	for i := range engines {
		s.ahead = append(s.ahead, int64(i+1)*1e12)
		m := &machine{same: mine}
		if machines != nil {
			machines(i, m)
		}
		shared := &Shared{Engine: m}
		m.deliver = shared.Deliver
		there := func() int64 { return s.now + s.ahead[i] }
		s.hosts = append(s.hosts, newHost(shared, func(_ string, f *wire.Frame) { s.from[i].queue = append(s.from[i].queue, f.Encode()) }, there, zerolog.Nop()))
		l := newLink(fmt.Sprint("h", i), func(f *wire.Frame) { s.to[i].queue = append(s.to[i].queue, f.Encode()) }, func() int64 { return s.now }, mine, zerolog.Nop())
		l.Bind(func(b *wire.Batch) { s.got = append(s.got, b.Outputs...) }, func() { s.changes++ }, nil)
		s.links = append(s.links, l)
	}
	return s
}

func frame(t *testing.T, b []byte) *wire.Frame {
	t.Helper()
	f, err := wire.DecodeFrame(b)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// carry brings what is under way, and what is answered, unless it is dark.
func (s *stage) carry(t *testing.T) {
	t.Helper()
	for moved := true; moved; {
		moved = false
		for i := range s.hosts {
			if w := &s.to[i]; !w.dark && len(w.queue) > 0 {
				b := w.queue[0]
				w.queue = w.queue[1:]
				s.hosts[i].hear("front", frame(t, b))
				moved = true
			}
			if w := &s.from[i]; !w.dark && len(w.queue) > 0 {
				b := w.queue[0]
				w.queue = w.queue[1:]
				s.links[i].hear(frame(t, b))
				moved = true
			}
		}
	}
}

// pass lets time go by.
func (s *stage) pass(t *testing.T, ms int) {
	t.Helper()
	for range ms / 50 {
		s.now += 50e6
		for i := range s.hosts {
			s.links[i].tick(0)
			s.hosts[i].tick(0)
		}
		s.carry(t)
	}
}

func (s *stage) machine(i int) *machine { return s.hosts[i].engine.Engine.(*machine) }

// A session is begun, serves, and ends on either side when the other is not heard of or a frame is
// missing; what was open is lost, once, and nothing of it is heard any more.
func TestSession(t *testing.T) {
	for name, end := range map[string]func(s *stage){
		"nothing is heard of the engine": func(s *stage) { s.from[0].dark = true },
		"nothing comes to the engine":    func(s *stage) { s.to[0].dark = true },
		"a batch is missing":             func(s *stage) { s.machine(0).step(); s.from[0].queue = s.from[0].queue[:0] },
		"a request is missing": func(s *stage) {
			s.links[0].Submit(&wire.Request{Ref: wire.Ref{Slot: 2, Epoch: 1}, Prompt: []int32{2}, MaxTokens: 5})
			s.to[0].queue = s.to[0].queue[:0]
		},
		"the connection is lost":   func(s *stage) { s.links[0].gone(); s.hosts[0].gone("front") },
		"only the front has heard": func(s *stage) { s.links[0].gone() },
		"only the engine has":      func(s *stage) { s.hosts[0].gone("front") },
		"the engine shuts down":    func(s *stage) { s.hosts[0].close("bye") },
	} {
		s := newStage(t, 1, nil)
		if s.links[0].State() != engine.Lost {
			t.Errorf("%s: %v before it is there", name, s.links[0].State())
		}
		s.pass(t, 300)
		if s.links[0].State() != engine.Ready || s.links[0].Info().Name != "machine" {
			t.Fatalf("%s: it is not there: %v", name, s.links[0].State())
		}
		ref := wire.Ref{Slot: 1, Epoch: 1}
		s.links[0].Submit(&wire.Request{Ref: ref, Prompt: []int32{1}, MaxTokens: 50})
		s.carry(t)
		s.machine(0).step()
		s.carry(t)
		end(s)
		s.pass(t, 2000)
		s.to[0].dark, s.from[0].dark = false, false
		s.pass(t, 2000)
		s.machine(0).step() // of what, if it still had it?
		s.pass(t, 500)
		var said []string
		for _, o := range s.got {
			switch {
			case o.Ref != ref:
			case o.Accepted:
				said = append(said, "accepted")
			case o.Fault != nil && o.Fault.Kind == wire.Lost:
				said = append(said, "lost")
			default:
				said = append(said, fmt.Sprint(o.Token))
			}
		}
		if got := strings.Join(said, " "); got != "accepted 1000 lost" {
			t.Errorf("%s: %s", name, got)
		}
		if s.links[0].State() != engine.Ready {
			t.Errorf("%s: it is not there again", name)
		}
		if n := len(s.machine(0).running) + s.hosts[0].open(); n > 0 {
			t.Errorf("%s: the engine still has %d", name, n)
		}
	}
}

// Without a session a request is lost at once.
func TestSubmitWithoutSession(t *testing.T) {
	s := newStage(t, 1, nil)
	s.links[0].Submit(&wire.Request{Ref: wire.Ref{Slot: 7, Epoch: 8}})
	if len(s.got) != 1 || s.got[0].Ref != (wire.Ref{Slot: 7, Epoch: 8}) || s.got[0].Fault == nil || s.got[0].Fault.Kind != wire.Lost {
		t.Errorf("%+v", s.got)
	}
}

// Who has not the same is refused by either side, and asked again later, in case it was mended.
func TestSessionRefused(t *testing.T) {
	s := newStage(t, 2, func(i int, m *machine) {
		m.same.Tokenizer = "another"
		if i == 1 {
			m.same.Version++
		}
	})
	s.links[0].mine.Tokenizer = "mine"
	s.pass(t, 3000)
	for i, l := range s.links {
		if l.State() != engine.Lost || !strings.Contains(l.told, []string{"the tokenizer", "messages are of version"}[i]) {
			t.Errorf("engine %d: %v, %q", i, l.State(), l.told)
		}
	}
	s.machine(0).same.Tokenizer = "mine"
	s.pass(t, 10000)
	if s.links[0].State() != engine.Ready {
		t.Errorf("it agrees by now: %q", s.links[0].told)
	}
	s.links[0].Bind(nil, func() {}, func(*wire.Identity, *device.Info) error { return fmt.Errorf("not with me") })
	if s.links[0].State() != engine.Lost {
		t.Error("the front does not agree")
	}
}

// A front that comes time and again, to be refused or to leave without a request, is told of once.
func TestToldOnce(t *testing.T) {
	s := newStage(t, 1, nil)
	var log bytes.Buffer
	s.hosts[0].log = zerolog.New(&log).Level(zerolog.InfoLevel)
	told := func(what string, want int) {
		t.Helper()
		if got := strings.Count(log.String(), what); got != want {
			t.Errorf("%q is told %d times, want %d:\n%s", what, got, want, &log)
		}
	}
	s.machine(0).same.Tokenizer, s.links[0].mine.Tokenizer = "another", "mine"
	s.pass(t, 35000)
	told("a front is refused", 1)
	s.machine(0).same.Tokenizer = "mine"
	s.pass(t, 11000)
	s.links[0].Submit(&wire.Request{Ref: wire.Ref{Slot: 1, Epoch: 1}, Prompt: []int32{1}, MaxTokens: 5})
	s.carry(t)
	s.links[0].agree = func(*wire.Identity, *device.Info) error { return errors.New("it is another model's") }
	s.hosts[0].gone("front")
	told("a front is detached", 1)
	s.links[0].gone()
	s.pass(t, 35000)
	told("a front is attached", 2)
	told("a front is detached", 2)
}

// What an engine tells of itself arrives: its figures, its state, what is cached there, and times on
// the front's clock.
func TestPulse(t *testing.T) {
	s := newStage(t, 1, nil)
	s.hosts[0].version = "v1.2"
	m := s.machine(0)
	s.pass(t, 600)
	if v := s.links[0].Version(); v != "v1.2" {
		t.Errorf("its program is %q", v)
	}
	m.state, m.seq = engine.Mending, 41
	m.prefixes = wire.Prefixes{Seq: 3, Whole: true, Pages: []wire.Page{{Hash: 1}, {Hash: 2}, {Hash: 3}}}
	before := s.changes
	s.pass(t, 600)
	l := s.links[0]
	if l.State() != engine.Mending || s.changes != before+1 || l.Stats().Steps != 41 {
		t.Errorf("%v after %d changes, %d steps", l.State(), s.changes-before, l.Stats().Steps)
	}
	var known wire.Known
	known.Apply(l.Prefixes(0))
	m.prefixes = wire.Prefixes{Seq: 5, Pages: []wire.Page{{Hash: 2, Gone: true}, {Hash: 4}}}
	s.pass(t, 600)
	known.Apply(l.Prefixes(known.Seq))
	if _, gone := known.Pages[2]; len(known.Pages) != 3 || gone || known.Seq != 5 {
		t.Errorf("it is known to have %+v", known)
	}
	if p := l.Prefixes(known.Seq); len(p.Pages) > 0 || p.Whole {
		t.Errorf("twice: %+v", p)
	}
	s.hosts[0].retire()
	m.state = engine.Ready
	s.pass(t, 600)
	if l.State() != engine.Mending {
		t.Errorf("retiring it is %v", l.State())
	}
	ref := wire.Ref{Slot: 1, Epoch: 1}
	l.Submit(&wire.Request{Ref: ref, Prompt: []int32{1}, MaxTokens: 50})
	s.carry(t)
	there := s.now + s.ahead[0]
	own := s.hosts[0].engine.slots
	m.deliver(&wire.Batch{Computed: there, Outputs: []wire.Output{{Ref: wire.Ref{Slot: 0, Epoch: own[0].epoch}, Token: 1, Progress: &wire.Progress{Came: there - 7, Queued: there - 5, First: there}}}})
	s.got = nil
	s.carry(t)
	if p := s.got[0].Progress; p.Came != s.now-7 || p.Queued != s.now-5 || p.First != s.now || p.Started != 0 {
		t.Errorf("at %d: %+v", s.now, p)
	}
}

// asked is a request as a front has it.
type asked struct {
	ref    wire.Ref
	at     int
	given  []int32
	prompt int32
	want   int
	done   bool
}

// Whatever the network does, and whichever engine hangs, every request gets all of its tokens, each
// once and in order, so long as something works for a while.
func TestSessionsAtRandom(t *testing.T) {
	for seed := range uint64(40) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		s := newStage(t, 3, nil)
		all := map[uint32]*asked{}
		place := func(a *asked) {
			a.ref.Epoch++
			for a.at = rnd.IntN(3); s.links[a.at].State() != engine.Ready && rnd.IntN(4) > 0; {
				a.at = rnd.IntN(3)
			}
			s.links[a.at].Submit(&wire.Request{Ref: a.ref, Prompt: []int32{a.prompt}, Given: slices.Clone(a.given), MaxTokens: a.want})
		}
		read := func() {
			got := s.got
			s.got = nil
			for _, o := range got {
				a := all[o.Slot]
				switch {
				case a == nil || a.ref != o.Ref || a.done:
				case o.Fault != nil:
					place(a)
				default:
					if o.Token != batch.NoToken {
						a.given = append(a.given, o.Token)
					}
					a.done = o.Ends()
				}
			}
		}
		s.pass(t, 500)
		for i := range uint32(12) {
			all[i] = &asked{ref: wire.Ref{Slot: i}, prompt: int32(i), want: 5 + rnd.IntN(40)}
			place(all[i])
		}
		mess := func() {
			i := rnd.IntN(3)
			for _, w := range []*wires{&s.to[i], &s.from[i]} {
				switch rnd.IntN(8) {
				case 0:
					w.dark = true
				case 1: // a connection is lost, with what was on it, and nobody is told
					w.queue = w.queue[rnd.IntN(len(w.queue)+1):]
				case 2:
					s.links[i].gone()
				case 3:
					s.hosts[i].gone("front")
				default:
					w.dark = false
				}
			}
		}
		for range 60 {
			mess()
			for range rnd.IntN(4) {
				s.machine(rnd.IntN(3)).step()
			}
			s.pass(t, rnd.IntN(8)*100)
			read()
		}
		for i := range s.to {
			s.to[i].dark, s.from[i].dark = false, false
		}
		ended := func() bool {
			for _, a := range all {
				if !a.done {
					return false
				}
			}
			return true
		}
		for n := 0; n < 400 && !ended(); n++ {
			s.pass(t, 100)
			for i := range 3 {
				s.machine(i).step()
			}
			read()
		}
		s.pass(t, 6000) // and what no front waits for any more
		for _, a := range all {
			var want []int32
			for n := range a.want {
				want = append(want, token(a.prompt, n))
			}
			if !a.done || !slices.Equal(a.given, want) {
				t.Fatalf("seed %d: request %d: done %v, %d of %d tokens: %v", seed, a.prompt, a.done, len(a.given), a.want, a.given)
			}
		}
		for i, h := range s.hosts {
			if len(h.engine.free) != len(h.engine.slots) || len(s.machine(i).running) > 0 {
				t.Fatalf("seed %d: engine %d has %d requests at the end", seed, i, len(s.machine(i).running))
			}
		}
	}
}

// Fronts that call requests the same do not get each other's.
func TestShared(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	m := &machine{}
	s := &Shared{Engine: m}
	m.deliver = s.Deliver
	type front struct {
		port *Port
		got  map[wire.Ref][]int32
		open map[wire.Ref]int32 // and its prompt
	}
	var fronts []*front
	for range 3 {
		f := &front{got: map[wire.Ref][]int32{}, open: map[wire.Ref]int32{}}
		f.port = s.Port(func(b *wire.Batch) {
			for _, o := range b.Outputs {
				if o.Token != batch.NoToken {
					f.got[o.Ref] = append(f.got[o.Ref], o.Token)
				}
				if o.Ends() {
					delete(f.open, o.Ref)
				}
			}
			b.Release()
		})
		fronts = append(fronts, f)
	}
	prompts := int32(0)
	want := map[int32]bool{}
	for n := range 2000 {
		f := fronts[rnd.IntN(3)]
		ref := wire.Ref{Slot: rnd.Uint32N(4), Epoch: uint32(n)}
		switch rnd.IntN(6) {
		case 0, 1:
			prompts++
			f.open[ref] = prompts
			want[prompts] = true
			f.port.Submit(&wire.Request{Ref: ref, Prompt: []int32{prompts}, MaxTokens: 1 + rnd.IntN(9), Owed: rnd.IntN(9) - 2})
		case 2:
			for ref := range f.open {
				f.port.Cancel(ref)
				break
			}
		default:
			m.step()
		}
	}
	for _, f := range fronts {
		for ref, got := range f.got {
			for i, tok := range got {
				if tok != token(got[0]/1000, i) {
					t.Fatalf("%+v got %v", ref, got)
				}
			}
			if !want[got[0]/1000] {
				t.Fatalf("%+v got %v, of another", ref, got)
			}
			delete(want, got[0]/1000) // nobody else may have it
		}
		if f.port.Open() != len(f.open) {
			t.Errorf("%d are open, %d of them known", len(f.open), f.port.Open())
		}
	}
	var all int
	for _, f := range fronts {
		all += f.port.Open()
	}
	for i, f := range fronts {
		if l := f.port.Others(); l.Open != all-f.port.Open() || l.Owed > 7*l.Open {
			t.Errorf("front %d is told that others have %+v; all have %d requests, it has %d", i, l, all, f.port.Open())
		}
	}
	fronts[0].port.Leave()
	if before := len(m.running); before != fronts[1].port.Open()+fronts[2].port.Open() || fronts[0].port.Open() != 0 {
		t.Errorf("%d run after the first front has left", before)
	}
	for len(m.running) > 0 {
		m.step()
	}
	if s.load != (wire.Load{}) {
		t.Errorf("in the end there is a load of %+v", s.load)
	}
}

// A front is told what its engine has of others, and what of that is to be computed before a first token.
func TestOthers(t *testing.T) {
	s := newStage(t, 1, nil)
	m, l := s.machine(0), s.links[0]
	s.pass(t, 600)
	s.hosts[0].engine.Port(func(*wire.Batch) {}).Submit(&wire.Request{Prompt: []int32{1, 2, 3}, MaxTokens: 9, Owed: 2})
	l.Submit(&wire.Request{Ref: wire.Ref{Slot: 9}, Prompt: []int32{1}, MaxTokens: 9, Owed: 1})
	s.pass(t, 600)
	if got := l.Others(); got != (wire.Load{Open: 1, Owed: 2}) {
		t.Errorf("another front has %+v there", got)
	}
	m.step()
	s.pass(t, 600)
	if got := l.Others(); got != (wire.Load{Open: 1}) {
		t.Errorf("with a token it has %+v", got)
	}
	l.gone()
	l.tick(0) // begins another session
	if got := l.Others(); got != (wire.Load{}) {
		t.Errorf("in a session that begins it has %+v", got)
	}
}

// An engine's description crosses as it is, but for what points into the model.
func TestInfoCrosses(t *testing.T) {
	info := device.Info{Name: "x", Hardware: "y", DType: "bfloat16", Slots: 3, PageSize: 16, NumPages: 99, MaxSeqLen: 7, Scores: true, KVBytes: 1 << 40, Window: 5}
	text, err := json.Marshal(info)
	var back device.Info
	if err != nil || json.Unmarshal(text, &back) != nil || back != info {
		t.Errorf("%+v became %+v, %v", info, back, err)
	}
}

// A host that was paused itself hears first what came meanwhile: the silence was its own.
func TestPaused(t *testing.T) {
	const pause = 7e9 // longer than either side waits
	for _, excused := range []bool{true, false} {
		s := newStage(t, 1, nil)
		s.pass(t, 300)
		ref := wire.Ref{Slot: 1, Epoch: 1}
		s.links[0].Submit(&wire.Request{Ref: ref, Prompt: []int32{1}, MaxTokens: 2})
		s.carry(t)
		s.machine(0).step() // is under way
		s.now += pause
		late := int64(0)
		if excused {
			late = pause - int64(onTime)
		}
		s.links[0].tick(late)
		s.hosts[0].tick(late)
		s.carry(t)
		s.machine(0).step()
		s.pass(t, 300)
		if whole := s.got[len(s.got)-1].Reason == wire.Length; whole != excused {
			t.Errorf("excused %v: %+v", excused, s.got)
		}
	}
}

package remote

import (
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/troupe-llm/troupe/actors/front"
	"github.com/troupe-llm/troupe/actors/internal/toy"
	"github.com/troupe-llm/troupe/actors/trace"
	"github.com/troupe-llm/troupe/actors/wire"
	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/device"
)

// timed is an engine that draws so many tokens of a request at once, by its own clock, and then ends
// it, or says nothing more of it.
type timed struct {
	machine
	now  func() int64
	ends bool

	mu   sync.Mutex
	seen []wire.Progress // what it told, on its clock
}

func (m *timed) Info() device.Info {
	return device.Info{Name: "timed", Slots: 4, Vocab: 100, PageSize: 4, MaxSeqLen: 50}
}

func (m *timed) Submit(r *wire.Request) {
	p := wire.Progress{Came: m.now()}
	p.Queued = m.now()
	m.deliver(&wire.Batch{About: r.ID, Outputs: []wire.Output{{Ref: r.Ref, Token: batch.NoToken, Accepted: true}}})
	p.Started = m.now()
	p.First = m.now()
	m.mu.Lock()
	m.seen = append(m.seen, p)
	m.mu.Unlock()
	for n := range 3 {
		o := wire.Output{Ref: r.Ref, Token: int32(n)}
		if n == 0 {
			o.Progress = &p
		}
		if n == 2 && m.ends {
			o.Reason = wire.Length
		}
		b := wire.NewBatch(uint64(n+1), 1)
		b.Computed = m.now()
		b.Outputs = append(b.Outputs, o)
		m.deliver(b)
	}
}

// linked are a front's link and a host with an engine whose clock is ahead, and what carries their frames.
type linked struct {
	link   *Link
	engine *timed
	cut    func()
}

func newLinked(t *testing.T, name string, ahead time.Duration, ends bool) *linked {
	t.Helper()
	there := func() int64 { return batch.Now() + int64(ahead) }
	mine := wire.Identity{Version: wire.Version}
	m := &timed{machine: machine{same: mine}, now: there, ends: ends}
	shared := &Shared{Engine: m}
	m.deliver = shared.Deliver
	type post struct {
		to func(*wire.Frame)
		b  []byte
	}
	way := make(chan post, 1000)
	var l *Link
	h := newHost(shared, func(_ string, f *wire.Frame) { way <- post{func(f *wire.Frame) { l.hear(f) }, f.Encode()} }, there, zerolog.Nop())
	l = newLink(name, func(f *wire.Frame) { way <- post{func(f *wire.Frame) { h.hear("front", f) }, f.Encode()} }, batch.Now, mine, zerolog.Nop())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for p := range way {
			f, err := wire.DecodeFrame(p.b)
			if err != nil {
				t.Error(err)
				continue
			}
			p.to(f)
		}
	}()
	t.Cleanup(func() { close(way); <-done })
	return &linked{link: l, engine: m, cut: l.gone}
}

// The clocks of two engines are 5 s ahead and 3 s behind. A request that one of them is lost with goes on
// with the other one, and what each did for it is told on the front's clock, off by no more than is said,
// within the time that the front waited for it; so it is on the trace.
func TestAttemptsOnOneClock(t *testing.T) {
	tr := trace.New(1 << 10)
	s, err := front.Open(front.Config{
		Model: toy.Model(), MaxOpenRequests: 10, Tokenizers: 1, Log: zerolog.Nop(), Trace: tr, Patience: time.Hour,
		Info: (&timed{}).Info(), Same: wire.Identity{Version: wire.Version},
	})
	if err != nil {
		t.Fatal(err)
	}
	a, b := newLinked(t, "10.0.0.1:7946", 5*time.Second, false), newLinked(t, "10.0.0.2:7946", -3*time.Second, true)
	if err := s.Join(a.link); err != nil {
		t.Fatal(err)
	}
	a.link.tick(0) // says hello
	st, err := s.Submit(&front.Request{Tokens: []int32{1}, MaxTokens: 6})
	if err != nil {
		t.Fatal(err)
	}
	var f *front.Final
	for tokens, cut, ev := 0, false, (front.Output{}); f == nil; f = ev.Final {
		if err := st.Next(t.Context(), &ev); err != nil {
			t.Fatal(err)
		}
		if tokens += len(ev.Tokens); tokens >= 3 && !cut {
			cut = true
			if err := s.Join(b.link); err != nil {
				t.Fatal(err)
			}
			b.link.tick(0)
			a.cut()
		}
	}
	if f.Reason != front.FinishLength || len(f.Attempts) != 2 || !f.Elsewhere() || f.Usage.CompletionTokens != 6 {
		t.Fatalf("%+v", f)
	}
	for i, of := range []*linked{a, b} {
		at := &f.Attempts[i]
		off := int64([]time.Duration{5 * time.Second, -3 * time.Second}[i])
		if at.Peer != of.link.Peer() || at.Engine != i || at.Tokens != 3 || at.Lost != (i == 0) || at.ClockError <= 0 || at.ClockError > time.Minute {
			t.Errorf("%+v", at)
		}
		seen := of.engine.seen[0]
		limit := int64(at.ClockError)
		for what, is := range map[string][2]int64{
			"came": {at.Came, seen.Came}, "queued": {at.Queued, seen.Queued}, "started": {at.Started, seen.Started}, "first": {at.First, seen.First},
		} {
			if d := is[0] - (is[1] - off); max(d, -d) > limit {
				t.Errorf("engine %d: %s is off by %v, said to be by %v at most", i, what, time.Duration(d), at.ClockError)
			}
		}
		if at.Came < at.Handed-limit || at.Last > at.Left+limit || at.Handed > at.Left || at.Last < at.First {
			t.Errorf("engine %d: out of order: %+v", i, at)
		}
		for _, p := range at.Phases() {
			if p.Began < at.Handed || p.Ended > at.Left || p.Ended < p.Began {
				t.Errorf("engine %d: %+v is out of %+v", i, p, at)
			}
		}
	}
	rec := tr.Recording()
	var kinds []trace.Kind
	for _, sp := range rec.Spans {
		if sp.On != trace.TrackRequests {
			continue
		}
		kinds = append(kinds, sp.Kind)
		if at := rec.EngineAt(sp.Engine, sp.Began); (sp.Kind == trace.SpanEngine || sp.Kind == trace.SpanEngineLost) && at != f.Attempts[sp.Engine].Peer {
			t.Errorf("engine %d was at %q", sp.Engine, at)
		}
	}
	count := map[trace.Kind]int{}
	for _, k := range kinds {
		count[k]++
	}
	if count[trace.SpanEngine] != 1 || count[trace.SpanEngineLost] != 1 || count[trace.SpanTokenize] != 1 || count[trace.SpanPrefill] != 2 || count[trace.SpanDecode] != 2 {
		t.Errorf("on the trace are %v", kinds)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

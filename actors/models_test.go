package actors

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/troupe-llm/troupe/actors/engine"
	"github.com/troupe-llm/troupe/actors/front"
	"github.com/troupe-llm/troupe/actors/internal/toy"
	"github.com/troupe-llm/troupe/actors/plan"
	"github.com/troupe-llm/troupe/actors/remote"
	"github.com/troupe-llm/troupe/actors/wire"
	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/device"
	"github.com/troupe-llm/troupe/gpu/model"
)

// far is an engine on another host, as a link is: it has a session when a test says so.
type far struct {
	*remote.Shared
	at string

	mu      sync.Mutex
	deliver func(*wire.Batch)
	changed func()
	agree   func(*wire.Identity, *device.Info) error
	port    *remote.Port // nil: there is no session
	open    map[wire.Ref]uint64
	drains  bool
	same    wire.Identity
	refused error // why it may not be used, as it was told last
}

// newFar is an engine with a model of this name, and of one of several trainings.
func newFar(t *testing.T, at, name string, training int) *far {
	t.Helper()
	f := &far{Shared: new(remote.Shared), at: at, open: map[wire.Ref]uint64{}}
	m := toy.Model()
	m.Name, m.Config.Vocab = name, training
	e, err := engine.Open(engine.Config{
		Open: toy.Opener(toy.New()), Model: m, Cache: plan.Naive, Compilers: 1, Log: zerolog.Nop(), Deliver: f.Shared.Deliver,
	})
	if err != nil {
		t.Fatal(err)
	}
	f.Engine, f.same = e, e.Identity()
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

func (f *far) Peer() string              { return f.at }
func (f *far) Version() string           { return "v" }
func (f *far) ClockError() time.Duration { return 0 }
func (f *far) Others() (l wire.Load)     { return l }
func (f *far) Prefixes(uint64) (p wire.Prefixes) {
	p.Whole = true
	return p
}

// Identity is what it says last.
func (f *far) Identity() wire.Identity {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.same
}

func (f *far) State() engine.State {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.port == nil:
		return engine.Lost
	case f.drains:
		return engine.Mending
	}
	return engine.Ready
}

func (f *far) Bind(deliver func(*wire.Batch), changed func(), agree func(*wire.Identity, *device.Info) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.deliver, f.changed, f.agree = deliver, changed, agree
	if f.port != nil {
		f.greeted()
	}
}

// greet begins a session.
func (f *far) greet() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.port = f.Shared.Port(f.news)
	f.greeted()
}

// greeted is called with mu held.
func (f *far) greeted() {
	same, info := f.same, f.Info()
	if f.refused = f.agree(&same, &info); f.refused != nil {
		f.port = nil
	}
	f.changed()
}

// news hands on what the engine says in the session.
func (f *far) news(b *wire.Batch) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range b.Outputs {
		if b.Outputs[i].Ends() {
			delete(f.open, b.Outputs[i].Ref)
		}
	}
	f.deliver(b)
}

func (f *far) Submit(r *wire.Request) {
	f.mu.Lock()
	port, deliver := f.port, f.deliver
	f.open[r.Ref] = r.ID
	f.mu.Unlock()
	if port == nil {
		deliver(gone(r.Ref, r.ID))
		return
	}
	port.Submit(r)
}

func (f *far) Cancel(ref wire.Ref) {
	f.mu.Lock()
	port := f.port
	f.mu.Unlock()
	if port != nil {
		port.Cancel(ref)
	}
}

// Close ends the session: what is open is lost.
func (f *far) Close() error {
	f.mu.Lock()
	port, open := f.port, f.open
	f.port, f.open = nil, map[wire.Ref]uint64{}
	f.mu.Unlock()
	if port == nil {
		return nil
	}
	port.Leave()
	f.mu.Lock()
	defer f.mu.Unlock()
	for ref, id := range open {
		f.deliver(gone(ref, id))
	}
	return nil
}

// drain has others be preferred.
func (f *far) drain() {
	f.mu.Lock()
	f.drains = true
	changed := f.changed
	f.mu.Unlock()
	changed()
}

func (f *far) has() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.open)
}

func (f *far) why() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.refused
}

func gone(ref wire.Ref, id uint64) *wire.Batch {
	return &wire.Batch{About: id, Outputs: []wire.Output{{Ref: ref, Token: batch.NoToken, Reason: wire.Failed, Fault: &wire.Fault{Kind: wire.Lost, Msg: "gone"}}}}
}

// ensemble is a front for models, which a test brings engines to.
type ensemble struct {
	*Models
	opened chan int
	system []*System
}

func newEnsemble(t *testing.T, names ...string) *ensemble {
	t.Helper()
	cfg := Config{Log: zerolog.Nop(), MaxOpenRequests: 100, Tokenizers: 1}
	e := &ensemble{Models: &Models{cfg: cfg, members: newMembership(&cfg)}, opened: make(chan int, len(names)), system: make([]*System, len(names))}
	places := NewPlaces(cfg.MaxOpenRequests)
	for i, name := range names {
		m := toy.Model()
		m.Name = name
		settings := cfg.front(m, nil)
		settings.Engines, settings.Places, settings.Patience = 0, places, time.Hour
		e.Names = append(e.Names, name)
		e.members.hosts(settings, func(s *System, err error) {
			if err != nil {
				t.Error(err)
			}
			e.system[i] = s
			e.opened <- i
		})
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

// hears takes engines that say what they are.
func (e *ensemble) hears(all ...*far) {
	for _, f := range all {
		e.members.found(f)
		f.greet()
	}
}

// until waits until something is so.
func until(t *testing.T, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !so(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not so in time", what)
		}
	}
}

// tally is a stream of a toy's tokens.
type tally struct {
	prompt []int32
	n      int
	stream *Stream
}

func (e *ensemble) ask(t *testing.T, model, streams, n int) (all []tally) {
	t.Helper()
	for i := range streams {
		prompt := []int32{int32(10*model + i + 1)}
		all = append(all, tally{prompt, n, submit(t, e.system[model], &Request{Tokens: prompt, MaxTokens: n, IgnoreEOS: true})})
	}
	return all
}

func check(t *testing.T, all []tally) {
	t.Helper()
	for _, a := range all {
		got := read(t, a.stream)
		if want := toy.Tokens(a.prompt, a.n); got.final.Err != nil || !slices.Equal(got.tokens, want) {
			t.Errorf("after %v: %v, want %v (%v)", a.prompt, got.tokens, want, got.final.Err)
		}
	}
}

// Two models behind one front: each engine is the one's whose model it has. While both are asked, an engine of the
// second comes, and the one that it had is drained and leaves with some of its requests open: nothing is lost.
func TestModels(t *testing.T) {
	e := newEnsemble(t, "a", "b")
	a, b := newFar(t, "h1", "a", 1), newFar(t, "h2", "b", 1)
	e.hears(b)
	if i := <-e.opened; i != 1 {
		t.Fatalf("model %d is there first", i)
	}
	if e.system[0] != nil || !e.system[1].Ready() {
		t.Error("the first model is there without an engine, or the second is not with one")
	}
	e.hears(a)
	<-e.opened
	all := append(e.ask(t, 0, 4, 100), e.ask(t, 1, 4, 100)...)
	until(t, "each engine has its model's requests", func() bool { return a.has() == 4 && b.has() == 4 || e.OpenRequests() < 8 })

	another := newFar(t, "h3", "b", 1)
	e.hears(another)
	until(t, "another engine is ready", func() bool { return len(e.system[1].Stats().Engines) == 2 })
	b.drain()
	all = append(all, e.ask(t, 1, 3, 60)...)
	e.members.left(b)
	all = append(all, e.ask(t, 0, 3, 60)...)
	check(t, all)
	for i, want := range [][]string{{"h1"}, {"h3"}} {
		var peers []string
		for _, of := range e.system[i].Stats().Engines {
			peers = append(peers, of.Peer)
		}
		if !slices.Equal(peers, want) {
			t.Errorf("model %d has engines %v, want %v", i, peers, want)
		}
	}
	if n := e.OpenRequests(); n != 0 {
		t.Errorf("%d requests are open", n)
	}
}

// Open requests are counted for all models together.
func TestModelsSharePlaces(t *testing.T) {
	e := newEnsemble(t, "a", "b")
	a, b := newFar(t, "h1", "a", 1), newFar(t, "h2", "b", 1)
	e.hears(a, b)
	<-e.opened
	<-e.opened
	_, _ = a.Close(), b.Close() // so that requests wait, and stay open
	var all []*Stream
	for n := range 100 {
		st, err := e.system[n%2].Submit(&Request{Tokens: []int32{1}, MaxTokens: 5, Client: fmt.Sprint(n)})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, st)
	}
	_, err := e.system[1].Submit(&Request{Tokens: []int32{1}, Client: "another"})
	if busy := new(BusyError); !errors.As(err, &busy) || busy.Limit != 100 {
		t.Errorf("the 101st of both: %v", err)
	}
	for _, st := range all {
		st.Cancel()
		read(t, st)
	}
}

// An engine of another training of a model than the first has is not used for it, and one of a model that is not
// served for none.
func TestModelsRefuse(t *testing.T) {
	e := newEnsemble(t, "a", "b")
	first, other, stranger := newFar(t, "h1", "a", 1), newFar(t, "h2", "a", 2), newFar(t, "h3", "c", 1)
	e.hears(first)
	<-e.opened
	e.hears(other, stranger)
	until(t, "the second is refused", func() bool { return other.why() != nil })
	if err := other.why(); !strings.Contains(err.Error(), "the weights of a: ") {
		t.Errorf("the second training: %v", err)
	}
	if err := stranger.why(); err == nil || !strings.Contains(err.Error(), "its model is called c, and might be a or b") {
		t.Errorf("the stranger: %v", err)
	}
	check(t, e.ask(t, 0, 8, 20))
	if other.has() > 0 {
		t.Error("an engine that was refused has requests")
	}
}

// A host that is started anew with another of the models is used for that one.
func TestModelsChange(t *testing.T) {
	e := newEnsemble(t, "a", "b")
	was, keeps := newFar(t, "h1", "a", 1), newFar(t, "h2", "a", 1)
	e.hears(was, keeps)
	<-e.opened
	until(t, "both are used", func() bool { return len(e.system[0].Stats().Engines) == 2 })
	all := e.ask(t, 0, 8, 100)
	found := make(chan *far, 1)
	is := newFar(t, "h1", "b", 1)
	e.members.mu.Lock()
	e.members.renew = func(l link) { // as the node does
		e.members.left(l)
		e.hears(is)
		found <- is
	}
	e.members.mu.Unlock()
	_ = was.Close()
	was.mu.Lock()
	was.same = is.same
	was.mu.Unlock()
	was.greet()
	<-found
	if i := <-e.opened; i != 1 {
		t.Fatalf("model %d is there", i)
	}
	check(t, append(all, e.ask(t, 1, 3, 30)...))
}

// Which model an engine has: by all that a front can know of it, then by its name.
func TestWhose(t *testing.T) {
	identity := func(name, sizes, tokenizer string) wire.Identity {
		return wire.Identity{Version: wire.Version, Model: name, Sizes: sizes, Tokenizer: tokenizer}
	}
	m := &membership{}
	for _, same := range []wire.Identity{
		identity("small", "28 layers", "t"), identity("large", "40 layers", "t"),
		identity("tuned", "40 layers", "t"), identity("other", "28 layers", "u"),
	} {
		m.models = append(m.models, &hosted{same: same})
	}
	for _, c := range []struct {
		is   wire.Identity
		want string
	}{
		{identity("small", "28 layers", "t"), "small"},
		{identity("whatever", "28 layers", "t"), "small"},
		{identity("small", "28 layers", "u"), "other"}, // the name alone is not enough
		{identity("tuned", "40 layers", "t"), "tuned"},
		{identity("whatever", "40 layers", "t"), "might be large or tuned"},
		{identity("small", "12 layers", "t"), "the sizes of small: 28 layers here, 12 layers there"},
		{wire.Identity{Version: wire.Version + 1}, "update the older one"},
	} {
		h, err := m.whose(&c.is)
		if (err == nil && h.same.Model != c.want) || (err != nil && !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%+v: %+v, %v, want %s", c.is, h, err, c.want)
		}
	}
}

// What is wrong with a configuration of several is told.
func TestOpenModels(t *testing.T) {
	both := &Cluster{Name: "c", Listen: "127.0.0.1:0", Secret: strings.Repeat("x", LeastSecret)}
	alone := *both
	alone.FrontOnly = true
	for want, c := range map[string]struct {
		cluster *Cluster
		models  []string
	}{
		"FrontOnly: each engine has one": {both, []string{model.Builtin}},
		"no model is given":              {&alone, nil},
		"no model \"nothing\"":           {&alone, []string{model.Builtin, "nothing"}},
		// An engine of one could not be told from one of the other, and its weights would answer for both.
		"models 0 and 1 are both called builtin, and have the same tokenizer and sizes": {&alone, []string{model.Builtin, model.Builtin}},
	} {
		if _, err := OpenModels(Config{Cluster: c.cluster, Log: zerolog.Nop()}, c.models); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	m, err := OpenModels(Config{Cluster: &alone, Log: zerolog.Nop()}, []string{model.Builtin})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(m.Names, []string{model.Builtin}) || m.Failed() != nil {
		t.Errorf("%+v", m)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if !errors.Is(ErrAbsent, front.ErrFailed) || fmt.Sprint(m.OpenRequests()) != "0" {
		t.Error("an absent engine is no failure")
	}
}

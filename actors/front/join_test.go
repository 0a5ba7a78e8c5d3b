package front

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/troupe-llm/troupe/actors/engine"
	"github.com/troupe-llm/troupe/actors/internal/toy"
	"github.com/troupe-llm/troupe/actors/wire"
	"github.com/troupe-llm/troupe/gpu/device"
)

// guest is an engine that joins, and that a test speaks for.
type guest struct {
	scripted
	deliver func(*wire.Batch)
	changed func()
	agree   func(*wire.Identity, *device.Info) error
}

func newGuest() *guest {
	return &guest{scripted: scripted{got: make(chan *wire.Request, 10), canceled: make(chan wire.Ref, 10), info: hall, same: wire.Identity{Version: wire.Version}}}
}

func (g *guest) Bind(deliver func(*wire.Batch), changed func(), agree func(*wire.Identity, *device.Info) error) {
	g.deliver, g.changed, g.agree = deliver, changed, agree
}

func (g *guest) is(s engine.State) {
	g.set(s)
	g.changed()
}

func (g *guest) says(of wire.Ref, outputs ...wire.Output) {
	b := &wire.Batch{}
	for _, o := range outputs {
		o.Ref = of
		b.Outputs = append(b.Outputs, o)
	}
	g.deliver(b)
}

var hall = device.Info{PageSize: 4, Vocab: 100, Slots: 3, MaxSeqLen: 50}

// newHall is a front without an engine of its own.
func newHall(t *testing.T, patience time.Duration) *System {
	t.Helper()
	s, err := Open(Config{
		Model: toy.Model(), MaxOpenRequests: 10, Tokenizers: 1, Log: zerolog.Nop(), Patience: patience,
		Info: hall, Same: wire.Identity{Version: wire.Version, Weights: "w"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A request waits for an engine that joins, goes on with the next when that one is lost and others are
// not there, and with the same one when it is back.
func TestJoin(t *testing.T) {
	s := newHall(t, time.Hour)
	st := submit(t, s, &Request{Tokens: []int32{1, 2}, MaxTokens: 9})
	if s.Ready() {
		t.Error("it is ready without an engine")
	}
	is := func(engine, moves int) {
		t.Helper()
		if all := s.Requests(3); len(all) != 1 || all[0].Engine != engine || all[0].Moves != moves {
			t.Errorf("open requests %+v, want one at %d after %d", all, engine, moves)
		}
	}
	is(-1, 0)
	a, b := newGuest(), newGuest()
	a.set(engine.Lost)
	if err := errors.Join(s.Join(a), s.Join(b)); err != nil {
		t.Fatal(err)
	}
	r := <-b.got
	is(1, 0)
	b.says(r.Ref, accepted, drawn(11))
	b.set(engine.Lost)
	b.says(r.Ref, lost)
	b.changed()
	a.is(engine.Ready)
	r = <-a.got
	is(0, 1)
	if len(s.Requests(0)) > 0 {
		t.Error("more are told of than may be")
	}
	if !slices.Equal(r.Given, []int32{11}) {
		t.Errorf("it goes on from %v", r.Given)
	}
	a.says(r.Ref, accepted, drawn(12))
	a.set(engine.Lost)
	a.says(r.Ref, lost)
	a.changed()
	a.is(engine.Ready)
	r = <-a.got
	a.says(r.Ref, accepted, wire.Output{Token: 13, Reason: wire.Length})
	got, f := collect(t, st)
	if !slices.Equal(got, []int32{11, 12, 13}) || f.Reason != FinishLength {
		t.Errorf("%v, %+v", got, f)
	}
	var attempts []string
	for i, at := range f.Attempts {
		attempts = append(attempts, fmt.Sprint(at.Engine, at.Tokens, at.Lost))
		if at.Handed == 0 || at.Left < at.Handed || i > 0 && at.Handed < f.Attempts[i-1].Left {
			t.Errorf("%+v", f.Attempts)
		}
	}
	if want := []string{"1 1 true", "0 1 true", "0 1 false"}; !slices.Equal(attempts, want) {
		t.Errorf("attempts %v, want %v", attempts, want)
	}
	if err := s.Leave(b); err != nil {
		t.Fatal(err)
	}
	c := newGuest()
	if err := s.Join(c); err != nil { // in its place
		t.Fatal(err)
	}
	if n := len(s.all()); n != 2 || len(s.engines) != 2 {
		t.Errorf("%d engines at %d places", n, len(s.engines))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// Who waits for an engine in vain, or cancels, ends.
func TestNobodyJoins(t *testing.T) {
	s := newHall(t, time.Millisecond)
	_, f := collect(t, submit(t, s, &Request{Tokens: []int32{1}}))
	if !errors.Is(f.Err, ErrFailed) || !strings.Contains(f.Err.Error(), "no engine has been there") {
		t.Errorf("%+v", f)
	}
	s = newHall(t, time.Hour)
	st := submit(t, s, &Request{Tokens: []int32{1}})
	st.Cancel()
	if _, f := collect(t, st); f.Reason != FinishAbort {
		t.Errorf("%+v", f)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// A request that engines are lost by ends, when it has had some without a token.
func TestLossesAreBounded(t *testing.T) {
	s := newHall(t, time.Hour)
	g := newGuest()
	if err := s.Join(g); err != nil {
		t.Fatal(err)
	}
	st := submit(t, s, &Request{Tokens: []int32{1}, MaxTokens: 9})
	lose := func(r *wire.Request) {
		g.set(engine.Lost)
		g.says(r.Ref, lost)
		g.changed()
		g.is(engine.Ready)
	}
	for range maxLosses { // as many as it may
		lose(<-g.got)
	}
	r := <-g.got
	g.says(r.Ref, accepted, drawn(5)) // it was not this one's fault
	lose(r)
	for range maxLosses - 1 {
		lose(<-g.got)
	}
	lose(<-g.got)
	if got, f := collect(t, st); len(got) != 1 || !errors.Is(f.Err, ErrFailed) {
		t.Errorf("%v, %+v", got, f)
	}
}

// What an engine that joins has to have in common.
func TestAdmits(t *testing.T) {
	s := newHall(t, time.Hour)
	g := newGuest()
	if err := s.Join(g); err != nil {
		t.Fatal(err)
	}
	same := wire.Identity{Version: wire.Version, Weights: "w"}
	if err := g.agree(&same, &hall); err != nil {
		t.Error(err)
	}
	other, shorter := same, hall
	other.Weights, shorter.MaxSeqLen = "v", 49
	if err := g.agree(&other, &shorter); err == nil || !strings.Contains(err.Error(), "the weights of") || !strings.Contains(err.Error(), "50 tokens here, 49 there") {
		t.Errorf("%v", err)
	}
}

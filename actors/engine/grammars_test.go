package engine

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/troupe-llm/troupe/actors/internal/shell"
	"github.com/troupe-llm/troupe/actors/internal/toy"
	"github.com/troupe-llm/troupe/actors/plan"
	"github.com/troupe-llm/troupe/actors/wire"
	"github.com/troupe-llm/troupe/tokenize/grammar"
)

// post records what a handler sends, as "to: message of request".
type post struct{ sent []string }

func (p *post) Send(to *actor.PID, m any) {
	what := fmt.Sprintf("%s: ", to.Id)
	switch m := m.(type) {
	case *compile:
		what += "compile " + m.of.spec.Path()
	case *prepared:
		what += fmt.Sprint("prepared ", m.req.ID)
		if m.matcher != nil {
			what += " with its grammar"
		}
	}
	p.sent = append(p.sent, what)
}

func (p *post) take() (out string) {
	out, p.sent = strings.Join(p.sent, "; "), nil
	return out
}

// Grammars are compiled one of each client in turn, each once for all that wait
// for it, and given up when nobody does any more.
func TestGrammarsInTurn(t *testing.T) {
	pid := func(name string) *actor.PID { return &actor.PID{Id: name} }
	v := grammar.NewVocabulary(4, func(id int32) []byte { return []byte{'a' + byte(id)} }, []int32{3})
	g := newGrammars(grammar.NewCache(func() *grammar.Vocabulary { return v }), pid("scheduler"))
	g.idle = []*actor.PID{pid("compiler")}
	p := &post{}
	c := shell.Mail{Out: p}
	ref := func(id uint64) wire.Ref { return wire.Ref{Slot: uint32(id)} }
	var running *compilation
	ask := func(id uint64, client, what string) {
		g.Handle(c, &compileJob{req: &wire.Request{Ref: ref(id), ID: id, Client: client, Grammar: grammar.Literal(what).At(what)}})
	}
	leave := func(id uint64) { g.Handle(c, &cancel{ref: ref(id)}) }
	finish := func(what string, err error) {
		running = nil
		for _, of := range g.of {
			if of.began && of.spec.Path() == what {
				running = of
			}
		}
		if running == nil {
			running = &compilation{cancel: func() {}}
		}
		found, fault := grammar.Compile(t.Context(), grammar.Literal("a"), v)
		if fault != nil {
			t.Fatal(fault)
		}
		g.Handle(c, &compiled{of: running, by: pid("compiler"), grammar: found, err: err})
	}
	want := func(sent string) {
		t.Helper()
		if got := p.take(); got != sent {
			t.Errorf("sent %q, want %q", got, sent)
		}
	}
	ask(1, "flood", "one")
	want("compiler: compile one")
	ask(2, "flood", "two")
	ask(3, "flood", "three")
	ask(4, "small", "four")
	ask(5, "other", "one") // being compiled already
	want("")
	finish("one", nil)
	want("scheduler: prepared 1 with its grammar; scheduler: prepared 5 with its grammar; compiler: compile two")
	ask(6, "late", "three") // waits in its own turn, too
	finish("two", errors.New("no"))
	want("scheduler: prepared 2; compiler: compile four")
	leave(4)
	want("")
	ask(7, "small", "four") // anew: the other is given up
	finish("", nil)
	want("compiler: compile three")
	leave(3)
	want("")
	finish("three", nil)
	want("scheduler: prepared 6 with its grammar; compiler: compile four")
	finish("four", nil)
	want("scheduler: prepared 7 with its grammar")
	// The same from another field is compiled apart: a refusal names the field.
	ask(9, "small", "nine")
	g.Handle(c, &compileJob{req: &wire.Request{Ref: ref(10), ID: 10, Grammar: grammar.Literal("nine").At("elsewhere")}})
	finish("nine", errors.New("no"))
	finish("elsewhere", nil)
	want("compiler: compile nine; scheduler: prepared 9; compiler: compile elsewhere; scheduler: prepared 10 with its grammar")
	ask(8, "small", "eight")
	of := g.of[ref(8)]
	leave(8)
	want("compiler: compile eight")
	if of.ctx.Err() == nil || len(g.of)+len(g.wanted)+g.turns.Clients() != 0 {
		t.Errorf("%v; %d requests, %d grammars and %d clients are still known", of.ctx.Err(), len(g.of), len(g.wanted), g.turns.Clients())
	}
}

// A grammar that is known, or known to be wrong, is not compiled again.
func TestKnownGrammars(t *testing.T) {
	v := grammar.NewVocabulary(4, func(id int32) []byte { return []byte{'a' + byte(id)} }, []int32{3})
	known := grammar.NewCache(func() *grammar.Vocabulary { return v })
	g := newGrammars(known, &actor.PID{Id: "scheduler"})
	g.idle = []*actor.PID{{Id: "compiler"}}
	p := &post{}
	for i, of := range []struct{ expr, want string }{{"[ab]+", "scheduler: prepared 1 with its grammar"}, {"(", "scheduler: prepared 2"}} {
		_, _ = known.Get(t.Context(), grammar.Regex(of.expr))
		g.Handle(shell.Mail{Out: p}, &compileJob{req: &wire.Request{ID: uint64(i + 1), Grammar: grammar.Regex(of.expr)}})
		if got := p.take(); got != of.want {
			t.Errorf("%s: sent %q, want %q", of.expr, got, of.want)
		}
	}
}

// held stands before a compiler and holds up what it is to compile.
type held struct {
	shell.Handler
	came chan<- string   // told of each
	open <-chan struct{} // closed to let them go on
}

func (h *held) Handle(c shell.Mail, m shell.Message) {
	if r, ok := m.(*compile); ok {
		h.came <- r.of.spec.Path()
		<-h.open
	}
	h.Handler.Handle(c, m)
}

// While a grammar is being compiled, requests without one, and those whose
// grammar is known, or known to be wrong, go on.
func TestCompilingHoldsUpNoOther(t *testing.T) {
	codec, err := toy.Letters()
	if err != nil {
		t.Fatal(err)
	}
	d := toy.New()
	d.Sizes.Vocab = codec.Vocab()
	e := open(t, Config{Open: toy.Opener(d), Model: toy.Model(), Codec: codec, Cache: plan.Naive, NoOverlap: true, Compilers: 1})
	came, goOn := make(chan string, 8), make(chan struct{})
	ask := func(g *grammar.Spec) *answered {
		return e.submit(&wire.Request{Prompt: []int32{0, 1, 2}, MaxTokens: 3, Grammar: g})
	}
	known, wrong := grammar.Regex("[b-y]{3,9}").At("known"), grammar.Regex("(").At("wrong")
	generated := func(of *answered) {
		t.Helper()
		if o := of.end(); len(of.tokens) == 0 || o.Fault != nil {
			t.Fatalf("%v %+v", of.tokens, o)
		}
	}
	generated(ask(known))
	refused := func() {
		t.Helper()
		if o := ask(wrong).end(); o.Fault == nil || o.Fault.Kind != wire.Refused || o.Fault.Param != "wrong" {
			t.Errorf("%+v", o)
		}
	}
	refused()
	e.Local.actors.Replace(func(h shell.Handler) shell.Handler {
		if _, ok := h.(*compiler); ok {
			return &held{h, came, goOn} // nothing is being compiled now
		}
		return h
	})
	slow, gone := ask(grammar.Regex("[b-x]{3}").At("slow")), ask(grammar.Regex("[b-w]{3}").At("gone"))
	if at := <-came; at != "slow" {
		t.Errorf("%s is compiled first", at)
	}
	for range 20 {
		generated(ask(nil))
		generated(ask(known))
	}
	refused()
	e.Cancel(gone.ref)
	if o := gone.end(); o.Reason != wire.Aborted {
		t.Errorf("cancelled while it waited: %+v", o)
	}
	close(goOn)
	generated(slow)
	if len(came) != 0 {
		t.Errorf("%s was compiled for nobody", <-came)
	}
}

package actors

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/troupe-llm/troupe/tokenize/grammar"
)

// Each client has one of its turn, however much others bring.
func TestTurns(t *testing.T) {
	var q turns[string]
	for i := range 4 {
		q.push("flood", fmt.Sprint("f", i))
	}
	q.push("", "x0")
	q.push("small", "s0")
	var got []string
	pop := func() {
		if v, ok := q.pop(); ok {
			got = append(got, v)
		}
	}
	for range 4 {
		pop()
	}
	q.push("small", "s1")
	q.push("", "x1")
	for range 9 {
		pop()
	}
	if want := []string{"f0", "x0", "s0", "f1", "f2", "s1", "x1", "f3"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if len(q.waiting) != 0 || len(q.order) != 0 {
		t.Errorf("%d clients are still known", len(q.waiting))
	}
}

// post records what a handler sends, as "to: message of job".
type post struct{ sent []string }

func (p *post) Send(to *actor.PID, m any) {
	what := fmt.Sprintf("%s: ", to.Id)
	switch m := m.(type) {
	case *compile:
		what += "compile " + m.of.spec.Path()
	case *generate:
		what += fmt.Sprint("generate ", m.job.id)
		if m.matcher != nil {
			what += " with its grammar"
		}
	case *failed:
		what += fmt.Sprint("failed ", m.job.id)
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
	g := newGrammars(pid("scheduler"), pid("detokenizer"))
	g.idle = []*actor.PID{pid("compiler")}
	p := &post{}
	c := mail{out: p}
	jobs := map[uint64]*job{}
	var running *compilation
	ask := func(id uint64, client, what string) {
		jobs[id] = &job{id: id, req: Request{Client: client, Grammar: grammar.Literal(what).At(what)}}
		g.handle(c, &compileJob{job: jobs[id]})
	}
	leave := func(id uint64) {
		jobs[id].canceled.Store(true)
		g.handle(c, &cancel{job: jobs[id]})
	}
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
		v := grammar.NewVocabulary(4, func(id int32) []byte { return []byte{'a' + byte(id)} }, []int32{3})
		found, fault := grammar.Compile(t.Context(), grammar.Literal("a"), v)
		if fault != nil {
			t.Fatal(fault)
		}
		g.handle(c, &compiled{of: running, by: pid("compiler"), grammar: found, err: err})
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
	want("scheduler: generate 1 with its grammar; scheduler: generate 5 with its grammar; compiler: compile two")
	ask(6, "late", "three") // waits in its own turn, too
	finish("two", errors.New("no"))
	want("detokenizer: failed 2; compiler: compile four")
	leave(4)
	want("scheduler: generate 4")
	ask(7, "small", "four") // anew: the other is given up
	finish("", nil)
	want("compiler: compile three")
	leave(3)
	want("scheduler: generate 3")
	finish("three", nil)
	want("scheduler: generate 6 with its grammar; compiler: compile four")
	finish("four", nil)
	want("scheduler: generate 7 with its grammar")
	// The same from another field is compiled apart: a refusal names the field.
	ask(9, "small", "nine")
	g.handle(c, &compileJob{job: &job{id: 10, req: Request{Grammar: grammar.Literal("nine").At("elsewhere")}}})
	finish("nine", errors.New("no"))
	finish("elsewhere", nil)
	want("compiler: compile nine; detokenizer: failed 9; compiler: compile elsewhere; scheduler: generate 10 with its grammar")
	ask(8, "small", "eight")
	of := g.of[8]
	leave(8)
	want("compiler: compile eight; scheduler: generate 8")
	if of.ctx.Err() == nil || len(g.of)+len(g.wanted)+len(g.turns.waiting) != 0 {
		t.Errorf("%v; %d jobs, %d grammars and %d clients are still known", of.ctx.Err(), len(g.of), len(g.wanted), len(g.turns.waiting))
	}
}

// held stands before a compiler and holds up what it is to compile.
type held struct {
	handler
	came chan<- string   // told of each
	open <-chan struct{} // closed to let them go on
}

func (h *held) handle(c mail, m message) {
	if r, ok := m.(*compile); ok {
		h.came <- r.of.spec.Path()
		<-h.open
	}
	h.handler.handle(c, m)
}

// While a grammar is being compiled, prompts are tokenized, and requests whose
// grammar is known, or known to be wrong, go on.
func TestCompilingHoldsUpNoOther(t *testing.T) {
	s := textSystem(t, Config{Tokenizers: 1, Compilers: 1}, letters(t))
	came, open := make(chan string, 8), make(chan struct{})
	ask := func(g *grammar.Spec) *Stream {
		return submit(t, s, &Request{Text: "abc", MaxTokens: 3, Grammar: g})
	}
	known, wrong := grammar.Regex("[b-y]{3,9}").At("known"), grammar.Regex("(").At("wrong")
	if got, f := collect(t, ask(known)); len(got) == 0 || f.Err != nil {
		t.Fatalf("%v %+v", got, f)
	}
	refused := func() {
		t.Helper()
		var fault *InputError
		if _, f := collect(t, ask(wrong)); !errors.As(f.Err, &fault) || fault.Param != "wrong" {
			t.Errorf("%+v", f)
		}
	}
	refused()
	for _, sh := range s.shells {
		if h, ok := sh.h.(*compiler); ok {
			sh.h = &held{h, came, open} // nothing is being compiled now
		}
	}
	slow, gone := ask(grammar.Regex("[b-x]{3}").At("slow")), ask(grammar.Regex("[b-w]{3}").At("gone"))
	if at := <-came; at != "slow" {
		t.Errorf("%s is compiled first", at)
	}
	for range 20 {
		if got, f := collect(t, ask(nil)); len(got) == 0 || f.Err != nil {
			t.Fatalf("without a grammar: %v %+v", got, f)
		}
		if got, f := collect(t, ask(known)); len(got) == 0 || f.Err != nil {
			t.Fatalf("with a known one: %v %+v", got, f)
		}
	}
	refused()
	gone.Cancel()
	if _, f := collect(t, gone); f.Reason != FinishAbort {
		t.Errorf("cancelled while it waited: %+v", f)
	}
	close(open)
	if got, f := collect(t, slow); len(got) == 0 || f.Err != nil {
		t.Errorf("%v %+v", got, f)
	}
	if len(came) != 0 {
		t.Errorf("%s was compiled for nobody", <-came)
	}
}

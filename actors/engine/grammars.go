package engine

import (
	"context"
	"fmt"
	"slices"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/troupe-llm/troupe/actors/internal/shell"
	"github.com/troupe-llm/troupe/actors/internal/turns"
	"github.com/troupe-llm/troupe/actors/wire"
	"github.com/troupe-llm/troupe/tokenize/grammar"
)

// grammars finds requests their grammars. One that is not known it has compiled, apart from what
// schedules, which therefore never waits for it: so many at a time, one of each client in turn, and
// each once for all requests that bring the same. One that no request waits for any more is given up.
//
// Owns:   which grammars are to be compiled, for which requests, and whose turn it is.
// In:     *compileJob and *cancel from the scheduler, *compiled from compilers.
// Out:    *compile to a compiler that has nothing to do; for each request one *prepared to the
// scheduler, unless it was cancelled.
// Blocks: never.
// Fails:  a panic fails the request it happened with; a compiler's fails those
// that waited for its grammar.
type grammars struct {
	known     *grammar.Cache // shared with the compilers
	scheduler *actor.PID
	idle      []*actor.PID // compilers
	turns     turns.Queue[*compilation]
	wanted    map[string]*compilation // waiting or being compiled, by their specs' keys
	of        map[wire.Ref]*compilation
}

// compilation is a grammar to be compiled. It is grammars', but for what a
// compiler is sent with it: ctx and spec, which do not change.
type compilation struct {
	key    string
	spec   *grammar.Spec
	ctx    context.Context // done when no request waits any more
	cancel context.CancelFunc
	began  bool
	reqs   []*wire.Request // that wait for it
}

func newGrammars(known *grammar.Cache, scheduler *actor.PID) *grammars {
	return &grammars{known: known, scheduler: scheduler, wanted: map[string]*compilation{}, of: map[wire.Ref]*compilation{}}
}

// Handle does what a message asks, and keeps the compilers at work.
func (g *grammars) Handle(c shell.Mail, m shell.Message) {
	switch m := m.(type) {
	case *compileJob:
		g.find(c, m.req)
	case *cancel:
		g.leave(m.ref)
	case *compiled:
		g.done(c, m, m.err)
	}
	g.begin(c)
}

// begin has those compilers compile that have nothing to do.
func (g *grammars) begin(c shell.Mail) {
	for len(g.idle) > 0 {
		p, ok := g.turns.Pop()
		if !ok {
			return
		}
		if p.began || len(p.reqs) == 0 { // begun in another client's turn, or given up
			continue
		}
		p.began = true
		last := len(g.idle) - 1
		c.Send(g.idle[last], &compile{of: p})
		g.idle = g.idle[:last]
	}
}

// find sends a grammar that is known, or has the request wait for it.
func (g *grammars) find(c shell.Mail, r *wire.Request) {
	found, known, err := g.known.Find(r.Grammar)
	if known {
		c.Send(g.scheduler, answer(r, found, err))
		return
	}
	key := r.Grammar.Key()
	p := g.wanted[key]
	if p == nil {
		p = &compilation{key: key, spec: r.Grammar}
		p.ctx, p.cancel = context.WithCancel(context.Background())
		g.wanted[key] = p
	}
	p.reqs = append(p.reqs, r)
	g.of[r.Ref] = p
	if !p.began {
		g.turns.Push(r.Client, p)
	}
}

// answer brings a request its grammar, or what is wrong with it.
func answer(r *wire.Request, found *grammar.Grammar, err error) *prepared {
	if err != nil {
		return &prepared{req: r, err: err}
	}
	return &prepared{req: r, matcher: found.Matcher()}
}

// leave takes out a request that has ended.
func (g *grammars) leave(ref wire.Ref) {
	p := g.of[ref]
	if p == nil {
		return
	}
	delete(g.of, ref)
	p.reqs = slices.DeleteFunc(p.reqs, func(r *wire.Request) bool { return r.Ref == ref })
	if len(p.reqs) == 0 {
		p.cancel()
		delete(g.wanted, p.key)
	}
}

// done answers the requests that waited for a grammar, and takes the compiler back.
func (g *grammars) done(c shell.Mail, m *compiled, err error) {
	if !slices.ContainsFunc(g.idle, func(k *actor.PID) bool { return k == m.by }) {
		g.idle = append(g.idle, m.by)
	}
	m.of.cancel()
	if g.wanted[m.of.key] == m.of {
		delete(g.wanted, m.of.key)
	}
	for _, r := range m.of.reqs {
		delete(g.of, r.Ref)
		c.Send(g.scheduler, answer(r, m.grammar, err))
	}
	m.of.reqs = nil
}

// Panicked fails the requests that the message was about, and goes on with others. The scheduler
// ignores it of one that was answered before the panic.
func (g *grammars) Panicked(c shell.Mail, m shell.Message, err error) {
	err = fmt.Errorf("waiting for the grammar: %w", err)
	switch m := m.(type) {
	case *compileJob:
		g.leave(m.req.Ref)
		c.Send(g.scheduler, &prepared{req: m.req, err: err})
	case *compiled:
		g.done(c, m, err)
	case *cancel:
		g.leave(m.ref)
	}
	g.begin(c)
}

// compiler compiles one grammar after the other.
//
// Owns:   nothing; the cache is shared.
// In:     *compile from grammars.
// Out:    *compiled to grammars, exactly one for each.
// Blocks: while it compiles: the largest grammar takes about a second.
// Fails:  a panic fails the grammar it happened in and no other.
type compiler struct {
	cache    *grammar.Cache
	grammars *actor.PID
	self     *actor.PID
}

// Handle compiles.
func (k *compiler) Handle(c shell.Mail, m shell.Message) {
	if r, ok := m.(*compile); ok {
		g, err := k.cache.Get(r.of.ctx, r.of.spec)
		c.Send(k.grammars, &compiled{of: r.of, by: k.self, grammar: g, err: err})
	}
}

// Panicked tells of a grammar that could not be compiled.
func (k *compiler) Panicked(c shell.Mail, m shell.Message, err error) {
	if r, ok := m.(*compile); ok {
		c.Send(k.grammars, &compiled{of: r.of, by: k.self, err: fmt.Errorf("compiling the grammar: %w", err)})
	}
}

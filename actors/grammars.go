package actors

import (
	"context"
	"errors"
	"fmt"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/troupe-llm/troupe/tokenize/grammar"
)

// grammars has grammars compiled that are not known yet: apart from tokenizing,
// which therefore never waits for it, so many at a time, one of each client in
// turn, and each once for all jobs that bring the same. One that no job waits
// for any more is given up.
//
// Owns:   which grammars are to be compiled, for which jobs, and whose turn it is.
// In:     *compileJob from tokenizers, *cancel from streams, *compiled from compilers.
// Out:    *compile to a compiler that has nothing to do; for each job *generate
// to the scheduler or *failed to the detokenizer, exactly one of them.
// Blocks: never.
// Fails:  a panic fails the job it happened with; a compiler's fails the jobs
// that waited for its grammar.
type grammars struct {
	scheduler   *actor.PID
	detokenizer *actor.PID
	idle        []*actor.PID // compilers
	turns       turns[*compilation]
	wanted      map[string]*compilation // waiting or being compiled, by their specs' keys
	of          map[uint64]*compilation // by job
}

// compilation is a grammar to be compiled. It is grammars', but for what a
// compiler is sent with it: ctx and spec, which do not change.
type compilation struct {
	key    string
	spec   *grammar.Spec
	ctx    context.Context // done when no job waits any more
	cancel context.CancelFunc
	began  bool
	jobs   []prepared
}

// prepared is a job that lacks nothing but its grammar.
type prepared struct {
	job    *job
	prompt []int32
}

func newGrammars(scheduler, detokenizer *actor.PID) *grammars {
	return &grammars{scheduler: scheduler, detokenizer: detokenizer, wanted: map[string]*compilation{}, of: map[uint64]*compilation{}}
}

func (g *grammars) handle(c mail, m message) {
	switch m := m.(type) {
	case *compileJob:
		g.add(c, m)
	case *cancel:
		g.leave(c, m.job)
	case *compiled:
		g.idle = append(g.idle, m.by)
		g.done(c, m)
	}
	for len(g.idle) > 0 {
		p, ok := g.turns.pop()
		if !ok {
			return
		}
		if p.began || len(p.jobs) == 0 { // begun in another client's turn, or given up
			continue
		}
		p.began = true
		last := len(g.idle) - 1
		c.send(g.idle[last], &compile{of: p})
		g.idle = g.idle[:last]
	}
}

// add has a job wait for its grammar.
func (g *grammars) add(c mail, m *compileJob) {
	if m.job.canceled.Load() { // the scheduler ends it
		c.send(g.scheduler, &generate{job: m.job})
		return
	}
	spec := m.job.req.Grammar
	key := spec.Key()
	p := g.wanted[key]
	if p == nil {
		p = &compilation{key: key, spec: spec}
		p.ctx, p.cancel = context.WithCancel(context.Background())
		g.wanted[key] = p
	}
	p.jobs = append(p.jobs, prepared{m.job, m.prompt})
	g.of[m.job.id] = p
	if !p.began {
		g.turns.push(m.job.req.Client, p)
	}
}

// leave takes out a job that was cancelled; the scheduler ends it.
func (g *grammars) leave(c mail, j *job) {
	p := g.of[j.id]
	if p == nil {
		return
	}
	delete(g.of, j.id)
	for i := range p.jobs {
		if p.jobs[i].job == j {
			p.jobs = append(p.jobs[:i], p.jobs[i+1:]...)
			break
		}
	}
	c.send(g.scheduler, &generate{job: j})
	if len(p.jobs) == 0 {
		p.cancel()
		delete(g.wanted, p.key)
	}
}

// done sends on the jobs that waited for a grammar.
func (g *grammars) done(c mail, m *compiled) {
	m.of.cancel()
	if g.wanted[m.of.key] == m.of {
		delete(g.wanted, m.of.key)
	}
	for _, w := range m.of.jobs {
		delete(g.of, w.job.id)
		if m.err != nil {
			c.send(g.detokenizer, &failed{job: w.job, err: m.err})
			continue
		}
		c.send(g.scheduler, &generate{job: w.job, prompt: w.prompt, matcher: m.grammar.Matcher()})
	}
	m.of.jobs = nil
}

func (g *grammars) panicked(c mail, m message, err error) {
	if r, ok := m.(*compileJob); ok {
		c.send(g.detokenizer, &failed{job: r.job, err: fmt.Errorf("waiting for the grammar: %w", err)})
	}
}

// compiler compiles one grammar after the other.
//
// Owns:   nothing; the cache is shared.
// In:     *compile from grammars.
// Out:    *compiled to grammars, exactly one for each.
// Blocks: never; the largest grammar takes about a second.
// Fails:  a panic fails the grammar it happened in and no other.
type compiler struct {
	cache    *grammar.Cache
	grammars *actor.PID
	self     *actor.PID
}

func (k *compiler) handle(c mail, m message) {
	if r, ok := m.(*compile); ok {
		g, err := k.cache.Get(r.of.ctx, r.of.spec)
		c.send(k.grammars, &compiled{of: r.of, by: k.self, grammar: g, err: grammarError(err)})
	}
}

func (k *compiler) panicked(c mail, m message, err error) {
	if r, ok := m.(*compile); ok {
		c.send(k.grammars, &compiled{of: r.of, by: k.self, err: fmt.Errorf("compiling the grammar: %w", err)})
	}
}

// grammarError is what compiling a grammar found, as the client's mistake where
// it is one.
func grammarError(err error) error {
	var fault *grammar.Error
	if errors.As(err, &fault) {
		return &InputError{Param: fault.Path, Msg: fault.Error()}
	}
	return err
}

package grammar

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
)

// Grammar is a language compiled for a vocabulary. Any number of goroutines
// may use it.
type Grammar struct {
	vocab   *Vocabulary
	root    *expr
	tracked bool // texts have to be tracked, see track.go

	mu    sync.Mutex
	a     *automaton    // guarded by mu
	era   int           // guarded by mu: how often the automaton was begun anew
	count *atomic.Int64 // what vocab.kept has of this grammar
}

// Compile makes a description's language usable. Its error is an *Error, or the
// context's: it is given up soon after that is done.
func Compile(ctx context.Context, s *Spec, v *Vocabulary) (*Grammar, error) {
	w := newBudget(ctx)
	root, err := s.parse(w)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case w.failed():
		return nil, errorf(s.path, "%v", w.err)
	case err != nil:
		return nil, err
	}
	return compiledTo(root, s.path, v)
}

// compiledTo is the grammar of an expression, which came from a path.
func compiledTo(root *expr, path string, v *Vocabulary) (*Grammar, error) {
	if n := measure(root); n > maxNodes {
		return nil, errorf(path, "is too large: it has %d parts and %d is the limit", n, maxNodes)
	}
	if root.height > maxDepth {
		return nil, errorf(path, "nothing matches it")
	}
	if len(v.eos) == 0 {
		return nil, errorf(path, "the model has no token that ends a text")
	}
	tracked := slices.ContainsFunc(pieces(root), func(e *expr) bool { return e.op == opUnique })
	g := &Grammar{vocab: v, root: root, tracked: tracked, count: new(atomic.Int64)}
	runtime.AddCleanup(g, func(count *atomic.Int64) { v.kept.Add(-count.Load()) }, g.count)
	g.begin()
	// The first mask shows whether the grammar is of use at all.
	m := g.Matcher()
	m.Allow(nil)
	if m.err != nil {
		return nil, errorf(path, "%v", m.err)
	}
	return g, nil
}

// begin makes the automaton anew.
func (g *Grammar) begin() {
	g.a = newAutomaton(g.root)
	g.era++
}

// Matcher follows one text. It is not safe for concurrent use.
func (g *Grammar) Matcher() *Matcher {
	m := &Matcher{g: g}
	if g.tracked {
		m.own = &own{}
	}
	return m
}

// Matcher is where in its grammar a text is.
type Matcher struct {
	g    *Grammar
	era  int   // of the automaton that at is a state of; 0: none
	at   int32 // after the first read tokens
	read int
	own  *own // of a text that is tracked; nil: it is not
	work int  // done for it so far; ≤ totalWork, but for the last
	err  error
}

// Allow returns the set of the tokens that may follow the output so far: bit
// t%32 of word t/32. It must not be changed, and stays as it is. Outputs must
// grow from call to call. When it fails the set is empty and Err says why.
func (m *Matcher) Allow(output []int32) []uint32 {
	mask := m.g.vocab.empty
	m.safely(func() {
		if m.follow(output); m.err != nil {
			return
		}
		found, err := m.g.vocab.mask(m.g.a, m.at)
		if m.spend(); m.err == nil {
			m.err = err
		}
		if m.err == nil {
			mask = found
		}
		if m.err == nil && m.own != nil {
			mask = m.restrict(found)
		}
	})
	return mask
}

// Ahead returns what Allow would of output[:len(output)−n+1] and so on up to all of it, as long
// as each of the last n tokens may follow those before it. The matcher stays before them: they
// are drafts, whose work is not counted, or a text could fail for what was drafted of it.
func (m *Matcher) Ahead(output []int32, n int) (masks [][]uint32) {
	from := len(output) - n
	may := m.Allow(output[:from])
	ahead := *m
	if m.own != nil {
		own := *m.own
		own.track = track{slices.Clone(own.track.items), slices.Clone(own.track.item)}
		ahead.own = &own
	}
	for i, t := range output[from:] {
		if int(t/32) >= len(may) || may[t/32]>>(t%32)&1 == 0 {
			break
		}
		if may = ahead.Allow(output[:from+i+1]); ahead.err != nil {
			break // as behind the end
		}
		masks = append(masks, may)
	}
	return masks
}

// Known reports whether Allow would find its answer ready.
func (m *Matcher) Known(output []int32) (known bool) {
	m.safely(func() {
		m.follow(output)
		known = m.err == nil && m.g.a.states[m.at].mask != nil && (m.own == nil || m.own.mask != nil && m.own.after == m.read)
	})
	return known
}

// safely uses the automaton. A panic in it fails this text alone.
func (m *Matcher) safely(use func()) {
	g := m.g
	g.mu.Lock()
	defer g.mu.Unlock()
	defer func() {
		if p := recover(); p != nil {
			m.err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
			g.begin()
		}
	}()
	use()
	g.settle()
}

// follow goes on to the end of the output.
func (m *Matcher) follow(output []int32) {
	g := m.g
	if m.era != g.era {
		m.era, m.at, m.read = g.era, g.a.start, 0
		if m.own != nil {
			*m.own = own{}
		}
	}
	for ; m.read < len(output) && m.err == nil; m.read++ {
		g.a.work = maskWork
		from := m.at
		m.at = g.a.read(from, g.vocab, output[m.read])
		if m.own != nil && m.at != dead {
			if _, ok := m.own.track.read(g.a, from, g.vocab.text[output[m.read]]); !ok {
				m.at = dead
			}
		}
		m.spend()
	}
}

// spend accounts for work just done.
func (m *Matcher) spend() {
	if m.work += maskWork - m.g.a.work; m.work > totalWork || m.g.a.err != nil {
		m.err = errAmbiguous
	}
}

// read is the state after a token.
func (a *automaton) read(s int32, v *Vocabulary, token int32) int32 {
	if token < 0 || int(token) >= len(v.text) || v.text[token] == nil {
		return dead
	}
	for _, b := range v.text[token] {
		s = a.step(s, b)
	}
	return s
}

// settle accounts for what the automaton keeps, and begins it anew when that
// is too much or it gave up.
func (g *Grammar) settle() {
	a := g.a
	kept := int64(a.memory)
	total := g.vocab.kept.Add(kept - g.count.Load())
	g.count.Store(kept)
	if a.err == nil && kept <= maxMemory && (total <= maxShared || kept <= maxShared/256) {
		return
	}
	g.begin()
	g.vocab.kept.Add(-kept)
	g.count.Store(0)
}

// Err says why Allow allowed nothing.
func (m *Matcher) Err() error { return m.err }

package grammar

import (
	"errors"
	"slices"
)

var errStuck = errors.New("no token of the vocabulary goes on with the text, as it lacks single bytes")

// mask is the set of tokens that may follow in state s. It is kept, and must
// not be changed.
func (v *Vocabulary) mask(a *automaton, s int32) ([]uint32, error) {
	if m := a.states[s].mask; m != nil {
		return m, nil
	}
	a.work = maskWork
	near := a.near(s)
	if a.states[near].short == nil {
		a.states[near].short = v.short(a, near)
		a.memory += 4 * len(v.empty)
	}
	m := a.states[near].short
	if v.long.walk(a, s, nil) {
		m = slices.Clone(m)
		v.long.walk(a, s, m)
		a.memory += 4 * len(m)
	}
	switch {
	case a.err != nil:
		return nil, a.err
	case slices.Equal(m, v.empty):
		return nil, errStuck
	}
	a.states[s].mask = m
	return m, nil
}

// short is the set of tokens, but for long ones, that may follow in state s.
func (v *Vocabulary) short(a *automaton, s int32) []uint32 {
	m := make([]uint32, len(v.empty))
	if a.states[s].plain {
		copy(m, v.isPlain)
	} else {
		v.plain.walk(a, s, m)
	}
	v.rest.walk(a, s, m)
	if a.states[s].accepts {
		for _, id := range v.eos {
			m[id/32] |= 1 << (id % 32)
		}
	}
	return m
}

// walk adds to m the tokens that lead somewhere from state s, and reports
// whether there are any. Without m it goes no further than the first.
func (t *trie) walk(a *automaton, s int32, m []uint32) (found bool) {
	// Of each depth the state that the bytes so far lead to, and its row.
	states := make([]int32, t.depth+1)
	rows := make([]*row, t.depth+1)
	states[0], rows[0] = s, a.rows[s]
	for i := 0; i < len(t.nodes); {
		n := &t.nodes[i]
		to := rows[n.depth-1][n.b]
		if to <= dead {
			if to == unknown {
				from := states[n.depth-1]
				to = a.step(from, n.b)
				rows[n.depth-1] = a.rows[from] // it may have been made only now
			}
			if to == dead {
				i = int(n.skip)
				continue
			}
		}
		if n.token >= 0 {
			if found = true; m == nil {
				return found
			}
			m[n.token/32] |= 1 << (n.token % 32)
		}
		states[n.depth], rows[n.depth] = to, a.rows[to]
		i++
	}
	return found
}

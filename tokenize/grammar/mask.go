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
	if a.err != nil {
		return nil, a.err
	}
	if slices.Equal(m, v.empty) {
		return nil, errStuck
	}
	a.memory += 4 * len(m)
	a.states[s].mask = m
	return m, nil
}

// walk adds to m the tokens that lead somewhere from state s.
func (t *trie) walk(a *automaton, s int32, m []uint32) {
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
			m[n.token/32] |= 1 << (n.token % 32)
		}
		states[n.depth], rows[n.depth] = to, a.rows[to]
		i++
	}
}

package grammar

import "math"

// counted is a table that counts the characters of a JSON string: it accepts
// what the table does, if there are at most so many. A position in it is a
// state of the table, plus the characters read times the number of states.
//
// Invariant: every position can be gone on from to an accepting one.
type counted struct {
	*table
	most int32
	ends []bool  // of states: a character has just come to its end
	need []int32 // of states: as many characters at least are to come
	far  int32   // the highest need
}

// atMost matches what e does of at most so many characters, in the spelling of
// asJSON. It reports false when that would be too large.
func atMost(w *budget, e *expr, most int) (*expr, bool) {
	p, ok := multiply(w, e, repeat(keyChar, 0, -1))
	if !ok {
		return nil, false
	}
	t, kept := p.table.lean()
	if t == nil {
		return never, true
	}
	most = min(most, math.MaxInt32/len(t.states)-1) // so that positions have a number; nobody writes as much
	c := &counted{table: t, most: int32(most), need: make([]int32, len(t.states))}
	for i, from := range kept {
		c.ends = append(c.ends, p.second[from])
		c.need[i] = unbounded
		if t.states[i].accepts {
			c.need[i] = 0
		}
	}
	for changed := true; changed; {
		changed = false
		for i := len(t.states) - 1; i >= 0; i-- {
			for _, e := range t.states[i].edges {
				if n := c.need[e.to] + c.ended(e.to); n < c.need[i] {
					c.need[i], changed = n, true
				}
			}
		}
	}
	for _, n := range c.need {
		c.far = max(c.far, n)
	}
	if c.need[0] > c.most {
		return never, true
	}
	return &expr{op: opCounted, table: t, counted: c}, true
}

// ended is 1 when a character comes to its end with a state.
func (c *counted) ended(state int32) int32 {
	if c.ends[state] {
		return 1
	}
	return 0
}

// step is the position after byte b, or -1.
func (c *counted) step(at int32, b byte) int32 {
	n := int32(len(c.states))
	to := c.table.step(at%n, b)
	if to < 0 {
		return -1
	}
	read := at/n + c.ended(to)
	if read+c.need[to] > c.most {
		return -1
	}
	return read*n + to
}

// near is a position, the same for many, from which the same texts of horizon
// bytes can be matched as from at.
func (c *counted) near(at int32) int32 {
	n := int32(len(c.states))
	if at/n+horizon+c.far <= c.most {
		return c.table.near(at % n)
	}
	return at
}

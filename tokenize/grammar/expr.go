package grammar

import (
	"math"
	"slices"
)

// op is what kind of piece an expression is.
type op uint8

const (
	opNever   op = iota // nothing matches
	opEmpty             // the empty text
	opBytes             // one byte of set
	opText              // text
	opTable             // what the table accepts
	opCounted           // what the table accepts of so many characters, see counted
	opSeq               // subs, one after another
	opAlt               // any of subs
	opRepeat            // subs[0], min to max times
	opRef               // subs[0], one level deeper; set after the expression was made
	opUnique            // subs[0], a table of strings: one that its array has not yet, see track.go
)

// expr is a language of bytes. It does not change once a grammar has it;
// expressions share pieces.
//
// Invariant: opNever is found nowhere within another, other than through a
// reference.
type expr struct {
	op       op
	set      byteSet
	text     string
	table    *table
	counted  *counted
	subs     []*expr
	min, max int32 // max < 0: no bound
	// sizes are how many texts each state of opUnique's table accepts, and min the
	// fewest of those that do not end there.
	sizes []int32
	class bool // it is a table, of one character
	tail  bool // it is a reference that is no level of depth
	// plain: it is one character, and any plain one (see Vocabulary) will do.
	plain bool
	// height is how many levels of references its shortest match needs;
	// unbounded: it has none. Set by measure.
	height int32
}

const unbounded = math.MaxInt32 / 2

var (
	never = &expr{op: opNever}
	empty = &expr{op: opEmpty}
)

type byteSet [4]uint64

func (s *byteSet) has(b byte) bool { return s[b>>6]>>(b&63)&1 != 0 }
func (s *byteSet) add(lo, hi byte) {
	for b := int(lo); b <= int(hi); b++ {
		s[b>>6] |= 1 << (b & 63)
	}
}

// oneOf matches one of these ASCII characters.
func oneOf(chars string) *expr {
	e := &expr{op: opBytes}
	for i := range len(chars) {
		e.set.add(chars[i], chars[i])
	}
	return e
}

// span matches one byte from lo to hi.
func span(lo, hi byte) *expr {
	e := &expr{op: opBytes}
	e.set.add(lo, hi)
	return e
}

func text(s string) *expr {
	if s == "" {
		return empty
	}
	return &expr{op: opText, text: s}
}

func seq(parts ...*expr) *expr {
	subs := make([]*expr, 0, len(parts))
	for _, e := range parts {
		last := len(subs) - 1
		switch {
		case e.op == opNever:
			return never
		case e.op == opEmpty:
		case e.op == opText && last >= 0 && subs[last].op == opText:
			subs[last] = text(subs[last].text + e.text)
		default: // a sequence within is not spread: chains would grow as squares
			subs = append(subs, e)
		}
	}
	switch len(subs) {
	case 0:
		return empty
	case 1:
		return subs[0]
	}
	return &expr{op: opSeq, subs: subs}
}

// alt does not spread alternatives within, for the same reason.
func alt(parts ...*expr) *expr {
	subs := make([]*expr, 0, len(parts))
	var texts []string
	for _, e := range parts {
		switch {
		case e.op == opNever:
		case e.op == opEmpty, e.op == opText:
			texts = append(texts, e.text)
		case !slices.Contains(subs, e):
			subs = append(subs, e)
		}
	}
	if len(texts) > 0 {
		slices.Sort(texts)
		subs = append(subs, words(slices.Compact(texts), 0)...)
	}
	switch len(subs) {
	case 0:
		return never
	case 1:
		return subs[0]
	}
	return &expr{op: opAlt, subs: subs}
}

// words matches one of these sorted, different texts from byte `from` on,
// before which they are the same. Common beginnings are matched once, so that
// a thousand words are not a thousand continuations.
func words(sorted []string, from int) []*expr {
	var subs []*expr
	for len(sorted) > 0 {
		if len(sorted[0]) == from {
			subs = append(subs, empty)
			sorted = sorted[1:]
			continue
		}
		n := 1
		for n < len(sorted) && sorted[n][from] == sorted[0][from] {
			n++
		}
		first, last := sorted[0], sorted[n-1]
		common := from + 1
		for common < len(first) && common < len(last) && first[common] == last[common] {
			common++
		}
		rest := words(sorted[:n], common)
		head := text(first[from:common])
		if len(rest) == 1 {
			subs = append(subs, seq(head, rest[0]))
		} else {
			subs = append(subs, &expr{op: opSeq, subs: []*expr{head, {op: opAlt, subs: rest}}})
		}
		sorted = sorted[n:]
	}
	return subs
}

func optional(e *expr) *expr { return alt(empty, e) }

// repeat matches e from min to max times; max < 0: any number from min on.
func repeat(e *expr, minimum, maximum int) *expr {
	switch {
	case maximum >= 0 && minimum > maximum:
		return never
	case maximum == 0 || e.op == opEmpty:
		return empty
	case e.op == opNever && minimum == 0:
		return empty
	case e.op == opNever:
		return never
	case minimum == 1 && maximum == 1:
		return e
	}
	// Without the empty match, going round without a byte read is no
	// continuation to follow.
	if e.op == opAlt && slices.Contains(e.subs, empty) {
		e, minimum = alt(slices.DeleteFunc(slices.Clone(e.subs), func(s *expr) bool { return s == empty })...), 0
	}
	return &expr{op: opRepeat, subs: []*expr{e}, min: int32(minimum), max: int32(max(maximum, -1))}
}

// reference is an expression to be set later, by to.
func reference() *expr { return &expr{op: opRef} }

func (e *expr) to(body *expr) { e.subs = []*expr{body} }

// pieces are the expressions and all that they are made of, each once and behind
// what it is made of.
func pieces(of ...*expr) (all []*expr) {
	seen := map[*expr]bool{}
	var visit func(*expr)
	visit = func(e *expr) {
		if seen[e] {
			return
		}
		seen[e] = true
		for _, s := range e.subs {
			visit(s)
		}
		all = append(all, e)
	}
	for _, e := range of {
		visit(e)
	}
	return all
}

// measure sets the heights of everything in e and returns how many pieces
// there are. Heights are the least solution, so they fall until they stay.
func measure(e *expr) int {
	all := pieces(e)
	height := make(map[*expr]int32, len(all))
	for _, e := range all {
		height[e] = unbounded
	}
	for changed := true; changed; {
		changed = false
		for _, e := range all {
			if h := e.measured(height); h < height[e] {
				height[e] = h
				changed = true
			}
		}
	}
	for _, e := range all {
		if e.height != height[e] { // shared pieces were measured before
			e.height = height[e]
		}
	}
	return len(all)
}

// measured is e's height, given those of its parts.
func (e *expr) measured(of map[*expr]int32) int32 {
	h := int32(0)
	switch e.op {
	case opNever:
		return unbounded
	case opSeq:
		for _, s := range e.subs {
			h = max(h, of[s])
		}
	case opAlt:
		h = unbounded
		for _, s := range e.subs {
			h = min(h, of[s])
		}
	case opRepeat:
		if e.min > 0 {
			h = of[e.subs[0]]
		}
	case opRef:
		h = of[e.subs[0]]
		if !e.tail {
			h = min(h+1, unbounded)
		}
	}
	return h
}

// matches reports whether e's language has s; for a few texts at a time.
func (e *expr) matches(w *budget, s string) bool {
	w.spend(measure(e) + len(s))
	a := newAutomaton(e)
	at, t := a.start, track{}
	for i := range len(s) {
		if !t.step(a, at, s[i]) {
			return false
		}
		at = a.step(at, s[i])
	}
	return a.err == nil && a.states[at].accepts
}

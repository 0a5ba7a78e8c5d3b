package tokenize

import (
	"regexp/syntax"
	"unicode/utf8"
)

// matches finds as Oniguruma's bindings do: an empty match right behind another one
// is none.
func (x *regex) matches(s string, dst []int) []int {
	m := newMachine(x, s)
	last := -1
	for i := 0; i <= len(s); {
		if x.main.first != nil && i < len(s) && !x.main.first[s[i]] {
			i++
			continue
		}
		m.main.forget(i)
		end := m.run(x.main, &m.main, i)
		if end > i || end == i && i != last {
			dst = append(dst, i, end)
			m.main.clear(end)
			last = end
		}
		if end > i {
			i = end
			continue
		}
		if i == len(s) {
			break
		}
		_, n := utf8.DecodeRuneInString(s[i:])
		i += n
	}
	return dst
}

// machine is a pattern at work on a text.
type machine struct {
	x       *regex
	s       string
	main    memo
	parts   []memo
	choices []choice // of the runs at work, one above the other
	way     []visit  // likewise, of parts
}

func newMachine(x *regex, s string) *machine {
	m := &machine{x: x, s: s, main: memo{n: x.main.n}, parts: make([]memo, len(x.parts))}
	for i, p := range x.parts {
		m.parts[i] = memo{n: p.prog.n, part: true}
	}
	return m
}

// visit is a branch at a place.
type visit struct{ branch, at int }

// choice is a branch's second way, with as much of the way as led there.
type choice struct{ pc, at, way int }

// run returns where a match that begins at i ends, -1: there is none.
func (m *machine) run(p *program, known *memo, i int) int {
	choices, way := len(m.choices), len(m.way)
	end, looped := m.follow(p, known, i)
	if end >= 0 && known.part {
		known.succeed(m.way[way:], end, looped)
	}
	m.choices, m.way = m.choices[:choices], m.way[:way]
	return end
}

// follow is run, leaving the way to the match in m.way. Looped: some branch failed
// only because the way had come back to where it was.
func (m *machine) follow(p *program, known *memo, i int) (end int, looped bool) {
	base, first := len(m.choices), len(m.way)
	pc := p.start
	for {
		ok := false
		switch in := &p.insts[pc]; in.Op {
		case syntax.InstAlt, syntax.InstAltMatch:
			branch := int(p.alts[pc])
			end, met := known.enter(branch, i)
			if end >= 0 {
				return end, looped
			}
			if !met {
				if known.part {
					m.way = append(m.way, visit{branch, i})
				}
				m.choices = append(m.choices, choice{int(in.Arg), i, len(m.way)})
				pc, ok = int(in.Out), true
			} else if known.part && !looped {
				looped = under(m.way[first:], visit{branch, i})
			}
		case syntax.InstMatch:
			return i, looped
		case syntax.InstCapture:
			if i, ok = m.group(p, in, i); ok {
				pc = int(in.Out)
			}
		case syntax.InstEmptyWidth:
			pc, ok = int(in.Out), m.holds(syntax.EmptyOp(in.Arg), i)
		case syntax.InstNop:
			pc, ok = int(in.Out), true
		case syntax.InstFail:
		default:
			if i == len(m.s) {
				break
			}
			if c := m.s[i]; c < utf8.RuneSelf {
				if ok = p.ascii[pc][c>>6]>>(c&63)&1 != 0; ok {
					pc, i = int(in.Out), i+1
				}
				break
			}
			r, n := utf8.DecodeRuneInString(m.s[i:])
			if ok = in.MatchRune(older(r)); ok {
				pc, i = int(in.Out), i+n
			}
		}
		if ok {
			continue
		}
		if len(m.choices) == base {
			return -1, looped
		}
		c := m.choices[len(m.choices)-1]
		m.choices = m.choices[:len(m.choices)-1]
		pc, i, m.way = c.pc, c.at, m.way[:c.way]
	}
}

// holds tells whether a place is what an empty match wants, such as a line's end.
func (m *machine) holds(want syntax.EmptyOp, i int) bool {
	before, after := rune(-1), rune(-1)
	if i > 0 {
		before, _ = utf8.DecodeLastRuneInString(m.s[:i])
	}
	if i < len(m.s) {
		after, _ = utf8.DecodeRuneInString(m.s[i:])
	}
	return want&^syntax.EmptyOpContext(before, after) == 0
}

// under tells whether a way has come to a branch and not moved on since.
func under(way []visit, v visit) bool {
	for n := len(way) - 1; n >= 0 && way[n].at == v.at; n-- {
		if way[n] == v {
			return true
		}
	}
	return false
}

// group goes through a group: one that stands for a part is left where that says.
func (m *machine) group(p *program, in *syntax.Inst, i int) (int, bool) {
	if in.Arg%2 == 1 || p.part[in.Arg/2] < 0 {
		return i, true
	}
	n := p.part[in.Arg/2]
	part := &m.x.parts[n]
	from, fits := i, true
	if part.kind == behind || part.kind == notBehind {
		for range part.size {
			_, size := utf8.DecodeLastRuneInString(m.s[:from])
			fits = fits && size > 0
			from -= size
		}
	}
	end := -1
	if fits {
		end = m.run(part.prog, &m.parts[n], from)
	}
	switch part.kind {
	case atomic:
		return max(end, i), end >= 0
	case ahead, behind:
		return i, end >= 0
	}
	return i, end < 0
}

// memo remembers how going on from a branch at a place ended. Of the main pattern it
// is enough to know what failed, a bit each: what led to a match lies before its end,
// where nothing will begin any more. Parts are asked again where they matched, so
// theirs are ends: 0 is not known, 1 failed, else two more than the end.
type memo struct {
	n    int // branches
	part bool
	bits [][]uint64
	ends [][]int32

	first int        // the block of bits that is not forgotten
	free  [][]uint64 // blocks for other places
}

// blockBits is how many places lie in one block of what is remembered: most matches
// are short, and what lies before the next one is forgotten.
const blockBits = 12

// enter tells whether a branch at a place was met before, and where it ended, -1: it
// failed, or goes on. It is taken to fail until it succeeds.
func (o *memo) enter(branch, at int) (end int, met bool) {
	b, slot := at>>blockBits, at&(1<<blockBits-1)*o.n+branch
	if !o.part {
		if b >= len(o.bits) || o.bits[b] == nil {
			o.grow(b)
		}
		word, bit := &o.bits[b][slot>>6], uint64(1)<<(slot&63)
		met = *word&bit != 0
		*word |= bit
		return -1, met
	}
	for len(o.ends) <= b {
		o.ends = append(o.ends, nil)
	}
	if o.ends[b] == nil {
		o.ends[b] = make([]int32, o.n<<blockBits)
	}
	p := &o.ends[b][slot]
	if *p == 0 {
		*p = 1
		return -1, false
	}
	return int(*p) - 2, true
}

// grow makes a block of bits.
func (o *memo) grow(b int) {
	for len(o.bits) <= b {
		o.bits = append(o.bits, nil)
	}
	if n := len(o.free); n > 0 {
		o.bits[b], o.free = o.free[n-1], o.free[:n-1]
		clear(o.bits[b])
		return
	}
	o.bits[b] = make([]uint64, (o.n<<blockBits+63)/64)
}

// succeed notes where the branches on the way to a match ended.
func (o *memo) succeed(way []visit, end int, looped bool) {
	if looped { // some that failed may succeed by another way
		o.ends = nil
		return
	}
	for _, v := range way {
		o.ends[v.at>>blockBits][v.at&(1<<blockBits-1)*o.n+v.branch] = int32(end) + 2
	}
}

// clear forgets the main pattern's branches at one place, which a match ended at.
func (o *memo) clear(at int) {
	b := at >> blockBits
	if b >= len(o.bits) || o.bits[b] == nil {
		return
	}
	for slot := at & (1<<blockBits - 1) * o.n; slot < (at&(1<<blockBits-1)+1)*o.n; slot++ {
		o.bits[b][slot>>6] &^= 1 << (slot & 63)
	}
}

// forget lets go of the main pattern's branches before a place.
func (o *memo) forget(at int) {
	for ; o.first < at>>blockBits && o.first < len(o.bits); o.first++ {
		if b := o.bits[o.first]; b != nil {
			o.free = append(o.free, b)
			o.bits[o.first] = nil
		}
	}
}

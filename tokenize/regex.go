package tokenize

import (
	"fmt"
	"regexp/syntax"
	"strconv"
	"strings"
	"unicode/utf8"
)

// regex is the general path: any pattern, as a backtracking engine finds it, in
// time linear in the text. Whether a pattern can go on from one of its branches at
// one place is found out once: a branch that failed there is not tried again, by
// whatever way it is reached. That holds since nothing a pattern may have here
// depends on the way: there are no references back, and what looks around or is not
// gone back into is a program of its own with an outcome for each place.
//
// Rejected: regexp2, a backtracking engine without such a memory, for which (a+)+b
// takes twice as long with each letter of a text; Go's regexp, which cannot look ahead.
type regex struct {
	expr  string
	main  *program
	parts []regexPart
}

type regexPart struct {
	kind partKind
	prog *program
	size int // characters it takes, of one that looks behind
}

// program is a compiled pattern.
type program struct {
	insts []syntax.Inst
	start int
	alts  []int32     // by instruction: which branch it is, -1: none
	n     int         // branches
	part  []int       // by group: which part it stands for, -1: none
	ascii [][2]uint64 // by instruction: which of ASCII it takes
	first *[256]bool  // bytes that a match starts with; nil: any
}

// Branches are bounded, since what is remembered is so much for each byte of a text.
const (
	maxBranches     = 1 << 10 // a bit each
	maxPartBranches = 1 << 5  // four bytes each
)

func newRegex(expr string) (matcher, error) {
	x, err := compileRegex(expr)
	if err != nil {
		return nil, fmt.Errorf("pattern %.200q: %w", expr, err)
	}
	return x, nil
}

func compileRegex(expr string) (*regex, error) {
	main, parts, err := translate(expr)
	if err != nil {
		return nil, err
	}
	x := &regex{expr: expr}
	if x.main, _, err = compile(main, maxBranches); err != nil {
		return nil, err
	}
	for _, p := range parts {
		prog, size, err := compile(p.expr, maxPartBranches)
		if err != nil {
			return nil, err
		}
		if (p.kind == behind || p.kind == notBehind) && size < 0 {
			return nil, fmt.Errorf("looking behind for texts of different lengths: not supported")
		}
		x.parts = append(x.parts, regexPart{p.kind, prog, size})
	}
	return x, nil
}

// compile also tells how many characters the pattern takes, -1: that depends.
func compile(expr string, most int) (*program, int, error) {
	// In Oniguruma's syntax ^ and $ are always those of lines.
	re, err := syntax.Parse(expr, syntax.Perl&^syntax.OneLine)
	if err != nil {
		return nil, 0, err
	}
	size := width(re)
	names := re.CapNames()
	prog, err := syntax.Compile(re.Simplify())
	if err != nil {
		return nil, 0, err
	}
	p := &program{
		insts: prog.Inst, start: prog.Start, alts: make([]int32, len(prog.Inst)), part: make([]int, len(names)),
		ascii: make([][2]uint64, len(prog.Inst)),
	}
	for i, in := range prog.Inst {
		p.alts[i] = -1
		for c := range rune(utf8.RuneSelf) {
			if takes(in.Op) && in.MatchRune(c) {
				p.ascii[i][c>>6] |= 1 << (c & 63)
			}
		}
		if in.Op == syntax.InstAlt || in.Op == syntax.InstAltMatch {
			p.alts[i] = int32(p.n)
			p.n++
		}
	}
	if p.n > most {
		return nil, 0, fmt.Errorf("%d branches, at most %d are followed", p.n, most)
	}
	for i, name := range names {
		p.part[i] = -1
		if n, err := strconv.Atoi(strings.TrimPrefix(name, "p")); err == nil {
			p.part[i] = n
		}
	}
	p.first = p.firsts()
	return p, size, nil
}

// takes tells whether an instruction takes a character.
func takes(op syntax.InstOp) bool {
	return op == syntax.InstRune || op == syntax.InstRune1 || op == syntax.InstRuneAny || op == syntax.InstRuneAnyNotNL
}

// firsts lists the bytes that a match starts with, nil when it may be empty or starts
// with a part.
func (p *program) firsts() *[256]bool {
	first, seen := new([256]bool), make([]bool, len(p.insts))
	for todo := []int{p.start}; len(todo) > 0; {
		pc := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if seen[pc] {
			continue
		}
		seen[pc] = true
		switch in := &p.insts[pc]; {
		case takes(in.Op):
			for c := range first {
				first[c] = first[c] || c >= utf8.RuneSelf || p.ascii[pc][c>>6]>>(c&63)&1 != 0
			}
		case in.Op == syntax.InstAlt || in.Op == syntax.InstAltMatch:
			todo = append(todo, int(in.Out), int(in.Arg))
		case in.Op == syntax.InstNop || in.Op == syntax.InstEmptyWidth:
			todo = append(todo, int(in.Out))
		case in.Op != syntax.InstFail:
			return nil
		}
	}
	return first
}

// width is how many characters a pattern takes, -1: that depends.
func width(re *syntax.Regexp) int {
	switch re.Op {
	case syntax.OpLiteral:
		return len(re.Rune)
	case syntax.OpCharClass, syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return 1
	case syntax.OpConcat:
		sum := 0
		for _, sub := range re.Sub {
			n := width(sub)
			if n < 0 {
				return -1
			}
			sum += n
		}
		return sum
	case syntax.OpAlternate:
		n := width(re.Sub[0])
		for _, sub := range re.Sub[1:] {
			if width(sub) != n {
				return -1
			}
		}
		return n
	case syntax.OpBeginLine, syntax.OpEndLine, syntax.OpBeginText, syntax.OpEndText, syntax.OpEmptyMatch:
		return 0
	}
	return -1
}

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

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

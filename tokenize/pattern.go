package tokenize

import (
	"fmt"
	"regexp/syntax"
	"strconv"
	"strings"
	"unicode/utf8"
)

// translate rewrites a pattern from Oniguruma's syntax, in which tokenizers
// publish it, to that of Go's regexp/syntax. What Go's has no word for, looking
// around and groups that are not gone back into, becomes an empty group whose name
// is a number: that of the part it stands for, a pattern of its own. Constructs that
// would match something else are errors.
func translate(expr string) (main string, parts []partExpr, err error) {
	t := translator{in: expr}
	for t.i < len(t.in) && t.err == nil {
		t.step()
	}
	if len(t.groups) > 0 {
		t.refuse("a group without an end")
	}
	return t.out.String(), t.parts, t.err
}

// partExpr is what one of the named groups stands for.
type partExpr struct {
	kind partKind
	expr string // in Go's syntax
}

type partKind int

const (
	atomic partKind = iota // matches, and is not gone back into
	ahead                  // must match here, and takes nothing
	notAhead
	behind // must match up to here
	notBehind
)

// partOf are the groups that become parts.
var partOf = map[string]partKind{"(?>": atomic, "(?=": ahead, "(?!": notAhead, "(?<=": behind, "(?<!": notBehind}

type translator struct {
	in     string
	i      int
	out    strings.Builder
	atom   int // where in out the last atom starts
	groups []openGroup
	fold   bool // letters match whatever their case
	parts  []partExpr
	err    error
}

// openGroup is a group that has not ended.
type openGroup struct {
	at   int    // where in out it starts
	part string // "(?=" and the like when it is to be a part
	fold bool   // of what is around it
}

// What Oniguruma's \w stands for, inside a class and alone: the symbols are
// letters in circles and squares; the numbers of Latin-1 count only alone.
const (
	wordClass = `\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc}\x{24B6}-\x{24E9}\x{1F130}-\x{1F149}\x{1F150}-\x{1F169}\x{1F170}-\x{1F189}`
	wordAlone = wordClass + `\x{B2}\x{B3}\x{B9}\x{BC}-\x{BE}`
	spaces    = `\t-\r \x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000}`
)

func (t *translator) refuse(what string) {
	if t.err == nil {
		t.err = fmt.Errorf("%s at byte %d: not supported", what, t.i)
	}
}

func (t *translator) step() {
	switch c := t.in[t.i]; c {
	case '\\':
		t.atom = t.out.Len()
		t.escape()
	case '[':
		t.atom = t.out.Len()
		t.writeSet(t.class())
	case '(':
		t.open()
	case ')':
		t.close()
	case '?', '*', '+', '{':
		t.quantifier()
	default:
		t.atom = t.out.Len()
		_, n := utf8.DecodeRuneInString(t.in[t.i:])
		t.copy(n)
	}
}

func (t *translator) copy(n int) {
	n = min(n, len(t.in)-t.i)
	t.out.WriteString(t.in[t.i : t.i+n])
	t.i += n
}

func (t *translator) open() {
	rest := t.in[t.i:]
	g := openGroup{at: t.out.Len(), fold: t.fold}
	for start := range partOf {
		if strings.HasPrefix(rest, start) {
			g.part = start
		}
	}
	switch {
	case strings.HasPrefix(rest, "(?i)"): // for the rest of the group it is in
		t.fold = true
		t.copy(4)
		return
	case g.part != "":
		t.i += len(g.part)
	case strings.HasPrefix(rest, "(?i:"):
		t.fold = true
		t.copy(4)
	case strings.HasPrefix(rest, "(?:"):
		t.copy(3)
	case !strings.HasPrefix(rest, "(?"):
		t.out.WriteString("(?:")
		t.i++
	default:
		t.refuse("group " + rest[:min(4, len(rest))])
	}
	t.groups = append(t.groups, g)
}

func (t *translator) close() {
	if len(t.groups) == 0 {
		t.refuse("an end without a group")
		return
	}
	g := t.groups[len(t.groups)-1]
	t.groups = t.groups[:len(t.groups)-1]
	if g.part != "" {
		t.cut(g.at, partOf[g.part], "")
		t.i++
	} else {
		t.copy(1)
	}
	t.atom, t.fold = g.at, g.fold
}

// cut makes what was written from at on a part, and leaves its name there.
func (t *translator) cut(at int, kind partKind, suffix string) {
	s := t.out.String()
	expr := s[at:] + suffix
	if t.fold {
		expr = "(?i)" + expr
	}
	t.out.Reset()
	t.out.WriteString(s[:at])
	fmt.Fprintf(&t.out, "(?P<p%d>)", len(t.parts))
	t.parts = append(t.parts, partExpr{kind, expr})
}

// quantifier also turns possessive ones into atomic groups. After {n,m} a plus
// is not possessive but repeats once more.
func (t *translator) quantifier() {
	rest := t.in[t.i:]
	n := 1
	if rest[0] == '{' {
		n = strings.IndexByte(rest, '}') + 1
		if n == 0 || strings.Trim(rest[1:n-1], "0123456789,") != "" {
			t.refuse("brace " + rest[:min(4, len(rest))])
			return
		}
	}
	many := rest[:n]
	if strings.HasPrefix(many, "{,") {
		many = "{0" + many[1:]
	}
	switch {
	case len(rest) > n && rest[n] == '+' && rest[0] == '{':
		s := t.out.String()
		t.out.Reset()
		t.out.WriteString(s[:t.atom] + "(?:" + s[t.atom:] + many + ")+")
		n++
	case len(rest) > n && rest[n] == '+':
		t.cut(t.atom, atomic, many)
		n++
	case len(rest) > n && rest[n] == '?':
		t.out.WriteString(many + "?")
		n++
	default:
		t.out.WriteString(many)
	}
	t.i += n
}

// escape is an escape outside of a class.
func (t *translator) escape() {
	if t.i+1 < len(t.in) && (t.in[t.i+1] == 'A' || t.in[t.i+1] == 'z') {
		t.copy(2)
		return
	}
	if t.i+1 < len(t.in) && (t.in[t.i+1]|0x20) == 'w' {
		negated := t.in[t.i+1] == 'W'
		t.i += 2
		t.writeSet(t.setOf("["+wordAlone+"]", negated))
		return
	}
	t.writeSet(t.escaped())
}

// sets are the escapes that stand for several characters.
var sets = map[byte]string{'w': "[" + wordClass + "]", 's': "[" + spaces + "]", 'd': `\p{Nd}`, 'h': "[0-9a-fA-F]"}

// single are those that stand for one.
var single = map[byte]rune{'n': '\n', 'r': '\r', 't': '\t', 'f': '\f', 'v': '\v', 'e': 0x1B, 'a': 7}

// escaped reads an escape as a set of characters.
func (t *translator) escaped() runes {
	if t.i+1 >= len(t.in) {
		t.refuse("a backslash")
		return nil
	}
	c := t.in[t.i+1]
	if set, ok := sets[c|0x20]; ok {
		t.i += 2
		return t.setOf(set, c < 'a')
	}
	if r, ok := single[c]; ok {
		t.i += 2
		return runes{r, r}
	}
	switch {
	case c|0x20 == 'p':
		n := strings.IndexByte(t.in[t.i:], '}') + 1
		if n == 0 || strings.HasPrefix(t.in[t.i+2:], "{^") || t.in[t.i+2] != '{' {
			t.refuse("property")
			return nil
		}
		t.i += n
		return t.setOf(t.in[t.i-n:t.i], false)
	case c == 'u' || c == 'x' || c == '0':
		return t.number(c)
	case 'a' <= c|0x20 && c|0x20 <= 'z' || '1' <= c && c <= '9':
		t.refuse(`\` + string(c))
		return nil
	}
	r, n := utf8.DecodeRuneInString(t.in[t.i+1:])
	t.i += 1 + n
	return runes{r, r}
}

// number reads \uHHHH, \xHH, \x{H…} and \0OO.
func (t *translator) number(kind byte) runes {
	rest := t.in[t.i+2:]
	digits, base, skip := "", 16, 0
	switch {
	case kind == 'x' && strings.HasPrefix(rest, "{"):
		digits, _, _ = strings.Cut(rest[1:], "}")
		skip = 2
	case kind == '0':
		base = 8
		for len(digits) < 2 && len(digits) < len(rest) && '0' <= rest[len(digits)] && rest[len(digits)] <= '7' {
			digits = rest[:len(digits)+1]
		}
		if digits == "" {
			t.i += 2
			return runes{0, 0}
		}
	default:
		digits = rest[:min(len(rest), map[byte]int{'x': 2, 'u': 4}[kind])]
	}
	n, err := strconv.ParseUint(digits, base, 32)
	if err != nil || n > utf8.MaxRune || len(digits)+skip > len(rest) {
		t.refuse(`\` + string(kind))
		return nil
	}
	t.i += 2 + skip + len(digits)
	return runes{rune(n), rune(n)}
}

// setOf is the set of characters that a piece of Go's syntax stands for.
func (t *translator) setOf(expr string, negated bool) runes {
	re, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		t.refuse(expr)
		return nil
	}
	set := runes(re.Rune)
	if re.Op == syntax.OpLiteral {
		set = runes{re.Rune[0], re.Rune[0]}
	}
	if negated {
		return set.not()
	}
	return set.sorted()
}

// class reads […], with classes in it and intersections.
func (t *translator) class() runes {
	t.i++
	negated := strings.HasPrefix(t.in[t.i:], "^")
	if negated {
		t.i++
	}
	var all, set runes // what stands before an &&, and what since
	intersected := false
	both := func() runes {
		if intersected {
			return all.and(set)
		}
		return set
	}
	for first := true; t.i < len(t.in) && t.err == nil; first = false {
		rest := t.in[t.i:]
		switch {
		case rest[0] == ']' && !first:
			t.i++
			if negated {
				return both().not()
			}
			return both().sorted()
		case strings.HasPrefix(rest, "&&"):
			t.i += 2
			all, set, intersected = both(), nil, true
		case strings.HasPrefix(rest, "[:"):
			t.refuse("a named class")
		case rest[0] == '[':
			set = append(set, t.class()...)
		default:
			set = append(set, t.span()...)
		}
	}
	t.refuse("a class without an end")
	return nil
}

// span reads one member of a class, or two with a dash between them.
func (t *translator) span() runes {
	lo := t.member()
	rest := t.in[t.i:]
	if len(lo) != 2 || lo[0] != lo[1] || len(rest) < 2 || rest[0] != '-' || rest[1] == ']' || rest[1] == '[' {
		return lo
	}
	t.i++
	hi := t.member()
	if t.err == nil && (len(hi) != 2 || hi[0] != hi[1] || hi[0] < lo[0]) {
		t.refuse("a range in a class")
		return nil
	}
	if t.err != nil {
		return nil
	}
	return runes{lo[0], hi[0]}
}

func (t *translator) member() runes {
	if t.in[t.i] == '\\' {
		return t.escaped()
	}
	r, n := utf8.DecodeRuneInString(t.in[t.i:])
	t.i += n
	return runes{r, r}
}

// writeSet writes a set as a class.
func (t *translator) writeSet(set runes) {
	if t.err != nil {
		return
	}
	if len(set) == 0 {
		t.out.WriteString(`[^\x00-\x{10FFFF}]`)
		return
	}
	t.out.WriteByte('[')
	for i := 0; i < len(set); i += 2 {
		fmt.Fprintf(&t.out, `\x{%X}-\x{%X}`, set[i], set[i+1])
	}
	t.out.WriteByte(']')
}

package grammar

import (
	"errors"
	"fmt"
	"regexp/syntax"
	"strings"
	"unicode"
)

// parseRegex makes a regular expression an expression. A whole one matches a
// text from end to end, whether it says so or not; another matches a text it
// is found in, as a JSON schema's patterns do. It may look ahead from the
// beginning of the text.
func parseRegex(w *budget, source string, as spelling, whole bool) (*expr, error) {
	source = unescaped(source, as)
	p := regexParser{as: as, left: maxNodes, before: empty, after: empty}
	if !whole {
		p.before = repeat(p.class(anyRune), 0, -1)
		p.after = p.before
	}
	rest := source
	var looks []look
	if whole || strings.HasPrefix(rest, "^") {
		rest, looks = lookAheads(strings.TrimPrefix(rest, "^"))
	}
	if len(looks) == 0 {
		return p.parse(source)
	}
	e, err := p.parse("^(?:" + rest + ")")
	p.before, p.after = empty, repeat(p.class(anyRune), 0, -1)
	for _, l := range looks {
		if err != nil {
			return nil, err
		}
		var seen *expr
		if seen, err = p.parse(l.source); err != nil {
			return nil, err
		}
		ok := true
		if l.not {
			seen, ok = complement(w, seen)
		}
		if ok {
			e, ok = common(w, e, seen)
		}
		if !ok {
			return nil, fmt.Errorf("with what it looks ahead to, the regular expression is too large: %.40q", l.source)
		}
	}
	return e, err
}

// look is a (?=…) or (?!…).
type look struct {
	source string
	not    bool
}

// lookAheads cuts those that a regular expression begins with.
func lookAheads(source string) (rest string, looks []look) {
	for strings.HasPrefix(source, "(?=") || strings.HasPrefix(source, "(?!") {
		end := closing(source)
		if end < 0 {
			break // the parser says so
		}
		looks = append(looks, look{source: source[3:end], not: source[2] == '!'})
		source = source[end+1:]
	}
	if len(looks) > 0 && outside(source, '|') >= 0 {
		return "", nil // they are about the first alternative only
	}
	return source, looks
}

// closing is where the parenthesis closes that a regular expression begins
// with, or -1.
func closing(source string) int {
	if i := outside(source[1:], ')'); i >= 0 {
		return i + 1
	}
	return -1
}

// outside is where a regular expression has c outside of its parentheses and
// classes, or -1.
func outside(source string, c byte) int {
	depth, class := 0, false
	for i := 0; i < len(source); i++ {
		switch b := source[i]; {
		case b == '\\':
			i++
		case class:
			class = b != ']'
		case b == c && depth == 0:
			return i
		case b == '[':
			class = true
			if strings.HasPrefix(source[i+1:], "^") {
				i++
			}
			if strings.HasPrefix(source[i+1:], "]") { // the first is no end
				i++
			}
		case b == '(':
			depth++
		case b == ')':
			depth--
		}
	}
	return -1
}

// parse makes an expression of what syntax can read.
func (p *regexParser) parse(source string) (*expr, error) {
	re, err := syntax.Parse(source, syntax.Perl)
	if err != nil {
		var fault *syntax.Error
		if errors.As(err, &fault) {
			return nil, fmt.Errorf("cannot read the regular expression: %s: %.40q", fault.Code, fault.Expr)
		}
		return nil, err
	}
	e, err := p.ends(re, true, true)
	if err == nil && p.left < 0 {
		err = errors.New("the regular expression is too large")
	}
	return e, err
}

// unescaped writes \uXXXX as Go has it, and within a schema also \s and \S.
func unescaped(source string, as spelling) string {
	var b strings.Builder
	class, negated := false, false
	for i := 0; i < len(source); i++ {
		if source[i] == '\\' && i+1 < len(source) {
			i++
			switch c := source[i]; {
			case c == 'u' && i+4 < len(source) && isHex(source[i+1:i+5]):
				b.WriteString(`\x{` + source[i+1:i+5] + `}`)
				i += 4
			case as == asJSON && (c == 's' || c == 'S') && class:
				b.WriteString(white(c == 'S', negated))
			case as == asJSON && (c == 's' || c == 'S'):
				b.WriteString("[" + white(c == 'S', false) + "]")
			default:
				b.WriteString(source[i-1 : i+1])
			}
			continue
		}
		b.WriteByte(source[i])
		switch {
		case class:
			class = source[i] != ']'
		case source[i] == '[':
			class, negated = true, strings.HasPrefix(source[i+1:], "^")
			for _, first := range []string{"^", "]"} { // of which the bracket is no end
				if strings.HasPrefix(source[i+1:], first) {
					b.WriteString(first)
					i++
				}
			}
		}
	}
	return b.String()
}

// white is, in a class, white space by every dialect, or what is none by any. Is
// the class negated, it is what is by any dialect, or none by one.
func white(not, negated bool) string {
	const (
		all   = `\t\n\f\r `
		other = `\x00-\x08\x0b\x0e-\x1f!-\x{10ffff}`
		some  = `\t-\r\x1c- \x{85}\x{a0}\x{1680}\x{180e}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}\x{feff}`
		none  = `\x00-\x08\x0e-\x1b!-\x{84}\x{86}-\x{9f}\x{a1}-\x{167f}\x{1681}-\x{180d}\x{180f}-\x{1fff}\x{200b}-\x{2027}\x{202a}-\x{202e}` +
			`\x{2030}-\x{205e}\x{2060}-\x{2fff}\x{3001}-\x{fefe}\x{ff00}-\x{10ffff}`
	)
	switch {
	case not && negated:
		return other
	case not:
		return none
	case negated:
		return some
	}
	return all
}

func isHex(s string) bool {
	return strings.Trim(s, "0123456789abcdefABCDEF") == ""
}

type regexParser struct {
	as            spelling
	before, after *expr // what may stand beside a match
	left          int   // pieces that may still be made
}

var errAnchor = errors.New("the regular expression has ^, $ or \\b inside; only ^ at the beginning and $ at the end are supported")

// ends is re when it is what a text begins with (first), ends with (last), or
// both: there an anchor may stand, and without one other text may.
func (p *regexParser) ends(re *syntax.Regexp, first, last bool) (*expr, error) {
	switch {
	case re.Op == syntax.OpCapture:
		return p.ends(re.Sub[0], first, last)
	case re.Op == syntax.OpAlternate:
		return p.each(re.Sub, alt, func(_ int, s *syntax.Regexp) (*expr, error) { return p.ends(s, first, last) })
	case re.Op == syntax.OpConcat:
		subs := re.Sub
		// One more anchor at an end says nothing new.
		for first && len(subs) > 1 && isAnchor(subs[0], syntax.OpBeginText) && isAnchor(subs[1], syntax.OpBeginText) {
			subs = subs[1:]
		}
		for n := len(subs); last && n > 1 && isAnchor(subs[n-1], syntax.OpEndText) && isAnchor(subs[n-2], syntax.OpEndText); n = len(subs) {
			subs = subs[:n-1]
		}
		return p.each(subs, seq, func(i int, s *syntax.Regexp) (*expr, error) {
			return p.ends(s, first && i == 0, last && i == len(subs)-1)
		})
	case re.Op == syntax.OpBeginText && first:
		if last { // nothing but ^
			return p.after, nil
		}
		return empty, nil
	case re.Op == syntax.OpEndText && last:
		if first {
			return p.before, nil
		}
		return empty, nil
	}
	e, err := p.inner(re)
	if err != nil {
		return nil, err
	}
	if first {
		e = seq(p.before, e)
	}
	if last {
		e = seq(e, p.after)
	}
	return e, nil
}

func isAnchor(re *syntax.Regexp, op syntax.Op) bool { return re.Op == op }

func (p *regexParser) class(r runes) *expr {
	if p.as == asJSON && len(r) == 2 && r[0] == 0 && r[1] == maxRune {
		return keyChar
	}
	p.left -= 8
	return p.as.class(r)
}

func (p *regexParser) each(subs []*syntax.Regexp, join func(...*expr) *expr, one func(int, *syntax.Regexp) (*expr, error)) (*expr, error) {
	var parts []*expr
	for i, s := range subs {
		e, err := one(i, s)
		if err != nil {
			return nil, err
		}
		parts = append(parts, e)
	}
	return join(parts...), nil
}

// inner is re where no anchor can be.
func (p *regexParser) inner(re *syntax.Regexp) (*expr, error) {
	if p.left--; p.left < 0 {
		return never, nil
	}
	switch re.Op {
	case syntax.OpNoMatch:
		return never, nil
	case syntax.OpEmptyMatch:
		return empty, nil
	case syntax.OpLiteral:
		return p.literal(re), nil
	case syntax.OpCharClass:
		return p.class(re.Rune), nil
	case syntax.OpAnyChar:
		return p.class(anyRune), nil
	case syntax.OpAnyCharNotNL:
		if p.as == asJSON { // as ECMAScript has it
			return p.class(anyRune.without('\n', '\r', 0x2028, 0x2029)), nil
		}
		return p.class(anyRune.without('\n')), nil
	case syntax.OpConcat:
		return p.each(re.Sub, seq, func(_ int, s *syntax.Regexp) (*expr, error) { return p.inner(s) })
	case syntax.OpAlternate:
		return p.each(re.Sub, alt, func(_ int, s *syntax.Regexp) (*expr, error) { return p.inner(s) })
	case syntax.OpCapture:
		return p.inner(re.Sub[0])
	case syntax.OpStar:
		return p.times(re, 0, -1)
	case syntax.OpPlus:
		return p.times(re, 1, -1)
	case syntax.OpQuest:
		return p.times(re, 0, 1)
	case syntax.OpRepeat:
		return p.times(re, re.Min, re.Max)
	}
	return nil, errAnchor
}

func (p *regexParser) times(re *syntax.Regexp, low, high int) (*expr, error) {
	e, err := p.inner(re.Sub[0])
	if err != nil {
		return nil, err
	}
	return repeat(e, low, high), nil
}

func (p *regexParser) literal(re *syntax.Regexp) *expr {
	if re.Flags&syntax.FoldCase == 0 {
		return p.as.text(string(re.Rune))
	}
	var parts []*expr
	for _, c := range re.Rune {
		all := runes{c, c}
		for f := unicode.SimpleFold(c); f != c; f = unicode.SimpleFold(f) {
			all = append(all, f, f)
		}
		sortRunes(all)
		parts = append(parts, p.class(all))
	}
	return seq(parts...)
}

// endless is the length of what has no longest match.
const endless = 1 << 30

// length is how many characters the shortest and the longest match have of an
// expression that parseRegex made with asJSON, before it became a table.
func (e *expr) length() (least, most int) {
	switch e.op {
	case opText:
		for i := 0; i < len(e.text); i++ {
			switch c := e.text[i]; {
			case c == '\\' && e.text[i+1] == 'u':
				i += 5
			case c == '\\':
				i++
			case c >= 0x80 && c < 0xC0: // within a character
				continue
			}
			least++
		}
		return least, least
	case opCounted:
		return 0, int(e.counted.most)
	case opTable:
		if !e.class {
			return 0, endless
		}
		return 1, 1
	case opSeq:
		for _, s := range e.subs {
			l, m := s.length()
			least, most = min(least+l, endless), min(most+m, endless)
		}
	case opAlt:
		least = endless
		for _, s := range e.subs {
			l, m := s.length()
			least, most = min(least, l), max(most, m)
		}
	case opRepeat:
		l, m := e.subs[0].length()
		least, most = min(l*int(e.min), endless), endless
		if e.max >= 0 {
			most = min(m*int(e.max), endless)
		}
	}
	return least, most
}

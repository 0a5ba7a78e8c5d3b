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
// is found in, as a JSON schema's patterns do.
func parseRegex(source string, as spelling, whole bool) (*expr, error) {
	re, err := syntax.Parse(unescaped(source), syntax.Perl)
	if err != nil {
		var fault *syntax.Error
		if errors.As(err, &fault) {
			return nil, fmt.Errorf("cannot read the regular expression: %s: %.40q", fault.Code, fault.Expr)
		}
		return nil, err
	}
	p := regexParser{as: as, whole: whole, left: maxNodes}
	e, err := p.ends(re, true, true)
	if err == nil && p.left < 0 {
		err = errors.New("the regular expression is too large")
	}
	return e, err
}

// unescaped writes \uXXXX as Go has it.
func unescaped(source string) string {
	var b strings.Builder
	for i := 0; i < len(source); i++ {
		if source[i] == '\\' && i+1 < len(source) {
			if source[i+1] == 'u' && i+5 < len(source) && isHex(source[i+2:i+6]) {
				b.WriteString(`\x{` + source[i+2:i+6] + `}`)
				i += 5
				continue
			}
			b.WriteByte(source[i])
			i++
		}
		b.WriteByte(source[i])
	}
	return b.String()
}

func isHex(s string) bool {
	return strings.Trim(s, "0123456789abcdefABCDEF") == ""
}

type regexParser struct {
	as    spelling
	whole bool
	left  int // pieces that may still be made
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
			return p.around(), nil
		}
		return empty, nil
	case re.Op == syntax.OpEndText && last:
		if first {
			return p.around(), nil
		}
		return empty, nil
	}
	e, err := p.inner(re)
	if err != nil {
		return nil, err
	}
	if first {
		e = seq(p.around(), e)
	}
	if last {
		e = seq(e, p.around())
	}
	return e, nil
}

func isAnchor(re *syntax.Regexp, op syntax.Op) bool { return re.Op == op }

// around is what may stand beside a match.
func (p *regexParser) around() *expr {
	if p.whole {
		return empty
	}
	return repeat(p.class(anyRune), 0, -1)
}

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
	case opBytes, opTable:
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

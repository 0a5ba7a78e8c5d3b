package grammar

import (
	"fmt"
	"slices"
)

// str matches a string. With a pattern or a format, each character has one
// spelling.
func (c *compiler) str(words []*keywords, _ types) (*expr, error) {
	s := strs{c: c, high: -1}
	for _, k := range words {
		s.low, s.high = max(s.low, k.minLen), lower(s.high, k.maxLen)
		s.patterns = append(s.patterns, k.patterns...)
		s.formats = append(s.formats, k.formats...)
		s.not = append(s.not, k.notPatterns...)
		s.notFormats = append(s.notFormats, k.notFormats...)
		for _, v := range k.except {
			if v.kind == isString {
				s.except = append(s.except, v.text)
			}
		}
	}
	key := s.key()
	if e := c.strs[key]; e != nil {
		return e, nil
	}
	e, err := s.expr()
	if err == nil {
		c.strs[key] = e
	}
	return e, err
}

// strs is what schemas say of one string.
type strs struct {
	c                 *compiler
	low, high         int // characters; high -1: no bound
	patterns, formats []*value
	not, notFormats   []*value // patterns that are not found in it, formats that it does not have
	except            []string
}

func (s *strs) key() string {
	key := fmt.Sprintf("%d %d %q", s.low, s.high, s.except)
	for _, v := range s.patterns {
		key += fmt.Sprintf(" %q", v.text)
	}
	for _, v := range s.formats {
		key += " " + v.text
	}
	for _, v := range s.notFormats {
		key += " !" + v.text
	}
	for _, v := range s.not {
		key += fmt.Sprintf(" !%q", v.text)
	}
	return key
}

func (s *strs) expr() (*expr, error) {
	if len(s.patterns)+len(s.formats)+len(s.not)+len(s.notFormats)+len(s.except) == 0 {
		return seq(quote, repeat(jsonChar, s.low, s.high), quote), nil
	}
	e, err := s.together(false)
	if err != nil && slices.ContainsFunc(s.formats, func(f *value) bool { return formats[f.text].less != nil }) {
		e, err = s.together(true)
	}
	if err != nil {
		return nil, err
	}
	return seq(quote, e, quote), nil
}

// together matches what all say; with short, in the short variants of formats.
func (s *strs) together(short bool) (*expr, error) {
	var parts []*expr
	var at string
	low, high := s.low, s.high
	add := func(v *value, e *expr) {
		// What is within the lengths anyway need not be counted.
		least, most := e.length()
		if least >= low {
			low = 0
		}
		if most <= high {
			high = -1
		}
		parts, at = append(parts, e), v.path
	}
	for _, p := range s.patterns {
		e, err := s.c.pattern(p)
		if err != nil {
			return nil, err
		}
		add(p, e)
	}
	for _, f := range s.formats {
		is := formats[f.text]
		switch least, most := is.expr().length(); {
		case short && is.less != nil:
			add(f, is.less())
		case is.longer != nil && (low > least || high >= 0 && high < most):
			high = lower(high, is.most)
			add(f, is.longer())
		default:
			add(f, is.expr())
		}
	}
	if len(s.except) > 0 {
		parts = append(parts, s.c.noneOf(s.except))
	}
	for _, p := range slices.Concat(s.not, s.notFormats) {
		e, err := s.opposite(p)
		if err != nil {
			return nil, err
		}
		if len(parts) == 0 {
			parts = append(parts, repeat(keyChar, 0, -1))
		}
		parts, at = append(parts, e), p.path
	}
	e := parts[0]
	for _, p := range parts[1:] {
		var ok bool
		if e, ok = common(s.c.budget, e, p); !ok {
			return nil, errorf(at, "together with the other patterns and formats of this string it is too large")
		}
		if err := s.c.spend(len(e.states())); err != nil {
			return nil, err
		}
	}
	return s.counted(e, low, high, at)
}

// opposite matches what lacks a pattern, or cannot have a format.
func (s *strs) opposite(v *value) (*expr, error) {
	var e *expr
	if slices.Contains(s.notFormats, v) {
		e = formats[v.text].beyond()
	} else {
		var err error
		if e, err = s.c.pattern(v); err != nil {
			return nil, err
		}
	}
	e, ok := s.c.complement(e)
	if !ok {
		return nil, errorf(v.path, "is too large to be the opposite of")
	}
	return e, nil
}

// counted is those of e with so many characters.
func (s *strs) counted(e *expr, low, high int, at string) (*expr, error) {
	ok := true
	if low > 0 {
		e, ok = common(s.c.budget, e, repeat(keyChar, low, -1))
	}
	if ok && high >= 0 {
		e, ok = atMost(s.c.budget, e, high)
	}
	if !ok {
		return nil, errorf(at, "together with the length of this string it is too large")
	}
	return e, s.c.spend(len(e.states()))
}

// keyPattern matches the keys, with quotes, that a pattern is found in.
func (c *compiler) keyPattern(v *value) (*expr, error) {
	if e := c.keyed[v.text]; e != nil {
		return e, nil
	}
	e, err := c.pattern(v)
	if err != nil {
		return nil, err
	}
	c.keyed[v.text] = seq(quote, e, quote)
	return c.keyed[v.text], nil
}

// pattern matches the texts that a pattern is found in.
func (c *compiler) pattern(v *value) (*expr, error) {
	if e := c.patterns[v.text]; e != nil {
		return e, nil
	}
	if err := c.spend(len(v.text)); err != nil {
		return nil, err
	}
	e, err := parseRegex(c.budget, v.text, asJSON, false)
	if err != nil {
		return nil, errorf(v.path, "%v", err)
	}
	c.patterns[v.text] = e
	return e, nil
}

// lower is the lower of two limits, of which -1 is none.
func lower(a, b int) int {
	if a < 0 || b >= 0 && b < a {
		return b
	}
	return a
}

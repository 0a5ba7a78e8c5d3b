package grammar

import "fmt"

// str matches a string. With a pattern or a format, each character has one
// spelling.
func (c *compiler) str(words []*keywords, _ types) (*expr, error) {
	s := strs{c: c, high: -1}
	for _, k := range words {
		s.low, s.high = max(s.low, k.minLen), lower(s.high, k.maxLen)
		s.patterns = append(s.patterns, k.patterns...)
		s.formats = append(s.formats, k.formats...)
		s.not = append(s.not, k.notPatterns...)
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
	not               []*value // patterns that are not found in it
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
	for _, v := range s.not {
		key += fmt.Sprintf(" !%q", v.text)
	}
	return key
}

func (s *strs) expr() (*expr, error) {
	if len(s.patterns)+len(s.formats)+len(s.not)+len(s.except) == 0 {
		return seq(quote, repeat(jsonChar, s.low, s.high), quote), nil
	}
	var parts []*expr
	var at string
	low, high := s.low, s.high
	add := func(v *value, source string, whole bool) error {
		if err := s.c.spend(len(source)); err != nil {
			return err
		}
		e, err := parseRegex(source, asJSON, whole)
		if err != nil {
			return errorf(v.path, "%v", err)
		}
		// What is within the lengths anyway need not be counted.
		least, most := e.length()
		if least >= low {
			low = 0
		}
		if most <= high {
			high = -1
		}
		parts, at = append(parts, e), v.path
		return nil
	}
	for _, p := range s.patterns {
		if err := add(p, p.text, false); err != nil {
			return nil, err
		}
	}
	for _, f := range s.formats {
		source := formats[f.text]
		if short := formats["short "+f.text]; short != "" && high >= 0 {
			if e, err := parseRegex(source, asJSON, true); err == nil {
				if _, most := e.length(); most > high {
					source = short
				}
			}
		}
		if err := add(f, source, true); err != nil {
			return nil, err
		}
	}
	if low > 0 || high >= 0 || len(parts) == 0 {
		parts = append(parts, repeat(keyChar, low, high))
	}
	if len(s.except) > 0 {
		parts = append(parts, notAny(s.except))
	}
	for _, p := range s.not {
		e, err := s.c.pattern(p)
		if err != nil {
			return nil, err
		}
		e, ok := complement(e)
		if !ok {
			return nil, errorf(p.path, "is too large to be the opposite of")
		}
		parts = append(parts, e)
	}
	e := parts[0]
	for _, p := range parts[1:] {
		var ok bool
		if e, ok = common(e, p); !ok {
			return nil, errorf(at, "together with the other patterns, formats and lengths of this string it is too large")
		}
		if err := s.c.spend(4 * len(e.states())); err != nil {
			return nil, err
		}
	}
	return seq(quote, e, quote), nil
}

// pattern matches the texts that a pattern is found in.
func (c *compiler) pattern(v *value) (*expr, error) {
	if e := c.patterns[v.text]; e != nil {
		return e, nil
	}
	if err := c.spend(len(v.text)); err != nil {
		return nil, err
	}
	e, err := parseRegex(v.text, asJSON, false)
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

package grammar

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// scanner reads rules in EBNF, character by character.
type scanner struct {
	source string
	at     int
	depth  int
}

func (s *scanner) line() int { return 1 + strings.Count(s.source[:min(s.at, len(s.source))], "\n") }

func (s *scanner) errorf(format string, args ...any) error {
	return fmt.Errorf("line %d: %s", s.line(), fmt.Sprintf(format, args...))
}

func (s *scanner) rest() string { return s.source[min(s.at, len(s.source)):] }
func (s *scanner) done() bool   { return s.at >= len(s.source) }

// peek is the next byte, 0 at the end.
func (s *scanner) peek() byte {
	if s.done() {
		return 0
	}
	return s.source[s.at]
}

// take goes on by a text, if it is there.
func (s *scanner) take(text string) bool {
	if !strings.HasPrefix(s.rest(), text) {
		return false
	}
	s.at += len(text)
	return true
}

// word is the longest text of these characters.
func (s *scanner) word(is func(byte) bool) string {
	from := s.at
	for !s.done() && is(s.source[s.at]) {
		s.at++
	}
	return s.source[from:s.at]
}

func isWord(b byte) bool {
	return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || b == '_' || b == '-'
}

func isDigit(b byte) bool { return b >= '0' && b <= '9' }

// count reads a number of repetitions.
func (s *scanner) count() (int, error) {
	digits := s.word(isDigit)
	n, err := strconv.Atoi(digits)
	if err != nil || n > maxRepeat {
		return 0, s.errorf("expected a number of repetitions up to %d, got %.20q", maxRepeat, digits)
	}
	return n, nil
}

// maxRepeat bounds what repetitions ask for.
const maxRepeat = 1 << 20

// nested goes down one level, which leave ends.
func (s *scanner) nested() error {
	if s.depth++; s.depth > maxNesting {
		return s.errorf("it is nested deeper than %d", maxNesting)
	}
	return nil
}

func (s *scanner) leave() { s.depth-- }

// char reads one character of a string or a class, which may be escaped.
func (s *scanner) char() (rune, error) {
	c, n := utf8.DecodeRuneInString(s.rest())
	if c == utf8.RuneError && n < 2 {
		return 0, s.errorf("it is cut, or not UTF-8")
	}
	s.at += n
	if c == '\n' {
		return 0, s.errorf("a string or a class goes on at the end of its line")
	}
	if c != '\\' {
		return c, nil
	}
	e := s.peek()
	s.at++
	if i := strings.IndexByte("nrtfv0ab", e); i >= 0 && e != 0 {
		return rune("\n\r\t\f\v\x00\a\b"[i]), nil
	}
	if n := map[byte]int{'x': 2, 'u': 4, 'U': 8}[e]; n > 0 {
		if len(s.rest()) < n || !isHex(s.rest()[:n]) {
			return 0, s.errorf(`\%c needs %d hexadecimal digits`, e, n)
		}
		v, _ := strconv.ParseUint(s.rest()[:n], 16, 32)
		s.at += n
		if v > maxRune || v >= 0xD800 && v < 0xE000 {
			return 0, s.errorf("U+%X is no character", v)
		}
		return rune(v), nil
	}
	if strings.IndexByte(`"'\[]^-/.*+?(){}|$ `, e) < 0 || e == 0 {
		return 0, s.errorf(`\%c is not known`, e)
	}
	return rune(e), nil
}

// quoted reads a string up to its closing quote.
func (s *scanner) quoted(quote byte) (string, error) {
	s.at++
	var b strings.Builder
	for s.peek() != quote {
		if s.done() {
			return "", s.errorf("a string has no end")
		}
		c, err := s.char()
		if err != nil {
			return "", err
		}
		b.WriteRune(c)
	}
	s.at++
	return b.String(), nil
}

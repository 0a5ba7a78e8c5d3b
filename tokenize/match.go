package tokenize

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// matcher finds all matches in a text.
type matcher interface {
	// matches appends the start and end of each match, in order, in bytes.
	matches(s string, dst []int) []int
}

func newMatcher(p *pattern) (matcher, error) {
	switch {
	case p != nil && p.String != nil && *p.String != "":
		return literal(*p.String), nil
	case p != nil && p.Regex != nil:
		if f, ok := scanners[*p.Regex]; ok {
			makeClasses()
			return f, nil
		}
		return newRegex(*p.Regex)
	}
	return nil, errNoPattern
}

// literal matches itself.
type literal string

func (l literal) matches(s string, dst []int) []int {
	for from := 0; ; {
		i := strings.Index(s[from:], string(l))
		if i < 0 {
			return dst
		}
		dst = append(dst, from+i, from+i+len(l))
		from += i + len(l)
	}
}

// class matches single characters.
type class func(rune) bool

func (c class) matches(s string, dst []int) []int {
	for i, r := range s {
		if c(r) {
			dst = append(dst, i, i+utf8.RuneLen(r))
		}
	}
	return dst
}

// words matches \w+|[^\w\s]+, with the \w of UTS #18.
type words struct{}

func (words) matches(s string, dst []int) []int {
	const none, word, other = 0, 1, 2
	kind := func(r rune) int {
		switch {
		case isWord(r):
			return word
		case unicode.IsSpace(r):
			return none
		}
		return other
	}
	start, last := 0, none
	for i, r := range s {
		k := kind(r)
		if k == last {
			continue
		}
		if last != none {
			dst = append(dst, start, i)
		}
		start, last = i, k
	}
	if last != none {
		dst = append(dst, start, len(s))
	}
	return dst
}

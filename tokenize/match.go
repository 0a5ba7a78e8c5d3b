package tokenize

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/dlclark/regexp2/v2"
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

// regex is the general path: any pattern, by a backtracking engine.
type regex struct{ re *regexp2.Regexp }

func newRegex(expr string) (matcher, error) {
	net, err := translate(expr)
	if err != nil {
		return nil, fmt.Errorf("pattern %q: %w", expr, err)
	}
	// In Oniguruma's syntax ^ and $ are always those of lines.
	re, err := regexp2.Compile(net, regexp2.Multiline, regexp2.OptionMaxBacktrackingStackSize(-1))
	if err != nil {
		return nil, fmt.Errorf("pattern %q: %w", expr, err)
	}
	return regex{re}, nil
}

func (x regex) matches(s string, dst []int) []int {
	runes := []rune(s)
	lens := runes
	if !ascii(s) {
		lens = slices.Clone(runes)
		for i, r := range runes {
			runes[i] = older(r)
		}
	}
	r, b := 0, 0 // the same place in runes and in s
	seek := func(to int) int {
		for ; r < to; r++ {
			b += utf8.RuneLen(lens[r])
		}
		return b
	}
	err := x.re.FindRunesMatches(runes, 0, func(m regexp2.MatchView) bool {
		at, n, _ := m.GroupRange(0)
		dst = append(dst, seek(at), seek(at+n))
		return true
	})
	if err != nil {
		panic(fmt.Sprintf("tokenize: pattern %q: %v", x.re.String(), err))
	}
	return dst
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

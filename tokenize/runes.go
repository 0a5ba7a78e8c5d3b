package tokenize

import (
	"cmp"
	"slices"
	"unicode/utf8"
)

// runes is a set of characters: pairs of the first and the last of a range.
type runes []rune

// sorted orders the ranges and joins those that touch.
func (s runes) sorted() runes {
	pairs := make([][2]rune, len(s)/2)
	for i := range pairs {
		pairs[i] = [2]rune{s[2*i], s[2*i+1]}
	}
	slices.SortFunc(pairs, func(a, b [2]rune) int { return cmp.Compare(a[0], b[0]) })
	var out runes
	for _, p := range pairs {
		if n := len(out); n > 0 && p[0] <= out[n-1]+1 {
			out[n-1] = max(out[n-1], p[1])
			continue
		}
		out = append(out, p[0], p[1])
	}
	return out
}

// not is all other characters.
func (s runes) not() runes {
	var out runes
	next := rune(0)
	for s = s.sorted(); len(s) > 0; s = s[2:] {
		if next < s[0] {
			out = append(out, next, s[0]-1)
		}
		next = s[1] + 1
	}
	if next <= utf8.MaxRune {
		out = append(out, next, utf8.MaxRune)
	}
	return out
}

// and is what both have.
func (s runes) and(o runes) runes {
	return append(s.not(), o.not()...).not()
}

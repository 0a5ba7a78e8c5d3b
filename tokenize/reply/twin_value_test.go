package reply

import (
	"strings"
)

func skipBlank(s string, i int) int { return len(s) - len(strings.TrimLeft(s[i:], blanks)) }

// twinValue is the end of the JSON value at s[i:], or the byte at fault.
func twinValue(s string, i int) (int, bool) {
	if i = skipBlank(s, i); i == len(s) {
		return i, false
	}
	switch c := s[i]; {
	case c == '"':
		return twinString(s, i)
	case c == '{' || c == '[':
		return twinList(s, i)
	case c == '-' || c >= '0' && c <= '9':
		return twinNumber(s, i)
	}
	for _, word := range []string{"true", "false", "null"} {
		if s[i] == word[0] {
			for k := range len(word) {
				if i+k == len(s) || s[i+k] != word[k] {
					return i + k, false
				}
			}
			return i + len(word), true
		}
	}
	return i, false
}

func twinString(s string, i int) (int, bool) {
	for i++; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return i + 1, true
		case c < ' ':
			return i, false
		case c == '\\':
			if i++; i == len(s) || !strings.ContainsRune(`"\/bfnrtu`, rune(s[i])) {
				return i, false
			}
			for n := 0; s[i] == 'u' && n < 4; n++ {
				if i+1+n == len(s) || !strings.ContainsRune("0123456789abcdefABCDEF", rune(s[i+1+n])) {
					return i + 1 + n, false
				}
			}
			if s[i] == 'u' {
				i += 4
			}
		}
	}
	return i, false
}

func twinList(s string, i int) (int, bool) {
	object, end := s[i] == '{', byte(']')
	if object {
		end = '}'
	}
	if k := skipBlank(s, i+1); k < len(s) && s[k] == end {
		return k + 1, true
	}
	for {
		var ok bool
		if i = skipBlank(s, i+1); object {
			if i == len(s) || s[i] != '"' {
				return i, false
			}
			if i, ok = twinString(s, i); !ok {
				return i, false
			}
			if i = skipBlank(s, i); i == len(s) || s[i] != ':' {
				return i, false
			}
			i++
		}
		if i, ok = twinValue(s, i); !ok {
			return i, false
		}
		if i = skipBlank(s, i); i == len(s) || s[i] != ',' && s[i] != end {
			return i, false
		}
		if s[i] == end {
			return i + 1, true
		}
	}
}

func twinNumber(s string, i int) (int, bool) {
	digits := func() bool {
		from := i
		for i < len(s) && s[i] >= '0' && s[i] <= '9' {
			i++
		}
		return i > from
	}
	if s[i] == '-' {
		i++
	}
	if i < len(s) && s[i] == '0' {
		i++
	} else if !digits() {
		return i, false
	}
	if i < len(s) && s[i] == '.' {
		if i++; !digits() {
			return i, false
		}
	}
	if i < len(s) && (s[i] == 'e' || s[i] == 'E') {
		if i++; i < len(s) && (s[i] == '+' || s[i] == '-') {
			i++
		}
		if !digits() {
			return i, false
		}
	}
	return i, true
}

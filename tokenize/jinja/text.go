package jinja

import (
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/language"
)

// Python counts a string in characters, Go in bytes. Text that is ASCII, as
// most is, takes the short way.

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// isSpace is str.isspace of one character, also what strip() strips.
func isSpace(r rune) bool {
	return r >= 0x1c && r <= 0x1f || unicode.IsSpace(r)
}

// like gives text the type of the string it was made from.
func like(orig Value, text string) Value {
	if _, ok := orig.(Markup); ok {
		return Markup(text)
	}
	return text
}

var htmlEscaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "'", "&#39;", `"`, "&#34;")

func escapeHTML(s string) string { return htmlEscaper.Replace(s) }

func upper(s string) string {
	if isASCII(s) {
		return strings.ToUpper(s)
	}
	return cases.Upper(language.Und).String(s)
}

func lower(s string) string {
	if isASCII(s) {
		return strings.ToLower(s)
	}
	return cases.Lower(language.Und, cases.HandleFinalSigma(true)).String(s)
}

// titleRune is the titlecase of one character, which can be several.
func titleRune(r rune) string {
	if r == 'ß' {
		return "Ss"
	}
	return string(unicode.ToTitle(r))
}

func capitalize(s string) string {
	if s == "" {
		return s
	}
	r, n := utf8.DecodeRuneInString(s)
	return titleRune(r) + lower(s[n:])
}

func isCased(r rune) bool {
	return unicode.IsUpper(r) || unicode.IsLower(r) || unicode.IsTitle(r)
}

// title starts every run of cased letters with a capital, as str.title does.
func title(s string) string {
	var b strings.Builder
	inWord := false
	for _, r := range s {
		switch {
		case !isCased(r):
			b.WriteRune(r)
		case inWord:
			b.WriteString(lower(string(r)))
		default:
			b.WriteString(titleRune(r))
		}
		inWord = isCased(r)
	}
	return b.String()
}

func swapcase(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case unicode.IsUpper(r):
			b.WriteString(lower(string(r)))
		case unicode.IsLower(r):
			b.WriteString(upper(string(r)))
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// allCased tells islower (want = unicode.IsLower) and isupper.
func allCased(s string, want func(rune) bool) bool {
	some := false
	for _, r := range s {
		if isCased(r) {
			if !want(r) {
				return false
			}
			some = true
		}
	}
	return some
}

func isTitle(s string) bool {
	some, inWord := false, false
	for _, r := range s {
		switch {
		case unicode.IsUpper(r) || unicode.IsTitle(r):
			if inWord {
				return false
			}
			some, inWord = true, true
		case unicode.IsLower(r):
			if !inWord {
				return false
			}
		default:
			inWord = false
		}
	}
	return some
}

// all reports whether s has a character and each satisfies f.
func all(s string, f func(rune) bool) bool {
	for _, r := range s {
		if !f(r) {
			return false
		}
	}
	return s != ""
}

func isPrintable(r rune) bool { return unicode.IsPrint(r) }

func strip(s, chars string, given bool) string {
	return stripRight(stripLeft(s, chars, given), chars, given)
}

func stripLeft(s, chars string, given bool) string {
	if !given {
		return strings.TrimLeftFunc(s, isSpace)
	}
	return strings.TrimLeft(s, chars)
}

func stripRight(s, chars string, given bool) string {
	if !given {
		return strings.TrimRightFunc(s, isSpace)
	}
	return strings.TrimRight(s, chars)
}

// split is str.split(sep, maxsplit): by runs of whitespace when sep is not given.
func split(s, sep string, given bool, limit int) []string {
	if given {
		if limit < 0 {
			return strings.Split(s, sep)
		}
		return strings.SplitN(s, sep, limit+1)
	}
	if limit < 0 {
		return strings.FieldsFunc(s, isSpace)
	}
	var out []string
	s = strings.TrimLeftFunc(s, isSpace)
	for s != "" {
		if len(out) == limit {
			return append(out, s)
		}
		i := strings.IndexFunc(s, isSpace)
		if i < 0 {
			i = len(s)
		}
		out = append(out, s[:i])
		s = strings.TrimLeftFunc(s[i:], isSpace)
	}
	return out
}

// rsplit is str.rsplit(sep, maxsplit).
func rsplit(s, sep string, given bool, limit int) []string {
	if limit < 0 {
		return split(s, sep, given, -1)
	}
	var out []string
	if given {
		for len(out) < limit {
			i := strings.LastIndex(s, sep)
			if i < 0 {
				break
			}
			out = append(out, s[i+len(sep):])
			s = s[:i]
		}
		out = append(out, s)
	} else {
		s = strings.TrimRightFunc(s, isSpace)
		for s != "" {
			if len(out) == limit {
				out = append(out, s)
				break
			}
			i := strings.LastIndexFunc(s, isSpace)
			_, n := utf8.DecodeRuneInString(s[max(i, 0):])
			if i < 0 {
				n = 0
			}
			out = append(out, s[max(i, 0)+n:])
			s = strings.TrimRightFunc(s[:max(i, 0)], isSpace)
		}
	}
	for i, j := 0, len(out)-1; i < j; i, j = i+1, j-1 {
		out[i], out[j] = out[j], out[i]
	}
	return out
}

// lines is splitLines, charged before its list is made.
func (st *state) lines(s string, keep bool) ([]string, error) {
	n := 1
	for rest := s; ; n++ {
		i := strings.IndexFunc(rest, isLineBreak)
		if i < 0 {
			break
		}
		_, size := utf8.DecodeRuneInString(rest[i:])
		rest = rest[i+size:]
	}
	if err := errors.Join(st.scan(len(s)), st.allocList(n)); err != nil {
		return nil, err
	}
	return splitLines(s, keep), nil
}

// splitLines is str.splitlines.
func splitLines(s string, keep bool) []string {
	var out []string
	for s != "" {
		i := strings.IndexFunc(s, isLineBreak)
		if i < 0 {
			return append(out, s)
		}
		_, n := utf8.DecodeRuneInString(s[i:])
		if strings.HasPrefix(s[i:], "\r\n") {
			n = 2
		}
		if keep {
			out = append(out, s[:i+n])
		} else {
			out = append(out, s[:i])
		}
		s = s[i+n:]
	}
	return out
}

func isLineBreak(r rune) bool {
	return r >= '\n' && r <= '\r' || r >= 0x1c && r <= 0x1e || r == 0x85 || r == 0x2028 || r == 0x2029
}

// countFields is how many pieces between whitespace s has.
func countFields(s string) int {
	n, inside := 0, false
	for _, r := range s {
		space := isSpace(r)
		if !space && !inside {
			n++
		}
		inside = !space
	}
	return n
}

// clip shortens what is quoted in a message.
func clip(s string) string {
	const most = 200
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// runeLen is Python's len of a string.
func runeLen(s string) int { return utf8.RuneCountInString(s) }

// byteOffset is where the n-th character starts.
func byteOffset(s string, n int) int {
	if n <= 0 {
		return 0
	}
	for i := range s {
		if n == 0 {
			return i
		}
		n--
	}
	return len(s)
}

// pad adds fill on both sides; how many characters left of the text depends on
// the method. Bounded by the caller's alloc.
func (st *state) pad(s string, width int64, fill string, left func(space int) int) (string, error) {
	if err := st.scan(len(s)); err != nil {
		return "", err
	}
	n := int64(runeLen(s))
	if width <= n {
		return s, nil
	}
	if width-n > int64(st.lim.Output) {
		return "", st.alloc(-1)
	}
	space := int(width - n)
	if err := st.alloc(len(s) + space*len(fill)); err != nil {
		return "", err
	}
	l := left(space)
	return strings.Repeat(fill, l) + s + strings.Repeat(fill, space-l), nil
}

package jinja

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// What methods of str, and filters like them, do to texts; all of it is charged.

// likeEscaped is plain text about to become part of orig: escaped for Markup.
func likeEscaped(orig Value, s string) string {
	if _, ok := orig.(Markup); ok {
		return escapeHTML(s)
	}
	return s
}

// isDigit is str.isdigit of one character: decimals, and superscripts and the like.
func isDigit(r rune) bool {
	return unicode.IsDigit(r) || r == '²' || r == '³' || r == '¹' || r >= 0x2070 && r <= 0x2079 ||
		r >= 0x2080 && r <= 0x2089 || r >= 0x2460 && r <= 0x2468
}

func isIdentifier(s string) bool {
	for i, r := range s {
		letter := r == '_' || unicode.IsLetter(r)
		if !letter && (i == 0 || !unicode.IsDigit(r) && !unicode.IsMark(r)) {
			return false
		}
	}
	return s != ""
}

// strip is one of the functions that strip, charged. Only a few characters are
// looked for without a loop over them.
func (st *state) strip(orig Value, s, chars string, given bool, fn func(s, chars string, given bool) string) (Value, error) {
	work := len(s)
	if given && len(chars) > 16 {
		work *= len(chars) / 16
	}
	if err := st.scan(work); err != nil {
		return nil, err
	}
	return like(orig, fn(s, chars, given)), nil
}

// texts makes a list of pieces of a string of n bytes.
func (st *state) texts(orig Value, n int, parts []string) (Value, error) {
	if err := st.allocList(2 * len(parts)); err != nil {
		return nil, err
	}
	out := make([]any, len(parts))
	for i, p := range parts {
		out[i] = like(orig, p)
	}
	return out, st.scan(n)
}

func (st *state) splitText(recv Value, a []Value, fn func(s, sep string, given bool, limit int) []string) (Value, error) {
	s, _ := textOf(recv)
	sep, given, err := optText(a[0])
	if err != nil {
		return nil, err
	}
	if given && sep == "" {
		return nil, valueErr("empty separator")
	}
	limit, err := optInt(a[1], -1)
	if err != nil {
		return nil, err
	}
	if limit > int64(len(s)) {
		limit = -1
	}
	if err := st.scan(len(s)); err != nil {
		return nil, err
	}
	parts := 0
	if given {
		parts = strings.Count(s, sep)
	} else {
		parts = countFields(s)
	}
	if err := st.allocList(parts); err != nil {
		return nil, err
	}
	return st.texts(recv, len(s), fn(s, sep, given, int(limit)))
}

// window cuts out s[start:end]; from is where it starts, false if beyond the end.
func window(s string, start, end Value) (text string, from int, ok bool, err error) {
	bound := func(v Value) Value {
		if v == missing {
			return nil
		}
		return v
	}
	if start == missing && end == missing {
		return s, 0, true, nil
	}
	n := runeLen(s)
	from, count, _, err := sliceBounds(n, bound(start), bound(end), nil)
	if i, isInt := intOf(bound(start)); isInt && i > int64(n) {
		return "", 0, false, err
	}
	if err != nil {
		return "", 0, false, err
	}
	i := byteOffset(s, from)
	return s[i : i+byteOffset(s[i:], count)], from, true, nil
}

func (st *state) affix(name string, recv Value, a []Value, fn func(s, part string) bool) (Value, error) {
	s, _ := textOf(recv)
	if a[1] != missing || a[2] != missing { // counts characters
		if err := st.scan(len(s)); err != nil {
			return nil, err
		}
	}
	s, _, ok, err := window(s, a[1], a[2])
	if err != nil || !ok {
		return false, err
	}
	parts, isTuple := a[0].(Tuple)
	if !isTuple {
		parts = Tuple{a[0]}
	}
	for _, p := range parts {
		part, ok := textOf(p)
		if !ok {
			return nil, typeErr("%s first arg must be str or a tuple of str, not %s", name, typeName(p))
		}
		if err := st.scan(len(part)); err != nil {
			return nil, err
		}
		if fn(s, part) {
			return true, nil
		}
	}
	return false, nil
}

// find returns the character position of a substring, -1 when it is not there.
func (st *state) find(recv Value, a []Value, fn func(s, part string) int) (int64, error) {
	s, _ := textOf(recv)
	part, err := argText(a[0])
	if err != nil {
		return 0, err
	}
	if err := st.scan(len(s)); err != nil {
		return 0, err
	}
	text, from, ok, err := window(s, a[1], a[2])
	if err != nil || !ok {
		return -1, err
	}
	i := fn(text, part)
	if i < 0 {
		return -1, nil
	}
	return int64(from + runeLen(text[:i])), nil
}

func (st *state) justify(recv Value, a []Value, left func(space int) int) (Value, error) {
	s, _ := textOf(recv)
	width, err := optInt(a[0], 0)
	if err != nil {
		return nil, err
	}
	fill := " "
	if a[1] != missing {
		if fill, err = argText(a[1]); err != nil || runeLen(fill) != 1 {
			return nil, typeErr("The fill character must be exactly one character long")
		}
	}
	if left == nil {
		left = centered(width)
	}
	s, err = st.pad(s, width, fill, left)
	return like(recv, s), err
}

// centered puts the odd space on the left when the width is odd, as Python does.
func centered(width int64) func(space int) int {
	return func(space int) int { return space/2 + space&int(width)&1 }
}

func (st *state) partition(recv, sepArg Value, fn func(s, part string) int, whole int) (Value, error) {
	s, _ := textOf(recv)
	sep, err := argText(sepArg)
	if err != nil {
		return nil, err
	}
	if sep == "" {
		return nil, valueErr("empty separator")
	}
	if err := st.scan(len(s)); err != nil {
		return nil, err
	}
	parts := Tuple{like(recv, ""), like(recv, ""), like(recv, "")}
	if i := fn(s, sep); i >= 0 {
		parts = Tuple{like(recv, s[:i]), like(recv, sep), like(recv, s[i+len(sep):])}
	} else {
		parts[whole] = recv
	}
	return parts, nil
}

// replace puts repl for old, at most n times when n is not negative.
func (st *state) replace(s, old, repl string, n int64) (string, error) {
	if err := st.scan(len(s)); err != nil {
		return "", err
	}
	hits := strings.Count(s, old)
	if n >= 0 && n < int64(hits) {
		hits = int(n)
	}
	if grow := len(repl) - len(old); grow > 0 && hits > st.lim.Output/grow {
		return "", st.alloc(-1)
	} else if hits > 0 {
		if err := st.alloc(max(len(s)+hits*grow, 0)); err != nil {
			return "", err
		}
	}
	return strings.Replace(s, old, repl, hits), nil
}

// join concatenates what text makes of the items.
func (st *state) join(orig Value, sep string, items Value, text func(i int, x Value) (string, error)) (Value, error) {
	it, err := st.iterate(items)
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	for i := 0; ; i++ {
		x, ok, err := it.pull(st)
		if err != nil {
			return nil, err
		}
		if !ok {
			return like(orig, b.String()), nil
		}
		s, err := text(i, x)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			s = sep + s
		}
		if b.Len()+len(s) > st.lim.Output {
			return nil, st.alloc(-1)
		}
		if err := st.alloc(len(s)); err != nil {
			return nil, err
		}
		b.WriteString(s)
	}
}

func (st *state) expandTabs(s string, size int64) (string, error) {
	tabs := strings.Count(s, "\t")
	if size = max(size, 0); tabs > 0 && size > int64(st.lim.Output/tabs) {
		return "", st.alloc(-1)
	}
	if err := st.alloc(len(s) + tabs*int(size)); err != nil {
		return "", err
	}
	var b strings.Builder
	column := 0
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch r {
		case '\t':
			if size > 0 {
				space := int(size) - column%int(size)
				b.WriteString(strings.Repeat(" ", space))
				column += space
			}
		case '\n', '\r':
			b.WriteString(s[:n])
			column = 0
		default:
			b.WriteString(s[:n])
			column++
		}
		s = s[n:]
	}
	return b.String(), nil
}

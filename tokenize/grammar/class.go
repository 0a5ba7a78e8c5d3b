package grammar

import (
	"fmt"
	"slices"
	"unicode/utf8"
)

// runes is a set of characters: pairs of a first and a last one, sorted and
// apart from each other.
type runes []rune

const maxRune = 0x10FFFF

var anyRune = runes{0, maxRune}

// and is what both sets have.
func (r runes) and(lo, hi rune) runes {
	var out runes
	for i := 0; i < len(r); i += 2 {
		if l, h := max(r[i], lo), min(r[i+1], hi); l <= h {
			out = append(out, l, h)
		}
	}
	return out
}

// without is the set but for these characters, which are sorted.
func (r runes) without(chars ...rune) runes {
	var out runes
	lo := rune(0)
	for _, c := range chars {
		out = append(out, r.and(lo, c-1)...)
		lo = c + 1
	}
	return append(out, r.and(lo, maxRune)...)
}

func (r runes) has(c rune) bool { return len(r.and(c, c)) > 0 }

// spelling is how characters become bytes.
type spelling uint8

const (
	asText spelling = iota // UTF-8
	asJSON                 // within a JSON string, each in one way only
)

// spell is how c is written.
func (s spelling) spell(c rune) string {
	if s == asJSON {
		switch c {
		case '"', '\\':
			return `\` + string(c)
		case '\b':
			return `\b`
		case '\f':
			return `\f`
		case '\n':
			return `\n`
		case '\r':
			return `\r`
		case '\t':
			return `\t`
		}
		if c < ' ' {
			return fmt.Sprintf(`\u%04x`, c)
		}
	}
	return string(c)
}

// text matches s.
func (s spelling) text(str string) *expr {
	var b []byte
	for _, c := range str {
		b = append(b, s.spell(c)...)
	}
	return text(string(b))
}

// class matches one character of the set.
func (s spelling) class(r runes) *expr {
	raw := r
	var rows [][]edge
	if s == asJSON {
		for _, c := range escaped {
			if r.has(c) {
				rows = append(rows, byteRow(s.spell(c)))
			}
		}
		raw = r.and(' ', maxRune).without('"', '\\')
	}
	rows = append(utf8Rows(raw), rows...)
	if len(rows) == 0 {
		return never
	}
	slices.SortStableFunc(rows, compareRows)
	t := &table{}
	t.add(rows)
	return &expr{op: opTable, table: t, class: true, plain: slices.Equal(raw.and(' ', maxRune).without('"', '\\'), plainRunes)}
}

// escaped are the characters that are not themselves in a JSON string.
var escaped = func() []rune {
	chars := []rune{'"', '\\'}
	for c := range ' ' {
		chars = append(chars, c)
	}
	return chars
}()

// byteRow is a row of single bytes.
func byteRow(s string) []edge {
	row := make([]edge, len(s))
	for i := range row {
		row[i] = edge{lo: s[i], hi: s[i]}
	}
	return row
}

func compareRows(a, b []edge) int {
	for i := range min(len(a), len(b)) {
		if a[i].lo != b[i].lo {
			return int(a[i].lo) - int(b[i].lo)
		}
	}
	return 0
}

// plainRunes are the characters that mean themselves in a JSON string.
var plainRunes = anyRune.and(' ', maxRune).without('"', '\\')

// utf8Rows are what characters are written with: rows of ranges of bytes. A
// row's to is not used. Surrogates have none.
func utf8Rows(r runes) (all [][]edge) {
	for i := 0; i < len(r); i += 2 {
		for _, long := range []runes{{0, 0x7F}, {0x80, 0x7FF}, {0x800, 0xD7FF}, {0xE000, 0xFFFF}, {0x10000, maxRune}} {
			if both := long.and(r[i], r[i+1]); len(both) > 0 {
				all = appendRanges(all, both[0], both[1])
			}
		}
	}
	return all
}

// appendRanges appends what the characters from lo to hi, whose UTF-8 is of
// one length, are written with: rows of ranges, one a byte. A range that is
// not followed by all continuation bytes has one byte only, so two rows begin
// alike or apart.
func appendRanges(all [][]edge, lo, hi rune) [][]edge {
	var a, b [utf8.UTFMax]byte
	n := utf8.EncodeRune(a[:], lo)
	for i := 1; i < n; i++ {
		low := rune(1)<<(6*i) - 1 // the bits of the last i bytes
		switch {
		case lo&^low == hi&^low:
		case lo&low != 0:
			return appendRanges(appendRanges(all, lo, lo|low), lo|low+1, hi)
		case hi&low != low:
			return appendRanges(appendRanges(all, lo, hi&^low-1), hi&^low, hi)
		}
	}
	utf8.EncodeRune(b[:], hi)
	row := make([]edge, n)
	for i := range row {
		row[i] = edge{lo: a[i], hi: b[i]}
	}
	return append(all, row)
}

// add makes a state that matches these rows, which are sorted and either begin
// with the same range or with ranges apart, and returns it.
func (t *table) add(rows [][]edge) int32 {
	at := int32(len(t.states))
	t.states = append(t.states, tableState{accepts: len(rows[0]) == 0})
	if len(rows[0]) == 0 {
		return at
	}
	var edges []edge
	for len(rows) > 0 {
		first := rows[0][0]
		var rest [][]edge
		for len(rows) > 0 && rows[0][0] == first {
			rest = append(rest, rows[0][1:])
			rows = rows[1:]
		}
		edges = append(edges, edge{first.lo, first.hi, t.add(rest)})
	}
	t.states[at].edges = edges
	return at
}

// sortRunes sorts single characters.
func sortRunes(r runes) {
	slices.Sort(r) // a character's two ends are equal, so they stay together
}

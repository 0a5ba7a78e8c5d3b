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
	var parts []*expr
	raw := r
	if s == asJSON {
		for c := rune(0); c < ' '; c++ {
			if r.has(c) {
				parts = append(parts, text(s.spell(c)))
			}
		}
		for _, c := range `"\` {
			if r.has(c) {
				parts = append(parts, text(s.spell(c)))
			}
		}
		raw = r.and(' ', maxRune).without('"', '\\')
	}
	if e := utf8Class(raw); e.op != opNever {
		parts = append(parts, e)
	}
	e := alt(parts...)
	if e.op == opAlt {
		if t, ok := tabled(e); ok {
			e = t
		}
	}
	if e.op == opTable {
		e.plain = slices.Equal(raw.and(' ', maxRune).without('"', '\\'), plainRunes)
		measure(e)
	}
	return e
}

// plainRunes are the characters that mean themselves in a JSON string.
var plainRunes = anyRune.and(' ', maxRune).without('"', '\\')

// utf8Class matches the UTF-8 of one character of the set. Surrogates have
// none.
func utf8Class(r runes) *expr {
	var all [][]edge // byte ranges in a row; to is not used
	for i := 0; i < len(r); i += 2 {
		for _, long := range []runes{{0, 0x7F}, {0x80, 0x7FF}, {0x800, 0xD7FF}, {0xE000, 0xFFFF}, {0x10000, maxRune}} {
			if both := long.and(r[i], r[i+1]); len(both) > 0 {
				all = appendRanges(all, both[0], both[1])
			}
		}
	}
	if len(all) == 0 {
		return never
	}
	t := &table{}
	t.add(all)
	return &expr{op: opTable, table: t}
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

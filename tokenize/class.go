package tokenize

import (
	"sync"
	"unicode"
)

// Classes of characters, as the split patterns of model families name them.
const (
	letter  = 1 << iota // \p{L}
	number              // \p{N}
	space               // \s
	newline             // [\r\n]
	mark                // \p{M}
	symbols             // [\p{P}\p{S}]
	upper               // [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]
	lower               // [\p{Ll}\p{Lm}\p{Lo}\p{M}]
)

// The classes of all characters: pages of 256, equal pages stored once.
var (
	classPage [unicode.MaxRune>>8 + 1]uint8
	classBits [256][256]uint8 // classBits[0] is that of U+0000…
)

var makeClasses = sync.OnceFunc(func() {
	all := make([]uint8, unicode.MaxRune+1)
	set := func(bits uint8, tables ...*unicode.RangeTable) {
		for _, t := range tables {
			for _, r := range t.R16 {
				for c := int(r.Lo); c <= int(r.Hi); c += int(r.Stride) {
					all[c] |= bits
				}
			}
			for _, r := range t.R32 {
				for c := int(r.Lo); c <= int(r.Hi); c += int(r.Stride) {
					all[c] |= bits
				}
			}
		}
	}
	set(letter, unicode.L)
	set(number, unicode.N)
	set(space, unicode.White_Space)
	set(mark, unicode.M)
	set(symbols, unicode.P, unicode.S)
	set(upper, unicode.Lu, unicode.Lt, unicode.Lm, unicode.Lo, unicode.M)
	set(lower, unicode.Ll, unicode.Lm, unicode.Lo, unicode.M)
	all['\n'] |= newline
	all['\r'] |= newline
	for _, a := range newer {
		for c := a.lo; c <= a.hi; c++ {
			all[c] |= all[a.like]
		}
	}
	pages := map[[256]uint8]uint8{}
	for p := range classPage {
		page := [256]uint8(all[p<<8:])
		at, ok := pages[page]
		if !ok {
			at = uint8(len(pages))
			pages[page] = at
			classBits[at] = page
		}
		classPage[p] = at
	}
})

// classAt returns the class of the character at s[i:] and its size. s is
// valid UTF-8.
func classAt(s string, i int) (class uint8, size int) {
	c := s[i]
	if c < 0x80 {
		return classBits[0][c], 1
	}
	r, n := runeAt(s, i)
	return classBits[classPage[r>>8]][r&0xFF], n
}

// runeAt decodes the character at s[i:], which takes more than one byte.
func runeAt(s string, i int) (rune, int) {
	c := rune(s[i])
	switch {
	case c < 0xE0 && i+1 < len(s):
		return c&0x1F<<6 | rune(s[i+1]&0x3F), 2
	case c < 0xF0 && i+2 < len(s):
		return c&0x0F<<12 | rune(s[i+1]&0x3F)<<6 | rune(s[i+2]&0x3F), 3
	case i+3 < len(s):
		return c&0x07<<18 | rune(s[i+1]&0x3F)<<12 | rune(s[i+2]&0x3F)<<6 | rune(s[i+3]&0x3F), 4
	}
	return unicode.ReplacementChar, 1
}

// run returns the end of the stretch of characters, from s[i:] on, that have
// one of these classes.
func run(s string, i int, classes uint8) int {
	for i < len(s) {
		if c := s[i]; c < 0x80 {
			if classBits[0][c]&classes == 0 {
				break
			}
			i++
			continue
		}
		c, n := classAt(s, i)
		if c&classes == 0 {
			break
		}
		i += n
	}
	return i
}

// runNot is run for characters that have none of these classes.
func runNot(s string, i int, classes uint8) int {
	for i < len(s) {
		c, n := classAt(s, i)
		if c&classes != 0 {
			break
		}
		i += n
	}
	return i
}

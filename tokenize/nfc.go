package tokenize

import (
	"strings"
	"sync"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// form is one of Unicode's four normalization forms, as of Unicode 9: the
// version Hugging Face's tokenizers normalize by. The properties come from
// x/text, whose own normalizer cannot be used: it follows a later Unicode and
// inserts characters into long runs of marks.
type form struct {
	props   norm.Form // NFD or NFKD: where decompositions come from
	compose bool
	sets    func() formSets
}

// formSets are the characters that normalize to themselves and never merge
// into one before them: simple ones have combining class 0 and end whatever
// came before, movable ones have another class.
type formSets struct{ simple, movable *runeSet }

var (
	nfd  = &form{props: norm.NFD}
	nfkd = &form{props: norm.NFKD}
	nfc  = &form{props: norm.NFD, compose: true}
	nfkc = &form{props: norm.NFKD, compose: true}
)

func init() {
	for _, f := range []*form{nfd, nfkd, nfc, nfkc} {
		f.sets = sync.OnceValue(f.findSets)
	}
}

// normalizer is String, ready soon: making the tables takes milliseconds, which
// the first text need not wait for.
func (f *form) normalizer() normalizer {
	go f.sets()
	return f.String
}

// later lists the characters to which Unicode gave a decomposition or a
// combining class after version 9: they have none here.
var later = [][2]rune{
	{0x7FD, 0x7FD},
	{0x898, 0x89F},
	{0x8CA, 0x8D3},
	{0x9FE, 0x9FE},
	{0xC3C, 0xC3C},
	{0xD3B, 0xD3C},
	{0xEBA, 0xEBA},
	{0x1715, 0x1715},
	{0x1ABF, 0x1ACE},
	{0x1DF6, 0x1DFA},
	{0x32FF, 0x32FF},
	{0xA7F2, 0xA7F4},
	{0xA82C, 0xA82C},
	{0xAB69, 0xAB69},
	{0x10781, 0x10785},
	{0x10787, 0x107B0},
	{0x107B2, 0x107BA},
	{0x10D24, 0x10D27},
	{0x10EAB, 0x10EAC},
	{0x10EFD, 0x10EFF},
	{0x10F46, 0x10F50},
	{0x10F82, 0x10F85},
	{0x11070, 0x11070},
	{0x1133B, 0x1133B},
	{0x1145E, 0x1145E},
	{0x11839, 0x1183A},
	{0x11938, 0x11938},
	{0x1193D, 0x1193E},
	{0x11943, 0x11943},
	{0x119E0, 0x119E0},
	{0x11A34, 0x11A34},
	{0x11A47, 0x11A47},
	{0x11A99, 0x11A99},
	{0x11D42, 0x11D42},
	{0x11D44, 0x11D45},
	{0x11D97, 0x11D97},
	{0x11F41, 0x11F42},
	{0x16FF0, 0x16FF1},
	{0x1E030, 0x1E06D},
	{0x1E08F, 0x1E08F},
	{0x1E130, 0x1E136},
	{0x1E2AE, 0x1E2AE},
	{0x1E2EC, 0x1E2EF},
	{0x1E4EC, 0x1E4EF},
	{0x1F16C, 0x1F16C},
	{0x1FBF0, 0x1FBF9},
}

var laterSet = sync.OnceValue(func() *runeSet {
	s := new(runeSet)
	for _, x := range later {
		for r := x[0]; r <= x[1]; r++ {
			s.add(r)
		}
	}
	return s
})

func isLater(r rune) bool { return laterSet().has(r) }

// Hangul syllables decompose by arithmetic (Unicode 3.12).
const (
	hangulBase, hangulEnd       = 0xAC00, 0xAC00 + 11172
	jamoL, jamoV, jamoT         = 0x1100, 0x1161, 0x11A7
	jamoLs, jamoVs, jamoTs, jVT = 19, 21, 28, 21 * 28
)

// runeSet is a set of characters.
type runeSet [(utf8.MaxRune + 1) / 64]uint64

func (s *runeSet) has(r rune) bool { return s[r>>6]&(1<<(r&63)) != 0 }
func (s *runeSet) add(r rune)      { s[r>>6] |= 1 << (r & 63) }
func (s *runeSet) drop(r rune)     { s[r>>6] &^= 1 << (r & 63) }

func (f *form) findSets() formSets {
	simple, movable := new(runeSet), new(runeSet)
	for i := range simple {
		simple[i] = ^uint64(0)
	}
	var buf [utf8.UTFMax]byte
	for r := rune(0xA0); r < 0x30000; r++ {
		if hangulBase <= r && r < hangulEnd {
			if !f.compose {
				simple.drop(r)
			}
			continue
		}
		p := f.props.Properties(buf[:utf8.EncodeRune(buf[:], r)])
		if isLater(r) || p.CCC() == 0 && p.Decomposition() == nil {
			continue
		}
		d := []rune(string(p.Decomposition()))
		switch {
		case d == nil:
			simple.drop(r)
			movable.add(r)
		case p.CCC() != 0 || !f.compose || string(compose(order(d))) != string(r):
			simple.drop(r)
		}
	}
	if f.compose {
		second := func(r rune) { simple.drop(r); movable.drop(r) }
		for pair := range composites() {
			second(pair[1])
		}
		for r := rune(jamoV); r < jamoV+jamoVs; r++ {
			second(r)
		}
		for r := rune(jamoT + 1); r < jamoT+jamoTs; r++ {
			second(r)
		}
	}
	return formSets{simple, movable}
}

// composites maps pairs of characters to the one that composes them.
var composites = sync.OnceValue(func() map[[2]rune]rune {
	all := map[[2]rune]rune{}
	var buf [utf8.UTFMax]byte
	for r := rune(0xA0); r < 0x30000; r++ {
		if hangulBase <= r && r < hangulEnd || isLater(r) {
			continue
		}
		d := []rune(string(norm.NFD.Properties(buf[:utf8.EncodeRune(buf[:], r)]).Decomposition()))
		if len(d) < 2 || norm.NFC.String(string(r)) != string(r) {
			continue // a singleton, or excluded from composition
		}
		// Its own last step joins the last character to all before it.
		if first := []rune(norm.NFC.String(string(d[:len(d)-1]))); len(first) == 1 {
			all[[2]rune{first[0], d[len(d)-1]}] = r
		}
	}
	return all
})

// String returns s in this form; s itself if it is already.
func (f *form) String(s string) string {
	sets := f.sets()
	var out strings.Builder
	var work normalizing
	done := 0
	for i := 0; ; {
		prev, at := f.skip(s, i, sets.simple)
		if at == len(s) {
			break
		}
		// From the simple character before to the next one, on its own.
		if prev < i {
			prev = at
		}
		end, settled, last := at, true, uint8(0)
		for end < len(s) {
			r, n := utf8.DecodeRuneInString(s[end:])
			if sets.simple.has(r) {
				break
			}
			end += n
			if settled {
				class := combining(r)
				settled = sets.movable.has(r) && last <= class
				last = class
			}
		}
		i = end
		if settled {
			continue
		}
		if want := f.normalize(&work, s[prev:end]); string(want) != s[prev:end] {
			if done == 0 {
				out.Grow(len(s) + len(s)/8)
			}
			out.WriteString(s[done:prev])
			out.Write(want)
			done = end
		}
	}
	if done == 0 {
		return s
	}
	out.WriteString(s[done:])
	return out.String()
}

// skip returns where the first character from s[i:] on that is not simple
// starts, and where the one before it does (-1: there is none).
func (f *form) skip(s string, i int, simple *runeSet) (prev, at int) {
	prev = -1
	for i < len(s) {
		for i+8 <= len(s) && load64(s, i)&0x8080808080808080 == 0 {
			i += 8
			prev = i - 1
		}
		if i == len(s) {
			break
		}
		if s[i] < utf8.RuneSelf {
			prev = i
			i++
			continue
		}
		r, n := runeAt(s, i)
		if !simple.has(r) {
			break
		}
		prev = i
		i += n
	}
	return prev, i
}

// normalizing is the memory that normalize works in.
type normalizing struct {
	runes []rune
	bytes []byte
}

// normalize is the definition: decompose, order, compose. The result is valid
// until the next call.
func (f *form) normalize(work *normalizing, s string) []byte {
	d := order(f.decompose(work.runes[:0], s))
	work.runes = d
	if f.compose {
		d = compose(d)
	}
	work.bytes = work.bytes[:0]
	for _, r := range d {
		work.bytes = utf8.AppendRune(work.bytes, r)
	}
	return work.bytes
}

func (f *form) decompose(d []rune, s string) []rune {
	for i, r := range s {
		switch {
		case hangulBase <= r && r < hangulEnd:
			h := r - hangulBase
			d = append(d, jamoL+h/jVT, jamoV+h%jVT/jamoTs)
			if t := h % jamoTs; t > 0 {
				d = append(d, jamoT+t)
			}
		case isLater(r):
			d = append(d, r)
		default:
			b := f.props.PropertiesString(s[i:]).Decomposition()
			if b == nil {
				d = append(d, r)
			}
			for len(b) > 0 {
				r, n := utf8.DecodeRune(b)
				d = append(d, r)
				b = b[n:]
			}
		}
	}
	return d
}

// compose joins each character to the last starter, if nothing between them
// blocks it. It overwrites d.
func compose(d []rune) []rune {
	pairs := composites()
	out := d[:0]
	starter, last := -1, uint8(0) // last: class of the last character kept after starter
	for _, r := range d {
		c := combining(r)
		if starter >= 0 && (len(out) == starter+1 || last < c) {
			if joined, ok := composite(pairs, out[starter], r); ok {
				out[starter] = joined
				continue
			}
		}
		if c == 0 {
			starter = len(out)
		}
		last = c
		out = append(out, r)
	}
	return out
}

func composite(pairs map[[2]rune]rune, a, b rune) (rune, bool) {
	if l, v := a-jamoL, b-jamoV; 0 <= l && l < jamoLs && 0 <= v && v < jamoVs {
		return hangulBase + l*jVT + v*jamoTs, true
	}
	if h, t := a-hangulBase, b-jamoT; 0 <= h && a < hangulEnd && h%jamoTs == 0 && 0 < t && t < jamoTs {
		return a + t, true
	}
	r, ok := pairs[[2]rune{a, b}]
	return r, ok
}

func load64(s string, i int) uint64 {
	s = s[i : i+8]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

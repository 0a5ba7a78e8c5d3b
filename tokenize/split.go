package tokenize

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// piece is a stretch of normalized text; in the end, what the model encodes
// on its own.
type piece struct {
	text  string
	first bool // it begins where the whole text begins
}

// step cuts, and sometimes rewrites, one piece.
type step interface {
	apply(p piece, dst []piece, s *scratch) []piece
}

// newSteps lists what a pre-tokenizer does, in order, and whether it ends in
// the byte alphabet.
func newSteps(p *part) (steps []step, byteLevel bool, err error) {
	for _, p := range flatten(p) {
		if byteLevel {
			return nil, false, fmt.Errorf("pre_tokenizer %s after ByteLevel: not supported", p.Type)
		}
		s, err := newStep(p)
		if err != nil {
			return nil, false, err
		}
		steps = append(steps, s...)
		byteLevel = p.Type == "ByteLevel"
	}
	return steps, byteLevel, nil
}

func flatten(p *part) []*part {
	if p == nil {
		return nil
	}
	if p.Type != "Sequence" {
		return []*part{p}
	}
	var all []*part
	for i := range p.Pretokenizers {
		all = append(all, flatten(&p.Pretokenizers[i])...)
	}
	return all
}

// gpt2Pattern is what ByteLevel splits by.
const gpt2Pattern = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`

func newStep(p *part) ([]step, error) {
	isTrue := func(b *bool) bool { return b == nil || *b }
	switch p.Type {
	case "ByteLevel":
		var steps []step
		if isTrue(p.AddPrefixSpace) {
			steps = append(steps, prefixSpace{})
		}
		if isTrue(p.UseRegex) {
			expr := gpt2Pattern
			m, err := newMatcher(&pattern{Regex: &expr})
			if err != nil {
				return nil, err
			}
			steps = append(steps, &split{m: m, how: isolated})
		}
		return steps, nil
	case "Split":
		m, err := newMatcher(p.Pattern)
		if err != nil {
			return nil, fmt.Errorf("pre_tokenizer Split: %w", err)
		}
		how, err := newBehavior(p.Behavior)
		if err != nil {
			return nil, fmt.Errorf("pre_tokenizer Split: %w", err)
		}
		x := &split{m: m, how: how, invert: p.Invert}
		if p.Pattern.Regex != nil {
			x.starts = startTable(*p.Pattern.Regex)
		}
		return []step{x}, nil
	case "Digits":
		how := contiguous
		if p.IndividualDigits {
			how = isolated
		}
		return []step{&split{m: class(isNumber), how: how}}, nil
	case "Punctuation":
		how, err := newBehavior(p.Behavior)
		if p.Behavior == "" {
			how, err = isolated, nil
		}
		if err != nil {
			return nil, fmt.Errorf("pre_tokenizer Punctuation: %w", err)
		}
		return []step{&split{m: class(isPunctuation), how: how}}, nil
	case "Whitespace":
		return []step{&split{m: words{}, how: removed, invert: true}}, nil
	case "WhitespaceSplit":
		return []step{&split{m: class(unicode.IsSpace), how: removed}}, nil
	case "BertPreTokenizer":
		return []step{
			&split{m: class(unicode.IsSpace), how: removed},
			&split{m: class(isPunctuation), how: isolated},
		}, nil
	case "Metaspace":
		return newMetaspace(p)
	}
	return nil, fmt.Errorf("pre_tokenizer %s: not supported", p.Type)
}

func isPunctuation(r rune) bool {
	if r < 0x80 {
		return '!' <= r && r <= '/' || ':' <= r && r <= '@' || '[' <= r && r <= '`' || '{' <= r && r <= '~'
	}
	return unicode.IsPunct(r) && !unicode.Is(laterPunctuation, r) || r == 0x166D || r == 0x111C9
}

// laterPunctuation is what became punctuation after Unicode 8, the version by
// which Hugging Face's tokenizers split it.
var laterPunctuation = &unicode.RangeTable{
	R16: []unicode.Range16{
		{0x61D, 0x61D, 1},
		{0x9FD, 0x9FD, 1},
		{0xA76, 0xA76, 1},
		{0xC77, 0xC77, 1},
		{0xC84, 0xC84, 1},
		{0x1B4E, 0x1B4F, 1},
		{0x1B7D, 0x1B7F, 1},
		{0x2E43, 0x2E4F, 1},
		{0x2E52, 0x2E5D, 1},
	},
	R32: []unicode.Range32{
		{0x10D6E, 0x10D6E, 1},
		{0x10EAD, 0x10EAD, 1},
		{0x10F55, 0x10F59, 1},
		{0x10F86, 0x10F89, 1},
		{0x113D4, 0x113D5, 1},
		{0x113D7, 0x113D8, 1},
		{0x1144B, 0x1144F, 1},
		{0x1145A, 0x1145B, 1},
		{0x1145D, 0x1145D, 1},
		{0x11660, 0x1166C, 1},
		{0x116B9, 0x116B9, 1},
		{0x1183B, 0x1183B, 1},
		{0x11944, 0x11946, 1},
		{0x119E2, 0x119E2, 1},
		{0x11A3F, 0x11A46, 1},
		{0x11A9A, 0x11A9C, 1},
		{0x11A9E, 0x11AA2, 1},
		{0x11B00, 0x11B09, 1},
		{0x11BE1, 0x11BE1, 1},
		{0x11C41, 0x11C45, 1},
		{0x11C70, 0x11C71, 1},
		{0x11EF7, 0x11EF8, 1},
		{0x11F43, 0x11F4F, 1},
		{0x11FFF, 0x11FFF, 1},
		{0x12FF1, 0x12FF2, 1},
		{0x16D6D, 0x16D6F, 1},
		{0x16E97, 0x16E9A, 1},
		{0x16FE2, 0x16FE2, 1},
		{0x1E5FF, 0x1E5FF, 1},
		{0x1E95E, 0x1E95F, 1},
	},
}

func isNumber(r rune) bool { return unicode.IsNumber(older(r)) }

// prefixSpace is ByteLevel's add_prefix_space.
type prefixSpace struct{}

func (prefixSpace) apply(p piece, dst []piece, _ *scratch) []piece {
	if !strings.HasPrefix(p.text, " ") {
		p.text = " " + p.text
	}
	return append(dst, p)
}

// metaspace replaces spaces by a visible mark and puts one in front.
type metaspace struct {
	mark   string
	scheme string // always, first or never
}

func newMetaspace(p *part) ([]step, error) {
	m := metaspace{p.Replacement, p.PrependScheme}
	if m.mark == "" {
		m.mark = "▁"
	}
	if utf8.RuneCountInString(m.mark) != 1 {
		return nil, fmt.Errorf("pre_tokenizer Metaspace: replacement %.40q; want one character", m.mark)
	}
	if m.scheme == "" {
		m.scheme = "always"
	}
	if p.AddPrefixSpace != nil && !*p.AddPrefixSpace {
		m.scheme = "never"
	}
	if m.scheme != "always" && m.scheme != "first" && m.scheme != "never" {
		return nil, fmt.Errorf("pre_tokenizer Metaspace: prepend_scheme %q; want always, first or never", m.scheme)
	}
	steps := []step{m}
	if p.Split == nil || *p.Split {
		steps = append(steps, &split{m: literal(m.mark), how: mergedWithNext})
	}
	return steps, nil
}

func (m metaspace) apply(p piece, dst []piece, _ *scratch) []piece {
	p.text = strings.ReplaceAll(p.text, " ", m.mark)
	if m.scheme != "never" && (m.scheme == "always" || p.first) && !strings.HasPrefix(p.text, m.mark) {
		p.text = m.mark + p.text
	}
	return append(dst, p)
}

// behavior says what becomes of a match.
type behavior int

const (
	isolated           behavior = iota // a piece of its own
	removed                            // dropped
	mergedWithPrevious                 // joined to the gap before it
	mergedWithNext                     // joined to the gap after it
	contiguous                         // joined to the matches it touches
)

func newBehavior(s string) (behavior, error) {
	for i, name := range []string{"Isolated", "Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous"} {
		if s == name {
			return behavior(i), nil
		}
	}
	return 0, fmt.Errorf("behavior %q: not supported", s)
}

// split cuts at matches.
type split struct {
	m      matcher
	how    behavior
	invert bool       // gaps count as matches and matches as gaps
	starts *[256]bool // bytes that a match may start with; nil: any
}

func startTable(expr string) *[256]bool {
	f := starts[expr]
	if f == nil {
		return nil
	}
	t := new([256]bool)
	for c := range t {
		t[c] = f(byte(c))
	}
	return t
}

func (x *split) apply(p piece, dst []piece, s *scratch) []piece {
	s.matches = x.m.matches(p.text, s.matches[:0])
	at := s.matches
	cut := cutter{dst: dst, whole: p, how: x.how}
	last := 0
	for ; len(at) > 0; at = at[2:] {
		if last < at[0] {
			cut.add(last, at[0], x.invert)
		}
		cut.add(at[0], at[1], !x.invert)
		last = at[1]
	}
	if last < len(p.text) {
		cut.add(last, len(p.text), x.invert)
	}
	cut.flush()
	return cut.dst
}

// cutter receives matches and gaps in order and emits pieces.
type cutter struct {
	dst        []piece
	whole      piece
	how        behavior
	start, end int  // what is held, may still grow
	match      bool // what was added last
}

func (c *cutter) add(start, end int, match bool) {
	grow := false
	switch c.how {
	case mergedWithPrevious:
		grow = match && !c.match
	case mergedWithNext:
		grow = !match && c.match
	case contiguous:
		grow = match == c.match
	case removed:
		if match {
			c.flush()
			c.start, c.end, c.match = end, end, match
			return
		}
	}
	if !grow || start == 0 {
		c.flush()
		c.start = start
	}
	c.end, c.match = end, match
}

func (c *cutter) flush() {
	if c.start < c.end {
		c.dst = append(c.dst, piece{c.whole.text[c.start:c.end], c.whole.first && c.start == 0})
	}
	c.start = c.end
}

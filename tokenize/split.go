package tokenize

import (
	"fmt"
	"strings"
	"unicode"
)

// piece is a stretch of normalized text; in the end, what the model encodes
// on its own.
type piece struct {
	text  string
	first bool // it begins where the whole text begins
}

// step cuts, and sometimes rewrites, one piece.
type step interface {
	apply(p piece, dst []piece) []piece
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
		return []step{&split{m: m, how: how, invert: p.Invert}}, nil
	case "Digits":
		how := contiguous
		if p.IndividualDigits {
			how = isolated
		}
		return []step{&split{m: class(unicode.IsNumber), how: how}}, nil
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
		m, err := newRegex(`\w+|[^\w\s]+`)
		return []step{&split{m: m, how: removed, invert: true}}, err
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
	return unicode.IsPunct(r)
}

// prefixSpace is ByteLevel's add_prefix_space.
type prefixSpace struct{}

func (prefixSpace) apply(p piece, dst []piece) []piece {
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

func (m metaspace) apply(p piece, dst []piece) []piece {
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
	invert bool // gaps count as matches and matches as gaps
}

func (x *split) apply(p piece, dst []piece) []piece {
	at := x.m.matches(p.text, nil)
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

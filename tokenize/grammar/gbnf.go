package grammar

import (
	"slices"
	"strings"
	"unicode"
)

// parseGBNF reads rules as llama.cpp has them: name ::= alternatives of strings,
// classes, the dot, names and groups, with *, +, ? and {n,m}; # begins a comment.
// A rule ends with its line, unless a group is open or another alternative
// follows. It begins with root.
func parseGBNF(w *budget, source string, as spelling) (*rules, error) {
	p := gbnf{scanner: scanner{source: source}, rules: newRules(w, as, "root")}
	for p.space(true); !p.done(); p.space(true) {
		at, found := p.line(), p.rest()
		name := p.word(isWord)
		p.space(false)
		if name == "" || !p.take("::=") {
			return nil, p.errorf(`expected a rule, such as root ::= "a", got %.20q`, found)
		}
		p.space(true)
		body, err := p.alternatives(false)
		if err != nil {
			return nil, err
		}
		body.at = at
		if err := p.rules.add(name, body); err != nil {
			return nil, err
		}
	}
	return p.rules, nil
}

type gbnf struct {
	scanner
	rules *rules
}

// space skips white space and comments; within lines only unless beyond.
func (p *gbnf) space(beyond bool) {
	for !p.done() {
		switch c := p.peek(); {
		case c == ' ' || c == '\t' || beyond && (c == '\n' || c == '\r'):
			p.at++
		case c == '#':
			p.word(func(b byte) bool { return b != '\n' && b != '\r' })
		default:
			return
		}
	}
}

func (p *gbnf) alternatives(group bool) (*ruleNode, error) {
	var all []*ruleNode
	for {
		one, err := p.sequence(group)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
		p.space(group)
		if !group { // another alternative may be on the next line
			at := p.at
			if p.space(true); p.peek() != '|' {
				p.at = at
			}
		}
		if !p.take("|") {
			return altNode(all...), nil
		}
		p.space(true)
	}
}

func (p *gbnf) sequence(group bool) (*ruleNode, error) {
	parts := []*ruleNode{}
	for {
		p.space(group)
		one, err := p.item()
		if err != nil {
			return nil, err
		}
		if one == nil {
			break
		}
		if one, err = p.repeated(one); err != nil {
			return nil, err
		}
		if p.rules.nodes++; p.rules.nodes > maxNodes || !p.rules.budget.spend(1) {
			return nil, p.errorf("it has more than %d parts", maxNodes)
		}
		parts = append(parts, one)
	}
	if len(parts) == 0 {
		return leafNode(empty), nil
	}
	return seqNode(parts...), nil
}

// item reads what may be repeated; nil: there is none.
func (p *gbnf) item() (*ruleNode, error) {
	switch c := p.peek(); {
	case c == '"':
		s, err := p.quoted('"')
		return leafNode(p.rules.as.text(s)), err
	case c == '[':
		return p.class()
	case c == '.':
		p.at++
		return leafNode(p.rules.as.class(anyRune)), nil
	case c == '(':
		return p.group()
	case c == '<' || c == '!':
		return nil, p.errorf("tokens are not supported, only their texts")
	case isWord(c):
		at := p.line()
		return &ruleNode{op: opRef, name: p.word(isWord), at: at}, nil
	case c == 0 || strings.IndexByte("|)\r\n", c) >= 0:
		return nil, nil
	}
	return nil, p.errorf("%.1q is not known", p.rest())
}

func (p *gbnf) group() (*ruleNode, error) {
	if err := p.nested(); err != nil {
		return nil, err
	}
	defer p.leave()
	p.at++
	p.space(true)
	n, err := p.alternatives(true)
	if err != nil {
		return nil, err
	}
	if p.space(true); !p.take(")") {
		return nil, p.errorf("a group has no end")
	}
	return n, nil
}

// class reads [a-z] or [^a-z].
func (p *gbnf) class() (*ruleNode, error) {
	p.at++
	not := p.take("^")
	var set runes
	for p.peek() != ']' {
		if p.done() {
			return nil, p.errorf("a class has no end")
		}
		low, err := p.char()
		if err != nil {
			return nil, err
		}
		high := low
		if p.peek() == '-' && !strings.HasPrefix(p.rest(), "-]") {
			p.at++
			if high, err = p.char(); err != nil {
				return nil, err
			}
		}
		if high < low {
			return nil, p.errorf("the class has a range from %q to %q", low, high)
		}
		set = append(set, low, high)
	}
	p.at++
	p.rules.budget.spend(len(set))
	if set = joined(set); not {
		set = set.opposite()
	}
	return leafNode(p.rules.as.class(set)), nil
}

// joined is a set of ranges in any order.
func joined(ranges runes) (out runes) {
	var pairs [][2]rune
	for i := 0; i < len(ranges); i += 2 {
		pairs = append(pairs, [2]rune{ranges[i], ranges[i+1]})
	}
	slices.SortFunc(pairs, func(a, b [2]rune) int { return int(a[0]) - int(b[0]) })
	for _, p := range pairs {
		if n := len(out); n > 0 && p[0] <= out[n-1]+1 {
			out[n-1] = max(out[n-1], p[1])
		} else {
			out = append(out, p[0], p[1])
		}
	}
	return out
}

// opposite is all other characters.
func (r runes) opposite() (out runes) {
	next := rune(0)
	for i := 0; i < len(r); i += 2 {
		if next < r[i] {
			out = append(out, next, r[i]-1)
		}
		next = r[i+1] + 1
	}
	if next <= unicode.MaxRune {
		out = append(out, next, unicode.MaxRune)
	}
	return out
}

// repeated reads what says how often an item comes.
func (p *gbnf) repeated(n *ruleNode) (*ruleNode, error) {
	for {
		switch {
		case p.take("*"):
			n = repeatNode(n, 0, -1)
		case p.take("+"):
			n = repeatNode(n, 1, -1)
		case p.take("?"):
			n = repeatNode(n, 0, 1)
		case p.peek() == '{':
			low, high, err := p.bounds()
			if err != nil {
				return nil, err
			}
			n = repeatNode(n, low, high)
		default:
			return n, nil
		}
	}
}

// bounds reads {n}, {n,}, {n,m} or {,m}.
func (p *gbnf) bounds() (low, high int, err error) {
	p.at++
	p.space(false)
	if p.peek() != ',' {
		if low, err = p.count(); err != nil {
			return 0, 0, err
		}
	}
	high = low
	p.space(false)
	if p.take(",") {
		high = -1
		if p.space(false); p.peek() != '}' {
			if high, err = p.count(); err != nil {
				return 0, 0, err
			}
		}
	}
	p.space(false)
	if !p.take("}") || high >= 0 && high < low {
		return 0, 0, p.errorf("expected a number of repetitions, such as {2} or {2,5}")
	}
	return low, high, nil
}

package grammar

import (
	"regexp/syntax"
	"strings"
	"unicode"
	"unicode/utf8"
)

// parseLark reads rules as Lark has them: rules and terminals of strings ("a"i),
// regular expressions, names, groups and [options], with *, +, ?, ~n and ~n..m,
// "a".."z", %import common and %ignore; aliases, priorities and marks for the
// tree change nothing. // and # begin comments. It begins with start.
func parseLark(w *budget, source string, as spelling) (*rules, error) {
	p := lark{scanner: scanner{source: source}, rules: newRules(w, as, "start"), wanted: map[string]bool{}}
	for p.space(true); !p.done(); p.space(true) {
		if err := p.statement(); err != nil {
			return nil, err
		}
	}
	if len(p.ignored) > 0 {
		p.rules.between = repeatNode(altNode(p.ignored...), 0, -1)
	}
	return p.rules, nil
}

type lark struct {
	scanner
	rules   *rules
	ignored []*ruleNode
	wanted  map[string]bool // imported
}

// space skips white space and comments; lines only if beyond.
func (p *lark) space(beyond bool) {
	for !p.done() {
		switch c := p.peek(); {
		case c == ' ' || c == '\t' || beyond && (c == '\n' || c == '\r'):
			p.at++
		case c == '#' || strings.HasPrefix(p.rest(), "//"):
			p.word(func(b byte) bool { return b != '\n' && b != '\r' })
		default:
			return
		}
	}
}

func (p *lark) statement() error {
	at := p.line()
	if p.take("%") {
		return p.directive()
	}
	p.word(func(b byte) bool { return b == '?' || b == '!' })
	name := p.word(isName)
	if name == "" {
		return p.errorf(`expected a rule, such as start: "a", got %.20q`, p.rest())
	}
	if p.peek() == '{' {
		return p.errorf("rules with parameters are not supported")
	}
	if p.take(".") {
		p.take("-")
		p.word(isDigit)
	}
	p.space(false)
	if !p.take(":") {
		return p.errorf("expected a colon after the name %s", name)
	}
	body, err := p.alternatives(false)
	if err != nil {
		return err
	}
	body = seqNode(body)
	body.at = at
	p.rules.spaced[name] = !isTerminal(name)
	return p.rules.add(name, body)
}

func isName(b byte) bool { return isWord(b) && b != '-' }

// isTerminal reports whether a name is in upper case.
func isTerminal(name string) bool {
	return strings.IndexFunc(name, unicode.IsLower) < 0
}

func (p *lark) directive() error {
	switch word := p.word(isName); word {
	case "ignore":
		p.space(false)
		n, err := p.alternatives(false)
		p.ignored = append(p.ignored, n)
		return err
	case "import":
		return p.imports()
	default:
		return p.errorf("%%%s is not supported, only %%import common and %%ignore are", word)
	}
}

// imports reads %import common.NAME, with -> another name, or a list of them.
func (p *lark) imports() error {
	p.space(false)
	if from := p.word(isName); from != "common" {
		return p.errorf("only common can be imported from, got %q", from)
	}
	if p.take(".") {
		name := p.word(isName)
		as := name
		if p.space(false); p.take("->") {
			p.space(false)
			as = p.word(isName)
		}
		return p.define(name, as)
	}
	p.space(false)
	if !p.take("(") {
		return p.errorf("expected what is imported, such as %%import common.INT")
	}
	for {
		p.space(true)
		name := p.word(isName)
		if err := p.define(name, name); err != nil {
			return err
		}
		p.space(true)
		if p.take(")") {
			return nil
		}
		if !p.take(",") {
			return p.errorf("a list of imports has no end")
		}
	}
}

// commonTerminals are those of Lark's library.
var commonTerminals = map[string]string{
	"DIGIT": `[0-9]`, "HEXDIGIT": `[0-9a-fA-F]`, "INT": `[0-9]+`, "SIGNED_INT": `[+-]?[0-9]+`,
	"DECIMAL": decimal, "FLOAT": float, "SIGNED_FLOAT": `[+-]?(` + float + `)`,
	"NUMBER": float + `|[0-9]+`, "SIGNED_NUMBER": `[+-]?(` + float + `|[0-9]+)`,
	"ESCAPED_STRING": `"([^"\\\n]|\\[^\n])*"`,
	"LCASE_LETTER":   `[a-z]`, "UCASE_LETTER": `[A-Z]`, "LETTER": `[a-zA-Z]`, "WORD": `[a-zA-Z]+`, "CNAME": `[_a-zA-Z][_a-zA-Z0-9]*`,
	"WS_INLINE": `[ \t]+`, "WS": `[ \t\f\r\n]+`, "CR": `\r`, "LF": `\n`, "NEWLINE": `(\r?\n)+`,
	"SH_COMMENT": `#[^\n]*`, "CPP_COMMENT": `//[^\n]*`, "SQL_COMMENT": `--[^\n]*`,
}

const (
	decimal = `([0-9]+\.[0-9]*|\.[0-9]+)`
	float   = `([0-9]+[eE][+-]?[0-9]+|` + decimal + `([eE][+-]?[0-9]+)?)`
)

func (p *lark) define(name, as string) error {
	source, ok := commonTerminals[name]
	if !ok {
		return p.errorf("common has no %q that is known here", name)
	}
	if p.wanted[as] { // imported twice
		return nil
	}
	p.wanted[as] = true
	e, err := parseRegex(p.rules.budget, source, p.rules.as, true)
	if err != nil {
		return err
	}
	n := leafNode(e)
	n.at = p.line()
	return p.rules.add(as, n)
}

func (p *lark) alternatives(group bool) (*ruleNode, error) {
	var all []*ruleNode
	for {
		one, err := p.sequence(group)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
		if p.space(group); p.take("->") {
			p.space(false)
			p.word(isName)
			p.space(group)
		}
		if !group { // another alternative may be on the next line
			at := p.at
			if p.space(true); p.peek() != '|' {
				p.at = at
			}
		}
		if !p.take("|") {
			return altNode(all...), nil
		}
	}
}

func (p *lark) sequence(group bool) (*ruleNode, error) {
	var parts []*ruleNode
	for {
		p.space(group)
		one, err := p.item()
		if err != nil {
			return nil, err
		}
		if one == nil {
			return seqNode(parts...), nil
		}
		if one, err = p.repeated(one); err != nil {
			return nil, err
		}
		if p.rules.nodes++; p.rules.nodes > maxNodes || !p.rules.budget.spend(1) {
			return nil, p.errorf("it has more than %d parts", maxNodes)
		}
		parts = append(parts, one)
	}
}

// item reads what may be repeated; nil: there is none.
func (p *lark) item() (*ruleNode, error) {
	switch c := p.peek(); {
	case c == '"':
		return p.text()
	case c == '/':
		return p.regex()
	case c == '(' || c == '[':
		return p.group(c)
	case isName(c):
		at := p.line()
		name := p.word(isName)
		if p.peek() == '{' {
			return nil, p.errorf("rules with parameters are not supported")
		}
		return &ruleNode{op: opRef, name: name, at: at}, nil
	case c == 0 || strings.IndexByte("|)]\r\n", c) >= 0 || strings.HasPrefix(p.rest(), "->"):
		return nil, nil
	}
	return nil, p.errorf("%.1q is not known", p.rest())
}

// text reads a string, one in any case, or a range of characters.
func (p *lark) text() (*ruleNode, error) {
	s, err := p.quoted('"')
	if err != nil {
		return nil, err
	}
	switch {
	case p.take("i"):
		e, err := parseRegex(p.rules.budget, "(?i:"+quoteRegex(s)+")", p.rules.as, true)
		return leafNode(e), err
	case p.take(".."):
		if p.peek() != '"' {
			return nil, p.errorf(`expected the end of a range, such as "z"`)
		}
		last, err := p.quoted('"')
		if err != nil {
			return nil, err
		}
		low, n := utf8.DecodeRuneInString(s)
		high, m := utf8.DecodeRuneInString(last)
		if n != len(s) || m != len(last) || n == 0 || m == 0 || high < low {
			return nil, p.errorf("%q to %q is no range of characters", s, last)
		}
		return leafNode(p.rules.as.class(runes{low, high})), nil
	}
	return leafNode(p.rules.as.text(s)), nil
}

func quoteRegex(s string) string {
	return (&syntax.Regexp{Op: syntax.OpLiteral, Rune: []rune(s)}).String()
}

// regex reads one between slashes, with its flags.
func (p *lark) regex() (*ruleNode, error) {
	p.at++
	from, class := p.at, false
	for class || p.peek() != '/' {
		switch c := p.peek(); {
		case c == 0 || c == '\n':
			return nil, p.errorf("a regular expression has no end")
		case c == '\\':
			p.at++
		case c == '[':
			class = true
		case c == ']':
			class = false
		}
		p.at++
	}
	source := p.source[from:p.at]
	p.at++
	if flags := p.word(func(b byte) bool { return b >= 'a' && b <= 'z' }); flags != "" {
		if strings.Trim(flags, "imsu") != "" {
			return nil, p.errorf("of the flags %q only i, m, s and u are supported", flags)
		}
		if flags = strings.ReplaceAll(flags, "u", ""); flags != "" {
			source = "(?" + flags + ":" + source + ")"
		}
	}
	e, err := parseRegex(p.rules.budget, strings.ReplaceAll(source, `\/`, "/"), p.rules.as, true)
	if err != nil {
		return nil, p.errorf("%v", err)
	}
	return leafNode(e), nil
}

func (p *lark) group(open byte) (*ruleNode, error) {
	if err := p.nested(); err != nil {
		return nil, err
	}
	defer p.leave()
	p.at++
	n, err := p.alternatives(true)
	if err != nil {
		return nil, err
	}
	end := ")"
	if open == '[' {
		end = "]"
		n = repeatNode(n, 0, 1)
	}
	if p.space(true); !p.take(end) {
		return nil, p.errorf("a group has no end")
	}
	return n, nil
}

// repeated reads what says how often an item comes.
func (p *lark) repeated(n *ruleNode) (*ruleNode, error) {
	for {
		switch {
		case p.take("*"):
			n = repeatNode(n, 0, -1)
		case p.take("+"):
			n = repeatNode(n, 1, -1)
		case p.take("?"):
			n = repeatNode(n, 0, 1)
		default:
			at := p.at
			if p.space(false); !p.take("~") {
				p.at = at
				return n, nil
			}
			p.space(false)
			low, err := p.count()
			if err != nil {
				return nil, err
			}
			high := low
			if p.take("..") {
				if high, err = p.count(); err != nil {
					return nil, err
				}
			}
			if high < low {
				return nil, p.errorf("%d to %d are no numbers of repetitions", low, high)
			}
			n = repeatNode(n, low, high)
		}
	}
}

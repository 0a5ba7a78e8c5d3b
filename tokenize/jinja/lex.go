package jinja

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

type tokenKind byte

const (
	tokEOF        tokenKind = iota
	tokData                 // text between tags, whitespace control already applied
	tokVarBegin             // {{
	tokVarEnd               // }}
	tokBlockBegin           // {%
	tokBlockEnd             // %}
	tokName
	tokString
	tokNumber
	tokOp
)

type token struct {
	kind tokenKind
	text string // of a name, an operator, data, or a string with its escapes resolved
	num  Value  // of a number
	line int
}

// is tells a name or an operator by its text.
func (t token) is(text string) bool {
	return (t.kind == tokName || t.kind == tokOp) && t.text == text
}

func (t token) describe() string {
	switch t.kind {
	case tokEOF:
		return "end of template"
	case tokVarEnd:
		return "end of print statement"
	case tokBlockEnd:
		return "end of statement block"
	case tokString:
		return "string"
	case tokNumber:
		return "number"
	}
	return t.text
}

// lexer cuts a source into tokens with trim_blocks and lstrip_blocks: the first
// newline after a block tag or comment is dropped, and so is the whitespace
// before one that starts its line.
type lexer struct {
	src       string
	pos       int
	line      int
	lineStart bool // the last match ended its line, or nothing matched yet
	toks      []token
}

func syntaxErr(line int, format string, args ...any) error {
	return at(errf("TemplateSyntaxError", format, args...), line)
}

func lex(src string) ([]token, error) {
	src = strings.ReplaceAll(strings.ReplaceAll(src, "\r\n", "\n"), "\r", "\n")
	l := &lexer{src: strings.TrimSuffix(src, "\n"), line: 1, lineStart: true}
	for l.pos < len(l.src) {
		if err := l.root(); err != nil {
			return nil, err
		}
	}
	l.emit(tokEOF, "")
	return l.toks, nil
}

func (l *lexer) emit(kind tokenKind, text string) {
	l.toks = append(l.toks, token{kind: kind, text: text, line: l.line})
}

// advance moves past n bytes.
func (l *lexer) advance(n int) {
	l.line += strings.Count(l.src[l.pos:l.pos+n], "\n")
	l.pos += n
	l.lineStart = n > 0 && l.src[l.pos-1] == '\n'
}

func (l *lexer) skipSpace() {
	rest := l.src[l.pos:]
	if n := len(rest) - len(strings.TrimLeftFunc(rest, isSpace)); n > 0 {
		l.advance(n)
	}
}

// root reads text up to the next tag, and the tag.
func (l *lexer) root() error {
	rest := l.src[l.pos:]
	at, kind := -1, byte(0)
	for i := 0; i+1 < len(rest); i++ {
		j := strings.IndexByte(rest[i:], '{')
		if j < 0 || i+j+1 >= len(rest) {
			break
		}
		i += j
		if c := rest[i+1]; c == '%' || c == '{' || c == '#' {
			at, kind = i, c
			break
		}
	}
	if at < 0 {
		l.emit(tokData, rest)
		l.advance(len(rest))
		return nil
	}
	text, after := rest[:at], rest[at+2:]
	text = l.stripBefore(text, after, kind != '{')
	if text != "" {
		l.emit(tokData, text)
	}
	raw, isRaw := rawBegin(after)
	sign := len(after) > 0 && (after[0] == '-' || after[0] == '+')
	switch {
	case kind == '%' && isRaw:
		l.advance(at + 2 + raw)
		return l.raw()
	case sign:
		l.advance(at + 3)
	default:
		l.advance(at + 2)
	}
	switch kind {
	case '#':
		return l.comment()
	case '%':
		l.emit(tokBlockBegin, "{%")
		return l.tag("%}", tokBlockEnd)
	}
	l.emit(tokVarBegin, "{{")
	return l.tag("}}", tokVarEnd)
}

// stripBefore applies the whitespace control of a tag to the text before it;
// after is what follows the tag's first two characters.
func (l *lexer) stripBefore(text, after string, block bool) string {
	switch {
	case strings.HasPrefix(after, "-"):
		return strings.TrimRightFunc(text, isSpace)
	case strings.HasPrefix(after, "+") || !block:
		return text
	}
	start := strings.LastIndexByte(text, '\n') + 1
	if (start > 0 || l.lineStart) && all(text[start:], isSpace) {
		return text[:start]
	}
	return text
}

// rawBegin measures the rest of a raw tag, given what follows "{%".
func rawBegin(s string) (int, bool) {
	rest := s
	if rest != "" && (rest[0] == '-' || rest[0] == '+') {
		rest = rest[1:]
	}
	rest, ok := strings.CutPrefix(strings.TrimLeftFunc(rest, isSpace), "raw")
	if !ok {
		return 0, false
	}
	rest = strings.TrimLeftFunc(rest, isSpace)
	if r, ok := strings.CutPrefix(rest, "-%}"); ok {
		return len(s) - len(strings.TrimLeftFunc(r, isSpace)), true
	}
	r, ok := strings.CutPrefix(rest, "%}")
	return len(s) - len(r), ok
}

// raw reads up to the endraw tag.
func (l *lexer) raw() error {
	rest, from := l.src[l.pos:], 0
	for {
		i := strings.Index(rest[from:], "{%")
		if i < 0 {
			return syntaxErr(l.line, "Missing end of raw directive")
		}
		i += from
		from = i + 2
		after := rest[i+2:]
		tail := strings.TrimPrefix(after, "-")
		if tail == after {
			tail = strings.TrimPrefix(after, "+")
		}
		tail, ok := strings.CutPrefix(strings.TrimLeftFunc(tail, isSpace), "endraw")
		if !ok {
			continue
		}
		tail = strings.TrimLeftFunc(tail, isSpace)
		n, ok := closing(tail, "%}", true)
		if !ok {
			continue
		}
		if text := l.stripBefore(rest[:i], after, true); text != "" {
			l.emit(tokData, text)
		}
		l.advance(len(rest) - len(tail) + n)
		return nil
	}
}

func (l *lexer) comment() error {
	rest := l.src[l.pos:]
	for i := range len(rest) {
		if c := rest[i]; c == '#' || c == '-' || c == '+' {
			if n, ok := closing(rest[i:], "#}", true); ok {
				l.advance(i + n)
				return nil
			}
		}
	}
	return syntaxErr(l.line, "Missing end of comment tag")
}

// closing measures an end tag with its whitespace control. The end of a block tag
// or comment takes a newline along unless it is marked +.
func closing(s, end string, block bool) (int, bool) {
	if r, ok := strings.CutPrefix(s, "-"+end); ok {
		return len(s) - len(strings.TrimLeftFunc(r, isSpace)), true
	}
	if block && strings.HasPrefix(s, "+"+end) {
		return len(end) + 1, true
	}
	if !strings.HasPrefix(s, end) {
		return 0, false
	}
	if block && strings.HasPrefix(s[len(end):], "\n") {
		return len(end) + 1, true
	}
	return len(end), true
}

// longest first
var operators = []string{
	"//", "**", "==", "!=", ">=", "<=",
	"+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", ">", "<", "=", ".", ":", "|", ",", ";",
}

// tag reads an expression or statement up to its end.
func (l *lexer) tag(end string, endKind tokenKind) error {
	var open []byte // the ends of brackets still to close
	for l.pos < len(l.src) {
		rest := l.src[l.pos:]
		if len(open) == 0 {
			if n, ok := closing(rest, end, endKind == tokBlockEnd); ok {
				l.emit(endKind, end)
				l.advance(n)
				return nil
			}
		}
		c, _ := utf8.DecodeRuneInString(rest)
		var err error
		switch {
		case isSpace(c):
			l.skipSpace()
		case c >= '0' && c <= '9':
			err = l.number(rest)
		case c == '_' || unicode.IsLetter(c):
			n := nameEnd(rest)
			l.emit(tokName, rest[:n])
			l.advance(n)
		case (c == '\'' || c == '"') && stringEnd(rest) > 0:
			err = l.text(rest[:stringEnd(rest)])
		default:
			open, err = l.operator(rest, open)
		}
		if err != nil {
			return err
		}
	}
	return nil // the parser reports the missing end
}

// nameEnd is the length of the name at the beginning of s.
func nameEnd(s string) int {
	n := strings.IndexFunc(s, func(r rune) bool {
		return r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r)
	})
	if n < 0 {
		return len(s)
	}
	return n
}

// text takes a string with its quotes.
func (l *lexer) text(quoted string) error {
	text, err := unescape(quoted[1 : len(quoted)-1])
	if err != nil {
		return at(err, l.line)
	}
	l.emit(tokString, text)
	l.advance(len(quoted))
	return nil
}

var brackets = map[string]byte{"(": ')', "[": ']', "{": '}'}

// operator takes an operator or bracket, and returns which brackets are open then.
func (l *lexer) operator(rest string, open []byte) ([]byte, error) {
	i := slices.IndexFunc(operators, func(op string) bool { return strings.HasPrefix(rest, op) })
	if i < 0 {
		c, _ := utf8.DecodeRuneInString(rest)
		return nil, syntaxErr(l.line, "unexpected char %s at %d", shortRepr(string(c)), l.pos)
	}
	op := operators[i]
	switch op {
	case "(", "[", "{":
		open = append(open, brackets[op])
	case ")", "]", "}":
		if len(open) == 0 {
			return nil, syntaxErr(l.line, "unexpected '%s'", op)
		}
		if want := open[len(open)-1]; want != op[0] {
			return nil, syntaxErr(l.line, "unexpected '%s', expected '%c'", op, want)
		}
		open = open[:len(open)-1]
	}
	l.emit(tokOp, op)
	l.advance(len(op))
	return open, nil
}

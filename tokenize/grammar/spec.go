package grammar

import (
	"fmt"
	"io"
	"strconv"
)

// Spec describes a language. It is only a description: what is wrong with it
// is found by Compile, which names it by the path that At gave.
type Spec struct {
	kind      kind
	source    string
	parts     []*Spec
	low, high int
	markers   []string
	path      string
}

type kind byte

const (
	kindLiteral  kind = 'l'
	kindRegex    kind = 'r'
	kindSchema   kind = 's'
	kindObject   kind = 'o'
	kindText     kind = 't'
	kindSequence kind = '+'
	kindChoice   kind = '|'
	kindRepeat   kind = '*'
	kindRules    kind = 'g'
	kindQuoted   kind = 'q'
	kindTrigger  kind = '!'
)

// Literal is exactly this text.
func Literal(text string) *Spec { return &Spec{kind: kindLiteral, source: text} }

// Regex is what a regular expression matches as a whole, in Go's syntax with
// JavaScript's \u escapes. It may look ahead from the beginning only.
func Regex(expr string) *Spec { return &Spec{kind: kindRegex, source: expr} }

// Schema is JSON that a JSON schema validates, members in the schema's order.
func Schema(schema []byte) *Spec { return &Spec{kind: kindSchema, source: string(schema)} }

// Rules is a grammar in EBNF, as llama.cpp writes it (GBNF, beginning with root)
// or as Lark does (beginning with start). Rules that begin with each other are
// refused; what Lark matches as terminals may be any text that they match.
func Rules(source string) *Spec { return &Spec{kind: kindRules, source: source} }

// QuotedRules is a string in JSON, with its quotes, whose text keeps to such a grammar.
// Each of its characters has one spelling.
func QuotedRules(source string) *Spec { return &Spec{kind: kindQuoted, source: source} }

// JSONObject is any JSON object.
func JSONObject() *Spec { return &Spec{kind: kindObject} }

// AnyText is any text, the empty one too.
func AnyText() *Spec { return &Spec{kind: kindText} }

// Until is any text that ends with marker and has it nowhere before.
func Until(marker string) *Spec { return UntilFirst([]string{marker}, 0) }

// Without is any text that has marker nowhere, the empty one too.
func Without(marker string) *Spec { return WithoutAny([]string{marker}) }

// UntilFirst is any text that ends with the marker at this index and has none of
// the markers before.
func UntilFirst(markers []string, index int) *Spec {
	return &Spec{kind: kindTrigger, markers: markers, low: index}
}

// WithoutAny is any text that has none of the markers, the empty one too.
func WithoutAny(markers []string) *Spec {
	return &Spec{kind: kindTrigger, markers: markers, low: -1}
}

// Sequence is the parts one after another.
func Sequence(parts ...*Spec) *Spec { return &Spec{kind: kindSequence, parts: parts} }

// Choice is any one of the parts.
func Choice(parts ...*Spec) *Spec { return &Spec{kind: kindChoice, parts: parts} }

// Repeat is the part at least low and at most high times; with a high of -1,
// any number of times from low on.
func Repeat(part *Spec, low, high int) *Spec {
	return &Spec{kind: kindRepeat, parts: []*Spec{part}, low: low, high: high}
}

// At says where the description came from, such as the field of a request;
// errors begin with it. It returns s.
func (s *Spec) At(path string) *Spec {
	s.path = path
	return s
}

// Path is what At was given.
func (s *Spec) Path() string { return s.path }

// writeKey writes what is the same for the same language described in the same
// way, and with placed at the same places.
func (s *Spec) writeKey(w io.Writer, placed bool) {
	path := ""
	if placed {
		path = s.path
	}
	fmt.Fprintf(w, "%c%d:%d,%d,%d,%d,%d:%s%s", s.kind, len(s.source), s.low, s.high, len(s.parts), len(s.markers), len(path), s.source, path)
	for _, m := range s.markers {
		fmt.Fprintf(w, "%d:%s", len(m), m)
	}
	for _, p := range s.parts {
		p.writeKey(w, placed)
	}
}

// Error says what is wrong with a description.
type Error struct {
	Path string // where: what At said, and the place within a schema
	Msg  string
}

func (e *Error) Error() string {
	if e.Path == "" {
		return e.Msg
	}
	return e.Path + ": " + e.Msg
}

func errorf(path, format string, args ...any) *Error {
	return &Error{Path: path, Msg: fmt.Sprintf(format, args...)}
}

// member and item go down in a path.
func member(path, name string) string { return path + "." + name }
func item(path string, i int) string  { return path + "[" + strconv.Itoa(i) + "]" }

// parse makes a description an expression.
func (s *Spec) parse(w *budget) (*expr, error) {
	if len(s.source) > maxSource {
		return nil, errorf(s.path, "must be at most %d bytes long, got %d", maxSource, len(s.source))
	}
	switch s.kind {
	case kindLiteral:
		return text(s.source), nil
	case kindRegex:
		e, err := parseRegex(w, s.source, asText, true)
		if err != nil {
			return nil, errorf(s.path, "%v", err)
		}
		return e, nil
	case kindSchema:
		return parseSchema(w, s.source, s.path)
	case kindRules, kindQuoted:
		return s.parseRules(w)
	case kindObject:
		return jsonObject, nil
	case kindText:
		return anyText, nil
	case kindTrigger:
		e, ok := marked(w, s.markers, s.low)
		if !ok {
			return nil, errorf(s.path, "the markers %.40q are too long, or one of them is empty", s.markers)
		}
		return e, nil
	}
	var parts []*expr
	for _, p := range s.parts {
		e, err := p.parse(w)
		if err != nil {
			return nil, err
		}
		parts = append(parts, e)
	}
	switch s.kind {
	case kindSequence:
		return seq(parts...), nil
	case kindChoice:
		return alt(parts...), nil
	}
	return repeat(parts[0], s.low, s.high), nil
}

func (s *Spec) parseRules(w *budget) (*expr, error) {
	as := asText
	if s.kind == kindQuoted {
		as = asJSON
	}
	e, err := parseEBNF(w, s.source, as)
	switch {
	case err != nil:
		return nil, errorf(s.path, "%v", err)
	case s.kind == kindQuoted:
		return seq(quote, e, quote), nil
	}
	return e, nil
}

var anyText = func() *expr {
	e := repeat(asText.class(anyRune), 0, -1)
	measure(e)
	return e
}()

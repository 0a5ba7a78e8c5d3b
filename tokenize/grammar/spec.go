package grammar

import (
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Spec describes a language. It is only a description: what is wrong with it
// is found by Compile, which names it by the path that At gave.
type Spec struct {
	kind      kind
	source    string
	parts     []*Spec
	low, high int
	path      string
}

type kind byte

const (
	kindLiteral  kind = 'l'
	kindRegex    kind = 'r'
	kindSchema   kind = 's'
	kindObject   kind = 'o'
	kindText     kind = 't'
	kindUntil    kind = 'u'
	kindWithout  kind = 'w'
	kindSequence kind = '+'
	kindChoice   kind = '|'
	kindRepeat   kind = '*'
)

// Literal is exactly this text.
func Literal(text string) *Spec { return &Spec{kind: kindLiteral, source: text} }

// Regex is what a regular expression matches as a whole, in Go's syntax with
// JavaScript's \u escapes. It may look ahead from the beginning only.
func Regex(expr string) *Spec { return &Spec{kind: kindRegex, source: expr} }

// Schema is JSON that a JSON schema validates, members in the schema's order.
func Schema(schema []byte) *Spec { return &Spec{kind: kindSchema, source: string(schema)} }

// JSONObject is any JSON object.
func JSONObject() *Spec { return &Spec{kind: kindObject} }

// AnyText is any text, the empty one too.
func AnyText() *Spec { return &Spec{kind: kindText} }

// Until is any text that ends with marker and has it nowhere before.
func Until(marker string) *Spec { return &Spec{kind: kindUntil, source: marker} }

// Without is any text that has marker nowhere, the empty one too.
func Without(marker string) *Spec { return &Spec{kind: kindWithout, source: marker} }

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
	fmt.Fprintf(w, "%c%d:%d,%d,%d,%d:%s%s", s.kind, len(s.source), s.low, s.high, len(s.parts), len(path), s.source, path)
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
	case kindObject:
		return jsonObject, nil
	case kindText:
		return anyText, nil
	case kindUntil, kindWithout:
		e, ok := marked(w, s.source, s.kind == kindUntil)
		if !ok {
			return nil, errorf(s.path, "the marker %.20q is empty or too long", s.source)
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

var anyText = func() *expr {
	e := repeat(asText.class(anyRune), 0, -1)
	measure(e)
	return e
}()

// marked is text without marker, or, with ending, text up to the first marker.
func marked(w *budget, marker string, ending bool) (*expr, bool) {
	if marker == "" {
		return nil, false
	}
	// State i: the last i bytes are the marker's first.
	t := &table{states: make([]tableState, len(marker)+1)}
	for i := range len(marker) {
		t.states[i].accepts = !ending
		for c := range 256 {
			seen := marker[:i] + string([]byte{byte(c)})
			n := min(len(seen), len(marker))
			for !strings.HasSuffix(seen, marker[:n]) {
				n--
			}
			if n < len(marker) || ending {
				t.states[i].edges = append(t.states[i].edges, edge{byte(c), byte(c), int32(n)})
			}
		}
	}
	t.states[len(marker)].accepts = ending
	return common(w, anyText, t.expr())
}

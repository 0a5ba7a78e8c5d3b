package reply

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/troupe-llm/troupe/tokenize/grammar"
)

// Callable is a tool that a model is let call.
type Callable struct {
	Name string
	// Schema is what its arguments have to be, an object; nil is any.
	Schema []byte
	Path   string // of the schema, for errors
	// Rules, if any, are a grammar in EBNF that the text keeps to which is the tool's
	// only argument, of this name.
	Rules, Text string
	// Loose leaves out what cannot be kept to in how the family writes
	// arguments. Else that is an error.
	Loose bool
}

// Calls is one call of any of the tools, or several, up to most, as the family
// writes them. An error names the tool by its place, and the place in its schema.
func (f *Format) Calls(tools []Callable, most int) (*grammar.Spec, error) {
	var each []*grammar.Spec
	for i := range tools {
		call, err := f.call(&tools[i])
		if err != nil {
			return nil, &ToolError{Tool: i, Err: err}
		}
		each = append(each, call)
	}
	call := grammar.Choice(each...)
	if f.Channels != nil { // a reply ends with its call
		return call, nil
	}
	m := &f.Forms[0]
	begin, between, end := m.Begin, m.Between, m.End
	switch {
	case m.List:
		begin, between, end = m.Begin+"[", ", ", "]"+m.End
	case m.Single:
		between = m.End + m.Between + m.Begin
	}
	more := grammar.Repeat(grammar.Sequence(grammar.Literal(between), call), 0, most-1)
	return grammar.Sequence(grammar.Literal(begin), call, more, grammar.Literal(end)), nil
}

// ToolError says what is wrong with a tool, and with which.
type ToolError struct {
	Tool int
	Err  error
}

func (e *ToolError) Error() string { return e.Err.Error() }
func (e *ToolError) Unwrap() error { return e.Err }

// call is a call of a tool, but for what stands between calls.
func (f *Format) call(t *Callable) (*grammar.Spec, error) {
	if c := f.Channels; c != nil {
		return grammar.Sequence(grammar.Literal(c.Channel+c.Calls+c.To+c.Tools+t.Name+c.Encoded+c.Message), jsonArguments(t)), nil
	}
	m := &f.Forms[0]
	name := grammar.Literal(m.Open + m.Prefix + t.Name + m.Then)
	if m.Numbered {
		name = grammar.Sequence(grammar.Literal(m.Open+m.Prefix+t.Name+m.ID), grammar.Regex(`0|[1-9]\d?`), grammar.Literal(m.Then))
	}
	var arguments *grammar.Spec
	var err error
	switch m.Arguments {
	case Object:
		quoted, err := json.Marshal(t.Name)
		if err != nil {
			return nil, err
		}
		before := `{"` + m.Object.Name + `": ` + string(quoted) + `, "` + m.Object.Arguments + `": `
		return grammar.Sequence(grammar.Literal(m.Open+before), jsonArguments(t), grammar.Literal("}"+m.Close)), nil
	case JSON:
		arguments = jsonArguments(t)
	default:
		arguments, err = f.arguments(m, t)
	}
	return grammar.Sequence(name, arguments, grammar.Literal(m.Close)), err
}

func jsonArguments(t *Callable) *grammar.Spec {
	if t.Rules != "" {
		name, _ := json.Marshal(t.Text)
		return grammar.Sequence(grammar.Literal("{"+string(name)+": "), grammar.QuotedRules(t.Rules).At(t.Path), grammar.Literal("}"))
	}
	if t.Schema == nil {
		return grammar.JSONObject()
	}
	return grammar.Schema(t.Schema).At(t.Path)
}

// arguments are those that are no JSON object: one after the other in the
// order of the schema.
func (f *Format) arguments(m *Form, t *Callable) (*grammar.Spec, error) {
	var all []argument
	properties, open, err := readProperties(t)
	if err != nil {
		return nil, err
	}
	for _, p := range properties {
		value, err := f.value(m, &p, t)
		if err == nil && m.Arguments != Tagged && strings.ContainsFunc(p.name, func(r rune) bool { return r < 0x80 && !inKeyword(byte(r)) }) {
			err = errors.New("a name that needs quotes cannot be written in the calls of the served model")
		}
		if err != nil {
			return nil, fmt.Errorf(".properties.%s: %w", p.name, err)
		}
		all = append(all, argument{f.named(m, grammar.Literal(p.name), p.types, value), p.required})
	}
	if open {
		key, value := grammar.Regex(`[A-Za-z_]\w{0,62}`), grammar.Schema([]byte("{}"))
		if m.Arguments == Tagged {
			value = grammar.Without(m.valueClose)
		}
		return m.inside(anyArguments(m, f.named(m, key, String, value))), nil
	}
	if m.Arguments == Tagged {
		return m.inside(inOrder(all)), nil
	}
	return m.inside(separated(all)), nil
}

// inside closes arguments that have a bracket of their own.
func (m *Form) inside(arguments *grammar.Spec) *grammar.Spec {
	switch m.Arguments {
	case Pythonic:
		return grammar.Sequence(arguments, grammar.Literal(")"))
	case Unquoted:
		return grammar.Sequence(arguments, grammar.Literal("}"))
	}
	return arguments
}

// named is an argument with its name.
func (f *Format) named(m *Form, name *grammar.Spec, t Types, value *grammar.Spec) *grammar.Spec {
	switch m.Arguments {
	case Pythonic:
		return grammar.Sequence(name, grammar.Literal("="), value)
	case Unquoted:
		return grammar.Sequence(name, grammar.Literal(":"), value)
	}
	p := &m.Params
	open := ""
	if n := len(p.ValueOpen); n > 0 {
		if open = p.ValueOpen[0]; t != String {
			open = p.ValueOpen[n-1]
		}
	}
	return grammar.Sequence(grammar.Literal(p.Open), name, grammar.Literal(p.KeyEnd+open), value, grammar.Literal(p.Close))
}

// value is what a property's schema allows: text where it can only be a
// string and the family writes those without quotes, else JSON.
func (f *Format) value(m *Form, p *property, t *Callable) (*grammar.Spec, error) {
	switch {
	case t.Rules != "" && m.Arguments == Tagged:
		return grammar.Rules(t.Rules).At(t.Path), nil
	case t.Rules != "" && m.Arguments == Pythonic:
		return grammar.QuotedRules(t.Rules).At(t.Path), nil
	case t.Rules != "":
		return grammar.Sequence(grammar.Literal(f.Tokens[0]), grammar.Rules(t.Rules).At(t.Path), grammar.Literal(f.Tokens[0])), nil
	case p.types != String || m.Arguments == Pythonic:
		return grammar.Schema(p.within(t.Schema)).At(t.Path + ".properties." + p.name), nil
	}
	mark := m.valueClose
	if m.Arguments == Unquoted {
		mark = f.Tokens[0]
	}
	text, err := p.text(mark, t)
	if err == nil && m.Arguments == Unquoted {
		text = grammar.Sequence(grammar.Literal(mark), text, grammar.Literal(mark))
	}
	return text, err
}

// text is a string without quotes, which cannot have mark in it.
func (p *property) text(mark string, t *Callable) (*grammar.Spec, error) {
	var s struct {
		Enum                 []string
		Const                *string
		Pattern              *string
		MinLength, MaxLength *int
	}
	err := plain(p.schema, "type", "enum", "const", "pattern", "minLength", "maxLength")
	if err == nil {
		err = json.Unmarshal(p.schema, &s)
	}
	if err != nil {
		if t.Loose {
			return grammar.Without(mark), nil
		}
		return nil, err
	}
	if s.Const != nil {
		s.Enum = []string{*s.Const}
	}
	if s.Enum != nil {
		var all []*grammar.Spec
		for _, v := range s.Enum {
			if !strings.Contains(v, mark) {
				all = append(all, grammar.Literal(v))
			}
		}
		return grammar.Choice(all...), nil
	}
	if s.Pattern == nil && s.MinLength == nil && s.MaxLength == nil {
		return grammar.Without(mark), nil
	}
	length := "*"
	if s.MinLength != nil || s.MaxLength != nil {
		length = "{" + number(s.MinLength, "0") + "," + number(s.MaxLength, "") + "}"
	}
	if s.Pattern == nil { // without its first character a text cannot have the mark
		return grammar.Regex("[^" + regexp.QuoteMeta(mark[:1]) + "]" + length), nil
	}
	expr := `(?![\s\S]*` + regexp.QuoteMeta(mark) + `)`
	if length != "*" {
		expr += `(?=[\s\S]` + length + `$)`
	}
	return grammar.Regex(expr + found(*s.Pattern)), nil
}

// found is an expression of the texts that a pattern is found in.
func found(pattern string) string {
	before, after := `[\s\S]*`, `[\s\S]*`
	if rest, ok := strings.CutPrefix(pattern, "^"); ok {
		before, pattern = "", rest
	}
	if rest, ok := strings.CutSuffix(pattern, "$"); ok && !strings.HasSuffix(rest, `\`) {
		after, pattern = "", rest
	}
	return before + "(?:" + pattern + ")" + after
}

func number(n *int, none string) string {
	if n == nil {
		return none
	}
	return fmt.Sprint(*n)
}

// argument is one of a call's, in a grammar.
type argument struct {
	spec     *grammar.Spec
	required bool
}

// inOrder is the arguments one after the other.
func inOrder(all []argument) *grammar.Spec {
	parts := make([]*grammar.Spec, 0, len(all))
	for _, a := range all {
		least := 0
		if a.required {
			least = 1
		}
		parts = append(parts, grammar.Repeat(a.spec, least, 1))
	}
	return grammar.Sequence(parts...)
}

// separated is the arguments with commas between them: a choice of which comes
// first.
func separated(all []argument) *grammar.Spec {
	var firsts []*grammar.Spec
	none := grammar.Literal("")
	for i, a := range all {
		var rest []argument
		for _, b := range all[i+1:] {
			rest = append(rest, argument{grammar.Sequence(grammar.Literal(", "), b.spec), b.required})
		}
		firsts = append(firsts, grammar.Sequence(a.spec, inOrder(rest)))
		if a.required {
			none = nil
			break
		}
	}
	if none != nil {
		firsts = append(firsts, none)
	}
	return grammar.Choice(firsts...)
}

// maxArguments is how many a call can have whose names are not known.
const maxArguments = 32

// anyArguments is any number of an argument.
func anyArguments(m *Form, one *grammar.Spec) *grammar.Spec {
	if m.Arguments == Tagged {
		return grammar.Repeat(one, 0, maxArguments)
	}
	more := grammar.Repeat(grammar.Sequence(grammar.Literal(", "), one), 0, maxArguments-1)
	return grammar.Repeat(grammar.Sequence(one, more), 0, 1)
}

// TextOr is a text that may end in calls, or be them.
func (f *Format) TextOr(calls *grammar.Spec) *grammar.Spec {
	none := `(?![\s\S]*(?:` // of the marks
	for i, mark := range f.marks.all {
		if i > 0 {
			none += "|"
		}
		none += regexp.QuoteMeta(mark)
	}
	switch none += "))"; {
	case f.Channels != nil:
		return grammar.Choice(calls, f.Text(grammar.Regex(none+`[\s\S]*`)))
	case f.bare:
		text := grammar.Regex(none + `\s{0,4}[^\s{\[][\s\S]*`)
		return grammar.Choice(calls, grammar.Literal(""), text)
	case len(f.marks.all) == 1:
		return grammar.Sequence(grammar.Without(f.marks.all[0]), grammar.Repeat(calls, 0, 1))
	}
	return grammar.Sequence(grammar.Regex(none+`[\s\S]*`), grammar.Repeat(calls, 0, 1))
}

// Text is an answer as replies have it: where there are channels, within one.
func (f *Format) Text(answer *grammar.Spec) *grammar.Spec {
	if f == nil || f.Channels == nil {
		return answer
	}
	c := f.Channels
	return grammar.Sequence(grammar.Literal(c.Channel+c.Text+c.Message), answer)
}

// Before lets reasoning come before what the rest of a reply has to be, or end
// where the prompt has begun it. Where the prompt has ended it, none comes.
func (o *Options) Before(reply *grammar.Spec) *grammar.Spec {
	if o.Format != nil && o.Format.Channels != nil {
		c := o.Format.Channels
		rest := grammar.Sequence(grammar.Until(c.Ends[0]), grammar.Literal(c.Start+c.Role))
		if o.Opened {
			return grammar.Sequence(rest, reply)
		}
		thoughts := grammar.Sequence(grammar.Literal(c.Channel+c.Reasoning+c.Message), rest)
		return grammar.Sequence(grammar.Repeat(thoughts, 0, 1), reply)
	}
	r := o.Reasoning
	if r == nil || o.Ended {
		return reply
	}
	rest := grammar.Sequence(grammar.Until(r.End), grammar.Regex(`\n{0,2}`))
	if o.Opened {
		return grammar.Sequence(rest, reply)
	}
	return grammar.Sequence(grammar.Repeat(grammar.Sequence(grammar.Literal(r.Begin), rest), 0, 1), reply)
}

var annotations = []string{"title", "description", "default", "examples", "$schema", "$id", "$comment", "deprecated", "readOnly", "writeOnly", "strict", "$defs", "definitions"}

// plain says which keyword of a schema is none of these.
func plain(schema []byte, known ...string) error {
	members, err := orderedMembers(schema)
	if err != nil {
		return err
	}
	for _, m := range members {
		if !slices.Contains(known, m.name) && !slices.Contains(annotations, m.name) {
			return fmt.Errorf("%s cannot be kept to in how the served model writes arguments", m.name)
		}
	}
	return nil
}

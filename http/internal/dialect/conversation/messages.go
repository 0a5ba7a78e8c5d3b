package conversation

import (
	"errors"
	"fmt"
	"hash/fnv"
	"strings"

	"github.com/troupe-llm/troupe/actors"
	"github.com/troupe-llm/troupe/http/internal/dialect/apierr"
	"github.com/troupe-llm/troupe/http/internal/dialect/field"
	"github.com/troupe-llm/troupe/http/internal/dialect/jsonenc"
	"github.com/troupe-llm/troupe/http/internal/dialect/model"
	"github.com/troupe-llm/troupe/tokenize"
	"github.com/troupe-llm/troupe/tokenize/jinja"
)

// ordered decodes JSON for a template, which sees objects' members in the
// order they were sent.
func ordered(v []byte) (any, error) { return jinja.DecodeJSON(v) }

// manyBytes are messages of which it is worth while to ask first whether they can fit.
const manyBytes = 1 << 16

// SetFittingMessages is SetMessages but for more messages than a context has room for,
// which are refused before they are read, as the engine would refuse them later.
func SetFittingMessages(c *Conversation, v field.Value) error {
	if len(v) > manyBytes && v[0] == '[' && c.Model.Family.LeastMarks != nil {
		if least := c.Model.Family.LeastMarks(countRoles(v)); least > c.Model.Context {
			return &actors.InputError{
				Param: "messages", TooLong: true,
				Msg: fmt.Sprintf("the prompt has at least %d tokens, but this model's maximum context length is %d, prompt and output", least, c.Model.Context),
			}
		}
	}
	return SetMessages(c, v)
}

// countRoles counts the messages of users and of assistants that have a text.
func countRoles(v field.Value) (users, assistants int) {
	for _, m := range v.Elements() {
		if m[0] != '{' {
			continue
		}
		role, text := "", false
		for name, v := range m.Members() {
			switch {
			case name == "role" && v[0] == '"':
				role = v.Unquote()
			case name == "content":
				text = v[0] == '"'
			}
		}
		switch {
		case !text:
		case role == "user":
			users++
		case role == "assistant":
			assistants++
		}
	}
	return users, assistants
}

// SetMessages checks a chat and makes it what templates are written for:
// contents are strings, or parts for a template that looks into them, and developers, which is OpenAI's newer word, are
// systems to one that has not heard of them: most leave out a role they do not
// know.
func SetMessages(c *Conversation, v field.Value) error {
	msgs, err := plainMessages(v, &c.Model.Family)
	if err != nil {
		return err
	}
	c.Chat.Messages, err = tokenize.DecodeMessages(msgs)
	if c.Model.Family.Alternates {
		c.Chat.Messages = alternating(c.Chat.Messages)
	}
	return err
}

// plainMessages copies the messages, replacing the values that templates
// expect in another form than clients send.
func plainMessages(v field.Value, f *model.Family) ([]byte, error) {
	if v[0] != '[' {
		return nil, v.Want("an array of messages")
	}
	out := append(make([]byte, 0, len(v)), '[')
	for i, m := range v.Elements() {
		if i > 0 {
			out = append(out, ',')
		}
		var err error
		if out, err = appendMessage(out, m, f); err != nil {
			return nil, apierr.At(apierr.Index(i), err)
		}
	}
	if len(out) == 1 {
		return nil, errors.New("must not be empty")
	}
	return append(out, ']'), nil
}

func appendMessage(out []byte, m field.Value, f *model.Family) ([]byte, error) {
	if m[0] != '{' {
		return nil, m.Want("a message object")
	}
	role, err := roleOf(m)
	if err != nil {
		return nil, err
	}
	out = append(out, '{')
	var content, others bool // others: what may stand in for the content
	for name, v := range m.Members() {
		if v.Null() || name == "tool_calls" && v[0] == '[' && v.First() == ']' { // as good as absent
			continue
		}
		if out[len(out)-1] != '{' {
			out = append(out, ',')
		}
		out = append(jsonenc.Quoted(out, name), ':')
		var err error
		switch name {
		case "role":
			if role == "developer" && !f.Developers {
				v = field.Value(`"system"`)
			}
			out = append(out, v...)
		case "content":
			content = true
			out, err = appendContent(out, v, f.Parts[role])
		case "tool_calls":
			others = true
			out, err = appendToolCalls(out, v, f)
		case "tool_call_id":
			out = appendCallID(out, v, f)
		case "reasoning_content", "reasoning", "thinking":
			others = true
			out = append(out, v...)
		default:
			out = append(out, v...)
		}
		if err != nil {
			return nil, apierr.At("."+name, err)
		}
	}
	switch {
	case !content && !others:
		return nil, apierr.At(".content", errors.New("required"))
	case !content: // many templates fail without
		out = append(out, `,"content":""`...)
	}
	return append(out, '}'), nil
}

// roleOf reads a message's role, which tells how the rest is to be read.
func roleOf(m field.Value) (string, error) {
	for name, v := range m.Members() {
		if name != "role" {
			continue
		}
		s, err := v.Text()
		if err == nil && s == "" {
			err = errors.New("must not be empty")
		}
		if err != nil {
			return "", apierr.At(".role", err)
		}
		return s, nil
	}
	return "", apierr.At(".role", errors.New("required"))
}

// appendContent leaves a content's text parts to a template that looks into them, and
// joins them with spaces for others, as transformers' own server does.
func appendContent(out []byte, v field.Value, parts bool) ([]byte, error) {
	switch v[0] {
	case '"':
		return append(out, v...), nil
	case '[':
	default:
		return nil, v.Want("a string or an array of text parts")
	}
	var texts []string
	list := append(make([]byte, 0, len(v)), '[')
	for i, part := range v.Elements() {
		text, is, err := textPart(part)
		if err != nil {
			return nil, apierr.At(apierr.Index(i), err)
		}
		texts = append(texts, text)
		if i > 0 {
			list = append(list, ',')
		}
		if is {
			list = append(list, part...)
		} else {
			list = append(jsonenc.Quoted(append(list, `{"type":"text","text":`...), text), '}')
		}
	}
	if parts {
		return append(append(out, list...), ']'), nil
	}
	return jsonenc.Quoted(out, strings.Join(texts, " ")), nil
}

// textPart is what a part says. is: it is a part of text as templates know it.
func textPart(v field.Value) (text string, is bool, err error) {
	if v[0] == '"' {
		return v.Unquote(), false, nil
	}
	if v[0] != '{' {
		return "", false, v.Want("a part object")
	}
	kind := ""
	var said field.Value
	for name, v := range v.Members() {
		switch name {
		case "type":
			if kind, err = v.Text(); err != nil {
				return "", false, apierr.At(".type", err)
			}
		case "text", refusal:
			if !v.Null() {
				said = v
			}
		}
	}
	switch {
	case kind != "text" && kind != refusal:
		return "", false, apierr.At(".type", fmt.Errorf("%q is not supported, only \"text\" is", kind))
	case said == nil:
		return "", false, apierr.At("."+kind, errors.New("required"))
	}
	if text, err = said.Text(); err != nil {
		err = apierr.At("."+kind, err)
	}
	return text, kind == "text", err
}

// refusal is a part by which an assistant declined, and its text.
const refusal = "refusal"

// appendToolCalls copies an assistant's earlier calls. Their arguments, which OpenAI has as a string
// of JSON, get the form that the template wants when it is rendered; none are an empty object.
func appendToolCalls(out []byte, v field.Value, f *model.Family) ([]byte, error) {
	if v[0] != '[' {
		return nil, v.Want("an array of tool calls")
	}
	out = append(out, '[')
	for i, call := range v.Elements() {
		if i > 0 {
			out = append(out, ',')
		}
		var err error
		out, err = rewriteMembers(out, call, func(out []byte, name string, v field.Value) ([]byte, error) {
			switch name {
			case "function":
				return appendFunction(out, v)
			case "id":
				return appendCallID(out, v, f), nil
			}
			return append(out, v...), nil
		})
		if err != nil {
			return nil, apierr.At(apierr.Index(i), err)
		}
	}
	return append(out, ']'), nil
}

// appendFunction copies what was called.
func appendFunction(out []byte, v field.Value) ([]byte, error) {
	given := false
	out, err := rewriteMembers(out, v, func(out []byte, name string, v field.Value) ([]byte, error) {
		if name == "arguments" {
			given = true
			if v.Null() || v[0] == '"' && strings.TrimSpace(v.Unquote()) == "" {
				v = field.Value("{}")
			}
		}
		return append(out, v...), nil
	})
	if err != nil || given {
		return out, err
	}
	out = out[:len(out)-1] // the brace
	if out[len(out)-1] != '{' {
		out = append(out, ',')
	}
	return append(out, `"arguments":{}}`...), nil
}

// appendCallID writes the id of a tool call, as one of nine letters and digits for a
// template that takes no other: equal ones stay equal.
func appendCallID(out []byte, v field.Value, f *model.Family) []byte {
	if !f.NineLetterIDs || v[0] != '"' {
		return append(out, v...)
	}
	return jsonenc.Quoted(out, nineLetters(v.Unquote()))
}

const alphanumerics = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

func nineLetters(id string) string {
	const n = 9
	if len(id) == n && strings.Trim(id, alphanumerics) == "" {
		return id
	}
	h := fnv.New64a()
	h.Write([]byte(id))
	var short [n]byte
	for i, x := 0, h.Sum64(); i < n; i, x = i+1, x/uint64(len(alphanumerics)) {
		short[i] = alphanumerics[x%uint64(len(alphanumerics))]
	}
	return string(short[:])
}

// rewriteMembers copies object v with the values that rewrite writes.
func rewriteMembers(out []byte, v field.Value, rewrite func(out []byte, name string, v field.Value) ([]byte, error)) ([]byte, error) {
	if v[0] != '{' {
		return nil, v.Want("an object")
	}
	out = append(out, '{')
	for name, v := range v.Members() {
		if out[len(out)-1] != '{' {
			out = append(out, ',')
		}
		out = append(jsonenc.Quoted(out, name), ':')
		var err error
		if out, err = rewrite(out, name, v); err != nil {
			return nil, apierr.At("."+name, err)
		}
	}
	return append(out, '}'), nil
}

func setTemplateKwargs(c *Conversation, v field.Value) error {
	if v[0] != '{' {
		return v.Want("an object")
	}
	if c.Chat.Kwargs == nil { // else a field is read as one of them
		c.Chat.Kwargs = map[string]any{}
	}
	for name, v := range v.Members() {
		x, err := ordered(v)
		if err != nil {
			return apierr.At("."+name, err)
		}
		c.Chat.Kwargs[name] = x
	}
	return nil
}

func setDocuments(c *Conversation, v field.Value) (err error) {
	if v[0] != '[' {
		return v.Want("an array of documents")
	}
	for i, d := range v.Elements() {
		if d[0] != '{' {
			return apierr.At(apierr.Index(i), d.Want("an object"))
		}
	}
	c.Chat.Documents, err = tokenize.DecodeDocuments(v)
	return err
}

package http

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"strings"

	"github.com/troupe-llm/troupe/actors"
	"github.com/troupe-llm/troupe/tokenize/jinja"
)

// ordered decodes JSON for a template, which sees objects' members in the
// order they were sent.
func ordered(v []byte) (any, error) { return jinja.DecodeJSON(v) }

// manyBytes are messages of which it is worth while to ask first whether they can fit.
const manyBytes = 1 << 16

// setFittingMessages is setMessages but for more messages than a context has room for,
// which are refused before they are read, as the engine would refuse them later.
func setFittingMessages(c *call, v raw) error {
	if len(v) > manyBytes && v[0] == '[' && c.family.leastMarks != nil {
		if least := c.family.leastMarks(countRoles(v)); least > c.limits.context {
			return &actors.InputError{
				Param: "messages", TooLong: true,
				Msg: fmt.Sprintf("the prompt has at least %d tokens, but this model's maximum context length is %d, prompt and output", least, c.limits.context),
			}
		}
	}
	return setMessages(c, v)
}

// countRoles counts the messages of users and of assistants that have a text.
func countRoles(v raw) (users, assistants int) {
	for _, m := range v.elements() {
		if m[0] != '{' {
			continue
		}
		role, text := "", false
		for name, v := range m.members() {
			switch {
			case name == "role" && v[0] == '"':
				role = unquote(v)
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

// setMessages checks a chat and makes it what templates are written for:
// contents are strings, or parts for a template that looks into them, the arguments
// of tool calls are objects, or text for a template that wants it, and developers, which is OpenAI's newer word, are
// systems to one that has not heard of them: most leave out a role they do not
// know.
func setMessages(c *call, v raw) error {
	msgs, err := plainMessages(v, c.family)
	if err == nil {
		c.chat.Messages, err = ordered(msgs)
	}
	return err
}

// plainMessages copies the messages, replacing the values that templates
// expect in another form than clients send.
func plainMessages(v raw, f *family) ([]byte, error) {
	if v[0] != '[' {
		return nil, v.want("an array of messages")
	}
	out := append(make([]byte, 0, len(v)), '[')
	for i, m := range v.elements() {
		if i > 0 {
			out = append(out, ',')
		}
		var err error
		if out, err = appendMessage(out, m, f); err != nil {
			return nil, at(index(i), err)
		}
	}
	if len(out) == 1 {
		return nil, errors.New("must not be empty")
	}
	return append(out, ']'), nil
}

func appendMessage(out []byte, m raw, f *family) ([]byte, error) {
	if m[0] != '{' {
		return nil, m.want("a message object")
	}
	role, err := roleOf(m)
	if err != nil {
		return nil, err
	}
	out = append(out, '{')
	var content, others bool // others: what may stand in for the content
	for name, v := range m.members() {
		if v.null() || name == "tool_calls" && v[0] == '[' && v[space(v, 1)] == ']' { // as good as absent
			continue
		}
		if out[len(out)-1] != '{' {
			out = append(out, ',')
		}
		out = append(appendQuoted(out, name), ':')
		var err error
		switch name {
		case "role":
			if role == "developer" && !f.developers {
				v = raw(`"system"`)
			}
			out = append(out, v...)
		case "content":
			content = true
			out, err = appendContent(out, v, f.parts[role])
		case "tool_calls":
			others = true
			out, err = appendToolCalls(out, v, f)
		case "tool_call_id":
			out = f.appendCallID(out, v)
		case "reasoning_content", "reasoning", "thinking":
			others = true
			out = append(out, v...)
		default:
			out = append(out, v...)
		}
		if err != nil {
			return nil, at("."+name, err)
		}
	}
	switch {
	case !content && !others:
		return nil, at(".content", errors.New("required"))
	case !content: // many templates fail without
		out = append(out, `,"content":""`...)
	}
	return append(out, '}'), nil
}

// roleOf reads a message's role, which tells how the rest is to be read.
func roleOf(m raw) (string, error) {
	for name, v := range m.members() {
		if name != "role" {
			continue
		}
		s, err := v.text()
		if err == nil && s == "" {
			err = errors.New("must not be empty")
		}
		if err != nil {
			return "", at(".role", err)
		}
		return s, nil
	}
	return "", at(".role", errors.New("required"))
}

// appendContent leaves a content's text parts to a template that looks into them, and
// joins them with spaces for others, as transformers' own server does.
func appendContent(out []byte, v raw, parts bool) ([]byte, error) {
	switch v[0] {
	case '"':
		return append(out, v...), nil
	case '[':
	default:
		return nil, v.want("a string or an array of text parts")
	}
	var texts []string
	list := append(make([]byte, 0, len(v)), '[')
	for i, part := range v.elements() {
		text, err := textPart(part)
		if err != nil {
			return nil, at(index(i), err)
		}
		texts = append(texts, text)
		if i > 0 {
			list = append(list, ',')
		}
		if part[0] == '"' {
			list = append(append(append(list, `{"type":"text","text":`...), part...), '}')
		} else {
			list = append(list, part...)
		}
	}
	if parts {
		return append(append(out, list...), ']'), nil
	}
	return appendQuoted(out, strings.Join(texts, " ")), nil
}

func textPart(v raw) (text string, err error) {
	if v[0] == '"' {
		return unquote(v), nil
	}
	if v[0] != '{' {
		return "", v.want("a part object")
	}
	kind := ""
	found := false
	for name, v := range v.members() {
		switch name {
		case "type":
			if kind, err = v.text(); err != nil {
				return "", at(".type", err)
			}
		case "text":
			if text, err = v.text(); err != nil {
				return "", at(".text", err)
			}
			found = true
		}
	}
	switch {
	case kind != "text":
		return "", at(".type", fmt.Errorf("%q is not supported, only \"text\" is", kind))
	case !found:
		return "", at(".text", errors.New("required"))
	}
	return text, nil
}

// appendToolCalls turns the arguments of an assistant's earlier calls, which
// OpenAI has as a string of JSON, into the object they stand for, or the other
// way round. Arguments that are no object stay as they are; none are an empty one.
func appendToolCalls(out []byte, v raw, f *family) ([]byte, error) {
	if v[0] != '[' {
		return nil, v.want("an array of tool calls")
	}
	out = append(out, '[')
	for i, call := range v.elements() {
		if i > 0 {
			out = append(out, ',')
		}
		var err error
		out, err = rewriteMembers(out, call, func(out []byte, name string, v raw) ([]byte, error) {
			switch name {
			case "function":
				return appendFunction(out, v, f.textArguments)
			case "id":
				return f.appendCallID(out, v), nil
			}
			return append(out, v...), nil
		})
		if err != nil {
			return nil, at(index(i), err)
		}
	}
	return append(out, ']'), nil
}

// appendFunction copies what was called, with arguments as the template wants them.
func appendFunction(out []byte, v raw, textArguments bool) ([]byte, error) {
	write, given := appendArguments, false
	if textArguments {
		write = appendTextArguments
	}
	out, err := rewriteMembers(out, v, func(out []byte, name string, v raw) ([]byte, error) {
		if name != "arguments" {
			return append(out, v...), nil
		}
		given = true
		if v.null() || v[0] == '"' && strings.TrimSpace(unquote(v)) == "" {
			v = raw("{}")
		}
		return write(out, v), nil
	})
	if err != nil || given {
		return out, err
	}
	out = out[:len(out)-1] // the brace
	if out[len(out)-1] != '{' {
		out = append(out, ',')
	}
	return append(write(append(out, `"arguments":`...), raw("{}")), '}'), nil
}

func appendArguments(out []byte, v raw) []byte {
	if v[0] == '"' {
		if s := unquote(v); strings.HasPrefix(strings.TrimSpace(s), "{") && json.Valid([]byte(s)) {
			return append(out, s...)
		}
	}
	return append(out, v...)
}

func appendTextArguments(out []byte, v raw) []byte {
	if v[0] == '{' {
		return appendQuoted(out, string(v))
	}
	return append(out, v...)
}

// appendCallID writes the id of a tool call, as one of nine letters and digits for a
// template that takes no other: equal ones stay equal.
func (f *family) appendCallID(out []byte, v raw) []byte {
	if !f.nineLetterIDs || v[0] != '"' {
		return append(out, v...)
	}
	return appendQuoted(out, nineLetters(unquote(v)))
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
func rewriteMembers(out []byte, v raw, rewrite func(out []byte, name string, v raw) ([]byte, error)) ([]byte, error) {
	if v[0] != '{' {
		return nil, v.want("an object")
	}
	out = append(out, '{')
	for name, v := range v.members() {
		if out[len(out)-1] != '{' {
			out = append(out, ',')
		}
		out = append(appendQuoted(out, name), ':')
		var err error
		if out, err = rewrite(out, name, v); err != nil {
			return nil, at("."+name, err)
		}
	}
	return append(out, '}'), nil
}

func setTemplateKwargs(c *call, v raw) error {
	if v[0] != '{' {
		return v.want("an object")
	}
	c.chat.Kwargs = map[string]any{}
	for name, v := range v.members() {
		x, err := ordered(v)
		if err != nil {
			return at("."+name, err)
		}
		c.chat.Kwargs[name] = x
	}
	return nil
}

func setDocuments(c *call, v raw) (err error) {
	if v[0] != '[' {
		return v.want("an array of documents")
	}
	for i, d := range v.elements() {
		if d[0] != '{' {
			return at(index(i), d.want("an object"))
		}
	}
	c.chat.Documents, err = ordered(v)
	return err
}

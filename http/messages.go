package http

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/troupe-llm/troupe/tokenize/jinja"
)

// ordered decodes JSON for a template, which sees objects' members in the
// order they were sent.
func ordered(v []byte) (any, error) { return jinja.DecodeJSON(v) }

// setMessages checks a chat and makes it what templates are written for:
// contents are strings, the arguments of tool calls are objects, or text for a
// template that wants it, and developers, which is OpenAI's newer word, are
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
	out = append(out, '{')
	var role, content, calls bool
	for name, v := range m.members() {
		if name == "content" && v.null() {
			continue
		}
		if out[len(out)-1] != '{' {
			out = append(out, ',')
		}
		out = append(appendQuoted(out, name), ':')
		var err error
		switch name {
		case "role":
			var s string
			if s, err = v.text(); err == nil && s == "" {
				err = errors.New("must not be empty")
			}
			role = true
			if s == "developer" && !f.developers {
				v = raw(`"system"`)
			}
			out = append(out, v...)
		case "content":
			content = true
			out, err = appendContent(out, v)
		case "tool_calls":
			calls = calls || !v.null()
			out, err = appendToolCalls(out, v, f.textArguments)
		default:
			out = append(out, v...)
		}
		if err != nil {
			return nil, at("."+name, err)
		}
	}
	switch {
	case !role:
		return nil, at(".role", errors.New("required"))
	case !content && !calls:
		return nil, at(".content", errors.New("required"))
	case !content: // many templates fail without
		out = append(out, `,"content":""`...)
	}
	return append(out, '}'), nil
}

// appendContent joins a content's text parts with newlines.
func appendContent(out []byte, v raw) ([]byte, error) {
	switch v[0] {
	case '"':
		return append(out, v...), nil
	case '[':
	default:
		return nil, v.want("a string or an array of text parts")
	}
	var texts []string
	for i, part := range v.elements() {
		text, err := textPart(part)
		if err != nil {
			return nil, at(index(i), err)
		}
		texts = append(texts, text)
	}
	return appendQuoted(out, strings.Join(texts, "\n")), nil
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
// way round. Arguments that are no object stay as they are.
func appendToolCalls(out []byte, v raw, textArguments bool) ([]byte, error) {
	if v.null() {
		return append(out, v...), nil
	}
	if v[0] != '[' {
		return nil, v.want("an array of tool calls")
	}
	out = append(out, '[')
	write := appendArguments
	if textArguments {
		write = appendTextArguments
	}
	for i, tool := range v.elements() {
		if i > 0 {
			out = append(out, ',')
		}
		var err error
		out, err = replaceMember(out, tool, "function", func(out []byte, f raw) ([]byte, error) {
			return replaceMember(out, f, "arguments", write)
		})
		if err != nil {
			return nil, at(index(i), err)
		}
	}
	return append(out, ']'), nil
}

func appendArguments(out []byte, v raw) ([]byte, error) {
	if v[0] == '"' {
		if s := unquote(v); strings.HasPrefix(strings.TrimSpace(s), "{") && json.Valid([]byte(s)) {
			return append(out, s...), nil
		}
	}
	return append(out, v...), nil
}

func appendTextArguments(out []byte, v raw) ([]byte, error) {
	if v[0] == '{' {
		return appendQuoted(out, string(v)), nil
	}
	return append(out, v...), nil
}

// replaceMember copies object v with one member rewritten.
func replaceMember(out []byte, v raw, which string, rewrite func([]byte, raw) ([]byte, error)) ([]byte, error) {
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
		if name != which {
			out = append(out, v...)
		} else if out, err = rewrite(out, v); err != nil {
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

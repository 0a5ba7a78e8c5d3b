package messages

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/troupe-llm/troupe/http/internal/dialect/apierr"
	"github.com/troupe-llm/troupe/http/internal/dialect/conversation"
	"github.com/troupe-llm/troupe/http/internal/dialect/field"
	"github.com/troupe-llm/troupe/http/internal/dialect/jsonenc"
)

// converse makes what was said messages of a chat. Results of tools, which are
// blocks of a user's here, become messages of their own. A reply goes on with the
// last message when it is the assistant's.
func (r *Request) converse() *apierr.Error {
	out := append(make([]byte, 0, len(r.messages)+len(r.system)), '[')
	if r.system != nil {
		var err error
		if out, err = appendSaid(out, "system", r.system); err != nil {
			return apierr.InField("system", err)
		}
	}
	last := ""
	for i, v := range r.messages.Elements() {
		var err error
		if out, last, err = r.appendMessage(out, v, last); err != nil {
			return apierr.InField("messages"+apierr.Index(i), err)
		}
	}
	if last == "" {
		return apierr.Invalid("messages", "messages: must not be empty")
	}
	if last == "assistant" {
		r.Chat.ContinueFinalMessage, r.Chat.AddGenerationPrompt = true, false
	}
	if err := conversation.SetFittingMessages(&r.Conversation, append(out, ']')); err != nil {
		return apierr.InField("messages", err)
	}
	return nil
}

// appendMessage appends one message, or several, and tells whose it is, as it was
// told of the one before: "called" is an assistant's that calls tools.
func (r *Request) appendMessage(out []byte, v field.Value, last string) ([]byte, string, error) {
	if v[0] != '{' {
		return nil, "", v.Want("a message object")
	}
	var role string
	var content field.Value
	for name, v := range v.Members() {
		var err error
		switch name {
		case "role":
			role, err = v.Text()
		case "content":
			content = v
		default: // what answers have, too, of which this may be one
			err = r.Notes.Ignore("messages." + name)
		}
		if err != nil {
			return nil, "", apierr.At("."+name, err)
		}
	}
	if content == nil || content.Null() {
		return nil, "", apierr.At(".content", errors.New("required"))
	}
	var err error
	switch role {
	case "user":
		out, err = appendUser(out, content, !r.Model.Family.LateSystems)
	case "assistant":
		var called bool
		if out, called, err = appendAssistant(out, content); called {
			role = "called"
		}
	case "system":
		if len(out) > 1 && !r.Model.Family.LateSystems {
			out, err = appendLate(out, content, last)
			role = "user"
			break
		}
		out, err = appendSaid(out, role, content)
	default:
		return nil, "", apierr.At(".role", fmt.Errorf(`must be "user", "assistant" or "system", got %.40q`, role))
	}
	if err != nil {
		return nil, "", apierr.At(".content", err)
	}
	return out, role, nil
}

// open begins a message, up to its content.
func open(out []byte, role string) []byte {
	if out[len(out)-1] != '[' {
		out = append(out, ',')
	}
	return append(append(append(out, `{"role":"`...), role...), `","content":`...)
}

// block is one of a message's content.
type block struct {
	kind   string
	fields map[string]field.Value // but for type, and none that is null
}

func readBlock(v field.Value) (b block, err error) {
	if v[0] != '{' {
		return b, v.Want("a content block, an object")
	}
	b.fields = map[string]field.Value{}
	for name, v := range v.Members() {
		switch {
		case v.Null():
		case name == "type":
			if b.kind, err = v.Text(); err != nil {
				return b, apierr.At(".type", err)
			}
		default:
			b.fields[name] = v
		}
	}
	return b, nil
}

// text reads a field that is a string.
func (b *block) text(name string) (field.Value, error) {
	v := b.fields[name]
	if v == nil {
		return nil, apierr.At("."+name, errors.New("required"))
	}
	return v, at("."+name, kindOf(v, '"', "a string"))
}

// at is apierr.At, but for no error.
func at(path string, err error) error {
	if err == nil {
		return nil
	}
	return apierr.At(path, err)
}

// unfit is why a block cannot be where it is.
func (b *block) unfit(whose string) error {
	switch b.kind {
	case "image":
		return apierr.At(".type", errors.New(`"image" is not supported: the served model reads text`))
	case "document", "search_result", "container_upload":
		return apierr.At(".type", fmt.Errorf("%q is not supported: give its text as a text block", b.kind))
	}
	return apierr.At(".type", fmt.Errorf("%.40q is not supported in %s", b.kind, whose))
}

// eachBlock hands over the blocks of a content that is an array.
func eachBlock(v field.Value, take func(*block) error) error {
	if v[0] != '[' {
		return v.Want("a string or an array of content blocks")
	}
	for i, e := range v.Elements() {
		b, err := readBlock(e)
		if err == nil {
			err = take(&b)
		}
		if err != nil {
			return apierr.At(apierr.Index(i), err)
		}
	}
	return nil
}

// texts are text blocks as parts of a chat's content.
type texts []byte

func (t *texts) add(b *block) error {
	v, err := b.text("text")
	if err != nil {
		return err
	}
	if len(*t) == 0 {
		*t = append(*t, '[')
	} else {
		*t = append(*t, ',')
	}
	*t = append(append(append(*t, `{"type":"text","text":`...), v...), '}')
	return nil
}

// append appends the content that the texts are.
func (t texts) append(out []byte) []byte {
	if len(t) == 0 {
		return append(out, `""`...)
	}
	return append(append(out, t...), ']')
}

// appendSaid appends a message that is only text.
func appendSaid(out []byte, role string, content field.Value) ([]byte, error) {
	if content[0] == '"' {
		return append(append(open(out, role), content...), '}'), nil
	}
	var said texts
	err := eachBlock(content, func(b *block) error {
		if b.kind != "text" {
			return b.unfit("a " + role + " message")
		}
		return said.add(b)
	})
	return append(said.append(open(out, role)), '}'), err
}

// appendLate appends a system's message that comes after others, for a template
// that does not show such: as a user's, or at the end of the user's before it, since
// some templates want users and assistants to take turns.
func appendLate(out []byte, content field.Value, last string) ([]byte, error) {
	const end = "]}" // of a message whose content is parts
	from := len(out)
	if _, err := appendSaid([]byte{'['}, "system", content); err != nil {
		return nil, err
	}
	out, err := appendUser(out, content, true)
	if err != nil || last != "user" || !bytes.HasSuffix(out[:from], []byte(end)) {
		return out, err
	}
	if _, parts, some := bytes.Cut(bytes.Clone(out[from:]), []byte(`"content":[`)); some {
		out = append(append(out[:from-len(end)], ','), parts...)
	}
	return out, nil
}

// appendUser appends what a user says, and before it what tools returned. inParts
// has a string as a part, too.
func appendUser(out []byte, content field.Value, inParts bool) ([]byte, error) {
	switch {
	case content[0] != '"':
	case inParts:
		part := append(append([]byte(`[{"type":"text","text":`), content...), "}]"...)
		return append(append(open(out, "user"), part...), '}'), nil
	default:
		return appendSaid(out, "user", content)
	}
	var said texts
	results := false
	err := eachBlock(content, func(b *block) (err error) {
		switch b.kind {
		case "text":
			return said.add(b)
		case "tool_result":
			results = true
			out, err = b.appendResult(out)
			return err
		}
		return b.unfit("a user's message")
	})
	if len(said) > 0 || !results {
		out = append(said.append(open(out, "user")), '}')
	}
	return out, err
}

// appendResult appends what a tool returned. That it failed is said in the text:
// templates have no other place for it.
func (b *block) appendResult(out []byte) ([]byte, error) {
	id, err := b.text("tool_use_id")
	if err != nil {
		return nil, err
	}
	failed := false
	if v := b.fields["is_error"]; v != nil {
		if failed, err = v.Boolean(); err != nil {
			return nil, apierr.At(".is_error", err)
		}
	}
	var said texts
	if failed {
		said = append(said, `[{"type":"text","text":"Error:"}`...)
	}
	out = open(out, "tool")
	content := b.fields["content"]
	switch {
	case content == nil:
		out = said.append(out)
	case content[0] == '"' && failed:
		out = jsonenc.Quoted(out, "Error: "+content.Unquote())
	case content[0] == '"':
		out = append(out, content...)
	default:
		if err := eachBlock(content, func(part *block) error {
			if part.kind != "text" {
				return part.unfit("a tool's result")
			}
			return said.add(part)
		}); err != nil {
			return nil, apierr.At(".content", err)
		}
		out = said.append(out)
	}
	return append(append(append(out, `,"tool_call_id":`...), id...), '}'), nil
}

// appendAssistant appends a reply: its text, its reasoning, and its calls. What is
// sealed for another server's eyes is left out.
func appendAssistant(out []byte, content field.Value) (_ []byte, called bool, err error) {
	if content[0] == '"' {
		out, err = appendSaid(out, "assistant", content)
		return out, false, err
	}
	var said texts
	var calls []byte
	var reasoning strings.Builder
	err = eachBlock(content, func(b *block) error {
		switch b.kind {
		case "text":
			return said.add(b)
		case "thinking":
			v, err := b.text("thinking")
			if err == nil {
				reasoning.WriteString(v.Unquote())
			}
			return err
		case "redacted_thinking":
			return nil
		case "server_tool_use", "web_search_tool_result", "web_fetch_tool_result", "code_execution_tool_result",
			"bash_code_execution_tool_result", "text_editor_code_execution_tool_result", "tool_search_tool_result":
			return nil // the work of tools that another server ran: see hosted
		case "tool_use":
			calls, err = b.appendCall(calls)
			return err
		}
		return b.unfit("an assistant's message")
	})
	if err != nil {
		return nil, false, err
	}
	out = said.append(open(out, "assistant"))
	if reasoning.Len() > 0 {
		out = jsonenc.Quoted(append(out, `,"reasoning_content":`...), reasoning.String())
	}
	if len(calls) > 0 {
		out = append(append(append(out, `,"tool_calls":[`...), calls...), ']')
	}
	return append(out, '}'), len(calls) > 0, nil
}

func (b *block) appendCall(out []byte) ([]byte, error) {
	id, err := b.text("id")
	if err != nil {
		return nil, err
	}
	name, err := b.text("name")
	if err != nil {
		return nil, err
	}
	input := b.fields["input"]
	if input == nil {
		input = field.Value("{}")
	}
	if input[0] != '{' {
		return nil, apierr.At(".input", input.Want("an object"))
	}
	if len(out) > 0 {
		out = append(out, ',')
	}
	out = append(append(out, `{"id":`...), id...)
	out = append(append(out, `,"type":"function","function":{"name":`...), name...)
	return append(append(append(out, `,"arguments":`...), input...), "}}"...), nil
}

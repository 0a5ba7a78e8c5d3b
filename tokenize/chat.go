package tokenize

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/troupe-llm/troupe/tokenize/jinja"
)

// Chat is a conversation to be written out as a prompt by the model's template.
type Chat struct {
	Messages  []Message
	Tools     []Tool     // nil: none
	Documents []Document // nil: none

	AddGenerationPrompt  bool // end with the header of the assistant's answer
	ContinueFinalMessage bool // or leave the last message open, for the model to go on

	Kwargs   map[string]any // further variables, such as enable_thinking
	Template string         // name of a template; "": the model's choice
}

// ChatTemplates are the chat templates of one model. They never change and may
// be used by any number of goroutines at once.
type ChatTemplates struct {
	named   map[string]*chatTemplate
	special map[string]any // bos_token, eos_token, …
	now     func() time.Time
	limits  jinja.Limits

	arguments *arguments // nil: as they are given
}

type chatTemplate struct {
	source string
	tmpl   *jinja.Template
	err    error // why it cannot be parsed; reported by whoever wants to use it
}

// ChatError is a conversation that the template, or transformers' rules about
// conversations, do not allow: the client's mistake. A complaint of the template
// itself is a *jinja.RaisedError instead.
type ChatError struct{ Msg string }

func (e *ChatError) Error() string { return e.Msg }

func chatErr(format string, args ...any) error { return &ChatError{fmt.Sprintf(format, args...)} }

// WithClock returns a copy whose strftime_now tells another time.
func (c *ChatTemplates) WithClock(now func() time.Time) *ChatTemplates {
	o := *c
	o.now = now
	return &o
}

// Names lists the templates, sorted; a model with one has "default".
func (c *ChatTemplates) Names() []string { return sortedKeys(c.named) }

// pick chooses a template as transformers does: the one asked for, "tool_use"
// when there are tools and it exists, else "default".
func (c *ChatTemplates) pick(name string, tools bool) (*chatTemplate, error) {
	if c == nil || len(c.named) == 0 {
		return nil, chatErr("the model has no chat template")
	}
	if name != "" {
		if t := c.named[name]; t != nil {
			return t, nil
		}
		return nil, chatErr("no chat template is named %q; there are: %s", name, strings.Join(c.Names(), ", "))
	}
	if t := c.named["tool_use"]; t != nil && tools {
		return t, nil
	}
	if t := c.named["default"]; t != nil {
		return t, nil
	}
	return nil, chatErr("the model has several chat templates and no default; name one of: %s", strings.Join(c.Names(), ", "))
}

// Render writes the conversation as a prompt. Errors are the client's to fix:
// *ChatError, *jinja.Error or, in the template's own words, *jinja.RaisedError.
func (c *ChatTemplates) Render(chat Chat) (string, error) {
	t, err := c.pick(chat.Template, chat.Tools != nil)
	if err != nil {
		return "", err
	}
	if t.err != nil {
		return "", t.err
	}
	messages, err := c.read(chat.Messages)
	if err != nil {
		return "", err
	}
	var last string // content of the message to be continued
	if chat.ContinueFinalMessage {
		if chat.AddGenerationPrompt {
			return "", chatErr("continue_final_message and add_generation_prompt exclude one another")
		}
		if last, err = tagLast(messages, t.source); err != nil {
			return "", err
		}
	}
	vars := make(map[string]any, len(c.special)+len(chat.Kwargs)+4)
	for k, v := range c.special {
		vars[k] = v
	}
	for k, v := range chat.Kwargs {
		switch k {
		case "messages", "tools", "documents", "add_generation_prompt":
			return "", chatErr("%s cannot be given as a template argument", k)
		}
		vars[k] = v
	}
	vars["messages"], vars["tools"], vars["documents"] = messages, values(chat.Tools), values(chat.Documents)
	vars["add_generation_prompt"] = chat.AddGenerationPrompt
	text, err := t.tmpl.Render(vars, jinja.Options{Limits: c.limits, Now: c.now})
	if err != nil || !chat.ContinueFinalMessage {
		return text, err
	}
	return cutTag(text, last)
}

// reasoning lists the names a message's reasoning goes by; templates read the
// first or the second.
var reasoning = []string{"reasoning_content", "thinking", "reasoning"}

// read copies the messages' outer level, leaving out keys that are None, giving reasoning both of the
// names templates know it by, and the arguments of calls the form that this template wants.
func (c *ChatTemplates) read(messages []Message) ([]any, error) {
	if len(messages) == 0 {
		return nil, chatErr("messages is empty: a conversation has at least one message")
	}
	out := make([]any, len(messages))
	for i, m := range messages {
		if m.dict == nil {
			return nil, chatErr("messages[%d] is empty", i)
		}
		d := readMessage(m.dict)
		if calls, _ := d.Get("tool_calls"); calls != nil && c.arguments != nil {
			d.Set("tool_calls", c.arguments.of(calls))
		}
		out[i] = d
	}
	return out, nil
}

func readMessage(m *jinja.Dict) *jinja.Dict {
	var thought any
	for _, name := range reasoning {
		if v, _ := m.Get(name); v != nil {
			thought = v
			break
		}
	}
	out := jinja.NewDict(m.Len() + 1)
	if t, _ := m.Get("thinking"); thought != nil && t == nil {
		out.Set("thinking", thought)
	}
	for i := range m.Len() {
		if k, v := m.At(i); v != nil {
			out.Set(k.(string), v)
		}
	}
	if thought != nil {
		out.Set("reasoning_content", thought)
	}
	return out
}

// continueTag marks, in the rendered text, where the last message ends. It ends
// in a space to tell whether the template strips what it is given.
const continueTag = "CONTINUE_FINAL_MESSAGE_TAG "

// tagLast marks the end of the last message's text and returns that text.
func tagLast(messages []any, source string) (string, error) {
	m := messages[len(messages)-1].(*jinja.Dict)
	if !strings.Contains(source, "content") {
		return "", chatErr("continue_final_message: the template does not use the messages' content")
	}
	content, _ := m.Get("content")
	switch c := content.(type) {
	case string:
		m.Set("content", c+continueTag)
		return c, nil
	case []any:
		for i := len(c) - 1; i >= 0; i-- {
			block, ok := c[i].(*jinja.Dict)
			if !ok {
				continue
			}
			text, ok := block.Get("text")
			if s, isText := text.(string); ok && isText {
				tagged := jinja.NewDict(block.Len())
				for j := range block.Len() {
					k, v := block.At(j)
					tagged.Set(k.(string), v)
				}
				tagged.Set("text", s+continueTag)
				blocks := append([]any(nil), c...)
				blocks[i] = tagged
				m.Set("content", blocks)
				return s, nil
			}
		}
	}
	return "", chatErr("continue_final_message: the last message has no text to continue")
}

// cutTag ends the rendered text where the last message does.
func cutTag(text, last string) (string, error) {
	bare := strings.TrimSpace(continueTag)
	i := strings.LastIndex(text, bare)
	if i < 0 || !strings.Contains(text, strings.TrimFunc(last, unicode.IsSpace)) {
		return "", chatErr("continue_final_message: the template changes or drops the last message, so it cannot be continued")
	}
	if strings.HasPrefix(text[i:], continueTag) {
		return text[:i], nil
	}
	return strings.TrimRightFunc(text[:i], unicode.IsSpace), nil
}

// IsChatError reports whether an error of Render is one of the kinds it names,
// as all are.
func IsChatError(err error) bool {
	var c *ChatError
	var j *jinja.Error
	var r *jinja.RaisedError
	return errors.As(err, &c) || errors.As(err, &j) || errors.As(err, &r)
}

// Render writes a conversation as the model's chat template does. Its errors
// are those of ChatTemplates.Render.
func (t *Tokenizer) Render(c Chat) (string, error) { return t.chat.Render(c) }

// HasChatTemplate reports whether the model came with a chat template.
func (t *Tokenizer) HasChatTemplate() bool { return t.chat != nil && len(t.chat.named) > 0 }

// ChatTemplates are the model's own.
func (t *Tokenizer) ChatTemplates() *ChatTemplates { return t.chat }

// Named is the special token that the model's configuration has under a name such
// as "eos_token"; "" when there is none.
func (t *Tokenizer) Named(name string) string {
	if t.chat == nil {
		return ""
	}
	token, _ := t.chat.special[name].(string)
	return token
}

// ChatTemplate is the source of the template that a conversation with or
// without tools is written by; "" when there is none.
func (t *Tokenizer) ChatTemplate(tools bool) string {
	c, err := t.chat.pick("", tools)
	if err != nil {
		return ""
	}
	return c.source
}

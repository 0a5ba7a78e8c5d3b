package tokenize

import (
	"slices"
	"strings"

	"github.com/troupe-llm/troupe/tokenize/jinja"
)

// TextArguments reports whether the model's template wants the arguments of an
// assistant's earlier tool calls as OpenAI's API has them, JSON in a string.
// Most templates are written for the object that it stands for. Which it is
// shows when both are tried: only one of them comes out as JSON.
func (c *ChatTemplates) TextArguments() bool {
	const object = `{"city": "Oslo"}`
	return !c.writesCall(object, object) && c.writesCall(`"{\"city\": \"Oslo\"}"`, object)
}

// writesCall reports whether a call with these arguments shows, and nothing
// that a quoted string or a dictionary of Python's would look like.
func (c *ChatTemplates) writesCall(arguments, want string) bool {
	text, err := c.try(callMessages("abcdefghi", arguments, `"No."`))
	return err == nil && strings.Contains(strings.Join(strings.Fields(text), " "), want)
}

// trialLimits are what finding out about a template, while a model is opened, may
// cost: some hundred times what published ones need for so short a chat.
var trialLimits = jinja.Limits{Output: 1 << 20, Alloc: 16 << 20, Steps: 200_000}

// try renders messages to see what becomes of them.
func (c *ChatTemplates) try(messages []Message) (string, error) {
	if c == nil {
		return "", chatErr("the model has no chat template")
	}
	return c.tryWith(messages, nil)
}

func (c *ChatTemplates) tryWith(messages []Message, tools []Tool) (string, error) {
	trial := *c
	trial.limits, trial.arguments = trialLimits, nil // as they are
	return trial.Render(Chat{Messages: messages, Tools: tools})
}

// NineLetterIDs reports whether the template refuses ids of tool calls but those of
// nine letters and digits, as Mistral's do.
func (c *ChatTemplates) NineLetterIDs() bool {
	renders := func(id string) bool {
		_, err := c.try(callMessages(id, `{"city": "Oslo"}`, `"No."`))
		return err == nil
	}
	return !renders("call_0123456789abcdefghijkl") && renders("abcdefghi")
}

// ContentParts lists the roles of whose messages the template looks into a content's
// parts, all of them. Others would write such a list as Python does, or fail.
func (c *ChatTemplates) ContentParts() map[string]bool {
	const parts = `[{"type": "text", "text": "1stPart"}, {"type": "text", "text": "2ndPart"}]`
	chats := map[string][]Message{
		"system":    decoded(`[{"role": "system", "content": ` + parts + `}, {"role": "user", "content": "Rain?"}]`),
		"user":      decoded(`[{"role": "user", "content": ` + parts + `}]`),
		"assistant": decoded(`[{"role": "user", "content": "Rain?"}, {"role": "assistant", "content": ` + parts + `}, {"role": "user", "content": "Snow?"}]`),
		"tool":      callMessages("abcdefghi", `{"city": "Oslo"}`, parts),
	}
	all := map[string]bool{}
	for role, messages := range chats {
		text, err := c.try(messages)
		whole := err == nil
		for _, part := range []string{"1stPart", "2ndPart"} {
			whole = whole && strings.Contains(text, part) && !strings.Contains(text, "'"+part+"'") && !strings.Contains(text, `"`+part+`"`)
		}
		if whole {
			all[role] = true
		}
	}
	if all["system"] {
		all["developer"] = true
	}
	return all
}

// LateSystems reports whether the template shows a system's message that comes after
// others. Templates that do not leave it out, or fail.
func (c *ChatTemplates) LateSystems() bool {
	text, err := c.try(decoded(`[{"role": "user", "content": "Rain?"}, {"role": "system", "content": "lateWord"}]`))
	return err == nil && strings.Contains(text, "lateWord")
}

// Alternates reports whether the template refuses two messages of users in a row, as
// Mistral's and Gemma's do.
func (c *ChatTemplates) Alternates() bool {
	renders := func(messages string) bool {
		_, err := c.try(decoded(messages))
		return err == nil
	}
	const one, two = `{"role": "user", "content": "Rain?"}`, `{"role": "user", "content": "Snow?"}`
	return !renders(`[`+one+`,`+two+`]`) && renders(`[`+one+`]`)
}

// WholeTools reports whether the template refuses tools without a description, or
// without parameters, which OpenAI's API does not ask for.
func (c *ChatTemplates) WholeTools() bool {
	renders := func(more string) bool {
		if c == nil {
			return false
		}
		tools := constant(DecodeTools, `[{"type": "function", "function": {"name": "weather"`+more+`}}]`)
		_, err := c.tryWith(decoded(`[{"role": "user", "content": "Rain?"}]`), tools)
		return err == nil
	}
	return !renders("") && renders(`, "description": "", "parameters": {"type": "object", "properties": {}}`)
}

// callMessages are a conversation with a call and its result, given as JSON.
func callMessages(id, arguments, result string) []Message {
	return decoded(`[{"role": "user", "content": "Rain?"}, {"role": "assistant", "content": "",
		"tool_calls": [{"id": "` + id + `", "type": "function", "function": {"name": "weather", "arguments": ` + arguments + `}}]},
		{"role": "tool", "tool_call_id": "` + id + `", "name": "weather", "content": ` + result + `}]`)
}

func decoded(text string) []Message { return constant(DecodeMessages, text) }

func constant[T any](decode func([]byte) ([]T, error), text string) []T {
	v, err := decode([]byte(text))
	if err != nil {
		panic(err) // a constant
	}
	return v
}

// arguments are in which form a model's template wants those of calls.
type arguments struct{ text func() bool }

// of are calls in which they are so: an object for most templates, whether they came as that or as the
// text that OpenAI's API has; the text for one that wants it. What is no object stays as it is.
func (a *arguments) of(calls any) any {
	list, is := calls.([]any)
	if !is {
		return calls
	}
	out := slices.Clone(list)
	for i, c := range out {
		call, _ := c.(*jinja.Dict)
		if call == nil {
			continue
		}
		v, _ := call.Get("function")
		function, _ := v.(*jinja.Dict)
		if function == nil {
			continue
		}
		given, _ := function.Get("arguments")
		if wanted, other := a.form(given); other {
			out[i] = Object{call}.With("function", Object{function}.With("arguments", wanted)).dict
		}
	}
	return out
}

// form is the other form of arguments, where that is the one that is wanted.
func (a *arguments) form(given any) (wanted any, other bool) {
	switch v := given.(type) {
	case *jinja.Dict:
		if !a.text() {
			return nil, false
		}
		text, err := Object{v}.MarshalJSON()
		return string(text), err == nil
	case string:
		var o Object
		if !strings.HasPrefix(strings.TrimSpace(v), "{") || a.text() || o.UnmarshalJSON([]byte(v)) != nil {
			return nil, false
		}
		return o.dict, true
	}
	return nil, false
}

// NineLetterIDs is the templates'.
func (t *Tokenizer) NineLetterIDs() bool { return t.chat.NineLetterIDs() }

// ContentParts is the templates'.
func (t *Tokenizer) ContentParts() map[string]bool { return t.chat.ContentParts() }

// LateSystems is the templates'.
func (t *Tokenizer) LateSystems() bool { return t.chat.LateSystems() }

// Alternates is the templates'.
func (t *Tokenizer) Alternates() bool { return t.chat.Alternates() }

// WholeTools is the templates'.
func (t *Tokenizer) WholeTools() bool { return t.chat.WholeTools() }

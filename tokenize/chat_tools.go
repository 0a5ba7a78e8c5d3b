package tokenize

import (
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
	messages, err := jinja.DecodeJSON([]byte(`[{"role": "user", "content": "Rain?"}, {"role": "assistant", "content": "",
		"tool_calls": [{"id": "abcdefghi", "type": "function", "function": {"name": "weather", "arguments": ` + arguments + `}}]},
		{"role": "tool", "tool_call_id": "abcdefghi", "name": "weather", "content": "No."}]`))
	if err != nil {
		panic(err) // a constant
	}
	text, err := c.try(messages)
	return err == nil && strings.Contains(strings.Join(strings.Fields(text), " "), want)
}

// trialLimits are what finding out about a template, while a model is opened, may
// cost: some hundred times what published ones need for so short a chat.
var trialLimits = jinja.Limits{Output: 1 << 20, Alloc: 16 << 20, Steps: 200_000}

// try renders messages to see what becomes of them.
func (c *ChatTemplates) try(messages any) (string, error) {
	if c == nil {
		return "", chatErr("the model has no chat template")
	}
	trial := *c
	trial.limits = trialLimits
	return trial.Render(Chat{Messages: messages})
}

// TextArguments is the templates'.
func (t *Tokenizer) TextArguments() bool { return t.chat.TextArguments() }

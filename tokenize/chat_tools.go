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
	text, err := c.Render(Chat{Messages: messages})
	return err == nil && strings.Contains(strings.Join(strings.Fields(text), " "), want)
}

// TextArguments is the templates'.
func (t *Tokenizer) TextArguments() bool { return t.chat.TextArguments() }

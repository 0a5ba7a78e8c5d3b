package tokenize

import (
	"fmt"

	"github.com/troupe-llm/troupe/tokenize/jinja"
)

// Object is a JSON object that a template reads, with its members in the order they were given: a template
// may read any of them, and shows some as they are. It does not change. The zero Object is none.
type Object struct{ dict *jinja.Dict }

// NewObject is the object that a template's value is; nobody changes that from then on.
func NewObject(d *jinja.Dict) Object { return Object{d} }

// Get is a member as templates have it, nil where there is none: a string, bool, int64, float64,
// []any or *jinja.Dict.
func (o Object) Get(name string) any {
	if o.dict == nil {
		return nil
	}
	v, _ := o.dict.Get(name)
	return v
}

// Text is a member that is a string, "" where there is none.
func (o Object) Text(name string) string {
	s, _ := o.Get(name).(string)
	return s
}

// With is a copy in which a member is another value: an Object, or what jinja.FromGo knows.
func (o Object) With(name string, value any) Object {
	if of, is := value.(Object); is {
		value = of.dict
	}
	d := jinja.NewDict(1)
	if o.dict != nil {
		d = o.dict.Clone()
	}
	d.Set(name, value)
	return Object{d}
}

// UnmarshalJSON reads an object.
func (o *Object) UnmarshalJSON(data []byte) error {
	v, err := jinja.DecodeJSON(data)
	if err != nil {
		return err
	}
	d, is := v.(*jinja.Dict)
	if !is {
		return fmt.Errorf("an object was expected, got %.40s", data)
	}
	o.dict = d
	return nil
}

// MarshalJSON writes the members in their order.
func (o Object) MarshalJSON() ([]byte, error) {
	if o.dict == nil {
		return []byte("{}"), nil
	}
	text, err := asJSON.Render(map[string]any{"o": o.dict}, jinja.Options{})
	return []byte(text), err
}

var asJSON = func() *jinja.Template {
	t, err := jinja.Parse("JSON", "{{ o | tojson }}")
	if err != nil {
		panic(err) // a constant
	}
	return t
}()

// Message is what one said in a conversation, as OpenAI's chat API has it: role, content (a string, or
// parts), an assistant's tool_calls and reasoning_content, a tool's tool_call_id.
// From JSON it is read with json.Unmarshal or DecodeMessages.
type Message struct{ Object }

// Tool is one that a model may call, as OpenAI's chat API has it.
type Tool struct{ Object }

// Document is one that a template shows, for models that answer from documents.
type Document struct{ Object }

// ToolCall is how an assistant calls a tool.
type ToolCall struct {
	ID        string
	Name      string
	Arguments string // JSON, an object
}

// NewChat is a conversation in which it is the model's turn.
func NewChat(messages ...Message) *Chat {
	return &Chat{Messages: messages, AddGenerationPrompt: true}
}

// SystemMessage says how the assistant is to behave.
func SystemMessage(text string) Message { return message("system", text) }

// UserMessage is what a user says.
func UserMessage(text string) Message { return message("user", text) }

// AssistantMessage is what the model said, and which tools it called.
func AssistantMessage(text string, calls ...ToolCall) Message {
	m := message("assistant", text)
	if len(calls) == 0 {
		return m
	}
	list := make([]any, len(calls))
	for i, c := range calls {
		function := object("name", c.Name, "arguments", c.Arguments)
		list[i] = object("id", c.ID, "type", "function", "function", function)
	}
	m.dict.Set("tool_calls", list)
	return m
}

// ToolMessage is what the tool of the call with this ID returned.
func ToolMessage(id, text string) Message {
	m := message("tool", text)
	m.dict.Set("tool_call_id", id)
	return m
}

func message(role, text string) Message {
	return Message{Object{object("role", role, "content", text)}}
}

// FunctionTool is a function with parameters by a JSON schema, an object; empty: it has none.
func FunctionTool(name, description, parameters string) (Tool, error) {
	if parameters == "" {
		parameters = `{"type": "object", "properties": {}}`
	}
	var schema Object
	if err := schema.UnmarshalJSON([]byte(parameters)); err != nil {
		return Tool{}, fmt.Errorf("the parameters of %s: %w", name, err)
	}
	function := object("name", name, "description", description, "parameters", schema.dict)
	return Tool{Object{object("type", "function", "function", function)}}, nil
}

// object is a Dict of names, each with its value.
func object(members ...any) *jinja.Dict {
	d := jinja.NewDict(len(members) / 2)
	for i := 0; i < len(members); i += 2 {
		d.Set(members[i].(string), members[i+1])
	}
	return d
}

// DecodeMessages reads a list of messages, JSON.
func DecodeMessages(data []byte) ([]Message, error) { return decodeList[Message](data, "messages") }

// DecodeTools reads a list of tools, JSON.
func DecodeTools(data []byte) ([]Tool, error) { return decodeList[Tool](data, "tools") }

// DecodeDocuments reads a list of documents, JSON.
func DecodeDocuments(data []byte) ([]Document, error) {
	return decodeList[Document](data, "documents")
}

func decodeList[T ~struct{ Object }](data []byte, what string) ([]T, error) {
	v, err := jinja.DecodeJSON(data)
	if err != nil {
		return nil, chatErr("%s: %v", what, err)
	}
	return ListOf[T](v, what)
}

// ListOf takes a template's value for a list of objects; what names it in errors, which are *ChatError.
func ListOf[T ~struct{ Object }](v any, what string) ([]T, error) {
	list, is := v.([]any)
	if !is {
		return nil, chatErr("%s must be a list of objects", what)
	}
	out := make([]T, len(list))
	for i, x := range list {
		d, is := x.(*jinja.Dict)
		if !is {
			return nil, chatErr("%s[%d] is not an object", what, i)
		}
		out[i] = T(struct{ Object }{Object{d}})
	}
	return out, nil
}

// values are objects as a template has them; None where there is no list.
func values[T ~struct{ Object }](objects []T) any {
	if objects == nil {
		return nil
	}
	out := make([]any, len(objects))
	for i, o := range objects {
		out[i] = struct{ Object }(o).dict
	}
	return out
}

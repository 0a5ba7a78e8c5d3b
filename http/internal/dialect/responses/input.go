package responses

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/troupe-llm/troupe/http/internal/dialect/apierr"
	"github.com/troupe-llm/troupe/http/internal/dialect/field"
	"github.com/troupe-llm/troupe/http/internal/dialect/jsonenc"
)

// setInput copies the items; what they are is read once all fields are known. A
// string is what a user says. Each gets an id, by which it can be asked for and
// referred to.
func setInput(r *Request, v field.Value) error {
	r.given, r.items = true, nil
	switch v[0] {
	case '"':
		text := append([]byte(`{"type":"message","role":"user","content":[{"type":"input_text","text":`), v...)
		r.items = append(r.items, identified(append(text, `}],"status":"completed"}`...)))
	case '[':
		for i, e := range v.Elements() {
			if e[0] != '{' {
				return apierr.At(apierr.Index(i), e.Want("an item, an object"))
			}
			r.items = append(r.items, identified(e))
		}
	default:
		return v.Want("a string or an array of items")
	}
	return nil
}

// identified is a copy of an item, with an id and a status if it had none.
func identified(v field.Value) field.Value {
	m := membersOf(v)
	kind, id := m.text("type"), m.text("id")
	if id == "" {
		id = prefixOf(kind) + rand.Text()
	}
	out := jsonenc.Quoted([]byte(`{"id":`), id)
	for name, v := range v.Members() {
		if name != "id" && (name != "status" || !v.Null()) {
			out = append(append(jsonenc.Quoted(append(out, ','), name), ':'), v...)
		}
	}
	if m["status"] == nil && kind != "item_reference" {
		out = append(out, `,"status":"completed"`...)
	}
	return append(out, '}')
}

// prefixOf is how ids of items of a type begin.
func prefixOf(kind string) string {
	switch kind {
	case "reasoning":
		return "rs_"
	case "function_call", "function_call_output":
		return "fc_"
	case "custom_tool_call", "custom_tool_call_output":
		return "ctc_"
	}
	return "msg_"
}

// members are an object's, the last of a name; null ones are absent.
type members map[string]field.Value

func membersOf(v field.Value) members {
	m := members{}
	for name, v := range v.Members() {
		if delete(m, name); !v.Null() {
			m[name] = v
		}
	}
	return m
}

// text is a member that should be a string, "" when it is none.
func (m members) text(name string) string {
	if v := m[name]; v != nil && v[0] == '"' {
		return v.Unquote()
	}
	return ""
}

// required is a member that has to be a string with something in it.
func (m members) required(name string) (string, error) {
	v := m[name]
	if v == nil {
		return "", apierr.At("."+name, errors.New("required"))
	}
	s, err := v.Text()
	if err == nil && s == "" {
		err = errors.New("must not be empty")
	}
	if err != nil {
		return "", apierr.At("."+name, err)
	}
	return s, nil
}

// chatWriter makes items messages of a chat: what an assistant thought, said and
// called at once is one message there, and several items here.
type chatWriter struct {
	out []byte

	named map[string]field.Value // items so far, by their ids
	store *Store                 // has more, of who asks
	owner string

	lead []string // what systems say before anyone else does: one message, as most templates want it
	role string   // of lead
	turn turn
}

// turn is an assistant's message that is being put together.
type turn struct {
	reasoning []string
	content   []string // nil: none yet
	calls     []byte   // JSON, separated by commas
}

// hosted are types of items that are another server's own work: tools that it
// ran itself. A conversation that goes on here does without them.
var hosted = []string{
	"web_search_call", "file_search_call", "code_interpreter_call", "image_generation_call", "computer_call", "computer_call_output",
	"mcp_call", "mcp_list_tools", "mcp_approval_request", "mcp_approval_response", "tool_search_call", "tool_search_output",
}

// resolve is an item, or the one that it refers to: of those before it, or of what
// responses made that are kept.
func (c *chatWriter) resolve(v field.Value) (field.Value, error) {
	m := membersOf(v)
	if m.text("type") != "item_reference" {
		c.named[m.text("id")] = v
		return v, nil
	}
	id, err := m.required("id")
	if err != nil {
		return nil, err
	}
	if v = c.named[id]; v == nil {
		v = c.store.item(id, c.owner)
	}
	if v == nil {
		return nil, apierr.At(".id", fmt.Errorf("no item has the id %q: none of the request, nor of a response that is kept", id))
	}
	return v, nil
}

// item adds one.
func (c *chatWriter) item(v field.Value) error {
	m := membersOf(v)
	kind := "message"
	if t := m["type"]; t != nil {
		var err error
		if kind, err = t.Text(); err != nil {
			return apierr.At(".type", err)
		}
	}
	switch kind {
	case "message":
		return c.message(m)
	case "reasoning":
		return c.reasoning(m)
	case "function_call":
		return c.call(m, "arguments")
	case "custom_tool_call":
		return c.call(m, "input")
	case "function_call_output", "custom_tool_call_output":
		return c.output(m)
	}
	if slices.Contains(hosted, kind) {
		return nil
	}
	return apierr.At(".type", fmt.Errorf("%q is not supported", kind))
}

func (c *chatWriter) message(m members) error {
	role, err := m.required("role")
	if err != nil {
		return err
	}
	texts, err := contents(m, "content")
	if err != nil {
		return err
	}
	switch role {
	case "assistant":
		if c.turn.content != nil || c.turn.calls != nil {
			c.flush()
		}
		c.turn.content = texts
	case "system", "developer":
		c.system(role, strings.Join(texts, "\n\n"))
	case "user":
		c.write(role, texts, "")
	default:
		return apierr.At(".role", fmt.Errorf(`must be "user", "assistant", "system" or "developer", got %q`, role))
	}
	return nil
}

// contents are the texts of a content: a string, or an array of parts.
func contents(m members, name string) ([]string, error) {
	v := m[name]
	switch {
	case v == nil:
		return nil, apierr.At("."+name, errors.New("required"))
	case v[0] == '"':
		return []string{v.Unquote()}, nil
	case v[0] != '[':
		return nil, apierr.At("."+name, v.Want("a string or an array of parts"))
	}
	texts := []string{}
	for i, part := range v.Elements() {
		text, err := partText(part)
		if err != nil {
			return nil, apierr.At("."+name+apierr.Index(i), err)
		}
		texts = append(texts, text)
	}
	return texts, nil
}

func partText(v field.Value) (string, error) {
	if v[0] != '{' {
		return "", v.Want("a part, an object")
	}
	m := membersOf(v)
	kind, err := m.required("type")
	if err != nil {
		return "", err
	}
	of := "text"
	switch kind {
	case "input_text", "output_text", "text", "summary_text", "reasoning_text":
	case "refusal":
		of = "refusal"
	default:
		return "", apierr.At(".type", fmt.Errorf("%q is not supported: the served model reads text", kind))
	}
	if m[of] == nil {
		return "", apierr.At("."+of, errors.New("required"))
	}
	text, err := m[of].Text()
	if err != nil {
		return "", apierr.At("."+of, err)
	}
	return text, nil
}

// sealMark begins what this server writes as encrypted_content: the text of
// reasoning, for clients that send back nothing else of it.
const sealMark = "troupe.1."

func seal(text []byte) string { return sealMark + base64.RawURLEncoding.EncodeToString(text) }

// unseal is the text, false when another server wrote it.
func unseal(sealed string) (string, bool) {
	text, is := strings.CutPrefix(sealed, sealMark)
	plain, err := base64.RawURLEncoding.DecodeString(text)
	return string(plain), is && err == nil
}

// reasoning goes with what the assistant says next: its text, if this server or
// another that shows it wrote that, else its summary.
func (c *chatWriter) reasoning(m members) error {
	if c.turn.content != nil || c.turn.calls != nil {
		c.flush()
	}
	texts := []string{}
	var err error
	for _, name := range []string{"content", "summary"} {
		if m[name] == nil || len(texts) > 0 {
			continue
		}
		if texts, err = contents(m, name); err != nil {
			return err
		}
	}
	if m["content"] == nil || m["content"].Null() || len(texts) == 0 {
		if plain, is := unseal(m.text("encrypted_content")); is {
			texts = []string{plain}
		}
	}
	c.turn.reasoning = append(c.turn.reasoning, texts...)
	return nil
}

// call adds a call of a tool, whose arguments are in this member; a custom tool's
// is a text, which is its only argument (see tools.go).
func (c *chatWriter) call(m members, arguments string) error {
	id, err := m.required("call_id")
	if err != nil {
		return err
	}
	name, err := m.required("name")
	if err != nil {
		return err
	}
	given := m[arguments]
	switch {
	case given == nil:
		given = field.Value(`""`)
	case given[0] != '"':
		return apierr.At("."+arguments, given.Want("a string"))
	}
	if arguments == "input" {
		given = jsonenc.Quoted(nil, customArguments(given))
	}
	calls := c.turn.calls
	if calls != nil {
		calls = append(calls, ',')
	}
	calls = jsonenc.Quoted(append(calls, `{"id":`...), id)
	calls = jsonenc.Quoted(append(calls, `,"type":"function","function":{"name":`...), chatName(m.text("namespace"), name))
	c.turn.calls = append(append(append(calls, `,"arguments":`...), given...), "}}"...)
	return nil
}

func (c *chatWriter) output(m members) error {
	id, err := m.required("call_id")
	if err != nil {
		return err
	}
	texts, err := contents(m, "output")
	if err != nil {
		return err
	}
	c.write("tool", texts, id)
	return nil
}

// system adds what the system, or a developer, says.
func (c *chatWriter) system(role, text string) {
	if c.out != nil || c.turn.open() {
		c.write(role, []string{text}, "")
		return
	}
	if c.lead == nil {
		c.role = role
	}
	c.lead = append(c.lead, text)
}

func (t *turn) open() bool { return t.reasoning != nil || t.content != nil || t.calls != nil }

// write adds a message that is not an assistant's; id is of the call that a tool
// answers.
func (c *chatWriter) write(role string, texts []string, id string) {
	c.flush()
	c.begin(role)
	c.content(texts)
	if id != "" {
		c.out = jsonenc.Quoted(append(c.out, `,"tool_call_id":`...), id)
	}
	c.out = append(c.out, '}')
}

// begin begins a message.
func (c *chatWriter) begin(role string) {
	if lead := c.lead; lead != nil {
		c.lead = nil
		c.begin(c.role)
		c.content([]string{strings.Join(lead, "\n\n")})
		c.out = append(c.out, '}')
	}
	if c.out = append(c.out, ','); len(c.out) == 1 {
		c.out[0] = '['
	}
	c.out = jsonenc.Quoted(append(c.out, `{"role":`...), role)
}

// content adds a string, or parts, which some templates want to see.
func (c *chatWriter) content(texts []string) {
	c.out = append(c.out, `,"content":`...)
	if len(texts) == 1 {
		c.out = jsonenc.Quoted(c.out, texts[0])
		return
	}
	c.out = append(c.out, '[')
	for i, text := range texts {
		c.out = jsonenc.Quoted(append(jsonenc.Comma(c.out, i), `{"type":"text","text":`...), text)
		c.out = append(c.out, '}')
	}
	c.out = append(c.out, ']')
}

// flush writes the assistant's message, if there is one.
func (c *chatWriter) flush() {
	t := c.turn
	if c.turn = (turn{}); t.content == nil && t.calls == nil {
		if t.reasoning == nil {
			return
		}
		t.content = []string{""} // it thought, and was cut off
	}
	c.begin("assistant")
	if t.content != nil {
		c.content(t.content)
	}
	if len(t.reasoning) > 0 {
		c.out = jsonenc.Quoted(append(c.out, `,"reasoning_content":`...), strings.Join(t.reasoning, "\n\n"))
	}
	if t.calls != nil {
		c.out = append(append(append(c.out, `,"tool_calls":[`...), t.calls...), ']')
	}
	c.out = append(c.out, '}')
}

// end is all messages, nil when there are none.
func (c *chatWriter) end() field.Value {
	c.flush()
	if c.lead != nil { // and nothing else
		lead := c.lead
		c.lead = nil
		c.begin(c.role)
		c.content([]string{strings.Join(lead, "\n\n")})
		c.out = append(c.out, '}')
	}
	if c.out == nil {
		return nil
	}
	return append(c.out, ']')
}

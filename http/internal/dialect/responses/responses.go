// Package responses is OpenAI's Responses API: POST /v1/responses, and what is
// asked of responses that are kept.
//
// responses.go reads a request, input.go makes the items of its input what chat
// templates want, tools.go does so with tools, truncate.go leaves out what the
// context has no room for, items.go finds the items of a reply, object.go writes
// the response and its items, stream.go its events and whole.go all of it at its
// end, store.go keeps responses for requests to come, kept.go writes what was kept.
package responses

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"time"

	"github.com/troupe-llm/troupe/actors"
	"github.com/troupe-llm/troupe/http/internal/dialect"
	"github.com/troupe-llm/troupe/http/internal/dialect/apierr"
	"github.com/troupe-llm/troupe/http/internal/dialect/conversation"
	"github.com/troupe-llm/troupe/http/internal/dialect/draft"
	"github.com/troupe-llm/troupe/http/internal/dialect/field"
	"github.com/troupe-llm/troupe/http/internal/dialect/leniency"
	"github.com/troupe-llm/troupe/http/internal/dialect/model"
	"github.com/troupe-llm/troupe/http/internal/dialect/openai"
)

// Dialect is this API. Responses that are to be kept go to Store.
type Dialect struct {
	openai.Errors
	Store *Store
}

// Request is one that is being read.
type Request struct {
	conversation.Conversation

	Model    string // as asked for, then as the response calls it
	Stream   bool
	Keep     bool   // the response may be continued, and asked for
	Previous string // the response that this one continues

	items    []field.Value // of the input, copied, with ids
	given    bool          // there was an input
	tools    []tool
	allowed  []string // the tools that tool_choice leaves; nil: all
	top      int      // alternatives listed with each token
	logprobs bool     // of the text
	sealed   bool     // reasoning comes in a form that can be sent back, too
	truncate bool     // leave out what the context has no room for

	background bool // made whether the client waits or not

	// As they were given, for the response to repeat; nil: not.
	echo map[string]field.Value
}

// echoed are the fields that a response repeats, each with its value when it
// was not given.
var echoed = map[string]string{
	"instructions": "null", "max_output_tokens": "null", "max_tool_calls": "null", "metadata": "{}",
	"parallel_tool_calls": "true", "previous_response_id": "null", "prompt_cache_key": "null",
	"reasoning": `{"effort":null,"summary":null}`, "safety_identifier": "null", "store": "true",
	"text": `{"format":{"type":"text"}}`, "tool_choice": `"auto"`, "tools": "[]", "top_logprobs": "0",
	"truncation": `"disabled"`, "user": "",
}

// Fields are all that a request may have.
var Fields = repeated(leniency.Join(leniency.Responses, field.Join(
	field.Lift(draft.Sampling, drafted),
	field.Lift(conversation.Fields.Only("chat_template_kwargs", "parallel_tool_calls", "thinking"), func(r *Request) *conversation.Conversation { return &r.Conversation }),
	field.Lift(field.Table[draft.Draft]{"max_output_tokens": draft.SetMaxTokens(1)}, drafted),
	field.Table[Request]{
		"model":                func(r *Request, v field.Value) (err error) { r.Model, err = v.Text(); return },
		"input":                setInput,
		"instructions":         func(_ *Request, v field.Value) error { _, err := v.Text(); return err },
		"previous_response_id": func(r *Request, v field.Value) (err error) { r.Previous, err = v.Text(); return },
		"store":                field.Boolean(func(r *Request, b bool) { r.Keep = b }),
		"stream":               field.Boolean(func(r *Request, b bool) { r.Stream = b }),
		"stream_options":       setStreamOptions,
		"tools":                setTools,
		"tool_choice":          setToolChoice,
		"max_tool_calls":       field.Integer(1, math.MaxInt32, func(*Request, int64) {}), // of hosted tools
		"text":                 setText,
		"reasoning":            setReasoning,
		"include":              setInclude,
		"truncation":           setTruncation,
		"top_logprobs":         field.Integer(0, draft.MaxLogprobs, func(r *Request, n int64) { r.top = int(n) }),
		"metadata":             setMetadata,

		"background": field.Boolean(func(r *Request, b bool) { r.background = b }),
	},
)))

func drafted(r *Request) *draft.Draft { return &r.Draft }

// repeated has the fields that a response repeats noted.
func repeated(t field.Table[Request]) field.Table[Request] {
	for name := range echoed {
		set := t[name]
		t[name] = func(r *Request, v field.Value) error {
			r.echo[name] = slices.Clone(v)
			return set(r, v)
		}
	}
	return t
}

// New is a request that asks for nothing yet.
func New(m *model.Model, notes *field.Notes) *Request {
	return &Request{Conversation: conversation.New(m, notes), Keep: true, echo: map[string]field.Value{}}
}

// Decode reads and checks a request.
func (d Dialect) Decode(in *dialect.Request) (*dialect.Call, *apierr.Error) {
	r := New(in.Model, &in.Notes)
	if err := field.Decode(in.Body, Fields, r, &in.Notes); err != nil {
		return nil, err
	}
	if r.background && (!r.Keep || d.Store == nil) {
		return nil, apierr.Invalid("background", "background: needs store to be true, or nobody could ask for the response")
	}
	before, err := d.previous(r, in)
	if err != nil {
		return nil, err
	}
	if err := r.converse(before, &chatWriter{named: map[string]field.Value{}, store: d.Store, owner: in.Key}); err != nil {
		return nil, err
	}
	if err := r.Conversation.Check(); err != nil {
		return nil, renamed(err)
	}
	if r.logprobs && in.Model.Tokenizer == nil {
		return nil, openai.NeedsTokenizer
	}
	if r.Model, err = in.Model.Name(r.Model); err != nil {
		return nil, err
	}
	if r.logprobs {
		r.Sampling.Logprobs = int32(1 + r.top)
	}
	if r.truncate {
		r.fit()
	}
	r.Complete()
	return d.call(r, in, before), nil
}

// call is what the engine is asked for, and what writes the response.
func (d Dialect) call(r *Request, in *dialect.Request, before []field.Value) *dialect.Call {
	o := newObject(r, in.Came)
	r.Engine.ID = o.id
	k := kept{id: o.id, owner: in.Key, input: r.items, before: before}
	if r.Keep && d.Store != nil {
		o.keep = func(o *object, status string, body []byte) {
			k := k
			k.object, k.output = body, o.outputItems(status)
			if b := k.background; b != nil { // and of it no more than that
				k.background = &dialect.Background{Log: b.Log, Cancel: func() {}, Done: b.Done}
			}
			d.Store.put(&k, time.Now())
		}
	}
	call := &dialect.Call{
		Requests:  r.Choices(1, func(e *actors.Request) { e.Chat = &r.Chat }),
		PerPrompt: 1,
		Reply:     r.Reply,
		Operation: "chat",
	}
	switch {
	case r.background:
		w := &stream{object: o}
		k.background = w.detach(d.Store, k)
		call.Stream, call.Background = w, k.background
	case r.Stream:
		call.Stream = &stream{object: o}
	default:
		call.Whole = &whole{object: o}
	}
	return call
}

// previous are the items of the responses that this one continues.
func (d Dialect) previous(r *Request, in *dialect.Request) ([]field.Value, *apierr.Error) {
	if r.Previous == "" {
		return nil, nil
	}
	k := d.Store.get(r.Previous, in.Key, time.Now())
	switch {
	case k != nil && k.live():
		return nil, apierr.Invalid("previous_response_id", "previous_response_id: %q is still being made", r.Previous)
	case k != nil:
		return k.conversation(), nil
	}
	e := NotFound(r.Previous)
	e.Param, e.Code = "previous_response_id", "previous_response_not_found"
	e.Status = http.StatusBadRequest
	return nil, e
}

// NotFound says that there is no response of this id.
func NotFound(id string) *apierr.Error {
	e := apierr.Invalid("", "the response %q is not kept: it was made with \"store\": false, is too old, was deleted, or never was", id)
	e.Status, e.Code = http.StatusNotFound, "response_not_found"
	return e
}

// converse makes the items a conversation.
func (r *Request) converse(before []field.Value, c *chatWriter) *apierr.Error {
	if !r.given && r.Previous == "" {
		return apierr.Invalid("input", "input: required")
	}
	if err := r.offerTools(); err != nil {
		return err
	}
	if v := r.echo["instructions"]; v != nil && !v.Null() {
		c.system("system", v.Unquote())
	}
	for _, v := range before { // was read before
		v, err := c.resolve(v)
		if err == nil {
			err = c.item(v)
		}
		if err != nil {
			return apierr.Invalid("previous_response_id", "previous_response_id: %v", err)
		}
	}
	for i, v := range r.items {
		v, err := c.resolve(v)
		if err == nil {
			r.items[i] = v // the other may be forgotten sooner
			err = c.item(v)
		}
		if err != nil {
			return apierr.InField("input", apierr.At(apierr.Index(i), err))
		}
	}
	messages := c.end()
	if len(messages) == 0 {
		return apierr.Invalid("input", "input: must not be empty")
	}
	set := conversation.SetFittingMessages
	if r.truncate { // which makes them fit
		set = conversation.SetMessages
	}
	if err := set(&r.Conversation, messages); err != nil {
		return renamed(apierr.InField("input", err))
	}
	return nil
}

// renamed has an error of package conversation say what is at fault by this API's
// names.
func renamed(e *apierr.Error) *apierr.Error {
	if e.Param == "messages" {
		other := *e
		other.Param = "input"
		return &other
	}
	return e
}

// setStreamOptions takes the only one that OpenAI has: padding against
// eavesdroppers, of which events have none.
func setStreamOptions(r *Request, v field.Value) error {
	return v.Each(func(name string, v field.Value) (err error) {
		switch name {
		case "include_obfuscation":
			_, err = v.Boolean()
		default:
			err = r.Notes.Ignore("stream_options." + name)
		}
		return err
	})
}

// setText reads what the text is to keep to.
func setText(r *Request, v field.Value) error {
	return v.Each(func(name string, v field.Value) (err error) {
		switch name {
		case "format":
			err = r.setFormat(v)
		case "verbosity": // a wish; templates know of none
			_, err = v.Text()
		default:
			err = r.Notes.Ignore("text." + name)
		}
		return err
	})
}

// setFormat reads a format, whose schema lies beside its type here and a level
// below in a chat's response_format.
func (r *Request) setFormat(v field.Value) error {
	if v[0] != '{' {
		return v.Want("an object")
	}
	var kind field.Value
	chat, schema := []byte(`{"type":`), []byte{}
	for name, v := range v.Members() {
		switch {
		case name == "type":
			kind = v
		case v.Null():
		case name == "name", name == "schema", name == "strict", name == "description":
			schema = append(append(schema, `,"`+name+`":`...), v...)
		default:
			return apierr.At("."+name, errors.New("unknown field"))
		}
	}
	if kind == nil {
		return apierr.At(".type", errors.New("required"))
	}
	chat = append(chat, kind...)
	if len(schema) > 0 {
		schema[0] = '{'
		chat = append(append(append(chat, `,"json_schema":`...), schema...), '}')
	}
	if err := draft.Formats["response_format"](&r.Draft, append(chat, '}')); err != nil {
		return err
	}
	if g := r.Engine.Grammar; g != nil {
		g.At("text.format" + map[bool]string{true: ".schema"}[len(schema) > 0])
	}
	return nil
}

func setReasoning(r *Request, v field.Value) error {
	return v.Each(func(name string, v field.Value) (err error) {
		switch name {
		case "effort":
			err = conversation.SetEffort(&r.Conversation, v)
		case "summary", "generate_summary": // reasoning comes as it is
			_, err = v.Text()
		default:
			err = r.Notes.Ignore("reasoning." + name)
		}
		return err
	})
}

// inclusions are what OpenAI has for "include"; what is of hosted tools and images
// changes nothing here.
var inclusions = []string{
	"message.output_text.logprobs", "reasoning.encrypted_content",
	"file_search_call.results", "web_search_call.results", "web_search_call.action.sources", "message.input_image.image_url",
	"computer_call_output.output.image_url", "code_interpreter_call.outputs",
}

func setInclude(r *Request, v field.Value) error {
	if v[0] != '[' {
		return v.Want("an array of strings")
	}
	for i, v := range v.Elements() {
		what, err := v.Text()
		if err == nil && !slices.Contains(inclusions, what) {
			err = fmt.Errorf("must be one of %q, got %s", inclusions, v)
		}
		if err != nil {
			return apierr.At(apierr.Index(i), err)
		}
		r.logprobs = r.logprobs || what == inclusions[0]
		r.sealed = r.sealed || what == inclusions[1]
	}
	return nil
}

func setTruncation(r *Request, v field.Value) error {
	s, err := v.Text()
	if err == nil && s != "auto" && s != "disabled" {
		err = fmt.Errorf(`must be "auto" or "disabled", got %s`, v)
	}
	r.truncate = s == "auto"
	return err
}

// Bounds of metadata, as OpenAI has them.
const (
	maxMetadata      = 16
	maxMetadataKey   = 64
	maxMetadataValue = 512
)

func setMetadata(_ *Request, v field.Value) error {
	if v[0] != '{' {
		return v.Want("an object")
	}
	n := 0
	for name, v := range v.Members() {
		s, err := v.Text()
		switch n++; {
		case err != nil:
			return apierr.At("."+name, err)
		case n > maxMetadata:
			return fmt.Errorf("at most %d pairs are taken", maxMetadata)
		case len(name) > maxMetadataKey || len(s) > maxMetadataValue:
			return apierr.At("."+name, fmt.Errorf("a name has at most %d bytes and a value %d", maxMetadataKey, maxMetadataValue))
		}
	}
	return nil
}

// model is the served one.
func (r *Request) model() *model.Model { return r.Draft.Model }

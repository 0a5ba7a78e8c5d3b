// Package messages is Anthropic's API: POST /v1/messages, and what a request of it
// has for tokens, POST /v1/messages/count_tokens.
//
// messages.go reads a request, blocks.go what was said, tools.go the tools there
// are; stream.go writes an answer as named events, whole.go at its end,
// answer.go what both say. What is read becomes a conversation as OpenAI's chat
// has it, for that is what templates know.
package messages

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/troupe-llm/troupe/actors"
	"github.com/troupe-llm/troupe/http/internal/dialect"
	"github.com/troupe-llm/troupe/http/internal/dialect/apierr"
	"github.com/troupe-llm/troupe/http/internal/dialect/conversation"
	"github.com/troupe-llm/troupe/http/internal/dialect/draft"
	"github.com/troupe-llm/troupe/http/internal/dialect/field"
	"github.com/troupe-llm/troupe/http/internal/dialect/jsonenc"
	"github.com/troupe-llm/troupe/http/internal/dialect/leniency"
	"github.com/troupe-llm/troupe/http/internal/dialect/model"
	"github.com/troupe-llm/troupe/tokenize/grammar"
)

// Dialect is this API.
type Dialect struct{}

// RequestID is part of a dialect.RequestIDs.
func (Dialect) RequestID() string { return "Request-Id" }

// versions are those of the API that are spoken. The later took away fields, which
// are taken all the same: what comes and goes has one shape.
var versions = []string{"2023-06-01", "2026-10-21"}

// Request is one that is being read.
type Request struct {
	conversation.Conversation
	name   string // of the model, as asked for
	stream bool

	// Read when all fields are there; they borrow the body.
	system, messages, tools field.Value

	thinking thinking
	effort   string // see conversation.Efforts; "": not said
}

// New is a request that asks for nothing yet.
func New(m *model.Model, notes *field.Notes) *Request {
	return &Request{Conversation: conversation.New(m, notes)}
}

// Fields are all that a request for an answer may have.
var Fields = field.Join(
	CountFields,
	field.Lift(draft.Sampling.Only("temperature", "top_p", "top_k"), drafted),
	field.Table[Request]{
		"max_tokens":     field.Integer(0, math.MaxInt32, func(r *Request, n int64) { r.Limited, r.Engine.MaxTokens = true, int(n) }),
		"stop_sequences": setStopSequences,
		"stream":         field.Boolean(func(r *Request, b bool) { r.stream = b }),

		"context_management": setContextManagement,
	},
)

// CountFields are all that a request to count tokens may have.
var CountFields = leniency.Join(leniency.Messages, field.Table[Request]{
	"model":         func(r *Request, v field.Value) (err error) { r.name, err = v.Text(); return },
	"messages":      func(r *Request, v field.Value) error { r.messages = v; return kindOf(v, '[', "an array of messages") },
	"system":        setSystem,
	"tools":         func(r *Request, v field.Value) error { r.tools = v; return kindOf(v, '[', "an array of tools") },
	"tool_choice":   setToolChoice,
	"thinking":      setThinking,
	"output_config": setOutputConfig,
})

func setSystem(r *Request, v field.Value) error {
	if r.system = v; v[0] != '"' && v[0] != '[' {
		return v.Want("a string or an array of text blocks")
	}
	return nil
}

func drafted(r *Request) *draft.Draft { return &r.Draft }

func kindOf(v field.Value, first byte, kind string) error {
	if v[0] != first {
		return v.Want(kind)
	}
	return nil
}

// Decode reads and checks a request.
func (Dialect) Decode(in *dialect.Request) (*dialect.Call, *apierr.Error) {
	r, err := read(in, Fields)
	if err != nil {
		return nil, err
	}
	if !r.Limited {
		return nil, apierr.Invalid("max_tokens", "max_tokens: required")
	}
	if err := r.Check(); err != nil {
		return nil, err
	}
	name, err := r.Model.Name(r.name)
	if err != nil {
		return nil, err
	}
	r.Complete()
	r.Engine.ID = "msg_" + in.ID
	call := &dialect.Call{
		Requests:  r.Choices(1, func(e *actors.Request) { e.Chat = &r.Chat }),
		PerPrompt: 1,
		Reply:     r.Reply,
		Operation: "chat",
	}
	w := answer{id: r.Engine.ID, request: in.ID, model: name, signature: r.Model.Fingerprint, omit: r.thinking.omit, most: r.Engine.MaxTokens, ids: r.CallIDs()}
	if r.stream {
		call.Stream = &stream{answer: w, at: -1}
	} else {
		call.Whole = &whole{answer: w}
	}
	return call, nil
}

// read decodes a request and makes it a conversation.
func read(in *dialect.Request, fields field.Table[Request]) (*Request, *apierr.Error) {
	if v := in.Header("anthropic-version"); v != "" && !slices.Contains(versions, v) {
		return nil, apierr.Invalid("", "the header anthropic-version: only %s are spoken here, got %.40q", strings.Join(versions, " and "), v)
	}
	r := New(in.Model, &in.Notes)
	if err := field.Decode(in.Body, fields, r, &in.Notes); err != nil {
		return nil, err
	}
	if r.messages == nil {
		return nil, apierr.Invalid("messages", "messages: required")
	}
	if err := r.converse(); err != nil {
		return nil, err
	}
	if r.tools != nil {
		if err := setTools(&r.Conversation, r.tools); err != nil {
			return nil, apierr.InField("tools", err)
		}
	}
	r.think()
	return r, nil
}

// CountTokens is the body of the response to a request that asks how many tokens
// the prompt has.
func CountTokens(in *dialect.Request) ([]byte, *apierr.Error) {
	r, err := read(in, CountFields)
	if err != nil {
		return nil, err
	}
	tok := in.Model.Tokenizer
	if tok == nil {
		return nil, apierr.Invalid("", "the served model has no tokenizer")
	}
	if _, err := in.Model.Name(r.name); err != nil {
		return nil, err
	}
	if err := r.Check(); err != nil {
		return nil, err
	}
	r.Complete()
	text, fault := tok.Render(r.Chat)
	if fault != nil {
		return nil, apierr.Invalid("messages", "%v", fault)
	}
	return fmt.Appendf(nil, `{"input_tokens":%d}`, len(tok.Encode(text, false))), nil
}

func setStopSequences(r *Request, v field.Value) error {
	if v[0] != '[' {
		return v.Want("an array of strings")
	}
	return draft.SetStop(&r.Draft, v)
}

// setContextManagement takes the edit by which agents ask for all thinking to be
// kept, and leaves out others: a conversation is answered as it is sent.
func setContextManagement(r *Request, v field.Value) error {
	if v[0] != '{' {
		return v.Want("an object")
	}
	for name, v := range v.Members() {
		var err error
		switch {
		case v.Null():
		case name != "edits":
			err = r.Notes.Ignore("context_management." + name)
		case v[0] != '[':
			err = v.Want("an array")
		default:
			for i, e := range v.Elements() {
				if !keepsAll(e) && r.Notes.Ignore("context_management.edits") != nil {
					return apierr.At(".edits"+apierr.Index(i), errors.New(`only {"type": "clear_thinking_20251015", "keep": "all"} is supported: a conversation is answered as it is sent`))
				}
			}
		}
		if err != nil {
			return apierr.At("."+name, err)
		}
	}
	return nil
}

func keepsAll(v field.Value) bool {
	if v[0] != '{' {
		return false
	}
	fields := map[string]string{}
	for name, v := range v.Members() {
		fields[name] = string(v)
	}
	return len(fields) == 2 && fields["type"] == `"clear_thinking_20251015"` && fields["keep"] == `"all"`
}

// setOutputConfig reads how much the model is to reason, and what it is to keep to.
func setOutputConfig(r *Request, v field.Value) (err error) {
	return v.Each(func(name string, v field.Value) (err error) {
		switch name {
		case "effort":
			r.effort, err = readEffort(v)
		case "format":
			err = setFormat(r, v)
		default:
			err = r.Notes.Ignore("output_config." + name)
		}
		return err
	})
}

func setFormat(r *Request, v field.Value) error {
	var kind string
	var schema field.Value
	if v[0] != '{' {
		return v.Want("an object")
	}
	for name, v := range v.Members() {
		var err error
		switch name {
		case "type":
			kind, err = v.Text()
		case "schema":
			schema, err = v, kindOf(v, '{', "a JSON schema, an object")
		default:
			err = errors.New("unknown field")
		}
		if err != nil {
			return apierr.At("."+name, err)
		}
	}
	switch {
	case kind != "json_schema":
		return apierr.At(".type", fmt.Errorf("only \"json_schema\" is supported, got %.40q", kind))
	case schema == nil:
		return apierr.At(".schema", errors.New("required"))
	}
	return r.Constrain("output_config", ".format.schema", grammar.Schema(schema))
}

// types are Anthropic's words for what went wrong, by the status it has.
var types = map[int]string{
	400: "invalid_request_error", 401: "authentication_error", 403: "permission_error", 404: "not_found_error",
	413: "request_too_large", 429: "rate_limit_error", 503: "overloaded_error",
}

// AppendError appends {"type":"error",…}.
func (Dialect) AppendError(dst []byte, r *dialect.Failed) []byte {
	return appendError(dst, r.Error, r.ID)
}

func appendError(dst []byte, e *apierr.Error, id string) []byte {
	kind, known := types[e.Status]
	switch {
	case known:
	case e.Status < 500:
		kind = types[400]
	default:
		kind = "api_error"
	}
	text := e.Message
	if e.Code == apierr.CodeTooLong { // what clients shorten a conversation at
		text = "prompt is too long: " + text
	}
	dst = append(append(dst, `{"type":"error","error":{"type":"`...), kind...)
	dst = jsonenc.Quoted(append(dst, `","message":`...), text)
	dst = jsonenc.OrNull(append(dst, `},"request_id":`...), id)
	return append(dst, '}')
}

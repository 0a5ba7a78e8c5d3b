// Package chat is OpenAI's chat completions: POST /v1/chat/completions.
//
// chat.go reads a request, answer.go writes its answer, stream.go as chunks and
// whole.go at its end.
package chat

import (
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

// Dialect is this API.
type Dialect struct{ openai.Errors }

// Request is one that is being read.
type Request struct {
	conversation.Conversation
	openai.Options
}

// New is a request that asks for nothing yet.
func New(m *model.Model, notes *field.Notes) *Request {
	return &Request{Conversation: conversation.New(m, notes), Options: openai.Options{N: 1, Notes: notes}}
}

// Fields are all that a request may have.
var Fields = leniency.Join(leniency.Chat, field.Join(
	field.Lift(openai.Fields, func(r *Request) *openai.Options { return &r.Options }),
	field.Lift(draft.Sampling, drafted),
	field.Lift(draft.Formats, drafted),
	field.Lift(conversation.Fields, func(r *Request) *conversation.Conversation { return &r.Conversation }),
	field.Lift(field.Table[draft.Draft]{
		"max_tokens":            draft.SetMaxTokens(1),
		"max_completion_tokens": draft.SetMaxTokens(1),
	}, drafted),
	field.Table[Request]{
		"logprobs":     field.Boolean(func(r *Request, b bool) { r.Logprobs = b }),
		"top_logprobs": field.Integer(0, draft.MaxLogprobs, func(r *Request, n int64) { r.Top = int(n) }),
	},
))

func drafted(r *Request) *draft.Draft { return &r.Draft }

// Decode reads and checks a request. An answer may fill the context.
func (Dialect) Decode(in *dialect.Request) (*dialect.Call, *apierr.Error) {
	r := New(in.Model, &in.Notes)
	if err := field.Decode(in.Body, Fields, r, &in.Notes); err != nil {
		return nil, err
	}
	if err := r.check(); err != nil {
		return nil, err
	}
	if err := r.Options.Complete(&r.Draft, false); err != nil {
		return nil, err
	}
	r.Conversation.Complete()
	r.Engine.ID = "chatcmpl-" + in.ID
	call := &dialect.Call{
		Requests:  r.Choices(r.N, func(e *actors.Request) { e.Chat = &r.Chat }),
		PerPrompt: r.N,
		Reply:     r.Reply,
		Operation: "chat",
	}
	if r.Stream {
		call.Stream = &stream{answer: r.answer("chat.completion.chunk", in.Came), begun: make([]bool, r.N)}
	} else {
		call.Whole = &whole{answer: r.answer("chat.completion", in.Came), choices: make([]dialect.Collected, r.N)}
	}
	return call, nil
}

func (r *Request) check() *apierr.Error {
	if err := r.Conversation.Check(); err != nil {
		return err
	}
	if r.Chat.Messages == nil {
		return apierr.Invalid("messages", "messages: required")
	}
	return r.Options.Check(r.Draft.Model, 1)
}

func (r *Request) answer(object string, came time.Time) answer {
	m := r.Draft.Model
	return answer{ids: r.CallIDs(), unshown: r.Unshown, Answer: openai.Answer{
		Options: r.Options, Tokenizer: m.Tokenizer,
		Head: openai.Head(object, r.Engine.ID, came.Unix(), r.Options.Model, m.Fingerprint),
	}}
}

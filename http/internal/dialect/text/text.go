// Package text is OpenAI's older completions of a text: POST /v1/completions.
//
// text.go reads a request, answer.go writes its answer, stream.go as chunks and
// whole.go at its end.
package text

import (
	"errors"
	"fmt"
	"time"

	"github.com/troupe-llm/troupe/actors"
	"github.com/troupe-llm/troupe/http/internal/dialect"
	"github.com/troupe-llm/troupe/http/internal/dialect/apierr"
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
	draft.Draft
	openai.Options
	prompts []prompt
	echo    bool
}

// prompt is text, or ids when not nil.
type prompt struct {
	text string
	ids  []int32
}

// New is a request that asks for nothing yet.
func New(m *model.Model, notes *field.Notes) *Request {
	return &Request{Draft: draft.New(m, notes), Options: openai.Options{N: 1, Notes: notes}}
}

// Fields are all that a request may have.
var Fields = leniency.Join(leniency.Text, field.Join(
	field.Lift(openai.Fields, func(r *Request) *openai.Options { return &r.Options }),
	field.Lift(draft.Sampling, drafted),
	field.Lift(draft.Formats, drafted),
	field.Lift(field.Table[draft.Draft]{
		"max_tokens":         draft.SetMaxTokens(0),
		"add_special_tokens": field.Boolean(func(d *draft.Draft, b bool) { d.Engine.NoSpecial = !b }),
	}, drafted),
	field.Table[Request]{
		"prompt":   setPrompt,
		"logprobs": field.Integer(0, draft.MaxLogprobs, func(r *Request, n int64) { r.Logprobs, r.Top = true, int(n) }),
		"echo":     field.Boolean(func(r *Request, b bool) { r.echo = b }),
	},
))

func drafted(r *Request) *draft.Draft { return &r.Draft }

// defaultTokens is how long a completion gets when nobody says, as at OpenAI.
const defaultTokens = 16

// Decode reads and checks a request.
func (Dialect) Decode(in *dialect.Request) (*dialect.Call, *apierr.Error) {
	r := New(in.Model, &in.Notes)
	if err := field.Decode(in.Body, Fields, r, &in.Notes); err != nil {
		return nil, err
	}
	if err := r.check(); err != nil {
		return nil, err
	}
	if err := r.Options.Complete(&r.Draft, r.echo); err != nil {
		return nil, err
	}
	if !r.Limited {
		r.Engine.MaxTokens = max(defaultTokens, r.Engine.MinTokens)
	}
	r.Draft.Complete()
	r.Engine.ID = "cmpl-" + in.ID
	call := &dialect.Call{PerPrompt: r.N, Operation: "text_completion"}
	for _, p := range r.prompts {
		call.Requests = append(call.Requests, r.Choices(r.N, func(e *actors.Request) { e.Text, e.Tokens = p.text, p.ids })...)
	}
	w := r.answer(in.Came)
	if r.Stream {
		call.Stream = &stream{answer: w, choices: make([]opening, len(call.Requests))}
	} else {
		call.Whole = &whole{answer: w, choices: make([]dialect.Collected, len(call.Requests))}
	}
	return call, nil
}

func (r *Request) check() *apierr.Error {
	if r.prompts == nil {
		return apierr.Invalid("prompt", "prompt: required")
	}
	if err := r.Draft.Check(); err != nil {
		return err
	}
	return r.Options.Check(r.Draft.Model, len(r.prompts))
}

func (r *Request) answer(came time.Time) answer {
	m := r.Draft.Model
	w := answer{prompts: r.prompts, keepSpecial: r.Engine.KeepSpecial, echo: r.echo}
	w.Answer = openai.Answer{
		Options: r.Options, Tokenizer: m.Tokenizer,
		Head: openai.Head("text_completion", r.Engine.ID, came.Unix(), r.Options.Model, m.Fingerprint),
	}
	return w
}

// setPrompt reads the four shapes of a prompt: text, token ids, or a list of
// either.
func setPrompt(r *Request, v field.Value) error {
	const shapes = "a string, token ids, or an array of either"
	m := r.Draft.Model
	switch v[0] {
	case '"':
		r.prompts = []prompt{{text: v.Unquote()}}
		return nil
	case '[':
	default:
		return v.Want(shapes)
	}
	if b := v.First(); b == '-' || b >= '0' && b <= '9' {
		ids, err := v.IDs(m.Vocab)
		r.prompts = []prompt{{ids: ids}}
		return err
	}
	for i, e := range v.Elements() {
		p, err := readPrompt(e, m.Vocab)
		if err == nil && i >= m.MaxChoices {
			return fmt.Errorf("at most %d prompts are taken", m.MaxChoices)
		}
		if err != nil {
			return apierr.At(apierr.Index(i), err)
		}
		r.prompts = append(r.prompts, p)
	}
	if len(r.prompts) == 0 {
		return errors.New("must not be empty")
	}
	return nil
}

func readPrompt(v field.Value, vocab int) (p prompt, err error) {
	switch v[0] {
	case '"':
		p.text = v.Unquote()
	case '[':
		if p.ids, err = v.IDs(vocab); err == nil && len(p.ids) == 0 {
			err = errors.New("must not be empty")
		}
	default:
		err = v.Want("a string or token ids")
	}
	return p, err
}

// Package openai is what OpenAI's two kinds of completions have in common, chat
// and text: the fields of their requests, and what their answers say beside the
// text. It writes errors, too, as all of OpenAI's routes do.
package openai

import (
	"math"

	"github.com/troupe-llm/troupe/http/internal/dialect/apierr"
	"github.com/troupe-llm/troupe/http/internal/dialect/draft"
	"github.com/troupe-llm/troupe/http/internal/dialect/field"
	"github.com/troupe-llm/troupe/http/internal/dialect/model"
)

// Options are what a request wants beside the text.
type Options struct {
	Notes *field.Notes

	Model  string // as asked for, then as answers call it
	N      int    // choices per prompt
	Stream bool

	StreamOptions   bool // were given
	IncludeUsage    bool
	ContinuousUsage bool // with every chunk, if at all

	ReturnIDs bool
	Logprobs  bool
	Top       int  // alternatives listed with each token
	TokenIDs  bool // tokens are named by their ids

	PromptLogprobs bool // those of the prompt, apart from the text …
	PromptTop      int  // … and the alternatives listed with them
}

// Fields are those of Options.
var Fields = field.Table[Options]{
	"model":                      func(o *Options, v field.Value) (err error) { o.Model, err = v.Text(); return },
	"n":                          field.Integer(1, math.MaxInt32, func(o *Options, n int64) { o.N = int(n) }),
	"stream":                     field.Boolean(func(o *Options, b bool) { o.Stream = b }),
	"stream_options":             setStreamOptions,
	"return_token_ids":           field.Boolean(func(o *Options, b bool) { o.ReturnIDs = b }),
	"prompt_logprobs":            field.Integer(0, draft.MaxLogprobs, func(o *Options, n int64) { o.PromptLogprobs, o.PromptTop = true, int(n) }),
	"return_tokens_as_token_ids": field.Boolean(func(o *Options, b bool) { o.TokenIDs = b }),
}

func setStreamOptions(o *Options, v field.Value) error {
	o.StreamOptions = true
	return v.Each(func(name string, v field.Value) (err error) {
		switch name {
		case "include_usage":
			o.IncludeUsage, err = v.Boolean()
		case "continuous_usage_stats":
			o.ContinuousUsage, err = v.Boolean()
		default: // include_obfuscation, which pads chunks, too
			err = o.Notes.Ignore("stream_options." + name)
		}
		return err
	})
}

// Check finds what is wrong between fields of a request with so many prompts.
func (o *Options) Check(m *model.Model, prompts int) *apierr.Error {
	switch {
	case o.Top > 0 && !o.Logprobs:
		return apierr.Invalid("top_logprobs", "top_logprobs: needs logprobs to be true")
	case o.PromptLogprobs && o.Stream:
		return apierr.Invalid("prompt_logprobs", "prompt_logprobs: needs stream to be false; a stream has no place for them")
	case o.StreamOptions && !o.Stream:
		return apierr.Invalid("stream_options", "stream_options: needs stream to be true")
	case o.N > m.MaxChoices:
		return apierr.Invalid("n", "n: must be at most %d, got %d", m.MaxChoices, o.N)
	case o.N*prompts > m.MaxChoices:
		return apierr.Invalid("n", "n: %d prompts times %d answers are more than %d", prompts, o.N, m.MaxChoices)
	}
	return nil
}

// NeedsTokenizer is the error of a request that cannot be answered without one.
var NeedsTokenizer = apierr.Invalid("", "the served model has no tokenizer, which echo, logprobs and prompt_logprobs need")

// Complete asks the engine for what the options need; echo repeats the prompt.
func (o *Options) Complete(d *draft.Draft, echo bool) (fault *apierr.Error) {
	if d.Model.Tokenizer == nil && (o.Logprobs || o.PromptLogprobs || echo) {
		return NeedsTokenizer
	}
	if o.Model, fault = d.Model.Name(o.Model); fault != nil {
		return fault
	}
	r := &d.Engine
	if o.Logprobs {
		d.Sampling.Logprobs = int32(1 + o.Top)
		r.PromptLogprobs = echo
	}
	if o.PromptLogprobs {
		d.Sampling.Logprobs = max(d.Sampling.Logprobs, int32(1+o.PromptTop))
		r.PromptLogprobs = true
	}
	return nil
}

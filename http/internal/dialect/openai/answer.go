package openai

import (
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/troupe-llm/troupe/actors"
	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/http/internal/dialect"
	"github.com/troupe-llm/troupe/http/internal/dialect/apierr"
	"github.com/troupe-llm/troupe/http/internal/dialect/jsonenc"
	"github.com/troupe-llm/troupe/http/internal/dialect/model"
	"github.com/troupe-llm/troupe/http/internal/sse"
)

// Head is an answer's first members, up to the choices.
func Head(object, id string, created int64, name, fingerprint string) []byte {
	dst := append([]byte(nil), `{"id":`...)
	dst = jsonenc.Quoted(dst, id)
	dst = append(dst, `,"object":"`...)
	dst = append(dst, object...)
	dst = append(dst, `","created":`...)
	dst = strconv.AppendInt(dst, created, 10)
	dst = append(dst, `,"model":`...)
	dst = jsonenc.Quoted(dst, name)
	dst = append(dst, `,"system_fingerprint":"`...)
	dst = append(dst, fingerprint...)
	return append(dst, `","choices":[`...)
}

// Answer writes what answers of both kinds say beside the text. It is part of
// the writers of both.
type Answer struct {
	Options
	Head      []byte
	Tokenizer model.Tokenizer
}

// Tokens names tokens as the request wants them named.
func (w *Answer) Tokens() Tokens {
	if w.TokenIDs {
		return idNames{}
	}
	return w.Tokenizer
}

// Tokens are tokens' names.
type Tokens interface{ TokenBytes(id int32) []byte }

// idNames calls tokens by their ids.
type idNames struct{}

func (idNames) TokenBytes(id int32) []byte {
	return strconv.AppendInt([]byte("token_id:"), int64(id), 10)
}

// Trim leaves the alternatives that are to be listed with a token, where more were
// asked for of the prompt.
func (w *Answer) Trim(all []batch.Logprob) {
	if w.PromptTop <= w.Top {
		return
	}
	for i := range all {
		lp := &all[i]
		lp.Top = lp.Top[:min(len(lp.Top), w.Top)]
	}
}

// Plain reports whether a chunk of text says nothing beside it.
func (w *Answer) Plain() bool { return !w.Logprobs && !w.ReturnIDs }

// Unfinished is what such a chunk says of its choice after the text.
const Unfinished = `,"logprobs":null,"finish_reason":null}`

// AppendChunkEnd appends what comes behind the choices of a chunk; before is the choice whose first token
// is yet to be told, -1: none's.
func (w *Answer) AppendChunkEnd(dst []byte, a *dialect.Answer, before int) []byte {
	switch {
	case w.ContinuousUsage && w.IncludeUsage:
		dst = append(dst, `,"usage":`...)
		u := a.UsageBefore(before)
		dst = AppendUsage(dst, &u)
	case w.IncludeUsage:
		dst = append(dst, `,"usage":null`...)
	}
	return sse.End(append(dst, '}'))
}

const done = "data: [DONE]\n\n"

// End is part of a dialect.StreamWriter.
func (w *Answer) End(dst []byte, a *dialect.Answer) []byte {
	if w.IncludeUsage {
		dst = append(sse.Data(dst), w.Head...)
		dst = append(dst, `],"usage":`...)
		u := a.Usage()
		dst = AppendUsage(dst, &u)
		dst = sse.End(append(dst, '}'))
	}
	return append(dst, done...)
}

// Fail is part of a dialect.StreamWriter.
func (*Answer) Fail(dst []byte, _ *dialect.Answer, e *apierr.Error) []byte {
	return append(sse.End(AppendError(sse.Data(dst), e)), done...)
}

// Ping is part of a dialect.StreamWriter.
func (*Answer) Ping(dst []byte) []byte { return sse.Comment(dst, "keep-alive") }

// AppendPromptLogprobs appends what the model says of the prompt's tokens: for
// each an object from ids to their log-probabilities and ranks, null for the
// first, before which there is nothing. A rank is told of what is listed.
func (w *Answer) AppendPromptLogprobs(dst []byte, ch *dialect.Choice) []byte {
	dst = append(dst, `,"prompt_logprobs":[`...)
	for i, id := range ch.Prompt {
		if dst = jsonenc.Comma(dst, i); i == 0 {
			dst = append(dst, "null"...)
			continue
		}
		lp := &ch.Scores[i-1]
		top := lp.Top[:min(len(lp.Top), w.PromptTop)]
		rank := slices.IndexFunc(lp.Top, func(t batch.TokenLogprob) bool { return t.Token == id })
		dst = w.appendRanked(append(dst, '{'), id, lp.Token, rank)
		for j := range top {
			if top[j].Token != id {
				dst = w.appendRanked(append(dst, ','), top[j].Token, top[j].Logprob, j)
			}
		}
		dst = append(dst, '}')
	}
	return append(dst, ']')
}

func (w *Answer) appendRanked(dst []byte, id int32, logprob float32, place int) []byte {
	dst = append(strconv.AppendInt(append(dst, '"'), int64(id), 10), `":{"logprob":`...)
	dst = append(AppendLogprob(dst, logprob), `,"rank":`...)
	if place < 0 {
		dst = append(dst, "null"...)
	} else {
		dst = strconv.AppendInt(dst, int64(place)+1, 10)
	}
	return append(AppendToken(append(dst, `,"decoded_token":`...), w.Tokenizer.TokenBytes(id)), '}')
}

// AppendFinish appends "finish_reason", and what it was that stopped the text; nil
// is that there is more.
func AppendFinish(dst []byte, f *actors.Final) []byte {
	dst = append(dst, `,"finish_reason":`...)
	if f == nil {
		return append(dst, "null"...)
	}
	dst = append(jsonenc.Quoted(dst, string(f.Reason)), `,"stop_reason":`...)
	if f.StopToken >= 0 {
		return strconv.AppendInt(dst, int64(f.StopToken), 10)
	}
	return jsonenc.OrNull(dst, f.Stop)
}

// AppendToken quotes a token that may be part of a character: then, as at
// OpenAI, as "bytes:\xe4\xbd".
func AppendToken(dst, b []byte) []byte {
	if utf8.Valid(b) {
		return jsonenc.Quoted(dst, string(b))
	}
	dst = append(dst, `"bytes:`...)
	for _, c := range b {
		dst = append(dst, '\\', '\\', 'x', jsonenc.HexDigits[c>>4], jsonenc.HexDigits[c&15])
	}
	return append(dst, '"')
}

// AppendLogprob appends a logarithm as JSON, which has no infinities.
func AppendLogprob(dst []byte, x float32) []byte {
	if !(x >= -9999) { // and not a number
		x = -9999
	}
	return strconv.AppendFloat(dst, float64(x), 'g', -1, 32)
}

// AppendUsage appends {"prompt_tokens":…}; reasoning tokens that are not known are
// left out, and so are draft tokens where there are none.
func AppendUsage(dst []byte, u *dialect.Usage) []byte {
	dst = append(dst, `{"prompt_tokens":`...)
	dst = strconv.AppendInt(dst, int64(u.PromptTokens), 10)
	dst = append(dst, `,"completion_tokens":`...)
	dst = strconv.AppendInt(dst, int64(u.CompletionTokens), 10)
	dst = append(dst, `,"total_tokens":`...)
	dst = strconv.AppendInt(dst, int64(u.PromptTokens+u.CompletionTokens), 10)
	dst = append(dst, `,"prompt_tokens_details":{"cached_tokens":`...)
	dst = strconv.AppendInt(dst, int64(u.CachedTokens), 10)
	dst = append(dst, '}')
	drafts := u.AcceptedTokens+u.RejectedTokens > 0
	if u.Reasoning < 0 && !drafts {
		return append(dst, '}')
	}
	dst = append(dst, `,"completion_tokens_details":{`...)
	if u.Reasoning >= 0 {
		dst = strconv.AppendInt(append(dst, `"reasoning_tokens":`...), int64(u.Reasoning), 10)
	}
	if drafts {
		dst = append(jsonenc.Comma(dst, max(u.Reasoning+1, 0)), `"accepted_prediction_tokens":`...)
		dst = strconv.AppendInt(dst, int64(u.AcceptedTokens), 10)
		dst = append(dst, `,"rejected_prediction_tokens":`...)
		dst = strconv.AppendInt(dst, int64(u.RejectedTokens), 10)
	}
	return append(dst, "}}"...)
}

// AppendError appends {"error":{…}}.
func AppendError(dst []byte, e *apierr.Error) []byte {
	dst = append(dst, `{"error":{"message":`...)
	dst = jsonenc.Quoted(dst, e.Message)
	dst = append(dst, `,"type":`...)
	dst = jsonenc.Quoted(dst, e.Type)
	dst = append(dst, `,"param":`...)
	dst = jsonenc.OrNull(dst, e.Param)
	dst = append(dst, `,"code":`...)
	dst = jsonenc.OrNull(dst, e.Code)
	return append(dst, `}}`...)
}

// Errors writes a dialect's errors as OpenAI's.
type Errors struct{}

// AppendError is part of a dialect.Dialect.
func (Errors) AppendError(dst []byte, r *dialect.Failed) []byte { return AppendError(dst, r.Error) }

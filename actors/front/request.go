package front

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/troupe-llm/troupe/actors/engine"
	"github.com/troupe-llm/troupe/actors/trace"
	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/tokenize"
	"github.com/troupe-llm/troupe/tokenize/grammar"
	"github.com/troupe-llm/troupe/tokenize/reply"
)

// Request is one sequence to generate: a prompt and how to go on from it.
// Submit takes it over; it must not be changed from then on.
type Request struct {
	// ID names the request in logs and traces; Submit makes one up when empty.
	ID string

	// The prompt: exactly one of these three.
	Text   string         // raw text; special tokens in it are recognised
	Tokens []int32        // token ids as they are
	Chat   *tokenize.Chat // messages for the chat template

	// NoSpecial keeps the tokenizer from adding its own special tokens (BOS)
	// around Text. A chat template writes its own: they are never added to it.
	NoSpecial bool

	MaxTokens  int  // most tokens to generate; 0: up to the model's limit
	PromptOnly bool // generate none: the prompt is computed, for PromptLogprobs or for the cache
	MinTokens  int  // stop tokens cannot be drawn before this many
	IgnoreEOS  bool
	StopTokens []int32  // end the request like the model's own end-of-sequence tokens
	Stop       []string // end the request when its text contains one of them
	// Reply, if given, is what the text may hold beside an answer: stop strings
	// are looked for in the answer alone, not in reasoning or calls of tools.
	Reply *reply.Options
	// IncludeStop keeps the stop string in the text.
	IncludeStop bool
	// KeepSpecial leaves special tokens in the text.
	KeepSpecial bool
	// Show are special tokens that are left in it all the same.
	Show []int32
	// TextEnds asks for Event.TextEnds.
	TextEnds bool

	// Grammar, when set, is what the output keeps to, unless a length or a
	// stop string cuts it. Not with IgnoreEOS or MinTokens: its end is its own.
	Grammar *grammar.Spec
	// Client names who asks, for being fair between clients where requests wait: to
	// be run, and for their grammars' being compiled.
	Client string

	// Sampling is how tokens are drawn; nil: as System.Defaults has it, with a seed that is
	// drawn. An empty one is greedy.
	Sampling *batch.Sampling
	// PromptLogprobs asks for Event.PromptLogprobs; Sampling.Logprobs says with
	// how many alternatives. Not every device can. All of the prompt is
	// computed for it, whatever is cached.
	PromptLogprobs bool
	Priority       int // larger goes first, under the priority policy
	// Speculative is how tokens are drafted; "": as the system is configured to.
	Speculative Speculation
	// MaxWait is how long the request may wait for its first step, from Submit on;
	// when it is not begun with by then it ends with a *WaitError. Its Started event
	// then comes when it is, not before. 0: as long as it takes.
	MaxWait time.Duration

	// Wake, if given, is called when the stream's Take may find something: so a
	// reader of several streams, or one that waits for other things as well,
	// waits at one place. It is called by the detokenizer, and must not wait.
	Wake func()
}

// PromptEnd is how many tokens of a prompt's end show whether it has begun the
// reasoning: enough for a mark and white space.
const PromptEnd = 16

// FinishReason says why a request ended.
type FinishReason string

// The reasons; the first two are named as in OpenAI's API.
const (
	FinishStop   FinishReason = "stop"   // a stop token or stop string
	FinishLength FinishReason = "length" // MaxTokens, PromptOnly or the model's limit
	FinishAbort  FinishReason = "abort"  // cancelled
	FinishError  FinishReason = "error"  // see Final.Err
)

// Usage counts tokens.
type Usage struct {
	PromptTokens     int
	CachedTokens     int // of the prompt, found in the prefix cache
	CompletionTokens int
	AcceptedTokens   int // of those, drafted by speculation
	RejectedTokens   int // draft tokens that were computed, and are not among those
}

// Speculation is how a request's tokens are drafted, so that several may be drawn in a step.
// What is drawn does not depend on it.
type Speculation string

// The ways. Under NGram a token is drafted to be what followed the last few where the prompt or
// the output had them before, and drafts are computed where that pays.
const (
	NoSpeculation Speculation = "off"
	NGram         Speculation = "ngram"
)

// Started is the first event of every request that was accepted for running.
type Started struct {
	PromptTokens []int32
}

// Final is the last event of a request. Every submitted request has exactly
// one.
type Final struct {
	Reason FinishReason
	// Stop is the stop string that ended the request, "" when none did.
	Stop string
	// StopToken is which of the request's StopTokens ended it, batch.NoToken when
	// none did: the model's own end of sequence is no stop token, as vLLM has it.
	StopToken int32
	Usage     Usage
	Times     Times
	Attempts  []Attempt // of the engines that had it, one after the other
	Err       error     // not nil exactly when Reason is FinishError
}

// Times are when a request came how far, as batch.Now; 0 where it never did.
// In between its prompt was rendered and tokenized, waited, and was computed;
// then it generated.
type Times struct {
	Submitted int64
	Queued    int64 // an engine had its tokens
	Started   int64 // the first step with it was built
	First     int64 // the device was done with its first token
	Ended     int64 // its last event was there to be taken
}

// Phase is a part of a request's time.
type Phase struct {
	Kind         trace.Kind // SpanTokenize, SpanQueue, SpanPrefill or SpanDecode
	Began, Ended int64      // as batch.Now
}

// Phases are the parts that the request came to, one after the other.
func (t *Times) Phases() []Phase {
	return phases(trace.SpanTokenize, t.Submitted, t.Queued, t.Started, t.First, t.Ended)
}

// Event is what came of a request since the one before: some output, and once each the beginning
// and the end. See Stream.All.
type Event struct {
	Started *Started
	// Text is whole characters; it may lag behind Tokens while a character or
	// a possible stop string is incomplete.
	Text   string
	Tokens []int32
	// Logprobs has one entry a token when the request asked for them.
	// TextEnds, when it asked for either, says how long Text was once Tokens[i]
	// had been added.
	Logprobs []batch.Logprob
	TextEnds []int
	Final    *Final
	// PromptLogprobs are those of the prompt's tokens from the second on, the
	// last of them with the first of Tokens, or before Final when there are none.
	PromptLogprobs []batch.Logprob
}

// Output is an event to a server, which reads thousands of streams: see Stream.Take. Its text and
// lists are overwritten when it is used again. Fields have their meaning from Event.
type Output struct {
	Started *Started
	Text    []byte
	Tokens  []int32
	// Computed is when the device was done with the first of Tokens, as
	// batch.Now.
	Computed       int64
	Logprobs       []batch.Logprob
	TextEnds       []int
	Final          *Final
	PromptLogprobs []batch.Logprob

	// Receipt is to be signed when this has been written, if it is Wanted.
	Receipt Receipt
}

// event is a copy for whoever keeps it.
func (o *Output) event() Event {
	return Event{
		Started: o.Started, Text: string(o.Text), Tokens: slices.Clone(o.Tokens), Logprobs: slices.Clone(o.Logprobs),
		TextEnds: slices.Clone(o.TextEnds), Final: o.Final, PromptLogprobs: slices.Clone(o.PromptLogprobs),
	}
}

// InputError says that a request cannot be run as it is, and why. It is the
// client's mistake: HTTP 400.
type InputError struct {
	Param   string // the field at fault; "" when it is not one field
	Msg     string
	TooLong bool // the prompt is, for the context or for the memory
}

func (e *InputError) Error() string { return e.Msg }

func inputErrorf(param, format string, args ...any) *InputError {
	return &InputError{Param: param, Msg: fmt.Sprintf(format, args...)}
}

// WaitError says that a request was not begun with within its MaxWait: HTTP 503.
type WaitError struct{ MaxWait time.Duration }

func (e *WaitError) Error() string {
	return fmt.Sprintf("the server is busy: the request has waited %v to be computed, which is as long as it may; try again later", e.MaxWait)
}

var (
	// ErrDraining means the system takes no new requests: HTTP 503.
	ErrDraining = errors.New("the server is shutting down")
	// ErrFailed means the device failed and could not be brought back: HTTP 503.
	ErrFailed = engine.ErrLost
	// ErrAbsent is ErrFailed where no engine was there, but one may come: HTTP 503, to be tried again.
	ErrAbsent = fmt.Errorf("no engine: %w", ErrFailed)
)

// check finds what is wrong with a request before it enters the actors.
func (r *Request) check(hasCodec bool) error {
	prompts := 0
	for _, given := range []bool{r.Text != "", r.Tokens != nil, r.Chat != nil} {
		if given {
			prompts++
		}
	}
	switch {
	case prompts == 0:
		return inputErrorf("prompt", "the prompt is empty; give text, token ids or messages")
	case prompts > 1:
		return inputErrorf("prompt", "the prompt was given in %d forms; give one of text, token ids and messages", prompts)
	case r.Tokens == nil && !hasCodec:
		return inputErrorf("prompt", "this model was opened without a tokenizer; send the prompt as token ids")
	case len(r.Stop) > 0 && !hasCodec:
		return inputErrorf("stop", "this model was opened without a tokenizer, so stop strings cannot be found; use stop_token_ids")
	case r.Grammar != nil && !hasCodec:
		return inputErrorf(r.Grammar.Path(), "this model was opened without a tokenizer, so its output cannot be kept to a grammar")
	case r.PromptOnly && r.MinTokens > 0:
		return inputErrorf("min_tokens", "at least %d tokens were asked for, and none", r.MinTokens)
	case r.Grammar != nil && r.IgnoreEOS:
		return inputErrorf("ignore_eos", "output that keeps to a grammar ends where the grammar does")
	case r.Grammar != nil && r.MinTokens > 0:
		return inputErrorf("min_tokens", "output that keeps to a grammar ends where the grammar does")
	}
	return nil
}

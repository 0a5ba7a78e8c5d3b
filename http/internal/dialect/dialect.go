package dialect

import (
	"time"

	"github.com/troupe-llm/troupe/actors"
	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/http/internal/dialect/apierr"
	"github.com/troupe-llm/troupe/http/internal/dialect/field"
	"github.com/troupe-llm/troupe/http/internal/dialect/model"
	"github.com/troupe-llm/troupe/tokenize/reply"
)

// Dialect is an API in which clients ask for text. Its methods may be called
// from any goroutine.
type Dialect interface {
	// Decode reads and checks a request.
	Decode(*Request) (*Call, *apierr.Error)
	// AppendError appends the body of a request's response that failed.
	AppendError(dst []byte, r *Failed) []byte
}

// RequestIDs is a Dialect whose clients look for a request's id under another
// name than X-Request-Id.
type RequestIDs interface {
	Dialect
	RequestID() string // the header field's name
}

// Request is a request as it came.
type Request struct {
	Model  *model.Model
	Body   []byte // borrowed: nothing of it may be kept
	ID     string // its X-Request-Id: printable ASCII, quotes and all
	Key    string // the name of the key it came with; "": none
	Came   time.Time
	Client string // who asks: the name of the key it came with, or an address
	// Notes are written while it is decoded; before, Strict alone is set.
	Notes field.Notes
	// Header is a field of the request's header, "" when it was not given.
	Header func(name string) string
}

// Failed is a request that failed.
type Failed struct {
	*apierr.Error
	ID string // see Request
}

// Call is a decoded request: what the engine is asked for, and what writes the
// answer. It borrows nothing.
type Call struct {
	// Requests has one for each choice; those of one prompt lie together.
	Requests []*actors.Request
	// PerPrompt is how many choices a prompt has: usage counts it once.
	PerPrompt int
	// Reply is what replies may hold beside text; zero: nothing.
	Reply reply.Options
	// Operation is what OpenTelemetry calls it: "chat" or "text_completion".
	Operation string
	// One of the two writes the answer: Stream as it comes, Whole at its end.
	Stream StreamWriter
	Whole  Writer
	// Background has Stream write to a log; nil: to the client.
	Background *Background
}

// Writer writes an answer. It is used by one goroutine at a time, for one answer,
// and may keep what it needs from call to call: which items it has begun, how
// many events there were, the text so far. Each method appends to dst and returns
// that; what the Answer and the Delta hold is good until it returns.
type Writer interface {
	// Begin comes first, once every choice was accepted: prompts are known.
	Begin(dst []byte, a *Answer) []byte
	// Delta comes whenever there is more of a choice, its end included.
	Delta(dst []byte, a *Answer, d *Delta) []byte
	// End comes last, once every choice has ended.
	End(dst []byte, a *Answer) []byte
}

// StreamWriter writes an answer as server-sent events, framed by itself (see
// http/internal/sse). What another Writer has appended in the end is the body of a response,
// in JSON.
type StreamWriter interface {
	Writer
	// Fail comes last instead of End: the status has been sent, so the error is
	// an event.
	Fail(dst []byte, a *Answer, e *apierr.Error) []byte
	// Ping comes when nothing was written for a while.
	Ping(dst []byte) []byte
}

// Delta is what one choice has come to since the one before.
type Delta struct {
	Choice int
	// Parts are what the text means, in its order. One that is not looked into,
	// for Call.Reply is zero, is a part of text.
	Parts []reply.Part
	// Tokens were taken; Parts may lag behind them, or go on without any.
	Tokens []int32
	// Logprobs has one entry a token when the request asked for them.
	Logprobs []batch.Logprob
	// TextEnds says, when the request asked for it or for Logprobs, how long the
	// text that came with this delta was once Tokens[i] had been added.
	TextEnds []int
	// Final is how the choice ended; nil while there is more. Its Err is nil:
	// what failed is Fail's.
	Final *actors.Final
}

// FinishCalls is the reason of a choice that ended in order to have tools
// called, beside those of actors.
const FinishCalls actors.FinishReason = "tool_calls"

// Answer is what is known of an answer so far. The server fills it in.
type Answer struct {
	Choices   []Choice // as Call.Requests
	PerPrompt int      // see Call
	Thinks    bool     // tokens of reasoning are counted
}

// Choice is one of an answer's texts.
type Choice struct {
	Prompt   []int32         // its tokens
	Scores   []batch.Logprob // of the prompt, from its second token on, when asked for
	Tokens   int             // taken so far
	Reasoned int             // of those, spent on reasoning
	Final    *actors.Final   // nil while there is more
}

// Usage counts tokens of an answer.
type Usage struct {
	actors.Usage
	Reasoning int // of the completion; -1: not known
}

// Usage adds up the choices': of those that did not come to their end, what
// was seen. A prompt counts once, however many choices it has.
func (a *Answer) Usage() Usage { return a.UsageBefore(-1) }

// UsageBefore is Usage before a choice said anything; -1: of all that was said.
func (a *Answer) UsageBefore(choice int) Usage {
	sum := Usage{Reasoning: -1}
	for i := range a.Choices {
		ch := &a.Choices[i]
		u := actors.Usage{PromptTokens: len(ch.Prompt), CompletionTokens: ch.Tokens}
		if ch.Final != nil {
			u = ch.Final.Usage
		}
		if i == choice {
			u.CompletionTokens = 0
		}
		sum.CompletionTokens += u.CompletionTokens
		sum.AcceptedTokens += u.AcceptedTokens
		sum.RejectedTokens += u.RejectedTokens
		if i%a.PerPrompt == 0 {
			sum.PromptTokens += u.PromptTokens
			sum.CachedTokens += u.CachedTokens
		}
	}
	if a.Thinks {
		sum.Reasoning = 0
		for i := range a.Choices {
			if i != choice {
				sum.Reasoning += a.Choices[i].Reasoned
			}
		}
	}
	return sum
}

// Writer is the one of the two writers that is set.
func (c *Call) Writer() Writer {
	if c.Stream != nil {
		return c.Stream
	}
	return c.Whole
}

// Text is what was said, in an answer that is not looked into.
func (d *Delta) Text() []byte {
	if len(d.Parts) == 0 {
		return nil
	}
	return d.Parts[0].Text
}

package http

import (
	"math/rand/v2"
	"slices"

	"github.com/troupe-llm/troupe/actors"
	"github.com/troupe-llm/troupe/tokenize"
	"github.com/troupe-llm/troupe/tokenize/reply"
)

// call is one decoded request for text: what is to be generated, and what the
// answer looks like. It borrows nothing from the request.
type call struct {
	id      string // of the answer, "chatcmpl-…" or "cmpl-…"
	created int64  // Unix seconds
	isChat  bool
	model   string // as asked for; "" is the served one

	prompts []prompt
	chat    tokenize.Chat  // the only prompt of a chat
	n       int            // choices per prompt
	req     actors.Request // what every choice has in common
	limited bool           // a token limit was given
	seeded  bool           // a seed was given

	stream, streamOptions, includeUsage bool
	continuousUsage                     bool // with every chunk

	echo      bool
	returnIDs bool
	logprobs  bool
	top       int  // alternatives listed with each token
	tokenIDs  bool // tokens are named by their ids

	promptLogprobs bool // those of the prompt, apart from the text …
	promptTop      int  // … and the alternatives listed with them

	effort        string // of reasoning, in OpenAI's words; "": not said
	tools         []tool
	toolChoice    toolChoice
	toolNamed     string // the tool that was chosen
	parallelCalls bool
	separate      bool          // reasoning from the text
	reply         reply.Options // what a chat's replies may hold

	fingerprint string // of the server
	limits      *limits
	family      *family
}

// newCall is a call that asks for nothing yet.
func (s *Server) newCall(isChat bool) call {
	c := call{isChat: isChat, n: 1, fingerprint: s.fingerprint, limits: &s.limits, family: &s.family, req: actors.Request{Sampling: s.info.sampling}}
	c.parallelCalls, c.separate = true, true
	c.chat.AddGenerationPrompt = isChat
	return c
}

// prompt is one prompt of a text completion: text, or ids when not nil.
type prompt struct {
	text string
	ids  []int32
}

// limits bound what one request may ask for.
type limits struct {
	vocab, context, choices, stops, stopBytes int
}

// defaultTextTokens is how long a text completion gets when nobody says, as
// at OpenAI. A chat's answer may fill the context.
const defaultTextTokens = 16

// decodeCall reads and checks a body.
func (s *Server) decodeCall(body []byte, isChat bool) (*call, *Error) {
	of := s.newCall(isChat)
	c := &of
	fields := textFields
	if isChat {
		fields = chatFields
	}
	if err := decode(body, fields, c); err != nil {
		return nil, err
	}
	if err := c.chooseCalls(); err != nil {
		return nil, err
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	if s.tokenizer == nil && (c.logprobs || c.echo || c.promptLogprobs) {
		return nil, badRequest("", "the served model has no tokenizer, which echo, logprobs and prompt_logprobs need")
	}
	if c.model == "" {
		c.model = s.cfg.Models[0]
	} else if !slices.Contains(s.cfg.Models, c.model) {
		return nil, s.modelNotFound(c.model)
	}
	c.complete()
	if isChat && s.tokenizer != nil {
		c.expect(s.tokenizer)
	}
	return c, nil
}

// check finds what is wrong between fields.
func (c *call) check() *Error {
	limit := c.req.MaxTokens
	switch {
	case c.isChat && c.chat.Messages == nil:
		return badRequest("messages", "messages: required")
	case !c.isChat && c.prompts == nil:
		return badRequest("prompt", "prompt: required")
	case c.limited && c.req.MinTokens > limit:
		return badRequest("min_tokens", "min_tokens: must be at most max_tokens (%d), got %d", limit, c.req.MinTokens)
	case c.chat.ContinueFinalMessage && c.chat.AddGenerationPrompt:
		return badRequest("continue_final_message", "continue_final_message: needs add_generation_prompt to be false")
	case c.effort != "" && c.chat.Kwargs[c.family.effort(c.effort).name] != nil:
		return badRequest("reasoning_effort", "reasoning_effort: chat_template_kwargs says it already")
	case c.top > 0 && !c.logprobs:
		return badRequest("top_logprobs", "top_logprobs: needs logprobs to be true")
	case c.promptLogprobs && c.stream:
		return badRequest("prompt_logprobs", "prompt_logprobs: needs stream to be false; a stream has no place for them")
	case c.streamOptions && !c.stream:
		return badRequest("stream_options", "stream_options: needs stream to be true")
	case c.req.Grammar != nil && c.req.IgnoreEOS:
		return badRequest("ignore_eos", "ignore_eos: cannot be combined with %s, whose answers have an end", c.req.Grammar.Path())
	case c.req.Grammar != nil && c.req.MinTokens > 0:
		return badRequest("min_tokens", "min_tokens: cannot be combined with %s, whose answers have an end", c.req.Grammar.Path())
	case c.n > c.limits.choices:
		return badRequest("n", "n: must be at most %d, got %d", c.limits.choices, c.n)
	case c.n*max(len(c.prompts), 1) > c.limits.choices:
		return badRequest("n", "n: %d prompts times %d answers are more than %d", len(c.prompts), c.n, c.limits.choices)
	}
	return nil
}

// coldest is the temperature below which dividing by it says nothing more
// than taking the likeliest token.
const coldest = 1e-5

// complete fills in what the request left open.
func (c *call) complete() {
	if !c.isChat && !c.limited {
		c.req.MaxTokens = max(defaultTextTokens, c.req.MinTokens)
	}
	c.req.PromptOnly = c.limited && c.req.MaxTokens == 0
	if c.req.Sampling.Temperature < coldest {
		c.req.Sampling.Temperature = 0
	}
	if !c.seeded {
		c.req.Sampling.Seed = rand.Uint64()
	}
	if c.effort != "" {
		if c.chat.Kwargs == nil {
			c.chat.Kwargs = map[string]any{}
		}
		v := c.family.effort(c.effort)
		c.chat.Kwargs[v.name] = v.value
	}
	if c.logprobs {
		c.req.Sampling.Logprobs = int32(1 + c.top)
		c.req.PromptLogprobs = c.echo
	}
	if c.promptLogprobs {
		c.req.Sampling.Logprobs = max(c.req.Sampling.Logprobs, int32(1+c.promptTop))
		c.req.PromptLogprobs = true
	}
}

// choices is how many answers there will be.
func (c *call) choices() int { return c.n * max(len(c.prompts), 1) }

// request is what the engine is asked for choice i. Choices of one prompt lie
// together and differ in their seeds alone.
func (c *call) request(i int) *actors.Request {
	r := c.req
	r.ID = c.id
	r.Sampling.Seed += uint64(i % c.n)
	if c.isChat {
		r.Chat = &c.chat
		return &r
	}
	p := &c.prompts[i/c.n]
	r.Text, r.Tokens = p.text, p.ids
	return &r
}

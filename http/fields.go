package http

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/troupe-llm/troupe/gpu/batch"
)

// setter reads one field into a T. Its error says what is wrong with the
// value; decode adds the field's name.
type setter[T any] func(*T, raw) error

// table is every field a route knows.
type table[T any] map[string]setter[T]

// decode reads a request's fields in the order given. Null is as good as
// absent.
func decode[T any](body []byte, fields table[T], into *T) *Error {
	v, fault := parse(body)
	if fault != nil {
		return fault
	}
	seen := make(map[string]bool, 16)
	for name, v := range v.members() {
		set, known := fields[name]
		switch {
		case !known:
			return badRequest(name, "unknown field %q", name)
		case seen[name]:
			return badRequest(name, "%s: given twice", name)
		}
		seen[name] = true
		if v.null() {
			continue
		}
		if err := set(into, v); err != nil {
			return badField(name, err)
		}
	}
	return nil
}

func join[T any](tables ...table[T]) table[T] {
	all := table[T]{}
	for _, t := range tables {
		for name, set := range t {
			all[name] = set
		}
	}
	return all
}

// The bounds below are OpenAI's where it has them, else generous.

// common are the fields of both chat and text completions.
var common = join(labels, formatFields, table[call]{
	"model": func(c *call, v raw) (err error) { c.model, err = v.text(); return },

	"min_tokens":        integer(0, math.MaxInt32, func(c *call, n int64) { c.req.MinTokens = int(n) }),
	"ignore_eos":        boolean(func(c *call, b bool) { c.req.IgnoreEOS = b }),
	"stop":              setStop,
	"stop_token_ids":    func(c *call, v raw) (err error) { c.req.StopTokens, err = v.ids(c.limits.vocab); return },
	"n":                 integer(1, math.MaxInt32, func(c *call, n int64) { c.n = int(n) }),
	"priority":          integer(math.MinInt32, math.MaxInt32, func(c *call, n int64) { c.req.Priority = int(n) }),
	"stream":            boolean(func(c *call, b bool) { c.stream = b }),
	"stream_options":    setStreamOptions,
	"return_token_ids":  boolean(func(c *call, b bool) { c.returnIDs = b }),
	"temperature":       number(0, 2, func(c *call, x float64) { c.req.Sampling.Temperature = float32(x) }),
	"top_p":             number(0, 1, func(c *call, x float64) { c.req.Sampling.TopP = float32(max(x, leastTopP)) }),
	"top_k":             integer(-1, math.MaxInt32, func(c *call, n int64) { c.req.Sampling.TopK = int32(max(n, 0)) }),
	"min_p":             number(0, 1, func(c *call, x float64) { c.req.Sampling.MinP = float32(x) }),
	"seed":              integer(math.MinInt64, math.MaxInt64, func(c *call, n int64) { c.seeded, c.req.Sampling.Seed = true, uint64(n) }),
	"presence_penalty":  number(-2, 2, func(c *call, x float64) { c.req.Sampling.Presence = float32(x) }),
	"frequency_penalty": number(-2, 2, func(c *call, x float64) { c.req.Sampling.Frequency = float32(x) }),
	"logit_bias":        setLogitBias,

	"repetition_penalty":         number(0.01, 100, func(c *call, x float64) { c.req.Sampling.Repetition = float32(x) }),
	"include_stop_str_in_output": boolean(func(c *call, b bool) { c.req.IncludeStop = b }),

	"prompt_logprobs": integer(0, maxLogprobs, func(c *call, n int64) { c.promptLogprobs, c.promptTop = true, int(n) }),

	"return_tokens_as_token_ids": boolean(func(c *call, b bool) { c.tokenIDs = b }),

	"skip_special_tokens": boolean(func(c *call, b bool) { c.req.KeepSpecial = !b }),

	// Known, and accepted only where they ask for what happens anyway.
	"best_of":           only("candidates are not ranked", "1"),
	"use_beam_search":   only("there is no beam search", "false"),
	"logits_processors": only("there are none", "[]"),
})

// labels are the fields that are read by nobody and change nothing in the
// answer; only their types are checked.
var labels = table[call]{
	"user":              label("a string"),
	"metadata":          label("an object"),
	"safety_identifier": label("a string"),
	"prompt_cache_key":  label("a string"),
	"service_tier":      label("a string"),

	"prompt_cache_retention": label("a string"),
}

var chatFields = join(common, table[call]{
	"messages":              setFittingMessages,
	"max_tokens":            setMaxTokens(1),
	"max_completion_tokens": setMaxTokens(1),
	"logprobs":              boolean(func(c *call, b bool) { c.logprobs = b }),
	"top_logprobs":          integer(0, maxLogprobs, func(c *call, n int64) { c.top = int(n) }),
	"tools":                 setTools,
	"tool_choice":           setToolChoice,
	"chat_template_kwargs":  setTemplateKwargs,
	"reasoning_effort":      setEffort,
	"documents":             setDocuments,
	"add_generation_prompt": boolean(func(c *call, b bool) { c.chat.AddGenerationPrompt = b }),

	// What goes on needs "add_generation_prompt": false beside it.
	"continue_final_message": boolean(func(c *call, b bool) { c.chat.ContinueFinalMessage = b }),

	"parallel_tool_calls": boolean(func(c *call, b bool) { c.parallelCalls = b }),
	"separate_reasoning":  boolean(func(c *call, b bool) { c.separate = b }),
	"store":               only("nothing is stored", "false"),
	"modalities":          only("answers are text", `["text"]`),
	"echo":                only("a chat's prompt cannot be echoed", "false"),
	"prompt":              refused("this is /v1/chat/completions, which takes messages"),
	"chat_template":       refused("the template is the model's; a request cannot bring its own"),
	"audio":               refused("not supported; answers are text"),
	"prediction":          refused("not supported"),
	"web_search_options":  refused("not supported"),
	"verbosity":           refused("not supported"),
	"functions":           refused("not supported; use tools"),
	"function_call":       refused("not supported; use tool_choice"),
})

var textFields = join(common, table[call]{
	"prompt":             setPrompt,
	"logprobs":           integer(0, maxLogprobs, func(c *call, n int64) { c.logprobs, c.top = true, int(n) }),
	"max_tokens":         setMaxTokens(0),
	"echo":               boolean(func(c *call, b bool) { c.echo = b }),
	"add_special_tokens": boolean(func(c *call, b bool) { c.req.NoSpecial = !b }),
	"suffix":             only("text cannot be inserted before a suffix", `""`),
	"messages":           refused("this is /v1/completions, which takes prompt"),
})

// leastTopP keeps the likeliest token alone, as a top_p of 0 should; the
// engine's 0 keeps all.
const leastTopP = 1e-9

// maxLogprobs is how many alternatives a token may be listed with.
const maxLogprobs = 20

func boolean[T any](put func(*T, bool)) setter[T] {
	return func(t *T, v raw) error {
		b, err := v.boolean()
		if err == nil {
			put(t, b)
		}
		return err
	}
}

func integer(lo, hi int64, put func(*call, int64)) setter[call] {
	return func(c *call, v raw) error {
		n, err := v.integer()
		switch {
		case err != nil:
			return err
		case n < lo:
			return fmt.Errorf("must be at least %d, got %d", lo, n)
		case n > hi:
			return fmt.Errorf("must be at most %d, got %d", hi, n)
		}
		put(c, n)
		return nil
	}
}

func number(lo, hi float64, put func(*call, float64)) setter[call] {
	return func(c *call, v raw) error {
		x, err := v.number()
		if err == nil && (x < lo || x > hi) {
			err = fmt.Errorf("must be between %g and %g, got %s", lo, hi, v)
		}
		if err == nil {
			put(c, x)
		}
		return err
	}
}

// label accepts any value of a kind and drops it.
func label(kind string) setter[call] {
	return func(_ *call, v raw) error {
		if v.kind() != kind {
			return v.want(kind)
		}
		return nil
	}
}

// only accepts one value, which changes nothing.
func only(why, value string) setter[call] {
	return func(_ *call, v raw) error {
		if string(v) != value {
			return fmt.Errorf("only %s is supported: %s", value, why)
		}
		return nil
	}
}

func refused(why string) setter[call] {
	return func(*call, raw) error { return errors.New(why) }
}

// setMaxTokens serves both names of the limit. A text completion may be of no
// tokens: its prompt is computed, and scored when it is to be echoed so.
func setMaxTokens(least int64) setter[call] {
	set := integer(least, math.MaxInt32, func(c *call, n int64) { c.req.MaxTokens = int(n) })
	return func(c *call, v raw) error {
		given := c.req.MaxTokens
		err := set(c, v)
		if err == nil && c.limited && given != c.req.MaxTokens {
			return fmt.Errorf("max_tokens and max_completion_tokens differ: %d and %d", given, c.req.MaxTokens)
		}
		c.limited = true
		return err
	}
}

func setStop(c *call, v raw) error {
	c.req.Stop = nil
	switch v[0] {
	case '"':
		return addStop(c, v)
	case '[':
		for i, e := range v.elements() {
			if err := addStop(c, e); err != nil {
				return at(index(i), err)
			}
		}
		return nil
	}
	return v.want("a string or an array of strings")
}

func addStop(c *call, v raw) error {
	s, err := v.text()
	switch {
	case err != nil:
		return err
	case s == "":
		return errors.New("must not be empty")
	case len(s) > c.limits.stopBytes:
		return fmt.Errorf("must be at most %d bytes long, got %d", c.limits.stopBytes, len(s))
	case len(c.req.Stop) == c.limits.stops:
		return fmt.Errorf("at most %d stop strings are taken", c.limits.stops)
	}
	c.req.Stop = append(c.req.Stop, s)
	return nil
}

func setStreamOptions(c *call, v raw) error {
	if v[0] != '{' {
		return v.want("an object")
	}
	for name, v := range v.members() {
		var err error
		switch {
		case v.null():
		case name == "include_usage":
			c.includeUsage, err = v.boolean()
		case name == "continuous_usage_stats":
			c.continuousUsage, err = v.boolean()
		case name == "include_obfuscation": // padding against eavesdroppers
			err = only("chunks are not padded", "false")(c, v)
		default:
			err = errors.New("unknown field")
		}
		if err != nil {
			return at("."+name, err)
		}
	}
	c.streamOptions = true
	return nil
}

func setLogitBias(c *call, v raw) error {
	if v[0] != '{' {
		return v.want("an object from token ids to numbers")
	}
	for name, v := range v.members() {
		id, err := strconv.Atoi(name)
		if err != nil || id < 0 || id >= c.limits.vocab {
			return fmt.Errorf("%q is not a token id (0 to %d)", name, c.limits.vocab-1)
		}
		x, err := v.number()
		if err == nil && (x < -100 || x > 100) {
			err = fmt.Errorf("must be between -100 and 100, got %s", v)
		}
		if err != nil {
			return at("."+name, err)
		}
		c.req.Sampling.Bias = append(c.req.Sampling.Bias, batch.TokenBias{Token: int32(id), Bias: float32(x)})
	}
	// The order of members means nothing, so it must not show.
	slices.SortFunc(c.req.Sampling.Bias, func(a, b batch.TokenBias) int { return int(a.Token - b.Token) })
	return nil
}

// setPrompt reads the four shapes of a prompt: text, token ids, or a list of
// either.
func setPrompt(c *call, v raw) error {
	const shapes = "a string, token ids, or an array of either"
	switch v[0] {
	case '"':
		c.prompts = []prompt{{text: unquote(v)}}
		return nil
	case '[':
	default:
		return v.want(shapes)
	}
	if b := v[space(v, 1)]; b == '-' || b >= '0' && b <= '9' {
		ids, err := v.ids(c.limits.vocab)
		c.prompts = []prompt{{ids: ids}}
		return err
	}
	for i, e := range v.elements() {
		var p prompt
		var err error
		switch e[0] {
		case '"':
			p.text = unquote(e)
		case '[':
			if p.ids, err = e.ids(c.limits.vocab); err == nil && len(p.ids) == 0 {
				err = errors.New("must not be empty")
			}
		default:
			err = e.want("a string or token ids")
		}
		if err == nil && i >= c.limits.choices {
			return fmt.Errorf("at most %d prompts are taken", c.limits.choices)
		}
		if err != nil {
			return at(index(i), err)
		}
		c.prompts = append(c.prompts, p)
	}
	if len(c.prompts) == 0 {
		return errors.New("must not be empty")
	}
	return nil
}

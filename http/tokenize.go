package http

import (
	"slices"
	"strconv"
)

// tokenizeCall is a request of /tokenize: a prompt or a chat.
type tokenizeCall struct {
	call       // the chat's part of it
	text       *string
	addSpecial *bool // default: true for a prompt; a template writes its own
}

// asCall lets a setter of completions serve another request.
func asCall[T any](set setter[call], of func(*T) *call) setter[T] {
	return func(t *T, v raw) error { return set(of(t), v) }
}

var tokenizeFields = func() table[tokenizeCall] {
	t := table[tokenizeCall]{
		"prompt": func(c *tokenizeCall, v raw) error {
			text, err := v.text()
			c.text = &text
			return err
		},
		"add_special_tokens": boolean(func(c *tokenizeCall, b bool) { c.addSpecial = &b }),
	}
	t["messages"] = asCall(setMessages, func(c *tokenizeCall) *call { return &c.call }) // to be counted, whatever fits
	for _, name := range []string{"model", "tools", "add_generation_prompt", "chat_template_kwargs", "continue_final_message", "documents", "chat_template"} {
		t[name] = asCall(chatFields[name], func(c *tokenizeCall) *call { return &c.call })
	}
	return t
}()

// tokenizePrompt answers with what a prompt becomes.
func tokenizePrompt(x *exchange) *Error {
	s := x.s
	c := tokenizeCall{call: s.newCall(true)}
	if e := decodeFor(x, tokenizeFields, &c, &c.call); e != nil {
		return e
	}
	var text string
	addSpecial := c.text != nil
	switch {
	case c.text != nil && c.chat.Messages != nil:
		return badRequest("messages", "messages: cannot be combined with prompt")
	case c.text != nil:
		text = *c.text
	case c.chat.Messages != nil:
		var err error
		if text, err = s.tokenizer.Render(c.chat); err != nil {
			return badRequest("messages", "%v", err)
		}
	default:
		return badRequest("prompt", "prompt: required, unless there are messages")
	}
	if c.addSpecial != nil {
		addSpecial = *c.addSpecial
	}
	ids := s.tokenizer.Encode(text, addSpecial)

	dst := append([]byte(nil), `{"count":`...)
	dst = strconv.AppendInt(dst, int64(len(ids)), 10)
	dst = append(dst, `,"max_model_len":`...)
	dst = strconv.AppendInt(dst, int64(s.info.maxLen), 10)
	dst = append(dst, `,"tokens":`...)
	dst = appendIDs(dst, ids)
	dst = append(dst, `,"prompt":`...)
	dst = appendQuoted(dst, text)
	x.send(append(dst, '}'))
	return nil
}

// detokenizeCall is a request of /detokenize.
type detokenizeCall struct {
	call  // the model
	ids   []int32
	given bool
}

var detokenizeFields = table[detokenizeCall]{
	"model": asCall(chatFields["model"], func(c *detokenizeCall) *call { return &c.call }),
	"tokens": func(c *detokenizeCall, v raw) (err error) {
		c.given = true
		c.ids, err = v.ids(c.limits.vocab)
		return
	},
}

// detokenize answers with the text of tokens, special ones included.
func detokenize(x *exchange) *Error {
	c := detokenizeCall{call: x.s.newCall(false)}
	if e := decodeFor(x, detokenizeFields, &c, &c.call); e != nil {
		return e
	}
	if !c.given {
		return badRequest("tokens", "tokens: required")
	}
	x.send(append(appendQuoted([]byte(`{"prompt":`), x.s.tokenizer.Decode(c.ids, false)), '}'))
	return nil
}

// tokenizerInfo answers with what a client needs to know of the tokenizer to
// work out by /tokenize what a prompt will be: as vLLM's route of that name, of
// which these are the members that evaluation harnesses read.
func tokenizerInfo(x *exchange) *Error {
	t := x.s.tokenizer
	if t == nil {
		return errNoTokenizer
	}
	dst := append([]byte(nil), '{')
	for _, name := range []string{"bos_token", "eos_token", "pad_token", "unk_token"} {
		dst = append(appendQuoted(dst, name), ':')
		dst = append(appendOrNull(dst, t.Named(name)), ',')
	}
	dst = append(dst, `"chat_template":`...)
	dst = appendOrNull(dst, t.ChatTemplate(false))
	dst = append(dst, `,"model_max_length":`...)
	x.send(append(strconv.AppendInt(dst, int64(x.s.info.maxLen), 10), '}'))
	return nil
}

var errNoTokenizer = badRequest("", "the served model has no tokenizer")

// decodeFor reads a body that is about the tokenizer of a model.
func decodeFor[T any](x *exchange, fields table[T], into *T, c *call) *Error {
	body, e := x.json()
	if e != nil {
		return e
	}
	if e := decode(body, fields, into); e != nil {
		return e
	}
	if c.model != "" && !slices.Contains(x.s.cfg.Models, c.model) {
		return x.s.modelNotFound(c.model)
	}
	if x.s.tokenizer == nil {
		return errNoTokenizer
	}
	return nil
}

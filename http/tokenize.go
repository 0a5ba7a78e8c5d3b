package http

import (
	"strconv"

	"github.com/troupe-llm/troupe/http/internal/dialect/apierr"
	"github.com/troupe-llm/troupe/http/internal/dialect/conversation"
	"github.com/troupe-llm/troupe/http/internal/dialect/field"
	"github.com/troupe-llm/troupe/http/internal/dialect/jsonenc"
	"github.com/troupe-llm/troupe/http/internal/dialect/model"
)

// tokenizeCall is a request of /tokenize: a prompt or a chat.
type tokenizeCall struct {
	conversation.Conversation
	model      string
	text       *string
	addSpecial *bool // default: true for a prompt; a template writes its own
	texts      bool  // tokens are wanted as the vocabulary spells them, too
}

func newTokenizeCall(m *model.Model, notes *field.Notes) *tokenizeCall {
	return &tokenizeCall{Conversation: conversation.New(m, notes)}
}

var tokenizeFields = field.Join(
	field.Lift(
		conversation.Fields.Only("tools", "add_generation_prompt", "chat_template_kwargs", "continue_final_message", "documents", "chat_template"),
		ofChat,
	),
	field.Lift(field.Table[conversation.Conversation]{"messages": conversation.SetMessages}, ofChat), // to be counted, whatever fits
	field.Table[tokenizeCall]{
		"model": func(c *tokenizeCall, v field.Value) (err error) { c.model, err = v.Text(); return },
		"prompt": func(c *tokenizeCall, v field.Value) error {
			text, err := v.Text()
			c.text = &text
			return err
		},
		"add_special_tokens": field.Boolean(func(c *tokenizeCall, b bool) { c.addSpecial = &b }),
		"return_token_strs":  field.Boolean(func(c *tokenizeCall, b bool) { c.texts = b }),
	},
)

func ofChat(c *tokenizeCall) *conversation.Conversation { return &c.Conversation }

// tokenizePrompt answers with what a prompt becomes.
func tokenizePrompt(x *exchange) *Error {
	body, e := x.jsonForModel()
	if e != nil {
		return e
	}
	m := &x.model.model
	notes := x.notes()
	c := newTokenizeCall(m, &notes)
	if e := decodeFor(x, body, tokenizeFields, c, &c.model, &notes); e != nil {
		return e
	}
	var text string
	addSpecial := c.text != nil
	switch {
	case c.text != nil && c.Chat.Messages != nil:
		return apierr.Invalid("messages", "messages: cannot be combined with prompt")
	case c.text != nil:
		text = *c.text
	case c.Chat.Messages != nil:
		var err error
		if text, err = m.Tokenizer.Render(c.Chat); err != nil {
			return apierr.Invalid("messages", "%v", err)
		}
	default:
		return apierr.Invalid("prompt", "prompt: required, unless there are messages")
	}
	if c.addSpecial != nil {
		addSpecial = *c.addSpecial
	}
	ids := m.Tokenizer.Encode(text, addSpecial)

	dst := append([]byte(nil), `{"count":`...)
	dst = strconv.AppendInt(dst, int64(len(ids)), 10)
	dst = append(dst, `,"max_model_len":`...)
	dst = strconv.AppendInt(dst, int64(m.Context), 10)
	dst = append(dst, `,"tokens":`...)
	dst = jsonenc.IDs(dst, ids)
	dst = append(dst, `,"token_strs":`...)
	if c.texts {
		dst = appendTexts(dst, m.Tokenizer, ids)
	} else {
		dst = append(dst, "null"...)
	}
	dst = append(dst, `,"prompt":`...)
	dst = jsonenc.Quoted(dst, text)
	x.send(append(dst, '}'))
	return nil
}

// appendTexts appends tokens as the vocabulary spells them, as vLLM does.
func appendTexts(dst []byte, tok model.Tokenizer, ids []int32) []byte {
	dst = append(dst, '[')
	for i, id := range ids {
		dst = jsonenc.Quoted(jsonenc.Comma(dst, i), tok.Token(id))
	}
	return append(dst, ']')
}

// detokenizeCall is a request of /detokenize.
type detokenizeCall struct {
	vocab int
	model string
	ids   []int32
	given bool
}

var detokenizeFields = field.Table[detokenizeCall]{
	"model": func(c *detokenizeCall, v field.Value) (err error) { c.model, err = v.Text(); return },
	"tokens": func(c *detokenizeCall, v field.Value) (err error) {
		c.given = true
		c.ids, err = v.IDs(c.vocab)
		return
	},
}

// detokenize answers with the text of tokens, special ones included.
func detokenize(x *exchange) *Error {
	body, e := x.jsonForModel()
	if e != nil {
		return e
	}
	m := &x.model.model
	c := detokenizeCall{vocab: m.Vocab}
	notes := x.notes()
	if e := decodeFor(x, body, detokenizeFields, &c, &c.model, &notes); e != nil {
		return e
	}
	if !c.given {
		return apierr.Invalid("tokens", "tokens: required")
	}
	x.send(append(jsonenc.Quoted([]byte(`{"prompt":`), m.Tokenizer.Decode(c.ids, false)), '}'))
	return nil
}

// tokenizerInfo answers with what a client needs to know of the tokenizer to
// work out by /tokenize what a prompt will be: as vLLM's route of that name, of
// which these are the members that evaluation harnesses read.
func tokenizerInfo(x *exchange) *Error {
	if e := x.chooseByQuery(); e != nil {
		return e
	}
	t := x.model.model.Tokenizer
	if t == nil {
		return errNoTokenizer
	}
	dst := append([]byte(nil), '{')
	for _, name := range []string{"bos_token", "eos_token", "pad_token", "unk_token"} {
		dst = append(jsonenc.Quoted(dst, name), ':')
		dst = append(jsonenc.OrNull(dst, t.Named(name)), ',')
	}
	dst = append(dst, `"chat_template":`...)
	dst = jsonenc.OrNull(dst, t.ChatTemplate(false))
	dst = append(dst, `,"model_max_length":`...)
	x.send(append(strconv.AppendInt(dst, int64(x.model.info.maxLen), 10), '}'))
	return nil
}

var errNoTokenizer = apierr.Invalid("", "the served model has no tokenizer")

// jsonForModel is the body, by which the model is chosen.
func (x *exchange) jsonForModel() ([]byte, *Error) {
	body, e := x.json()
	if e == nil {
		e = x.chooseBy(body)
	}
	return body, e
}

// decodeFor reads a body that is about the tokenizer of a model.
func decodeFor[T any](x *exchange, body []byte, fields field.Table[T], into *T, name *string, notes *field.Notes) *Error {
	e := field.Decode(body, fields, into, notes)
	x.sayIgnored(notes)
	if e != nil {
		return e
	}
	if _, e := x.model.model.Name(*name); e != nil {
		return e
	}
	if x.model.model.Tokenizer == nil {
		return errNoTokenizer
	}
	return nil
}

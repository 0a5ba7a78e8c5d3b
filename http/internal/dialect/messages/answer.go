package messages

import (
	"bytes"
	"encoding/json"
	"strconv"

	"github.com/troupe-llm/troupe/actors"
	"github.com/troupe-llm/troupe/http/internal/dialect"
	"github.com/troupe-llm/troupe/http/internal/dialect/conversation"
	"github.com/troupe-llm/troupe/http/internal/dialect/jsonenc"
)

// answer is what both writers have in common.
type answer struct {
	id      string // of the message
	request string // its id
	model   string
	// signature goes with reasoning, since clients give none back without. It says
	// which server wrote it and proves nothing: what comes back is read without.
	signature string
	omit      bool // reasoning's text
	most      int  // tokens that were asked for
	ids       conversation.CallIDs
}

// appendHead appends a message's first members, up to its content's elements.
func (w *answer) appendHead(dst []byte) []byte {
	dst = quoted(append(dst, `{"id":`...), w.id)
	dst = quoted(append(dst, `,"type":"message","role":"assistant","model":`...), w.model)
	return append(dst, `,"content":[`...)
}

// appendStop appends why the message ended, as far as that is done here: nil is
// that there is more.
func (w *answer) appendStop(dst []byte, f *actors.Final) []byte {
	reason, stop := "", ""
	if f != nil {
		reason, stop = w.reason(f), f.Stop
	}
	dst = jsonenc.OrNull(append(dst, `"stop_reason":`...), reason)
	dst = jsonenc.OrNull(append(dst, `,"stop_sequence":`...), stop)
	return append(dst, `,"stop_details":null,"container":null`...)
}

func (w *answer) reason(f *actors.Final) string {
	switch {
	case f.Reason == dialect.FinishCalls:
		return "tool_use"
	case f.Stop != "":
		return "stop_sequence"
	case f.Reason != actors.FinishLength:
		return "end_turn"
	case f.Usage.CompletionTokens < w.most:
		return "model_context_window_exceeded"
	}
	return "max_tokens"
}

// appendUsage appends {"input_tokens":…, and leaves it open: of the prompt, what was not found in the
// prefix cache. Whatever is computed is cached, and none of it counts for more.
func appendUsage(dst []byte, u *dialect.Usage) []byte {
	number := func(name string, n int) {
		dst = strconv.AppendInt(append(append(dst, name...), `":`...), int64(n), 10)
	}
	number(`{"input_tokens`, u.PromptTokens-u.CachedTokens)
	number(`,"cache_creation_input_tokens`, 0)
	number(`,"cache_read_input_tokens`, u.CachedTokens)
	number(`,"output_tokens`, u.CompletionTokens)
	if u.Reasoning >= 0 {
		number(`,"output_tokens_details":{"thinking_tokens`, u.Reasoning)
		dst = append(dst, '}')
	} else {
		dst = append(dst, `,"output_tokens_details":null`...)
	}
	return append(dst, `,"server_tool_use":null`...)
}

// appendMessageUsage appends what a message has beside that.
func appendMessageUsage(dst []byte, u *dialect.Usage) []byte {
	return append(appendUsage(dst, u), `,"cache_creation":null,"inference_geo":null,"service_tier":"standard","speed":null}`...)
}

// appendCall appends the members of a tool_use block, up to its input.
func (w *answer) appendCall(dst []byte, i int, name []byte) []byte {
	dst = quoted(append(dst, `{"type":"tool_use","caller":{"type":"direct"},"id":`...), w.ids.New("toolu_", name, i))
	dst = append(append(append(dst, `,"name":"`...), jsonenc.String(nil, name)...), `","input":`...)
	return dst
}

func quoted(dst []byte, s string) []byte { return jsonenc.Quoted(dst, s) }

// input is a call's arguments as the object that they have to be: of those that
// were cut off, the members that are whole.
func input(arguments []byte) []byte {
	b := bytes.TrimSpace(arguments)
	if len(b) == 0 || b[0] != '{' {
		return []byte("{}")
	}
	if json.Valid(b) {
		return b
	}
	var open []byte                  // what ends the values that b is within
	whole, closing := 1, []byte{'}'} // b[:whole], ended so, is an object
	for i := 0; i < len(b); i++ {
		switch c := b[i]; c {
		case '"':
			for i++; i < len(b) && b[i] != '"'; i++ {
				if b[i] == '\\' {
					i++
				}
			}
		case '{', '[':
			open = append(open, c+2)
		case '}', ']':
			if len(open) > 0 {
				open = open[:len(open)-1]
			}
			whole, closing = i+1, bytes.Clone(open)
		case ',':
			whole, closing = i, bytes.Clone(open)
		}
	}
	out := bytes.Clone(b[:whole])
	for i := len(closing) - 1; i >= 0; i-- {
		out = append(out, closing[i])
	}
	if !json.Valid(out) { // it was none that was cut off
		return []byte("{}")
	}
	return out
}

package chat

import (
	"strconv"

	"github.com/troupe-llm/troupe/actors"
	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/http/internal/dialect/conversation"
	"github.com/troupe-llm/troupe/http/internal/dialect/jsonenc"
	"github.com/troupe-llm/troupe/http/internal/dialect/openai"
	"github.com/troupe-llm/troupe/tokenize/reply"
)

// answer is what both writers have in common.
type answer struct {
	openai.Answer
	ids     conversation.CallIDs
	unshown bool // reasoning is
}

// appendTail appends what a choice has after its text, and ends it. tokens and
// logprobs are those of a chunk, or all.
func (w *answer) appendTail(dst []byte, tokens []int32, logprobs []batch.Logprob, final *actors.Final) []byte {
	if final == nil && w.Plain() { // most of them
		return append(dst, openai.Unfinished...)
	}
	dst = append(dst, `,"logprobs":`...)
	if w.Logprobs && len(logprobs) > 0 {
		dst = appendLogprobs(dst, tokens, logprobs, w.Tokens())
	} else {
		dst = append(dst, "null"...)
	}
	dst = openai.AppendFinish(dst, final)
	if w.ReturnIDs {
		dst = append(dst, `,"token_ids":`...)
		dst = jsonenc.IDs(dst, tokens)
	}
	return append(dst, '}')
}

// appendPart appends what a part adds to the message.
func (w *answer) appendPart(dst []byte, p *reply.Part) []byte {
	switch p.Kind {
	case reply.Text:
		dst = append(dst, `"content":"`...)
		return append(jsonenc.String(dst, p.Text), '"')
	case reply.Reasoning:
		return appendReasoning(dst, p.Text)
	}
	dst = append(dst, `"tool_calls":[{"index":`...)
	dst = strconv.AppendInt(dst, int64(p.Call), 10)
	if p.Kind == reply.Call {
		dst = append(dst, ',')
		return append(w.appendCall(dst, p.Call, p.Text, nil), "}]"...)
	}
	dst = append(dst, `,"function":{"arguments":"`...)
	return append(jsonenc.String(dst, p.Text), `"}}]`...)
}

// appendCall appends the members of a tool call.
func (w *answer) appendCall(dst []byte, i int, name, arguments []byte) []byte {
	dst = append(dst, `"id":"`...)
	dst = jsonenc.String(dst, w.ids.New("call_", name, i))
	dst = append(dst, `","type":"function","function":{"name":"`...)
	dst = append(jsonenc.String(dst, name), `","arguments":"`...)
	return append(jsonenc.String(dst, arguments), `"}`...)
}

// appendMessage appends the content, and what there is beside it. A message
// that only calls tools has no content.
func (w *answer) appendMessage(dst []byte, m *reply.Message) []byte {
	if len(m.Text) == 0 && len(m.Calls) > 0 {
		dst = append(dst, "null"...)
	} else {
		dst = append(jsonenc.String(append(dst, '"'), m.Text), '"')
	}
	dst = append(dst, `,"refusal":null`...)
	if len(m.Reasoning) > 0 && !w.unshown {
		dst = appendReasoning(append(dst, ','), m.Reasoning)
	}
	for i := range m.Calls {
		if i == 0 {
			dst = append(dst, `,"tool_calls":[`...)
		}
		dst = append(jsonenc.Comma(dst, i), '{')
		dst = append(w.appendCall(dst, i, []byte(m.Calls[i].Name), m.Calls[i].Arguments), '}')
	}
	if len(m.Calls) > 0 {
		dst = append(dst, ']')
	}
	return dst
}

// appendReasoning appends reasoning under both names that clients look for.
func appendReasoning(dst, text []byte) []byte {
	dst = append(dst, `"reasoning_content":"`...)
	from := len(dst)
	dst = jsonenc.String(dst, text)
	to := len(dst)
	dst = append(dst, `","reasoning":"`...)
	return append(append(dst, dst[from:to]...), '"')
}

// appendLogprobs appends {"content":[…]}: an object per token.
func appendLogprobs(dst []byte, ids []int32, logprobs []batch.Logprob, tok openai.Tokens) []byte {
	dst = append(dst, `{"content":[`...)
	for i := range logprobs {
		dst = jsonenc.Comma(dst, i)
		lp := &logprobs[i]
		dst = appendLogprob(dst, ids[i], lp.Token, tok)
		dst = append(dst, `,"top_logprobs":[`...)
		for j, alt := range lp.Top {
			dst = jsonenc.Comma(dst, j)
			dst = append(appendLogprob(dst, alt.Token, alt.Logprob, tok), '}')
		}
		dst = append(dst, "]}"...)
	}
	return append(dst, `],"refusal":null}`...)
}

// appendLogprob leaves its object open.
func appendLogprob(dst []byte, id int32, logprob float32, tok openai.Tokens) []byte {
	b := tok.TokenBytes(id)
	dst = append(dst, `{"token":`...)
	dst = jsonenc.Quoted(dst, string(b))
	dst = append(dst, `,"logprob":`...)
	dst = openai.AppendLogprob(dst, logprob)
	dst = append(dst, `,"bytes":[`...)
	for i, c := range b {
		dst = jsonenc.Comma(dst, i)
		dst = strconv.AppendUint(dst, uint64(c), 10)
	}
	return append(dst, ']')
}

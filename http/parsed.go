package http

import (
	"crypto/rand"
	"strconv"
	"strings"

	"github.com/troupe-llm/troupe/actors"
	"github.com/troupe-llm/troupe/tokenize/jinja"
	"github.com/troupe-llm/troupe/tokenize/reply"
)

// parsed is what one choice's text means, as it comes. Its parser is nil when
// all of it is text.
type parsed struct {
	parser *reply.Parser
	parts  []reply.Part // of the latest event
	bytes  int          // of text so far
	// reasoned counts the tokens that were spent on reasoning.
	reasoned int
	enough   bool // the request was ended here, by its first call
}

// finishCalls is the reason of a reply that ended in order to have tools
// called.
const finishCalls actors.FinishReason = "tool_calls"

// newParser makes the parser of a reply to this prompt.
func (a *answer) newParser(ch *choice) {
	o := a.c.reply
	if o.Thinks() {
		o = o.After(a.s.tokenizer.Decode(ch.prompt[max(0, len(ch.prompt)-actors.PromptEnd):], false))
	}
	ch.parsed.parser = reply.NewParser(o)
}

// lastContent is the text of a conversation's last message.
func lastContent(messages any) string {
	list, _ := messages.([]any)
	if len(list) == 0 {
		return ""
	}
	last, _ := list[len(list)-1].(*jinja.Dict)
	if last == nil {
		return ""
	}
	content, _ := last.Get("content")
	if text, ok := content.(string); ok {
		return text
	}
	var all strings.Builder
	parts, _ := content.([]any) // for a template that looks into them
	for _, p := range parts {
		if p, ok := p.(*jinja.Dict); ok {
			text, _ := p.Get("text")
			s, _ := text.(string)
			all.WriteString(s)
		}
	}
	return all.String()
}

// parse parses an event.
func (ch *choice) parse(ev *actors.Event) {
	sp := &ch.parsed
	if ev.Final == nil {
		sp.parts = sp.parser.Add(ev.Text)
	} else {
		sp.parts = sp.parser.Finish(ev.Text)
	}
	if limit := sp.parser.ReasoningEnd(); limit == 0 {
		sp.reasoned = 0 // what was counted while it could have been
	} else {
		for _, end := range ev.TextEnds {
			if sp.bytes+end <= limit {
				sp.reasoned++
			}
		}
	}
	sp.bytes += len(ev.Text)
	f := ev.Final
	switch {
	case f == nil && sp.parser.Over() && !sp.enough:
		sp.enough = true
		ch.stream.Cancel()
	case f != nil && sp.parser.Calls() > 0 && (f.Reason == actors.FinishStop || sp.enough && f.Reason == actors.FinishAbort):
		called := *f
		called.Reason = finishCalls
		ev.Final = &called
	}
}

// visible reports whether clients see a part.
func visible(p reply.Part) bool { return p.Kind != reply.Returned }

// callID makes up the id of the reply's i-th tool call, as the templates that
// will see it want them.
func (c *call) callID(name []byte, i int) string {
	ids := reply.AnyIDs
	if c.family.format != nil {
		ids = c.family.format.IDs
	}
	switch ids {
	case reply.ShortIDs:
		return rand.Text()[:9]
	case reply.NamedIDs:
		return "functions." + string(name) + ":" + strconv.Itoa(earlierCalls(c.chat.Messages)+i)
	}
	return "call_" + rand.Text()[:24]
}

// earlierCalls counts the tool calls of a conversation.
func earlierCalls(messages any) (n int) {
	list, _ := messages.([]any)
	for _, m := range list {
		if m, _ := m.(*jinja.Dict); m != nil {
			calls, _ := m.Get("tool_calls")
			all, _ := calls.([]any)
			n += len(all)
		}
	}
	return n
}

// appendPart appends what a part adds to the message.
func (c *call) appendPart(dst []byte, p *reply.Part) []byte {
	switch p.Kind {
	case reply.Text:
		dst = append(dst, `"content":"`...)
		return append(appendString(dst, p.Text), '"')
	case reply.Reasoning:
		return appendReasoning(dst, p.Text)
	}
	dst = append(dst, `"tool_calls":[{"index":`...)
	dst = strconv.AppendInt(dst, int64(p.Call), 10)
	if p.Kind == reply.Call {
		dst = append(dst, ',')
		return append(c.appendCall(dst, p.Call, p.Text, nil), "}]"...)
	}
	dst = append(dst, `,"function":{"arguments":"`...)
	return append(appendString(dst, p.Text), `"}}]`...)
}

// appendCall appends the members of a tool call.
func (c *call) appendCall(dst []byte, i int, name, arguments []byte) []byte {
	dst = append(dst, `"id":"`...)
	dst = appendString(dst, []byte(c.callID(name, i)))
	dst = append(dst, `","type":"function","function":{"name":"`...)
	dst = append(appendString(dst, name), `","arguments":"`...)
	return append(appendString(dst, arguments), `"}`...)
}

// appendMessage appends the content, and what there is beside it. A message
// that only calls tools has no content.
func (c *call) appendMessage(dst []byte, m *reply.Message) []byte {
	if len(m.Text) == 0 && len(m.Calls) > 0 {
		dst = append(dst, "null"...)
	} else {
		dst = append(appendString(append(dst, '"'), m.Text), '"')
	}
	if len(m.Reasoning) > 0 {
		dst = appendReasoning(append(dst, ','), m.Reasoning)
	}
	for i := range m.Calls {
		if i == 0 {
			dst = append(dst, `,"tool_calls":[`...)
		}
		dst = append(comma(dst, i), '{')
		dst = append(c.appendCall(dst, i, []byte(m.Calls[i].Name), m.Calls[i].Arguments), '}')
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
	dst = appendString(dst, text)
	to := len(dst)
	dst = append(dst, `","reasoning":"`...)
	return append(append(dst, dst[from:to]...), '"')
}

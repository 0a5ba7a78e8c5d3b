package http

import (
	"github.com/troupe-llm/troupe/actors"
	"github.com/troupe-llm/troupe/http/internal/dialect"
	"github.com/troupe-llm/troupe/tokenize/reply"
)

// parsed is what one choice's text means, as it comes. Its parser is nil when
// all of it is text.
type parsed struct {
	parser *reply.Parser
	text   [1]reply.Part // without a parser: of the latest event
	bytes  int           // of text so far
	enough bool          // the request was ended here, by its first call
}

// parse is what an event's text means. It counts tokens of reasoning, and may
// change why the reply ended.
func (ch *choice) parse(ev *actors.Output) []reply.Part {
	sp := &ch.parsed
	if sp.parser == nil {
		if len(ev.Text) == 0 {
			return nil
		}
		sp.text[0] = reply.Part{Kind: reply.Text, Text: ev.Text}
		return sp.text[:]
	}
	var parts []reply.Part
	if ev.Final == nil {
		parts = sp.parser.Add(ev.Text)
	} else {
		parts = sp.parser.Finish(ev.Text)
	}
	if limit := sp.parser.ReasoningEnd(); limit == 0 {
		ch.Reasoned = 0 // what was counted while it could have been
	} else {
		for _, end := range ev.TextEnds {
			if sp.bytes+end <= limit {
				ch.Reasoned++
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
		called.Reason = dialect.FinishCalls
		ev.Final = &called
	}
	return parts
}

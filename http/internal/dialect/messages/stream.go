package messages

import (
	"strconv"

	"github.com/troupe-llm/troupe/http/internal/dialect"
	"github.com/troupe-llm/troupe/http/internal/dialect/apierr"
	"github.com/troupe-llm/troupe/http/internal/dialect/jsonenc"
	"github.com/troupe-llm/troupe/http/internal/sse"
	"github.com/troupe-llm/troupe/tokenize/reply"
)

// stream writes an answer as named events: message_start, of each block its start,
// deltas and stop, message_delta with why it ended, message_stop.
type stream struct {
	answer
	at     int        // the latest block; -1: none yet
	open   bool       // it has not stopped
	kind   reply.Kind // of the latest block: Text, Reasoning or Call
	called bool       // the latest block, a call, has arguments
}

// Begin says what is known of usage: how much of the prompt was cached comes at
// the end.
func (w *stream) Begin(dst []byte, a *dialect.Answer) []byte {
	dst = append(sse.Named(dst, "message_start"), `{"type":"message_start","message":`...)
	dst = append(w.appendHead(dst), "],"...)
	dst = append(w.appendStop(dst, nil), `,"diagnostics":null,"usage":`...)
	u := a.Usage()
	dst = appendMessageUsage(dst, &u)
	return sse.End(append(dst, "}}"...))
}

func (w *stream) Delta(dst []byte, _ *dialect.Answer, d *dialect.Delta) []byte {
	for i := range d.Parts {
		dst = w.part(dst, &d.Parts[i])
	}
	if d.Final != nil {
		dst = w.stop(dst)
	}
	return dst
}

func (w *stream) part(dst []byte, p *reply.Part) []byte {
	switch p.Kind {
	case reply.Text, reply.Reasoning:
		if len(p.Text) == 0 {
			return dst
		}
		if !w.open || w.kind != p.Kind {
			dst = w.start(dst, p)
		}
		switch {
		case p.Kind == reply.Text:
			return w.delta(dst, `"text_delta","text":"`, p.Text)
		case !w.omit:
			return w.delta(dst, `"thinking_delta","thinking":"`, p.Text)
		}
	case reply.Call:
		return w.start(dst, p)
	case reply.Arguments:
		w.called = true
		return w.delta(dst, `"input_json_delta","partial_json":"`, p.Text)
	case reply.Returned:
		return w.stop(dst)
	}
	return dst
}

// start begins the block that a part is the first of.
func (w *stream) start(dst []byte, p *reply.Part) []byte {
	dst = w.stop(dst)
	w.at++
	w.open, w.kind, w.called = true, p.Kind, false
	dst = append(sse.Named(dst, "content_block_start"), `{"type":"content_block_start","index":`...)
	dst = append(strconv.AppendInt(dst, int64(w.at), 10), `,"content_block":`...)
	switch p.Kind {
	case reply.Text:
		dst = append(dst, `{"type":"text","text":""}`...)
	case reply.Reasoning:
		dst = append(dst, `{"type":"thinking","thinking":"","signature":""}`...)
	default:
		dst = append(w.appendCall(dst, p.Call, p.Text), "{}}"...)
	}
	return sse.End(append(dst, '}'))
}

// delta goes on with the block that is open. kind is up to the text.
func (w *stream) delta(dst []byte, kind string, text []byte) []byte {
	dst = append(sse.Named(dst, "content_block_delta"), `{"type":"content_block_delta","index":`...)
	dst = append(strconv.AppendInt(dst, int64(w.at), 10), `,"delta":{"type":`...)
	dst = jsonenc.String(append(dst, kind...), text)
	return sse.End(append(dst, `"}}`...))
}

// stop ends the block that is open, if one is. Reasoning is signed before, and a
// call has arguments, whatever came of them.
func (w *stream) stop(dst []byte) []byte {
	if !w.open {
		return dst
	}
	w.open = false
	switch {
	case w.kind == reply.Reasoning:
		dst = w.delta(dst, `"signature_delta","signature":"`, []byte(w.signature))
	case w.kind == reply.Call && !w.called:
		dst = w.delta(dst, `"input_json_delta","partial_json":"`, nil)
	}
	dst = append(sse.Named(dst, "content_block_stop"), `{"type":"content_block_stop","index":`...)
	dst = strconv.AppendInt(dst, int64(w.at), 10)
	return sse.End(append(dst, '}'))
}

func (w *stream) End(dst []byte, a *dialect.Answer) []byte {
	dst = append(sse.Named(dst, "message_delta"), `{"type":"message_delta","delta":{`...)
	dst = append(w.appendStop(dst, a.Choices[0].Final), `},"usage":`...)
	u := a.Usage()
	dst = sse.End(append(appendUsage(dst, &u), "}}"...))
	return sse.End(append(sse.Named(dst, "message_stop"), `{"type":"message_stop"}`...))
}

func (w *stream) Fail(dst []byte, _ *dialect.Answer, e *apierr.Error) []byte {
	return sse.End(appendError(sse.Named(dst, "error"), e, w.request))
}

func (*stream) Ping(dst []byte) []byte {
	return sse.End(append(sse.Named(dst, "ping"), `{"type":"ping"}`...))
}

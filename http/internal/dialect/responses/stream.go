package responses

import (
	"slices"

	"github.com/troupe-llm/troupe/http/internal/dialect"
	"github.com/troupe-llm/troupe/http/internal/dialect/apierr"
	"github.com/troupe-llm/troupe/http/internal/dialect/jsonenc"
	"github.com/troupe-llm/troupe/http/internal/dialect/openai"
	"github.com/troupe-llm/troupe/http/internal/sse"
)

// stream writes a response as events, each with a number in their order: the
// response is created; each item is added, comes in deltas and is done; the
// response has ended.
type stream struct {
	*object
	events int64
	begun  func(created []byte) // told of the response that is made in the background
}

// open begins an event, up to what it has beside its number.
func (w *stream) open(dst []byte, name string) []byte {
	dst = sse.Named(dst, name)
	dst = jsonenc.Quoted(append(dst, `{"type":`...), name)
	dst = appendInt(append(dst, `,"sequence_number":`...), w.events)
	w.events++
	return dst
}

func (w *stream) Begin(dst []byte, _ *dialect.Answer) []byte {
	first := inProgress
	if w.begun != nil {
		first = queued
	}
	dst = w.state(dst, "response.created", first)
	if w.begun != nil {
		w.begun(w.append(nil, inProgress, nil, nil))
		dst = w.state(dst, "response.queued", queued)
	}
	return w.state(dst, "response.in_progress", inProgress)
}

// state appends that the response is in a state in which nothing is said yet.
func (w *stream) state(dst []byte, name, status string) []byte {
	dst = append(w.open(dst, name), `,"response":`...)
	return sse.End(append(w.append(dst, status, nil, nil), '}'))
}

func (w *stream) Delta(dst []byte, _ *dialect.Answer, d *dialect.Delta) []byte {
	logprobs := w.items.score(d)
	for i := range d.Parts {
		p := &d.Parts[i]
		ended, at, begins := w.items.add(p)
		if ended >= 0 {
			dst = w.done(dst, ended)
		}
		if at < 0 {
			continue
		}
		if begins {
			dst = w.added(dst, at)
		}
		switch it := &w.items.all[at]; {
		case len(p.Text) == 0, it.kind == functionCall && begins, it.kind == customCall:
		case it.kind == functionCall:
			dst = w.delta(dst, "response.function_call_arguments.delta", at, p.Text)
		case it.kind == reasoning:
			dst = w.delta(dst, "response.reasoning_text.delta", at, p.Text)
		default:
			w.items.addLogprobs(at, logprobs)
			dst = w.textDelta(dst, at, p.Text, logprobs)
			logprobs = nil
		}
	}
	return dst
}

// place appends where an event belongs: an item, and of those with content its
// only part.
func (w *stream) place(dst []byte, at int) []byte {
	it := &w.items.all[at]
	dst = jsonenc.Quoted(append(dst, `,"item_id":`...), it.id)
	dst = appendInt(append(dst, `,"output_index":`...), int64(at))
	if it.kind == message || it.kind == reasoning {
		dst = append(dst, `,"content_index":0`...)
	}
	return dst
}

// added appends that an item begins.
func (w *stream) added(dst []byte, at int) []byte {
	dst = w.itemEvent(dst, "response.output_item.added", at)
	if it := &w.items.all[at]; it.kind == message || it.kind == reasoning {
		dst = append(w.place(w.open(dst, "response.content_part.added"), at), `,"part":`...)
		dst = sse.End(append(w.appendPart(dst, it, nil), '}'))
	}
	return dst
}

func (w *stream) itemEvent(dst []byte, name string, at int) []byte {
	dst = appendInt(append(w.open(dst, name), `,"output_index":`...), int64(at))
	dst = append(dst, `,"item":`...)
	return sse.End(append(w.appendItem(dst, at, inProgress), '}'))
}

func (w *stream) delta(dst []byte, name string, at int, text []byte) []byte {
	dst = append(w.place(w.open(dst, name), at), `,"delta":"`...)
	return sse.End(append(jsonenc.String(dst, text), `"}`...))
}

func (w *stream) textDelta(dst []byte, at int, text, logprobs []byte) []byte {
	dst = append(w.place(w.open(dst, "response.output_text.delta"), at), `,"delta":"`...)
	dst = append(jsonenc.String(dst, text), `","logprobs":[`...)
	return sse.End(append(append(dst, logprobs...), "]}"...))
}

// done appends that an item has ended, or was cut off.
func (w *stream) done(dst []byte, at int) []byte {
	it := &w.items.all[at]
	switch it.kind {
	case functionCall:
		dst = append(w.place(w.open(dst, "response.function_call_arguments.done"), at), `,"name":`...)
		dst = append(jsonenc.Quoted(dst, it.name), `,"arguments":"`...)
		dst = sse.End(append(jsonenc.String(dst, it.text), `"}`...))
	case customCall: // its text is known now: it came as JSON
		text := CustomText(it.text)
		dst = w.delta(dst, "response.custom_tool_call_input.delta", at, []byte(text))
		dst = append(w.place(w.open(dst, "response.custom_tool_call_input.done"), at), `,"input":`...)
		dst = sse.End(append(jsonenc.Quoted(dst, text), '}'))
	case message:
		dst = append(w.place(w.open(dst, "response.output_text.done"), at), `,"text":"`...)
		dst = append(jsonenc.String(dst, it.text), `","logprobs":[`...)
		dst = sse.End(append(append(dst, it.logprobs...), "]}"...))
		dst = w.partDone(dst, at)
	case reasoning:
		dst = append(w.place(w.open(dst, "response.reasoning_text.done"), at), `,"text":"`...)
		dst = sse.End(append(jsonenc.String(dst, it.text), `"}`...))
		dst = w.partDone(dst, at)
	}
	dst = appendInt(append(w.open(dst, "response.output_item.done"), `,"output_index":`...), int64(at))
	dst = append(dst, `,"item":`...)
	return sse.End(append(w.appendItem(dst, at, incomplete), '}'))
}

func (w *stream) partDone(dst []byte, at int) []byte {
	it := &w.items.all[at]
	dst = append(w.place(w.open(dst, "response.content_part.done"), at), `,"part":`...)
	return sse.End(append(w.appendPart(dst, it, it.text), '}'))
}

func (w *stream) End(dst []byte, a *dialect.Answer) []byte {
	status := statusOf(a.Choices[0].Final)
	if at := w.items.finish(status == incomplete); at >= 0 {
		dst = w.done(dst, at)
	}
	dst = append(w.open(dst, "response."+status), `,"response":`...)
	return sse.End(append(w.end(dst, a, status), '}'))
}

func (w *stream) Fail(dst []byte, a *dialect.Answer, e *apierr.Error) []byte {
	usage := a.Usage()
	w.items.finish(true)
	dst = append(w.open(dst, "response.failed"), `,"response":`...)
	from := len(dst)
	dst = w.append(dst, failed, &usage, e)
	if w.begun != nil { // else the client has it now, and no other way to ask
		w.keep(w.object, failed, slices.Clone(dst[from:]))
	}
	return sse.End(append(dst, '}'))
}

// detach has the response kept while it is made in the background, as k.
func (w *stream) detach(s *Store, k kept) *dialect.Background {
	b := &dialect.Background{Log: sse.NewLog(s.reserve), Cancelled: w.cancelled}
	if !w.request.Stream {
		b.Accepted = w.append(nil, queued, nil, nil)
	}
	k.background = b
	w.begun = func(created []byte) {
		k.object = created
		s.begin(&k)
	}
	return b
}

// cancelled ends the response with the event that clients know as an end: the
// response says which.
func (w *stream) cancelled(dst []byte, a *dialect.Answer) []byte {
	if at := w.items.finish(true); at >= 0 {
		dst = w.done(dst, at)
	}
	dst = append(w.open(dst, "response.incomplete"), `,"response":`...)
	return sse.End(append(w.end(dst, a, cancelled), '}'))
}

// Ping is a comment: the API has no event for it.
func (*stream) Ping(dst []byte) []byte { return (*openai.Answer)(nil).Ping(dst) }

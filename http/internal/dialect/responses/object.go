package responses

import (
	"crypto/rand"
	"slices"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/troupe-llm/troupe/actors"
	"github.com/troupe-llm/troupe/http/internal/dialect"
	"github.com/troupe-llm/troupe/http/internal/dialect/apierr"
	"github.com/troupe-llm/troupe/http/internal/dialect/conversation"
	"github.com/troupe-llm/troupe/http/internal/dialect/field"
	"github.com/troupe-llm/troupe/http/internal/dialect/jsonenc"
	"github.com/troupe-llm/troupe/http/internal/dialect/openai"
)

// object is a response, as both writers write it.
type object struct {
	id      string
	created int64 // Unix seconds
	model   string
	request *Request
	ids     conversation.CallIDs
	tools   map[string]*tool // by what a template calls them
	tokens  openai.Tokens
	top     int // see Request
	items   items
	keep    func(o *object, status string, whole []byte) // takes the whole response; nil: it is not kept
}

func newObject(r *Request, came time.Time) *object {
	o := &object{
		id: responsePrefix + rand.Text(), created: came.Unix(), model: r.Model, request: r, ids: r.CallIDs(),
		tools: map[string]*tool{}, tokens: r.model().Tokenizer, top: r.top,
	}
	o.items.object = o
	for i := range r.tools {
		o.tools[r.tools[i].chatName()] = &r.tools[i]
	}
	return o
}

func appendInt(dst []byte, n int64) []byte { return strconv.AppendInt(dst, n, 10) }

// The states of a response and of its items.
const (
	queued     = "queued"
	inProgress = "in_progress"
	completed  = "completed"
	incomplete = "incomplete"
	failed     = "failed"
	cancelled  = "cancelled"
)

// statusOf is how a response is that ended so.
func statusOf(f *actors.Final) string {
	if f.Reason == actors.FinishStop || f.Reason == dialect.FinishCalls {
		return completed
	}
	return incomplete
}

// append appends the response. usage is nil while it is made, fault when it has
// not failed.
func (o *object) append(dst []byte, status string, usage *dialect.Usage, fault *apierr.Error) []byte {
	dst = jsonenc.Quoted(append(dst, `{"id":`...), o.id)
	dst = append(dst, `,"object":"response","created_at":`...)
	dst = appendInt(dst, o.created)
	dst = jsonenc.Quoted(append(dst, `,"status":`...), status)
	dst = strconv.AppendBool(append(dst, `,"access_programs":null,"background":`...), o.request.background)
	dst = append(dst, `,"error":`...)
	if fault == nil {
		dst = append(dst, "null"...)
	} else {
		dst = jsonenc.Quoted(append(dst, `{"code":`...), codeOf(fault))
		dst = append(jsonenc.Quoted(append(dst, `,"message":`...), fault.Message), '}')
	}
	dst = append(dst, `,"incomplete_details":`...)
	if status == incomplete {
		dst = append(dst, `{"reason":"max_output_tokens"}`...)
	} else {
		dst = append(dst, "null"...)
	}
	dst = jsonenc.Quoted(append(dst, `,"model":`...), o.model)
	dst = append(dst, `,"output":[`...)
	if status != inProgress && status != queued {
		for i := range o.items.all {
			dst = o.appendItem(jsonenc.Comma(dst, i), i, status)
		}
	}
	dst = o.appendEcho(append(dst, ']'))
	if usage != nil {
		dst = appendUsage(append(dst, `,"usage":`...), usage)
	}
	return append(dst, '}')
}

// codeOf is why a response failed, in one of the words that there are for it.
func codeOf(fault *apierr.Error) string {
	switch {
	case fault.Status == fasthttp.StatusTooManyRequests:
		return "rate_limit_exceeded"
	case fault.Status < fasthttp.StatusInternalServerError:
		return "invalid_prompt"
	}
	return "server_error"
}

// appendEcho appends what the request said, and what held where it did not.
func (o *object) appendEcho(dst []byte) []byte {
	r := o.request
	for _, name := range echoedNames {
		v := []byte(echoed[name])
		if said := r.echo[name]; said != nil && !said.Null() {
			v = said
		}
		if len(v) > 0 {
			dst = append(append(append(append(dst, `,"`...), name...), `":`...), v...)
		}
	}
	s := &r.Sampling
	topP := s.TopP
	if topP == 0 {
		topP = 1
	}
	dst = strconv.AppendFloat(append(dst, `,"temperature":`...), float64(s.Temperature), 'g', -1, 32)
	dst = strconv.AppendFloat(append(dst, `,"top_p":`...), float64(topP), 'g', -1, 32)
	return append(dst, `,"service_tier":"default"`...)
}

func appendUsage(dst []byte, u *dialect.Usage) []byte {
	dst = appendInt(append(dst, `{"input_tokens":`...), int64(u.PromptTokens))
	dst = appendInt(append(dst, `,"input_tokens_details":{"cached_tokens":`...), int64(u.CachedTokens))
	// Whatever is computed is cached, and none of it counts for more.
	dst = appendInt(append(dst, `,"cache_write_tokens":0},"output_tokens":`...), int64(u.CompletionTokens))
	dst = appendInt(append(dst, `,"output_tokens_details":{"reasoning_tokens":`...), int64(max(u.Reasoning, 0)))
	dst = appendInt(append(dst, `},"total_tokens":`...), int64(u.PromptTokens+u.CompletionTokens))
	return append(dst, '}')
}

// appendItem appends an item of a response with this status: while it is in
// progress, an item has no content yet, unless it has ended.
func (o *object) appendItem(dst []byte, i int, status string) []byte {
	it := &o.items.all[i]
	text := it.text
	switch {
	case it.ended:
		status = completed
	case status == inProgress:
		text = nil
	default:
		status = incomplete
	}
	dst = jsonenc.Quoted(append(dst, `{"id":`...), it.id)
	dst = append(dst, `,"type":"`...)
	switch it.kind {
	case reasoning:
		dst = append(dst, `reasoning","summary":[]`...)
		dst = append(dst, `,"content":[`...)
		if status != inProgress {
			dst = o.appendPart(dst, it, text)
		}
		dst = append(dst, `],"encrypted_content":`...)
		if o.request.sealed && status != inProgress {
			dst = jsonenc.Quoted(dst, seal(text))
		} else {
			dst = append(dst, "null"...)
		}
	case message:
		dst = append(dst, `message","role":"assistant","content":[`...)
		if status != inProgress {
			dst = o.appendPart(dst, it, text)
		}
		dst = append(dst, ']')
	case functionCall:
		dst = append(appendCall(append(dst, `function_call"`...), it), `,"arguments":"`...)
		dst = append(jsonenc.String(dst, text), '"')
	case customCall:
		dst = append(appendCall(append(dst, `custom_tool_call"`...), it), `,"input":`...)
		if status == inProgress {
			dst = append(dst, `""`...)
		} else {
			dst = jsonenc.Quoted(dst, CustomText(text))
		}
	}
	dst = jsonenc.Quoted(append(dst, `,"status":`...), status)
	return append(dst, '}')
}

func appendCall(dst []byte, it *item) []byte {
	dst = jsonenc.Quoted(append(dst, `,"call_id":`...), it.callID)
	if it.namespace != "" {
		dst = jsonenc.Quoted(append(dst, `,"namespace":`...), it.namespace)
	}
	return jsonenc.Quoted(append(dst, `,"name":`...), it.name)
}

// appendPart appends the only part of a message's or of reasoning's content.
func (o *object) appendPart(dst []byte, it *item, text []byte) []byte {
	if it.kind == reasoning {
		dst = append(dst, `{"type":"reasoning_text","text":"`...)
		return append(jsonenc.String(dst, text), `"}`...)
	}
	dst = append(dst, `{"type":"output_text","text":"`...)
	dst = append(jsonenc.String(dst, text), `","annotations":[],"logprobs":[`...)
	if text != nil {
		dst = append(dst, it.logprobs...)
	}
	return append(dst, "]}"...)
}

// outputItems are the response's, for a conversation that goes on.
func (o *object) outputItems(status string) []field.Value {
	all := make([]field.Value, len(o.items.all))
	for i := range all {
		all[i] = o.appendItem(nil, i, status)
	}
	return all
}

var echoedNames = func() (names []string) {
	for name := range echoed {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}()

// end appends the response that has ended, and keeps it if it is to be kept.
func (o *object) end(dst []byte, a *dialect.Answer, status string) []byte {
	usage := a.Usage()
	from := len(dst)
	dst = o.append(dst, status, &usage, nil)
	if o.keep != nil {
		o.keep(o, status, slices.Clone(dst[from:]))
	}
	return dst
}

package responses

import (
	"strconv"
	"strings"

	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/http/internal/dialect"
	"github.com/troupe-llm/troupe/http/internal/dialect/jsonenc"
	"github.com/troupe-llm/troupe/http/internal/dialect/openai"
	"github.com/troupe-llm/troupe/tokenize/reply"
)

// kind is what an item of a reply is.
type kind uint8

const (
	reasoning kind = iota
	message
	functionCall
	customCall
)

// item is a part of a reply that has an id of its own.
type item struct {
	kind         kind
	id           string
	callID, name string // of a call
	namespace    string // of the tool; "": none
	text         []byte // what is said or thought; arguments as JSON
	logprobs     []byte // of a message's tokens, as JSON, when asked for
	ended        bool   // by the model: it was not cut off
}

// items are those of a reply, found as its parts come. The last may not have ended.
type items struct {
	object *object
	all    []item
	calls  int
	held   []byte // logprobs of tokens whose text is still to come
}

// add takes a part. It returns the index of the item that it belongs to, and
// whether it begins it; ended is an item that ends before it, -1 when none does.
// A part that only ends its item belongs to none: at is -1.
func (s *items) add(p *reply.Part) (ended, at int, begins bool) {
	ended = -1
	last := len(s.all) - 1
	open := last >= 0 && !s.all[last].ended
	switch p.Kind {
	case reply.Arguments:
		s.all[last].text = append(s.all[last].text, p.Text...)
		return -1, last, false
	case reply.Returned:
		if open {
			s.all[last].ended, ended = true, last
		}
		return ended, -1, false
	}
	of := map[reply.Kind]kind{reply.Text: message, reply.Reasoning: reasoning, reply.Call: functionCall}[p.Kind]
	if !open || p.Kind == reply.Call || s.all[last].kind != of {
		if open {
			s.all[last].ended, ended = true, last
		}
		s.all = append(s.all, s.begin(of, p))
		last, begins = last+1, true
	}
	if p.Kind != reply.Call {
		s.all[last].text = append(s.all[last].text, p.Text...)
	}
	return ended, last, begins
}

func (s *items) begin(of kind, p *reply.Part) item {
	it := item{kind: of}
	if of == functionCall {
		it.name = string(p.Text)
		it.callID = s.object.ids.New("call_", p.Text, s.calls)
		s.calls++
		if t := s.object.tools[it.name]; t != nil {
			it.name, it.namespace = t.name, t.namespace
			if t.custom {
				it.kind = customCall
			}
		}
	}
	it.id = [...]string{"rs_", "msg_", "fc_", "ctc_"}[it.kind] + strings.TrimPrefix(s.object.id, responsePrefix) + "_" + strconv.Itoa(len(s.all))
	return it
}

// finish ends the last item, unless the reply was cut off; -1 when it had ended,
// or there is none.
func (s *items) finish(cut bool) (ended int) {
	last := len(s.all) - 1
	if last < 0 || s.all[last].ended {
		return -1
	}
	s.all[last].ended = !cut
	return last
}

// score takes the log-probabilities of a delta's tokens, and returns those that
// go with the text in it, as JSON.
func (s *items) score(d *dialect.Delta) []byte {
	text, other := false, false
	for i := range d.Parts {
		text = text || d.Parts[i].Kind == reply.Text
		other = other || d.Parts[i].Kind != reply.Text
	}
	if other && !text { // they are of reasoning, or of a call
		s.held = s.held[:0]
		return nil
	}
	for i := range d.Logprobs {
		s.held = appendLogprob(jsonenc.Comma(s.held, len(s.held)), d.Tokens[i], &d.Logprobs[i], s.object.tokens, s.object.top)
	}
	if !text {
		return nil
	}
	now := s.held
	s.held = nil
	return now
}

// appendLogprob appends what is known of a token.
func appendLogprob(dst []byte, id int32, lp *batch.Logprob, tok openai.Tokens, top int) []byte {
	dst = append(appendToken(append(dst, '{'), id, lp.Token, tok), `,"top_logprobs":[`...)
	for j := range lp.Top[:min(len(lp.Top), top)] {
		alt := &lp.Top[j]
		dst = append(appendToken(append(jsonenc.Comma(dst, j), '{'), alt.Token, alt.Logprob, tok), '}')
	}
	return append(dst, "]}"...)
}

func appendToken(dst []byte, id int32, logprob float32, tok openai.Tokens) []byte {
	text := tok.TokenBytes(id)
	dst = jsonenc.Quoted(append(dst, `"token":`...), string(text))
	dst = openai.AppendLogprob(append(dst, `,"logprob":`...), logprob)
	dst = append(dst, `,"bytes":[`...)
	for i, b := range text {
		dst = appendInt(jsonenc.Comma(dst, i), int64(b))
	}
	return append(dst, ']')
}

// addLogprobs puts log-probabilities, as JSON, at the end of a message's.
func (s *items) addLogprobs(at int, logprobs []byte) {
	if len(logprobs) > 0 {
		it := &s.all[at]
		it.logprobs = append(jsonenc.Comma(it.logprobs, len(it.logprobs)), logprobs...)
	}
}

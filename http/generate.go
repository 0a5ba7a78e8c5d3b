package http

import (
	"cmp"
	"errors"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/troupe-llm/troupe/actors"
	"github.com/troupe-llm/troupe/http/internal/dialect"
)

// generate answers requests for text in a dialect.
func generate(d dialect.Dialect) handler {
	return func(x *exchange) *Error {
		s := x.s
		body, e := x.json()
		if e != nil {
			return e
		}
		client := x.client()
		if e := s.enter(client); e != nil {
			return e
		}
		over := func() { s.leave(client) }
		defer func() {
			if !x.streams { // else its Close does this
				over()
			}
		}()
		r := x.request(body)
		call, e := s.decode(d, x, r)
		x.sayIgnored(&r.Notes)
		if e != nil {
			return e
		}
		a, end := s.begin(x, call)
		over = func() { end(); s.leave(client) }
		err := a.begin()
		x.dropBody() // the prompt is tokens; the answer may take long
		if err != nil {
			return asError(err)
		}
		if call.Background != nil {
			s.background(x, a, over)
			return nil
		}
		if call.Stream != nil {
			s.stream(x, a, over)
			return nil
		}
		text, err := a.whole()
		a.cancel()
		s.answered(x, a, err)
		if err != nil {
			return asError(err)
		}
		x.send(text)
		return nil
	}
}

// largeBody is one that takes milliseconds to decode, and more.
const largeBody = 256 << 10

// decode is the dialect's, for the model that the body asks for. Large bodies wait for each other: decoded all at once
// they would keep the engine from the processors, and every token of others with it.
func (s *Server) decode(d dialect.Dialect, x *exchange, r *dialect.Request) (*dialect.Call, *Error) {
	if len(r.Body) > largeBody {
		s.decoding <- struct{}{}
		defer func() { <-s.decoding }()
	}
	if e := x.chooseBy(r.Body); e != nil {
		return nil, e
	}
	r.Model = &x.model.model
	return d.Decode(r)
}

// replied answers what a dialect answers by itself.
func replied(reply func(*dialect.Request) ([]byte, *Error)) handler {
	return func(x *exchange) *Error {
		body, e := x.jsonForModel()
		if e != nil {
			return e
		}
		r := x.request(body)
		r.Model = &x.model.model
		body, e = reply(r)
		x.sayIgnored(&r.Notes)
		if e != nil {
			return e
		}
		x.send(body)
		return nil
	}
}

// begin makes the answer to a call, whose client is watched until end is called, if
// it waits.
func (s *Server) begin(x *exchange, call *dialect.Call) (a *answer, end func()) {
	for _, r := range call.Requests {
		r.Client = x.client() // in turn with others
		if call.Background == nil {
			r.MaxWait = s.cfg.QueueTimeout
		}
	}
	a = s.newAnswer(x.model, call, x.begun)
	s.live.add(a)
	inTime, stop := func() bool { return true }, func() {}
	if most := s.mayTake(call); most > 0 {
		inTime = time.AfterFunc(most-time.Since(x.begun), func() { a.tell(&a.late) }).Stop
	}
	if call.Background == nil {
		stop = watch(x.ctx.Conn(), func() { a.tell(&a.gone) })
	}
	return a, func() {
		inTime()
		stop()
		a.cancel()
		s.live.remove(a)
	}
}

// mayTake is how long the answer to a call may take; 0: any time, as one that is made
// in the background, for which nobody waits.
func (s *Server) mayTake(call *dialect.Call) time.Duration {
	switch {
	case call.Background != nil:
		return 0
	case call.Stream != nil:
		return s.cfg.StreamTimeout
	}
	return s.cfg.RequestTimeout
}

// request is the exchange's as a dialect decodes it, but for the model.
func (x *exchange) request(body []byte) *dialect.Request {
	h := &x.ctx.Request.Header
	return &dialect.Request{
		Body: body, ID: x.id, Key: x.holder, Came: x.begun, Client: x.client(), Notes: x.notes(),
		Header: func(name string) string { return string(h.Peek(name)) },
	}
}

// client is who asks: the holder of the key, or an address.
func (x *exchange) client() string { return cmp.Or(x.holder, network(x.addr)) }

// outcome is how an answer went.
type outcome struct {
	operation string // see dialect.Call
	usage     actors.Usage
	finish    string
	status    int // as logged
	err       error
	finals    []*actors.Final // of each choice that ended
	perPrompt int             // choices of one prompt
}

func outcomeOf(a *answer, err error) *outcome {
	o := &outcome{operation: a.call.Operation, perPrompt: a.PerPrompt, usage: a.Usage().Usage, finish: "error", status: fasthttp.StatusOK, err: err}
	switch {
	case err == nil:
		o.finish = string(a.Choices[0].Final.Reason)
	case errors.Is(err, errGone):
		o.finish, o.status, o.err = "abort", statusClientClosed, nil
	default:
		o.status = asError(err).Status
	}
	for i := range a.Choices {
		if f := a.Choices[i].Final; f != nil {
			o.finals = append(o.finals, f)
		}
	}
	return o
}

// answered notes how an answer went.
func (s *Server) answered(x *exchange, a *answer, err error) {
	o := outcomeOf(a, err)
	x.answered(o)
	ended := time.Now()
	x.model.metrics.answered(o, ended.Sub(x.begun))
	if f := a.Choices[0].Final; f != nil { // else it left or was cut before its end
		one := &journey{id: x.id, begun: x.begun, ended: ended, finish: o.finish, usage: o.usage, times: f.Times, marks: a.marks}
		if f.Elsewhere() {
			one.attempts = f.Attempts
		}
		s.journeys.keep(one)
	}
}

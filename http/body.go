package http

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/troupe-llm/troupe/http/internal/dialect/apierr"
	"github.com/valyala/fasthttp"
)

// A body is read as it comes, by the route's handler: nothing is allocated for
// what a header promises. fasthttp reads one byte of it, and hands the rest
// over as a stream.

// json checks that the body is what it must be and returns it. It takes of
// the budget until dropBody, which must follow.
//
// A page of this server or of an allowed origin has to say that it sends JSON,
// as then a browser asks before it sends from elsewhere. Who sends no origin is
// no page; whatever type is claimed, such as curl's default, it is read as JSON.
func (x *exchange) json() ([]byte, *Error) {
	h := &x.ctx.Request.Header
	kind, _, _ := strings.Cut(string(h.ContentType()), ";")
	kind = strings.TrimSpace(kind)
	if len(h.Peek(fasthttp.HeaderOrigin)) > 0 && kind != "" && !strings.EqualFold(kind, typeJSON) {
		return nil, &Error{
			Status: fasthttp.StatusUnsupportedMediaType, Type: apierr.TypeInvalid,
			Message: "the body must be " + typeJSON + ", not " + kind,
		}
	}
	if coding := h.ContentEncoding(); len(coding) > 0 && string(coding) != "identity" {
		return nil, &Error{
			Status: fasthttp.StatusUnsupportedMediaType, Type: apierr.TypeInvalid,
			Message: "the body must not be encoded, but Content-Encoding is " + string(coding),
		}
	}
	e := x.readBody()
	if e != nil {
		x.dropBody()
		x.hangUp()
	}
	return x.body, e
}

// readBody makes body what the client sends, within the budget.
func (x *exchange) readBody() *Error {
	x.read = true
	from := x.ctx.RequestBodyStream()
	if from == nil {
		return nil
	}
	length, most := x.ctx.Request.Header.ContentLength(), x.s.cfg.MaxBody
	if length >= 0 { // else it is not known
		most = length // received refused more than MaxBody
	}
	p := parts{budget: &x.s.bodies}
	defer p.free()
	for {
		var beyond [1]byte // to see whether a body that is as long as it may be has ended
		room := beyond[:]
		if p.size < most {
			if room = p.room(most - p.size); room == nil {
				return x.s.noRoom()
			}
		}
		n, err := from.Read(room)
		if p.size+n > most {
			return x.s.errLarge
		}
		if n > 0 {
			p.add(n)
		}
		switch {
		case err == nil:
		case !errors.Is(err, io.EOF) || length >= 0 && p.size < length:
			return x.s.unread(err)
		case p.size == 0:
			return nil
		default:
			var ok bool
			if x.body, x.held, ok = p.join(); !ok {
				return x.s.noRoom()
			}
			return nil
		}
	}
}

func (s *Server) noRoom() *Error {
	return &Error{
		Status: fasthttp.StatusTooManyRequests, Type: apierr.TypeBusy, Code: "server_busy", RetryAfter: 1,
		Message: fmt.Sprintf("the server is busy: what is being read takes %d bytes already, and there is a limit", s.bodies.used.Load()),
	}
}

// dropBody gives the body's memory back. Calling it again does nothing.
func (x *exchange) dropBody() {
	x.s.bodies.give(x.held)
	x.body, x.held = nil, 0
}

// unread is the answer to a request that could not be read to its end. It
// quotes nothing of it: there may be a key in it.
func (s *Server) unread(err error) *Error {
	var small *fasthttp.ErrSmallBuffer
	var network net.Error
	switch {
	case errors.As(err, &small):
		return &Error{
			Status: fasthttp.StatusRequestHeaderFieldsTooLarge, Type: apierr.TypeInvalid,
			Message: fmt.Sprintf("the header is larger than %d bytes", headerSize),
		}
	case errors.As(err, &network) && network.Timeout():
		return &Error{
			Status: fasthttp.StatusRequestTimeout, Type: apierr.TypeInvalid,
			Message: fmt.Sprintf("the request did not arrive within %v", s.cfg.ReadTimeout),
		}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return apierr.Invalid("", "the request ended before it was whole")
	}
	return apierr.Invalid("", "the request cannot be read: its first line, a header field or the framing of its body is malformed")
}

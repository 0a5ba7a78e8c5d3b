package http

import (
	"fmt"
	"strconv"

	"github.com/fasthttp/router"
	"github.com/valyala/fasthttp"

	"github.com/troupe-llm/troupe/http/internal/dialect/apierr"
	"github.com/troupe-llm/troupe/http/internal/dialect/jsonenc"
	"github.com/troupe-llm/troupe/http/internal/dialect/responses"
)

// keptRoutes are those of responses that are kept. A response is its key's: for
// another it is not there.
func (s *Server) keptRoutes(r *router.Router) {
	const one = "/v1/responses/{id}"
	of := func(path string, h func(x *exchange, id string) *Error) fasthttp.RequestHandler {
		return s.guarded(path, func(x *exchange) *Error {
			id, _ := x.ctx.UserValue("id").(string)
			return h(x, id)
		})
	}
	get(r, one, of(one, keptResponse))
	r.DELETE(one, of(one, deleteResponse))
	get(r, one+"/input_items", of(one+"/input_items", inputItems))
	r.POST(one+"/cancel", of(one+"/cancel", cancelResponse))
}

func keptResponse(x *exchange, id string) *Error {
	q := x.ctx.QueryArgs()
	after := -1
	if q.Has("starting_after") { // an empty one is none, too
		n := string(q.Peek("starting_after"))
		var err error
		if after, err = strconv.Atoi(n); err != nil || after < 0 {
			return apierr.Invalid("starting_after", "starting_after: must be an event's sequence_number, got %q", n)
		}
	}
	switch stream := string(q.Peek("stream")); {
	case stream == "true":
		return followResponse(x, id, after)
	case stream != "false" && q.Has("stream"):
		return apierr.Invalid("stream", "stream: must be true or false, got %q", stream)
	}
	body, e := x.s.responses.Object(id, x.holder)
	if e != nil {
		return e
	}
	x.send(body)
	return nil
}

func deleteResponse(x *exchange, id string) *Error {
	if !x.s.responses.Delete(id, x.holder) {
		return responses.NotFound(id)
	}
	body := jsonenc.Quoted([]byte(`{"id":`), id)
	x.send(append(body, `,"object":"response","deleted":true}`...))
	return nil
}

// followResponse streams the events of a response that is made in the background, or
// was, behind the one of number n.
func followResponse(x *exchange, id string, n int) *Error {
	b, _, e := x.s.responses.Background(id, x.holder)
	if e != nil {
		return e
	}
	if b == nil {
		return apierr.Invalid("stream", "stream: the events of %q are not kept, as it was not made in the background, or by another process; it comes whole", id)
	}
	if !x.s.follow(x.ctx, x, x.id, b.Log, n+1) {
		return apierr.Invalid("starting_after", "starting_after: there is no event of number %d yet, or it is not kept", n)
	}
	return nil
}

// cancelResponse ends a response that is made in the background; of one that has
// ended it is what there is to say. Others end when their client hangs up.
func cancelResponse(x *exchange, id string) *Error {
	b, body, e := x.s.responses.Background(id, x.holder)
	switch {
	case e != nil:
		return e
	case b == nil:
		return apierr.Invalid("", "the response %q has ended, or ends when its client closes the connection: only those made with \"background\": true can be cancelled", id)
	}
	b.Cancel()
	<-b.Done
	if last, e := x.s.responses.Object(id, x.holder); e == nil { // else it went meanwhile
		body = last
	}
	x.send(body)
	return nil
}

// Bounds of a page, as OpenAI has them.
const (
	usualItems = 20
	mostItems  = 100
)

func inputItems(x *exchange, id string) *Error {
	q := x.ctx.QueryArgs()
	p := responses.Page{Limit: usualItems, Descending: true, After: string(q.Peek("after"))}
	if q.Has("limit") {
		text := string(q.Peek("limit"))
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > mostItems {
			return apierr.Invalid("limit", "limit: must be from 1 to %d, got %q", mostItems, text)
		}
		p.Limit = n
	}
	switch order := string(q.Peek("order")); {
	case order == "asc":
		p.Descending = false
	case order != "desc" && q.Has("order"):
		return apierr.Invalid("order", `order: must be "asc" or "desc", got %q`, order)
	}
	body, e := x.s.responses.InputItems(nil, id, x.holder, p)
	if e != nil {
		return e
	}
	x.send(body)
	return nil
}

// newResponses is where responses are kept.
func newResponses(cfg *Config, log func(error)) (*responses.Store, error) {
	s := responses.NewStore(int64(cfg.ResponseBytes), cfg.ResponseTime)
	if cfg.ResponseStore == "" {
		return s, nil
	}
	if err := s.In(cfg.ResponseStore, int64(cfg.ResponseDisk), log); err != nil {
		return nil, fmt.Errorf("the directory of responses: %w", err)
	}
	return s, nil
}

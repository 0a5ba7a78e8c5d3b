package http

import (
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"runtime/debug"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"github.com/valyala/fasthttp"

	"github.com/troupe-llm/troupe/actors"
	"github.com/troupe-llm/troupe/http/otlp"
)

// exchange is one HTTP request and its response.
type exchange struct {
	s      *Server
	ctx    *fasthttp.RequestCtx // borrowed: only while the request is handled
	id     string               // X-Request-Id
	begun  time.Time
	method string
	route  string // as registered; "" matched none
	status int    // as logged
	stream *sse   // nil: the response is all there when handled

	generated bool // an answer was generated, in whole or in part
	usage     actors.Usage
	finish    string
	err       error

	// For spans, when those are wanted.
	trace  otlp.Context
	chat   bool
	finals []*actors.Final // of each choice that ended
}

const (
	typeJSON     = "application/json"
	typeEvents   = "text/event-stream; charset=utf-8"
	headerID     = "X-Request-Id"
	exchangeKey  = "exchange"
	preflightAge = "600" // seconds
)

// handle surrounds every request.
func (s *Server) handle(ctx *fasthttp.RequestCtx) {
	x := &exchange{s: s, ctx: ctx, begun: time.Now(), method: string(ctx.Method())}
	x.id = requestID(ctx.Request.Header.Peek(headerID))
	ctx.Response.Header.Set(headerID, x.id)
	ctx.SetUserValue(exchangeKey, x)
	x.allowOrigin()
	x.continueTrace()
	if s.draining.Load() {
		ctx.SetConnectionClose()
	}
	x.run()
	if x.stream == nil {
		if x.status == 0 {
			x.status = ctx.Response.StatusCode()
		}
		x.end()
	}
}

// run calls the handler and survives its panic.
func (x *exchange) run() {
	defer func() {
		if p := recover(); p != nil {
			x.s.log.Error().Str("request_id", x.id).Interface("panic", p).Bytes("stack", debug.Stack()).Msg("a request's handler panicked")
			x.stream = nil
			writeError(x.ctx, errInternal)
		}
	}()
	x.s.router.Handler(x.ctx)
}

// end logs and counts a finished exchange, once.
func (x *exchange) end() {
	ended := time.Now()
	took := ended.Sub(x.begun)
	x.s.metrics.request(x.route, x.status)
	x.sendSpans(ended)
	level := zerolog.InfoLevel
	switch {
	case x.status >= 500 && x.status != fasthttp.StatusServiceUnavailable:
		level = zerolog.ErrorLevel
	case x.method == fasthttp.MethodGet, x.method == fasthttp.MethodHead:
		level = zerolog.DebugLevel // probes and scrapes
	}
	e := x.s.log.WithLevel(level).Str("request_id", x.id).Str("method", x.method).Str("route", x.route).
		Int("status", x.status).Dur("took_ms", took)
	if x.generated {
		e = e.Int("prompt_tokens", x.usage.PromptTokens).Int("cached_tokens", x.usage.CachedTokens).
			Int("completion_tokens", x.usage.CompletionTokens).Str("finish", x.finish)
	}
	if x.trace.Sampled {
		e = e.Hex("trace_id", x.trace.Trace[:])
	}
	if x.err != nil {
		e = e.Err(x.err)
	}
	e.Msg("request")
}

// requestID is the client's id when it is one that can be logged and sent
// back, else a new one.
func requestID(given []byte) string {
	for _, b := range given {
		if b <= ' ' || b > '~' {
			given = nil
			break
		}
	}
	if len(given) == 0 || len(given) > 128 {
		return rand.Text()
	}
	return string(given)
}

// allowOrigin lets allowed pages read the response.
func (x *exchange) allowOrigin() {
	origin := x.ctx.Request.Header.Peek(fasthttp.HeaderOrigin)
	if len(origin) == 0 || len(x.s.cfg.Origins) == 0 {
		return
	}
	h := &x.ctx.Response.Header
	h.Add(fasthttp.HeaderVary, fasthttp.HeaderOrigin)
	for _, allowed := range x.s.cfg.Origins {
		if allowed == "*" || allowed == string(origin) {
			h.SetBytesV(fasthttp.HeaderAccessControlAllowOrigin, origin)
			h.Set(fasthttp.HeaderAccessControlExposeHeaders, headerID)
			return
		}
	}
}

// preflight answers a browser that asks before it sends. The router has set
// Allow.
func (s *Server) preflight(ctx *fasthttp.RequestCtx) {
	h := &ctx.Response.Header
	ctx.SetStatusCode(fasthttp.StatusNoContent)
	if len(h.Peek(fasthttp.HeaderAccessControlAllowOrigin)) == 0 {
		return
	}
	h.SetBytesV(fasthttp.HeaderAccessControlAllowMethods, h.Peek(fasthttp.HeaderAllow))
	if asked := ctx.Request.Header.Peek(fasthttp.HeaderAccessControlRequestHeaders); len(asked) > 0 {
		h.SetBytesV(fasthttp.HeaderAccessControlAllowHeaders, asked)
	}
	h.Set(fasthttp.HeaderAccessControlMaxAge, preflightAge)
}

// authorized checks the API key.
func (x *exchange) authorized() bool {
	if len(x.s.cfg.APIKeys) == 0 {
		return true
	}
	given := x.ctx.Request.Header.Peek(fasthttp.HeaderAuthorization)
	const scheme = "Bearer "
	if len(given) <= len(scheme) || !strings.EqualFold(string(given[:len(scheme)]), scheme) {
		return false
	}
	good := 0
	for _, key := range x.s.cfg.APIKeys { // all of them: time tells nothing
		good |= subtle.ConstantTimeCompare(given[len(scheme):], []byte(key))
	}
	return good == 1
}

// json checks that the body is what it must be and returns it. It is borrowed.
func (x *exchange) json() ([]byte, *Error) {
	h := &x.ctx.Request.Header
	kind, _, _ := strings.Cut(string(h.ContentType()), ";")
	if kind = strings.TrimSpace(kind); kind != "" && !strings.EqualFold(kind, typeJSON) {
		return nil, &Error{
			Status: fasthttp.StatusUnsupportedMediaType, Type: typeInvalid,
			Message: "the body must be " + typeJSON + ", not " + kind,
		}
	}
	if coding := h.ContentEncoding(); len(coding) > 0 && string(coding) != "identity" {
		return nil, &Error{
			Status: fasthttp.StatusUnsupportedMediaType, Type: typeInvalid,
			Message: "the body must not be encoded, but Content-Encoding is " + string(coding),
		}
	}
	return x.ctx.Request.Body(), nil
}

// answered notes how an answer went.
func (x *exchange) answered(a *answer, err error) {
	x.generated, x.usage, x.err = true, a.usage(), err
	x.finish, x.status = "error", fasthttp.StatusOK
	switch {
	case err == nil:
		x.finish = string(a.choices[0].final.Reason)
	case errors.Is(err, errGone):
		x.finish, x.status, x.err = "abort", statusClientClosed, nil
	default:
		x.status = asError(err).Status
	}
	ended := time.Now()
	x.s.metrics.answered(a, x.finish, ended.Sub(x.begun))
	x.s.journeys.keep(x, a, ended)
	if x.trace.Sampled {
		x.chat = a.c.isChat
		for i := range a.choices {
			if f := a.choices[i].final; f != nil {
				x.finals = append(x.finals, f)
			}
		}
	}
}

// failed is the response to a request that could not be handled.
func (x *exchange) failed(e *Error) {
	if x.err == nil && e.Status >= 500 {
		x.err = e
	}
	writeError(x.ctx, e)
}

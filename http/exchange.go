package http

import (
	"crypto/rand"
	"net/netip"
	"runtime/debug"
	"time"

	"github.com/rs/zerolog"
	"github.com/valyala/fasthttp"

	"github.com/troupe-llm/troupe/http/internal/dialect"
	"github.com/troupe-llm/troupe/http/otlp"
)

// exchange is one HTTP request and its response.
type exchange struct {
	s       *Server
	ctx     *fasthttp.RequestCtx // borrowed: only while the request is handled
	id      string               // X-Request-Id
	begun   time.Time
	method  string
	route   string          // as registered; "" matched none
	holder  string          // of the key it came with; "" without one
	addr    netip.Addr      // who sent it; not valid on a Unix socket
	from    string          // addr's network, once it was let in
	read    bool            // its body was, or as much as was wanted
	body    []byte          // see body.go
	held    int             // of the budget, for body
	status  int             // as logged
	streams bool            // its response is not all there when handled
	dialect dialect.Dialect // that errors are told in

	model   *servedModel // that it is for, once that is chosen; nil: none
	outcome *outcome     // of the answer that was generated, in whole or in part; nil: none
	err     error
	trace   otlp.Context // when spans are wanted
}

const (
	typeJSON      = "application/json"
	typeEvents    = "text/event-stream; charset=utf-8"
	headerID      = "X-Request-Id"
	headerIgnored = "X-Ignored-Fields"
	exchangeKey   = "exchange"
	preflightAge  = "600" // seconds
)

// leftover is the most bytes of a body nobody wanted that fasthttp reads to get
// to the next request.
const leftover = 256 << 10

// handle surrounds every request.
func (f *front) handle(ctx *fasthttp.RequestCtx) {
	s := f.s
	x := &exchange{s: s, ctx: ctx, begun: time.Now(), method: string(ctx.Method()), dialect: s.spoken(ctx.Path())}
	x.id = requestID(ctx.Request.Header.Peek(headerID))
	x.addr = s.proxies.client(addressOf(ctx.RemoteAddr()), &ctx.Request.Header)
	ctx.Response.Header.Set(headerID, x.id)
	if d, is := x.dialect.(dialect.RequestIDs); is {
		ctx.Response.Header.Set(d.RequestID(), x.id)
	}
	ctx.SetUserValue(exchangeKey, x)
	x.allowOrigin()
	x.continueTrace()
	if s.draining.Load() || s.retiring.Load() {
		ctx.SetConnectionClose()
	}
	length := ctx.Request.Header.ContentLength()
	x.run(f.router.Handler)
	x.dropBody()
	if !x.read && (length == -1 || length > leftover || len(ctx.Request.Header.Peek(unreadBody)) > 0) {
		x.hangUp()
	}
	if !x.streams {
		if x.status == 0 {
			x.status = ctx.Response.StatusCode()
		}
		x.end()
	}
}

// run calls the handler and survives its panic.
func (x *exchange) run(handle fasthttp.RequestHandler) {
	defer func() {
		if p := recover(); p != nil {
			x.s.log.Error().Str("request_id", x.id).Interface("panic", p).Bytes("stack", debug.Stack()).Msg("a request's handler panicked")
			x.streams = false
			writeError(x.ctx, x.dialect, x.id, errInternal)
		}
	}()
	handle(x.ctx)
}

// hangUp closes the connection after the response, for there is more of the
// request that nobody will read.
func (x *exchange) hangUp() {
	x.ctx.SetConnectionClose()
	setUnread(x.ctx.Conn(), true)
}

// admit lets a request in that keeps to its client's limits; end lets it out.
func (x *exchange) admit() *Error {
	from := network(x.addr)
	if e := x.s.byAddress.enter(from); e != nil {
		return e
	}
	if x.holder != "" {
		if e := x.s.byKey.enter(x.holder); e != nil {
			x.s.byAddress.leave(from, 0)
			return e
		}
	}
	x.from = from
	return nil
}

// letOut gives back what admit took.
func (x *exchange) letOut() {
	if x.from == "" {
		return
	}
	tokens := 0
	if o := x.outcome; o != nil {
		tokens = o.usage.PromptTokens + o.usage.CompletionTokens
	}
	x.s.byAddress.leave(x.from, tokens)
	if x.holder != "" {
		x.s.byKey.leave(x.holder, tokens)
	}
	x.from = ""
}

// end logs and counts a finished exchange, once.
func (x *exchange) end() {
	ended := time.Now()
	took := ended.Sub(x.begun)
	x.s.requests.add(x.route, x.status)
	x.letOut()
	x.sendSpans(ended)
	if x.s.refusals.logged(x.status) {
		x.log(took)
	}
}

// log is the line of a finished exchange.
func (x *exchange) log(took time.Duration) {
	e := x.s.log.WithLevel(x.level()).Str("request_id", x.id).Str("method", x.method).Str("route", x.route)
	if x.route == "" {
		path := x.ctx.Path()
		e = e.Bytes("path", path[:min(len(path), 256)])
	}
	if x.addr.IsValid() {
		e = e.Stringer("client", x.addr)
	}
	e = e.Int("status", x.status).Dur("took_ms", took)
	if x.holder != "" {
		e = e.Str("key", x.holder)
	}
	if x.model != nil && x.model.label != "" {
		e = e.Str("model", x.model.Names[0])
	}
	if o := x.outcome; o != nil {
		e = e.Int("prompt_tokens", o.usage.PromptTokens).Int("cached_tokens", o.usage.CachedTokens).
			Int("completion_tokens", o.usage.CompletionTokens).Str("finish", o.finish)
	}
	if x.trace.Sampled {
		e = e.Hex("trace_id", x.trace.Trace[:])
	}
	if x.err != nil {
		e = e.Err(x.err)
	}
	e.Msg("request")
}

// level is of how much interest the exchange is.
func (x *exchange) level() zerolog.Level {
	switch {
	case x.status == fasthttp.StatusServiceUnavailable, x.status < 400:
		if x.method == fasthttp.MethodGet || x.method == fasthttp.MethodHead {
			return zerolog.DebugLevel // probes and scrapes
		}
	case x.status >= 500 && x.status != fasthttp.StatusGatewayTimeout:
		return zerolog.ErrorLevel
	}
	return zerolog.InfoLevel
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
	if x.s.allowsOrigin(origin) {
		h.SetBytesV(fasthttp.HeaderAccessControlAllowOrigin, origin)
		h.Set(fasthttp.HeaderAccessControlExposeHeaders, headerID+", "+headerIgnored)
	}
}

// preflight answers a browser that asks before it sends. The router has set
// Allow.
func preflight(x *exchange) *Error {
	h := &x.ctx.Response.Header
	x.ctx.SetStatusCode(fasthttp.StatusNoContent)
	if len(h.Peek(fasthttp.HeaderAccessControlAllowOrigin)) == 0 {
		return nil
	}
	h.SetBytesV(fasthttp.HeaderAccessControlAllowMethods, h.Peek(fasthttp.HeaderAllow))
	if asked := x.ctx.Request.Header.Peek(fasthttp.HeaderAccessControlRequestHeaders); len(asked) > 0 {
		h.SetBytesV(fasthttp.HeaderAccessControlAllowHeaders, asked)
	}
	h.Set(fasthttp.HeaderAccessControlMaxAge, preflightAge)
	return nil
}

// answered notes how the exchange's answer went.
func (x *exchange) answered(o *outcome) { x.outcome, x.status, x.err = o, o.status, o.err }

// failed is the response to a request that could not be handled.
func (x *exchange) failed(e *Error) {
	if x.err == nil && e.Status >= 500 {
		x.err = e
	}
	writeError(x.ctx, x.dialect, x.id, e)
}

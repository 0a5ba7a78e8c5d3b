package http

import (
	"errors"
	"io"
	"net"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/troupe-llm/troupe/actors"
	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/http/internal/sse"
)

// streamBody is an answer as the body of a response: what sse.Stream writes, by the
// dialect's writer. It knows the exchange and the answer, which do not know it.
type streamBody struct {
	s    *Server
	x    *exchange
	a    *answer
	conn net.Conn
	over func() // to be called when it has ended

	out   *sse.Stream
	begun bool        // the dialect's Begin was called
	ended bool        // nothing more will be appended
	err   error       // why it ends; nil when it ended well
	idle  *time.Timer // see Config.KeepAlive
	quiet bool        // nothing was written since idle last went off

	// Of what was appended last:
	receipts []actors.Receipt // of its events, when traced
	taken    int64            // when the first of those was taken, as batch.Now
	tokens   int              // in it
	computed int64            // when the first of them was, as batch.Now
}

// stream makes an answer the response. over is called when it has ended.
func (s *Server) stream(x *exchange, a *answer, over func()) {
	ctx := x.ctx
	r := &streamBody{s: s, x: x, a: a, conn: ctx.Conn(), over: over}
	r.idle = time.AfterFunc(s.cfg.KeepAlive, func() { a.tell(&a.idle) })
	x.streams = true
	r.out = s.writers.Stream(r.conn, r, ctx.Request.Header.IsHTTP11(), s.cfg.StallTimeout)
	sendEvents(ctx, x.id, r)
}

// eventBody is a body of events, which writes to the connection by itself.
type eventBody interface {
	io.ReadCloser
	io.WriterTo
	SupportsBodyWriteTo() bool
}

// sendEvents makes events the response to the request of this id.
func sendEvents(ctx *fasthttp.RequestCtx, id string, r eventBody) {
	if !ctx.Request.Header.IsHTTP11() {
		unframed(ctx, id, r)
		return
	}
	h := &ctx.Response.Header
	h.SetContentType(typeEvents)
	h.Set(fasthttp.HeaderCacheControl, "no-cache")
	h.Set("X-Accel-Buffering", "no") // nginx would collect tokens
	ctx.Response.ImmediateHeaderFlush = true
	ctx.SetBodyStream(r, -1)
}

// unframed writes the stream to a client that knows no chunks: the end of the
// connection is the end of the body. fasthttp would send chunks all the same.
func unframed(ctx *fasthttp.RequestCtx, id string, r eventBody) {
	conn := ctx.Conn()
	header := "HTTP/1.1 200 OK\r\nContent-Type: " + typeEvents + "\r\nCache-Control: no-cache\r\n" +
		headerID + ": " + id + "\r\nConnection: close\r\n"
	if said := ctx.Response.Header.Peek(headerIgnored); len(said) > 0 {
		header += headerIgnored + ": " + string(said) + "\r\n"
	}
	header += "\r\n"
	ctx.HijackSetNoResponse(true)
	ctx.Hijack(func(net.Conn) { // the same connection, wrapped
		defer r.Close()
		if _, err := io.WriteString(conn, header); err == nil {
			_, _ = r.WriteTo(nil) // Close notices what was not sent
		}
	})
}

// WriteTo writes what there is to say whenever there is something, to the end.
//
// It writes to the connection, not to the writer that fasthttp gives it, which
// would copy, frame and flush: a tenth of the time a token takes here. By then
// fasthttp has flushed the header; the empty chunk at the end is left to it.
func (r *streamBody) WriteTo(io.Writer) (int64, error) {
	wake := r.out.Wake
	r.a.instead.Store(&wake)
	return 0, r.out.Run()
}

// SupportsBodyWriteTo has fasthttp call WriteTo.
func (*streamBody) SupportsBodyWriteTo() bool { return true }

// Read is there because fasthttp takes a body for a reader.
func (*streamBody) Read([]byte) (int, error) { return 0, errors.ErrUnsupported }

// Append appends the events that are there, and what was noticed. An event that
// is taken is appended: it is not there a second time.
func (r *streamBody) Append(dst []byte, now int64) ([]byte, bool) {
	r.taken = now
	if !r.begun {
		r.begun = true
		dst = r.a.call.Stream.Begin(dst, &r.a.Answer)
	}
	for !r.ended && len(dst) < sse.MaxWrite {
		ch := r.a.take()
		if ch == nil {
			break
		}
		dst = r.event(dst, ch)
	}
	if !r.ended {
		dst = r.notice(dst, r.a.notice())
	}
	return dst, r.ended
}

// event appends what a choice has come to.
func (r *streamBody) event(dst []byte, ch *choice) []byte {
	ev := &ch.event
	if ev.Receipt.Wanted() {
		if r.taken == 0 {
			r.taken = batch.Now()
		}
		r.receipts = append(r.receipts, ev.Receipt)
	}
	if ev.Final != nil && ev.Final.Err != nil {
		return r.fail(dst, ev.Final.Err)
	}
	w, before := r.a.call.Stream, len(dst)
	dst = w.Delta(dst, &r.a.Answer, &ch.delta)
	if n := len(ev.Tokens); n > 0 && len(dst) > before { // else nothing of them is written
		if r.tokens == 0 {
			r.computed = ev.Computed
		}
		r.tokens += n
	}
	if r.a.unended == 0 {
		r.ended = true
		dst = w.End(dst, &r.a.Answer)
	}
	return dst
}

// notice appends what has to be said of a notice; nil is none.
func (r *streamBody) notice(dst []byte, err error) []byte {
	switch {
	case err == nil:
	case errors.Is(err, errIdle):
		r.idle.Reset(r.s.cfg.KeepAlive)
		if r.quiet {
			dst = r.a.call.Stream.Ping(dst)
		}
		r.quiet = true
	default:
		return r.fail(dst, err)
	}
	return dst
}

// fail ends the stream with an error.
func (r *streamBody) fail(dst []byte, err error) []byte {
	r.ended, r.err = true, err
	if errors.Is(err, errGone) {
		return dst
	}
	return r.a.call.Stream.Fail(dst, &r.a.Answer, asError(err))
}

// Written notes that what was appended has been written, and returns when; 0 when
// nobody wanted to know. It signs the receipts, to be handed in.
func (r *streamBody) Written(signed *actors.Receipts) (now int64) {
	r.quiet = false
	if r.tokens == 0 && len(r.receipts) == 0 {
		return 0
	}
	now = batch.Now()
	if r.tokens > 0 {
		r.a.metrics.delivery.observeN(time.Duration(now-r.computed), r.tokens)
		r.tokens = 0
	}
	for i := range r.receipts {
		signed.Sign(&r.receipts[i], r.taken, now)
	}
	r.receipts = r.receipts[:0]
	return now
}

// Close is called by fasthttp once, when all has been written or a write failed.
func (r *streamBody) Close() error {
	r.idle.Stop()
	_ = r.conn.SetWriteDeadline(time.Time{})
	if !r.out.Whole() {
		r.err = errGone
	}
	r.over()
	r.s.answered(r.x, r.a, r.err)
	r.x.end()
	return nil
}

package http

import (
	"errors"
	"io"
	"net"
	"slices"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/valyala/fasthttp"

	"github.com/troupe-llm/troupe/actors"
	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/tokenize/reply"
)

// sse is an answer as server-sent events. fasthttp has it write itself: one
// write to the connection is what has happened by now. It belongs to the
// connection's goroutine, or to the pen whose turn it is (pens.go).
type sse struct {
	a    *answer
	x    *exchange
	conn net.Conn
	stop func() // the watcher's

	head    []byte // see appendHead
	chunked bool   // each write is a chunk of HTTP/1.1
	buf     []byte // what is to be written; its memory is used again
	sent    int    // buf[:sent] has been
	open    []opening
	err     error       // why it ends; nil when it ended well
	over    bool        // nothing more will be appended
	idle    *time.Timer // see Config.KeepAlive
	quiet   bool        // nothing was written since idle last went off
	stalled time.Time   // when the connection's write deadline is

	receipts []actors.Receipt // of events in buf, when traced
	taken    int64            // when the first of those was taken, as batch.Now
	tokens   int              // in buf
	computed int64            // when the first of them was, as batch.Now

	// For pens; see there.
	raw   rawWriter
	state atomic.Int32
	back  chan struct{} // capacity 1: the stream is the connection's goroutine's again
}

// opening is what one choice has said so far.
type opening struct {
	begun  bool // its first chunk is out
	offset int  // characters of its text that are out
}

// streamed makes an answer the response.
func (x *exchange) streamed(a *answer, stop func()) {
	ctx := x.ctx
	r := &sse{a: a, x: x, conn: ctx.Conn(), stop: stop, open: make([]opening, len(a.choices))}
	r.head = a.c.appendHead(nil)
	r.idle = time.AfterFunc(a.s.cfg.KeepAlive, func() { a.tell(&a.idle) })
	x.stream = r

	if !ctx.Request.Header.IsHTTP11() {
		r.unframed(ctx)
		return
	}
	h := &ctx.Response.Header
	h.SetContentType(typeEvents)
	h.Set(fasthttp.HeaderCacheControl, "no-cache")
	h.Set("X-Accel-Buffering", "no") // nginx would collect tokens
	ctx.Response.ImmediateHeaderFlush = true
	r.chunked = true
	ctx.SetBodyStream(r, -1)
}

// unframed writes the stream to a client that knows no chunks: the end of the
// connection is the end of the body. fasthttp would send chunks all the same.
func (r *sse) unframed(ctx *fasthttp.RequestCtx) {
	header := "HTTP/1.1 200 OK\r\nContent-Type: " + typeEvents + "\r\nCache-Control: no-cache\r\n" +
		headerID + ": " + r.x.id + "\r\nConnection: close\r\n\r\n"
	ctx.HijackSetNoResponse(true)
	ctx.Hijack(func(net.Conn) { // the same connection, wrapped
		defer r.Close()
		if _, err := io.WriteString(r.conn, header); err == nil {
			_, _ = r.WriteTo(nil) // Close notices what was not sent
		}
	})
}

// WriteTo writes what there is to say whenever there is something, to the end.
//
// It writes to the connection, not to the writer that fasthttp gives it, which
// would copy, frame and flush: a tenth of the time a token takes here. By then
// fasthttp has flushed the header; the empty chunk at the end is left to it.
func (r *sse) WriteTo(io.Writer) (int64, error) {
	if r.raw = newRawWriter(r.conn); r.raw != nil {
		return 0, r.share()
	}
	for !r.over {
		switch {
		case r.compose(0):
			if err := r.write(); err != nil {
				return 0, err
			}
		case !r.over:
			<-r.a.woken
		}
	}
	return 0, nil
}

// compose makes buf what there is to say, and reports whether that is
// anything. now is the time, as batch.Now; 0 when that is not known.
func (r *sse) compose(now int64) bool {
	r.buf, r.sent, r.taken = r.buf[:0], 0, now
	if r.chunked {
		r.buf = append(r.buf, sizeLine...)
	}
	empty := len(r.buf)
	if r.fill(); len(r.buf) == empty {
		r.buf = r.buf[:0]
		return false
	}
	if r.chunked {
		r.frame()
	}
	r.extendDeadline()
	return true
}

// write writes what is left of buf, however long that takes.
func (r *sse) write() error {
	n, err := r.conn.Write(r.buf[r.sent:])
	r.sent += n
	if err == nil {
		var signed actors.Receipts
		r.written(&signed)
		signed.HandIn()
	}
	return err
}

// sizeLine begins a chunk; frame puts the size in, leading zeros and all.
const sizeLine = "00000000\r\n"

// frame makes buf, which begins with sizeLine, a chunk.
func (r *sse) frame() {
	n := len(r.buf) - len(sizeLine)
	for i := len(sizeLine) - 3; n > 0; i-- {
		r.buf[i] = hexDigits[n&15]
		n >>= 4
	}
	r.buf = append(r.buf, "\r\n"...)
}

// SupportsBodyWriteTo has fasthttp call WriteTo.
func (*sse) SupportsBodyWriteTo() bool { return true }

// Read is there because fasthttp takes a body for a reader.
func (*sse) Read([]byte) (int, error) { return 0, errors.ErrUnsupported }

// written notes that what is in buf has been written, and returns when; 0 when
// nobody wanted to know. It signs the receipts, to be handed in.
func (r *sse) written(signed *actors.Receipts) (now int64) {
	r.quiet = false
	if r.tokens == 0 && len(r.receipts) == 0 {
		return 0
	}
	now = batch.Now()
	if r.tokens > 0 {
		r.a.s.metrics.delivery.observeN(time.Duration(now-r.computed), r.tokens)
		r.tokens = 0
	}
	for i := range r.receipts {
		signed.Sign(&r.receipts[i], r.taken, now)
	}
	r.receipts = r.receipts[:0]
	return now
}

// maxWrite is how many bytes are collected before they are written, when
// events come faster than the client reads.
const maxWrite = 16 << 10

// fill appends the events that are there, and what was noticed. An event that
// is taken is appended: it is not there a second time.
func (r *sse) fill() {
	for !r.over && len(r.buf) < maxWrite {
		i, ev := r.a.take()
		if ev == nil {
			break
		}
		r.append(i, ev)
	}
	if !r.over {
		r.notice(r.a.notice())
	}
}

// notice appends what has to be said of a notice; nil is none.
func (r *sse) notice(err error) {
	switch {
	case err == nil:
	case errors.Is(err, errIdle):
		r.idle.Reset(r.a.s.cfg.KeepAlive)
		if r.quiet {
			r.buf = append(r.buf, ": keep-alive\n\n"...)
		}
		r.quiet = true
	default:
		r.fail(err)
	}
}

// append appends an event of choice i.
func (r *sse) append(i int, ev *actors.Event) {
	c, o := r.a.c, &r.open[i]
	if ev.Receipt.Wanted() {
		if r.taken == 0 {
			r.taken = batch.Now()
		}
		r.receipts = append(r.receipts, ev.Receipt)
	}
	if ev.Final != nil && ev.Final.Err != nil {
		r.fail(ev.Final.Err)
		return
	}
	sp := &r.a.choices[i].parsed
	told := len(ev.Text) > 0
	if sp.parser != nil {
		told = slices.ContainsFunc(sp.parts, visible)
	}
	tells := told || len(ev.Tokens) > 0 && (c.returnIDs || len(ev.Logprobs) > 0)
	if n := len(ev.Tokens); n > 0 && tells { // else nothing of them is written
		if r.tokens == 0 {
			r.computed = ev.Computed
		}
		r.tokens += n
	}
	if !o.begun && (tells || ev.Final != nil) {
		o.begun = true
		r.begin(i, o)
	}
	p := piece{index: i, ids: ev.Tokens, logprobs: ev.Logprobs, ends: ev.TextEnds, offset: o.offset}
	switch {
	case sp.parser == nil && tells:
		p.text = ev.Text
		r.chunk(&p)
	case told:
		r.chunks(&p, sp.parts)
	case tells:
		r.chunk(&p)
	}
	if c.logprobs {
		o.offset += utf8.RuneCount(ev.Text)
	}
	if ev.Final != nil {
		r.chunk(&piece{index: i, final: ev.Final})
	}
	if r.a.unended == 0 {
		r.end()
	}
}

// begin appends what goes before a choice's first token: a chat's role, an
// echoed prompt.
func (r *sse) begin(i int, o *opening) {
	c := r.a.c
	p := piece{index: i, role: c.isChat}
	if c.returnIDs {
		p.prompt = r.a.choices[i].prompt
	}
	if c.echo {
		e := r.a.echo(i)
		p.text, p.echo, p.logprobs, p.ends = e.text, e.echo, e.logprobs, e.ends
		o.offset = utf8.RuneCount(p.text)
	}
	if p.role || p.text != nil || p.prompt != nil {
		r.chunk(&p)
	}
}

// chunks appends a chunk for each part; tokens go with the first.
func (r *sse) chunks(p *piece, parts []reply.Part) {
	for i := range parts {
		if visible(parts[i]) {
			p.part = &parts[i]
			r.chunk(p)
			*p = piece{index: p.index}
		}
	}
}

func (r *sse) chunk(p *piece) {
	if r.a.c.continuousUsage {
		u := r.a.usage()
		p.usage, p.reasoned = &u, r.a.reasoned()
	}
	r.buf = r.a.c.appendChunk(r.buf, r.head, p, r.a.s.tokenizer)
}

const done = "data: [DONE]\n\n"

// end appends what follows the last choice's end.
func (r *sse) end() {
	r.over = true
	if r.a.c.includeUsage {
		r.buf = append(append(r.buf, "data: "...), r.head...)
		r.buf = append(r.buf, `],"usage":`...)
		r.buf = appendUsage(r.buf, r.a.usage(), r.a.reasoned())
		r.buf = append(r.buf, "}\n\n"...)
	}
	r.buf = append(r.buf, done...)
}

// fail ends the stream with an error. Its status has been sent, so the error
// is an event.
func (r *sse) fail(err error) {
	r.over, r.err = true, err
	if errors.Is(err, errGone) {
		return
	}
	r.buf = append(r.buf, "data: "...)
	r.buf = appendError(r.buf, asError(err))
	r.buf = append(r.buf, "\n\n"+done...)
}

// extendDeadline gives the client StallTimeout from about now to read on.
func (r *sse) extendDeadline() {
	timeout := r.a.s.cfg.StallTimeout
	now := time.Now()
	if r.stalled.Sub(now) < timeout/2 {
		r.stalled = now.Add(timeout)
		_ = r.conn.SetWriteDeadline(r.stalled) // a closed connection will say so itself
	}
}

// Close is called by fasthttp once, when all has been written or a write failed.
func (r *sse) Close() error {
	r.stop()
	r.idle.Stop()
	_ = r.conn.SetWriteDeadline(time.Time{})
	if !r.over || r.sent < len(r.buf) {
		r.err = errGone
	}
	r.a.cancel()
	r.a.s.leave()
	r.x.answered(r.a, r.err)
	r.x.end()
	return nil
}

package http

import (
	"errors"
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/troupe-llm/troupe/actors"
	"github.com/troupe-llm/troupe/http/internal/dialect/openai"
	"github.com/troupe-llm/troupe/http/internal/sse"
)

// background has an answer made by a goroutine of its own, and answers its client at
// once. The exchange ends when the answer does.
func (s *Server) background(x *exchange, a *answer, over func()) {
	b := a.call.Background
	b.Cancel, b.Done = func() { a.tell(&a.gone) }, make(chan struct{})
	b.Log.Append(a.call.Stream.Begin(nil, &a.Answer))
	x.streams = true
	if b.Accepted != nil {
		x.send(b.Accepted)
	} else {
		s.follow(x.ctx, nil, x.id, b.Log, 0)
	}
	x.ctx = nil // it is borrowed
	go func() {
		defer close(b.Done)
		err := a.detached()
		b.Log.End()
		over()
		s.answered(x, a, err)
		x.end()
	}()
}

// detached has all of the answer logged. Its client going away is its being
// cancelled.
func (a *answer) detached() error {
	w, b := a.call.Stream, a.call.Background
	var events []byte
	for a.unended > 0 {
		ch, err := a.next()
		if err == nil && ch.delta.Final != nil {
			err = ch.delta.Final.Err
		}
		switch {
		case errors.Is(err, errIdle):
			continue
		case errors.Is(err, errGone):
			a.cancel()
			b.Log.Append(b.Cancelled(nil, &a.Answer))
			return err
		case err != nil:
			a.cancel()
			b.Log.Append(w.Fail(nil, &a.Answer, asError(err)))
			return err
		}
		events = w.Delta(events[:0], &a.Answer, &ch.delta)
		b.Log.Append(events)
	}
	b.Log.Append(w.End(events[:0], &a.Answer))
	return nil
}

// followBody is a response's body: the events of a log. Its fields belong to the
// connection's goroutine, or to the writer whose turn it is, but for notices, which
// any goroutine gives.
type followBody struct {
	x      *exchange // that ends with it; nil: none
	conn   net.Conn
	out    *sse.Stream
	events *sse.Follower
	stop   func() // watching the client
	idle   *time.Timer
	every  time.Duration

	gone, due atomic.Bool // notices: the client went away; it is time for a sign of life
	running   atomic.Bool // WriteTo was called: the response's header is out
}

// wake has the stream written, once it may be: what there is before, Run sees.
func (f *followBody) wake() {
	if f.running.Load() {
		f.out.Wake()
	}
}

// follow makes the events of a log behind the first n the response, to the request of
// this id; false: there are not so many. x ends with it, if it is given.
func (s *Server) follow(ctx *fasthttp.RequestCtx, x *exchange, id string, log *sse.Log, n int) bool {
	f := &followBody{x: x, conn: ctx.Conn(), every: s.cfg.KeepAlive}
	f.out = s.writers.Stream(f.conn, f, ctx.Request.Header.IsHTTP11(), s.cfg.StallTimeout)
	if f.events = log.Follow(n, f.wake); f.events == nil {
		return false
	}
	notice := func(what *atomic.Bool) func() {
		return func() {
			what.Store(true)
			f.wake()
		}
	}
	f.stop = watch(f.conn, notice(&f.gone))
	f.idle = time.AfterFunc(f.every, notice(&f.due))
	if x != nil {
		x.streams = true
	}
	sendEvents(ctx, id, f)
	return true
}

// Append is part of an sse.Source.
func (f *followBody) Append(dst []byte, _ int64) ([]byte, bool) {
	if f.gone.Load() {
		return dst, true
	}
	dst, over := f.events.Read(dst)
	if f.due.Swap(false) && !over {
		f.idle.Reset(f.every)
		dst = (*openai.Answer)(nil).Ping(dst)
	}
	return dst, over
}

// Written is part of an sse.Source.
func (*followBody) Written(*actors.Receipts) int64 { return 0 }

// WriteTo writes to the connection, see streamBody.
func (f *followBody) WriteTo(io.Writer) (int64, error) {
	f.running.Store(true)
	return 0, f.out.Run()
}

// SupportsBodyWriteTo has fasthttp call WriteTo.
func (*followBody) SupportsBodyWriteTo() bool { return true }

// Read is there because fasthttp takes a body for a reader.
func (*followBody) Read([]byte) (int, error) { return 0, errors.ErrUnsupported }

// Close is called by fasthttp once, when all has been written or a write failed.
func (f *followBody) Close() error {
	f.idle.Stop()
	f.stop()
	f.events.Close()
	_ = f.conn.SetWriteDeadline(time.Time{})
	if f.x != nil {
		f.x.status = fasthttp.StatusOK
		f.x.end()
	}
	return nil
}

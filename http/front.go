package http

import (
	"errors"
	"net"
	"sync"
	"time"

	"github.com/fasthttp/router"
	"github.com/rs/zerolog"
	"github.com/valyala/fasthttp"
	"github.com/valyala/fasthttp/fasthttputil"
)

// front is one side of a server: routes, and the connections on which they are
// asked for.
type front struct {
	s      *Server
	router *router.Router
	fast   *fasthttp.Server

	mu        sync.Mutex
	conns     map[net.Conn]peer // open ones; guarded by mu
	from      map[string]int    // how many of them, by network; guarded by mu
	listeners []net.Listener    // guarded by mu
	stopped   bool              // guarded by mu
}

// peer is the other end of a connection.
type peer struct {
	state fasthttp.ConnState
	from  string // see network
}

// headerSize is the most bytes a request's header may have.
const headerSize = 16 << 10

func newFront(s *Server, r *router.Router) *front {
	f := &front{s: s, router: r, conns: map[net.Conn]peer{}, from: map[string]int{}}
	f.fast = &fasthttp.Server{
		Handler:        f.handle,
		HeaderReceived: s.received,
		ErrorHandler:   s.unreadable,
		ConnState:      f.connState,
		Logger:         fastLog{s.log},
		// A header may hold a key: neither the log nor the answer quotes it.
		SecureErrorLogMessage: true,

		Name:        "troupe",
		Concurrency: s.cfg.MaxConnections + spare(s.cfg.MaxConnections),
		// One byte of a body is waited for before the handler is called, and
		// what follows comes as a stream (body.go), which MaxBody bounds.
		StreamRequestBody:            true,
		MaxRequestBodySize:           1,
		ReadBufferSize:               headerSize,
		ReadTimeout:                  s.cfg.ReadTimeout,
		IdleTimeout:                  s.cfg.IdleTimeout,
		WriteTimeout:                 0,               // it would bound whole streams; see StallTimeout
		MaxIdleWorkerDuration:        time.Second / 4, // goroutines without a connection
		DisablePreParseMultipartForm: true,
	}
	return f
}

func (f *front) serve(ln net.Listener) error {
	p := newPatient(ln, f.s.log)
	f.mu.Lock()
	f.listeners = append(f.listeners, p)
	stopped := f.stopped
	f.mu.Unlock()
	if stopped {
		_ = p.Close()
	}
	return f.fast.Serve(f.s.encrypted(p))
}

// stop takes no more connections.
func (f *front) stop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stopped = true
	for _, ln := range f.listeners {
		_ = ln.Close()
	}
}

func (f *front) close() {
	f.stop()
	f.hangUp(true)
}

// connState keeps track of connections, so that Shutdown can close them.
func (f *front) connState(c net.Conn, state fasthttp.ConnState) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p, known := f.conns[c]
	p.state = state
	switch {
	case state == fasthttp.StateClosed || state == fasthttp.StateHijacked:
		f.forget(c)
	case known:
		f.conns[c] = p
	default:
		p.from = network(addressOf(c.RemoteAddr()))
		f.from[p.from]++
		f.conns[c] = p
		if len(f.conns) > f.s.cfg.MaxConnections {
			f.makeRoom(c)
		}
	}
}

// forget takes a connection out, if it is there. Called with mu held.
func (f *front) forget(c net.Conn) {
	p, known := f.conns[c]
	if !known {
		return
	}
	delete(f.conns, c)
	if f.from[p.from]--; f.from[p.from] == 0 {
		delete(f.from, p.from)
	}
}

// spare is how many more connections than most there may be until those that made
// room are gone: who serves one notices a little later that it was closed.
func spare(most int) int { return min(64, 1+most/2) }

// makeRoom closes a connection on which nothing is asked, of a network that has as
// many as any: else who opens all there may be keeps others out. Some are looked at:
// of those who have most there are most. Called with mu held.
func (f *front) makeRoom(but net.Conn) {
	var worst net.Conn
	looked, most := 0, 0
	for c, p := range f.conns {
		if looked++; looked > 256 {
			break
		}
		if n := f.from[p.from]; c != but && p.state != fasthttp.StateActive && n > most {
			worst, most = c, n
		}
	}
	if worst != nil {
		f.forget(worst)
		setUnread(worst, false)
		_ = bare(worst).Close()
	}
}

// hangUp closes all connections, or those that wait for a request, and returns
// how many were open. Who serves one notices and forgets it.
func (f *front) hangUp(all bool) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c, p := range f.conns {
		if all || p.state != fasthttp.StateActive {
			setUnread(c, false)
			_ = bare(c).Close() // TLS would wait for its client to take a last word
		}
	}
	return len(f.conns)
}

// unreadable answers a request that could not be read to its end.
func (s *Server) unreadable(ctx *fasthttp.RequestCtx, err error) {
	e := s.unread(err)
	s.requests.add("", e.Status)
	setUnread(ctx.Conn(), true)
	writeError(ctx, common, "", e)
}

// fastLog gives fasthttp's few messages a level: that a connection was closed,
// by its client or by Shutdown, is nobody's fault, and neither is a request
// that cannot be read. Of such a one nothing is logged: there may be a key in
// it.
type fastLog struct{ zerolog.Logger }

func (l fastLog) Printf(format string, args ...any) {
	level := zerolog.WarnLevel
	for i, a := range args {
		err, is := a.(error)
		if !is {
			continue
		}
		var system *net.OpError
		switch {
		case errors.Is(err, net.ErrClosed), errors.Is(err, fasthttputil.ErrConnectionClosed):
			level = zerolog.DebugLevel
		case errors.As(err, &system):
			args[i] = system
		default:
			level = zerolog.DebugLevel
			args[i] = errNotQuoted
		}
	}
	l.WithLevel(level).Msgf(format, args...)
}

var errNotQuoted = errors.New("the request could not be read")

package http

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fasthttp/router"
	"github.com/rs/zerolog"
	"github.com/valyala/fasthttp"
	"github.com/valyala/fasthttp/fasthttputil"

	"github.com/troupe-llm/troupe/actors"
)

// Server serves one engine. Its methods may be called from any goroutine.
type Server struct {
	cfg       Config
	engine    engine
	log       zerolog.Logger
	info      info
	tokenizer tokenizer // nil: the model has none
	limits    limits
	family    family
	began     time.Time
	epoch     time.Time // see wall

	router  *router.Router
	fast    *fasthttp.Server
	metrics *metricSet

	answers  atomic.Int64 // under way; see enter
	draining atomic.Bool
	live     liveAnswers
	pens     pens
	journeys journeys

	conns struct {
		sync.Mutex
		state map[net.Conn]fasthttp.ConnState // open ones
	}
	listeners []net.Listener // guarded by conns
}

// New makes a server for a running system. It fails with everything that is
// wrong with the configuration.
func New(cfg Config, sys *actors.System, log zerolog.Logger) (*Server, error) {
	return newServer(cfg, system{sys}, log)
}

func newServer(cfg Config, eng engine, log zerolog.Logger) (*Server, error) {
	info := eng.Info()
	cfg, err := cfg.complete(info.model)
	if err != nil {
		return nil, err
	}
	s := &Server{
		cfg: cfg, engine: eng, log: log, info: info,
		tokenizer: eng.Tokenizer(),
		limits:    limits{vocab: info.vocab, choices: cfg.MaxChoices, stops: cfg.MaxStops, stopBytes: maxStopBytes},
		began:     time.Now(),
		epoch:     epoch(),
		metrics:   newMetrics(),
		live:      liveAnswers{all: map[*answer]struct{}{}},
		pens:      pens{most: runtime.GOMAXPROCS(0)},
	}
	s.family = newFamily(&s.cfg, s.tokenizer)
	s.conns.state = map[net.Conn]fasthttp.ConnState{}
	s.router = s.routes()
	s.fast = &fasthttp.Server{
		Handler:      s.handle,
		ErrorHandler: s.unreadable,
		ConnState:    s.connState,
		Logger:       fastLog{log},
		// A header may hold a key: neither the log nor the answer quotes it.
		SecureErrorLogMessage: true,

		Name:                         "troupe",
		Concurrency:                  cfg.MaxConnections,
		MaxRequestBodySize:           cfg.MaxBody,
		ReadBufferSize:               16 << 10, // also the most a header may have
		ReadTimeout:                  cfg.ReadTimeout,
		IdleTimeout:                  cfg.IdleTimeout,
		WriteTimeout:                 0,               // it would bound whole streams; see StallTimeout
		MaxIdleWorkerDuration:        time.Second / 4, // goroutines without a connection
		TCPKeepalive:                 true,
		DisablePreParseMultipartForm: true,
	}
	return s, nil
}

// Serve answers requests from ln until Shutdown; then it returns nil.
func (s *Server) Serve(ln net.Listener) error {
	s.conns.Lock()
	s.listeners = append(s.listeners, ln)
	s.conns.Unlock()
	if s.draining.Load() { // Shutdown may have missed it
		_ = ln.Close()
	}
	return s.fast.Serve(ln)
}

// lastWords is how long cut streams get to tell their clients.
const lastWords = 2 * time.Second

// Shutdown takes no more requests and waits for the answers under way. When
// ctx ends first, those left are told so and closed, and ctx's error returned.
//
// fasthttp's own shutdown is not used: it knows no streams to cut, looks but
// ten times a second, and lets a connection that has asked nothing hold it up
// for seconds.
func (s *Server) Shutdown(ctx context.Context) error {
	s.draining.Store(true)
	s.conns.Lock()
	for _, ln := range s.listeners {
		_ = ln.Close()
	}
	s.conns.Unlock()
	if s.quiet(ctx) {
		return nil
	}
	s.live.cutAll()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
	defer cancel()
	s.quiet(last)
	s.closeConns(true)
	return ctx.Err()
}

// quiet waits until no connection is open and no answer under way, or until
// ctx ends. Connections that are idle it closes.
func (s *Server) quiet(ctx context.Context) bool {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if s.closeConns(false) == 0 && s.answers.Load() == 0 {
			return true
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
	}
}

// enter admits one more answer; leave must follow.
func (s *Server) enter() *Error {
	if s.draining.Load() {
		return errDraining
	}
	if n := s.answers.Add(1); n > int64(s.cfg.MaxOpen) {
		s.answers.Add(-1)
		return &Error{
			Status: fasthttp.StatusTooManyRequests, Type: typeBusy, Code: "server_busy", RetryAfter: 1,
			Message: fmt.Sprintf("the server is busy: %d answers are under way, which is its limit", s.cfg.MaxOpen),
		}
	}
	return nil
}

func (s *Server) leave() { s.answers.Add(-1) }

// ready says why requests are not taken, if so.
func (s *Server) ready() *Error {
	switch {
	case s.draining.Load():
		return errDraining
	case !s.engine.Ready():
		return &Error{
			Status: fasthttp.StatusServiceUnavailable, Type: typeServer, Code: "not_ready",
			Message: "the engine is not ready", RetryAfter: 1,
		}
	}
	return nil
}

// connState keeps track of connections, so that Shutdown can close them.
func (s *Server) connState(c net.Conn, state fasthttp.ConnState) {
	s.conns.Lock()
	defer s.conns.Unlock()
	if state == fasthttp.StateClosed || state == fasthttp.StateHijacked {
		delete(s.conns.state, c)
		return
	}
	s.conns.state[c] = state
}

// closeConns closes all connections, or those that wait for a request, and
// returns how many were open. Who serves one notices and forgets it.
func (s *Server) closeConns(all bool) int {
	s.conns.Lock()
	defer s.conns.Unlock()
	for c, state := range s.conns.state {
		if all || state != fasthttp.StateActive {
			_ = c.Close()
		}
	}
	return len(s.conns.state)
}

// unreadable answers a request that could not be read to its end.
func (s *Server) unreadable(ctx *fasthttp.RequestCtx, err error) {
	e := badRequest("", "the request cannot be read: %v", err)
	var small *fasthttp.ErrSmallBuffer
	var network net.Error
	switch {
	case errors.Is(err, fasthttp.ErrBodyTooLarge):
		e.Status, e.Message = fasthttp.StatusRequestEntityTooLarge, fmt.Sprintf("the body is larger than %d bytes", s.cfg.MaxBody)
	case errors.As(err, &small):
		e.Status, e.Message = fasthttp.StatusRequestHeaderFieldsTooLarge, fmt.Sprintf("the header is larger than %d bytes", s.fast.ReadBufferSize)
	case errors.As(err, &network) && network.Timeout():
		e.Status, e.Message = fasthttp.StatusRequestTimeout, fmt.Sprintf("the request did not arrive within %v", s.cfg.ReadTimeout)
	}
	s.metrics.request("", e.Status)
	writeError(ctx, e)
}

// fastLog gives fasthttp's few messages a level: that a connection was closed,
// by its client or by Shutdown, is nobody's fault.
type fastLog struct{ zerolog.Logger }

func (l fastLog) Printf(format string, args ...any) {
	level := zerolog.WarnLevel
	for _, a := range args {
		if err, ok := a.(error); ok && (errors.Is(err, net.ErrClosed) || errors.Is(err, fasthttputil.ErrConnectionClosed)) {
			level = zerolog.DebugLevel
		}
	}
	l.WithLevel(level).Msgf(format, args...)
}

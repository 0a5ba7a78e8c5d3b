package http

import (
	"context"
	"crypto/tls"
	"math"
	"net"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"github.com/valyala/fasthttp"

	"github.com/troupe-llm/troupe/actors"
	"github.com/troupe-llm/troupe/http/internal/dialect"
	"github.com/troupe-llm/troupe/http/internal/dialect/apierr"
	"github.com/troupe-llm/troupe/http/internal/dialect/responses"
	"github.com/troupe-llm/troupe/http/internal/sse"
)

// Server serves a model, or several. Its methods may be called from any goroutine.
type Server struct {
	cfg   Config
	log   zerolog.Logger
	began time.Time
	epoch time.Time // see wall

	models    atomic.Pointer[modelTable] // what is served; changed by Announce, once
	announced atomic.Bool                // it was

	keys      *keyring
	byKey     *clients // held to their limits
	byAddress *clients
	proxies   proxies
	refusals  *refusals
	decoding  chan struct{} // has one for each large body that is decoded now
	bodies    budget
	errLarge  *Error // what a body beyond MaxBody gets
	openAPI   []byte

	main     *front // for clients
	admin    *front // for who runs the server; serves nothing without ServeAdmin
	requests *requestCounts

	responses *responses.Store
	dialects  map[string]dialect.Dialect // by path; it does not change

	answers  atomic.Int64   // under way; see enter
	places   *actors.Places // for them
	retiring atomic.Bool    // soon draining
	draining atomic.Bool
	live     liveAnswers
	writers  *sse.Writers
	journeys journeys
	ignored  ignored
}

// New makes a server for a running system. It fails with everything that is
// wrong with the configuration.
func New(cfg Config, sys *actors.System, log zerolog.Logger) (*Server, error) {
	return newServer(cfg, system{sys}, log)
}

func newServer(cfg Config, eng engine, log zerolog.Logger) (*Server, error) {
	s, err := NewLoading(cfg, log)
	if err != nil {
		return nil, err
	}
	s.attach(eng)
	return s, nil
}

// NewLoading makes a server whose model is still being loaded: until Attach it
// answers that it lives and is not ready, and everything else with status 503.
func NewLoading(cfg Config, log zerolog.Logger) (*Server, error) {
	cfg, err := cfg.complete()
	if err != nil {
		return nil, err
	}
	s := &Server{
		cfg: cfg, log: log,
		began:     time.Now(),
		epoch:     epoch(),
		requests:  &requestCounts{by: map[requestKey]int64{}},
		byKey:     newClients("API key", cfg.KeyLimits),
		byAddress: newClients("address", cfg.AddressLimits),
		errLarge:  tooLarge(cfg.MaxBody),
		openAPI:   describedAt(cfg.RootPath),
		decoding:  make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/4)),
		live:      liveAnswers{all: map[*answer]struct{}{}},
		writers:   sse.NewWriters(runtime.GOMAXPROCS(0)),
	}
	s.models.Store(newTable(&s.cfg))
	s.bodies.most = int64(cfg.BodyBudget)
	s.refusals, s.places = newRefusals(log), actors.NewPlaces(cfg.MaxOpen)
	s.proxies, _ = parseProxies(cfg.Proxies) // cfg was checked
	s.keys, err = newKeyring(&s.cfg, func(err error) {
		log.Error().Err(err).Msg("the file of API keys has changed and cannot be used; the former keys stay")
	})
	if err != nil {
		return nil, err
	}
	s.responses, err = newResponses(&s.cfg, func(err error) {
		log.Error().Err(err).Msg("a response cannot be kept, or read again")
	})
	if err != nil {
		return nil, err
	}
	s.dialects = newDialects(s.responses)
	for path := range s.dialects {
		s.requests.expect(path, 200, 400, 401, 429, statusClientClosed, 500, 503, 504)
	}
	s.requests.expect("other", 404, 405)
	s.main, s.admin = newFront(s, s.routes()), newFront(s, s.adminRoutes())
	return s, nil
}

// Attach gives the server the system that it serves from now on. It is called
// once, unless the server came from New.
func (s *Server) Attach(sys *actors.System) { s.attach(system{sys}) }

func (s *Server) attach(eng engine) { s.attachModel(0, eng) }

// Serve answers clients' requests from ln until Shutdown; then it returns nil.
func (s *Server) Serve(ln net.Listener) error { return s.main.serve(ln) }

// ServeAdmin answers, from a listener of its own, what is asked by who runs the
// server: /metrics, /stats, profiles. See Config.Admin.
func (s *Server) ServeAdmin(ln net.Listener) error { return s.admin.serve(ln) }

// encrypted is ln with TLS, if that was configured.
func (s *Server) encrypted(ln net.Listener) net.Listener {
	if s.cfg.TLS == nil {
		return ln
	}
	return tls.NewListener(ln, s.cfg.TLS)
}

// lastWords is how long cut streams get to tell their clients: so many looks at
// whether they have. By the clock it would be nothing on a machine that is so busy
// that this process hardly runs; where it runs little it looks little, too.
const lastWords = int(2 * time.Second / lookEvery)

// lookEvery is how often Shutdown looks.
const lookEvery = 5 * time.Millisecond

// Retire says at /ready that no more requests should be sent here, and takes
// them all the same: who spreads requests over servers needs time to see it.
// Shutdown comes after it.
func (s *Server) Retire() { s.retiring.Store(true) }

// Shutdown takes no more requests and waits for the answers under way. When
// ctx ends first, those left are told so and closed, and ctx's error returned.
//
// fasthttp's own shutdown is not used: it knows no streams to cut, looks but
// ten times a second, and lets a connection that has asked nothing hold it up
// for seconds.
func (s *Server) Shutdown(ctx context.Context) error {
	s.draining.Store(true)
	defer s.admin.close()
	defer s.refusals.flush()
	s.main.stop()
	if s.quiet(ctx, math.MaxInt) {
		return nil
	}
	s.live.cutAll()
	s.quiet(context.WithoutCancel(ctx), lastWords)
	s.main.hangUp(true)
	return ctx.Err()
}

// quiet waits until no connection is open and no answer under way, or until
// ctx ends, or it has looked so often. Connections that are idle it closes.
func (s *Server) quiet(ctx context.Context, looks int) bool {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for range looks {
		if s.main.hangUp(false) == 0 && s.answers.Load() == 0 {
			return true
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
	}
	return false
}

// enter admits one more answer, to a client; leave must follow.
func (s *Server) enter(client string) *Error {
	if s.draining.Load() {
		return apierr.Draining
	}
	if err := s.places.Enter(client); err != nil {
		return apierr.Of(err)
	}
	s.answers.Add(1)
	return nil
}

func (s *Server) leave(client string) {
	s.answers.Add(-1)
	s.places.Leave(client)
}

// ready says why requests are not taken, if so.
func (s *Server) ready() *Error {
	switch {
	case s.draining.Load(), s.retiring.Load():
		return apierr.Draining
	case !s.known():
		return errLoading
	case !slices.ContainsFunc(s.models.Load().there(), func(m *servedModel) bool { return m.engine.Ready() }):
		return &Error{
			Status: fasthttp.StatusServiceUnavailable, Type: apierr.TypeServer, Code: "not_ready",
			Message: "the engine is not ready", RetryAfter: 1,
		}
	}
	return nil
}

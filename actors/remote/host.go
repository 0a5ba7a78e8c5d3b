package remote

import (
	"encoding/json"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/troupe-llm/troupe/actors/engine"
	"github.com/troupe-llm/troupe/actors/wire"
)

// host lets fronts on other hosts use this one's engine.
//
// Owns:   the sessions of fronts.
// In:     frames of fronts, the time to tick; batches, from the engine.
// Out:    frames; requests and cancels to the engine.
// Blocks: never, but for its lock, in which it hands on.
// Fails:  a front that is not heard of any more, or of which a frame is missing, loses its session:
// its requests end here, and it has them computed anew, wherever that is.
type host struct {
	engine  *Shared
	info    string // the device's, as JSON
	version string // of this program
	post    func(to string, f *wire.Frame)
	now     func() int64
	log     zerolog.Logger
	miss    time.Duration // after which silence a session has ended

	mu       sync.Mutex
	guests   map[uint64]*guest // guarded by mu, by session
	draining bool              // guarded by mu
	// idle are addresses of fronts that were refused, or came and went without a request, as those of another
	// model do time and again: once is worth telling. Guarded by mu.
	idle map[string]idleness
}

// guest is a front with a session.
type guest struct {
	from string // its address
	port *Port
	post func(*wire.Frame)

	asked bool // it has sent a request; guarded by the host's mu

	mu      sync.Mutex
	session session // its out guarded by mu, the rest by the host's
}

func newHost(e *Shared, post func(string, *wire.Frame), now func() int64, log zerolog.Logger) *host {
	info := e.Info()
	info.Held = nil // which points into the model
	text, err := json.Marshal(info)
	if err != nil {
		panic(err) // plain numbers and names
	}
	return &host{engine: e, info: string(text), post: post, now: now, log: log, miss: frontSilence, guests: map[uint64]*guest{}, idle: map[string]idleness{}}
}

// send posts a frame as the session's next.
func (g *guest) send(f *wire.Frame) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.post(g.session.number(f))
}

// hear takes a frame that came from an address.
func (h *host) hear(from string, f *wire.Frame) {
	h.mu.Lock()
	defer h.mu.Unlock()
	g := h.guests[f.Session]
	switch {
	case f.Hello != nil:
		h.hello(from, f)
	case g == nil:
		if f.Bye == nil {
			h.post(from, &wire.Frame{Session: f.Session, Bye: &wire.Bye{Why: "the engine knows nothing of the session"}})
		}
	case f.Bye != nil:
		h.end(g, f.Bye.Why)
	default:
		if err := g.session.take(f, h.now()); err != nil {
			h.dismiss(g, err.Error())
			return
		}
		h.serve(g, f)
	}
}

// serve does what a frame of a session asks.
func (h *host) serve(g *guest, f *wire.Frame) {
	switch {
	case f.Request != nil:
		if !g.asked {
			g.asked = true
			delete(h.idle, g.from)
		}
		g.port.Submit(f.Request)
	case f.Cancel != nil:
		g.port.Cancel(*f.Cancel)
	case f.Beat != nil:
		stats := h.engine.Stats()
		text, err := json.Marshal(&stats)
		if err != nil {
			h.log.Warn().Err(err).Msg("an engine's figures cannot be told")
		}
		state := h.engine.State()
		if h.draining && state == engine.Ready {
			state = engine.Mending // others first
		}
		g.send(&wire.Frame{Pulse: &wire.Pulse{
			State: uint8(state), Stats: string(text), Prefixes: h.engine.Prefixes(f.Beat.Since), Sent: f.Beat.Sent, Now: h.now(), Others: g.port.Others(),
		}})
	}
}

// hello begins a session, and ends the one that the front had.
func (h *host) hello(from string, f *wire.Frame) {
	for _, old := range h.guests {
		if old.from == from {
			h.end(old, "the front began another")
		}
	}
	now := h.now()
	g := &guest{from: from, session: session{id: f.Session}, post: func(f *wire.Frame) { h.post(from, f) }}
	same := h.engine.Identity()
	w := &wire.Welcome{Identity: same, Info: h.info, Sent: f.Hello.Sent, Now: now, Version: h.version}
	err := g.session.take(f, now)
	if err == nil {
		err = same.Agree(&f.Hello.Identity)
	}
	if err != nil {
		w.Refused = err.Error()
		g.send(&wire.Frame{Welcome: w})
		h.log.WithLevel(h.level(from, refused, zerolog.WarnLevel)).Str("peer", from).Err(err).Msg("a front is refused")
		h.idle[from] = refused
		return
	}
	g.port = h.engine.Port(func(b *wire.Batch) {
		g.send(&wire.Frame{Batch: b})
		b.Release()
	})
	h.guests[f.Session] = g
	g.send(&wire.Frame{Welcome: w})
	h.log.WithLevel(h.level(from, passed, zerolog.InfoLevel)).Str("peer", from).Msg("a front is attached")
}

// idleness is what a front did instead of asking for something.
type idleness uint8

const (
	refused idleness = iota + 1 // it was
	passed                      // it came and went
)

// level is of how much interest it is that a front does so, or begins to.
func (h *host) level(from string, what idleness, first zerolog.Level) zerolog.Level {
	if h.idle[from] == what {
		return zerolog.DebugLevel
	}
	return first
}

// tick ends the sessions of those who are not heard of, but for as long as this host was paused.
func (h *host) tick(paused int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.now()
	for _, g := range h.guests {
		if g.session.excuse(paused); g.session.silentFor(now) > h.miss {
			h.dismiss(g, "nothing has been heard of the front")
		}
	}
}

// gone ends the sessions of a front whose connection is lost.
func (h *host) gone(from string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, g := range h.guests {
		if g.from == from {
			h.end(g, "the connection is lost")
		}
	}
}

// dismiss ends a session and says so.
func (h *host) dismiss(g *guest, why string) {
	h.post(g.from, &wire.Frame{Session: g.session.id, Bye: &wire.Bye{Why: why}})
	h.end(g, why)
}

// end forgets a session.
func (h *host) end(g *guest, why string) {
	delete(h.guests, g.session.id)
	h.log.WithLevel(h.level(g.from, passed, zerolog.InfoLevel)).Str("peer", g.from).Int("requests", g.port.Open()).Str("why", why).Msg("a front is detached")
	if !g.asked {
		h.idle[g.from] = passed
	}
	g.port.Leave()
}

// open is how many requests of other hosts there are.
func (h *host) open() (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, g := range h.guests {
		n += g.port.Open()
	}
	return n
}

// retire has fronts prefer other engines.
func (h *host) retire() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.draining = true
}

// close ends all sessions.
func (h *host) close(why string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, g := range h.guests {
		h.dismiss(g, why)
	}
}

package remote

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/troupe-llm/troupe/actors/engine"
	"github.com/troupe-llm/troupe/actors/wire"
	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/gpu/device"
)

// Link is an engine on another host, as its front sees it: an engine.Engine. It is Ready while it has
// a session, and Lost in between. When a session ends, by whatever it is that does not come any more,
// all requests that were open are delivered as lost, so that they are computed elsewhere, and the next
// is begun. What comes of a session that has ended is dropped.
//
// Owns:   its session, and which requests are open in it.
// In:     the front's calls; frames from the engine; ticks.
// Out:    frames; batches to the front, in the engine's order.
// Blocks: never, but for its lock, in which it only encodes and posts.
type Link struct {
	peer  string
	send  func(*wire.Frame)
	now   func() int64 // as batch.Now
	mine  wire.Identity
	agree func(*wire.Identity, *device.Info) error // nil: there is nothing yet that it must agree with
	log   zerolog.Logger
	miss  time.Duration // after which silence a session has ended

	mu      sync.Mutex
	deliver func(*wire.Batch) // guarded by mu, as all below; nil until Bind
	change  func()
	session *session            // nil: none, and none is being begun
	greeted bool                // the session was welcomed
	open    map[wire.Ref]uint64 // requests by their numbers
	state   engine.State        // as the engine says
	same    wire.Identity
	info    device.Info
	version string // of its program
	stats   engine.Stats
	others  wire.Load // of other fronts
	clock   clock

	known  wire.Known  // the engine's prefix tree
	unread []wire.Page // what became of it since the router asked last
	whole  bool        // it has to be told all

	beat  int64 // when the last one was sent
	again int64 // when to begin the next session
	told  string
	ended bool
}

// maxUnread is how many pages' changes are kept for a router that does not ask.
const maxUnread = 1 << 16

// When a session is begun again: after one that ended, and after one that was refused.
const (
	retry      = 500 * time.Millisecond
	retryLater = 10 * time.Second
)

// newLink makes the front's side of an engine. What comes for it is handed to hear, and the time to tick.
func newLink(peer string, send func(*wire.Frame), now func() int64, mine wire.Identity, log zerolog.Logger) *Link {
	return &Link{
		peer: peer, send: send, now: now, mine: mine, log: log.With().Str("peer", peer).Logger(),
		open: map[wire.Ref]uint64{}, state: engine.Lost, miss: silence,
	}
}

// Bind says where batches go, what is called when its State changed, and what engines must agree with.
func (l *Link) Bind(deliver func(*wire.Batch), change func(), agree func(*wire.Identity, *device.Info) error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.deliver, l.change, l.agree = deliver, change, agree
	if l.greeted {
		l.welcomed()
	}
}

// Submit hands a request over; without a session it is lost at once.
func (l *Link) Submit(r *wire.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.greeted {
		l.deliver(lostBatch(r.Ref, r.ID, l.told))
		return
	}
	l.open[r.Ref] = r.ID
	l.send(l.session.number(&wire.Frame{Request: r}))
}

// Cancel has the engine end a request.
func (l *Link) Cancel(ref wire.Ref) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, open := l.open[ref]; open && l.greeted {
		l.send(l.session.number(&wire.Frame{Cancel: &ref}))
	}
}

// Identity is the engine's, of the last session that there was.
func (l *Link) Identity() wire.Identity {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.same
}

// Info describes its device.
func (l *Link) Info() device.Info {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.info
}

// State is what it can do: nothing without a session.
func (l *Link) State() engine.State {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.can()
}

// can is State. Called with mu held.
func (l *Link) can() engine.State {
	if !l.greeted {
		return engine.Lost
	}
	return l.state
}

// Stats is how things stood when it was last heard of.
func (l *Link) Stats() engine.Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stats
}

// Others is what the engine has of other fronts, as it told last.
func (l *Link) Others() wire.Load {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.others
}

// Prefixes is what came since the last call: there is one who asks.
func (l *Link) Prefixes(uint64) wire.Prefixes {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := wire.Prefixes{Seq: l.known.Seq, Whole: l.whole, Pages: l.unread}
	if l.whole {
		p.Pages = make([]wire.Page, 0, len(l.known.Pages))
		for hash := range l.known.Pages {
			p.Pages = append(p.Pages, wire.Page{Hash: hash})
		}
	}
	l.unread, l.whole = nil, false
	return p
}

// Peer is where it is.
func (l *Link) Peer() string { return l.peer }

// Version is its program's.
func (l *Link) Version() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.version
}

// ClockError is how far at most a time of the engine's may be off on this host's clock.
func (l *Link) ClockError() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Duration(l.clock.bound(l.now()))
}

// Close ends the session and begins no other. What is open ends at the engine, too.
func (l *Link) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended = true; l.session != nil {
		l.send(&wire.Frame{Session: l.session.id, Bye: &wire.Bye{Why: "the front has left"}})
	}
	l.broken(errors.New("the front has left"), retry)
	return nil
}

// is reports whether a session is the one under way.
func (l *Link) is(session uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.session != nil && l.session.id == session
}

// hear takes a frame of the engine's.
func (l *Link) hear(f *wire.Frame) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.session == nil || l.session.id != f.Session {
		return
	}
	if f.Bye != nil {
		l.broken(errors.New(f.Bye.Why), retry)
		return
	}
	now := l.now()
	if err := l.session.take(f, now); err != nil {
		l.broken(err, 0)
		return
	}
	switch {
	case f.Welcome != nil:
		l.welcome(f.Welcome, now)
	case !l.greeted:
		l.broken(errors.New("it does not begin with a welcome"), retry)
	case f.Batch != nil:
		l.news(f.Batch)
	case f.Pulse != nil:
		l.pulse(f.Pulse, now)
	}
}

// welcome begins a session, if this is an engine for this front.
func (l *Link) welcome(w *wire.Welcome, now int64) {
	if w.Refused != "" {
		l.broken(errors.New(w.Refused), retryLater)
		return
	}
	var info device.Info
	err := json.Unmarshal([]byte(w.Info), &info)
	err = errors.Join(err, l.mine.Agree(&w.Identity))
	if err == nil && l.agree != nil {
		err = l.agree(&w.Identity, &info)
	}
	if err != nil {
		l.send(&wire.Frame{Session: l.session.id, Bye: &wire.Bye{Why: err.Error()}})
		l.broken(err, retryLater)
		return
	}
	l.same, l.info, l.version, l.state, l.greeted, l.told = w.Identity, info, w.Version, engine.Ready, true, ""
	l.clock = clock{}
	l.clock.set(w.Sent, w.Now, now)
	l.welcomed()
}

// welcomed tells the front that there is an engine.
func (l *Link) welcomed() {
	if l.change == nil {
		return
	}
	if l.agree != nil {
		if err := l.agree(&l.same, &l.info); err != nil {
			l.broken(err, retryLater)
			return
		}
	}
	if l.deliver != nil { // else it is not known yet whose it is
		l.log.Info().Str("hardware", l.info.Hardware).Msg("an engine is attached")
	}
	l.change()
}

// news hands a batch on, on this host's clock.
func (l *Link) news(b *wire.Batch) {
	b.Computed = l.clock.here(b.Computed)
	for i := range b.Outputs {
		o := &b.Outputs[i]
		if o.Ends() {
			delete(l.open, o.Ref)
		}
		if p := o.Progress; p != nil {
			for _, t := range []*int64{&p.Came, &p.Queued, &p.Started, &p.First} {
				*t = l.clock.here(*t)
			}
		}
	}
	l.deliver(b)
}

// pulse notes how the engine does.
func (l *Link) pulse(p *wire.Pulse, now int64) {
	l.clock.set(p.Sent, p.Now, now)
	l.others = p.Others
	l.stats = engine.Stats{}
	if err := json.Unmarshal([]byte(p.Stats), &l.stats); err != nil {
		l.log.Warn().Err(err).Msg("an engine's figures cannot be read")
	}
	for i := range l.stats.Actors {
		l.stats.Actors[i].Name += "@" + l.peer
	}
	l.known.Apply(p.Prefixes)
	l.unread = append(l.unread, p.Prefixes.Pages...)
	if l.whole = l.whole || p.Prefixes.Whole || len(l.unread) > maxUnread; l.whole {
		l.unread = nil
	}
	if s := engine.State(p.State); s != l.state {
		l.state = s
		l.change()
	}
}

// tick does what it is time for. For so long this host was paused: what came meanwhile it has yet to hear.
func (l *Link) tick(paused int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	if l.session != nil {
		l.session.excuse(paused)
	}
	switch {
	case l.ended:
	case l.session == nil:
		if now >= l.again {
			l.begin(now)
		}
	case l.session.silentFor(now) > l.miss, !l.greeted && l.session.silentFor(now) > silence:
		l.broken(fmt.Errorf("nothing has been heard for %v", l.session.silentFor(now).Round(time.Millisecond)), retry)
	case l.greeted && now-l.beat >= int64(beatEvery):
		l.beat = now
		l.send(l.session.number(&wire.Frame{Beat: &wire.Beat{Since: l.known.Seq, Sent: now}}))
	}
}

// begin says hello.
func (l *Link) begin(now int64) {
	l.session = &session{id: rand.Uint64() | 1, heard: now}
	l.known, l.unread, l.whole, l.others = wire.Known{}, nil, true, wire.Load{}
	l.send(l.session.number(&wire.Frame{Hello: &wire.Hello{Identity: l.mine, Sent: now}}))
}

// gone says that the connection is.
func (l *Link) gone() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.session != nil {
		l.broken(errors.New("the connection is lost"), 0)
	}
}

// broken ends the session: what was open in it is lost. The next one begins after some time.
func (l *Link) broken(why error, wait time.Duration) {
	had, open := l.greeted, l.open
	l.session, l.greeted, l.open = nil, false, map[wire.Ref]uint64{}
	l.again = l.now() + int64(wait)
	if had || l.told == "" && !l.ended { // not each time that it is still not there
		l.log.Warn().Err(why).Int("requests", len(open)).Msg("an engine is detached")
	}
	l.told = why.Error()
	for ref, id := range open {
		l.deliver(lostBatch(ref, id, l.told))
	}
	if had && l.change != nil {
		l.change()
	}
}

// lostBatch says that a request is.
func lostBatch(ref wire.Ref, id uint64, why string) *wire.Batch {
	return &wire.Batch{About: id, Outputs: []wire.Output{{
		Ref: ref, Token: batch.NoToken, Reason: wire.Failed, Fault: &wire.Fault{Kind: wire.Lost, Msg: "the engine on another host is lost: " + why},
	}}}
}

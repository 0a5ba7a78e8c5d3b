// Package remote has fronts use engines on other hosts: protoactor's remote carries frames between
// them (package wire), and its cluster says which hosts there are.
//
// Read it in this order:
//
//	node.go        this host among others
//	secret.go      how hosts know each other
//	membership.go  who is there
//	hosts.go       where they are to begin with
//	life.go        protoactor's remote and cluster, and what of them is gone round
//	session.go     a front's use of an engine: frames that are numbered
//	link.go        the front's side of it, an engine.Engine
//	host.go        the engine's side of it
//	shared.go      one engine for several fronts
//
// # What can go wrong
//
// An engine that ends closes its connections; one that hangs or is cut off is not heard of. In either
// case, and when a frame turns out to be missing, the session ends, and the front has what was open
// in it computed elsewhere. The engine, should it still run, is told, or hears nothing of the
// front, and drops its requests; what it had yet to say belongs to a session that nobody listens to.
// A front that ends loses its own connections and nobody else's.
package remote

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/troupe-llm/troupe/actors/wire"
	"github.com/troupe-llm/troupe/gpu/batch"
)

// Config says how a host is one of several.
type Config struct {
	Listen string // an address and port; port 0: a free one
	// Advertise is the address and port where others reach it; "": Listen, which is one address then.
	Advertise string
	Secret    string // what all of them know: LeastSecret bytes or more
	Version   string // of this program, for others to show
	Log       zerolog.Logger

	// Cluster names those that belong together, and Join are addresses of some of them, to begin with. A name in
	// one stands for all addresses that it has, or comes to have. Hosts, if given, says which others there
	// may be; it is asked every few seconds, and must not wait.
	// "": there is no membership, and Attach says which engines there are.
	Cluster string
	Join    []string
	Hosts   func() []string

	// Found, if this host has a front, is told of engines that it may use, each once, and Left of those
	// that it may not any more. Identity is the front's.
	Found    func(*Link)
	Left     func(*Link)
	Identity wire.Identity
	// Engine, if this host has one, is what fronts on others may use.
	Engine *Shared

	miss   time.Duration                                   // as silence, where a test's machine may be busy; 0: that
	lookUp func(context.Context, string) ([]string, error) // a test's names; nil: the system's
}

// CheckListen says what is wrong with where to listen and where others reach that.
func CheckListen(listen, advertise string) error {
	_, _, err := where(listen, advertise != "")
	if advertise != "" {
		if _, _, also := where(advertise, false); also != nil {
			err = errors.Join(err, fmt.Errorf("being reached by others: %w", also))
		}
	}
	return err
}

// Check says what is wrong with that and with the secret.
func Check(listen, advertise, secret string) error {
	err := CheckListen(listen, advertise)
	if len(secret) < LeastSecret {
		err = errors.Join(err, errSecret(secret))
	}
	return err
}

// Node is this host among others. All methods may be called by anyone.
type Node struct {
	cfg  Config
	host *host // nil: it has no engine
	done chan struct{}

	mu     sync.Mutex
	life   *life            // guarded by mu
	links  map[string]*Link // guarded by mu, by address
	closed bool             // guarded by mu
}

const (
	tickEvery = 50 * time.Millisecond // how often sessions are looked after
	onTime    = 4 * tickEvery         // a tick that comes later means that this host was paused itself
)

// Start begins to listen, and to look for others.
func Start(cfg Config) (*Node, error) {
	n := &Node{cfg: cfg, links: map[string]*Link{}, done: make(chan struct{})}
	if cfg.Engine != nil {
		n.host = newHost(cfg.Engine, n.post, batch.Now, cfg.Log)
		n.host.miss = max(frontSilence, cfg.miss)
		n.host.version = cfg.Version
	}
	l, err := newLife(&n.cfg, n.events())
	if err != nil {
		return nil, err
	}
	n.mu.Lock() // frames may come already
	n.life = l
	if n.cfg.Advertise == "" {
		n.cfg.Listen = l.system.Address() // the same in another life, if a free port was asked for
	}
	n.mu.Unlock()
	go n.run()
	return n, nil
}

func (n *Node) events() events {
	return events{frame: n.hear, members: n.members, gone: n.gone, blocked: func() { go n.renew() }}
}

// Address is where others reach it.
func (n *Node) Address() string { return n.living().system.Address() }

func (n *Node) living() *life {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.life
}

// post sends a frame to a host.
func (n *Node) post(to string, f *wire.Frame) {
	if l := n.living(); l != nil {
		l.send(to, f)
	}
}

// hear hands a frame that came to whom it is for.
func (n *Node) hear(from string, f *wire.Frame) {
	n.mu.Lock()
	link := n.links[from]
	n.mu.Unlock()
	switch {
	case link != nil && link.is(f.Session):
		link.hear(f)
	case n.host != nil && f.Welcome == nil && f.Batch == nil && f.Pulse == nil:
		n.host.hear(from, f)
	}
}

// members notes which engines there are.
func (n *Node) members(engines, left []string) {
	if n.cfg.Found == nil {
		return
	}
	for _, at := range left {
		n.mu.Lock()
		link := n.links[at]
		delete(n.links, at)
		n.mu.Unlock()
		if link != nil {
			n.cfg.Left(link)
		}
	}
	for _, at := range engines {
		n.Attach(at)
	}
}

// Attach has the front use the engine at an address, if it does not yet.
func (n *Node) Attach(at string) {
	n.mu.Lock()
	link := n.links[at]
	if link != nil || n.closed {
		n.mu.Unlock()
		return
	}
	link = newLink(at, func(f *wire.Frame) { n.post(at, f) }, batch.Now, n.cfg.Identity, n.cfg.Log)
	link.miss = cmp.Or(n.cfg.miss, silence)
	n.links[at] = link
	n.mu.Unlock()
	n.cfg.Found(link)
}

// Renew finds an engine anew, as if it had left and come.
func (n *Node) Renew(link *Link) {
	n.mu.Lock()
	is := n.links[link.Peer()] == link && !n.closed
	n.mu.Unlock()
	if is {
		n.members([]string{link.Peer()}, []string{link.Peer()})
	}
}

// gone ends the sessions with a host, since the connection to it is lost, and frames with it.
func (n *Node) gone(at string) {
	n.mu.Lock()
	link := n.links[at]
	n.mu.Unlock()
	if link != nil {
		link.gone()
	}
	if n.host != nil {
		n.host.gone(at)
	}
}

// run looks after sessions.
func (n *Node) run() {
	every := time.NewTicker(tickEvery)
	defer every.Stop()
	for last := batch.Now(); ; {
		select {
		case <-n.done:
			return
		case <-every.C:
		}
		now := batch.Now()
		paused := max(0, now-last-int64(onTime))
		last = now
		for _, link := range n.all() {
			link.tick(paused)
		}
		if n.host != nil {
			n.host.tick(paused)
		}
	}
}

func (n *Node) all() (links []*Link) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, link := range n.links {
		links = append(links, link)
	}
	return links
}

// renew begins a new life, since others have taken this one for over.
func (n *Node) renew() {
	n.mu.Lock()
	old := n.life
	if n.closed || old == nil { // another is beginning
		n.mu.Unlock()
		return
	}
	n.life = nil
	n.mu.Unlock()
	n.cfg.Log.Warn().Msg("other hosts had given this one up: it joins anew")
	old.end()
	for _, at := range old.sentTo() {
		n.gone(at)
	}
	n.cfg.Join = old.roster.hosts()
	l, err := newLife(&n.cfg, n.events())
	for ; err != nil; l, err = newLife(&n.cfg, n.events()) {
		n.cfg.Log.Error().Err(err).Msg("joining anew")
		select {
		case <-n.done:
			return
		case <-time.After(tellEvery):
		}
	}
	n.mu.Lock()
	n.life = l
	closed := n.closed
	n.mu.Unlock()
	if closed {
		l.end()
	}
}

// Retire has fronts on other hosts prefer other engines.
func (n *Node) Retire() {
	if n.host != nil {
		n.host.retire()
	}
}

// Guests is how many requests of other hosts its engine has.
func (n *Node) Guests() int {
	if n.host == nil {
		return 0
	}
	return n.host.open()
}

// Close leaves. What fronts on other hosts have here they have computed elsewhere.
func (n *Node) Close() {
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		return
	}
	n.closed = true
	n.mu.Unlock()
	close(n.done)
	for _, link := range n.all() {
		_ = link.Close()
	}
	if n.host != nil {
		n.host.close("the engine is shutting down")
	}
	n.mu.Lock()
	l := n.life
	n.mu.Unlock()
	if l != nil {
		l.end()
	}
}

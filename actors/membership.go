package actors

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/troupe-llm/troupe/actors/front"
	"github.com/troupe-llm/troupe/actors/remote"
	"github.com/troupe-llm/troupe/actors/wire"
	"github.com/troupe-llm/troupe/gpu/device"
)

// membership is a front's part in a cluster: it knows of which of the front's models each engine is. It
// begins before a model's front is open, as one without a device of its own has to find an engine first.
type membership struct {
	log     zerolog.Logger
	version string    // this program's
	models  []*hosted // that this front serves; none: it has an engine alone. They do not change

	mu      sync.Mutex
	node    *remote.Node    // guarded by mu; set once
	engines map[link]*guest // guarded by mu: those that were found; nil: not heard of yet
	closed  bool            // guarded by mu: no front is opened any more
	renew   func(link)      // guarded by mu; set once: finds an engine anew
}

// link is an engine on another host: a *remote.Link.
type link interface {
	front.Joining
	Peer() string
	Version() string
	ClockError() time.Duration
	Others() wire.Load
}

// hosted is a model that a front serves.
type hosted struct {
	settings front.Config
	same     wire.Identity        // what its engines must have in common with the front
	opened   func(*System, error) // called once, with membership.mu held, when its first engine is there
	system   *System              // guarded by membership.mu; nil before that
}

// guest is an engine that a model's front uses. One that turns out to have another of the models, since its
// host was started anew, is given up and found again.
type guest struct {
	link
	of *hosted
	m  *membership
}

// Bind is the link's.
func (g *guest) Bind(deliver func(*wire.Batch), changed func(), agree func(*wire.Identity, *device.Info) error) {
	g.link.Bind(deliver, changed, func(same *wire.Identity, info *device.Info) error {
		err := agree(same, info)
		if h, _ := g.m.whose(same); err != nil && h != nil && h != g.of {
			go g.m.again(g.link) // which calls Bind
		}
		return err
	})
}

// whose says which model an engine has: the one that it agrees with or, of several that have all in common
// which a front can know, the one of its name.
func (m *membership) whose(same *wire.Identity) (*hosted, error) {
	var agree []*hosted
	var faults []error
	for _, h := range m.models {
		if err := h.same.Agree(same); err != nil {
			faults = append(faults, err)
			continue
		}
		agree = append(agree, h)
	}
	if len(agree) == 0 {
		return nil, errors.Join(faults...)
	}
	if len(agree) > 1 {
		if i := slices.IndexFunc(agree, func(h *hosted) bool { return h.same.Model == same.Model }); i >= 0 {
			return agree[i], nil
		}
		return nil, fmt.Errorf("its model is called %s, and might be %s or %s: give them the same name here and there, that of their directory", same.Model, agree[0].same.Model, agree[1].same.Model)
	}
	return agree[0], nil
}

// distinct says which models' engines could not be told apart: by all that whose goes by.
func (m *membership) distinct() error {
	for i, h := range m.models {
		for j, o := range m.models[:i] {
			if h.same.Model == o.same.Model && o.same.Agree(&h.same) == nil {
				return fmt.Errorf("models %d and %d are both called %s, and have the same tokenizer and sizes: engines of one could not be told from the other's; call the directory of one otherwise, here and there", j, i, h.same.Model)
			}
		}
	}
	return nil
}

// identity is what all engines that this front may use have in common.
func (m *membership) identity() wire.Identity {
	if len(m.models) == 1 {
		return m.models[0].same
	}
	return wire.Identity{Version: wire.Version}
}

// found takes an engine on another host. Where there is one model it is that one's; else it has to be heard of.
func (m *membership) found(e link) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if only := m.models[0]; len(m.models) == 1 && only.system != nil {
		m.join(e, only)
		return
	}
	m.engines[e] = nil
	e.Bind(nil, func() { go m.heard(e) }, func(same *wire.Identity, _ *device.Info) error {
		_, err := m.whose(same)
		return err
	})
}

// heard has the front of its model use an engine that has said what it is, and opens that front if it is the
// first.
func (m *membership) heard(e link) {
	m.mu.Lock()
	defer m.mu.Unlock()
	same, info := e.Identity(), e.Info()
	if g, known := m.engines[e]; !known || g != nil || m.closed || info.Slots == 0 {
		return
	}
	h, err := m.whose(&same)
	if err != nil { // it has said something else since
		return
	}
	if h.system != nil {
		m.join(e, h)
		return
	}
	h.settings.Info, h.settings.Same = info, same
	if h.system, err = front.Open(h.settings); err == nil {
		m.join(e, h)
	}
	h.opened(h.system, err)
}

// join has a model's front use an engine. Called with mu held.
func (m *membership) join(e link, h *hosted) {
	g := &guest{e, h, m}
	m.engines[e] = g
	if err := h.system.Join(g); err != nil {
		m.log.Error().Err(err).Str("peer", e.Peer()).Msg("an engine is not used")
	}
}

// left takes an engine away.
func (m *membership) left(e link) {
	m.mu.Lock()
	defer m.mu.Unlock()
	g := m.engines[e]
	delete(m.engines, e)
	if g == nil {
		_ = e.Close() // a link's never fails
		return
	}
	_ = g.of.system.Leave(g)
}

// again finds an engine anew.
func (m *membership) again(e link) {
	m.mu.Lock()
	renew := m.renew
	m.mu.Unlock()
	if renew != nil {
		renew(e)
	}
}

// start joins the cluster.
func (m *membership) start(c *Cluster, shared *remote.Shared) error {
	cfg := remote.Config{Listen: c.Listen, Advertise: c.Advertise, Secret: c.Secret, Cluster: c.Name, Join: c.Join, Hosts: c.Hosts, Version: m.version, Log: m.log, Engine: shared}
	if len(m.models) > 0 {
		cfg.Found, cfg.Left, cfg.Identity = func(l *remote.Link) { m.found(l) }, func(l *remote.Link) { m.left(l) }, m.identity()
	}
	node, err := remote.Start(cfg)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.node = node; err == nil {
		m.renew = func(e link) { node.Renew(e.(*remote.Link)) }
	}
	return err
}

// Retire has fronts on other hosts prefer other engines.
func (m *membership) Retire() {
	if m.node != nil {
		m.node.Retire()
	}
}

// Guests is how many requests of other hosts the engine here has.
func (m *membership) Guests() int {
	if m.node == nil {
		return 0
	}
	return m.node.Guests()
}

// Close leaves the cluster.
func (m *membership) Close() {
	if m.node != nil {
		m.node.Close()
	}
}

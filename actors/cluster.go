package actors

import (
	"errors"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/troupe-llm/troupe/actors/engine"
	"github.com/troupe-llm/troupe/actors/front"
	"github.com/troupe-llm/troupe/actors/remote"
	"github.com/troupe-llm/troupe/actors/wire"
	"github.com/troupe-llm/troupe/gpu/model"
)

// Cluster has several hosts serve a model together: those with a front take requests, those with an
// engine compute them, for all fronts.
type Cluster struct {
	Name   string          // those of one name belong together
	Listen string          // the address and port by which other hosts reach this one
	Join   []string        // some of the others, by those; a name stands for all addresses that it has, or comes to have
	Hosts  func() []string // if given, asked every few seconds which others there may be; must not wait
	// Advertise is the address and port by which others reach this one, where that is not Listen.
	Advertise string
	Secret    string // what all know, and nobody else; at least LeastSecret bytes

	FrontOnly  bool // there is no device here
	EngineOnly bool // requests come from other hosts alone

	// Failed, if given, says that no engine will come, to a front that waits for its first.
	Failed <-chan error
}

// LeastSecret is how many bytes a cluster's secret has at least.
const LeastSecret = remote.LeastSecret

// CheckListen says what is wrong with a Cluster's Listen and Advertise.
func CheckListen(listen, advertise string) error { return remote.CheckListen(listen, advertise) }

// patience is how long a front's requests wait where no engine is: as long as one takes to be
// started again.
const patience = 20 * time.Second

func (c *Cluster) check() error {
	var faults []error
	if c.FrontOnly && c.EngineOnly {
		faults = append(faults, errors.New("a host of a Cluster has a front, an engine or both: FrontOnly and EngineOnly are both set"))
	}
	if c.Name == "" {
		faults = append(faults, errors.New("the Cluster has no Name"))
	}
	return errors.Join(append(faults, remote.Check(c.Listen, c.Advertise, c.Secret))...)
}

// membership is a front's part in a cluster. It begins before the front is open, as one without a device
// of its own has to find an engine first.
type membership struct {
	node *remote.Node
	log  zerolog.Logger
	// version is this program's.
	version string
	first   chan struct{} // closed when an engine is there

	mu     sync.Mutex
	once   sync.Once
	system *System        // guarded by mu; nil before it is open
	links  []*remote.Link // guarded by mu: engines that were found before
}

// found takes an engine on another host.
func (m *membership) found(link *remote.Link) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.system != nil {
		m.join(link)
		return
	}
	m.links = append(m.links, link)
	link.Bind(nil, func() { m.once.Do(func() { close(m.first) }) }, nil)
}

// left takes one away.
func (m *membership) left(link *remote.Link) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.system == nil {
		_ = link.Close() // a link's never fails
		return
	}
	_ = m.system.Leave(link)
}

// join has the front use an engine. Called with mu held.
func (m *membership) join(link *remote.Link) {
	if err := m.system.Join(link); err != nil {
		m.log.Error().Err(err).Str("peer", link.Peer()).Msg("an engine is not used")
	}
}

// opened hands over what was found before the front was open.
func (m *membership) opened(s *System) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.system = s
	for _, link := range m.links {
		m.join(link)
	}
	m.links = nil
}

// start joins the cluster.
func (m *membership) start(c *Cluster, mdl *model.Model, shared *remote.Shared) (err error) {
	cfg := remote.Config{Listen: c.Listen, Advertise: c.Advertise, Secret: c.Secret, Cluster: c.Name, Join: c.Join, Hosts: c.Hosts, Version: m.version, Log: m.log, Engine: shared}
	if !c.EngineOnly {
		cfg.Found, cfg.Left, cfg.Identity = m.found, m.left, front.Identity(mdl)
	}
	m.node, err = remote.Start(cfg)
	return err
}

// wait waits for an engine, and says what those that join a front without one have in common.
func (m *membership) wait(cfg *front.Config, failed <-chan error) error {
	m.log.Info().Msg("waiting for an engine to join")
	select {
	case <-m.first:
	case err := <-failed:
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, link := range m.links {
		if info := link.Info(); info.Slots > 0 {
			cfg.Info, cfg.Same = info, link.Identity()
		}
	}
	return nil
}

// opener opens an engine in this process, as front.Config has it.
type opener = func(number uint8, deliver func(*wire.Batch), lost func()) (engine.Engine, error)

// startCluster opens a front, or what stands in for one where there is only an engine, and joins the
// cluster: with an engine when that is there.
func startCluster(cfg *Config, settings front.Config, local opener) (*System, error) {
	c := cfg.Cluster
	m := &membership{log: cfg.Log, version: cfg.Version, first: make(chan struct{})}
	if !c.EngineOnly {
		settings.Patience = patience
	}
	settings.Others = m
	if c.FrontOnly {
		settings.Engines = 0
		if err := m.start(c, settings.Model, nil); err != nil {
			return nil, err
		}
		err := m.wait(&settings, c.Failed)
		var s *System
		if err == nil {
			s, err = front.Open(settings)
		}
		if err != nil {
			m.node.Close()
			return nil, err
		}
		m.opened(s)
		return s, nil
	}
	shared := new(remote.Shared)
	settings.Engine = func(number uint8, deliver func(*wire.Batch), lost func()) (_ engine.Engine, err error) {
		if shared.Engine, err = local(number, shared.Deliver, lost); err != nil {
			return nil, err
		}
		return shared.Port(deliver), nil
	}
	s, err := front.Open(settings)
	if err != nil {
		return nil, err
	}
	if err := m.start(c, settings.Model, shared); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	m.opened(s)
	return s, nil
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

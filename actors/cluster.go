package actors

import (
	"errors"
	"time"

	"github.com/troupe-llm/troupe/actors/engine"
	"github.com/troupe-llm/troupe/actors/front"
	"github.com/troupe-llm/troupe/actors/remote"
	"github.com/troupe-llm/troupe/actors/wire"
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

// opener opens an engine in this process, as front.Config has it.
type opener = func(number uint8, deliver func(*wire.Batch), lost func()) (engine.Engine, error)

func newMembership(cfg *Config) *membership {
	return &membership{log: cfg.Log, version: cfg.Version, engines: map[link]*guest{}}
}

// hosts has the front serve a model, from when its first engine is there.
func (m *membership) hosts(settings front.Config, opened func(*System, error)) {
	m.models = append(m.models, &hosted{settings: settings, same: front.Identity(settings.Model), opened: opened})
}

// startCluster opens a front, or what stands in for one where there is only an engine, and joins the
// cluster: with an engine when that is there.
func startCluster(cfg *Config, settings front.Config, local opener) (*System, error) {
	c := cfg.Cluster
	m := newMembership(cfg)
	settings.Others = m
	if !c.EngineOnly {
		settings.Patience = patience
	}
	if c.FrontOnly {
		settings.Engines = 0
		return m.openFront(c, settings)
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
	if !c.EngineOnly {
		m.models = []*hosted{{settings: settings, same: front.Identity(settings.Model), system: s}}
	}
	if err := m.start(c, shared); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// openFront opens a front without an engine of its own: it waits for the first.
func (m *membership) openFront(c *Cluster, settings front.Config) (s *System, err error) {
	opened := make(chan struct{})
	m.hosts(settings, func(is *System, fault error) {
		s, err = is, fault
		close(opened)
	})
	if err := m.start(c, nil); err != nil {
		return nil, err
	}
	m.log.Info().Msg("waiting for an engine to join")
	select {
	case <-opened:
	case failed := <-c.Failed:
		m.mu.Lock()
		m.closed = true
		m.mu.Unlock()
		m.Close()
		return nil, failed
	}
	if err != nil {
		m.Close()
	}
	return s, err
}

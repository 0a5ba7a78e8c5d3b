package actors

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// Models are several models of which this host takes requests, and engines on others compute them: a System
// for each, over one membership of a cluster. Its methods may be called from any goroutine.
type Models struct {
	// Names are the models' own names, in the order in which they were given.
	Names []string

	cfg     Config
	members *membership
}

// OpenModels opens several models to be served in a cluster. The Config is as for Open, with a Cluster that
// is FrontOnly; its Model is each of the models in turn. All share MaxOpenRequests. Join follows.
func OpenModels(cfg Config, models []string) (*Models, error) {
	cfg.fill()
	err := cfg.check()
	if cfg.Cluster == nil || !cfg.Cluster.FrontOnly {
		err = errors.Join(err, errors.New("several models are for a host of a Cluster that is FrontOnly: each engine has one"))
	}
	if len(models) == 0 {
		err = errors.Join(err, errors.New("no model is given"))
	}
	if err != nil {
		return nil, err
	}
	all := &Models{cfg: cfg, members: newMembership(&cfg)}
	places := NewPlaces(cfg.MaxOpenRequests)
	for _, spec := range models {
		m, codec, err := openModel(spec, true)
		if err != nil {
			return nil, errors.Join(err, all.closeFiles())
		}
		settings := cfg.front(m, codec)
		settings.Engines, settings.Places, settings.Patience = 0, places, patience
		all.Names = append(all.Names, m.Name)
		all.members.hosts(settings, nil)
	}
	if err := all.members.distinct(); err != nil {
		return nil, errors.Join(err, all.closeFiles())
	}
	return all, nil
}

// Join joins the cluster. It does not wait for engines: opened is called with each model's System, and the model's place among
// Names, when its first engine is there, one call at a time, and must not call back. The Systems are closed by Close.
func (m *Models) Join(opened func(model int, s *System)) error {
	for i, h := range m.members.models {
		h.opened = func(s *System, err error) {
			if err != nil {
				m.cfg.Log.Error().Err(err).Str("model", m.Names[i]).Msg("a model cannot be served")
				return
			}
			tellNotes(&m.cfg, s)
			opened(i, s)
		}
	}
	m.cfg.Log.Info().Strs("models", m.Names).Msg("waiting for engines to join")
	return m.members.start(m.cfg.Cluster, nil)
}

// closeFiles closes those of models whose fronts are not open.
func (m *Models) closeFiles() (err error) {
	for _, h := range m.members.models {
		if h.system == nil {
			err = errors.Join(err, h.settings.Model.Close())
		}
	}
	return err
}

// systems are those that are open.
func (m *Models) systems() (all []*System) {
	m.members.mu.Lock()
	defer m.members.mu.Unlock()
	for _, h := range m.members.models {
		if h.system != nil {
			all = append(all, h.system)
		}
	}
	return all
}

// OpenRequests is how many requests there are, of all models.
func (m *Models) OpenRequests() (n int) {
	for _, s := range m.systems() {
		n += s.OpenRequests()
	}
	return n
}

// Retire does nothing: there is no engine here that others could be preferred to.
func (m *Models) Retire() {}

// Failed is never closed: engines are elsewhere, and may come back.
func (m *Models) Failed() <-chan struct{} { return nil }

// Drain drains all at once: see System.Drain.
func (m *Models) Drain(ctx context.Context) error {
	systems := m.systems()
	errs := make([]error, len(systems))
	var all sync.WaitGroup
	for i, s := range systems {
		all.Go(func() { errs[i] = s.Drain(ctx) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// Close ends all that is open and leaves the cluster.
func (m *Models) Close() error {
	m.members.mu.Lock()
	m.members.closed = true
	m.members.mu.Unlock()
	m.members.Close()
	var err error
	for _, s := range m.systems() {
		if e := s.Close(); e != nil {
			err = errors.Join(err, fmt.Errorf("model %s: %w", s.Model().Name, e))
		}
	}
	return errors.Join(err, m.closeFiles())
}

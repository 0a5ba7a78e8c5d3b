package front

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/troupe-llm/troupe/actors/engine"
	"github.com/troupe-llm/troupe/actors/trace"
	"github.com/troupe-llm/troupe/actors/wire"
	"github.com/troupe-llm/troupe/gpu/device"
)

// Joining is an engine that comes and goes while the front serves: it is Lost until there is one that
// agrees, and again when it is not there.
type Joining interface {
	engine.Engine
	// Bind says where it delivers, what it calls when its State has changed, and what says whether
	// an engine may be used. None of these waits.
	Bind(deliver func(*wire.Batch), changed func(), agree func(*wire.Identity, *device.Info) error)
}

// maxEngines is how many there may be at a time: their numbers are bytes.
const maxEngines = math.MaxUint8 + 1

// Join adds an engine.
func (s *System) Join(e Joining) error {
	s.mu.Lock()
	at := slices.Index(s.engines, nil)
	if at < 0 {
		if at = len(s.engines); at == maxEngines {
			s.mu.Unlock()
			return fmt.Errorf("a front has at most %d engines", maxEngines)
		}
		s.engines = append(s.engines, nil)
	}
	s.engines[at] = e
	s.api.Send(s.detok, &joined{at: at, engine: e}) // in this order, should another leave the place
	s.mu.Unlock()
	mail := s.api.On(trace.TrackScheduler).Of(uint8(at))
	e.Bind(s.from(at), func() { mail.Send(s.detok, &changed{at: at}) }, s.admits)
	return nil
}

// admits says why an engine may not join, if so: requests could not go on there as they began elsewhere.
func (s *System) admits(same *wire.Identity, info *device.Info) error {
	err := s.same.Agree(same)
	if info.MaxSeqLen != s.info.MaxSeqLen {
		err = errors.Join(err, fmt.Errorf("requests may have %d tokens here, %d there: give all engines the same --max-seq-len", s.info.MaxSeqLen, info.MaxSeqLen))
	}
	return err
}

// Leave closes an engine that has joined, and takes it away. What it has others compute.
func (s *System) Leave(e Joining) error {
	err := e.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	if at := slices.Index(s.engines, engine.Engine(e)); at >= 0 {
		s.engines[at] = nil
		s.api.Send(s.detok, &joined{at: at})
	}
	return err
}

// all are the engines that there are.
func (s *System) all() []engine.Engine {
	return slices.DeleteFunc(s.numbered(), func(e engine.Engine) bool { return e == nil })
}

// numbered are the engines by their numbers; nil: none has it.
func (s *System) numbered() []engine.Engine {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.engines)
}

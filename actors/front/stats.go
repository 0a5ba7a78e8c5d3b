package front

import (
	"github.com/troupe-llm/troupe/actors/engine"
	"github.com/troupe-llm/troupe/actors/internal/shell"
	"github.com/troupe-llm/troupe/actors/plan"
)

// Stats is a snapshot of a system's counters.
type Stats struct {
	plan.Stats
	Device       engine.DeviceTime
	OpenRequests int  // submitted and not ended
	Ready        bool // see System.Ready
	Actors       []shell.ActorStats
}

// Stats is how things stand.
func (s *System) Stats() Stats {
	s.mu.Lock()
	open := len(s.open)
	s.mu.Unlock()
	of := s.engine.Stats()
	return Stats{Stats: of.Stats, Device: of.Device, OpenRequests: open, Ready: s.Ready(), Actors: append(s.actors.Stats(), of.Actors...)}
}

package front

import (
	"github.com/troupe-llm/troupe/actors/engine"
	"github.com/troupe-llm/troupe/actors/internal/shell"
	"github.com/troupe-llm/troupe/actors/plan"
)

// Stats is a snapshot of a system's counters, those of its engines added up.
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
	st := Stats{OpenRequests: open, Ready: s.Ready(), Actors: s.actors.Stats()}
	engines := s.all()
	for _, e := range engines {
		of := e.Stats()
		st.Stats.Add(&of.Stats)
		st.Device.Add(&of.Device)
		st.Actors = append(st.Actors, of.Actors...)
	}
	st.Reserve /= float64(max(1, len(engines)))
	return st
}

package front

import (
	"strconv"

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

	// Engines are its engines, of a front that has several or whose engine is elsewhere, and Resumed is
	// how many requests went on with another engine than they had begun with.
	Engines []EngineStats
	Resumed uint64
}

// EngineStats is how an engine does, as far as its front has heard.
type EngineStats struct {
	Name  string // where it is, or its number
	Ready bool
	engine.Stats
}

// Stats is how things stand.
func (s *System) Stats() Stats {
	s.mu.Lock()
	open := len(s.open)
	s.mu.Unlock()
	st := Stats{OpenRequests: open, Ready: s.Ready(), Actors: s.actors.Stats()}
	st.Resumed = s.resumed.Load()
	engines, elsewhere := s.all(), false
	for _, e := range engines {
		of := e.Stats()
		st.Stats.Add(&of.Stats)
		st.Device.Add(&of.Device)
		st.Actors = append(st.Actors, of.Actors...)
		name := strconv.Itoa(len(st.Engines))
		if at := peer(e); at != "" {
			name, elsewhere = at, true
		}
		st.Engines = append(st.Engines, EngineStats{Name: name, Ready: e.State() == engine.Ready, Stats: of})
	}
	if len(st.Engines) == 1 && !elsewhere { // which is all there is to say
		st.Engines = nil
	}
	st.Reserve /= float64(max(1, len(engines)))
	return st
}

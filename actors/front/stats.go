package front

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"time"

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
	Name   string // where it is, or its number
	Number int    // among the front's engines, of the next one too when this has left
	Peer   string // where it is; "": in this process
	State  engine.State
	Ready  bool

	Hardware string
	Version  string // of its program
	// ClockError is how far times that it tells may be off here; 0 for one in this process.
	ClockError time.Duration
	engine.Stats
}

// OpenRequest is where a request is.
type OpenRequest struct {
	Number uint64
	Engine int // the number of the engine that has it; -1: it is at the front
	Moves  int // how many engines had it before
}

// whereabouts packs where a job is: which engine has it, -1: none, and how many had it before.
func whereabouts(engine, moves int) int64 { return int64(moves)<<32 | int64(engine+1) }

// Requests are those that are open, at most so many, in the order in which they came.
func (s *System) Requests(most int) []OpenRequest {
	s.mu.Lock()
	all := slices.Collect(maps.Values(s.open))
	s.mu.Unlock()
	slices.SortFunc(all, func(a, b *job) int { return cmp.Compare(a.id, b.id) })
	out := make([]OpenRequest, 0, min(most, len(all)))
	for _, j := range all[:min(most, len(all))] {
		at := j.seen.Load()
		out = append(out, OpenRequest{Number: j.id, Engine: int(int32(at)) - 1, Moves: int(at >> 32)})
	}
	return out
}

// OpenRequests is how many requests are submitted and not ended.
func (s *System) OpenRequests() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open)
}

// Stats is how things stand.
func (s *System) Stats() Stats {
	st := Stats{OpenRequests: s.OpenRequests(), Ready: s.Ready(), Actors: s.actors.Stats()}
	st.Resumed = s.resumed.Load()
	engines, elsewhere := s.numbered(), false
	for number, e := range engines {
		if e == nil {
			continue
		}
		of := s.engineStats(number, e)
		elsewhere = elsewhere || of.Peer != ""
		st.Stats.Add(&of.Stats.Stats)
		st.Device.Add(&of.Device)
		st.Actors = append(st.Actors, of.Actors...)
		st.Engines = append(st.Engines, of)
	}
	st.Reserve /= float64(max(1, len(st.Engines)))
	if len(st.Engines) == 1 && !elsewhere { // which is all there is to say
		st.Engines = nil
	}
	return st
}

// engineStats is how one does.
func (s *System) engineStats(number int, e engine.Engine) EngineStats {
	info := e.Info()
	of := EngineStats{
		Name: strconv.Itoa(number), Number: number, Peer: peer(e), State: e.State(), Hardware: info.Hardware, Version: s.cfg.Version, Stats: e.Stats(),
	}
	of.Ready = of.State == engine.Ready
	if of.Peer != "" {
		of.Name = of.Peer
	}
	if far, is := e.(interface{ Version() string }); is {
		of.Version = far.Version()
	}
	if far, is := e.(clocked); is {
		of.ClockError = far.ClockError()
	}
	return of
}

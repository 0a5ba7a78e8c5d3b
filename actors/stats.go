package actors

import (
	"sync"

	"github.com/troupe-llm/troupe/actors/plan"
)

// Stats is a snapshot of a system's counters.
type Stats struct {
	plan.Stats
	OpenRequests int  // submitted and not ended
	Ready        bool // see System.Ready
	Actors       []ActorStats
}

// statsBox holds the scheduler's last words. Written by the scheduler once a
// message, read by anyone.
type statsBox struct {
	mu sync.Mutex
	s  plan.Stats
}

func (s *System) published(st plan.Stats, l lifecycle) {
	s.state.Store(int32(l))
	s.stats.mu.Lock()
	s.stats.s = st
	s.stats.mu.Unlock()
}

// Stats is how things stand.
func (s *System) Stats() Stats {
	s.mu.Lock()
	open := len(s.open)
	s.mu.Unlock()
	st := Stats{OpenRequests: open, Ready: s.Ready()}
	for _, sh := range s.shells {
		st.Actors = append(st.Actors, sh.read())
	}
	s.stats.mu.Lock()
	defer s.stats.mu.Unlock()
	st.Stats = s.stats.s
	return st
}

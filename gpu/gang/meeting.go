package gang

import (
	"sync"
	"time"

	"github.com/troupe-llm/troupe/gpu/batch"
)

// meeting is where ranks meet: twice each time, before anyone looks at what the
// others brought, and before anyone takes it away again.
type meeting struct {
	mu      sync.Mutex
	turn    sync.Cond
	brought []any // guarded by mu until all are there
	there   int   // guarded by mu
	turns   int   // guarded by mu
	broken  error // guarded by mu: nobody meets any more
}

func newMeeting(ranks int) *meeting {
	m := &meeting{brought: make([]any, ranks)}
	m.turn.L = &m.mu
	return m
}

// of is device.Rank.Meet of a rank.
func (m *meeting) of(rank int) func(any, func([]any)) (time.Duration, error) {
	return func(mine any, do func([]any)) (time.Duration, error) { return m.meet(rank, mine, do) }
}

func (m *meeting) meet(rank int, mine any, do func(all []any)) (waited time.Duration, err error) {
	m.mu.Lock()
	m.brought[rank] = mine
	m.mu.Unlock()
	before, err := m.all()
	if err != nil {
		return before, err
	}
	do(m.brought)
	behind, err := m.all()
	return before + behind, err
}

// all waits until all ranks are here.
func (m *meeting) all() (waited time.Duration, err error) {
	began := batch.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.there++; m.there == len(m.brought) {
		m.there = 0
		m.turns++
		m.turn.Broadcast()
	} else {
		for turn := m.turns; turn == m.turns && m.broken == nil; {
			m.turn.Wait()
		}
	}
	return time.Duration(batch.Now() - began), m.broken
}

// end breaks the meeting up: whoever waits, or will come, gets the first reason.
func (m *meeting) end(why error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.broken == nil {
		m.broken = why
		m.turn.Broadcast()
	}
}

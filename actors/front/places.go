package front

import (
	"fmt"
	"sync"
	"time"
)

// Places are how many requests there may be at once. One client may have as many as
// fifteen times what would be left: fifteen of sixteen, so that others find some, who
// then have as many. It may be used from any goroutine.
type Places struct {
	most int

	mu    sync.Mutex
	taken int            // guarded by mu
	of    map[string]int // by client; guarded by mu
}

// leave is what a client leaves to others: one in so many more.
const leave = 15

// NewPlaces are so many.
func NewPlaces(most int) *Places { return &Places{most: most, of: map[string]int{}} }

// Enter takes a place, to be given back by Leave, or fails with a *BusyError. Those
// without a name are not told apart, and may have all.
func (p *Places) Enter(client string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	mine, left := p.of[client], p.most-p.taken
	if left <= 0 || client != "" && mine >= leave*left {
		return &BusyError{Open: p.taken, Limit: p.most, Mine: mine, RetryAfter: time.Second}
	}
	p.taken++
	p.of[client]++
	return nil
}

// Leave gives a place back.
func (p *Places) Leave(client string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken--
	if p.of[client]--; p.of[client] == 0 {
		delete(p.of, client)
	}
}

// BusyError says that too many requests are open: HTTP 429.
type BusyError struct {
	Open, Limit int
	Mine        int // of the one client
	RetryAfter  time.Duration
}

func (e *BusyError) Error() string {
	if e.Open < e.Limit {
		return fmt.Sprintf("the server is busy: %d requests are open, %d of them yours, and %d is the limit, of which some are left to others; try again in %v", e.Open, e.Mine, e.Limit, e.RetryAfter)
	}
	return fmt.Sprintf("the server is busy: %d requests are open and %d is the limit; try again in %v", e.Open, e.Limit, e.RetryAfter)
}

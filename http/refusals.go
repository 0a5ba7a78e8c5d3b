package http

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"github.com/valyala/fasthttp"
)

// refusals bounds how much is logged of requests that are refused: that costs who
// sends them nothing, and could fill a disk. Of each status some are told every
// second, and of the others how many there were.
type refusals struct {
	log   zerolog.Logger
	after func(time.Duration, func()) // has it called later

	mu    sync.Mutex
	times map[int]int // by status, in this second; nil: none has begun; guarded by mu
}

// refusalLines are logged of one status in a second.
const refusalLines = 10

func newRefusals(log zerolog.Logger) *refusals {
	return &refusals{log: log, after: func(d time.Duration, f func()) { time.AfterFunc(d, f) }}
}

// logged reports whether to log a request with this status.
func (r *refusals) logged(status int) bool {
	refused := status >= 400 && status < statusClientClosed || status == fasthttp.StatusServiceUnavailable
	if !refused {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.times == nil {
		r.times = map[int]int{}
		r.after(time.Second, r.flush)
	}
	r.times[status]++
	return r.times[status] <= refusalLines
}

// flush tells of those that were not logged.
func (r *refusals) flush() {
	r.mu.Lock()
	times := r.times
	r.times = nil
	r.mu.Unlock()
	for _, status := range slices.Sorted(maps.Keys(times)) {
		if more := times[status] - refusalLines; more > 0 {
			r.log.Info().Int("status", status).Int("requests", more).Msg("more requests were refused than are logged one by one")
		}
	}
}

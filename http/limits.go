package http

import (
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/troupe-llm/troupe/http/internal/dialect/apierr"
	"github.com/valyala/fasthttp"
)

// Limits are what one client may use. A zero is no limit.
type Limits struct {
	// Requests a minute. As many may come at once.
	Requests int
	// Open requests at once.
	Open int
	// Tokens a minute, of prompts and replies together. They are counted when
	// an answer ends; who has used more than there were waits until the minutes
	// for it are over.
	Tokens int
}

func (l Limits) none() bool { return l == Limits{} }

// clients holds clients of one kind to their limits.
type clients struct {
	kind   string // what messages call one
	limits Limits
	now    func() time.Time

	mu      sync.Mutex
	all     map[string]*usage // guarded by mu
	sweep   time.Time         // when those that use nothing are forgotten next; guarded by mu
	refused [3]int64          // by what was exceeded: requests, open, tokens; guarded by mu
}

// usage is what a client has left. Both grow with time, up to a minute's.
type usage struct {
	requests, tokens float64
	at               time.Time // when they were as they are
	open             int
}

// limitNames name what refused counts.
var limitNames = [3]string{"requests", "open", "tokens"}

// enter lets a client's request in; leave must follow. Otherwise it says when
// to try again.
func (c *clients) enter(who string) *Error {
	if c.limits.none() {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	u := c.of(who, now)
	l := &c.limits
	switch {
	case l.Requests > 0 && u.requests < 1:
		return c.refuse(0, fmt.Sprintf("make %d requests a minute", l.Requests), (1-u.requests)/float64(l.Requests))
	case l.Open > 0 && u.open >= l.Open:
		return c.refuse(1, fmt.Sprintf("have %d requests under way", l.Open), 0)
	case l.Tokens > 0 && u.tokens < 1:
		return c.refuse(2, fmt.Sprintf("use %d tokens a minute", l.Tokens), (1-u.tokens)/float64(l.Tokens))
	}
	u.open++
	if l.Requests > 0 {
		u.requests--
	}
	return nil
}

// leave ends a request that was let in and has used so many tokens.
func (c *clients) leave(who string, tokens int) {
	if c.limits.none() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	u := c.of(who, c.now())
	u.open--
	if c.limits.Tokens > 0 {
		u.tokens -= float64(tokens)
	}
}

// refuse says what was exceeded, and when that is over in minutes.
func (c *clients) refuse(which int, what string, minutes float64) *Error {
	c.refused[which]++
	wait := max(1, int(math.Ceil(minutes*60)))
	return &Error{
		Status: fasthttp.StatusTooManyRequests, Type: apierr.TypeBusy, Code: "rate_limit_exceeded", RetryAfter: wait,
		Message: fmt.Sprintf("one %s may %s: try again in %d s", c.kind, what, wait),
	}
}

// of is a client's usage now. Who has all there is to have is not kept.
func (c *clients) of(who string, now time.Time) *usage {
	if now.After(c.sweep) {
		for name, u := range c.all {
			c.grow(u, now)
			if u.open == 0 && u.requests >= float64(c.limits.Requests) && u.tokens >= float64(c.limits.Tokens) {
				delete(c.all, name)
			}
		}
		c.sweep = now.Add(time.Minute)
	}
	u := c.all[who]
	if u == nil {
		u = &usage{requests: float64(c.limits.Requests), tokens: float64(c.limits.Tokens), at: now}
		c.all[who] = u
	}
	c.grow(u, now)
	return u
}

func (c *clients) grow(u *usage, now time.Time) {
	minutes := now.Sub(u.at).Minutes()
	u.requests = min(u.requests+minutes*float64(c.limits.Requests), float64(c.limits.Requests))
	u.tokens = min(u.tokens+minutes*float64(c.limits.Tokens), float64(c.limits.Tokens))
	u.at = now
}

func newClients(kind string, limits Limits) *clients {
	return &clients{kind: kind, limits: limits, now: time.Now, all: map[string]*usage{}}
}

// write counts refusals.
func (c *clients) write(w *exposition) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, n := range c.refused {
		w.value("troupe_http_limited_total", label1("of", c.kind)+","+label1("limit", limitNames[i]), float64(n))
	}
}

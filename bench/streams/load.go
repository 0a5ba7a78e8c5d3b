package streams

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"strings"
	"time"
)

// Load is what is asked of the server.
type Load struct {
	URL    string // of the server, as http://127.0.0.1:1919
	Key    string // bearer token; "": none
	Model  string
	Vocab  int // prompts are made of ids below it
	Number int // of streams, open all the time
	Tokens int // of a reply; the first ones are shorter, by lot, so that ends do not meet
	For    time.Duration
	Seed   uint64
	// Second, when set, hears every second how things stand.
	Second func(Sample)
}

// How the prompts are.
const (
	promptTokens = 16
	prompts      = 64 // different ones; see lore
)

// run is a Load under way. All of it belongs to one goroutine.
type run struct {
	*Load
	poll    *poller
	conns   []conn
	lore    [prompts]lore
	random  *rand.Rand
	buf     []byte
	begun   int       // streams whose first token has come
	tokens  int64     // that have come
	replies int       // that have come to their end
	gaps    histogram // between a stream's events; counted while measuring
	measure bool
	head    string // of a request
}

type conn struct {
	wire
	reply
	prompt int
	latest time.Time // when its last event came; zero: none yet
}

// Run opens the streams, measures for a while, then lets all clients go away
// at once and waits until the server has noticed.
func (l *Load) Run(ctx context.Context) (*Report, error) {
	u, err := url.Parse(l.URL)
	if err != nil {
		return nil, err
	}
	addr, err := net.ResolveTCPAddr("tcp", u.Host)
	if err != nil {
		return nil, err
	}
	watcher := newWatch(strings.TrimSuffix(strings.TrimRight(l.URL, "/"), "/v1")+"/metrics", l.Second)
	defer watcher.close()
	idle, err := watcher.scrape(ctx)
	if err != nil {
		return nil, err
	}
	poll, err := newPoller(addr)
	if err != nil {
		return nil, err
	}
	r := &run{Load: l, poll: poll, random: rand.New(rand.NewPCG(l.Seed, 0)), buf: make([]byte, 64<<10)}
	r.head = "POST /v1/completions HTTP/1.1\r\nHost: " + u.Host + "\r\nContent-Type: application/json\r\n"
	if l.Key != "" {
		r.head += "Authorization: Bearer " + l.Key + "\r\n"
	}
	report, err := r.run(ctx, watcher)
	if err == nil {
		report.Idle = idle
		err = r.vanish(ctx, watcher, report)
	}
	return report, errors.Join(err, poll.closeAll())
}

// run opens the streams and measures them.
func (r *run) run(ctx context.Context, watcher *watch) (*Report, error) {
	r.conns = make([]conn, r.Number)
	for i := range r.conns {
		n, err := r.poll.open()
		if err != nil {
			return nil, fmt.Errorf("stream %d: %w", i, err)
		}
		r.conns[n].prompt = i % prompts
		if err := r.ask(n, 1+r.random.IntN(r.Tokens)); err != nil {
			return nil, fmt.Errorf("stream %d: %w", i, err)
		}
	}
	if err := r.until(ctx, func() bool { return r.begun == r.Number }); err != nil {
		return nil, err
	}
	const settle = time.Second
	if err := r.pass(ctx, settle); err != nil {
		return nil, err
	}
	report := &Report{Streams: r.Number}
	samples, stop := watcher.every(ctx, time.Second)
	began, tokens, replies, mine := time.Now(), r.tokens, r.replies, processorTime()
	r.measure = true
	if err := r.pass(ctx, r.For); err != nil {
		stop()
		return nil, err
	}
	stop()
	report.Client = processorTime() - mine
	report.Elapsed, report.Tokens, report.Replies = time.Since(began), r.tokens-tokens, r.replies-replies
	report.Gaps = r.gaps
	for s := range samples {
		if s.err != nil {
			return nil, s.err
		}
		report.Samples = append(report.Samples, s.Sample)
	}
	return report, nil
}

// pass lets a while pass.
func (r *run) pass(ctx context.Context, d time.Duration) error {
	end := time.Now().Add(d)
	return r.until(ctx, func() bool { return time.Now().After(end) })
}

// until reads what comes until something holds.
func (r *run) until(ctx context.Context, holds func() bool) error {
	for !holds() {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := r.poll.wait(50, r.ready); err != nil {
			return err
		}
	}
	return nil
}

// ready reads connection n empty.
func (r *run) ready(n int) error {
	for {
		k, err := r.read(n)
		if err != nil || k < len(r.buf) {
			return err
		}
	}
}

// read reads from connection n, and asks again when its reply has ended.
func (r *run) read(n int) (k int, err error) {
	c := &r.conns[n]
	k, err = r.poll.read(n, r.buf)
	over, tokens := false, 0
	if err == nil {
		over, err = c.feed(r.buf[:k], func(data []byte) error {
			came, err := c.event(data)
			tokens += came
			return err
		})
	}
	if err != nil {
		return k, fmt.Errorf("stream %d, after %d tokens: %w", n, c.ids, err)
	}
	if tokens > 0 {
		r.came(c, tokens)
	}
	if over {
		r.replies++
		err = r.ask(n, r.Tokens)
	}
	return k, err
}

// came counts tokens that came together.
func (r *run) came(c *conn, tokens int) {
	now := time.Now()
	switch {
	case c.latest.IsZero():
		r.begun++
	case r.measure && c.ids > tokens: // not the wait for a reply's first
		r.gaps.add(now.Sub(c.latest), tokens)
	}
	c.latest = now
	r.tokens += int64(tokens)
}

// ask sends the next request of connection n.
func (r *run) ask(n, tokens int) error {
	c := &r.conns[n]
	c.reply = reply{lore: &r.lore[c.prompt], want: tokens}
	ids := make([]int, promptTokens)
	for i := range ids {
		ids[i] = (c.prompt*131 + i*17) % r.Vocab
	}
	body, err := json.Marshal(map[string]any{
		"model": r.Model, "prompt": ids, "max_tokens": tokens, "temperature": 0,
		"ignore_eos": true, "return_token_ids": true, "stream": true,
	})
	if err != nil {
		return err
	}
	return r.poll.write(n, fmt.Appendf(nil, "%sContent-Length: %d\r\n\r\n%s", r.head, len(body), body))
}

// vanish lets all clients go away in the middle of their replies, every other
// one with a reset, and waits until nothing of them is left.
func (r *run) vanish(ctx context.Context, watcher *watch, report *Report) error {
	began := time.Now()
	for n := range r.conns {
		if err := r.poll.close(n, n%2 == 0); err != nil {
			return err
		}
	}
	report.Closing = time.Since(began)
	const patience = 30 * time.Second
	for report.Gone.left() {
		s, err := watcher.scrape(ctx)
		if err != nil {
			return err
		}
		since := time.Since(began)
		if since > patience {
			return fmt.Errorf("%v after all clients were gone, %d requests are open, %d pages are used, and there are %d goroutines; before, there were %d",
				patience, s.Open, s.PagesUsed, s.Goroutines, report.Idle.Goroutines)
		}
		report.Gone.note(&s, &report.Idle, since)
	}
	return nil
}

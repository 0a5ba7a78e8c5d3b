package http

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/valyala/fasthttp/fasthttputil"

	"github.com/troupe-llm/troupe/actors"
)

// lines are what was logged.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer // guarded by mu
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

// take returns what was logged since the last call.
func (l *lines) take(t *testing.T) (all []map[string]any) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.buf.String()) {
		m := map[string]any{}
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		all = append(all, m)
	}
	l.buf.Reset()
	return all
}

// Of refusals some are logged, and how many more there were.
func TestRefusalsAreLoggedSparsely(t *testing.T) {
	var log lines
	r := newRefusals(zerolog.New(&log))
	var flush func()
	r.after = func(d time.Duration, f func()) {
		if d != time.Second || flush != nil {
			t.Errorf("a second flush, after %v", d)
		}
		flush = f
	}
	told := map[int]int{}
	for range 1000 {
		for _, status := range []int{200, 401, 429, 499, 500, 503} {
			if r.logged(status) {
				told[status]++
			}
		}
	}
	r.logged(404)
	for status, want := range map[int]int{200: 1000, 401: 10, 429: 10, 499: 1000, 500: 1000, 503: 10} {
		if told[status] != want {
			t.Errorf("%d of 1000 with status %d are logged, want %d", told[status], status, want)
		}
	}
	flush()
	all := log.take(t)
	if len(all) != 3 || all[1]["status"] != 429.0 || all[1]["requests"] != 990.0 {
		t.Errorf("%v", all)
	}
	flush = nil
	if !r.logged(429) || flush == nil {
		t.Error("the next second begins with nothing to be logged, or has no end")
	}
	flush()
	if all := log.take(t); len(all) != 0 {
		t.Errorf("there were no more, and %v", all)
	}
}

// A line of the log says who asked, and for what that there is not.
func TestLogs(t *testing.T) {
	var log lines
	s, err := newServer(Config{Proxies: []string{"unix"}}, script([]actors.Output{started("ab"), says("x"), ends("stop", 2, 1)}), zerolog.New(&log))
	if err != nil {
		t.Fatal(err)
	}
	ln := fasthttputil.NewInmemoryListener()
	h := serving(t, ln, func(context.Context, string, string) (net.Conn, error) { return ln.Dial() }, s)
	for _, c := range []struct {
		method, path, from string
		want               map[string]any
	}{
		{"POST", "/v1/completions", "192.0.2.7", map[string]any{"route": "/v1/completions", "client": "192.0.2.7", "status": 200.0}},
		{"POST", "/v1/completion", "2001:db8::7", map[string]any{"route": "", "path": "/v1/completion", "client": "2001:db8::7", "status": 404.0}},
		{"GET", "/nowhere%0aelse?secret=1", "", map[string]any{"path": "/nowhere\nelse", "client": nil, "status": 404.0}},
		{"DELETE", "/v1/completions", "192.0.2.7", map[string]any{"path": "/v1/completions", "status": 405.0}},
		{"GET", "/" + strings.Repeat("x", 5000), "192.0.2.7", map[string]any{"path": "/" + strings.Repeat("x", 255), "status": 404.0}},
	} {
		var header []string
		if c.from != "" {
			header = append(header, "X-Forwarded-For: "+c.from)
		}
		h.read(h.do(c.method, c.path, `{"prompt":"ab"}`, header...))
		all := log.take(t)
		if len(all) != 1 {
			t.Fatalf("%s %s: %v", c.method, c.path, all)
		}
		for name, want := range c.want {
			if all[0][name] != want {
				t.Errorf("%s %s: %s is %v, want %v", c.method, c.path, name, all[0][name], want)
			}
		}
	}
	for _, path := range []string{"/health", "/metrics", "/v1/models"} { // probes
		h.read(h.do("GET", path, ""))
		if all := log.take(t); len(all) != 1 || all[0]["level"] != "debug" {
			t.Errorf("%s: %v", path, all)
		}
	}
}

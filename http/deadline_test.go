package http

import (
	"strings"
	"testing"
	"time"

	"github.com/troupe-llm/troupe/actors"
)

// An answer that takes longer than it may is given up: with a status while none was
// sent, else with an event.
func TestDeadlines(t *testing.T) {
	const whole = `{"prompt":"ab"}`
	for _, c := range []struct {
		name, body string
		cfg        Config
		began      bool // the engine has accepted it
		status     int
		want       string
	}{
		{"whole", whole, Config{RequestTimeout: 1}, true, 504, `"code":"request_timeout"`},
		{"waiting", whole, Config{RequestTimeout: 1}, false, 504, `"code":"request_timeout"`},
		{"stream", streamed, Config{StreamTimeout: 1}, true, 200, `"code":"request_timeout"`},
		{"stream that waits", streamed, Config{StreamTimeout: 1}, false, 504, `"code":"request_timeout"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			st := newFakeStream()
			if c.began {
				st = newFakeStream(started("a"), says("b"))
			}
			h := start(t, engineOf(func(int, *actors.Request) (*fakeStream, error) { return st, nil }), c.cfg)
			resp := h.post("/v1/completions", c.body)
			status, body := h.read(resp)
			if status != c.status || !strings.Contains(body, c.want) {
				t.Errorf("%d %s, want %d and %s", status, body, c.status, c.want)
			}
			if (status == 504) != (resp.header.Get("Retry-After") != "") {
				t.Errorf("%d, and Retry-After is %q", status, resp.header.Get("Retry-After"))
			}
			happens(t, "cancelling", st.canceled)
		})
	}
	h := start(t, script([]actors.Output{started("ab"), says("x"), ends("stop", 2, 1)}), Config{RequestTimeout: time.Hour, StreamTimeout: 1})
	if status, body := h.read(h.post("/v1/completions", whole)); status != 200 {
		t.Errorf("%d %s", status, body)
	}
}

// A request that has waited too long to be computed gets a status, streamed or not:
// nothing has been sent by then.
func TestQueueTimeout(t *testing.T) {
	for _, body := range []string{`{"prompt":"ab"}`, streamed} {
		st := newFakeStream(actors.Output{Final: &actors.Final{Reason: actors.FinishError, Err: &actors.WaitError{MaxWait: 3 * time.Second}}})
		eng := engineOf(func(int, *actors.Request) (*fakeStream, error) { return st, nil })
		h := start(t, eng, Config{QueueTimeout: 3 * time.Second})
		resp := h.post("/v1/completions", body)
		status, answer := h.read(resp)
		if status != 503 || !strings.Contains(answer, `"code":"queue_timeout"`) || resp.header.Get("Retry-After") != "3" {
			t.Errorf("%d %s, Retry-After %q", status, answer, resp.header.Get("Retry-After"))
		}
		if got := eng.requests[0].MaxWait; got != 3*time.Second {
			t.Errorf("it may wait %v", got)
		}
	}
}

package http

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/troupe-llm/troupe/actors"
)

func TestClientLimits(t *testing.T) {
	now := time.Unix(0, 0)
	c := newClients("API key", Limits{Requests: 6, Open: 2, Tokens: 600})
	c.now = func() time.Time { return now }
	wait := func(e *Error) int {
		if e == nil {
			return 0
		}
		if e.Status != 429 || !strings.Contains(e.Message, "API key") {
			t.Errorf("refused with %+v", e)
		}
		return e.RetryAfter
	}
	for i, step := range []struct {
		after  time.Duration
		leave  int // ends a request that used so many tokens, rather than to begin one; -1: begin
		who    string
		retry  int // seconds; 0: let in
		reason string
	}{
		{0, -1, "a", 0, ""},
		{0, -1, "a", 0, ""},
		{0, -1, "a", 1, "open"},
		{0, -1, "b", 0, ""}, // b has its own
		{0, 0, "a", 0, ""},
		{0, 0, "a", 0, ""},
		{0, -1, "a", 0, ""},
		{0, 0, "a", 0, ""},
		{0, -1, "a", 0, ""},
		{0, 0, "a", 0, ""},
		{0, -1, "a", 0, ""},
		{0, 0, "a", 0, ""},
		{0, -1, "a", 0, ""},
		{0, -1, "a", 10, "six a minute"},
		{4 * time.Second, -1, "a", 6, "six a minute"},
		{6 * time.Second, -1, "a", 0, ""},
		{0, 1599, "a", 0, ""}, // 600 - 1599 = -999
		{0, 0, "a", 0, ""},
		{20 * time.Second, -1, "a", 80, "tokens"}, // -999 + 200 = -799: 800 more come in 80 s
		{80 * time.Second, -1, "a", 0, ""},
	} {
		now = now.Add(step.after)
		if step.leave >= 0 {
			c.leave(step.who, step.leave)
			continue
		}
		if got := wait(c.enter(step.who)); got != step.retry {
			t.Fatalf("step %d: %s is to wait for %d s, want %d: %s", i, step.who, got, step.retry, step.reason)
		}
	}
	c.leave("a", 0)
	c.leave("b", 0)
	now = now.Add(3 * time.Minute)
	if e := c.enter("c"); e != nil || len(c.all) != 1 {
		t.Errorf("%v, %d clients are kept, of which two have used nothing for minutes", e, len(c.all))
	}
	if want := [3]int64{2, 1, 1}; c.refused != want {
		t.Errorf("%v were refused, want %v", c.refused, want)
	}
}

// Limits are a key's or an address's, whichever is reached first; a request
// that ended, however it did, is under way no more.
func TestLimitsOverHTTP(t *testing.T) {
	st := newFakeStream(started("a"))
	h := startTCP(t, engineOf(func(n int, _ *actors.Request) (*fakeStream, error) {
		if n == 0 {
			return st, nil
		}
		return newFakeStream(started("ab"), says("xyz"), ends("stop", 2, 3)), nil
	}), Config{APIKeys: []string{"k", "l"}, KeyLimits: Limits{Open: 1}, AddressLimits: Limits{Open: 2, Tokens: 1000}})
	ask := func(key, body string) (int, string) {
		resp := h.post("/v1/completions", body, "X-Api-Key: "+key)
		status, text := h.read(resp)
		if (status == 429) != (resp.header.Get("Retry-After") != "") {
			t.Errorf("%d, Retry-After %q", status, resp.header.Get("Retry-After"))
		}
		return status, text
	}
	stream := h.post("/v1/completions", streamed, "X-Api-Key: k")
	if status, body := ask("k", `{"prompt":"ab"}`); status != 429 || !strings.Contains(body, "one API key may have 1 requests under way") {
		t.Errorf("a second of one key: %d %s", status, body)
	}
	if status, body := ask("l", `{"prompt":"ab"}`); status != 200 {
		t.Errorf("another key's: %d %s", status, body)
	}
	if status, body := ask("l", `{"prompt":`); status != 400 {
		t.Errorf("a bad one: %d %s", status, body)
	}
	st.push(ends("stop", 1, 2000))
	h.read(stream)
	h.await("ending", func() bool { h.byKey.mu.Lock(); defer h.byKey.mu.Unlock(); return h.byKey.all["api-key-1"].open == 0 })
	if status, body := ask("k", `{"prompt":"ab"}`); status != 429 || !strings.Contains(body, "one address may use 1000 tokens a minute") {
		t.Errorf("after 2000 tokens: %d %s", status, body)
	}
	_, metrics := h.read(h.do("GET", "/metrics", ""))
	got := scrape(t, metrics)
	for name, want := range map[string]float64{
		`troupe_http_limited_total{of="API key",limit="open"}`:   1,
		`troupe_http_limited_total{of="API key",limit="tokens"}`: 0,
		`troupe_http_limited_total{of="address",limit="tokens"}`: 1,
		`troupe_http_body_bytes`:                                 0,
	} {
		if v, there := got[name]; !there || v != want {
			t.Errorf("%s is %v, want %v", name, v, want)
		}
	}
}

func TestNetworks(t *testing.T) {
	for text, want := range map[string]string{
		"192.0.2.7:80": "192.0.2.7", "[::ffff:192.0.2.7]:80": "192.0.2.7",
		"[2001:db8:1:2:3:4:5:6]:80": "2001:db8:1:2::/64", "[fe80::1%eth0]:80": "fe80::/64",
	} {
		if got := network(addressOf(net.TCPAddrFromAddrPort(netip.MustParseAddrPort(text)))); got != want {
			t.Errorf("%s is of %s, want %s", text, got, want)
		}
	}
}

package http

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/rs/zerolog"
	"github.com/valyala/fasthttp/fasthttputil"

	"github.com/troupe-llm/troupe/actors"
)

// While a model is loaded the server lives, is not ready, and asks everyone
// with a key to come again.
func TestLoading(t *testing.T) {
	s, err := NewLoading(Config{APIKeys: []string{"sesame"}}, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	ln := fasthttputil.NewInmemoryListener()
	h := serving(t, ln, func(context.Context, string, string) (net.Conn, error) { return ln.Dial() }, s)
	ask := func(method, path, key string) int {
		t.Helper()
		resp := h.do(method, path, "{}", "Authorization: Bearer "+key)
		status, body := h.read(resp)
		if retry := resp.header.Get("Retry-After"); (status == 503) != (retry != "") {
			t.Errorf("%s: %d with Retry-After %q: %s", path, status, retry, body)
		}
		return status
	}
	for path, want := range map[string]int{"/health": 200, "/version": 200, "/openapi.json": 200, "/metrics": 200, "/": 200, "/ready": 503, "/stats": 503} {
		if got := ask("GET", path, ""); got != want {
			t.Errorf("%s: %d, want %d", path, got, want)
		}
	}
	for _, path := range []string{"/v1/chat/completions", "/v1/completions", "/tokenize", "/detokenize"} {
		if got := ask("POST", path, "sesame"); got != 503 {
			t.Errorf("%s: %d, want 503", path, got)
		}
		if got := ask("POST", path, "guess"); got != 401 {
			t.Errorf("%s without a key: %d, want 401", path, got)
		}
	}
	if got := ask("GET", "/v1/models", "sesame"); got != 503 {
		t.Errorf("models: %d, want 503", got)
	}

	s.attach(script([]actors.Output{started("ab"), says("x"), ends("stop", 2, 1)}))
	if got := ask("GET", "/ready", ""); got != 200 {
		t.Errorf("with an engine it is not ready: %d", got)
	}
	if status, body := h.read(h.do("POST", "/v1/completions", `{"prompt":"ab"}`, "Authorization: Bearer sesame")); status != 200 {
		t.Errorf("%d %s", status, body)
	}
}

// A retiring server takes requests, and has those who send them go elsewhere.
func TestRetire(t *testing.T) {
	h := start(t, script([]actors.Output{started("ab"), says("x"), ends("stop", 2, 1)}), Config{})
	h.Retire()
	if status, body := h.read(h.do("GET", "/ready", "")); status != 503 {
		t.Errorf("ready: %d %s", status, body)
	}
	c, err := h.ln.(*fasthttputil.InmemoryListener).Dial()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const body = `{"prompt":"ab"}`
	fmt.Fprintf(c, "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	answer, err := io.ReadAll(c) // it is closed after one
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 200") || !strings.Contains(string(answer), "Connection: close") {
		t.Errorf("%s %v", answer, err)
	}
}

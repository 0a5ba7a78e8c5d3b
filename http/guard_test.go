package http

import (
	"bufio"
	"fmt"
	"io"
	"net"
	nethttp "net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/troupe-llm/troupe/actors"
)

// answers is an engine whose every request is answered with "b".
func answers() *fakeEngine {
	return engineOf(func(int, *actors.Request) (*fakeStream, error) {
		return newFakeStream(started("a"), says("b"), ends("stop", 1, 1)), nil
	})
}

// raw sends bytes and returns what comes back first.
func (h *served) raw(request string) (net.Conn, *bufio.Reader) {
	h.t.Helper()
	c, err := net.Dial("tcp", h.ln.Addr().String())
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { c.Close() })
	if _, err := io.WriteString(c, request); err != nil {
		h.t.Fatal(err)
	}
	return c, bufio.NewReader(c)
}

// A header that condemns a request is answered though nothing of the body has
// come, and may never. ReadTimeout is longer than a test's patience.
func TestHeadersAreJudgedBeforeBodies(t *testing.T) {
	keyed := startTCP(t, script(), Config{APIKeys: []string{"k"}, ReadTimeout: time.Hour})
	keyless := startTCP(t, script(), Config{ReadTimeout: time.Hour})
	for _, tc := range []struct {
		name   string
		h      *served
		header string
		status int
	}{
		{"no key", keyed, "Host: localhost\r\nContent-Length: 16777216", 401},
		{"no key, chunks", keyed, "Host: localhost\r\nTransfer-Encoding: chunked", 401},
		{"no key, asks before it sends", keyed, "Host: localhost\r\nContent-Length: 16777216\r\nExpect: 100-continue", 401},
		{"wrong key", keyed, "Host: localhost\r\nContent-Length: 1\r\nX-Api-Key: x", 401},
		{"foreign host", keyed, "Host: evil.example\r\nContent-Length: 1\r\nX-Api-Key: k", 421},
		{"foreign origin", keyless, "Host: localhost\r\nContent-Length: 1\r\nOrigin: https://evil.example", 403},
		{"large", keyless, "Host: localhost\r\nContent-Length: 16777217", 413},
		{"large, asks before it sends", keyless, "Host: localhost\r\nContent-Length: 16777217\r\nExpect: 100-continue", 413},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, r := tc.h.raw("POST /v1/completions HTTP/1.1\r\n" + tc.header + "\r\n\r\n")
			_ = c.SetReadDeadline(time.Now().Add(patience))
			resp, err := nethttp.ReadResponse(r, nil)
			if err != nil || resp.StatusCode != tc.status || !resp.Close {
				t.Fatalf("%+v, %v; want status %d and an end", resp, err, tc.status)
			}
			if _, err := io.ReadAll(r); err != nil {
				t.Errorf("the connection ended with %v", err)
			}
		})
	}
}

// Whoever still sends reads why it was refused, rather than that the connection
// was reset.
func TestRefusalsReachWhoStillSends(t *testing.T) {
	h := startTCP(t, script(), Config{APIKeys: []string{"k", "l"}, MaxBody: 1 << 20, KeyLimits: Limits{Requests: 1}})
	h.read(h.do("GET", "/v1/models", "", "X-Api-Key: l"))
	for _, tc := range []struct {
		key    string
		size   int
		status int
	}{{"x", 1 << 20, 401}, {"k", 8 << 20, 413}, {"l", 1 << 20, 429}} {
		resp := h.post("/v1/completions", strings.Repeat("a", tc.size), "X-Api-Key: "+tc.key)
		if status, body := h.read(resp); status != tc.status {
			t.Errorf("got %d %s, want %d", status, body, tc.status)
		}
	}
}

// What is promised takes no memory: 300 bodies of 16 MiB of which one byte came.
func TestPromisedBodiesTakeNoMemory(t *testing.T) {
	h := startTCP(t, script(), Config{})
	for range 300 {
		h.raw("POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 16777216\r\n\r\n{")
	}
	const want = 300 * firstPart
	h.await("300 bodies", func() bool { return h.bodies.used.Load() >= want })
	if used := h.bodies.used.Load(); used != want {
		t.Errorf("they take %d bytes, want %d", used, want)
	}
}

// await yields until something is so.
func (h *served) await(what string, is func() bool) {
	h.t.Helper()
	for deadline := time.Now().Add(patience); !is(); runtime.Gosched() {
		if time.Now().After(deadline) {
			h.t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

// Large bodies that do not come to their end leave room for small ones, and
// give theirs back.
func TestBodyBudget(t *testing.T) {
	h := startTCP(t, answers(), Config{MaxBody: 256 << 10, BodyBudget: 1 << 20})
	const large = 150 << 10
	head := fmt.Sprintf("POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n", large)
	var open []net.Conn
	for range 2 {
		c, _ := h.raw(head + strings.Repeat(" ", large-1))
		open = append(open, c)
	}
	h.await("two large bodies", func() bool { return h.bodies.used.Load() == 2*(firstPart+3*nextPart) })
	resp := h.post("/v1/completions", `{"prompt":"`+strings.Repeat("a", large)+`"}`)
	if status, body := h.read(resp); status != 429 || resp.header.Get("Retry-After") != "1" || !strings.Contains(body, `"server_busy"`) {
		t.Errorf("a third is answered with %d %s", status, body)
	}
	if status, body := h.read(h.post("/v1/completions", `{"prompt":"a"}`)); status != 200 {
		t.Errorf("a small one is answered with %d %s", status, body)
	}
	for _, c := range open {
		c.Close()
	}
	h.await("giving back", func() bool { return h.bodies.used.Load() == 0 })
	if status, body := h.read(h.post("/v1/completions", `{"prompt":"`+strings.Repeat("a", large)+`"}`)); status != 200 {
		t.Errorf("then one is answered with %d %s", status, body)
	}
}

// Bodies come whole, of whatever size, announced or in chunks; one that is as
// long as may be is taken, one byte more is not.
func TestBodiesOfAllSizes(t *testing.T) {
	eng := answers()
	h := startTCP(t, eng, Config{MaxBody: 3 * nextPart})
	empty := len(`{"prompt":""}`)
	for i, size := range []int{1, firstPart - 1, firstPart, firstPart + 1, firstPart + nextPart - 1, firstPart + nextPart, firstPart + nextPart + 1, 3 * nextPart, 3*nextPart + 1} {
		for _, announced := range []bool{true, false} {
			text := strings.Repeat("x", max(size-empty, 1))
			var body io.Reader = strings.NewReader(`{"prompt":"` + text + `"}`)
			if !announced {
				body = io.MultiReader(body) // whose length net/http does not see
			}
			resp, err := h.client.Post("http://localhost/v1/completions", "", body)
			if err != nil {
				t.Fatal(err)
			}
			answer, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if size > 3*nextPart {
				if resp.StatusCode != nethttp.StatusRequestEntityTooLarge {
					t.Errorf("%d bytes are answered with %s %s", size, resp.Status, answer)
				}
				continue
			}
			eng.mu.Lock()
			got := eng.requests[len(eng.requests)-1].Text
			eng.mu.Unlock()
			if resp.StatusCode != nethttp.StatusOK || got != text {
				t.Errorf("%d: %d bytes, announced: %v, become %d, %s %s", i, size, announced, len(got), resp.Status, answer)
			}
		}
	}
	if used := h.bodies.used.Load(); used != 0 {
		t.Errorf("%d bytes are still taken", used)
	}
}

// A body that ends early is no request.
func TestCutBody(t *testing.T) {
	h := startTCP(t, script(), Config{})
	c, r := h.raw("POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n" + `{"prompt":"a"}`)
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(r)
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 400 ") || !strings.Contains(string(answer), "before it was whole") {
		t.Errorf("got %q, %v", answer, err)
	}
}

// A name that was made to lead here is not this server's (DNS rebinding).
func TestHosts(t *testing.T) {
	h := start(t, script(), Config{Hosts: []string{"LLM.example"}})
	for host, known := range map[string]bool{
		"localhost": true, "localhost:1919": true, "LocalHost.": true, "a.localhost:1": true, "127.0.0.1:1919": true, "192.168.1.5": true,
		"[::1]:1919": true, "[fe80::1]": true, "llm.example": true, "llm.EXAMPLE:443": true,
		"evil.example": false, "evil.example:1919": false, "localhost.evil.example": false, "127.0.0.1.evil.example": false,
		"notlocalhost": false, "llm.example.evil": false, "x@localhost": false, "127.0.0.1:1919:1": false,
	} {
		if got := h.knowsHost([]byte(host)); got != known {
			t.Errorf("%q is known: %v, want %v", host, got, known)
		}
	}
	for _, path := range []string{"/health", "/v1/models", "/nothing", "/"} {
		req, _ := nethttp.NewRequest("GET", "http://localhost"+path, nil)
		req.Host = "evil.example"
		resp, err := h.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != nethttp.StatusMisdirectedRequest || !strings.Contains(string(body), "--allowed-hosts") || strings.Contains(string(body), "evil") {
			t.Errorf("%s: %s %s", path, resp.Status, body)
		}
	}
	all := start(t, script(), Config{Hosts: []string{"*"}})
	if !all.knowsHost([]byte("evil.example")) {
		t.Error("* is not all")
	}
}

// Pages of other sites may not have this server compute, or read what it says.
func TestForeignPages(t *testing.T) {
	h := start(t, answers(), Config{Origins: []string{"https://good.example"}})
	link := []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"}
	for _, tc := range []struct {
		name, method, path string
		header             []string
		status             int
	}{
		{"no page", "POST", "/v1/completions", nil, 200},
		{"curl's default type", "POST", "/v1/completions", []string{"Content-Type: application/x-www-form-urlencoded"}, 200},
		{"its own page", "POST", "/v1/completions", []string{"Origin: http://localhost", "Sec-Fetch-Site: same-origin"}, 200},
		{"its own page, behind a proxy with TLS", "POST", "/v1/completions", []string{"Origin: https://localhost"}, 200},
		{"its own page, as a form", "POST", "/v1/completions", []string{"Origin: http://localhost", "Content-Type: text/plain"}, 415},
		{"an allowed page", "POST", "/v1/completions", []string{"Origin: https://good.example", "Sec-Fetch-Site: cross-site"}, 200},
		{"an allowed page, as a form", "POST", "/v1/completions", []string{"Origin: https://good.example", "Content-Type: text/plain"}, 415},
		{"a foreign page", "POST", "/v1/completions", []string{"Origin: https://evil.example"}, 403},
		{"a foreign form", "POST", "/v1/completions", []string{"Origin: https://evil.example", "Content-Type: text/plain"}, 403},
		{"a foreign page, without a type", "POST", "/v1/completions", []string{"Origin: https://evil.example", "Content-Type: "}, 403},
		{"a page in a sandbox", "POST", "/v1/completions", []string{"Origin: null"}, 403},
		{"another port", "POST", "/v1/completions", []string{"Origin: http://localhost:3000", "Sec-Fetch-Site: same-site"}, 403},
		{"a foreign page asks first", "OPTIONS", "/v1/completions", []string{"Origin: https://evil.example"}, 403},
		{"a foreign page reads", "GET", "/stats", []string{"Origin: https://evil.example"}, 403},
		{"a foreign image", "GET", "/v1/models", []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image"}, 403},
		{"a foreign post without origin", "POST", "/v1/completions", link, 403},
		{"a foreign frame", "GET", "/", []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: iframe"}, 403},
		{"a link from elsewhere", "GET", "/", link, 200},
	} {
		t.Run(tc.name, func(t *testing.T) {
			body := ""
			if tc.method == "POST" {
				body = `{"prompt":"a"}`
			}
			if status, got := h.read(h.do(tc.method, tc.path, body, tc.header...)); status != tc.status || strings.Contains(got, "evil") {
				t.Errorf("got %d %s, want %d", status, got, tc.status)
			}
		})
	}
}

// A large body is decoded when no other is; small ones do not wait for it.
func TestLargeBodiesAreDecodedInTurn(t *testing.T) {
	h := start(t, engineOf(func(int, *actors.Request) (*fakeStream, error) {
		return newFakeStream(started("ab"), says("x"), ends("stop", 2, 1)), nil
	}), Config{})
	for range cap(h.decoding) {
		h.decoding <- struct{}{}
	}
	large := make(chan int, 1)
	go func() {
		status, _ := h.read(h.post("/v1/completions", `{"prompt":"ab","user":"`+strings.Repeat("x", largeBody)+`"}`))
		large <- status
	}()
	for range 10 {
		if status, body := h.read(h.post("/v1/completions", `{"prompt":"ab"}`)); status != 200 {
			t.Errorf("%d %s", status, body)
		}
	}
	select {
	case status := <-large:
		t.Errorf("a large body is decoded (%d) while another is", status)
	default:
	}
	<-h.decoding
	if status := happens(t, "decoding a large body", large); status != 200 {
		t.Errorf("%d", status)
	}
}

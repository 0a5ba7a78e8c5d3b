package http

import (
	"bufio"
	"bytes"
	"io"
	"net"
	nethttp "net/http"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/troupe-llm/troupe/actors"
)

// tape is a connection whose client sends bytes and no more, and keeps what it
// is answered.
type tape struct {
	in  io.Reader
	out bytes.Buffer
}

func (c *tape) Read(b []byte) (int, error)       { return c.in.Read(b) }
func (c *tape) Write(b []byte) (int, error)      { return c.out.Write(b) }
func (c *tape) Close() error                     { return nil }
func (c *tape) LocalAddr() net.Addr              { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }
func (c *tape) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }
func (c *tape) SetDeadline(time.Time) error      { return nil }
func (c *tape) SetReadDeadline(time.Time) error  { return nil }
func (c *tape) SetWriteDeadline(time.Time) error { return nil }

// FuzzRaw sends any bytes to a server with keys, which the bytes do not have.
// Whatever they are: nothing is computed, all that is answered is HTTP, no
// answer is a 5xx, and nothing is left behind.
func FuzzRaw(f *testing.F) {
	const host = "Host: localhost\r\n"
	for _, seed := range []string{
		"", "\r\n", "GET", "GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.0\r\n\r\n", "GET / HTTP/2.0\r\n" + host + "\r\n",
		"GET / HTTP/1.1\r\n" + host + "\r\nGET /health HTTP/1.1\r\n" + host + "\r\n",
		"HEAD /metrics HTTP/1.1\r\n" + host + "\r\n",
		"OPTIONS * HTTP/1.1\r\n" + host + "\r\n",
		"GET http://localhost/v1/models HTTP/1.1\r\n" + host + "\r\n",
		"POST /v1/completions HTTP/1.1\r\n" + host + "Content-Length: 14\r\n\r\n{\"prompt\":\"a\"}",
		"POST /v1/completions HTTP/1.1\r\n" + host + "Content-Length: 14\r\nAuthorization: Bearer x\r\n\r\n{\"prompt\":\"a\"}",
		"POST /v1/completions HTTP/1.1\r\n" + host + "X-Api-Key: \x01\r\nContent-Length: 1\r\n\r\n{",
		"POST /v1/completions HTTP/1.1\r\n" + host + "Content-Length: 16777217\r\nExpect: 100-continue\r\n\r\n",
		"POST //health HTTP/1.1\r\n" + host + "Content-Length: 3\r\n\r\nabcGET /health HTTP/1.1\r\n" + host + "\r\n",
		"POST /health/../v1/completions HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\ne\r\n{\"prompt\":\"a\"}\r\n0\r\n\r\n",
		"POST /tokenize HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n" + host + "\r\n",
		"POST /tokenize HTTP/1.1\r\n" + host + "Transfer-Encoding: \x0bchunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
		"POST /tokenize HTTP/1.1\r\n" + host + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
		"GET / HTTP/1.1\r\nHost: evil.example\r\nOrigin: https://evil.example\r\n\r\n",
		"GET / HTTP/1.1\r\n" + host + "\x00unread: large\r\n\r\n",
		"GET / HTTP/1.1\r\n" + host + "X-Long: " + strings.Repeat("a", headerSize) + "\r\n\r\n",
		"GET /debug/pprof/%2e%2e/cmdline HTTP/1.1\r\n" + host + "\r\n",
	} {
		f.Add([]byte(seed))
	}
	s, err := newServer(Config{APIKeys: []string{"correct horse battery staple"}, MaxBody: 1000, Profiling: true},
		engineOf(func(int, *actors.Request) (*fakeStream, error) { panic("a request without a key reached the engine") }), zerolog.Nop())
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, request []byte) {
		c := &tape{in: bytes.NewReader(request)}
		_ = s.main.fast.ServeConn(c) // its error is the request's
		if used, open := s.bodies.used.Load(), s.answers.Load(); used != 0 || open != 0 {
			t.Errorf("%d bytes and %d answers are left behind", used, open)
		}
		for r := bufio.NewReader(&c.out); ; {
			if _, err := r.Peek(1); err == io.EOF {
				return
			}
			method := "GET"
			if bytes.Contains(request, []byte("HEAD")) { // which of the answers is HEAD's is not told
				return
			}
			resp, err := nethttp.ReadResponse(r, &nethttp.Request{Method: method})
			if err != nil {
				t.Fatalf("not an answer: %v", err)
			}
			if _, err := io.Copy(io.Discard, resp.Body); err != nil {
				t.Fatalf("not an answer: %v", err)
			}
			if resp.StatusCode >= 500 {
				t.Errorf("answered with %s", resp.Status)
			}
		}
	})
}

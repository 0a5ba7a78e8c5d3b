package http

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	nethttp "net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/troupe-llm/troupe/actors"
)

const streamed = `{"prompt":"a","stream":true}`

// open starts a stream over a bare connection, so that the test decides when
// it ends.
func open(t *testing.T, ln net.Listener, body string) (net.Conn, *bufio.Reader) {
	t.Helper()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_, err = fmt.Fprintf(c, "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	if err != nil {
		t.Fatal(err)
	}
	return c, bufio.NewReader(c)
}

func skipLine(t *testing.T, r *bufio.Reader) {
	t.Helper()
	if _, err := r.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
}

// streamedText puts the text of a stream together again, as a client does.
func streamedText(t *testing.T, r *bufio.Reader) string {
	t.Helper()
	var text strings.Builder
	for {
		data := nextEvent(t, r)
		if data == "[DONE]" {
			return text.String()
		}
		var chunk struct{ Choices []struct{ Text string } }
		if err := json.Unmarshal([]byte(data), &chunk); err != nil {
			t.Fatalf("%v in %.80q", err, data)
		}
		text.WriteString(chunk.Choices[0].Text)
	}
}

// TestTextSurvives streams arbitrary text in arbitrary pieces and puts it
// together again as a client does.
func TestTextSurvives(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	alphabet := []rune("ab \"\\/\n\r\t\x00\x1f\x7fé😀\u2028\u2029<>&data: \n\n")
	for round := range 50 {
		var want strings.Builder
		events := []actors.Output{started("a")}
		for range rnd.IntN(20) {
			var piece strings.Builder
			for range rnd.IntN(40) {
				piece.WriteRune(alphabet[rnd.IntN(len(alphabet))])
			}
			want.WriteString(piece.String())
			events = append(events, says(piece.String()))
		}
		h := start(t, script(append(events, ends("stop", 1, 1))), Config{})
		resp := h.post("/v1/completions", streamed)
		r := resp.body
		if got := streamedText(t, r); got != want.String() {
			t.Fatalf("round %d: got %q, want %q", round, got, want.String())
		}
		if rest, _ := io.ReadAll(r); len(rest) != 0 {
			t.Fatalf("round %d: %q after the end", round, rest)
		}
	}
}

// TestTokensAreNotHeldBack reads every token before the next one exists.
func TestTokensAreNotHeldBack(t *testing.T) {
	st := newFakeStream(started("a"))
	h := start(t, engineOf(func(int, *actors.Request) (*fakeStream, error) { return st, nil }), Config{})
	resp := h.post("/v1/completions", streamed) // the header comes before any token
	r := resp.body
	for i := range 10 {
		st.push(says(fmt.Sprint(i)))
		if data := nextEvent(t, r); !strings.Contains(data, fmt.Sprintf(`"text":"%d"`, i)) {
			t.Fatalf("token %d: got %s", i, data)
		}
	}
	st.push(ends("stop", 1, 10))
	nextEvent(t, r)
	if data := nextEvent(t, r); data != "[DONE]" {
		t.Fatalf("got %s", data)
	}
}

// TestConnectionIsReused asks again on the same connection after a stream, so
// that the watcher must have let go of it.
func TestConnectionIsReused(t *testing.T) {
	h := startTCP(t, engineOf(func(int, *actors.Request) (*fakeStream, error) {
		return newFakeStream(started("a"), says("x"), ends("stop", 1, 1)), nil
	}), Config{})
	c, r := open(t, h.ln, streamed)
	defer c.Close()
	for i := range 20 {
		n := 0
		for line := ""; line != "0\r\n"; n++ { // the last chunk
			var err error
			if line, err = r.ReadString('\n'); err != nil {
				t.Fatalf("request %d: %v", i, err)
			}
		}
		if n < 5 {
			t.Fatalf("request %d: %d lines", i, n)
		}
		skipLine(t, r)
		body := streamed
		if i%2 == 1 {
			body = `{"prompt":"a","n":1,"stream":true}`
		}
		fmt.Fprintf(c, "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	}
}

// TestVanishedClient leaves at every stage of a request. The engine says
// nothing more, so only the connection can tell.
func TestVanishedClient(t *testing.T) {
	for _, tc := range []struct {
		name, body string
		events     []actors.Output
		lines      int // read before leaving
	}{
		{"before it is accepted", streamed, nil, 0},
		{"while it waits", streamed, []actors.Output{started("a")}, 1},
		{"while it streams", streamed, []actors.Output{started("a"), says("b")}, 8},
		{"while it waits for all", `{"prompt":"a"}`, []actors.Output{started("a"), says("b")}, 0},
		{"with two choices", `{"prompt":"a","n":2}`, []actors.Output{started("a"), says("b")}, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			streams := make(chan *fakeStream, 2)
			h := startTCP(t, engineOf(func(int, *actors.Request) (*fakeStream, error) {
				st := newFakeStream(tc.events...)
				streams <- st
				return st, nil
			}), Config{})
			c, r := open(t, h.ln, tc.body)
			sts := []*fakeStream{happens(t, "submitting", streams)}
			if strings.Contains(tc.body, `"n":2`) {
				sts = append(sts, happens(t, "submitting", streams))
			}
			for range tc.lines {
				if _, err := r.ReadString('\n'); err != nil {
					t.Fatal(err)
				}
			}
			c.Close()
			for _, st := range sts {
				happens(t, "cancelling", st.canceled)
			}
		})
	}
}

// TestFailingWrite ends a stream whose connection cannot be watched, within
// two events of the client's leaving.
func TestFailingWrite(t *testing.T) {
	st := newFakeStream(started("a"))
	h := start(t, engineOf(func(int, *actors.Request) (*fakeStream, error) { return st, nil }), Config{})
	resp := h.post("/v1/completions", streamed)
	happens(t, "taking the first event", st.taken)
	_ = resp.close() // and with it the connection, as the stream has not ended
	for events := 0; ; events++ {
		if events > 2 {
			t.Fatal("the request still runs")
		}
		st.push(says("b"))
		select {
		case <-st.canceled:
			return
		case <-st.taken:
		case <-time.After(patience):
			t.Fatal("the stream stands still")
		}
	}
}

// TestThousandVanish leaves with every one of a thousand streams open and
// looks for what they left behind.
func TestThousandVanish(t *testing.T) {
	before := runtime.NumGoroutine()
	var canceled sync.WaitGroup
	t.Run("serve", func(t *testing.T) {
		h := startTCP(t, engineOf(func(int, *actors.Request) (*fakeStream, error) {
			st := newFakeStream(started("a"), says("b"))
			canceled.Add(1)
			go func() { <-st.canceled; canceled.Done() }()
			return st, nil
		}), Config{})
		var conns []net.Conn
		for range 1000 {
			c, r := open(t, h.ln, streamed)
			if _, err := r.ReadString('\n'); err != nil {
				t.Fatal(err)
			}
			conns = append(conns, c)
		}
		for _, c := range conns {
			c.Close()
		}
		all := make(chan struct{})
		go func() { canceled.Wait(); close(all) }()
		happens(t, "cancelling all", all)
	}) // which shuts down, too
	for deadline := time.Now().Add(patience); runtime.NumGoroutine() > before+10; runtime.Gosched() {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<16)
			t.Fatalf("%d goroutines before, %d after:\n%s", before, runtime.NumGoroutine(), stacks[:runtime.Stack(stacks, true)])
		}
	}
}

// TestDrain lets an open stream end while nothing new is taken.
func TestDrain(t *testing.T) {
	st := newFakeStream(started("a"))
	h := startTCP(t, engineOf(func(int, *actors.Request) (*fakeStream, error) { return st, nil }), Config{})
	resp := h.post("/v1/completions", streamed)
	r := resp.body
	over := make(chan error)
	go func() { over <- h.Shutdown(context.Background()) }()
	if err := happens(t, "Serve returning", h.ended); err != nil {
		t.Errorf("Serve: %v", err)
	}
	h.ended <- nil // for start's cleanup
	// The listener may be on its way to being closed yet: then who waits in its queue is turned away.
	if c, err := net.Dial("tcp", h.ln.Addr().String()); err == nil {
		_ = c.SetDeadline(time.Now().Add(patience))
		_, _ = c.Write([]byte("GET /v1/models HTTP/1.1\r\nHost: a\r\n\r\n"))
		if n, err := c.Read(make([]byte, 1)); n > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a new connection was taken: %d bytes, %v", n, err)
		}
		c.Close()
	}
	if e := h.ready(); e == nil || e.Status != 503 {
		t.Errorf("ready while draining: %v", e)
	}
	st.push(says("b"), ends("stop", 1, 1))
	for data := ""; data != "[DONE]"; {
		data = nextEvent(t, r)
	}
	if err := happens(t, "Shutdown returning", over); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
}

// TestDrainIsBounded cuts a stream that would not end, and tells its client.
func TestDrainIsBounded(t *testing.T) {
	st := newFakeStream(started("a"))
	h := startTCP(t, engineOf(func(int, *actors.Request) (*fakeStream, error) { return st, nil }), Config{})
	resp := h.post("/v1/completions", streamed)
	r := resp.body
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	over := make(chan error)
	go func() { over <- h.Shutdown(ctx) }()
	if data := nextEvent(t, r); !strings.Contains(data, `"code":"shutting_down"`) {
		t.Errorf("got %s", data)
	}
	if data := nextEvent(t, r); data != "[DONE]" {
		t.Errorf("got %s", data)
	}
	happens(t, "cancelling", st.canceled)
	if err := happens(t, "Shutdown returning", over); !errors.Is(err, context.Canceled) {
		t.Errorf("Shutdown: %v", err)
	}
}

// TestKeepAlive writes comments, which clients skip, while nothing happens.
func TestKeepAlive(t *testing.T) {
	st := newFakeStream(started("a"))
	h := start(t, engineOf(func(int, *actors.Request) (*fakeStream, error) { return st, nil }), Config{KeepAlive: time.Millisecond})
	resp := h.post("/v1/completions", streamed)
	r := resp.body
	for range 2 {
		if line, err := r.ReadString('\n'); err != nil || line != ": keep-alive\n" {
			t.Fatalf("got %q, %v", line, err)
		}
		skipLine(t, r)
	}
	st.push(says("b"), ends("stop", 1, 1))
	for data := ""; data != "[DONE]"; {
		data = nextEvent(t, r)
	}
}

// TestStalledClient gives up on a client that keeps its connection and reads
// nothing.
func TestStalledClient(t *testing.T) {
	long := says(strings.Repeat("long ", 1<<20))
	st := newFakeStream(started("a"), long, long, long, long)
	h := startTCP(t, engineOf(func(int, *actors.Request) (*fakeStream, error) { return st, nil }), Config{StallTimeout: 100 * time.Millisecond})
	c, _ := open(t, h.ln, streamed)
	defer c.Close()
	happens(t, "cancelling", st.canceled)
}

// TestLimitOnOpenAnswers turns away what is over the limit, and only that.
func TestLimitOnOpenAnswers(t *testing.T) {
	st := newFakeStream(started("a"))
	h := start(t, engineOf(func(int, *actors.Request) (*fakeStream, error) { return st, nil }), Config{MaxOpen: 1})
	first := h.post("/v1/completions", streamed)
	if status, body := h.read(h.post("/v1/completions", streamed)); status != 429 {
		t.Errorf("got %d %s", status, body)
	}
	st.push(ends("stop", 1, 0))
	h.read(first)
}

func TestRequestTimeout(t *testing.T) {
	h := startTCP(t, script(), Config{ReadTimeout: 50 * time.Millisecond})
	c, err := net.Dial("tcp", h.ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
	answer, err := io.ReadAll(c)
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 408 ") || !strings.Contains(string(answer), "did not arrive within 50ms") {
		t.Errorf("got %q, %v", answer, err)
	}
}

// TestOldClient streams to HTTP/1.0, which knows no chunks.
func TestOldClient(t *testing.T) {
	h := startTCP(t, script([]actors.Output{started("a"), says("b"), ends("stop", 1, 1)}), Config{})
	c, err := net.Dial("tcp", h.ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "POST /v1/completions HTTP/1.0\r\nContent-Length: %d\r\n\r\n%s", len(streamed), streamed)
	answer, err := io.ReadAll(c)
	if err != nil || !strings.HasSuffix(string(answer), "\n\ndata: [DONE]\n\n") || !utf8.Valid(answer) {
		t.Errorf("got %q, %v", answer, err)
	}
}

// TestSlowClient reads late and slowly what is far more than sockets hold, and
// gets all of it: what a writer cannot write at once waits in the connection's
// goroutine.
func TestSlowClient(t *testing.T) {
	const events = 64
	var said []actors.Output
	var want strings.Builder
	for i := range events {
		text := strings.Repeat(string(rune('a'+i%26)), 1<<17)
		want.WriteString(text)
		said = append(said, says(text))
	}
	st := newFakeStream(started("a"))
	h := startTCP(t, engineOf(func(int, *actors.Request) (*fakeStream, error) { return st, nil }), Config{})
	c, r := open(t, h.ln, streamed)
	defer c.Close()
	for _, ev := range said {
		st.push(ev)
		if len(st.taken) > 0 {
			<-st.taken
		}
	}
	st.push(ends("stop", 1, events))
	resp, err := nethttp.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got := streamedText(t, bufio.NewReader(resp.Body)); got != want.String() {
		t.Errorf("got %d bytes, want %d", len(got), want.Len())
	}
}

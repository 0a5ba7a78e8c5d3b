package http

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	nethttp "net/http"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/rs/zerolog"
	"github.com/valyala/fasthttp/fasthttputil"

	"github.com/troupe-llm/troupe/actors"
	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/http/internal/dialect/model"
	"github.com/troupe-llm/troupe/tokenize"
)

// patience is how long a test waits for what must happen before it fails.
const patience = 20 * time.Second

// fakeEngine answers from scripts. Its tokens are bytes.
type fakeEngine struct {
	// submit makes the stream of the n-th request (from 0).
	submit func(n int, r *actors.Request) (*fakeStream, error)
	info   info
	// template is what the model's chat template is said to be.
	template string

	mu       sync.Mutex
	requests []*actors.Request
}

func (e *fakeEngine) Submit(r *actors.Request) (stream, error) {
	e.mu.Lock()
	n := len(e.requests)
	asked := *r
	asked.Wake = nil // not what a test asked for
	e.requests = append(e.requests, &asked)
	e.mu.Unlock()
	st, err := e.submit(n, r)
	if err != nil {
		return nil, err
	}
	st.mu.Lock()
	st.wake = r.Wake
	st.mu.Unlock()
	r.Wake()
	return st, nil
}

func (e *fakeEngine) Info() info { return e.info }
func (e *fakeEngine) Stats() actors.Stats {
	return actors.Stats{Device: actors.DeviceTime{Busy: 3 * time.Second, Idle: time.Second}, Actors: []actors.ActorStats{{Name: "scheduler", Depth: 3, Messages: 2, Delay: [len(actors.DelayBuckets) + 1]int64{1, 1}}}}
}
func (e *fakeEngine) Requests(int) []actors.OpenRequest { return nil }
func (e *fakeEngine) Ready() bool                       { return true }
func (e *fakeEngine) Tokenizer() model.Tokenizer        { return byteTokenizer{e.template} }

// byteTokenizer has a token for each byte. Brackets are special to it.
type byteTokenizer struct{ template string }

func (byteTokenizer) Encode(text string, addSpecial bool) []int32 {
	ids := []int32{}
	if addSpecial {
		ids = append(ids, 1)
	}
	for i := range len(text) {
		ids = append(ids, int32(text[i]))
	}
	return ids
}

func (byteTokenizer) Decode(ids []int32, _ bool) string {
	b := []byte{}
	for _, id := range ids {
		b = append(b, byte(id))
	}
	return string(b)
}

func (byteTokenizer) DecodeEnds(ids []int32, _ bool) (text []byte, ends []int) {
	for i, id := range ids {
		text, ends = append(text, byte(id)), append(ends, i+1)
	}
	return text, ends
}

func (byteTokenizer) TokenBytes(id int32) []byte { return []byte{byte(id)} }

func (byteTokenizer) Token(id int32) string { return string(id) }

func (byteTokenizer) TokenID(s string) (int32, bool) { return int32(s[0]), s != "" }
func (byteTokenizer) IsSpecial(id int32) bool        { return id == '[' }
func (b byteTokenizer) ChatTemplate(bool) string     { return b.template }

func (b byteTokenizer) NineLetterIDs() bool { return strings.Contains(b.template, "nine letters") }

func (b byteTokenizer) ContentParts() map[string]bool {
	return map[string]bool{
		"user": strings.Contains(b.template, "parts of users"), "assistant": strings.Contains(b.template, "parts of assistants"),
	}
}

func (b byteTokenizer) LateSystems() bool { return !strings.Contains(b.template, "no late systems") }
func (b byteTokenizer) Alternates() bool  { return strings.Contains(b.template, "users alternate") }
func (b byteTokenizer) WholeTools() bool  { return strings.Contains(b.template, "whole tools") }

func (byteTokenizer) LeastMarks(users, _ int) int { return 2 * users }

func (byteTokenizer) LeastChatTokens(*tokenize.Chat) int { return 0 }

func (byteTokenizer) Named(special string) string {
	return map[string]string{"eos_token": "]"}[special]
}

// Render shows what a template would see.
func (byteTokenizer) Render(c tokenize.Chat) (string, error) {
	all := make([]string, len(c.Messages))
	for i, m := range c.Messages {
		text, err := m.MarshalJSON()
		if err != nil {
			return "", err
		}
		all[i] = string(text)
	}
	text, err := "["+strings.Join(all, ", ")+"]", error(nil)
	if strings.Contains(text, "refuse me") {
		return "", errors.New("template: this conversation is refused")
	}
	return text, err
}

// builtin is an engine with the built-in model.
func builtin(t *testing.T) engine {
	t.Helper()
	sys, err := actors.Open(actors.Config{Device: "cpu", MaxRunningRequests: 16, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sys.Close(); err != nil {
			t.Error(err)
		}
	})
	return system{sys}
}

// fakeStream is a stream that a test writes.
type fakeStream struct {
	canceled chan struct{} // closed by Cancel
	taken    chan struct{} // has a value after a Take that found something
	once     sync.Once

	mu     sync.Mutex
	wake   func() // guarded by mu; nil: not submitted yet
	events []actors.Output
}

func newFakeStream(events ...actors.Output) *fakeStream {
	s := &fakeStream{canceled: make(chan struct{}), taken: make(chan struct{}, 1)}
	s.push(events...)
	return s
}

func (s *fakeStream) push(events ...actors.Output) {
	s.mu.Lock()
	s.events = append(s.events, events...)
	wake := s.wake
	s.mu.Unlock()
	if wake != nil {
		wake()
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (s *fakeStream) Cancel() { s.once.Do(func() { close(s.canceled) }) }

func (s *fakeStream) Take(ev *actors.Output) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.events) == 0 {
		return false
	}
	*ev = s.events[0]
	s.events = s.events[1:]
	signal(s.taken)
	return true
}

// Events, as the detokenizer would write them.

func started(prompt string) actors.Output {
	return actors.Output{Started: &actors.Started{PromptTokens: byteTokenizer{}.Encode(prompt, false)}}
}

func says(text string) actors.Output {
	return actors.Output{Text: []byte(text), Tokens: byteTokenizer{}.Encode(text, false)}
}

// thinks says where its tokens end.
func thinks(text string) actors.Output {
	ev := says(text)
	for i := range ev.Tokens {
		ev.TextEnds = append(ev.TextEnds, i+1)
	}
	return ev
}

// inPieces says a text n bytes at a time, and what is left of a character.
func inPieces(text string, n int) (events []actors.Output) {
	for from, to := 0, 0; from < len(text); from = to {
		for to = min(len(text), from+n); to < len(text) && !utf8.RuneStart(text[to]); to++ {
		}
		events = append(events, thinks(text[from:to]))
	}
	return events
}

// scores are n log-probabilities of a prompt.
func scores(n int) (ev actors.Output) {
	for i := range n {
		ev.PromptLogprobs = append(ev.PromptLogprobs, batch.Logprob{Token: float32(-n - i), Top: []batch.TokenLogprob{{Token: 'x', Logprob: -0.5}}})
	}
	return ev
}

// saysLikely has log-probabilities: -1 for the first token, -2 for the second …
func saysLikely(text string, top int) actors.Output {
	ev := says(text)
	for i, id := range ev.Tokens {
		lp := batch.Logprob{Token: float32(-1 - i)}
		for k := range top {
			lp.Top = append(lp.Top, batch.TokenLogprob{Token: id + int32(k) + 1, Logprob: float32(-i) - float32(k)/2})
		}
		ev.Logprobs = append(ev.Logprobs, lp)
		ev.TextEnds = append(ev.TextEnds, i+1)
	}
	return ev
}

func ends(reason actors.FinishReason, prompt, output int) actors.Output {
	return actors.Output{Final: &actors.Final{
		Reason: reason, StopToken: batch.NoToken,
		Usage: actors.Usage{PromptTokens: prompt, CompletionTokens: output},
	}}
}

func fails(err error) actors.Output {
	return actors.Output{Final: &actors.Final{Reason: actors.FinishError, StopToken: batch.NoToken, Err: err}}
}

// script is an engine whose n-th request gets the n-th list of events.
func script(choices ...[]actors.Output) *fakeEngine {
	return engineOf(func(n int, _ *actors.Request) (*fakeStream, error) { return newFakeStream(choices[n]...), nil })
}

func engineOf(submit func(int, *actors.Request) (*fakeStream, error)) *fakeEngine {
	return &fakeEngine{submit: submit, template: "{{ tools }}", info: info{model: "fake", maxLen: 1024, vocab: 256, device: "toy", hardware: "a machine", weights: "bfloat16", kvDType: "int8", sampling: batch.Sampling{Temperature: 1}}}
}

// served is a server under test.
type served struct {
	t *testing.T
	*Server
	ln     net.Listener
	client *nethttp.Client
	ended  chan error // what Serve returned
}

// start serves eng in memory.
func start(t *testing.T, eng engine, cfg Config) *served {
	ln := fasthttputil.NewInmemoryListener()
	return startOn(t, ln, func(context.Context, string, string) (net.Conn, error) { return ln.Dial() }, eng, cfg)
}

// startTCP serves eng on a loopback socket.
func startTCP(t *testing.T, eng engine, cfg Config) *served {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var d net.Dialer
	return startOn(t, ln, func(ctx context.Context, _, _ string) (net.Conn, error) {
		return d.DialContext(ctx, "tcp", ln.Addr().String())
	}, eng, cfg)
}

func startOn(t *testing.T, ln net.Listener, dial func(context.Context, string, string) (net.Conn, error), eng engine, cfg Config) *served {
	t.Helper()
	if cfg.KeepAlive == 0 {
		cfg.KeepAlive = time.Hour // or it would wake a stream that was forgotten
	}
	s, err := newServer(cfg, eng, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	return serving(t, ln, dial, s)
}

// serving has s serve until the test ends.
func serving(t *testing.T, ln net.Listener, dial func(context.Context, string, string) (net.Conn, error), s *Server) *served {
	t.Helper()
	h := &served{
		t: t, Server: s, ln: ln, ended: make(chan error, 1),
		client: &nethttp.Client{Transport: &nethttp.Transport{DialContext: dial, DisableCompression: true}},
	}
	go func() { h.ended <- s.Serve(ln) }()
	t.Cleanup(func() {
		h.client.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if err := <-h.ended; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return h
}

// response is one whose body is yet to be read.
type response struct {
	status int
	header nethttp.Header
	body   *bufio.Reader
	close  func() error
}

// do sends a request whose id is "t" and whose header lines are "Name: value".
func (h *served) do(method, path, body string, header ...string) *response {
	h.t.Helper()
	req, err := nethttp.NewRequest(method, "http://localhost"+path, strings.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	req.Header.Set("X-Request-Id", "t")
	req.Header.Set("Content-Type", "application/json")
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		req.Header.Set(name, value)
	}
	resp, err := h.client.Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { resp.Body.Close() })
	return &response{resp.StatusCode, resp.Header, bufio.NewReader(resp.Body), resp.Body.Close}
}

func (h *served) post(path, body string, header ...string) *response {
	h.t.Helper()
	return h.do("POST", path, body, header...)
}

// read is a response's status and body.
func (h *served) read(resp *response) (int, string) {
	h.t.Helper()
	body, err := io.ReadAll(resp.body)
	if err != nil {
		h.t.Fatal(err)
	}
	return resp.status, string(body)
}

// nextEvent reads one server-sent event's data.
func nextEvent(t *testing.T, r *bufio.Reader) string {
	t.Helper()
	var data []byte
	for {
		line, err := r.ReadBytes('\n')
		if err != nil {
			t.Fatalf("the stream broke off: %v", err)
		}
		line = bytes.TrimSuffix(line, []byte("\n"))
		switch {
		case len(line) == 0 && data != nil:
			return string(data)
		case bytes.HasPrefix(line, []byte("data: ")):
			data = append(data, line[6:]...)
		case len(line) == 0 || line[0] == ':':
		default:
			t.Fatalf("not a line of an event stream: %q", line)
		}
	}
}

// happens fails the test unless c is closed or gets a value.
func happens[T any](t *testing.T, what string, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(patience):
		t.Fatalf("%s did not happen", what)
	}
	return v
}

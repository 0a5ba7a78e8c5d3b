package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// fakeServer answers completions with as many events as asked, of k tokens
// each, and counts what was asked of it.
type fakeServer struct {
	*httptest.Server
	perEvent   int
	open, most atomic.Int64
	requests   atomic.Int64
	fail       atomic.Int64 // every so many requests; 0: none
}

func newFakeServer(t *testing.T, perEvent int) *fakeServer {
	f := &fakeServer{perEvent: perEvent}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/models", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"object":"list","data":[{"id":"fake"}]}`)
	})
	mux.HandleFunc("POST /v1/completions", f.complete)
	f.Server = httptest.NewServer(mux)
	t.Cleanup(f.Close)
	return f
}

func (f *fakeServer) complete(w http.ResponseWriter, r *http.Request) {
	now := f.open.Add(1)
	defer f.open.Add(-1)
	for most := f.most.Load(); now > most && !f.most.CompareAndSwap(most, now); most = f.most.Load() {
	}
	if n, every := f.requests.Add(1), f.fail.Load(); every > 0 && n%every == 0 {
		w.WriteHeader(http.StatusTooManyRequests)
		fmt.Fprint(w, `{"error":{"message":"too busy"}}`)
		return
	}
	var body completion
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil || !body.Stream || !body.IgnoreEOS || body.Model != "fake" {
		http.Error(w, "bad", http.StatusBadRequest)
		return
	}
	fmt.Fprint(w, ": hello\n\n")
	for left := body.MaxTokens; left > 0; left -= f.perEvent {
		fmt.Fprintf(w, "data: {\"choices\":[{\"text\":%q,\"finish_reason\":null}]}\n\n", strings.Repeat("x ", min(left, f.perEvent)))
	}
	fmt.Fprintf(w, "data: {\"choices\":[{\"text\":\"\",\"finish_reason\":\"length\"}]}\n\n")
	fmt.Fprintf(w, "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":%d,\"completion_tokens\":%d}}\n\ndata: [DONE]\n\n", len(body.Prompt), body.MaxTokens)
}

func TestOnlineCountsWhatTheServerSays(t *testing.T) {
	for _, perEvent := range []int{1, 3} {
		f := newFakeServer(t, perEvent)
		c := NewClient(f.URL, "", "", 64)
		defer c.Close()
		served, err := c.Served(t.Context())
		if err != nil || served != (Served{Name: "fake"}) {
			t.Fatalf("Served = %+v, %v", served, err)
		}
		c.Model = served.Name
		prompts := RandomPrompts(0, 20, Range{5, 30}, Range{2, 12}, 1000)
		in, out := 0, 0
		for _, p := range prompts {
			in, out = in+len(p.Tokens), out+p.MaxTokens
		}
		o := Online{Client: c, Arrivals: Paced(prompts, 1e6, true, 1), Total: progressOf(prompts), Warmup: 3, SLO: SLO{time.Hour, time.Hour}}
		r, err := o.Run(t.Context(), "test")
		if err != nil {
			t.Fatal(err)
		}
		if r.Requests != 20 || r.Failed != 0 || r.TotalInputTokens != in || r.TotalOutputTokens != out {
			t.Errorf("%d a event: report %+v, want %d tokens in, %d out", perEvent, r, in, out)
		}
		if *r.Online.Goodput != r.RequestThroughput || r.Online.OfferedRate == 0 {
			t.Errorf("goodput %v of %v, offered %v", *r.Online.Goodput, r.RequestThroughput, r.Online.OfferedRate)
		}
		o.SLO = SLO{1, 1} // ns, which none meets
		if r, err = o.Run(t.Context(), "test"); err != nil || r.Online.Goodput == nil || *r.Online.Goodput != 0 {
			t.Errorf("%v: where no request meets the SLO, goodput is 0, and told", err)
		}
		o.SLO = SLO{}
		if r, err = o.Run(t.Context(), "test"); err != nil || r.Online.Goodput != nil {
			t.Errorf("%v: without an SLO there is no goodput", err)
		}
	}
}

func TestOnlineKeepsItsConcurrency(t *testing.T) {
	f := newFakeServer(t, 1)
	c := NewClient(f.URL, "", "fake", 8)
	defer c.Close()
	prompts := RandomPrompts(0, 60, Range{5, 30}, Range{2, 12}, 1000)
	o := Online{Client: c, Arrivals: Paced(prompts, 1, false, 0), Concurrency: 4} // a minute, were times heeded
	r, err := o.Run(t.Context(), "test")
	if err != nil || r.Requests != 60 {
		t.Fatalf("%+v, %v", r, err)
	}
	if most := f.most.Load(); most > 4 {
		t.Errorf("%d requests were open at once, want at most 4", most)
	}
}

func TestOnlineReportsFailures(t *testing.T) {
	f := newFakeServer(t, 1)
	f.fail.Store(5)
	c := NewClient(f.URL, "", "fake", 8)
	defer c.Close()
	prompts := RandomPrompts(0, 20, Range{5, 30}, Range{2, 12}, 1000)
	r, err := (&Online{Client: c, Arrivals: Paced(prompts, 1e6, false, 0)}).Run(t.Context(), "test")
	if err != nil || r.Requests != 16 || r.Failed != 4 || !strings.Contains(r.Failure, "too busy") {
		t.Errorf("%+v, %v; want 16 requests and 4 failures", r, err)
	}
	f.fail.Store(1)
	if _, err = (&Online{Client: c, Arrivals: Paced(prompts, 1e6, false, 0)}).Run(t.Context(), "test"); err == nil || !strings.Contains(err.Error(), "too busy") {
		t.Errorf("all failed: %v, want the server's words", err)
	}
}

// What ended before an interruption is reported; what did not is in no figure.
func TestOnlineInterrupted(t *testing.T) {
	f := newFakeServer(t, 1)
	var came atomic.Int64
	f.Config.Handler = func(answer http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost && came.Add(1) > 1 {
				_, _ = io.Copy(io.Discard, r.Body) // or it would not be known when the client is gone
				<-r.Context().Done()
				return
			}
			answer.ServeHTTP(w, r)
		})
	}(f.Config.Handler)
	c := NewClient(f.URL, "", "fake", 8)
	defer c.Close()
	p := Prompt{Tokens: []int32{1}, MaxTokens: 3}
	ctx, cancel := context.WithCancel(t.Context())
	o := Online{
		Client: c, Arrivals: slices.Values([]Arrival{{0, p}, {time.Millisecond, p}, {time.Hour, p}}), Total: Progress{Requests: 3},
		Progress: func(p Progress) {
			if p.Done > 0 && p.Sent > 1 {
				cancel()
			}
		},
	}
	r, err := o.Run(ctx, "test")
	var stopped *Interrupted
	if !errors.As(err, &stopped) || !errors.Is(err, context.Canceled) || stopped.Done != 1 || stopped.Requests != 3 {
		t.Fatalf("error %v", err)
	}
	if r == nil || r.Requests != 1 || r.Failed != 0 || r.Unfinished != 2 || r.TotalOutputTokens != 3 || r.Online.OfferedRate > 2500 || r.Online.OfferedRate < 1 {
		t.Errorf("%+v, %+v", r, r.Online)
	}
	if r, err := o.Run(ctx, "test"); r != nil || !errors.As(err, &stopped) {
		t.Errorf("of nothing that ended there is a report %+v, %v", r, err)
	}
}

func TestEventsThatEndEarlyAreErrors(t *testing.T) {
	for name, body := range map[string]string{
		"cut off":   "data: {\"choices\":[]}\n\n",
		"not JSON":  "data: x\n\ndata: [DONE]\n\n",
		"an error":  "data: {\"error\":{\"message\":\"out of memory\"}}\n\n",
		"no reason": "data: {\"choices\":[{\"text\":\"a\",\"finish_reason\":null}]}\n\ndata: [DONE]\n\n",
	} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) }))
		c := NewClient(srv.URL, "", "m", 1)
		var tm timing
		c.generate(t.Context(), &Prompt{Tokens: []int32{1}, MaxTokens: 1}, 0, 0, &tm, func(int) {})
		if tm.err == nil {
			t.Errorf("%s: no error", name)
		}
		c.Close()
		srv.Close()
	}
}

func TestLongEventsAreReadWhole(t *testing.T) {
	long := strings.Repeat("y", 100_000)
	var got []string
	err := EachEvent(strings.NewReader("data: "+long+"\n\ndata: z\n\ndata: [DONE]\n\n"), func(_ time.Time, data []byte) error {
		got = append(got, string(data))
		return nil
	})
	if err != nil || !slices.Equal(got, []string{long, "z"}) {
		t.Errorf("%d events, %v", len(got), err)
	}
}

func TestSpreadSharesGaps(t *testing.T) {
	tm := timing{tokens: 7, between: []time.Duration{30, 60}} // 3 events
	tm.spread()
	var sum time.Duration
	for _, d := range tm.between {
		sum += d
	}
	if len(tm.between) != 6 || sum != 90 {
		t.Errorf("%v: want 6 gaps that add up to 90", tm.between)
	}
}

func TestTokenIDsOfAnEvent(t *testing.T) {
	for data, want := range map[string]int{
		`{"choices":[{"text":"a","token_ids":[5,6,7]}]}`:      3,
		`{"choices":[{"text":"","token_ids":[5]}]}`:           1,
		`{"choices":[{"text":"","token_ids":[]}]}`:            0,
		`{"choices":[{"text":"a"}]}`:                          -1,
		`{"prompt_token_ids":[1,2],"choices":[{"text":"a"}]}`: -1,
	} {
		if got := tokenIDs([]byte(data)); got != want {
			t.Errorf("%s: %d, want %d", data, got, want)
		}
	}
}

func TestPacedGapsHaveTheirMean(t *testing.T) {
	prompts := make([]Prompt, 4000)
	for _, poisson := range []bool{false, true} {
		var last time.Duration
		n := 0
		for a := range Paced(prompts, 50, poisson, 3) {
			if a.At < last {
				t.Fatalf("arrival %d goes back in time", n)
			}
			last, n = a.At, n+1
		}
		if rate := float64(n-1) / last.Seconds(); rate < 47 || rate > 53 {
			t.Errorf("poisson %v: %v requests/s, want 50", poisson, rate)
		}
	}
}

func FuzzEachEvent(f *testing.F) {
	f.Add([]byte("data: {}\n\ndata: [DONE]\n\n"))
	f.Add([]byte(": c\r\ndata:x\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		_ = EachEvent(bytes.NewReader(b), func(_ time.Time, data []byte) error {
			if bytes.ContainsAny(data, "\n") {
				t.Errorf("an event holds a line break: %q", data)
			}
			return nil
		})
	})
}

// Chats, as servers stream them: the events that hold a token are counted, and
// no others.
func TestChatEvents(t *testing.T) {
	for name, c := range map[string]struct {
		events []string
		tokens int
		input  int
	}{
		"OpenAI's: the role comes first, usage last": {[]string{
			`{"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}`,
			`{"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]}`,
			`{"choices":[{"index":0,"delta":{"content":"b"},"finish_reason":null}]}`,
			`{"choices":[{"index":0,"delta":{},"finish_reason":"length"}]}`,
			`{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":3}}`,
		}, 3, 9},
		"Mini-SGLang's: the role with the first token, some tokens without a text, no usage": {[]string{
			`{"choices": [{"delta": {"role": "assistant", "content": "a"}, "index": 0, "finish_reason": null}]}`,
			`{"choices": [{"delta": {}, "index": 0, "finish_reason": null}]}`,
			`{"choices": [{"delta": {"content": "b"}, "index": 0, "finish_reason": null}]}`,
			`{"choices": [{"delta": {}, "index": 0, "finish_reason": "stop"}]}`,
		}, 3, 0},
		"a reasoning model's": {[]string{
			`{"choices":[{"delta":{"role":"assistant","content":null,"reasoning_content":"hm"},"finish_reason":null}]}`,
			`{"choices":[{"delta":{"role":null,"content":"b"},"finish_reason":null}]}`,
			`{"choices":[{"delta":{"content":"c"},"finish_reason":"stop"}]}`,
		}, 3, 0},
		"ours: several in one event": {[]string{
			`{"choices":[{"delta":{"role":"assistant","content":""},"finish_reason":null}]}`,
			`{"choices":[{"delta":{"content":"ab"},"token_ids":[1,2],"finish_reason":null}]}`,
			`{"choices":[{"delta":{"content":"c"},"token_ids":[3],"finish_reason":"length"}]}`,
		}, 3, 0},
	} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			var body completion
			if err := json.NewDecoder(r.Body).Decode(&body); err != nil || r.URL.Path != "/v1/chat/completions" ||
				len(body.Messages) != 1 || body.Messages[0] != (message{"user", "hello"}) || body.Prompt != nil || body.IgnoreEOS {
				t.Errorf("%s %+v, %v", r.URL.Path, body, err)
			}
			for _, e := range c.events {
				fmt.Fprintf(w, "data: %s\n\n", e)
			}
			fmt.Fprint(w, "data: [DONE]\n\n")
		}))
		client := NewClient(srv.URL, "", "m", 1)
		client.KeepEOS = true
		var tm timing
		got := 0
		client.generate(t.Context(), &Prompt{Text: "hello", MaxTokens: 3}, 0, 0, &tm, func(n int) { got += n })
		if tm.err != nil || tm.tokens != c.tokens || tm.input != c.input || len(tm.between) != c.tokens-1 {
			t.Errorf("%s: %d tokens, %d gaps, %d in, %v", name, tm.tokens, len(tm.between), tm.input, tm.err)
		}
		if want := c.tokens; got != want && c.input == 0 {
			t.Errorf("%s: heard of %d tokens, want %d", name, got, want)
		}
		client.Close()
		srv.Close()
	}
}

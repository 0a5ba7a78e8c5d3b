package bench

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// What servers say went wrong is told, in whichever of their ways.
func TestComplaint(t *testing.T) {
	for data, want := range map[string]string{
		`{"error":{"message":"too long","type":"invalid_request_error"}}`:          "too long",
		`{"object":"error","message":"maximum context length is 2048","code":400}`: "maximum context length is 2048",
		`{"error":"model not found"}`:                                              "model not found",
		`{"detail":"Not Found"}`:                                                   "Not Found",
		`{"detail":[{"loc":["body","prompt"],"msg":"str type expected"}]}`:         `[{"loc":["body","prompt"],"msg":"str type expected"}]`,
		"Internal Server Error\n":                                                  "Internal Server Error",
		"<html>":                                                                   "", "\xff\xfe": "", "": "", "null": "", "{}": "", `{"error":null}`: "", `{"choices":[]}`: "",
	} {
		if got := Complaint([]byte(data)); got != want {
			t.Errorf("%s: %q, want %q", data, got, want)
		}
	}
	if got := Complaint([]byte(strings.Repeat("ä", 1000))); len(got) > 300 {
		t.Errorf("a complaint of %d bytes is told whole", len(got))
	}
}

// answering is a server whose completions are always the same.
func answering(t *testing.T, status int, body string) *Client {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}))
	c := NewClient(server.URL, "", "m", 4)
	t.Cleanup(func() { c.Close(); server.Close() })
	return c
}

func generate(t *testing.T, c *Client, maxTokens int) *timing {
	t.Helper()
	tm := new(timing)
	c.generate(t.Context(), &Prompt{Tokens: []int32{1}, MaxTokens: maxTokens}, 0, 0, tm, func(int) {})
	return tm
}

func TestErrorsAreTheServersOwn(t *testing.T) {
	for _, c := range []struct {
		status     int
		body, want string
	}{
		{400, `{"object":"error","message":"too long","code":400}`, "too long (status 400)"},
		{400, `{"error":{"message":"Unrecognized request argument supplied: ignore_eos"}}`, "--plain"},
		{404, `{"detail":"Not Found"}`, "--api chat"},
		{404, `{"error":{"message":"The model m does not exist."}}`, "The model m does not exist. (status 404)"},
		{502, `<html>`, "502 Bad Gateway"},
		{200, "data: {\"error\":\"engine died\"}\n\n", "engine died"},
		{200, "data: {\"object\":\"error\",\"message\":\"engine died\",\"code\":500}\n\ndata: [DONE]\n\n", "engine died"},
	} {
		if tm := generate(t, answering(t, c.status, c.body), 1); tm.err == nil || !strings.Contains(tm.err.Error(), c.want) {
			t.Errorf("%d, %s: %v, want %q in it", c.status, c.body, tm.err, c.want)
		}
	}
}

const (
	oneToken = "data: {\"choices\":[{\"text\":\"a\",\"finish_reason\":null}]}\n\n"
	itsEnd   = "data: {\"choices\":[{\"text\":\"\",\"finish_reason\":\"stop\"}]}\n\n"
)

func TestRepliesThatDeviate(t *testing.T) {
	for name, c := range map[string]struct {
		body   string
		tokens int
		told   bool
	}{
		"no usage":                 {oneToken + oneToken + itsEnd + "data: [DONE]\n\n", 2, false},
		"usage":                    {oneToken + itsEnd + "data: {\"choices\":[],\"usage\":{\"completion_tokens\":3}}\n\ndata: [DONE]\n\n", 3, true},
		"token ids":                {"data: {\"choices\":[{\"text\":\"a\",\"finish_reason\":\"stop\",\"token_ids\":[1,2]}]}\n\ndata: [DONE]\n\n", 2, true},
		"no [DONE]":                {oneToken + itsEnd, 1, false},
		"no token":                 {itsEnd + "data: [DONE]\n\n", 0, false},
		"an error that is not one": {strings.ReplaceAll(oneToken, "}]}", "}],\"error\":null}") + itsEnd, 1, false},
	} {
		tm := generate(t, answering(t, 200, c.body), 9)
		if tm.err != nil || tm.tokens != c.tokens || tm.told != c.told || tm.first <= 0 || tm.first > tm.last {
			t.Errorf("%s: %d tokens, told %v, first after %v, last after %v: %v", name, tm.tokens, tm.told, tm.first, tm.last, tm.err)
		}
	}
}

// A report says when replies were shorter than asked for, and when tokens could
// only be counted by events.
func TestShortRepliesAreTold(t *testing.T) {
	c := answering(t, 200, oneToken+oneToken+itsEnd+"data: [DONE]\n\n")
	prompts := []Prompt{{Tokens: []int32{1}, MaxTokens: 2}, {Tokens: []int32{1}, MaxTokens: 3}}
	r, err := (&Online{Client: c, Arrivals: Paced(prompts, 1e6, false, 0)}).Run(t.Context(), "test")
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := r.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	if r.Short != 1 || r.Online.CountedBy != ByEvents || !strings.Contains(b.String(), "1 replies have fewer tokens") || !strings.Contains(b.String(), "counted by events") {
		t.Errorf("%d short, counted by %s:\n%s", r.Short, r.Online.CountedBy, b.String())
	}
}

// A plain client's requests hold nothing but what OpenAI knows.
func TestPlainRequests(t *testing.T) {
	bodies := make(chan string, 2)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b := new(strings.Builder)
		_ = r.Write(b)
		bodies <- b.String()
	}))
	defer server.Close()
	c := NewClient(server.URL, "", "m", 4)
	defer c.Close()
	for _, c.Plain = range []bool{false, true} {
		generate(t, c, 1)
		body := <-bodies
		for _, field := range []string{"ignore_eos", "return_token_ids"} {
			if strings.Contains(body, field) == c.Plain {
				t.Errorf("plain %v: %s", c.Plain, body)
			}
		}
	}
}

// One request after the other takes one connection, also when the body's end
// comes after [DONE].
func TestConnectionsAreUsedAgain(t *testing.T) {
	var opened atomic.Int64
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, oneToken, itsEnd, "data: [DONE]\n\n")
		_ = http.NewResponseController(w).Flush() // the end is a packet of its own
	}))
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			opened.Add(1)
		}
	}
	server.Start()
	defer server.Close()
	c := NewClient(server.URL, "", "m", 4)
	defer c.Close()
	for range 50 {
		if tm := generate(t, c, 1); tm.err != nil {
			t.Fatal(tm.err)
		}
	}
	if n := opened.Load(); n != 1 {
		t.Errorf("50 requests, one after the other, took %d connections", n)
	}
}

// A server that does not answer is not waited for for ever.
func TestPatienceEnds(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer server.Close()
	c := NewClient(server.URL, "", "m", 4)
	defer c.Close()
	c.patience, c.pollPatience = time.Millisecond, time.Millisecond
	if _, err := c.Served(t.Context()); err == nil || !strings.Contains(err.Error(), "/models: no answer in 1ms") {
		t.Errorf("%v: want it to say how long it waited for what", err)
	}
	if p := c.poll(t.Context()); p != nil {
		t.Error("a server that does not answer tells how it stands")
	}
}

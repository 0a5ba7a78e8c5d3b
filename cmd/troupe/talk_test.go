package main

import (
	"encoding/json"
	"fmt"
	nethttp "net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/troupe-llm/troupe/gpu/model/modeltest"
)

// parrot is a server that repeats what it was asked last, a word an event, and
// remembers the requests.
type parrot struct {
	*httptest.Server
	asked []map[string]any
}

func newParrot(t *testing.T) *parrot {
	p := &parrot{}
	mux := nethttp.NewServeMux()
	mux.HandleFunc("GET /v1/models", func(w nethttp.ResponseWriter, _ *nethttp.Request) {
		fmt.Fprint(w, `{"data":[{"id":"polly"}]}`)
	})
	answer := func(w nethttp.ResponseWriter, r *nethttp.Request) {
		var request map[string]any
		if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
			t.Error(err)
		}
		p.asked = append(p.asked, request)
		text, chat := request["prompt"], false
		if messages, is := request["messages"].([]any); is {
			text, chat = messages[len(messages)-1].(map[string]any)["content"], true
		}
		if text == "fail" {
			w.WriteHeader(nethttp.StatusBadRequest)
			fmt.Fprint(w, `{"error":{"message":"no such words"}}`)
			return
		}
		fmt.Fprint(w, ": a comment\n\n")
		for _, word := range strings.SplitAfter(text.(string), " ") {
			quoted, _ := json.Marshal(word)
			switch {
			case word == "hm ":
				fmt.Fprintf(w, "data: {\"choices\":[{\"delta\":{\"reasoning_content\":%s}}]}\n\n", quoted)
			case chat:
				fmt.Fprintf(w, "data: {\"choices\":[{\"delta\":{\"content\":%s}}]}\n\n", quoted)
			default:
				fmt.Fprintf(w, "data: {\"choices\":[{\"text\":%s}]}\n\n", quoted)
			}
		}
		switch text {
		case "cut":
			return
		case "interrupt":
			w.(nethttp.Flusher).Flush()
			if err := interruptSelf(); err != nil {
				t.Error(err)
			}
			<-r.Context().Done() // the client has gone
			return
		}
		fmt.Fprint(w, "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n")
		fmt.Fprint(w, "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}\n\ndata: [DONE]\n\n")
	}
	mux.HandleFunc("POST /v1/chat/completions", answer)
	mux.HandleFunc("POST /v1/completions", answer)
	p.Server = httptest.NewServer(mux)
	t.Cleanup(p.Close)
	return p
}

// said lists the contents of a request's messages.
func said(request map[string]any) (all []string) {
	for _, m := range request["messages"].([]any) {
		m := m.(map[string]any)
		all = append(all, fmt.Sprintf("%s: %s", m["role"], m["content"]))
	}
	return all
}

func TestCompleteAsksAServer(t *testing.T) {
	p := newParrot(t)
	status, stdout, stderr := invoke(t, "", "complete", "--url", p.URL, "--system", "be brief", "-t", "0", "--max-tokens", "5", "two", "words")
	if status != 0 || stdout != "two words\n" || stderr != "" {
		t.Errorf("status %d, %q, %q", status, stdout, stderr)
	}
	if got, want := said(p.asked[0]), []string{"system: be brief", "user: two words"}; !reflect.DeepEqual(got, want) {
		t.Errorf("said %q, want %q", got, want)
	}
	delete(p.asked[0], "messages")
	want := map[string]any{
		"model": "polly", "stream": true, "temperature": 0.0, "max_tokens": 5.0,
		"stream_options": map[string]any{"include_usage": true},
	}
	if !reflect.DeepEqual(p.asked[0], want) {
		t.Errorf("asked %v, want %v", p.asked[0], want)
	}
}

func TestCompleteFromStandardInput(t *testing.T) {
	p := newParrot(t)
	status, stdout, _ := invoke(t, "line one\nline two\n", "complete", "--url", p.URL+"/v1/", "--raw")
	if status != 0 || stdout != "line one\nline two\n" || p.asked[0]["prompt"] != "line one\nline two\n" {
		t.Errorf("status %d, %q; asked %v", status, stdout, p.asked[0])
	}
	status, stdout, _ = invoke(t, "x y", "complete", "--url", p.URL, "--json")
	var reply Reply
	if err := json.Unmarshal([]byte(stdout), &reply); err != nil || status != 0 {
		t.Fatalf("status %d, %q: %v", status, stdout, err)
	}
	if want := (Reply{Text: "x y", FinishReason: "stop", Usage: Usage{3, 4}}); reply != want {
		t.Errorf("reply %+v, want %+v", reply, want)
	}
}

// Arguments and what is piped in are one prompt.
func TestCompleteJoinsArgumentsAndInput(t *testing.T) {
	p := newParrot(t)
	for _, c := range []struct{ args, in, want string }{
		{"sum up:", "a diff\n", "sum up:\n\na diff"},
		{"sum up:", "", "sum up:"},
		{"", " a diff \n", "a diff"},
	} {
		args := []string{"complete", "--url", p.URL}
		if c.args != "" {
			args = append(args, c.args)
		}
		if status, _, stderr := invoke(t, c.in, args...); status != 0 {
			t.Fatal(stderr)
		}
		if all := said(p.asked[len(p.asked)-1]); all[0] != "user: "+c.want {
			t.Errorf("%q and %q: %q, want %q", c.args, c.in, all[0], c.want)
		}
	}
}

// Only what is meant to be read is waited for.
func TestPiped(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if !piped(r) || piped(null) {
		t.Errorf("a pipe: %v, nothing: %v", piped(r), piped(null))
	}
}

func TestCompleteReportsFailures(t *testing.T) {
	p := newParrot(t)
	for prompt, want := range map[string]string{
		"fail": "no such words (status 400)",
		"cut":  "the connection ended before the reply did",
	} {
		if status, _, stderr := invoke(t, "", "complete", "--url", p.URL, prompt); status != 1 || !strings.Contains(stderr, want) {
			t.Errorf("%s: status %d, %q; want 1 and %q", prompt, status, stderr, want)
		}
	}
}

func TestChat(t *testing.T) {
	p := newParrot(t)
	input := `first
second \
goes on
"""
many

lines"""
/set temperature 0.5
/set temprature 1
/set top-p 7
/system new rules
third
/clear
fourth
/system -
fifth
/help
/hlep
/exit
never
`
	status, stdout, stderr := invoke(t, input, "chat", "--url", p.URL, "--system", "old rules")
	if status != 0 || stderr != "" {
		t.Fatalf("status %d, %q", status, stderr)
	}
	want := [][]string{
		{"system: old rules", "user: first"},
		{"system: old rules", "user: first", "assistant: first", "user: second \ngoes on"},
		{"system: old rules", "user: first", "assistant: first", "user: second \ngoes on", "assistant: second \ngoes on", "user: many\n\nlines"},
		{"system: new rules", "user: third"},
		{"system: new rules", "user: fourth"},
		{"user: fifth"},
	}
	if len(p.asked) != len(want) {
		t.Fatalf("%d replies asked for, want %d", len(p.asked), len(want))
	}
	for i, request := range p.asked {
		if got := said(request); !reflect.DeepEqual(got, want[i]) {
			t.Errorf("request %d said %q, want %q", i, got, want[i])
		}
	}
	if _, given := p.asked[2]["temperature"]; given || p.asked[3]["temperature"] != 0.5 {
		t.Errorf("temperature was %v before /set, %v after", p.asked[2]["temperature"], p.asked[3]["temperature"])
	}
	for _, text := range []string{
		"many\n\nlines\n", "no setting temprature: did you mean temperature?", "top-p is 7; it must be from 0 to 1",
		"/history", "no command /hlep: did you mean /help?",
	} {
		if !strings.Contains(stdout, text) {
			t.Errorf("no %q in what it said:\n%s", text, stdout)
		}
	}
}

// People see reasoning, dimmed, and what Markdown means; pipes get the text.
func TestChatShowsReasoningAndMarkdown(t *testing.T) {
	p := newParrot(t)
	c, err := reach(t.Context(), &Remote{URL: p.URL})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		terminal, styled bool
		want             string
	}{
		{true, true, "[f]hm hm[]\n\n[b]yes[] it is\n"},
		{true, false, "[f]hm hm[]\n\n**yes** it is\n"},
		{false, false, "**yes** it is\n"},
	} {
		var out strings.Builder
		s := &session{client: c, sampling: &Sampling{}, out: &out, terminal: tc.terminal, styled: tc.styled} // of no known width
		if err := s.say(t.Context(), "hm hm **yes** it is"); err != nil {
			t.Fatal(err)
		}
		got := strings.ReplaceAll(shown.Replace(out.String()), dim, "[f]")
		got, figures, _ := strings.Cut(got, "is\n")
		if got += "is\n"; got != tc.want || strings.Contains(figures, "4 tokens") != tc.terminal {
			t.Errorf("%+v: got %q and %q", tc, got, figures)
		}
		if last := s.messages[len(s.messages)-1]; last.Content != "**yes** it is" {
			t.Errorf("the reply is remembered as %q", last.Content)
		}
	}
}

// Ctrl-C ends a reply, not the conversation.
func TestChatInterrupted(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a process cannot interrupt itself on Windows")
	}
	p := newParrot(t)
	if status, _, stderr := invoke(t, "interrupt\nand then\n", "chat", "--url", p.URL); status != 0 || stderr != "" {
		t.Fatalf("status %d, %q", status, stderr)
	}
	if len(p.asked) != 2 {
		t.Fatalf("%d replies asked for, want 2", len(p.asked))
	}
	// Whether the one word came before the signal is chance.
	if got, want := said(p.asked[1]), "user: and then"; got[len(got)-1] != want {
		t.Errorf("it went on with %q, want %q last", got, want)
	}
}

func interruptSelf() error {
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		return err
	}
	return self.Signal(os.Interrupt)
}

// The same path without a network: a model in this process.
func TestCompleteInProcess(t *testing.T) {
	dir := modeltest.Get(t, "qwen3").Dir
	ask := func() string {
		status, stdout, stderr := invoke(t, "", "complete", "--model", dir, "--device", "cpu", "--seed", "3", "-n", "8", "--json", "hello")
		if status != 0 || stderr != "" {
			t.Fatalf("status %d, %q", status, stderr)
		}
		return stdout
	}
	var reply Reply
	first := ask()
	if err := json.Unmarshal([]byte(first), &reply); err != nil {
		t.Fatal(err)
	}
	if n := reply.Usage.CompletionTokens; n < 1 || n > 8 || reply.FinishReason == "" || reply.Usage.PromptTokens == 0 {
		t.Errorf("reply %+v", reply)
	}
	if second := ask(); second != first {
		t.Errorf("the same seed gave %s and then %s", first, second)
	}
}

package clienttest

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/packages/param"
)

// The conversations of suite.json are had by several clients: here by Go's, in
// suite.py and suite.mjs by others. Each one is had whole and streamed, and
// both must come to the same.

// conversation is one case.
type conversation struct {
	Name     string
	Key      string           // API key, when it is not the server's
	Messages []map[string]any // what has been said
	Repeat   int              // how often the first message's text is said
	Then     []string         // what is said after each reply
	Request  map[string]any   // beside the defaults
	Want     want
}

// want is what must hold of the last reply.
type want struct {
	Choices int               // how many; 1 when not given
	Finish  []string          // one of these reasons
	Tokens  int               // exactly so many, when given
	Matches string            // a regular expression, in each choice's text
	JSON    map[string]string `json:"json"` // the text is an object with members of these types; none: any
	// Call is the tool that is called; when not given, none may be.
	Call *struct {
		Name      string
		Arguments map[string]string
	}
	Logprobs int // of each token, with so many of the likeliest, itself the first
	Error    map[string]any
}

// answer is what clients must agree about.
type answer struct {
	Choices []said
	Usage   [2]int64 // of the prompt, of the reply
}

type said struct {
	Content, Finish string
	Calls           []called
	Logprobs        []likelihood
}

type called struct {
	Name      string
	Arguments any
}

type likelihood struct {
	Token   string
	Logprob float64
	Top     []likelihood
}

func TestSuite(t *testing.T) {
	text, err := os.ReadFile("suite.json")
	if err != nil {
		t.Fatal(err)
	}
	var suite struct {
		Defaults map[string]any
		Cases    []conversation
	}
	if err := json.Unmarshal(text, &suite); err != nil {
		t.Fatal(err)
	}
	for _, c := range suite.Cases {
		t.Run(c.Name, func(t *testing.T) { c.have(t, suite.Defaults) })
	}
}

func (c *conversation) have(t *testing.T, defaults map[string]any) {
	from := client
	if c.Key != "" {
		from = wrong
	}
	if c.Repeat > 0 {
		c.Messages[0]["content"] = strings.Repeat(c.Messages[0]["content"].(string), c.Repeat)
	}
	if c.Want.Error != nil {
		_, err := from.Chat.Completions.New(t.Context(), c.params(t, defaults))
		c.Want.refusal(t, err)
		s := from.Chat.Completions.NewStreaming(t.Context(), c.params(t, defaults))
		defer s.Close()
		if s.Next() {
			t.Error("a chunk came")
		}
		c.Want.refusal(t, s.Err())
		return
	}
	for _, text := range c.Then {
		reply := c.whole(t, defaults).Choices[0].Content
		c.Messages = append(c.Messages, map[string]any{"role": "assistant", "content": reply}, map[string]any{"role": "user", "content": text})
	}
	whole := c.whole(t, defaults)
	c.Want.check(t, &whole)
	streamed := c.stream(t, defaults)
	if c.Want.Call != nil { // which ends a reply: a token more may have been on its way
		streamed.Usage = whole.Usage
	}
	if !reflect.DeepEqual(streamed, whole) {
		t.Errorf("streamed %+v\nwhole    %+v", streamed, whole)
	}
}

// params is the request as the client's own type.
func (c *conversation) params(t *testing.T, defaults map[string]any) openai.ChatCompletionNewParams {
	t.Helper()
	body := map[string]any{"model": served(), "messages": c.Messages}
	for _, more := range []map[string]any{defaults, c.Request} {
		for name, value := range more {
			body[name] = value
		}
	}
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	return param.Override[openai.ChatCompletionNewParams](json.RawMessage(text))
}

func (c *conversation) whole(t *testing.T, defaults map[string]any) (a answer) {
	t.Helper()
	got, err := client.Chat.Completions.New(t.Context(), c.params(t, defaults))
	if err != nil {
		t.Fatal(err)
	}
	return answerOf(t, got.Choices, got.Usage)
}

func (c *conversation) stream(t *testing.T, defaults map[string]any) (a answer) {
	t.Helper()
	request := map[string]any{"stream": true, "stream_options": map[string]any{"include_usage": true}}
	for name, value := range c.Request {
		request[name] = value
	}
	streamed := *c
	streamed.Request = request
	got, chunks := stream(t, streamed.params(t, defaults))
	if chunks < 3 {
		t.Errorf("only %d chunks", chunks)
	}
	return answerOf(t, got.Choices, got.Usage)
}

func answerOf(t *testing.T, choices []openai.ChatCompletionChoice, u openai.CompletionUsage) answer {
	t.Helper()
	a := answer{Usage: [2]int64{u.PromptTokens, u.CompletionTokens}}
	for _, c := range choices {
		s := said{Content: c.Message.Content, Finish: c.FinishReason}
		for _, call := range c.Message.ToolCalls {
			var arguments any
			if err := json.Unmarshal([]byte(call.Function.Arguments), &arguments); err != nil {
				t.Errorf("arguments %q: %v", call.Function.Arguments, err)
			}
			s.Calls = append(s.Calls, called{call.Function.Name, arguments})
		}
		for _, tok := range c.Logprobs.Content {
			l := likelihood{Token: tok.Token, Logprob: tok.Logprob}
			for _, other := range tok.TopLogprobs {
				l.Top = append(l.Top, likelihood{Token: other.Token, Logprob: other.Logprob})
			}
			s.Logprobs = append(s.Logprobs, l)
		}
		a.Choices = append(a.Choices, s)
	}
	return a
}

func (w *want) check(t *testing.T, a *answer) {
	t.Helper()
	if n := max(w.Choices, 1); len(a.Choices) != n {
		t.Errorf("%d choices, want %d", len(a.Choices), n)
	}
	if a.Usage[0] < 1 || a.Usage[1] < 1 || w.Tokens > 0 && a.Usage[1] != int64(w.Tokens) {
		t.Errorf("usage %d, want %d tokens", a.Usage, w.Tokens)
	}
	for i := range a.Choices {
		w.checkChoice(t, &a.Choices[i])
	}
}

func (w *want) checkChoice(t *testing.T, s *said) {
	t.Helper()
	if !slices.Contains(w.Finish, s.Finish) {
		t.Errorf("it finished with %q, want %q", s.Finish, w.Finish)
	}
	if !regexp.MustCompile(w.Matches).MatchString(s.Content) {
		t.Errorf("%q does not match %q", s.Content, w.Matches)
	}
	if w.JSON != nil {
		var v any
		if err := json.Unmarshal([]byte(s.Content), &v); err != nil {
			t.Errorf("%q: %v", s.Content, err)
		} else if !hasTypes(v, w.JSON) {
			t.Errorf("%s has other members than %v", s.Content, w.JSON)
		}
	}
	if len(s.Calls) > 0 != (w.Call != nil) {
		t.Errorf("it calls %v", s.Calls)
	}
	for _, call := range s.Calls {
		if w.Call != nil && (call.Name != w.Call.Name || !hasTypes(call.Arguments, w.Call.Arguments)) {
			t.Errorf("it calls %s with %v", call.Name, call.Arguments)
		}
	}
	if len(s.Logprobs) > 0 != (w.Logprobs > 0) {
		t.Errorf("log-probabilities of %d tokens", len(s.Logprobs))
	}
	for _, l := range s.Logprobs {
		if l.Logprob > 0 || len(l.Top) != w.Logprobs || l.Top[0].Token != l.Token || l.Top[1].Logprob > l.Top[0].Logprob {
			t.Errorf("log-probability %+v", l)
		}
	}
}

// hasTypes reports whether v is an object with members of just these types.
func hasTypes(v any, types map[string]string) bool {
	object, is := v.(map[string]any)
	if !is || len(types) > 0 && len(types) != len(object) {
		return false
	}
	kinds := map[string]reflect.Kind{"string": reflect.String, "number": reflect.Float64, "boolean": reflect.Bool, "array": reflect.Slice}
	for name, kind := range types {
		if reflect.ValueOf(object[name]).Kind() != kinds[kind] {
			return false
		}
	}
	return true
}

// refusal checks the error that a request ended with.
func (w *want) refusal(t *testing.T, err error) {
	t.Helper()
	var e *openai.Error
	if !errors.As(err, &e) {
		t.Errorf("it ended with %v, want an error of the API", err)
		return
	}
	got := map[string]any{"status": float64(e.StatusCode), "param": e.Param, "code": e.Code, "type": e.Type}
	for name, value := range w.Error {
		if got[name] != value {
			t.Errorf("%s is %v, want %v", name, got[name], value)
		}
	}
	if e.Message == "" {
		t.Error("no message: " + fmt.Sprint(e))
	}
}

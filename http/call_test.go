package http

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"strings"
	"testing"

	"github.com/troupe-llm/troupe/actors"
	"github.com/troupe-llm/troupe/gpu/batch"
	"github.com/troupe-llm/troupe/http/internal/dialect"
	"github.com/troupe-llm/troupe/http/internal/dialect/chat"
	"github.com/troupe-llm/troupe/http/internal/dialect/draft"
	"github.com/troupe-llm/troupe/http/internal/dialect/jsonenc"
	"github.com/troupe-llm/troupe/http/internal/dialect/model"
	"github.com/troupe-llm/troupe/http/internal/dialect/openai"
	"github.com/troupe-llm/troupe/http/internal/dialect/text"
)

// ask sends one request and returns what the engine was asked for.
func ask(t *testing.T, eng *fakeEngine, path, body string) []*actors.Request {
	t.Helper()
	eng.submit = func(int, *actors.Request) (*fakeStream, error) {
		return newFakeStream(started("a"), ends("stop", 1, 0)), nil
	}
	h := start(t, eng, Config{})
	if status, answer := h.read(h.post(path, body)); status != 200 {
		t.Fatalf("%s: %d %s", body, status, answer)
	}
	return eng.requests
}

// TestFields sets every field and looks for it in the engine's request.
func TestFields(t *testing.T) {
	got := ask(t, engineOf(nil), "/v1/completions", `{"model":"fake","prompt":"hello","max_tokens":7.0,"min_tokens":2,"ignore_eos":true,
		"stop":["x","y"],"stop_token_ids":[3,4],"include_stop_str_in_output":true,"skip_special_tokens":false,"add_special_tokens":false,
		"temperature":0.5,"top_p":0.25,"top_k":40,"min_p":0.125,"seed":-1,"presence_penalty":1,"frequency_penalty":-1,"repetition_penalty":1.5,
		"logit_bias":{"9":1.5,"2":-100},"logprobs":3,"priority":-2,"speculative":"ngram","user":"u","metadata":{"a":"b"},"best_of":1,"suffix":null,"n":1,
		"response_format":{"type":"text"}}`)[0]
	want := actors.Request{
		ID: "cmpl-t", Client: "local", Text: "hello", NoSpecial: true, MaxTokens: 7, MinTokens: 2, IgnoreEOS: true,
		Stop: []string{"x", "y"}, StopTokens: []int32{3, 4}, IncludeStop: true, KeepSpecial: true, Priority: -2, Speculative: actors.NGram,
		Sampling: &batch.Sampling{
			Temperature: 0.5, TopP: 0.25, TopK: 40, MinP: 0.125, Seed: 1<<64 - 1, Presence: 1, Frequency: -1, Repetition: 1.5,
			Bias: []batch.TokenBias{{Token: 2, Bias: -100}, {Token: 9, Bias: 1.5}}, Logprobs: 4,
		},
	}
	if !reflect.DeepEqual(*got, want) {
		t.Errorf("got  %+v\nwant %+v", *got, want)
	}
}

// TestDefaults come from the engine (see actors.System.Defaults).
func TestDefaults(t *testing.T) {
	text := ask(t, engineOf(nil), "/v1/completions", `{"prompt":"a"}`)[0]
	if text.MaxTokens != 16 || text.Sampling.Temperature != 1 || text.Sampling.Seed == 0 {
		t.Errorf("a text completion got %+v", text)
	}
	eng := engineOf(nil)
	eng.info.sampling = batch.Sampling{Temperature: 0.6, TopK: 20, TopP: 0.95}
	chat := ask(t, eng, "/v1/chat/completions", `{"messages":[{"role":"user","content":"a"}],"top_p":0,"max_tokens":null}`)[0]
	want := batch.Sampling{Temperature: 0.6, TopK: 20, TopP: draft.LeastTopP, Seed: chat.Sampling.Seed}
	if chat.MaxTokens != 0 || !reflect.DeepEqual(*chat.Sampling, want) || !chat.Chat.AddGenerationPrompt {
		t.Errorf("a chat got %+v", chat)
	}
}

// TestPromptShapes reads the four shapes, and lays choices out by prompt.
func TestPromptShapes(t *testing.T) {
	for body, want := range map[string]string{
		`{"prompt":"a","seed":1}`:                       "a[]1",
		`{"prompt":[97, 98],"seed":1}`:                  "[97 98]1",
		`{"prompt":["a","b"],"n":2,"seed":1}`:           "a[]1 a[]2 b[]1 b[]2",
		`{"prompt":[ [97],[98, 99] ],"seed":1}`:         "[97]1 [98 99]1",
		`{"prompt":["\u0061\n",[98],"\"\\"],"seed":-2}`: "a\n[]18446744073709551614 [98]18446744073709551614 \"\\[]18446744073709551614",
	} {
		var got []string
		for _, r := range ask(t, engineOf(nil), "/v1/completions", body) {
			got = append(got, fmt.Sprintf("%s%v%d", r.Text, r.Tokens, r.Sampling.Seed))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: got %q, want %q", body, got, want)
		}
	}
}

// decodeChat reads a request of chat completions.
func decodeChat(s *Server, body string) (*dialect.Call, *Error) {
	return chat.Dialect{}.Decode(&dialect.Request{Model: &(*s.models.Load())[0].model, Body: []byte(body)})
}

// decodeText reads a request of text completions.
func decodeText(s *Server, body string) (*dialect.Call, *Error) {
	return text.Dialect{}.Decode(&dialect.Request{Model: &(*s.models.Load())[0].model, Body: []byte(body)})
}

// TestDevelopersAreKnown by a template that speaks of them.
func TestDevelopersAreKnown(t *testing.T) {
	for template, want := range map[string]bool{"{% if role == 'developer' %}": true, "": false} {
		if f := model.NewFamily("", "", byteTokenizer{template}); f.Developers != want {
			t.Errorf("%q: %+v", template, f)
		}
	}
}

// TestEffort tells a template how much to reason as it wants to be told; one that
// wants to hear nothing hears nothing.
func TestEffort(t *testing.T) {
	const qwen, gpt, none = "{{ enable_thinking }}", "{{ reasoning_effort }}", "{{ messages }}"
	for _, tc := range []struct {
		template, fields string
		want             map[string]any // of the template's variables; nil: refused
	}{
		{qwen, `"reasoning_effort":"none"`, map[string]any{"enable_thinking": false}},
		{qwen, `"reasoning_effort":"none","chat_template_kwargs":{"a":"b"}`, map[string]any{"enable_thinking": false, "a": "b"}},
		{qwen, `"chat_template_kwargs":{"enable_thinking":true},"reasoning_effort":"none"`, nil},
		{qwen, `"reasoning_effort":"low"`, map[string]any{"enable_thinking": true}},
		{qwen, `"reasoning_effort":"lots"`, nil},
		{qwen, `"reasoning_effort":null`, map[string]any{}},
		{gpt, `"reasoning_effort":"low"`, map[string]any{"reasoning_effort": "low"}},
		{gpt, `"reasoning_effort":"none"`, map[string]any{"reasoning_effort": "none"}},
		{gpt, `"reasoning_effort":"lots"`, nil},
		{gpt, `"reasoning_effort":1`, nil},
		{none, `"reasoning_effort":"high"`, map[string]any{}},
		{none, `"reasoning_effort":"lots"`, nil},
	} {
		eng := engineOf(nil)
		eng.template = tc.template
		s, err := newServer(Config{}, eng, zerologNop)
		if err != nil {
			t.Fatal(err)
		}
		c, fault := decodeChat(s, `{`+withHi+`,`+tc.fields+`}`)
		switch {
		case tc.want == nil:
			if fault == nil || fault.Param != "reasoning_effort" {
				t.Errorf("%s, %s: %+v, want it refused", tc.template, tc.fields, fault)
			}
		case fault != nil || !maps.Equal(c.Requests[0].Chat.Kwargs, tc.want):
			t.Errorf("%s, %s: %+v, want %v", tc.template, tc.fields, fault, tc.want)
		}
	}
}

func TestTools(t *testing.T) {
	const tools = `"tools":[{"type":"function","function":{"name":"f","parameters":{}}}]`
	const messages = `"messages":[{"role":"user","content":"a"}]`
	for body, want := range map[string]bool{
		`{` + messages + `,` + tools + `}`:                      true,
		`{` + messages + `,` + tools + `,"tool_choice":"auto"}`: true,
		`{"tool_choice":"none",` + messages + `,` + tools + `}`: false,
		`{` + messages + `,"tools":[]}`:                         false,
		`{` + messages + `,"chat_template_kwargs":{"tools":1}}`: false,
	} {
		if got := ask(t, engineOf(nil), "/v1/chat/completions", body)[0].Chat.Tools != nil; got != want {
			t.Errorf("%s: tools are shown: %v", body, got)
		}
	}
}

func TestTokenizeRoutes(t *testing.T) {
	h := start(t, script(), Config{})
	for _, tc := range []struct{ path, body, want string }{
		{"/tokenize", `{"prompt":"hé"}`, `{"count":4,"max_model_len":1024,"tokens":[1,104,195,169],"token_strs":null,"prompt":"hé"}`},
		{"/tokenize", `{"model":"fake","prompt":"h","add_special_tokens":false}`, `{"count":1,"max_model_len":1024,"tokens":[104],"token_strs":null,"prompt":"h"}`},
		{
			"/tokenize", `{"messages":[{"role":"user","content":[]}]}`,
			`{"count":33,"max_model_len":1024,"tokens":` + string(jsonenc.IDs(nil, byteTokenizer{}.Encode(`[{"role": "user", "content": ""}]`, false))) + `,"token_strs":null,"prompt":"[{\"role\": \"user\", \"content\": \"\"}]"}`,
		},
		{"/tokenize", `{"prompt":"h\"","add_special_tokens":false,"return_token_strs":true}`, `{"count":2,"max_model_len":1024,"tokens":[104,34],"token_strs":["h","\""],"prompt":"h\""}`},
		{"/detokenize", `{"tokens":[104,105]}`, `{"prompt":"hi"}`},
		{"/detokenize", `{"tokens":[]}`, `{"prompt":""}`},
	} {
		status, got := h.read(h.post(tc.path, tc.body))
		if status != 200 || got != tc.want+"\n" {
			t.Errorf("%s %s: got %d %s, want %s", tc.path, tc.body, status, got, tc.want)
		}
	}
	const info = `{"bos_token":null,"eos_token":"]","pad_token":null,"unk_token":null,"chat_template":"{{ tools }}","model_max_length":1024}`
	if status, got := h.read(h.do("GET", "/tokenizer_info", "")); status != 200 || got != info+"\n" {
		t.Errorf("/tokenizer_info: got %d %s, want %s", status, got, info)
	}
}

// FuzzDecode sends anything: it is either refused as the client's mistake, or
// makes requests an engine can take.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		`{"prompt":"a","max_tokens":5,"stop":["x"],"logit_bias":{"1":2},"stream":true,"stream_options":{"include_usage":true}}`,
		`{"prompt":[[1,2],[3]],"n":2,"temperature":0.5,"seed":-1}`, `{"prompt":[],"logprobs":2e0}`,
		`{"messages":[{"role":"user","content":[{"type":"text","text":"\ud800"}]}],"tools":[{"function":{}}],"chat_template_kwargs":{"a":[1]}}`,
		`{"messages":[{"role":"assistant","tool_calls":[{"function":{"arguments":"{}"}}]}],"response_format":{"type":"text"}}`,
		`{"messages":[{"role":"user","content":"a"}],"tools":[{"function":{"name":"f","strict":true,"parameters":{"type":"object","properties":{"a":{"enum":[1]}}}}}],"tool_choice":"required","parallel_tool_calls":false}`,
		`{"messages":[{"role":"user","content":"a"}],"tools":[{"function":{"name":"f"}}],"tool_choice":{"function":{"name":"f"}},"separate_reasoning":true}`,
		"{\"a\\u0000\":\"\xff\"}", `{"prompt":"a"`, `[[[[[[`, `{"max_tokens":-0,"prompt":"a","top_k":1E400}`,
	} {
		f.Add([]byte(seed), true)
		f.Add([]byte(seed), false)
	}
	eng := script()
	eng.template = templates["thinks"]
	s, err := newServer(Config{}, eng, zerologNop)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte, isChat bool) {
		before := string(body)
		var d dialect.Dialect = text.Dialect{}
		if isChat {
			d = chat.Dialect{}
		}
		c, fault := d.Decode(&dialect.Request{Model: &(*s.models.Load())[0].model, Body: body})
		if string(body) != before {
			t.Fatal("the body was changed")
		}
		if fault != nil {
			if fault.Status < 400 || fault.Status > 404 || fault.Message == "" || !json.Valid(openai.AppendError(nil, fault)) {
				t.Fatalf("%d %q", fault.Status, openai.AppendError(nil, fault))
			}
			return
		}
		if !json.Valid(body) {
			t.Fatal("what is not JSON was taken")
		}
		for _, r := range c.Requests {
			if (r.Chat != nil) == (r.Text != "" || r.Tokens != nil) && (isChat || r.Text != "") {
				t.Fatalf("not one prompt: %+v", r)
			}
			if r.MaxTokens < 0 || r.MinTokens < 0 || r.MaxTokens > 0 && r.MinTokens > r.MaxTokens || r.Sampling.Logprobs > 1+draft.MaxLogprobs {
				t.Fatalf("%+v", r)
			}
			for _, id := range append(r.Tokens, r.StopTokens...) {
				if id < 0 || id >= 256 {
					t.Fatalf("token id %d", id)
				}
			}
		}
	})
}

// TestTooManyMessages: more messages than the context has room for are refused before
// they are read, in the words of prompts that are too long; /tokenize counts them.
func TestTooManyMessages(t *testing.T) {
	for n, status := range map[int]int{600: 400, 100: 200} { // of a context of 1,024, two tokens each
		message := fmt.Sprintf(`{"role":"user","content":%q},`, strings.Repeat("a", 1000))
		body := `{"messages":[` + strings.Repeat(message, n) + `{"role":"user","content":"b"}]}`
		h := start(t, script([]actors.Output{started("a"), ends("stop", 1, 0)}), Config{})
		got, answer := h.read(h.post("/v1/chat/completions", body))
		if got != status || status == 400 && (!strings.Contains(answer, `"code":"context_length_exceeded"`) || !strings.Contains(answer, `at least 1202 tokens, but this model's maximum context length is 1024`)) {
			t.Errorf("%d messages: %d %.300s", n, got, answer)
		}
		if got, answer := h.read(h.post("/tokenize", body)); got != 200 {
			t.Errorf("%d messages counted: %d %.300s", n, got, answer)
		}
	}
}

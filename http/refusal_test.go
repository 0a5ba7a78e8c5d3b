package http

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/troupe-llm/troupe/actors"
)

// TestBadRequests holds what is refused, and the words for it, against a
// golden file: every answer names the field and says what would be right.
func TestBadRequests(t *testing.T) {
	h := start(t, engineOf(func(int, *actors.Request) (*fakeStream, error) {
		t.Error("a bad request reached the engine")
		return newFakeStream(fails(actors.ErrFailed)), nil
	}), Config{MaxChoices: 8, MaxStops: 2, StrictFields: true})
	var got strings.Builder
	for _, tc := range []struct {
		path   string
		bodies []string
	}{
		{"/v1/completions", []string{
			``, `[]`, `"x"`, `{`, `{"prompt":"a",}`, `{"prompt":"a"} x`, "{\"prompt\":\"\xff\"}",
			`{}`, `{"prompt":null}`, `{"prompt":1}`, `{"prompt":{}}`, `{"prompt":[]}`, `{"prompt":[[]]}`, `{"prompt":["a",1]}`,
			`{"prompt":["a",null]}`, `{"prompt":[1,"a"]}`, `{"prompt":[1,2.5]}`, `{"prompt":[1,256]}`, `{"prompt":[[1],[-1]]}`,
			`{"prompt":"a","prompt":"b"}`, `{"prompt":"a","colour":"red"}`, `{"prompt":"a","messages":[]}`,
			`{"prompt":"a","model":1}`, `{"prompt":"a","model":"gpt-5"}`,
			`{"prompt":"a","max_tokens":-2}`, `{"prompt":"a","max_tokens":3,"n_predict":4}`, `{"prompt":"a","max_tokens":3,"max_new_tokens":-1}`, `{"prompt":"a","max_tokens":0,"min_tokens":1}`, `{"prompt":"a","max_tokens":"16"}`, `{"prompt":"a","max_tokens":1.5}`, `{"prompt":"a","max_tokens":1e99}`,
			`{"prompt":"a","max_tokens":4,"min_tokens":5}`, `{"prompt":"a","min_tokens":-1}`,
			`{"prompt":"a","temperature":"hot"}`, `{"prompt":"a","temperature":-0.1}`, `{"prompt":"a","temperature":2.1}`, `{"prompt":"a","temperature":1e999}`,
			`{"prompt":"a","top_p":1.5}`, `{"prompt":"a","top_k":-2}`, `{"prompt":"a","min_p":true}`, `{"prompt":"a","repetition_penalty":0}`,
			`{"prompt":"a","presence_penalty":3}`, `{"prompt":"a","seed":"x"}`, `{"prompt":"a","n":0}`, `{"prompt":"a","n":9}`, `{"prompt":["a","b","c"],"n":3}`,
			`{"prompt":["1","2","3","4","5","6","7","8","9"]}`, `{"prompt":"a","best_of":4}`, `{"prompt":"a","suffix":"z"}`,
			`{"prompt":"a","stop":1}`, `{"prompt":"a","stop":["a",""]}`, `{"prompt":"a","stop":["a",2]}`, `{"prompt":"a","stop":["a","b","c"]}`,
			`{"prompt":"a","stop_token_ids":[1,999]}`, `{"prompt":"a","stop_token_ids":"x"}`, `{"prompt":"a","ignore_eos":1}`,
			`{"prompt":"a","logit_bias":{"x":1}}`, `{"prompt":"a","logit_bias":{"1":"x"}}`, `{"prompt":"a","logit_bias":{"1":101}}`, `{"prompt":"a","logit_bias":[]}`,
			`{"prompt":"a","logprobs":true}`, `{"prompt":"a","logprobs":21}`,
			`{"prompt":"a","stream":"yes"}`, `{"prompt":"a","stream_options":{"include_usage":true}}`,
			`{"prompt":"a","stream":true,"stream_options":{"include_usage":1}}`, `{"prompt":"a","stream":true,"stream_options":{"chunks":1}}`,
			`{"prompt":"a","user":1}`, `{"prompt":"a","metadata":"x"}`,
			`{"prompt":"a","response_format":"json"}`, `{"prompt":"a","response_format":{}}`, `{"prompt":"a","response_format":{"type":"xml"}}`,
			`{"prompt":"a","response_format":{"type":"text","json_schema":{"schema":{}}}}`, `{"prompt":"a","response_format":{"type":"json_object","strict":true}}`,
			`{"prompt":"a","response_format":{"type":"json_object"},"regex":"a"}`, `{"prompt":"a","regex":1}`, `{"prompt":"a","ebnf":1}`, `{"prompt":"a","guided_whim":"x"}`, `{"prompt":"a","output_format":"x"}`, `{"prompt":"a","image_data":"x"}`, `{"prompt":"a","bad_words":["x"]}`, `{"prompt":"a","web_search_options":{}}`,
			`{"prompt":"a","structured_outputs":{}}`, `{"prompt":"a","structured_outputs":{"grammar":1}}`, `{"prompt":"a","structured_outputs":{"xml":"x"}}`, `{"prompt":"a","structured_outputs":{"structural_tag":"{"}}`, `{"prompt":"a","response_format":{"type":"structural_tag"}}`, `{"prompt":"a","response_format":{"type":"text","triggers":[]}}`, `{"prompt":"a","structured_outputs":{"regex":"a","choice":["a"]}}`,
			`{"prompt":"a","guided_choice":[]}`, `{"prompt":"a","guided_choice":["a",1]}`, `{"prompt":"a","guided_json":1}`, `{"prompt":"a","guided_grammar":1}`, `{"prompt":"a","structural_tag":{}}`,
			`{"prompt":"a","regex":"a","ignore_eos":true}`, `{"prompt":"a","regex":"a","min_tokens":2}`,
		}},
		{"/v1/chat/completions", []string{
			`{}`, `{"messages":"hi"}`, `{"messages":[]}`, `{"messages":["hi"]}`, `{"messages":[{}]}`, `{"messages":[{"role":"user"}]}`,
			`{"messages":[{"role":1,"content":"a"}]}`, `{"messages":[{"role":"","content":"a"}]}`, `{"messages":[{"role":"user","content":null}]}`, `{"messages":[{"role":"user","content":7}]}`,
			`{"messages":[{"role":"user","content":[{"type":"text"}]}]}`, `{"messages":[{"role":"user","content":[5]}]}`,
			`{"messages":[{"role":"user","content":"a"},{"role":"user","content":[{"type":"text","text":"b"},{"type":"image_url","image_url":{"url":"x"}}]}]}`,
			`{"messages":[{"role":"assistant","tool_calls":{}}]}`, `{"messages":[{"role":"assistant","tool_calls":[1]}]}`,
			`{"messages":[{"role":"user","content":"a"}],"prompt":"b"}`,
			`{"messages":[{"role":"user","content":"a"}],"max_tokens":4,"max_completion_tokens":5}`, `{"messages":[{"role":"user","content":"a"}],"max_tokens":0}`,
			`{"messages":[{"role":"user","content":"a"}],"top_logprobs":2}`, `{"messages":[{"role":"user","content":"a"}],"logprobs":2}`,
			`{"messages":[{"role":"user","content":"a"}],"tools":{}}`, `{"messages":[{"role":"user","content":"a"}],"tools":[{"type":"retrieval"}]}`,
			`{"messages":[{"role":"user","content":"a"}],"tools":[{"type":"function"}]}`,
			`{"messages":[{"role":"user","content":"a"}],"tools":[{"function":{"description":"x"}}]}`, `{"messages":[{"role":"user","content":"a"}],"tools":[{"function":{"name":"f","parameters":"x"}}]}`,
			`{"messages":[{"role":"user","content":"a"}],"tools":[{"function":{"name":"f"}},{"function":{"name":"f"}}]}`, `{"messages":[{"role":"user","content":"a"}],"tools":[{"function":{"name":"f","strict":true}}]}`, `{"messages":[{"role":"user","content":"a"}],"tools":[{"function":{"name":"f","strict":1}}]}`,
			`{"messages":[{"role":"user","content":"a"}],"tools":[{"function":{"name":"f"}}],"tool_choice":"always"}`, `{"messages":[{"role":"user","content":"a"}],"tools":[{"function":{"name":"f"}}],"tool_choice":{"type":"function","function":{"name":"g"}}}`,
			`{"messages":[{"role":"user","content":"a"}],"tools":[{"function":{"name":"f"}}],"tool_choice":{"type":"allowed_tools"}}`, `{"messages":[{"role":"user","content":"a"}],"tools":[{"function":{"name":"f"}}],"tool_choice":"required","guided_regex":"a"}`,
			`{"messages":[{"role":"user","content":"a"}],"tools":[{"function":{"name":"f"}},{"function":{"name":"g","parameters":{"type":"array"}}}],"tool_choice":"required"}`, `{"messages":[{"role":"user","content":"a"}],"tools":[{"function":{"name":"f"}}],"tool_choice":"required","ignore_eos":true}`,
			`{"messages":[{"role":"user","content":"a"}],"parallel_tool_calls":1}`, `{"messages":[{"role":"user","content":"a"}],"separate_reasoning":"no"}`, `{"messages":[{"role":"user","content":"a"}],"tool_choice":"required"}`,
			`{"messages":[{"role":"user","content":"a"}],"response_format":{"type":"json_schema","json_schema":{}}}`,
			`{"messages":[{"role":"user","content":"a"}],"response_format":{"type":"json_schema","json_schema":{"schema":1}}}`,
			`{"messages":[{"role":"user","content":"a"}],"response_format":{"type":"json_schema","json_schema":{"schema":{},"strict":1}}}`,
			`{"messages":[{"role":"user","content":"a"}],"chat_template_kwargs":[]}`, `{"messages":[{"role":"user","content":"a"}],"continue_final_message":true}`,
			`{"messages":[{"role":"user","content":"a"}],"store":1}`, `{"messages":[{"role":"user","content":"a"}],"audio":{}}`, `{"messages":[{"role":"user","content":"a"}],"thinking":{"type":"some"}}`, `{"messages":[{"role":"user","content":"a"}],"reasoning":{"depth":1}}`, `{"messages":[{"role":"user","content":"a"}],"response_format":{"type":"json_schema","schema":{},"json_schema":{"schema":{}}}}`, `{"messages":[{"role":"user","content":"a"}],"response_format":{"type":"text","schema":{}}}`, `{"messages":[{"role":"user","content":"a"}],"tools":[{"function":{"name":"f"}}],"tool_choice":{"type":"allowed_tools","allowed_tools":{"mode":"auto","tools":[{"type":"function","function":{"name":"g"}}]}}}`, `{"messages":[{"role":"user","content":"a"}],"tools":[{"function":{"name":"f"}}],"tool_choice":{"type":{},"allowed_tools":{"mode":"auto","tools":[{"function":{"name":"f"}}]}}}`, `{"messages":[{"role":"user","content":"a"}],"functions":[]}`,
			`{"messages":[{"role":"user","content":"a"}],"reasoning_effort":"lots"}`,
		}},
		{"/tokenize", []string{
			`{}`, `{"prompt":1}`, `{"prompt":"a","messages":[{"role":"user","content":"a"}]}`, `{"messages":[{"role":"user","content":"refuse me"}]}`,
			`{"prompt":"a","model":"gpt-5"}`, `{"prompt":"a","temperature":1}`,
		}},
		{"/detokenize", []string{`{}`, `{"tokens":"a"}`, `{"tokens":[256]}`, `{"tokens":[1],"prompt":"a"}`}},
	} {
		for _, body := range tc.bodies {
			resp := h.post(tc.path, body)
			status, answer := h.read(resp)
			fmt.Fprintf(&got, "POST %s %q\n%d %s\n", tc.path, body, status, answer)
		}
	}
	golden(t, "bad_requests.txt", got.String())
}

// TestStatuses covers what is wrong around a body.
func TestStatuses(t *testing.T) {
	h := start(t, script(), Config{MaxBody: 1000, APIKeys: []string{"first", "second"}, Profiling: true})
	const key = "Authorization: Bearer second"
	const body = `{"prompt":"a"}`
	for _, tc := range []struct {
		name, method, path, body string
		header                   []string
		status                   int
		says                     string // in the answer's body
		with                     string // a header line of the answer
	}{
		{"no key", "POST", "/v1/completions", body, nil, 401, `"code":"invalid_api_key"`, "Www-Authenticate: Bearer"},
		{"wrong key", "POST", "/v1/completions", body, []string{"Authorization: Bearer third"}, 401, `"code":"invalid_api_key"`, ""},
		{"other scheme", "POST", "/v1/completions", body, []string{"Authorization: Basic second"}, 401, `"code":"invalid_api_key"`, ""},
		{"models too", "GET", "/v1/models", "", nil, 401, `"code":"invalid_api_key"`, ""},
		{"profiles too", "GET", "/debug/pprof/cmdline", "", nil, 401, `"code":"invalid_api_key"`, ""},
		{"profiles", "GET", "/debug/pprof/cmdline", "", []string{key}, 200, ".test", ""},
		{"health without key", "GET", "/health", "", nil, 200, `"ok"`, "X-Request-Id: t"},
		{"unknown path", "GET", "/v1/nothing", "", []string{key}, 404, `there is no /v1/nothing here; /openapi.json says`, ""},
		{"embeddings", "POST", "/v1/embeddings", `{}`, []string{key}, 404, `makes no embeddings`, ""},
		{"rerank", "POST", "/v1/rerank", `{}`, []string{key}, 404, `ranks no documents`, ""},
		{"wrong method", "GET", "/v1/completions", "", []string{key}, 405, `/v1/completions takes OPTIONS, POST`, "Allow: OPTIONS, POST"},
		{"trailing slash", "POST", "/v1/completions/", body, []string{key}, 404, `there is no`, ""},
		{"form of a page", "POST", "/v1/completions", "prompt=a", []string{key, "Origin: http://localhost", "Content-Type: application/x-www-form-urlencoded"}, 415, `not application/x-www-form-urlencoded`, ""},
		{"other header", "POST", "/v1/completions", `{}`, []string{"X-Api-Key: first"}, 400, `prompt: required`, ""},
		{"either header", "POST", "/v1/completions", `{}`, []string{"Authorization: Bearer third", "X-Api-Key: first"}, 400, `prompt: required`, ""},
		{"charset", "POST", "/v1/completions", `{}`, []string{key, "Content-Type: application/json; charset=utf-8"}, 400, `prompt: required`, ""},
		{"compressed", "POST", "/v1/completions", body, []string{key, "Content-Encoding: gzip"}, 415, `Content-Encoding is gzip`, ""},
		{"large", "POST", "/v1/completions", `{"prompt":"` + strings.Repeat("a", 1000) + `"}`, []string{key}, 413, `larger than 1000 bytes`, ""},
		{"long header", "GET", "/health", "", []string{"X-Long: " + strings.Repeat("a", 20_000)}, 431, `the header is larger`, ""},
		{"model", "GET", "/v1/models/fake", "", []string{key}, 200, `"id":"fake","object":"model"`, ""},
		{"models", "GET", "/v1/models", "", []string{key}, 200, `{"object":"list","data":[{"id":"fake"`, "Content-Type: application/json"},
		{"model, escaped", "GET", "/v1/models/%66ake", "", []string{key}, 200, `"id":"fake"`, ""},
		{"no such model, escaped", "GET", "/v1/models/org%2Fother", "", []string{key}, 404, `the model \"org/other\" is not served here`, ""},
		{"no such model", "GET", "/v1/models/org/other", "", []string{key}, 404, `the model \"org/other\" is not served here; \"fake\" is`, ""},
		{"own id", "GET", "/health", "", []string{"X-Request-Id: abc-1"}, 200, `"ok"`, "X-Request-Id: abc-1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			resp := h.do(tc.method, tc.path, tc.body, tc.header...)
			status, got := h.read(resp)
			if status != tc.status || !strings.Contains(got, tc.says) {
				t.Errorf("got %d %s, want %d … %s", status, got, tc.status, tc.says)
			}
			name, value, _ := strings.Cut(tc.with, ": ")
			if name != "" && resp.header.Get(name) != value {
				t.Errorf("%s is %q, want %q", name, resp.header.Get(name), value)
			}
		})
	}
	resp := h.do("GET", "/health", "", "X-Request-Id: with space")
	if h.read(resp); resp.header.Get("X-Request-Id") == "with space" || len(resp.header.Get("X-Request-Id")) < 20 {
		t.Errorf("an unfit request id became %q", resp.header.Get("X-Request-Id"))
	}
}

// TestEngineRefuses gives what Submit says its status.
func TestEngineRefuses(t *testing.T) {
	for _, tc := range []struct {
		err    error
		status int
		code   string
		retry  string
	}{
		{&actors.BusyError{Open: 4, Limit: 4, RetryAfter: 3 * time.Second}, 429, `"server_busy"`, "3"},
		{actors.ErrDraining, 503, `"shutting_down"`, "5"},
		{actors.ErrFailed, 503, `"device_failed"`, ""},
		{&actors.InputError{Param: "prompt", Msg: "bad"}, 400, `"param":"prompt","code":null`, ""},
		{&actors.InputError{Param: "prompt", Msg: "long", TooLong: true}, 400, `"param":"prompt","code":"context_length_exceeded"`, ""},
		{fmt.Errorf("a fault"), 500, `"server_error"`, ""},
	} {
		h := start(t, engineOf(func(int, *actors.Request) (*fakeStream, error) { return nil, tc.err }), Config{})
		resp := h.post("/v1/completions", `{"prompt":"a","stream":true}`)
		status, body := h.read(resp)
		if status != tc.status || !strings.Contains(body, tc.code) || resp.header.Get("Retry-After") != tc.retry {
			t.Errorf("%v: got %d %s, Retry-After %q", tc.err, status, body, resp.header.Get("Retry-After"))
		}
	}
}

// TestHalfSubmitted cancels the choices that were accepted when a later one
// was not.
func TestHalfSubmitted(t *testing.T) {
	first := newFakeStream(started("a"))
	h := start(t, engineOf(func(n int, _ *actors.Request) (*fakeStream, error) {
		if n == 0 {
			return first, nil
		}
		return nil, &actors.BusyError{}
	}), Config{})
	if status, body := h.read(h.post("/v1/completions", `{"prompt":"a","n":2}`)); status != 429 {
		t.Errorf("got %d %s", status, body)
	}
	happens(t, "cancelling the first choice", first.canceled)
}

func TestPanicIsAnswered(t *testing.T) {
	h := start(t, engineOf(func(int, *actors.Request) (*fakeStream, error) { panic("a broken invariant") }), Config{})
	for range 2 { // and the server lives on
		if status, body := h.read(h.post("/v1/completions", `{"prompt":"a"}`)); status != 500 || strings.Contains(body, "invariant") {
			t.Errorf("got %d %s", status, body)
		}
	}
	if n := h.answers.Load(); n != 0 {
		t.Errorf("%d answers are still under way", n)
	}
}

func TestOrigins(t *testing.T) {
	h := start(t, script(), Config{Origins: []string{"https://good.example"}, APIKeys: []string{"k"}})
	ask := []string{"Access-Control-Request-Method: POST", "Access-Control-Request-Headers: authorization,x-stainless-os"}
	resp := h.do("OPTIONS", "/v1/chat/completions", "", append(ask, "Origin: https://good.example")...)
	h.read(resp)
	for name, want := range map[string]string{
		"Access-Control-Allow-Origin":  "https://good.example",
		"Access-Control-Allow-Methods": "OPTIONS, POST",
		"Access-Control-Allow-Headers": "authorization,x-stainless-os",
		"Vary":                         "Origin",
	} {
		if got := resp.header.Get(name); got != want || resp.status != 204 {
			t.Errorf("%d, %s: got %q, want %q", resp.status, name, got, want)
		}
	}
	resp = h.do("OPTIONS", "/v1/chat/completions", "", append(ask, "Origin: https://bad.example")...)
	h.read(resp)
	if got := resp.header.Get("Access-Control-Allow-Origin"); got != "" {
		t.Errorf("a stranger is allowed: %q", got)
	}
	resp = h.do("GET", "/v1/models", "", "Origin: https://good.example")
	if h.read(resp); resp.status != 401 || resp.header.Get("Access-Control-Allow-Origin") == "" {
		t.Errorf("a page cannot read why it was refused: %d %v", resp.status, resp.header)
	}
}

func TestConfigFaults(t *testing.T) {
	_, err := Config{Models: []string{""}, APIKeys: []string{" "}, Origins: []string{"example.org"}, MaxBody: -1, IdleTimeout: -1}.complete()
	for _, want := range []string{"name is empty", "key is empty", `origin "example.org"`, "MaxBody must not", "IdleTimeout must not"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not among the faults: %v", want, err)
		}
	}
}

// A request's id is the client's, with whatever it may hold.
func TestRequestIDInAnswers(t *testing.T) {
	h := start(t, script([]actors.Output{started("a"), says("b"), ends("stop", 1, 1)}), Config{})
	const id = `a"b\c`
	resp := h.post("/v1/completions", `{"prompt":"a"}`, "X-Request-Id: "+id)
	var body struct{ ID string }
	if _, text := h.read(resp); json.Unmarshal([]byte(text), &body) != nil || body.ID != "cmpl-"+id || resp.header.Get("X-Request-Id") != id {
		t.Errorf("header %q, %s", resp.header.Get("X-Request-Id"), text)
	}
}

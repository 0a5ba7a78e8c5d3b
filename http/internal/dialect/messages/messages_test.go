package messages

import (
	"encoding/json"
	"maps"
	"reflect"
	"strings"
	"testing"

	"github.com/troupe-llm/troupe/http/internal/dialect"
	"github.com/troupe-llm/troupe/http/internal/dialect/apierr"
	"github.com/troupe-llm/troupe/http/internal/dialect/model"
)

func served(f model.Family) *model.Model {
	f.ShowsTools = true
	return &model.Model{Names: []string{"served"}, Vocab: 256, Context: 1000, MaxChoices: 1, MaxStops: 4, MaxStopBytes: 100, Family: f}
}

func request(m *model.Model, body string) *dialect.Request {
	return &dialect.Request{Model: m, ID: "t", Body: []byte(body), Header: func(string) string { return "" }}
}

// shown is JSON as a template writes what it is given.
func shown[T json.Marshaler](t *testing.T, objects []T) string {
	t.Helper()
	all := make([]string, len(objects))
	for i, o := range objects {
		text, err := o.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		all[i] = string(text)
	}
	return "[" + strings.Join(all, ", ") + "]"
}

// TestConversations makes a conversation what chat templates are written for.
func TestConversations(t *testing.T) {
	for _, tc := range []struct{ fields, want string }{
		{`"messages":[{"role":"user","content":"a"}]`, `[{"role": "user", "content": "a"}]`},
		{`"messages":[{"role":"user","content":"a"}],"system":"s"`, `[{"role": "system", "content": "s"}, {"role": "user", "content": "a"}]`},
		{
			`"system":[{"type":"text","text":"s","cache_control":{"type":"ephemeral"}},{"type":"text","text":"t"}],"messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}]`,
			`[{"role": "system", "content": "s t"}, {"role": "user", "content": "a b"}]`,
		},
		{
			`"messages":[{"role":"user","content":"a"},{"role":"assistant","content":[{"type":"thinking","thinking":"h\n","signature":"x"},{"type":"redacted_thinking","data":"x"},{"type":"text","text":"b"},{"type":"tool_use","id":"1","name":"f","input":{"z":1,"a":[2]}},{"type":"tool_use","id":"2","name":"g","input":{}}]},
			{"role":"user","content":[{"type":"tool_result","tool_use_id":"1","content":"r"},{"type":"tool_result","tool_use_id":"2","is_error":true,"content":[{"type":"text","text":"no"}]},{"type":"text","text":"so?"}]}]`,
			`[{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "reasoning_content": "h\n", "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": {"z": 1, "a": [2]}}}, {"id": "2", "type": "function", "function": {"name": "g", "arguments": {}}}]}, ` +
				`{"role": "tool", "content": "r", "tool_call_id": "1"}, {"role": "tool", "content": "Error: no", "tool_call_id": "2"}, {"role": "user", "content": "so?"}]`,
		},
		{
			`"messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"1"},{"type":"tool_result","tool_use_id":"2","content":"x","is_error":true}]},{"role":"system","content":"now"}]`,
			`[{"role": "tool", "content": "", "tool_call_id": "1"}, {"role": "tool", "content": "Error: x", "tool_call_id": "2"}, {"role": "system", "content": "now"}]`,
		},
		{`"messages":[{"role":"user","content":[]}]`, `[{"role": "user", "content": ""}]`},
		{
			`"messages":[{"role":"assistant","content":[{"type":"server_tool_use","id":"s","name":"web_search","input":{}},{"type":"web_search_tool_result","tool_use_id":"s","content":[]},{"type":"text","text":"found"}]}]`,
			`[{"role": "assistant", "content": "found"}]`,
		},
	} {
		r, fault := read(request(served(model.Family{LateSystems: true}), `{"max_tokens":1,`+tc.fields+`}`), Fields)
		if fault != nil {
			t.Errorf("%s: %v", tc.fields, fault)
			continue
		}
		if got := shown(t, r.Chat.Messages); got != tc.want {
			t.Errorf("%s\n gives %s\n want  %s", tc.fields, got, tc.want)
		}
	}
}

// TestLateSystems gives a template that shows a system's message only as the first
// the others as users' words.
func TestLateSystems(t *testing.T) {
	for messages, want := range map[string]string{
		`{"role":"system","content":"s"},{"role":"user","content":"a"}`: `[{"role": "system", "content": "s"}, {"role": "user", "content": "a"}]`,
		`{"role":"user","content":"a"},{"role":"system","content":"s"},{"role":"assistant","content":"b"},{"role":"user","content":[{"type":"text","text":"c"}]},{"role":"system","content":[{"type":"text","text":"s"},{"type":"text","text":"t"}]},{"role":"user","content":"d"}`:
		/**/ `[{"role": "user", "content": "a s"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c s t"}, {"role": "user", "content": "d"}]`,
		`{"role":"user","content":[{"type":"tool_result","tool_use_id":"1","content":"r"}]},{"role":"system","content":"s"}`: `[{"role": "tool", "content": "r", "tool_call_id": "1"}, {"role": "user", "content": "s"}]`,
		`{"role":"assistant","content":"b"},{"role":"system","content":"s"}`: `[{"role": "assistant", "content": "b"}, {"role": "user", "content": "s"}]`,
		`{"role":"user","content":"a"},{"role":"system","content":[]}`:       `[{"role": "user", "content": "a"}, {"role": "user", "content": ""}]`,
	} {
		r, fault := read(request(served(model.Family{}), `{"max_tokens":1,"messages":[`+messages+`]}`), Fields)
		if fault != nil {
			t.Errorf("%s: %v", messages, fault)
			continue
		}
		if got := shown(t, r.Chat.Messages); got != want {
			t.Errorf("%s\n gives %s\n want  %s", messages, got, want)
		}
	}
}

// TestRequests looks at what the engine is asked for.
func TestRequests(t *testing.T) {
	const hi = `"max_tokens":9,"messages":[{"role":"user","content":"a"}]`
	call, fault := Dialect{}.Decode(request(served(model.Family{}), `{`+hi+`,"model":"served","stop_sequences":["x","y"],"temperature":0.5,"top_p":0.25,"top_k":7,"stream":true,"metadata":{"user_id":"u"},"context_management":{"edits":[{"type":"clear_thinking_20251015","keep":"all"}]},
		"tools":[{"type":"web_search_20250305","name":"web_search","max_uses":8},{"name":"f","description":"d","input_schema":{"type":"object"},"cache_control":{"type":"ephemeral"}},{"type":"custom","name":"g","input_schema":{}}],"tool_choice":{"type":"any","disable_parallel_tool_use":true}}`))
	if fault != nil {
		t.Fatal(fault)
	}
	r := call.Requests[0]
	if r.ID != "msg_t" || r.MaxTokens != 9 || !reflect.DeepEqual(r.Stop, []string{"x", "y"}) || r.Sampling.Temperature != 0.5 || r.Sampling.TopP != 0.25 || r.Sampling.TopK != 7 ||
		r.Grammar == nil || call.Stream == nil || !r.Chat.AddGenerationPrompt {
		t.Errorf("%+v", r)
	}
	if got, want := shown(t, r.Chat.Tools), `[{"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}, {"type": "function", "function": {"name": "g", "parameters": {}}}]`; got != want {
		t.Errorf("tools are shown as\n%s, want\n%s", got, want)
	}
	call, fault = Dialect{}.Decode(request(served(model.Family{}), `{"max_tokens":0,"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"It is"}]}`))
	if fault != nil {
		t.Fatal(fault)
	}
	if r := call.Requests[0]; !r.PromptOnly || !r.Chat.ContinueFinalMessage || r.Chat.AddGenerationPrompt || call.Whole == nil {
		t.Errorf("a reply that goes on, of no tokens: %+v", r)
	}
}

// TestThinking tells templates what they can be told.
func TestThinking(t *testing.T) {
	quiet, efforts, none := model.Family{Switch: "enable_thinking"}, model.Family{Efforts: true}, model.Family{}
	for _, tc := range []struct {
		family model.Family
		fields string
		want   map[string]any
	}{
		{quiet, `"metadata":null`, nil},
		{quiet, `"thinking":{"type":"enabled","budget_tokens":1024}`, map[string]any{"enable_thinking": true}},
		{quiet, `"thinking":{"type":"adaptive","display":"summarized"}`, map[string]any{"enable_thinking": true}},
		{quiet, `"thinking":{"type":"disabled"},"output_config":{"effort":"high"}`, map[string]any{"enable_thinking": false}},
		{quiet, `"output_config":{"effort":"high"}`, map[string]any{"enable_thinking": true}},
		{efforts, `"thinking":{"type":"enabled","budget_tokens":1024}`, map[string]any{"reasoning_effort": "low"}},
		{efforts, `"thinking":{"type":"enabled","budget_tokens":4096}`, map[string]any{"reasoning_effort": "medium"}},
		{efforts, `"thinking":{"type":"enabled","budget_tokens":31999}`, map[string]any{"reasoning_effort": "high"}},
		{efforts, `"thinking":{"type":"adaptive"},"output_config":{"effort":"max"}`, map[string]any{"reasoning_effort": "xhigh"}},
		{efforts, `"thinking":{"type":"disabled"}`, map[string]any{"reasoning_effort": "none"}},
		{none, `"thinking":{"type":"enabled","budget_tokens":1024}`, nil},
	} {
		call, fault := Dialect{}.Decode(request(served(tc.family), `{"max_tokens":9,"messages":[{"role":"user","content":"a"}],`+tc.fields+`}`))
		if fault != nil || !maps.Equal(call.Requests[0].Chat.Kwargs, tc.want) {
			t.Errorf("%+v, %s: %v, want %v", tc.family, tc.fields, fault, tc.want)
		}
	}
}

// TestRefusals says what is wrong by this API's own names.
func TestRefusals(t *testing.T) {
	const hi = `"messages":[{"role":"user","content":"a"}]`
	said := func(role, content string) string {
		return `"max_tokens":1,"messages":[{"role":"` + role + `","content":` + content + `}]`
	}
	for fields, want := range map[string]string{
		hi:                                "max_tokens: required",
		`"max_tokens":1`:                  "messages: required",
		`"max_tokens":1,"messages":[]`:    "messages: must not be empty",
		`"max_tokens":-1,` + hi:           "max_tokens: must be at least 0, got -1",
		`"max_tokens":1,"n":2,` + hi:      `n: only 1 is supported: a request has one answer`,
		`"max_tokens":1,"system":1,` + hi: "system: expected a string or an array of text blocks, got a number",
		`"max_tokens":1,"system":[{"type":"image"}],` + hi:                                      `system[0].type: "image" is not supported: the served model reads text`,
		said("user", `[{"type":"image","source":{}}]`):                                          `messages[0].content[0].type: "image" is not supported: the served model reads text`,
		said("user", `[{"type":"document","source":{}}]`):                                       `messages[0].content[0].type: "document" is not supported: give its text as a text block`,
		said("user", `[{"type":"tool_use","id":"1","name":"f"}]`):                               `messages[0].content[0].type: "tool_use" is not supported in a user's message`,
		said("user", `[{"type":"text"}]`):                                                       `messages[0].content[0].text: required`,
		said("user", `[{"type":"tool_result","content":"a"}]`):                                  `messages[0].content[0].tool_use_id: required`,
		said("user", `[{"type":"tool_result","tool_use_id":"1","content":[{"type":"image"}]}]`): `messages[0].content[0].content[0].type: "image" is not supported: the served model reads text`,
		said("assistant", `[{"type":"tool_use","id":"1","name":"f","input":"{}"}]`):             `messages[0].content[0].input: expected an object, got a string`,
		said("developer", `"a"`):                                                                `messages[0].role: must be "user", "assistant" or "system", got "developer"`,
		said("user", `null`):                                                                    `messages[0].content: required`,
		`"max_tokens":1,"tools":[{"type":"web_search_20250305","name":"web_search"},{"type":"bash_20250124","name":"bash"}],` + hi: `tools[1].type: only "custom" is supported, got "bash_20250124": tools that a model brings are not here`,
		`"max_tokens":1,"tools":[{"name":"f"}],` + hi:                                                              "tools[0].input_schema: required",
		`"max_tokens":1,"tools":[{"name":"f","input_schema":{}},{"name":"f","input_schema":{}}],` + hi:             `tools[1].name: "f" is the name of two tools`,
		`"max_tokens":1,"tools":[{"name":"f","input_schema":{"type":"array"}}],"tool_choice":{"type":"any"},` + hi: `tools[0].input_schema.type: must be "object"`,
		`"max_tokens":1,"tool_choice":{"type":"any"},` + hi:                                                        "tool_choice: needs tools",
		`"max_tokens":1,"tool_choice":{"type":"required"},` + hi:                                                   `tool_choice.type: must be "auto", "any", "tool" or "none", got "required"`,
		`"max_tokens":1,"tool_choice":{"type":"tool"},` + hi:                                                       `tool_choice.name: goes with the type "tool", which needs one`,
		`"max_tokens":1,"thinking":{"budget_tokens":1024},` + hi:                                                   "thinking.type: required",
		`"max_tokens":1,"thinking":{"type":"enabled","budget_tokens":0},` + hi:                                     "thinking.budget_tokens: must be at least 1, got 0",
		`"max_tokens":1,"output_config":{"effort":"lots"},` + hi:                                                   `output_config.effort: must be "low", "medium", "high", "xhigh" or "max", got "lots"`,
		`"max_tokens":1,"output_config":{"format":{"type":"json"}},` + hi:                                          `output_config.format.type: only "json_schema" is supported, got "json"`,
		`"max_tokens":1,"stop_sequences":"x",` + hi:                                                                "stop_sequences: expected an array of strings, got a string",
		`"max_tokens":1,"container":"x",` + hi:                                                                     "container: not supported: nothing runs here",
		`"max_tokens":1,"mcp_servers":[{}],` + hi:                                                                  "mcp_servers: only [] is supported: tools are called by the client",
		`"max_tokens":1,"stop":"x",` + hi:                                                                          "stop: this is /v1/messages, which takes stop_sequences",
		`"max_tokens":1,"model":"claude",` + hi:                                                                    `the model "claude" is not served here; "served" is`,
	} {
		_, fault := Dialect{}.Decode(request(served(model.Family{}), `{`+fields+`}`))
		if fault == nil || fault.Message != want {
			t.Errorf("%s: got %v, want %s", fields, fault, want)
		}
	}
	old := request(served(model.Family{}), `{}`)
	old.Header = func(string) string { return "2023-01-01" }
	if _, fault := (Dialect{}).Decode(old); fault == nil || !strings.Contains(fault.Message, "only 2023-06-01 and 2026-10-21 are spoken") {
		t.Errorf("an older version: %v", fault)
	}
}

// TestErrors are Anthropic's, by the status.
func TestErrors(t *testing.T) {
	for status, want := range map[int]string{
		400: "invalid_request_error", 401: "authentication_error", 403: "permission_error", 404: "not_found_error", 405: "invalid_request_error",
		413: "request_too_large", 429: "rate_limit_error", 500: "api_error", 503: "overloaded_error",
	} {
		text := Dialect{}.AppendError(nil, &dialect.Failed{Error: &apierr.Error{Status: status, Message: `"m"`}, ID: `a"b`})
		if string(text) != `{"type":"error","error":{"type":"`+want+`","message":"\"m\""},"request_id":"a\"b"}` {
			t.Errorf("%d: %s", status, text)
		}
	}
}

// TestInput makes an object of arguments wherever they are cut off, of as much as
// was whole.
func TestInput(t *testing.T) {
	for in, want := range map[string]string{
		``: `{}`, `{`: `{}`, ` {"a": 1} `: `{"a": 1}`, `{"a": 1`: `{}`, `{"a": 1,`: `{"a": 1}`, `{"a": 1, "b": {"c": [1, 2`: `{"a": 1, "b": {"c": [1]}}`,
		`{"a": "x,]\"}", "b": tr`: `{"a": "x,]\"}"}`, `[1]`: `{}`, `{"a": oh, no}`: `{}`, `{"a": [{}], `: `{"a": [{}]}`,
	} {
		if got := string(input([]byte(in))); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
	const whole = `{"a": {"b": [1, "x,}]\\\"", {"c": null}], "d": {}}, "e": -1.5e3, "é": [[], [true]]}`
	for n := range len(whole) + 1 {
		var v map[string]any
		if got := input([]byte(whole[:n])); json.Unmarshal(got, &v) != nil {
			t.Errorf("%s becomes %s", whole[:n], got)
		}
	}
}

// FuzzDecode sends anything: it is either refused as the client's mistake, or makes
// a request with messages that a template can be given.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		`{"max_tokens":1,"messages":[{"role":"user","content":"a"}],"system":[{"type":"text","text":"\ud800"}]}`,
		`{"max_tokens":1,"messages":[{"role":"assistant","content":[{"type":"tool_use","id":"\u0000","name":"f","input":{"a":[{}]}},{"type":"thinking","thinking":"\n"}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"1","content":[]}]}]}`,
		`{"max_tokens":0,"tools":[{"name":"f","input_schema":{}}],"tool_choice":{"type":"tool","name":"f"},"messages":[{"content":[],"role":"user"}]}`,
		`{"max_tokens":1,"messages":[{"role":"user","content":[[]]}]}`, `{"messages":[[]]}`, `[`,
	} {
		f.Add([]byte(seed))
	}
	m := served(model.Family{})
	f.Fuzz(func(t *testing.T, body []byte) {
		before := string(body)
		call, fault := Dialect{}.Decode(request(m, before))
		switch {
		case fault != nil && (fault.Status < 400 || fault.Status > 404 || fault.Message == ""):
			t.Fatalf("%d %s", fault.Status, fault.Message)
		case fault == nil && (!json.Valid(body) || len(call.Requests) != 1 || call.Requests[0].Chat.Messages == nil):
			t.Fatalf("%s makes %+v", body, call)
		}
	})
}

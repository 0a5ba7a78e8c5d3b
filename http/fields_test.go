package http

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"reflect"
	"strings"
	"testing"

	"github.com/rs/zerolog"
	"github.com/valyala/fasthttp/fasthttputil"

	"github.com/troupe-llm/troupe/actors"
	"github.com/troupe-llm/troupe/http/internal/dialect/leniency"
	"github.com/troupe-llm/troupe/tokenize/grammar"
)

// openapi.json has what the table says is taken, with its reasons; FIELDS.md has all
// (see package leniency).
func TestFieldsAreDescribed(t *testing.T) {
	var d struct {
		Components struct {
			Schemas map[string]struct {
				Properties map[string]struct{ Description string }
			}
		}
	}
	if err := json.Unmarshal(openAPI, &d); err != nil {
		t.Fatal(err)
	}
	for _, row := range leniency.Rows {
		for api, name := range map[leniency.API]string{
			leniency.Chat: "ChatRequest", leniency.Text: "CompletionRequest", leniency.Responses: "ResponseRequest", leniency.Messages: "MessagesRequest",
		} {
			said, is := d.Components.Schemas[name].Properties[row.Name]
			takes := row.Fate == leniency.Taken || row.Fate == leniency.Mapped || row.Only != ""
			switch {
			case row.API&api == 0:
			case is != takes:
				t.Errorf("%s.%s is %s; openapi.json has it: %t", name, row.Name, row.Fate, is)
			case is && !strings.Contains(said.Description, row.Why+row.As):
				t.Errorf("%s.%s is described as %q, and the table says %q", name, row.Name, said.Description, row.Why+row.As)
			}
		}
	}
}

// A field that nobody knows is ignored: the response names it, the log does so
// once, and the answer is the one that there is without it.
func TestIgnoredFields(t *testing.T) {
	var log bytes.Buffer
	answer := []actors.Output{started("Hi"), says("x"), ends("stop", 2, 1)}
	eng := engineOf(func(int, *actors.Request) (*fakeStream, error) { return newFakeStream(answer...), nil })
	s, err := newServer(Config{}, eng, zerolog.New(&log))
	if err != nil {
		t.Fatal(err)
	}
	ln := fasthttputil.NewInmemoryListener()
	h := serving(t, ln, func(context.Context, string, string) (net.Conn, error) { return ln.Dial() }, s)
	const hi = `"messages":[{"role":"user","content":"a"}]`
	for _, tc := range []struct{ path, body, ignored string }{
		{"/v1/chat/completions", `{` + hi + `}`, ""},
		{"/v1/chat/completions", `{"mirostat":2,"colour":null,"reasoning_format":"auto",` + hi + `}`, "mirostat, reasoning_format"},
		{"/v1/chat/completions", `{"stream":true,"mirostat":2,"stream_options":{"include_obfuscation":true},` + hi + `}`, "mirostat, stream_options.include_obfuscation"},
		{"/v1/chat/completions", `{"a,b\r\nX-Evil: 1":2,` + hi + `}`, "a?b??X-Evil:?1"},
		{"/v1/chat/completions", `{"` + strings.Repeat("é", 99) + `":2,` + hi + `}`, strings.Repeat("?", 32)},
		{"/v1/completions", `{"prompt":"a","mirostat":2,"xtc_threshold":0.1}`, "mirostat, xtc_threshold"},
		{"/v1/responses", `{"input":"a","tools":[{"type":"web_search"},{"type":"web_search"}],"reasoning":{"effort":"low","context":"auto"}}`, "tools.web_search, reasoning.context"},
		{"/v1/messages", `{"max_tokens":1,"stream":false,"tools":[{"type":"web_search_20250305","name":"w"},{"name":"f","input_schema":{},"defer_loading":true}],"context_management":{"edits":[{"type":"clear_tool_uses_20250919"}]},` + hi + `}`, "context_management.edits, tools.web_search_20250305, tools.defer_loading"},
		{"/v1/messages/count_tokens", `{"mirostat":2,` + hi + `}`, "mirostat"},
		{"/tokenize", `{"prompt":"a","return_tensors":true}`, "return_tensors"},
		{"/detokenize", `{"tokens":[97],"mirostat":true}`, "mirostat"},
	} {
		resp := h.post(tc.path, tc.body)
		status, text := h.read(resp)
		if got := resp.header.Get("X-Ignored-Fields"); status != 200 || got != tc.ignored {
			t.Errorf("%s %s: %d, ignored %q, want %q: %s", tc.path, tc.body, status, got, tc.ignored, text)
		}
	}
	logged := map[string]int{}
	for lines := bufio.NewScanner(bytes.NewReader(log.Bytes())); lines.Scan(); {
		var line struct{ Level, Route, Field string }
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Field != "" {
			logged[line.Level+" "+line.Route+" "+line.Field]++
		}
	}
	if logged["warn /v1/chat/completions mirostat"] != 1 || logged["warn /v1/completions mirostat"] != 1 {
		t.Errorf("logged: %v", logged)
	}
}

// With StrictFields nothing is ignored.
func TestStrictFields(t *testing.T) {
	h := start(t, script(), Config{StrictFields: true})
	const hi = `"messages":[{"role":"user","content":"a"}]`
	for _, tc := range []struct{ path, body, param string }{
		{"/v1/chat/completions", `{"mirostat":2,` + hi + `}`, "mirostat"},
		{"/v1/chat/completions", `{"mirostat":null,` + hi + `}`, "mirostat"},
		{"/v1/chat/completions", `{"web_search_options":{},` + hi + `}`, "web_search_options"},
		{"/v1/responses", `{"input":"a","tools":[{"type":"web_search"}]}`, "tools[0].type"},
		{"/v1/responses", `{"input":"a","text":{"colour":1}}`, "text.colour"},
		{"/tokenize", `{"prompt":"a","return_tensors":true}`, "return_tensors"},
	} {
		status, text := h.read(h.post(tc.path, tc.body))
		var got struct{ Error struct{ Param string } }
		if err := json.Unmarshal([]byte(text), &got); err != nil || status != 400 || got.Error.Param != tc.param {
			t.Errorf("%s: %d %s, want one about %s", tc.body, status, text, tc.param)
		}
	}
}

// Others' names, and OpenAI's own that change nothing, make the request that the
// names here do.
func TestMappedFields(t *testing.T) {
	type request struct{ body, same string }
	const hi = `"messages":[{"role":"user","content":"a"}]`
	const tools = `"tools":[{"type":"function","function":{"name":"f"}},{"type":"function","function":{"name":"g"}}]`
	for path, all := range map[string][]request{
		"/v1/chat/completions": {
			{`"store":true,"verbosity":"low","moderation":{"x":1},"prompt_cache_key":"k","prompt_cache_retention":"24h","prompt_cache_options":{},"safety_identifier":"s","service_tier":"auto","prediction":{"type":"content","content":"x"},"cache_prompt":true,` + hi, hi},
			{`"max_tokens":-1,` + hi, hi},
			{`"n_predict":9,` + hi, `"max_tokens":9,` + hi},
			{`"max_new_tokens":9,"max_tokens":9,` + hi, `"max_tokens":9,` + hi},
			{`"repeat_penalty":1.5,` + hi, `"repetition_penalty":1.5,` + hi},
			{`"enable_thinking":false,` + hi, `"chat_template_kwargs":{"enable_thinking":false},` + hi},
			{`"enable_thinking":false,"chat_template_kwargs":{"x":1},` + hi, `"chat_template_kwargs":{"enable_thinking":false,"x":1},` + hi},
			{`"thinking":{"type":"disabled"},` + hi, `"reasoning_effort":"none",` + hi},
			{`"thinking":{"type":"enabled","budget_tokens":99},` + hi, `"chat_template_kwargs":{"enable_thinking":true},` + hi},
			{`"think":"high",` + hi, `"reasoning_effort":"high",` + hi},
			{`"think":false,` + hi, `"reasoning_effort":"none",` + hi},
			{`"reasoning":{"effort":"max"},` + hi, `"reasoning_effort":"xhigh",` + hi},
			{`"reasoning":{"enabled":false},` + hi, `"reasoning_effort":"none",` + hi},
			{`"reasoning_effort":"default",` + hi, hi},
			{`"response_format":{"type":"json_object","schema":{"type":"integer"}},` + hi, `"guided_json":{"type":"integer"},` + hi},
			{`"response_format":{"type":"json_schema","schema":{"type":"integer"}},` + hi, `"guided_json":{"type":"integer"},` + hi},
			{`"response_format":{"type":"json_schema","json_schema":{"name":null,"strict":null,"schema":{"type":"integer"}}},` + hi, `"guided_json":{"type":"integer"},` + hi},
			{`"json_schema":{"type":"integer"},` + hi, `"guided_json":{"type":"integer"},` + hi},
			{`"ebnf":"root ::= \"a\"",` + hi, `"guided_grammar":"root ::= \"a\"",` + hi},
			{`"grammar":"root ::= \"a\"",` + hi, `"guided_grammar":"root ::= \"a\"",` + hi},
			{`"structured_outputs":{"regex":"a","disable_fallback":true,"disable_any_whitespace":false},` + hi, `"regex":"a",` + hi},
			{`"messages":[{"role":"user","content":"a"},{"role":"assistant","refusal":null,"audio":null,"content":[{"type":"refusal","refusal":"no"}]}]`, `"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"no"}]`},
			{`"tool_choice":"any",` + tools + `,` + hi, `"tool_choice":"required",` + tools + `,` + hi},
			{
				`"tool_choice":{"type":"allowed_tools","allowed_tools":{"mode":"required","tools":[{"type":"function","function":{"name":"g"}}]}},` + tools + `,` + hi,
				`"tool_choice":"required","tools":[{"type":"function","function":{"name":"g"}}],` + hi,
			},
			{`"tool_choice":{"type":"allowed_tools","allowed_tools":{"mode":"auto","tools":[]}},` + tools + `,` + hi, hi},
		},
		"/v1/completions": {
			{`"prompt":"a","max_completion_tokens":9`, `"prompt":"a","max_tokens":9`},
			{`"prompt":"a","min_new_tokens":3`, `"prompt":"a","min_tokens":3`},
			{`"prompt":"a","no_stop_trim":true`, `"prompt":"a","include_stop_str_in_output":true`},
		},
		"/v1/responses": {
			{`"input":"a","max_tokens":9`, `"input":"a","max_output_tokens":9`},
			{`"input":"a","enable_thinking":true`, `"input":"a","chat_template_kwargs":{"enable_thinking":true}`},
			{`"input":"a","thinking":false`, `"input":"a","reasoning":{"effort":"none"}`},
		},
	} {
		for _, tc := range all {
			var got [2]*actors.Request
			for i, body := range []string{tc.body, tc.same} {
				eng := script([]actors.Output{started("Hi"), says("x"), ends("stop", 2, 1)})
				eng.template = "{{ tools }}{{ enable_thinking }}"
				h := start(t, eng, Config{StrictFields: true})
				body = `{"seed":1,` + body + `}`
				if path == "/v1/chat/completions" && strings.Contains(body, "budget_tokens") {
					h = start(t, eng, Config{})
				}
				if status, text := h.read(h.post(path, body)); status != 200 {
					t.Fatalf("%s: %d %s", body, status, text)
				}
				r := *eng.requests[0]
				r.ID, r.Wake, r.Grammar = "", nil, nil
				got[i] = &r
				if spec := eng.requests[0].Grammar; spec != nil { // the language counts, not where it came from
					g, err := grammar.Compile(t.Context(), spec, byteVocabulary())
					if err != nil {
						t.Fatal(err)
					}
					for _, text := range []string{"", "a", "1", "{}", `{"name": "f"}`, `[{"name": "g", "arguments": {}}]`, `[{"name": "f", "arguments": {}}]`} {
						r.Stop = append(r.Stop, fmt.Sprint(follows(g, text)))
					}
				}
			}
			if !reflect.DeepEqual(got[0], got[1]) {
				t.Errorf("%s makes\n%+v, and %s\n%+v", tc.body, got[0], tc.same, got[1])
			}
		}
	}
	// A text goes on to the end of the context, where without a limit it has few tokens.
	eng := script([]actors.Output{started("Hi"), says("x"), ends("stop", 2, 1)})
	h := start(t, eng, Config{})
	if status, text := h.read(h.post("/v1/completions", `{"prompt":"a","max_tokens":-1}`)); status != 200 || eng.requests[0].MaxTokens != 0 || eng.requests[0].PromptOnly {
		t.Errorf("%d %s: at most %d tokens", status, text, eng.requests[0].MaxTokens)
	}
}

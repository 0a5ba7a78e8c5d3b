package http

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/troupe-llm/troupe/actors"
)

// responseVaries are the parts of a response that are different every time.
var responseVaries = regexp.MustCompile(`("created_at":)\d+|((?:resp|msg|rs|fc|ctc|call)_)[A-Z2-7]{24,}`)

func masked(body string) string { return responseVaries.ReplaceAllString(body, "$1${2}0") }

const (
	responseTools = `"tools":[{"type":"web_search"},{"type":"function","name":"f","parameters":{"type":"object"}},{"type":"namespace","name":"n","tools":[{"type":"custom","name":"patch","description":"Changes files."}]}]`
	thinkingCalls = "<think>\nTwo.\n</think>\n\nLet me \"see\".\n\n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"x\": \"1\"}}\n</tool_call>\n<tool_call>\n{\"name\": \"n__patch\", \"arguments\": {\"input\": \"+ \\\"é\\\"\\n\"}}\n</tool_call>"
	callTemplate  = "{{ tools }}<tool_call><think>"
)

// TestResponses holds whole responses and streamed ones against golden ones.
func TestResponses(t *testing.T) {
	story := []actors.Output{started("Hi"), says("Once "), says("upon"), ends("stop", 2, 9)}
	for _, tc := range []struct {
		name, intent, body string
		events             []actors.Output
	}{
		{"whole", "a response, whole", `{"input":"Hi","instructions":"Be brief.","metadata":{"a":"b"},"temperature":0.5}`, story},
		{"stream", "a response, streamed: each event has its number", `{"input":"Hi","stream":true}`, story},
		{"calls", "reasoning, text, a function's call and a custom tool's, whole", `{"input":"Hi",` + responseTools + `}`, []actors.Output{started("Hi"), thinks(thinkingCalls), ends("stop", 2, 9)}},
		{
			"stream_calls", "the same, streamed; a custom tool's text comes at its end", `{"input":"Hi","stream":true,"include":["reasoning.encrypted_content"],` + responseTools + `}`,
			append(append([]actors.Output{started("Hi")}, inPieces(thinkingCalls, 16)...), ends("stop", 2, 9)),
		},
		{"stream_cut", "a reply that was cut off is incomplete, and so is its last item", `{"input":"Hi","stream":true,"max_output_tokens":9}`, []actors.Output{started("Hi"), says("Once "), ends("length", 2, 9)}},
		{"stream_calls_cut", "so is a call", `{"input":"Hi","stream":true,` + responseTools + `}`, []actors.Output{started("Hi"), says(`<tool_call>{"name": "f", "arguments": {"x"`), ends("length", 2, 9)}},
		{"stream_fails", "an error after the beginning is an event, with the response that failed", `{"input":"Hi","stream":true}`, []actors.Output{started("Hi"), says("Once"), fails(actors.ErrFailed)}},
		{"stream_empty", "a reply without text has no items", `{"input":"Hi","stream":true,"store":false}`, []actors.Output{started("Hi"), ends("stop", 2, 1)}},
		{
			"logprobs", "log-probabilities lie with the text", `{"input":"Hi","include":["message.output_text.logprobs"],"top_logprobs":1}`,
			[]actors.Output{started("Hi"), saysLikely("ab", 1), saysLikely("c", 1), ends("stop", 2, 3)},
		},
		{
			"stream_logprobs", "and come with it", `{"input":"Hi","stream":true,"include":["message.output_text.logprobs"],"top_logprobs":1}`,
			[]actors.Output{started("Hi"), saysLikely("ab", 1), saysLikely("c", 1), ends("stop", 2, 3)},
		},
		{"refused", "what is wrong is said by its place", `{"input":[{"role":"user","content":"Hi"},{"type":"reasoning","summary":[{"type":"summary_text"}]}]}`, story},
		{"image", "images are refused by name", `{"input":[{"role":"user","content":[{"type":"input_image","image_url":"x"}]}]}`, story},
	} {
		t.Run(tc.name, func(t *testing.T) {
			eng := script(tc.events)
			if strings.Contains(tc.name, "calls") {
				eng.template = callTemplate
			}
			h := start(t, eng, Config{})
			resp := h.post("/v1/responses", tc.body)
			status, body := h.read(resp)
			golden(t, "responses_"+tc.name+".txt", fmt.Sprintf("# %s\nPOST /v1/responses\n%s\n\n%d %s\n%s", tc.intent, tc.body, status, resp.header.Get("Content-Type"), masked(body)))
		})
	}
}

// folder puts a response together from its events, as a client does, and holds
// their order against what OpenAI's description says.
type folder struct {
	t      *testing.T
	output []map[string]any
	text   []string // of each item, from its deltas
	closed []bool
	last   map[string]any // the response that the last event brought
}

func (f *folder) take(n int, name string, ev map[string]any) {
	f.t.Helper()
	if ev["type"] != name || ev["sequence_number"] != float64(n) {
		f.t.Fatalf("event %d is named %s and says %v, number %v", n, name, ev["type"], ev["sequence_number"])
	}
	if r, is := ev["response"].(map[string]any); is {
		f.last = r
		return
	}
	at := int(ev["output_index"].(float64))
	if name == "response.output_item.added" {
		if at != len(f.output) || at > 0 && !f.closed[at-1] {
			f.t.Fatalf("event %d: item %d begins after %d items", n, at, len(f.output))
		}
		f.output, f.text, f.closed = append(f.output, ev["item"].(map[string]any)), append(f.text, ""), append(f.closed, false)
		return
	}
	if at != len(f.output)-1 || f.closed[at] {
		f.t.Fatalf("event %d, %s, is about item %d, which is not open", n, name, at)
	}
	id := f.output[at]["id"]
	switch kind := name[strings.LastIndexByte(name, '.')+1:]; {
	case name == "response.output_item.done":
		item := ev["item"].(map[string]any)
		if item["id"] != id {
			f.t.Fatalf("event %d: item %v ends as %v", n, id, item["id"])
		}
		f.output[at], f.closed[at] = item, true
	case ev["item_id"] != id:
		f.t.Fatalf("event %d: item %v goes on as %v", n, id, ev["item_id"])
	case kind == "delta":
		f.text[at] += ev["delta"].(string)
	case kind == "done" && name != "response.content_part.done":
		for _, of := range []string{"text", "arguments", "input"} {
			if whole, is := ev[of].(string); is && whole != f.text[at] {
				f.t.Fatalf("event %d: deltas came to %q, the whole is %q", n, f.text[at], whole)
			}
		}
	}
}

func foldResponse(t *testing.T, body string) *folder {
	t.Helper()
	f := &folder{t: t}
	for n, event := range strings.Split(strings.TrimSuffix(body, "\n\n"), "\n\n") {
		head, data, ok := strings.Cut(event, "\ndata: ")
		name, is := strings.CutPrefix(head, "event: ")
		var ev map[string]any
		if err := json.Unmarshal([]byte(data), &ev); !ok || !is || err != nil {
			t.Fatalf("event %d: %q: %v", n, event, err)
		}
		f.take(n, name, ev)
	}
	return f
}

// However a reply comes in pieces, what events come to is what the last of them
// says, and what a response that is not streamed has.
func TestResponseEventsAddUp(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	replies := []string{
		thinkingCalls, "Just text.", "<think>Only thought", "<tool_call>\n{\"name\": \"f\", \"arguments\": {}}\n</tool_call>\nAnd more text.",
		"<think>a</think>b<tool_call>{\"name\": \"n__patch\", \"arguments\": {\"input\": \"\"}}</tool_call>", "",
	}
	for i := range 200 {
		text := replies[i%len(replies)]
		reason := []actors.FinishReason{"stop", "length"}[rng.IntN(2)]
		events := []actors.Output{started("Hi")}
		for rest := text; rest != ""; {
			n := 1 + rng.IntN(len(rest))
			if rng.IntN(3) > 0 {
				n = 1 + rng.IntN(min(7, len(rest)))
			}
			events, rest = append(events, says(rest[:n])), rest[n:]
		}
		ask := func(stream bool) string {
			eng := script(append(append([]actors.Output{}, events...), ends(reason, 2, len(text))))
			eng.template = callTemplate
			h := start(t, eng, Config{})
			status, body := h.read(h.post("/v1/responses", fmt.Sprintf(`{"input":"Hi","stream":%t,%s}`, stream, responseTools)))
			if status != 200 {
				t.Fatalf("%d %s", status, body)
			}
			return masked(body)
		}
		f := foldResponse(t, ask(true))
		var whole map[string]any
		if err := json.Unmarshal([]byte(ask(false)), &whole); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(f.last, whole) {
			t.Fatalf("%q in %d pieces:\nstreamed %v\nwhole    %v", text, len(events)-1, f.last, whole)
		}
		var output []any
		for _, item := range f.output {
			output = append(output, item)
		}
		if got := whole["output"].([]any); len(got) != len(output) || len(got) > 0 && !reflect.DeepEqual(got, output) {
			t.Fatalf("%q:\nitems    %v\nresponse %v", text, output, got)
		}
	}
}

// Items of responses that are kept can be referred to, by who has their key, and what
// is kept then needs the other no more.
func TestItemsAreReferredTo(t *testing.T) {
	eng := engineOf(func(int, *actors.Request) (*fakeStream, error) {
		return newFakeStream(started("Hi"), thinks("<think>Hm.</think>One."), ends("stop", 2, 9)), nil
	})
	eng.template = "<think>"
	h := start(t, eng, Config{APIKeyFile: keyFile(t, "ann: a\nbob: b\n")})
	as := func(key, method, path, body string) (int, map[string]any) {
		t.Helper()
		status, text := h.read(h.do(method, path, body, "Authorization: Bearer "+key))
		var v map[string]any
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		return status, v
	}
	_, first := as("a", "POST", "/v1/responses", `{"input":"one?"}`)
	var items []string
	for _, item := range first["output"].([]any) {
		items = append(items, fmt.Sprintf(`{"type":"item_reference","id":%q}`, item.(map[string]any)["id"]))
	}
	body := `{"input":[{"role":"user","content":"one?"},` + strings.Join(items, ",") + `,{"role":"user","content":"two?"}]}`
	status, second := as("a", "POST", "/v1/responses", body)
	if status != 200 {
		t.Fatalf("%d %v", status, second)
	}
	if status, got := as("b", "POST", "/v1/responses", body); status != 400 || got["error"].(map[string]any)["param"] != "input[1].id" {
		t.Errorf("another's item: %d %v", status, got)
	}
	as("a", "DELETE", "/v1/responses/"+first["id"].(string), "")
	if status, got := as("a", "POST", "/v1/responses", fmt.Sprintf(`{"input":"three?","previous_response_id":%q}`, second["id"])); status != 200 {
		t.Errorf("%d %v", status, got)
	}
	text, err := byteTokenizer{}.Render(*eng.requests[2].Chat)
	const want = `[{"role": "user", "content": "one?"}, {"role": "assistant", "content": "One.", "reasoning_content": "Hm."}, {"role": "user", "content": "two?"}, ` +
		`{"role": "assistant", "content": "One.", "reasoning_content": "Hm."}, {"role": "user", "content": "three?"}]`
	if err != nil || text != want {
		t.Errorf("got  %s, %v\nwant %s", text, err, want)
	}
}

// A response goes on from one that is kept, can be asked for, and is its key's.
func TestResponsesAreKept(t *testing.T) {
	eng := script(
		[]actors.Output{started("Hi"), thinks("<think>Hm.</think>One."), ends("stop", 2, 9)},
		[]actors.Output{started("Hi"), says("Two."), ends("stop", 2, 9)},
		[]actors.Output{started("Hi"), says("Three."), ends("stop", 2, 9)},
	)
	eng.template = "<think>"
	h := start(t, eng, Config{APIKeyFile: keyFile(t, "ann: a\nbob: b\n")})
	as := func(key, method, path, body string) (int, map[string]any) {
		t.Helper()
		status, text := h.read(h.do(method, path, body, "Authorization: Bearer "+key))
		var v map[string]any
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		return status, v
	}
	_, first := as("a", "POST", "/v1/responses", `{"input":"one?","instructions":"Count."}`)
	id := first["id"].(string)
	_, second := as("a", "POST", "/v1/responses", `{"input":[{"role":"user","content":"two?"}],"previous_response_id":"`+id+`"}`)
	id2 := second["id"].(string)
	messages := func(i int) string {
		eng.mu.Lock()
		defer eng.mu.Unlock()
		text, err := byteTokenizer{}.Render(*eng.requests[i].Chat)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	if got, want := messages(1), `[{"role": "user", "content": "one?"}, {"role": "assistant", "content": "One.", "reasoning_content": "Hm."}, {"role": "user", "content": "two?"}]`; got != want {
		t.Errorf("the second request's messages are\n%s, want\n%s", got, want)
	}
	if status, got := as("a", "GET", "/v1/responses/"+id2, ""); status != 200 || !reflect.DeepEqual(got, second) {
		t.Errorf("kept is %d %v, want %v", status, got, second)
	}
	var said []string
	_, list := as("a", "GET", "/v1/responses/"+id2+"/input_items?order=asc&limit=2", "")
	for _, item := range list["data"].([]any) {
		said = append(said, item.(map[string]any)["type"].(string))
	}
	if fmt.Sprint(said) != "[message reasoning]" || list["has_more"] != true {
		t.Errorf("input items are %v of %v", said, list)
	}
	_, rest := as("a", "GET", "/v1/responses/"+id2+"/input_items?order=asc&after="+list["last_id"].(string), "")
	if n := len(rest["data"].([]any)); n != 2 || rest["has_more"] != false {
		t.Errorf("after these come %v", rest)
	}

	for _, tc := range []struct {
		key, method, path, body string
		status                  int
		code                    any
	}{
		{"b", "GET", "/v1/responses/" + id, "", 404, "response_not_found"},
		{"b", "POST", "/v1/responses", `{"input":"x","previous_response_id":"` + id + `"}`, 400, "previous_response_not_found"},
		{"a", "POST", "/v1/responses/" + id + "/cancel", "", 400, nil},
		{"a", "GET", "/v1/responses/" + id + "/input_items?limit=0", "", 400, nil},
		{"b", "DELETE", "/v1/responses/" + id, "", 404, "response_not_found"},
		{"a", "DELETE", "/v1/responses/" + id, "", 200, nil},
		{"a", "GET", "/v1/responses/" + id, "", 404, "response_not_found"},
		{"a", "DELETE", "/v1/responses/" + id, "", 404, "response_not_found"},
	} {
		status, got := as(tc.key, tc.method, tc.path, tc.body)
		if e, _ := got["error"].(map[string]any); status != tc.status || e != nil && e["code"] != tc.code {
			t.Errorf("%s: %s %s: %d %v, want %d %v", tc.key, tc.method, tc.path, status, got, tc.status, tc.code)
		}
	}
	// The second goes on without the first, which it has all of.
	if status, got := as("a", "POST", "/v1/responses", `{"input":"three?","previous_response_id":"`+id2+`","store":false}`); status != 200 {
		t.Errorf("%d %v", status, got)
	} else if status, _ := as("a", "GET", "/v1/responses/"+got["id"].(string), ""); status != 404 {
		t.Errorf("one that was not to be kept: %d", status)
	}
	if n := strings.Count(messages(2), `"role"`); n != 5 {
		t.Errorf("the third request has %d messages: %s", n, messages(2))
	}
}

func keyFile(t *testing.T, keys string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(name, []byte(keys), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestResponseRequests is what requests ask the engine for.
func TestResponseRequests(t *testing.T) {
	const f, g = `{"type":"function","name":"f","description":"d","parameters":{"type":"object","properties":{"x":{"type":"integer"}}},"strict":true}`, `{"type":"function","name":"g"}`
	shown := func(r *actors.Request) string { return sorted(t, r.Chat.Tools) }
	grammar := func(r *actors.Request) string {
		if r.Grammar == nil {
			return "none"
		}
		return r.Grammar.Path()
	}
	for _, tc := range []struct {
		body string
		of   func(*actors.Request) string
		want string
	}{
		{`"max_output_tokens":7`, func(r *actors.Request) string { return fmt.Sprint(r.MaxTokens) }, "7"},
		{`"temperature":0.25,"top_p":0.5,"top_k":3`, func(r *actors.Request) string {
			return fmt.Sprint(r.Sampling.Temperature, r.Sampling.TopP, r.Sampling.TopK)
		}, "0.25 0.5 3"},
		{`"text":{"format":{"type":"text"},"verbosity":"low"}`, grammar, "none"},
		{`"text":{"format":{"type":"json_object"}}`, grammar, "text.format"},
		{`"text":{"format":{"type":"json_schema","name":"n","strict":true,"schema":{"type":"object"}}}`, grammar, "text.format.schema"},
		{`"tools":[` + g + `]`, grammar, "none"},
		{`"tools":[` + f + `]`, grammar, "tools[0].strict"},
		{`"tools":[{"type":"web_search"},` + f + `],"tool_choice":"none"`, shown, "null"},
		{`"tools":[` + g + `,{"type":"mcp","server_label":"x"},` + f + `],"tool_choice":"required"`, grammar, "tool_choice"},
		{`"tools":[` + f + `],"tool_choice":{"type":"function","name":"f"}`, grammar, "tool_choice"},
		{
			`"tools":[` + g + `,` + f + `],"tool_choice":{"type":"allowed_tools","mode":"auto","tools":[{"type":"function","name":"g"},{"type":"web_search"}]}`, shown,
			`[{"function":{"name":"g"},"type":"function"}]`,
		},
		{
			`"tools":[{"type":"custom","name":"p","description":"d","format":{"type":"grammar","syntax":"regex","definition":"a|b"}}]`, shown,
			`[{"function":{"description":"d","name":"p","parameters":{"additionalProperties":false,"properties":{"input":{"pattern":"^(?:a|b)$","type":"string"}},"required":["input"],"type":"object"},"strict":true},"type":"function"}]`,
		},
		{
			`"tools":[{"type":"custom","name":"p","format":{"type":"grammar","syntax":"lark","definition":"start: \"a\""}}]`, shown,
			`[{"function":{"description":"The input has to match this grammar, in Lark's notation:\nstart: \"a\"","name":"p","parameters":{"additionalProperties":false,"properties":{"input":{"type":"string"}},"required":["input"],"type":"object"},"strict":false},"type":"function"}]`,
		},
		{`"tools":[{"type":"image_generation"}]`, shown, "null"},
		{`"tools":[{"type":"namespace","name":"n","tools":[` + g + `,{"type":"web_search"}]},` + g + `]`, shown, `[{"function":{"name":"n__g"},"type":"function"},{"function":{"name":"g"},"type":"function"}]`},
		{`"tools":[{"type":"namespace","name":"n","tools":[` + f + `]}],"tool_choice":{"type":"function","namespace":"n","name":"f"}`, grammar, "tool_choice"},
	} {
		eng := script([]actors.Output{started("Hi"), says("x"), ends("stop", 2, 1)})
		eng.template = callTemplate
		h := start(t, eng, Config{})
		status, body := h.read(h.post("/v1/responses", `{"input":"Hi",`+tc.body+`}`))
		if status != 200 {
			t.Errorf("%s: %d %s", tc.body, status, body)
			continue
		}
		if got := tc.of(eng.requests[0]); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.body, got, tc.want)
		}
	}
	for _, tc := range [][2]string{
		{`{}`, "input"},
		{`{"input":[]}`, "input"},
		{`{"input":"x","background":true,"store":false}`, "background"},
		{`{"input":"x","conversation":"conv_1"}`, "conversation"},
		{`{"input":"x","truncation":"some"}`, "truncation"},
		{`{"input":"x","include":["x"]}`, "include[0]"},
		{`{"input":"x","text":{"format":{"type":"yaml"}}}`, "text.format.type"},
		{`{"input":"x","tools":[{"type":"function"}]}`, "tools[0].name"},
		{`{"input":"x","tools":[{"type":"teleport","name":"t"}]}`, "tools[0].type"},
		{`{"input":"x","tools":[` + g + `,` + g + `]}`, "tools[1].name"},
		{`{"input":"x","tools":[{"type":"web_search"}],"tool_choice":"required"}`, "tools"},
		{`{"input":"x","tool_choice":"required"}`, "tool_choice"},
		{`{"input":"x","tools":[` + g + `],"tool_choice":{"type":"function","name":"h"}}`, "tool_choice"},
		{`{"input":"x","tools":[` + g + `],"tool_choice":{"type":"web_search"}}`, "tool_choice.type"},
		{`{"input":"x","tools":[{"type":"function","name":"f","parameters":{"type":"array"},"strict":true}]}`, "tools[0].parameters.type"},
		{`{"input":"x","tools":[{"type":"namespace","name":"n","tools":[{"type":"namespace","name":"m","tools":[]}]}]}`, "tools[0].tools[0].type"},
		{`{"input":"x","metadata":{"a":1}}`, "metadata.a"},
		{`{"input":"x","max_tokens":-2}`, "max_tokens"},
		{`{"input":"x","response_format":{"type":"text"}}`, "response_format"},
		{`{"input":"x","n":2}`, "n"},
		{`{"input":"x","model":"other"}`, "model"},
		{`{"input":"x","previous_response_id":"resp_A"}`, "previous_response_id"},
	} {
		body, param := tc[0], tc[1]
		eng := script()
		eng.template = callTemplate
		h := start(t, eng, Config{})
		status, text := h.read(h.post("/v1/responses", body))
		var got struct{ Error struct{ Param string } }
		if err := json.Unmarshal([]byte(text), &got); err != nil || status < 400 || status > 404 || got.Error.Param != param {
			t.Errorf("%s: %d %s, want one about %s", body, status, text, param)
		}
	}
}

// What the context has no room for is left out, whole exchanges at a time, when
// that is asked for.
func TestResponseTruncation(t *testing.T) {
	var items []string
	for i := range 40 {
		items = append(items, fmt.Sprintf(`{"role":"user","content":"question %d"},{"role":"assistant","content":"answer %d"}`, i, i))
	}
	body := `"input":[{"role":"system","content":"Be brief."},` + strings.Join(items, ",") + `,{"role":"user","content":"last"}]`
	eng := script([]actors.Output{started("Hi"), says("x"), ends("stop", 2, 1)})
	h := start(t, eng, Config{}) // 1024 bytes of messages as JSON
	if status, text := h.read(h.post("/v1/responses", `{"truncation":"auto","max_output_tokens":100,`+body+`}`)); status != 200 {
		t.Fatalf("%d %s", status, text)
	}
	got, err := byteTokenizer{}.Render(*eng.requests[0].Chat)
	if err != nil {
		t.Fatal(err)
	}
	const head, tail = `[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "question `, `{"role": "user", "content": "last"}]`
	if len(got) > 1024-100 || len(got) < 1024-100-100 || !strings.HasPrefix(got, head) || !strings.HasSuffix(got, tail) {
		t.Errorf("%d bytes are left: %s", len(got), got)
	}
}

// sorted is what encoding/json makes of a template's objects, whose members have an order of their own.
func sorted(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	var plain any
	if err == nil {
		err = json.Unmarshal(text, &plain)
	}
	if err == nil {
		text, err = json.Marshal(plain)
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

package http

import (
	"fmt"
	"strings"
	"testing"

	"github.com/troupe-llm/troupe/actors"
)

// TestHistories takes conversations as other servers wrote them: calls without
// arguments or with foreign ids, nulls and empty lists, contents in parts.
func TestHistories(t *testing.T) {
	call := func(function string) string {
		return `[{"role":"assistant","content":"","tool_calls":[{"id":"call_1","type":"function","function":{` + function + `}}]}]`
	}
	object, text, nine, parts := &family{}, &family{textArguments: true}, &family{nineLetterIDs: true}, &family{parts: map[string]bool{"user": true}}
	for _, c := range []struct {
		f        *family
		in, want string
	}{
		{object, call(`"name":"f","arguments":""`), call(`"name":"f","arguments":{}`)},
		{object, call(`"name":"f","arguments":" \n"`), call(`"name":"f","arguments":{}`)},
		{object, call(`"name":"f","arguments":null`), call(`"name":"f","arguments":{}`)},
		{object, call(`"name":"f"`), call(`"name":"f","arguments":{}`)},
		{object, call(``), call(`"arguments":{}`)},
		{text, call(`"name":"f","arguments":""`), call(`"name":"f","arguments":"{}"`)},
		{text, call(`"arguments":null,"name":"f"`), call(`"arguments":"{}","name":"f"`)},
		{text, call(`"name":"f"`), call(`"name":"f","arguments":"{}"`)},
		{text, call(`"name":"f","arguments":{"a":1}`), call(`"name":"f","arguments":"{\"a\":1}"`)},

		{object, `[{"role":"assistant","content":"a","tool_calls":[]}]`, `[{"role":"assistant","content":"a"}]`},
		{object, `[{"role":"assistant","content":"a","tool_calls":[ ]}]`, `[{"role":"assistant","content":"a"}]`},
		{object, `[{"role":"assistant","content":"a","tool_calls":null,"name":null}]`, `[{"role":"assistant","content":"a"}]`},
		{object, `[{"role":"assistant","content":null,"reasoning_content":"r"}]`, `[{"role":"assistant","reasoning_content":"r","content":""}]`},
		{object, `[{"role":"assistant","reasoning":"r"}]`, `[{"role":"assistant","reasoning":"r","content":""}]`},
		{
			object, `[{"role":"assistant","content":null,"tool_calls":[{"function":{"name":"f","arguments":"{}"}}]}]`,
			`[{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":{}}}],"content":""}]`,
		},
		{object, `[{"role":"assistant","content":null,"reasoning_content":null,"tool_calls":[]}]`, "[0].content: required"},

		{object, `[{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}]`, `[{"role":"user","content":"a b"}]`},
		{parts, `[{"content":[{"type":"text","text":"a"},"b"],"role":"user"}]`, `[{"content":[{"type":"text","text":"a"},{"type":"text","text":"b"}],"role":"user"}]`},
		{parts, `[{"role":"system","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}]`, `[{"role":"system","content":"a b"}]`},
		{parts, `[{"role":"user","content":[{"type":"image"}]}]`, "[0].content[0].type"},
	} {
		got, err := plainMessages(raw(c.in), c.f)
		if err != nil {
			got = []byte(err.Error())
		}
		if string(got) != c.want && (err == nil || !strings.HasPrefix(string(got), c.want)) {
			t.Errorf("%s\n gives %s\n want  %s", c.in, got, c.want)
		}
	}

	const answered = `[{"role":"assistant","content":"","tool_calls":[{"id":"ID","function":{"name":"f","arguments":{}}}]},{"role":"tool","tool_call_id":"ID","content":"x"}]`
	short := map[string]string{}
	for _, id := range []string{"abc123XYZ", "call_1", "call_2", "chatcmpl-tool-0123456789", "", "abcdefgh-"} {
		got, err := plainMessages(raw(strings.ReplaceAll(answered, "ID", id)), nine)
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(got), `"id":"`)
		short[id], _, _ = strings.Cut(rest, `"`)
		if len(short[id]) != 9 || strings.Trim(short[id], alphanumerics) != "" || string(got) != strings.ReplaceAll(answered, "ID", short[id]) {
			t.Errorf("%q becomes %s", id, got)
		}
	}
	if short["abc123XYZ"] != "abc123XYZ" || short["call_1"] == short["call_2"] {
		t.Errorf("ids become %v", short)
	}
}

// TestTooManyMessages: more messages than the context has room for are refused before
// they are read, in the words of prompts that are too long; /tokenize counts them.
func TestTooManyMessages(t *testing.T) {
	for n, status := range map[int]int{600: 400, 100: 200} { // of a context of 1,024, two tokens each
		message := fmt.Sprintf(`{"role":"user","content":%q},`, strings.Repeat("a", 1000))
		body := `{"messages":[` + strings.Repeat(message, n) + `{"role":"user","content":"b"}]}`
		h := start(t, script([]actors.Event{started("a"), ends("stop", 1, 0)}), Config{})
		got, answer := h.read(h.post("/v1/chat/completions", body))
		if got != status || status == 400 && (!strings.Contains(answer, `"code":"context_length_exceeded"`) || !strings.Contains(answer, `at least 1202 tokens, but this model's maximum context length is 1024`)) {
			t.Errorf("%d messages: %d %.300s", n, got, answer)
		}
		if got, answer := h.read(h.post("/tokenize", body)); got != 200 {
			t.Errorf("%d messages counted: %d %.300s", n, got, answer)
		}
	}
}

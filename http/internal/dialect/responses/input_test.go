package responses

import (
	"fmt"
	"strings"
	"testing"

	"github.com/troupe-llm/troupe/http/internal/dialect/apierr"
	"github.com/troupe-llm/troupe/http/internal/dialect/field"
)

// chatOf is the chat that items come to.
func chatOf(items string) (string, error) {
	c := chatWriter{named: map[string]field.Value{}}
	for i, v := range field.Value(items).Elements() {
		v, err := c.resolve(v)
		if err == nil {
			err = c.item(v)
		}
		if err != nil {
			return "", apierr.At(apierr.Index(i), err)
		}
	}
	return string(c.end()), nil
}

func TestItemsBecomeMessages(t *testing.T) {
	for _, tc := range []struct{ name, in, want string }{
		{"a user's words", `[{"role":"user","content":"Hi"}]`, `[{"role":"user","content":"Hi"}]`},
		{"parts", `[{"type":"message","role":"user","content":[{"type":"input_text","text":"a"},{"type":"input_text","text":"b"}]}]`, `[{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}]`},
		{
			"systems at the beginning are one message", `[{"role":"developer","content":"a"},{"role":"system","content":"b"},{"role":"user","content":"c"},{"role":"system","content":"d"}]`,
			`[{"role":"developer","content":"a\n\nb"},{"role":"user","content":"c"},{"role":"system","content":"d"}]`,
		},
		{"systems alone", `[{"role":"system","content":"a"}]`, `[{"role":"system","content":"a"}]`},
		{
			"thought, said and called at once",
			`[{"type":"reasoning","summary":[{"type":"summary_text","text":"sum"}],"content":[{"type":"reasoning_text","text":"Hm."}]},
			  {"type":"message","role":"assistant","content":[{"type":"output_text","text":"Well.","annotations":[]}]},
			  {"type":"function_call","call_id":"c1","name":"f","arguments":"{\"x\":1}","id":"fc_1","status":"completed"},
			  {"type":"function_call","call_id":"c2","name":"g","arguments":""},
			  {"type":"function_call_output","call_id":"c1","output":"one"},
			  {"type":"function_call_output","call_id":"c2","output":[{"type":"input_text","text":"two"}]}]`,
			`[{"role":"assistant","content":"Well.","reasoning_content":"Hm.","tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":"{\"x\":1}"}},{"id":"c2","type":"function","function":{"name":"g","arguments":""}}]},{"role":"tool","content":"one","tool_call_id":"c1"},{"role":"tool","content":"two","tool_call_id":"c2"}]`,
		},
		{
			"what comes after a call is another message", `[{"type":"function_call","call_id":"c","name":"f","arguments":"{}"},{"role":"assistant","content":"a"},{"role":"assistant","content":"b"},{"type":"reasoning","summary":[]},{"type":"function_call","call_id":"d","name":"f","arguments":"{}"}]`,
			`[{"role":"assistant","tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{}"}}]},{"role":"assistant","content":"a"},{"role":"assistant","content":"b"},{"role":"assistant","tool_calls":[{"id":"d","type":"function","function":{"name":"f","arguments":"{}"}}]}]`,
		},
		{
			"a custom tool's text is an argument", `[{"type":"custom_tool_call","call_id":"c","name":"patch","input":"a \"b\""},{"type":"custom_tool_call_output","call_id":"c","output":"ok"}]`,
			`[{"role":"assistant","tool_calls":[{"id":"c","type":"function","function":{"name":"patch","arguments":"{\"input\":\"a \\\"b\\\"\"}"}}]},{"role":"tool","content":"ok","tool_call_id":"c"}]`,
		},
		{"a tool of a namespace", `[{"type":"function_call","call_id":"c","namespace":"n","name":"f","arguments":"{}"}]`, `[{"role":"assistant","tool_calls":[{"id":"c","type":"function","function":{"name":"n__f","arguments":"{}"}}]}]`},
		{"another server's summary", `[{"type":"reasoning","summary":[{"type":"summary_text","text":"sum"}],"encrypted_content":"gAAAA"},{"role":"assistant","content":"a"}]`, `[{"role":"assistant","content":"a","reasoning_content":"sum"}]`},
		{"reasoning that this server sealed", `[{"type":"reasoning","summary":[],"encrypted_content":"` + seal([]byte("Hm, é.")) + `"},{"role":"assistant","content":"a"}]`, `[{"role":"assistant","content":"a","reasoning_content":"Hm, é."}]`},
		{"hosted tools are left out", `[{"role":"user","content":"a"},{"type":"web_search_call","id":"ws_1","status":"completed"},{"role":"assistant","content":"b"}]`, `[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]`},
		{"a reference", `[{"role":"user","content":"a","id":"msg_1"},{"type":"item_reference","id":"msg_1"}]`, `[{"role":"user","content":"a"},{"role":"user","content":"a"}]`},
		{"a refusal", `[{"role":"assistant","content":[{"type":"refusal","refusal":"no"}]}]`, `[{"role":"assistant","content":"no"}]`},
		{"only thought", `[{"type":"reasoning","summary":[],"content":[{"type":"reasoning_text","text":"Hm."}]},{"role":"user","content":"a"}]`, `[{"role":"assistant","content":"","reasoning_content":"Hm."},{"role":"user","content":"a"}]`},
		{"nothing", `[]`, ``},
	} {
		if got, err := chatOf(tc.in); err != nil || got != tc.want {
			t.Errorf("%s: %v\ngot  %s\nwant %s", tc.name, err, got, tc.want)
		}
	}
}

func TestFaultsOfItems(t *testing.T) {
	for in, want := range map[string]string{
		`[{"role":"user"}]`:                "[0].content: required",
		`[{"role":"robot","content":"a"}]`: `[0].role: must be "user"`,
		`[{"content":"a"}]`:                "[0].role: required",
		`[{"role":"user","content":7}]`:    "[0].content: expected a string or an array of parts",
		`[{"role":"user","content":[{"type":"input_file","file_id":"x"}]}]`: `[0].content[0].type: "input_file" is not supported`,
		`[{"role":"user","content":[{"type":"input_text"}]}]`:               "[0].content[0].text: required",
		`[{"type":"teleport"}]`:                                                  `[0].type: "teleport" is not supported`,
		`[{"type":"function_call","name":"f","arguments":"{}"}]`:                 "[0].call_id: required",
		`[{"type":"function_call","call_id":"c","name":"f","arguments":{}}]`:     "[0].arguments: expected a string",
		`[{"type":"function_call_output","call_id":"c"}]`:                        "[0].output: required",
		`[{"role":"user","content":"a"},{"type":"item_reference","id":"msg_2"}]`: "[1].id: no item",
		`[{"type":"reasoning","content":[{"type":"reasoning_text","text":7}]}]`:  "[0].content[0].text: expected a string",
	} {
		if _, err := chatOf(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", in, err, want)
		}
	}
}

// What a reference leads to cannot lead back to it.
func TestReferencesEnd(t *testing.T) {
	if _, err := chatOf(`[{"type":"item_reference","id":"a"},{"type":"item_reference","id":"a"}]`); err == nil {
		t.Error("a reference to itself was followed")
	}
}

// Every item has an id and a status, which are kept if it had them.
func TestItemsAreWhole(t *testing.T) {
	const done = `,"status":"completed"}`
	for in, want := range map[string]string{
		`{"id":"x","role":"user"}`:                 `{"id":"x","role":"user"` + done,
		`{"role":"user","status":null}`:            `{"id":"msg_…","role":"user"` + done,
		`{"id":null,"type":"reasoning"}`:           `{"id":"rs_…","type":"reasoning"` + done,
		`{"id":"","type":"function_call"}`:         `{"id":"fc_…","type":"function_call"` + done,
		`{"id":"x","status":"incomplete"}`:         `{"id":"x","status":"incomplete"}`,
		`{"type":"item_reference","id":"a\u0062"}`: `{"id":"ab","type":"item_reference"}`,
		`{}`:                `{"id":"msg_…"` + done,
		`{"type":7,"id":9}`: `{"id":"msg_…","type":7` + done,
	} {
		got := string(identified(field.Value(in)))
		if at := strings.Index(got, "_"); at > 0 && at < 15 {
			got = got[:at+1] + "…" + got[at+27:]
		}
		if got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

func FuzzItems(f *testing.F) {
	f.Add(`[{"type":"reasoning","summary":[]},{"role":"assistant","content":[{"type":"output_text","text":"a"}]}]`)
	f.Add(`[{"type":"custom_tool_call","call_id":"c","name":"p","input":"\u0000\""},{"role":"developer","content":[]}]`)
	f.Add(`[{"type":"item_reference","id":"x"}]`)
	f.Fuzz(func(t *testing.T, items string) {
		if v, fault := field.Parse([]byte(`{"input":` + items + `}`)); fault == nil {
			for name, v := range v.Members() {
				if name != "input" || v[0] != '[' {
					return
				}
				for _, e := range v.Elements() {
					if e[0] != '{' {
						return
					}
				}
				chat, err := chatOf(string(v))
				if err != nil || chat == "" {
					return
				}
				if _, fault := field.Parse([]byte(fmt.Sprintf(`{"messages":%s}`, chat))); fault != nil {
					t.Fatalf("%s became %s, which is no JSON: %v", items, chat, fault)
				}
			}
		}
	})
}

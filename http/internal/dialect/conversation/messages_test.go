package conversation

import (
	"strings"
	"testing"

	"github.com/troupe-llm/troupe/http/internal/dialect/field"
	"github.com/troupe-llm/troupe/http/internal/dialect/model"
)

// TestHistories takes conversations as other servers wrote them: calls without
// arguments or with foreign ids, nulls and empty lists, contents in parts.
func TestHistories(t *testing.T) {
	call := func(function string) string {
		return `[{"role":"assistant","content":"","tool_calls":[{"id":"call_1","type":"function","function":{` + function + `}}]}]`
	}
	object, nine, parts := &model.Family{}, &model.Family{NineLetterIDs: true}, &model.Family{Parts: map[string]bool{"user": true}}
	for _, c := range []struct {
		f        *model.Family
		in, want string
	}{
		{object, call(`"name":"f","arguments":""`), call(`"name":"f","arguments":{}`)},
		{object, call(`"name":"f","arguments":" \n"`), call(`"name":"f","arguments":{}`)},
		{object, call(`"name":"f","arguments":null`), call(`"name":"f","arguments":{}`)},
		{object, call(`"name":"f"`), call(`"name":"f","arguments":{}`)},
		{object, call(``), call(`"arguments":{}`)},

		{object, `[{"role":"assistant","content":"a","tool_calls":[]}]`, `[{"role":"assistant","content":"a"}]`},
		{object, `[{"role":"assistant","content":"a","tool_calls":[ ]}]`, `[{"role":"assistant","content":"a"}]`},
		{object, `[{"role":"assistant","content":"a","tool_calls":null,"name":null}]`, `[{"role":"assistant","content":"a"}]`},
		{object, `[{"role":"assistant","content":null,"reasoning_content":"r"}]`, `[{"role":"assistant","reasoning_content":"r","content":""}]`},
		{object, `[{"role":"assistant","reasoning":"r"}]`, `[{"role":"assistant","reasoning":"r","content":""}]`},
		{
			object, `[{"role":"assistant","content":null,"tool_calls":[{"function":{"name":"f","arguments":"{}"}}]}]`,
			`[{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":"{}"}}],"content":""}]`,
		},
		{object, `[{"role":"assistant","content":null,"reasoning_content":null,"tool_calls":[]}]`, "[0].content: required"},

		{object, `[{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}]`, `[{"role":"user","content":"a b"}]`},
		{parts, `[{"content":[{"type":"text","text":"a"},"b"],"role":"user"}]`, `[{"content":[{"type":"text","text":"a"},{"type":"text","text":"b"}],"role":"user"}]`},
		{parts, `[{"role":"system","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}]`, `[{"role":"system","content":"a b"}]`},
		{parts, `[{"role":"user","content":[{"type":"image"}]}]`, "[0].content[0].type"},
	} {
		got, err := plainMessages(field.Value(c.in), c.f)
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
		got, err := plainMessages(field.Value(strings.ReplaceAll(answered, "ID", id)), nine)
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

// TestMessages makes a chat what templates expect, in the order it came.
func TestMessages(t *testing.T) {
	for in, want := range map[string]string{
		`[{"role":"user","content":"a"}]`: `[{"role":"user","content":"a"}]`,
		` [ { "content" : [ {"type":"text","text":"a\n"} , {"text":"\"b\"","type":"text"}, "c" ] , "role" : "user" } ] `: `[{"content":"a\n \"b\" c","role":"user"}]`,
		`[{"role":"assistant","content":null,"tool_calls":[{"id":"1","function":{"name":"f","arguments":"{\"z\": 1, \"a\": [2]}"}}]}]`:
		/**/ `[{"role":"assistant","tool_calls":[{"id":"1","function":{"name":"f","arguments":"{\"z\": 1, \"a\": [2]}"}}],"content":""}]`,
		`[{"role":"assistant","tool_calls":[{"function":{"arguments":"not an object"}}]}]`: `[{"role":"assistant","tool_calls":[{"function":{"arguments":"not an object"}}],"content":""}]`,
		`[{"role":"tool","tool_call_id":"1","content":"é\u00e9","z":{},"y":[]}]`:           `[{"role":"tool","tool_call_id":"1","content":"é\u00e9","z":{},"y":[]}]`,
	} {
		body, fault := field.Parse([]byte(`{"messages":` + in + `}`))
		if fault != nil {
			t.Fatal(fault)
		}
		for _, v := range body.Members() {
			got, err := plainMessages(v, &model.Family{})
			if err != nil || string(got) != want {
				t.Errorf("%s:\ngot  %s %v\nwant %s", in, got, err, want)
			}
		}
	}
}

// TestDevelopers are systems to a template that has not heard of them.
func TestDevelopers(t *testing.T) {
	const in = `[{"role":"developer","content":"a"},{"role":"user","content":"developer"}]`
	for knows, want := range map[bool]string{true: in, false: strings.Replace(in, "developer", "system", 1)} {
		if got, err := plainMessages(field.Value(in), &model.Family{Developers: knows}); err != nil || string(got) != want {
			t.Errorf("known %v: got %s, %v", knows, got, err)
		}
	}
}

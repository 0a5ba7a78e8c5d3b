package http

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/troupe-llm/troupe/http/internal/dialect/jsonenc"
)

// TestFormats has the built-in model, which tells stories, answer in formats it
// has never seen. With a temperature of 1 it says what it can; every answer
// that was not cut keeps to its format.
func TestFormats(t *testing.T) {
	h := start(t, builtin(t), Config{MaxChoices: 16})
	object := func(s string) error {
		var x map[string]any
		return json.Unmarshal([]byte(s), &x)
	}
	schema := `{"type":"object","properties":{"name":{"type":"string","maxLength":20},"age":{"type":"integer","minimum":1,"maximum":99},` +
		`"mood":{"enum":["glad","sad"]},"friend":{"anyOf":[{"$ref":"#"},{"type":"null"}]}},"required":["name","age","mood","friend"],"additionalProperties":false}`
	type person struct {
		Name   string
		Age    int
		Mood   string
		Friend *person
	}
	isPerson := func(s string) error {
		d := json.NewDecoder(strings.NewReader(s))
		d.DisallowUnknownFields()
		var p *person
		if err := d.Decode(&p); err != nil {
			return err
		}
		for ; p != nil; p = p.Friend {
			if p.Age < 1 || p.Age > 99 || !slices.Contains([]string{"glad", "sad"}, p.Mood) || len([]rune(p.Name)) > 20 {
				return fmt.Errorf("%+v", *p)
			}
		}
		return nil
	}
	matches := func(expr string) func(string) error {
		whole := regexp.MustCompile("^(?:" + expr + ")$")
		return func(s string) error {
			if !whole.MatchString(s) {
				return fmt.Errorf("does not match %s", expr)
			}
			return nil
		}
	}
	for _, tc := range []struct {
		name, field string
		check       func(string) error
		n           int
	}{
		{"json object", `"response_format":{"type":"json_object"}`, object, 16},
		{"json schema", `"response_format":{"type":"json_schema","json_schema":{"name":"person","strict":true,"schema":` + schema + `}}`, isPerson, 16},
		{"structured json", `"structured_outputs":{"json":` + schema + `}`, isPerson, 3},
		{"guided json", `"guided_json":` + string(jsonenc.Quoted(nil, schema)), isPerson, 3},
		{"structured object", `"structured_outputs":{"json_object":true}`, object, 3},
		{"structured regex", `"structured_outputs":{"regex":"[a-z]{2,9}( [a-z]+){0,3}!"}`, matches(`[a-z]{2,9}( [a-z]+){0,3}!`), 16},
		{"regex", `"regex":"\\d{3}-\\d{4}"`, matches(`\d{3}-\d{4}`), 16},
		{"guided regex", `"guided_regex":"(héé|日本)+"`, matches(`(héé|日本)+`), 3},
		{"choice", `"structured_outputs":{"choice":["a fox","a bear","a\nfox"]}`, matches(`a fox|a bear|a\nfox`), 16},
		{"structured grammar", `"structured_outputs":{"grammar":"root ::= item (\", \" item){0,3}\nitem ::= \"a \" (\"fox\" | \"bear\")"}`, matches(`a (fox|bear)(, a (fox|bear)){0,3}`), 16},
		{"guided grammar", `"guided_grammar":"start: WORD (\" \" WORD)*\nWORD: /[a-f]{1,4}/"`, matches(`[a-f]{1,4}( [a-f]{1,4})*`), 3},
		{"guided choice", `"guided_choice":["yes","no"]`, matches(`yes|no`), 3},
	} {
		t.Run(tc.name, func(t *testing.T) {
			status, body := h.read(h.post("/v1/chat/completions", `{"messages":[{"role":"user","content":"Tell me a story about a fox."}],"temperature":1,"seed":1,"max_tokens":200,"n":`+fmt.Sprint(tc.n)+`,`+tc.field+`}`))
			if status != 200 {
				t.Fatalf("%d %s", status, body)
			}
			var answer struct {
				Choices []struct {
					Message struct{ Content string }
					Finish  string `json:"finish_reason"`
				}
			}
			if err := json.Unmarshal([]byte(body), &answer); err != nil {
				t.Fatal(err)
			}
			whole := 0
			for _, c := range answer.Choices {
				if c.Finish == "length" {
					continue
				}
				whole++
				if err := tc.check(c.Message.Content); err != nil || c.Finish != "stop" {
					t.Errorf("%q ended with %q: %v", c.Message.Content, c.Finish, err)
				}
			}
			if len(answer.Choices) != tc.n || tc.n == 16 && whole == 0 {
				t.Errorf("of %d answers %d came to their end", len(answer.Choices), whole)
			}
		})
	}

	for _, tc := range []struct{ field, want string }{
		{`"response_format":{"type":"json_schema","json_schema":{"schema":{"properties":{"a":{"$dynamicRef":"#x"}}}}}`, `"param":"response_format.json_schema.schema.properties.a.$dynamicRef"`},
		{`"regex":"(?=a)"`, `"param":"regex"`},
		{`"guided_grammar":"root ::= other"`, `"param":"guided_grammar"`},
		{`"guided_json":"{"`, `"param":"guided_json"`},
	} {
		status, body := h.read(h.post("/v1/completions", `{"prompt":"a",`+tc.field+`}`))
		if status != 400 || !strings.Contains(body, tc.want) {
			t.Errorf("%s: %d %s", tc.field, status, body)
		}
	}
}

package http

import (
	"errors"
	"strings"
	"testing"

	"github.com/troupe-llm/troupe/http/internal/dialect/jsonenc"
	"github.com/troupe-llm/troupe/tokenize/grammar"
)

// TestStructuralTags tries texts on structural tags in both of their notations,
// and in both of the fields that they come in.
func TestStructuralTags(t *testing.T) {
	const (
		weather = `{"type":"object","properties":{"city":{"enum":["Oslo","Rome"]}},"required":["city"]}`
		count   = `{"type":"integer","minimum":0,"maximum":9}`
		tags    = `[{"type":"tag","begin":"<fn=weather>","content":{"type":"json_schema","json_schema":` + weather + `},"end":"</fn>"},` +
			`{"begin":"<fn=count>","content":{"type":"json_schema","json_schema":` + count + `},"end":["</fn>","<fn/>"]}]`
		old = `"structures":[{"begin":"<fn=weather>","schema":` + weather + `,"end":"</fn>"},{"begin":"<fn=count>","schema":` + count + `,"end":"</fn>"}],"triggers":["<fn="]`
	)
	format := func(form string) string {
		return `"response_format":{"type":"structural_tag","format":` + form + `}`
	}
	triggered := func(more string) string {
		return format(`{"type":"triggered_tags","triggers":["<fn="],"tags":` + tags + more + `}`)
	}
	anyCalls := []string{
		"+ ", "+ Hello <fn", `+ <fn=weather>{"city":"Oslo"}</fn>`, "+ It is <b>\n<fn=count>7</fn> and <fn=count>8</fn>!",
		"- <fn=", "- a <fn=other>1</fn>", "- <fn=count>12</fn>", "- <fn=count>1", `- <fn=weather>{"city":"Bonn"}</fn>`, "- <fn=<fn=count>1</fn>",
	}
	for name, tc := range map[string]struct {
		field string
		texts []string
	}{
		"structures":        {`"response_format":{"type":"structural_tag",` + old + `}`, anyCalls},
		"structured":        {`"structured_outputs":{"structural_tag":{"type":"structural_tag",` + old + `}}`, anyCalls},
		"in a string":       {`"structured_outputs":{"structural_tag":` + string(jsonenc.Quoted(nil, `{`+old+`}`)) + `}`, anyCalls},
		"triggered":         {triggered(""), append(anyCalls, "+ <fn=count>1<fn/>")},
		"at least one":      {triggered(`,"at_least_one":true`), []string{"+ so <fn=count>1</fn> it is", "- so", "- "}},
		"the first":         {triggered(`,"stop_after_first":true`), []string{"+ so <fn=count>1</fn>", "+ so", "- <fn=count>1</fn> it is"}},
		"without":           {triggered(`,"excludes":["no"]`), []string{"+ yes <fn=count>1</fn>", "- no", "- <fn=count>1</fn> no"}},
		"separated":         {format(`{"type":"tags_with_separator","separator":", ","tags":` + tags + `}`), []string{"+ ", "+ <fn=count>1</fn>, <fn=count>2<fn/>", "- a", "- <fn=count>1</fn><fn=count>1</fn>", "- <fn=count>1</fn>, "}},
		"text within a tag": {format(`{"type":"tag","begin":"<think>","content":{"type":"any_text"},"end":"</think>"}`), []string{"+ <think></think>", "+ <think>a</b></think>", "- <think>a</think>b</think>", "- <think>"}},
		"all together": {
			format(`{"type":"sequence","elements":[{"type":"optional","content":{"type":"const_string","value":"So: "}},{"type":"or","elements":[{"type":"regex","pattern":"[ab]{2}"},{"type":"grammar","grammar":"root ::= \"(\" root? \")\""}]},{"type":"star","content":{"type":"const_string","value":"!"}},{"type":"plus","content":{"type":"const_string","value":"?"}}]}`),
			[]string{"+ So: ab?", "+ ((()))!!??", "- ab!", "- (()?"},
		},
	} {
		s := mustServer(t)
		c, fault := decodeChat(s, `{"messages":[{"role":"user","content":"a"}],`+tc.field+`}`)
		if fault != nil {
			t.Errorf("%s: %v", name, fault)
			continue
		}
		g, err := grammar.Compile(t.Context(), c.Requests[0].Grammar, byteVocabulary())
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, line := range tc.texts {
			if got := follows(g, line[2:]); got != (line[0] == '+') {
				t.Errorf("%s: %q: let through: %v", name, line[2:], got)
			}
		}
	}
}

// follows reports whether a text of single bytes keeps to a grammar to its end.
func follows(g *grammar.Grammar, text string) bool {
	m := g.Matcher()
	var out []int32
	has := func(mask []uint32, id int32) bool { return mask[id/32]>>(id%32)&1 != 0 }
	for i := range len(text) {
		if !has(m.Allow(out), int32(text[i])) {
			return false
		}
		out = append(out, int32(text[i]))
	}
	return has(m.Allow(out), 256)
}

func mustServer(t *testing.T) *Server {
	t.Helper()
	s, err := newServer(Config{}, script(), zerologNop)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestStructuralTagRefusals says where in a structural tag something is wrong.
func TestStructuralTagRefusals(t *testing.T) {
	s := mustServer(t)
	for tag, want := range map[string]string{
		`{}`:                          `needs either "format", or "structures" and "triggers"`,
		`{"format":1}`:                `.format: expected an object`,
		`{"format":{"type":"token"}}`: `.format.type: "token" is not supported, only any_text, const_string, grammar, json_schema, optional, or, plus, regex, sequence, star, tag, tags_with_separator, triggered_tags are`,
		`{"format":{"type":"any_text","max_tokens":3}}`:                         `.format.max_tokens: unknown field`,
		`{"format":{"type":"json_schema","json_schema":{},"style":"qwen_xml"}}`: `.format.style: only "json" is supported`,
		`{"format":{"type":"sequence","elements":[{"type":"const_string"}]}}`:   `.format.elements[0].value: required`,
		`{"format":{"type":"or","elements":[]}}`:                                `.format.elements: must not be empty`,
		`{"format":{"type":"tag","begin":"a","end":"b"}}`:                       `.format.content: required`,
		`{"format":{"type":"tag","begin":"a","content":{"type":"any_text"}}}`:   `.format.end: required`,
		`{"format":{"type":"triggered_tags","triggers":[],"tags":[]}}`:          `.format.triggers: expected strings that are not empty`,
		`{"structures":[{"begin":"a","schema":{},"end":"b"}],"triggers":["x"]}`: `.structures[0].begin: "a" begins with none of the triggers`,
		`{"structures":[{"begin":"a","end":"b"}],"triggers":["a"]}`:             `.structures[0].schema: required`,
		`{"structures":[],"format":{}}`:                                         `needs either "format", or "structures" and "triggers"`,
		strings.Repeat(`{"format":{"type":"star","content":`, 1) + strings.Repeat(`{"type":"star","content":`, 40) + `{"type":"any_text"}` + strings.Repeat(`}`, 42): `is nested deeper than 32`,
	} {
		body := `{"prompt":"a","structured_outputs":{"structural_tag":` + tag + `}}`
		_, fault := decodeText(s, body)
		if fault == nil || !strings.Contains(fault.Message, want) || !strings.HasPrefix(fault.Param, "structured_outputs.structural_tag") {
			t.Errorf("%.80s: got %v, want %s", tag, fault, want)
		}
	}
	// What is wrong within is found when it is compiled, and named by its place.
	c, fault := decodeText(s, `{"prompt":"a","response_format":{"type":"structural_tag","format":{"type":"tag","begin":"a","content":{"type":"json_schema","json_schema":{"items":{"pattern":"("}}},"end":"b"}}}`)
	if fault != nil {
		t.Fatal(fault)
	}
	_, err := grammar.Compile(t.Context(), c.Requests[0].Grammar, byteVocabulary())
	var wrong *grammar.Error
	if !errors.As(err, &wrong) || wrong.Path != "response_format.format.content.json_schema.items.pattern" {
		t.Errorf("got %v", err)
	}
}

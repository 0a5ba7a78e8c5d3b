package http

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/troupe-llm/troupe/tokenize/grammar"
	"github.com/troupe-llm/troupe/tokenize/reply"
)

// templates are of families, and of none.
var templates = map[string]string{
	"hermes":      "{{ tools }}<tool_call>",
	"thinks":      "{{ tools }}<tool_call><think>",
	"llama3":      `{{ tools }}<|start_header_id|>ipython "parameters"`,
	"mistral":     "{{ tools }}[TOOL_CALLS]",
	"newer":       "{{ tools }}[TOOL_CALLS][ARGS]",
	"qwen3_coder": "{{ tools }}<tool_call><function=x><parameter=y>",
	"openai":      "{{ tools }}<|start|><|channel|><|message|>functions",
	"kimi_k2":     "{{ tools }}<|tool_calls_section_begin|>",
	"none":        "{{ tools }}",
}

// manyCalls are as many as a reply can have.
const manyCalls = 64

const weather = `"messages":[{"role":"user","content":"Rain?"}],"tools":[
	{"type":"function","function":{"name":"weather","strict":true,"parameters":{"type":"object","properties":{"city":{"enum":["Oslo","\"Rom\""]},"days":{"type":"integer","minimum":1,"maximum":9}},"required":["city"],"additionalProperties":false}}},
	{"type":"function","function":{"name":"time"}},
	{"type":"function","function":{"name":"note","parameters":{"properties":{"text":{"type":"string","maxLength":5}},"required":["text"],"additionalProperties":false}}}]`

// checkCall reports what is wrong with a call of weather's tools.
func checkCall(c *reply.ToolCall) error {
	var args struct {
		City, Text *string
		Days       *int
	}
	d := json.NewDecoder(strings.NewReader(string(c.Arguments)))
	d.DisallowUnknownFields()
	err := d.Decode(&args)
	ok := err == nil
	switch c.Name {
	case "weather":
		ok = ok && args.City != nil && args.Text == nil && slices.Contains([]string{"Oslo", `"Rom"`}, *args.City) && (args.Days == nil || *args.Days > 0 && *args.Days < 10)
	case "time":
		ok = ok && string(c.Arguments) == "{}"
	case "note":
		ok = ok && args.City == nil && args.Text != nil && len([]rune(*args.Text)) <= 5
	default:
		ok = false
	}
	if !ok {
		return fmt.Errorf("%s(%s): %w", c.Name, c.Arguments, cmp.Or(err, errors.New("not what was asked for")))
	}
	return nil
}

// wander draws a text that a grammar allows, byte by byte, ending it soon.
func wander(t *testing.T, g *grammar.Grammar, rng *rand.Rand) string {
	const end = 256
	var out []int32
	m := g.Matcher()
	for range 4000 {
		mask := m.Allow(out)
		var all, soon []int32
		for id := range int32(end + 1) {
			if mask[id/32]>>(id%32)&1 != 0 {
				if all = append(all, id); id == end || strings.ContainsRune("\"}]", id) {
					soon = append(soon, id)
				}
			}
		}
		if len(all) == 0 {
			t.Fatalf("nothing may follow %q: %v", out, m.Err())
		}
		if len(out) > 50 && slices.Contains(all, end) {
			all = []int32{end}
		}
		if c := nextOf(out); len(out) > 30 && slices.Contains(all, c) && rng.IntN(12) > 0 {
			out = append(out, c)
			continue
		}
		if len(soon) > 0 && rng.IntN(3) > 0 {
			all = soon
		}
		next := all[rng.IntN(len(all))]
		if next == end {
			break
		}
		out = append(out, next)
	}
	return byteTokenizer{}.Decode(out, false)
}

// closing are marks that end what could go on for ever.
var closing = []string{"</think>", "<|end|>", "\n</parameter>"}

// nextOf is the byte that goes on with a mark, or begins it: each for a while.
func nextOf(out []int32) int32 {
	mark := closing[len(out)/30%len(closing)]
	n := len(mark) - 1
	for n > 0 && (n > len(out) || byteTokenizer{}.Decode(out[len(out)-n:], false) != mark[:n]) {
		n--
	}
	return int32(mark[n])
}

// byteVocabulary has the tokens of byteTokenizer and 256, which ends a text.
func byteVocabulary() *grammar.Vocabulary {
	return grammar.NewVocabulary(257, func(id int32) []byte {
		if id == 256 {
			return nil
		}
		return []byte{byte(id)}
	}, []int32{256})
}

// TestToolChoice lets any text come that the grammar of a request allows, and
// reads it as the server would.
func TestToolChoice(t *testing.T) {
	vocabulary := byteVocabulary()
	rng := rand.New(rand.NewPCG(3, 4))
	for _, family := range slices.Sorted(maps.Keys(templates)) { // the same draws each time
		eng := script()
		eng.template = templates[family]
		s, err := newServer(Config{}, eng, zerologNop)
		if err != nil {
			t.Fatal(err)
		}
		for _, tc := range []struct {
			about, fields string
			least, most   int // calls
			names         []string
		}{
			{"required", `"tool_choice":"required"`, 1, manyCalls, []string{"weather", "time", "note"}},
			{"required, but one", `"tool_choice":"required","parallel_tool_calls":false`, 1, 1, []string{"weather", "time", "note"}},
			{"named", `"tool_choice":{"type":"function","function":{"name":"note"}}`, 1, 1, []string{"note"}},
			{"strict", `"tool_choice":"auto"`, 0, manyCalls, []string{"weather", "time", "note"}},
			{"or a format", `"response_format":{"type":"json_object"}`, 0, manyCalls, []string{"weather", "time", "note"}},
		} {
			c, fault := decodeChat(s, `{`+tc.fields+`,`+weather+`}`)
			if family == "none" && tc.least == 0 {
				if fault == nil && c.Reply.Format != nil {
					t.Errorf("%s/%s: calls of an unknown family are looked for", family, tc.about)
				}
				continue
			}
			if fault != nil {
				t.Fatalf("%s/%s: %v", family, tc.about, fault)
			}
			g, err := grammar.Compile(t.Context(), c.Requests[0].Grammar, vocabulary)
			if err != nil {
				t.Fatalf("%s/%s: %v", family, tc.about, err)
			}
			for range 20 {
				text := wander(t, g, rng)
				var m reply.Message
				m.Add(reply.NewParser(c.Reply).Finish([]byte(text)))
				if n := len(m.Calls); n < tc.least || n > tc.most || tc.least > 0 && len(m.Text) > 0 {
					t.Errorf("%s/%s: %.300q has %d calls and the text %.300q", family, tc.about, text, n, m.Text)
				}
				for i := range m.Calls {
					err := checkCall(&m.Calls[i])
					if !slices.Contains(tc.names, m.Calls[i].Name) || err != nil && (tc.least > 0 || m.Calls[i].Name == "weather") {
						t.Errorf("%s/%s: %.300q: %v", family, tc.about, text, err)
					}
				}
				if c.Reply.Reasoning == nil && family != "openai" && len(m.Reasoning) > 0 {
					t.Errorf("%s/%s: %q is reasoning", family, tc.about, m.Reasoning)
				}
			}
		}
	}
}

// TestReasoningComesFirst lets a model think before it keeps to a grammar, also
// when its prompt has begun that.
func TestReasoningComesFirst(t *testing.T) {
	vocabulary := byteVocabulary()
	for _, tc := range []struct {
		content, text string
		want          bool
	}{
		{"So", "ab", true},
		{"So", "<think>x</think>\n\nab", true},
		{"So", "x</think>ab", false},
		{"So", "<think>x", false},
		{"<think>Hm", "x</think>ab", true},
		{"<think>Hm", "ab", false},
	} {
		eng := script()
		eng.template = templates["thinks"]
		s, err := newServer(Config{}, eng, zerologNop)
		if err != nil {
			t.Fatal(err)
		}
		c, fault := decodeChat(s, `{"guided_regex":"ab","add_generation_prompt":false,"continue_final_message":true,"messages":[{"role":"assistant","content":"`+tc.content+`"}]}`)
		if fault != nil {
			t.Fatal(fault)
		}
		g, err := grammar.Compile(t.Context(), c.Requests[0].Grammar, vocabulary)
		if err != nil {
			t.Fatal(err)
		}
		m, out, ok := g.Matcher(), []int32(nil), true
		for _, id := range append(byteTokenizer{}.Encode(tc.text, false), 256) {
			ok = ok && m.Allow(out)[id/32]>>(id%32)&1 != 0
			out = append(out, id)
		}
		if ok != tc.want || c.Requests[0].Grammar.Path() != "guided_regex" {
			t.Errorf("after %q, %q is allowed: %v; path %s", tc.content, tc.text, ok, c.Requests[0].Grammar.Path())
		}
	}
}

// TestBuiltinCallsTools has a model that tells stories call tools it has never
// heard of.
func TestBuiltinCallsTools(t *testing.T) {
	eng := builtin(t)
	for _, parser := range []string{"none", "hermes", "mistral", "llama3_json", "qwen3_coder", "glm45", "deepseek_v32", "kimi_k2", "gemma4", "pythonic"} {
		h := start(t, eng, Config{ToolCallParser: parser})
		status, body := h.read(h.post("/v1/chat/completions", `{"n":4,"seed":1,"max_tokens":400,"parallel_tool_calls":false,"tool_choice":"required",`+weather+`}`))
		var answer struct {
			Choices []struct {
				Message struct {
					Content   *string
					ToolCalls []struct {
						Function struct{ Name, Arguments string }
					} `json:"tool_calls"`
				}
				FinishReason string `json:"finish_reason"`
			}
		}
		if err := json.Unmarshal([]byte(body), &answer); err != nil || status != 200 {
			t.Fatal(status, body, err)
		}
		for _, ch := range answer.Choices {
			if ch.FinishReason != "tool_calls" || ch.Message.Content != nil || len(ch.Message.ToolCalls) != 1 {
				t.Errorf("%s: %+v", parser, ch)
				continue
			}
			f := ch.Message.ToolCalls[0].Function
			if err := checkCall(&reply.ToolCall{Name: f.Name, Arguments: []byte(f.Arguments)}); err != nil {
				t.Errorf("%s: %v", parser, err)
			}
		}
	}
}

package http

import (
	"slices"
	"strings"
	"testing"

	"github.com/troupe-llm/troupe/actors"
	"github.com/troupe-llm/troupe/http/internal/dialect/model"
)

const (
	withTools = `"tools":[{"type":"function","function":{"name":"f","parameters":{}}},{"type":"function","function":{"name":"g"}}]`
	withHi    = `"messages":[{"role":"user","content":"Hi"}]`
)

// TestOneCall ends the request with its first call, when there may be no other.
func TestOneCall(t *testing.T) {
	for _, stream := range []string{"true", "false"} {
		st := newFakeStream(started("Hi"), says(`<tool_call>{"name": "f"}</tool_`))
		eng := engineOf(func(int, *actors.Request) (*fakeStream, error) { return st, nil })
		eng.template = "{{ tools }}<tool_call>"
		h := start(t, eng, Config{})
		go func() { // as the engine would
			<-st.canceled
			st.push(says(`call><tool_call>{"name": "g"}`), ends(actors.FinishAbort, 2, 30))
		}()
		status, body := h.read(h.post("/v1/chat/completions", `{"stream":`+stream+`,"parallel_tool_calls":false,`+withTools+`,`+withHi+`}`))
		if status != 200 || !strings.Contains(body, `"finish_reason":"tool_calls"`) || strings.Contains(body, `"g"`) || strings.Count(body, `"call_`) != 1 {
			t.Errorf("%d %s", status, body)
		}
	}
}

// TestMarksAreShown has special tokens in the text only where they mean
// something.
func TestMarksAreShown(t *testing.T) {
	for body, want := range map[string]bool{
		`{` + withHi + `,` + withTools + `}`:                      true,
		`{` + withHi + `,` + withTools + `,"tool_choice":"none"}`: false,
		`{` + withHi + `}`: false,
	} {
		eng := engineOf(nil)
		eng.template = "{{ tools }}[TOOL_CALLS]"
		r := ask(t, eng, "/v1/chat/completions", body)[0]
		if got := slices.Contains(r.Show, '['); got != want || r.TextEnds {
			t.Errorf("%s: %+v", body, r)
		}
	}
	eng := engineOf(nil)
	eng.template = "<think>"
	if r := ask(t, eng, "/v1/chat/completions", `{`+withHi+`}`)[0]; !r.TextEnds || len(r.Show) > 0 {
		t.Errorf("reasoning tokens cannot be counted: %+v", r)
	}
}

// TestNamedIDs numbers the calls of a family over the conversation.
func TestNamedIDs(t *testing.T) {
	const written = "<|tool_calls_section_begin|><|tool_call_begin|>functions.f:2<|tool_call_argument_begin|>{}<|tool_call_end|><|tool_call_begin|>functions.g:3<|tool_call_argument_begin|>{}"
	eng := script([]actors.Output{started("Hi"), says(written), ends("stop", 2, 9)})
	eng.template = "{{ tools }}<|tool_calls_section_begin|>"
	h := start(t, eng, Config{})
	_, body := h.read(h.post("/v1/chat/completions", `{`+withTools+`,"messages":[{"role":"user","content":"Hi"},{"role":"assistant","tool_calls":[
		{"id":"a","type":"function","function":{"name":"f","arguments":"{}"}},{"id":"b","type":"function","function":{"name":"f","arguments":"{}"}}]}]}`))
	if !strings.Contains(body, `"id":"functions.f:2"`) || !strings.Contains(body, `"id":"functions.g:3"`) {
		t.Errorf("%s", body)
	}
}

// TestStopsInAnswers tells the engine where stop strings count, whenever a reply
// may hold more than an answer.
func TestStopsInAnswers(t *testing.T) {
	for body, want := range map[string]bool{
		`{"stop":"x",` + withHi + `,` + withTools + `}`:          true,
		`{"stop":"x",` + withHi + `}`:                            true,
		`{"stop":"x","separate_reasoning":false,` + withHi + `}`: false,
		`{` + withHi + `}`:                                       false,
		`{"stop":"x","tool_choice":"none","separate_reasoning":false,` + withHi + `,` + withTools + `}`: false,
	} {
		eng := engineOf(nil)
		eng.template = "{{ tools }}<tool_call><think>"
		if r := ask(t, eng, "/v1/chat/completions", body)[0]; (r.Reply != nil) != want {
			t.Errorf("%s: %+v", body, r.Reply)
		}
	}
	eng := engineOf(nil)
	eng.template = "<think>"
	if r := ask(t, eng, "/v1/completions", `{"prompt":"a","stop":"x"}`)[0]; r.Reply != nil {
		t.Errorf("a text completion is all answer: %+v", r.Reply)
	}
}

// TestStrictTemplates has users who speak twice in a row, and tools that say little,
// as a template wants them that refuses these.
func TestStrictTemplates(t *testing.T) {
	const (
		users = `"messages":[{"role":"user","content":"a"},{"role":"user","content":"b"},{"role":"assistant","content":"c"},{"role":"user","content":"d"},{"role":"user","content":[{"type":"text","text":"e"}]}]`
		said  = `[{"role": "user", "content": "a\n\nb"}, {"role": "assistant", "content": "c"}, {"role": "user", "content": "d\n\ne"}]`
		parts = `[{"role": "user", "content": "a\n\nb"}, {"role": "assistant", "content": "c"}, {"role": "user", "content": [{"type": "text", "text": "d"}, {"type": "text", "text": "e"}]}]`
	)
	for template, want := range map[string]string{
		"users alternate":                said,
		"users alternate parts of users": parts,
		"":                               `[{"role": "user", "content": "a"}, {"role": "user", "content": "b"}, {"role": "assistant", "content": "c"}, {"role": "user", "content": "d"}, {"role": "user", "content": "e"}]`,
	} {
		eng := engineOf(nil)
		eng.template = template
		r := ask(t, eng, "/v1/chat/completions", `{`+users+`}`)[0]
		if got, err := (byteTokenizer{}).Render(*r.Chat); got != want || err != nil {
			t.Errorf("%q: got %s, %v, want %s", template, got, err, want)
		}
	}
	eng := engineOf(nil)
	eng.template = "{{ tools }} whole tools"
	r := ask(t, eng, "/v1/chat/completions", `{`+withHi+`,"tools":[{"type":"function","function":{"name":"f"}},{"type":"function","function":{"name":"g","description":"d","parameters":{"type":"object"}}}]}`)[0]
	const want = `[{"function":{"description":"","name":"f","parameters":{"properties":{},"type":"object"}},"type":"function"},{"function":{"description":"d","name":"g","parameters":{"type":"object"}},"type":"function"}]`
	if got := sorted(t, r.Chat.Tools); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestFamily takes what is configured, and else what the template tells.
func TestFamily(t *testing.T) {
	for _, tc := range []struct {
		template, tools, reasoning string
		format                     string
		thinks                     bool
	}{
		{"{{ tools }}<tool_call>…<think>", "auto", "auto", "hermes", true},
		{"{{ tools }}<tool_call>…<think>", "none", "none", "none", false},
		{"{{ tools }}[TOOL_CALLS]", "auto", "auto", "mistral", false},
		{"{{ tools }}[TOOL_CALLS]", "hermes", "think", "hermes", true},
		{`{{ tools }}<|start_header_id|>ipython "parameters"`, "auto", "auto", "llama3", false},
		{"{{ tools }}<tool_call><function=x><parameter=y>", "auto", "auto", "qwen3_coder", false},
		{"{{ tools }}<tool_call>", "glm45", "deepseek_r1", "glm45", true},
		{"", "auto", "auto", "none", false},
	} {
		cfg := Config{ToolCallParser: tc.tools, ReasoningParser: tc.reasoning}
		if f := model.NewFamily(cfg.ToolCallParser, cfg.ReasoningParser, byteTokenizer{tc.template}); f.Format.Name() != tc.format || (f.Reasoning != nil) != tc.thinks {
			t.Errorf("%+v: got %+v", tc, f)
		}
	}
	if _, err := (Config{ToolCallParser: "qwen9"}).complete(); err == nil || !strings.Contains(err.Error(), "hermes") {
		t.Errorf("an unknown parser: %v", err)
	}
}

// TestToolsUnseen refuses tools that the model would never hear of.
func TestToolsUnseen(t *testing.T) {
	for choice, want := range map[string]int{`"auto"`: 400, `"none"`: 200, `"required"`: 200} {
		eng := script([]actors.Output{started("a"), ends("stop", 1, 0)})
		eng.template = "{{ messages }}"
		h := start(t, eng, Config{})
		status, body := h.read(h.post("/v1/chat/completions", `{"tool_choice":`+choice+`,`+withTools+`,`+withHi+`}`))
		if status != want || status == 400 && !strings.Contains(body, `"param":"tools"`) {
			t.Errorf("%s: %d %s", choice, status, body)
		}
	}
}

// TestContinuedReasoning goes on with a message whose reasoning is not over.
func TestContinuedReasoning(t *testing.T) {
	for content, want := range map[string]string{
		"<think>Hm":            `"content":"","refusal":null,"reasoning_content":"x","reasoning":"x"`,
		"<think>Hm.</think>So": `"content":"x","refusal":null`,
		"What is <think>?":     `"content":"","refusal":null,"reasoning_content":"x","reasoning":"x"`,
	} {
		for template, content := range map[string]string{
			"<think>":                     `"` + content + `"`,
			"<think> parts of assistants": `[{"type":"text","text":"` + content[:3] + `"},"` + content[3:] + `"]`,
		} {
			eng := script([]actors.Output{started("Hi"), says("x"), ends("length", 1, 1)})
			eng.template = template
			h := start(t, eng, Config{})
			_, body := h.read(h.post("/v1/chat/completions", `{"add_generation_prompt":false,"continue_final_message":true,"messages":[{"role":"assistant","content":`+content+`}]}`))
			if !strings.Contains(body, want+"}") {
				t.Errorf("%s: %s", content, body)
			}
		}
	}
}

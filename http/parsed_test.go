package http

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/troupe-llm/troupe/actors"
)

// received is a message as a client has it in the end.
type received struct {
	Content   *string
	Reasoning string `json:"reasoning_content"`
	ToolCalls []struct {
		ID, Type string
		Index    int
		Function struct{ Name, Arguments string }
	} `json:"tool_calls"`
}

func (m *received) String() string {
	content := ""
	if m.Content != nil {
		content = *m.Content
	}
	s := fmt.Sprintf("%q %q", m.Reasoning, content)
	for _, c := range m.ToolCalls {
		s += fmt.Sprintf(" %s(%s)", c.Function.Name, c.Function.Arguments)
	}
	return s
}

// fold puts a stream's deltas together as clients do.
func fold(t *testing.T, stream string) (m received) {
	t.Helper()
	m.Content = new(string)
	ids := map[string]bool{}
	for line := range strings.Lines(stream) {
		data, is := strings.CutPrefix(line, "data: {")
		if !is {
			continue
		}
		var chunk struct{ Choices []struct{ Delta received } }
		if err := json.Unmarshal([]byte("{"+data), &chunk); err != nil {
			t.Fatal(err, line)
		}
		for _, c := range chunk.Choices {
			if c.Delta.Content != nil {
				*m.Content += *c.Delta.Content
			}
			m.Reasoning += c.Delta.Reasoning
			for _, d := range c.Delta.ToolCalls {
				if d.Index == len(m.ToolCalls) {
					if d.ID == "" || d.Type != "function" || d.Function.Name == "" || ids[d.ID] {
						t.Fatalf("a call begins with %+v", d)
					}
					ids[d.ID] = true
					m.ToolCalls = append(m.ToolCalls, d)
					continue
				}
				if d.Index != len(m.ToolCalls)-1 || d.ID+d.Type+d.Function.Name != "" {
					t.Fatalf("call %d of %d goes on with %+v", d.Index, len(m.ToolCalls), d)
				}
				m.ToolCalls[d.Index].Function.Arguments += d.Function.Arguments
			}
		}
	}
	return m
}

// TestStreamedIsWhole writes replies as models of each family do, cut anywhere:
// streamed and whole, a client has what was written.
func TestStreamedIsWhole(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	words := []string{"", "Hm.", "Let <me> see: é { \"", "a\n\nb"}
	arguments := []string{"{}", `{"a": "}\"\n</tool_call>"}`, `{"é": [1, {"b": null}], "c": -0.5}`}
	for _, family := range []struct {
		name, template              string
		begin, before, after, again string // of a call's arguments; between two calls
		end                         string
	}{
		{"hermes", templates["hermes"], "<tool_call>", `{"name": "f", "arguments": `, "}", "</tool_call><tool_call>", "</tool_call>"},
		{"thinks", templates["thinks"], "<tool_call>\n", `{"name": "f", "arguments": `, "}", "\n</tool_call>\n<tool_call>\n", "\n</tool_call>"},
		{"llama3", templates["llama3"], "", `{"name": "f", "parameters": `, "}", "; ", ""},
		{"mistral", templates["mistral"], "[TOOL_CALLS][", `{"name": "f", "arguments": `, "}", ", ", "]"},
		{"newer", templates["newer"], "", "[TOOL_CALLS]f[ARGS]", "", "", ""},
		{"kimi_k2", templates["kimi_k2"], "<|tool_calls_section_begin|>", "<|tool_call_begin|>functions.f:0<|tool_call_argument_begin|>", "<|tool_call_end|>", "", "<|tool_calls_section_end|>"},
	} {
		var replies [][]actors.Output
		var want []string
		for range 30 {
			thought, text := "", words[rng.IntN(len(words))]
			calls := rng.IntN(3)
			written := ""
			if family.name == "thinks" && rng.IntN(2) == 0 {
				thought = words[rng.IntN(len(words))]
				written = "<think>\n" + thought + "\n</think>\n\n"
			}
			if calls > 0 && family.name == "llama3" {
				text = "" // it says nothing beside its calls
			}
			written += text
			all := fmt.Sprintf("%q %q", thought, text)
			for i := range calls {
				between := family.again
				if i == 0 {
					between = family.begin
				}
				args := arguments[rng.IntN(len(arguments))]
				written += between + family.before + args + family.after
				all += fmt.Sprintf(" f(%s)", args)
			}
			if calls > 0 {
				written += family.end
			}
			events := []actors.Output{started("Hi")}
			for rest := written; rest != ""; {
				n := 1 + rng.IntN(len(rest))
				for n < len(rest) && !utf8.RuneStart(rest[n]) { // as events have it
					n++
				}
				events = append(events, thinks(rest[:n]))
				rest = rest[n:]
			}
			events = append(events, ends("stop", 2, len(written)))
			replies = append(replies, events, events)
			want = append(want, all)
		}
		eng := script(replies...)
		eng.template = family.template
		h := start(t, eng, Config{})
		for i, want := range want {
			_, stream := h.read(h.post("/v1/chat/completions", `{"stream":true,`+withTools+`,`+withHi+`}`))
			streamed := fold(t, stream)
			_, body := h.read(h.post("/v1/chat/completions", `{`+withTools+`,`+withHi+`}`))
			var whole struct {
				Choices []struct {
					Message received
					Finish  string `json:"finish_reason"`
				}
			}
			if err := json.Unmarshal([]byte(body), &whole); err != nil {
				t.Fatal(err, body)
			}
			m := &whole.Choices[0].Message
			if streamed.String() != want || m.String() != want {
				t.Errorf("%s %d:\nstreamed %s\nwhole    %s\nwant     %s", family.name, i, &streamed, m, want)
			}
			finish := "stop"
			if len(m.ToolCalls) > 0 {
				finish = "tool_calls"
			}
			if whole.Choices[0].Finish != finish || !strings.Contains(stream, `"finish_reason":"`+finish+`"`) {
				t.Errorf("%s %d: it ends with %q, want %q: %s", family.name, i, whole.Choices[0].Finish, finish, stream)
			}
		}
	}
}

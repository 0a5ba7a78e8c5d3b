package tokenize

import (
	"cmp"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/troupe-llm/troupe/tokenize/reply"
)

// TestTextArguments tries templates of both kinds.
func TestTextArguments(t *testing.T) {
	for source, want := range map[string]bool{
		`{% for m in messages %}{{ m.content }}{% for c in m.tool_calls or [] %}{{ c.function.arguments | tojson }}{% endfor %}{% endfor %}`:                                              false,
		`{% for m in messages %}{{ m.content }}{% for c in m.tool_calls or [] %}{{ '~' + c.function.arguments + '~' }}{% endfor %}{% endfor %}`:                                           true,
		`{% for m in messages %}{{ m.content }}{% for c in m.tool_calls or [] %}{{ c.function.arguments }}{% endfor %}{% endfor %}`:                                                       true,
		`{% for m in messages %}{% for c in m.tool_calls or [] %}{{ c.function.arguments if c.function.arguments is string else c.function.arguments | tojson }}{% endfor %}{% endfor %}`: false,
		`{% for m in messages %}{% for c in m.tool_calls or [] %}{% for k, v in c.function.arguments | items %}{{ k + '=' + v }}{% endfor %}{% endfor %}{% endfor %}`:                     false,
		`{% for m in messages %}{{ m.content }}{% endfor %}`: false,
	} {
		c, err := LoadChat(fstest.MapFS{chatFile: {Data: []byte(source)}})
		if err != nil {
			t.Fatal(err)
		}
		if got := c.TextArguments(); got != want {
			t.Errorf("%s: %v", source, got)
		}
	}
}

// TestPublishedTextArguments names the published templates that want text.
func TestPublishedTextArguments(t *testing.T) {
	dir := filepath.Join(fixtures(t), "chat")
	names, err := filepath.Glob(filepath.Join(dir, "templates", "*.jinja"))
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	var got []string
	for _, name := range names {
		name = strings.TrimSuffix(filepath.Base(name), ".jinja")
		if fixtureChat(t, dir, name).TextArguments() {
			got = append(got, name)
		}
	}
	want := "deepseek-ai-DeepSeek-V3.1 meetkai-functionary-medium-v3.1 meetkai-functionary-medium-v3.2"
	if strings.Join(got, " ") != want {
		t.Errorf("got %v, want %s", got, want)
	}
}

// TestPublishedFormats holds the parser of replies against published templates:
// which format each shows, and that what it writes of earlier calls is read as
// those calls.
func TestPublishedFormats(t *testing.T) {
	dir := filepath.Join(fixtures(t), "chat")
	want := map[string]string{}
	for format, templates := range map[string][]string{
		"seed_oss":  {"ByteDance-Seed-OSS"},
		"command_r": {"CohereForAI-c4ai-command-r7b-12-2024-tool_use"},
		"mistral": {
			"Mistral-Small-3.2-24B-Instruct-2506",
			"unsloth-mistral-Devstral-Small-2507",
			"mistralai-Mistral-Nemo-Instruct-2407",
		},
		"nemotron_json": {"NVIDIA-Nemotron-Nano-v2"},
		"hermes": {
			"NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use",
			"NousResearch-Hermes-3-Llama-3.1-8B-tool_use",
			"Qwen-QwQ-32B",
			"Qwen-Qwen2.5-7B-Instruct",
			"Qwen-Qwen3-0.6B",
		},
		"deepseek_v3": {
			"deepseek-ai-DeepSeek-R1-Distill-Llama-8B",
			"deepseek-ai-DeepSeek-R1-Distill-Qwen-32B",
			"llama-cpp-deepseek-r1",
		},
		"deepseek_v31":   {"deepseek-ai-DeepSeek-V3.1"},
		"phi4_mini_json": {"fireworks-ai-llama-3-firefunction-v2"},
		"granite":        {"ibm-granite-granite-3.3-2B-Instruct"},
		"functionary":    {"meetkai-functionary-medium-v3.1"},
		"llama3": {
			"meta-llama-Llama-3.1-8B-Instruct",
			"meta-llama-Llama-3.2-3B-Instruct",
			"meta-llama-Llama-3.3-70B-Instruct",
		},
		"kimi_k2": {"moonshotai-Kimi-K2"},
		"openai":  {"openai-gpt-oss-120b"},
	} {
		for _, t := range templates {
			want[t] = format
		}
	}
	// These write no calls beside a content that is not null, or want variables
	// of their own.
	unwritten := []string{"fireworks-ai-llama-3-firefunction-v2", "deepseek-ai-DeepSeek-R1-Distill-Llama-8B", "deepseek-ai-DeepSeek-R1-Distill-Qwen-32B", "ibm-granite-granite-3.3-2B-Instruct", "llama-cpp-deepseek-r1"}
	names, err := filepath.Glob(filepath.Join(dir, "templates", "*.jinja"))
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	read := 0
	for _, name := range names {
		name = strings.TrimSuffix(filepath.Base(name), ".jinja")
		c := fixtureChat(t, dir, name)
		template, err := c.pick("", true)
		if err != nil {
			t.Fatal(err)
		}
		format := reply.DetectFormat(template.source)
		if got := format.Name(); got != cmp.Or(want[name], "none") {
			t.Errorf("%s: format %s, want %s", name, got, want[name])
		}
		if format == nil || slices.Contains(unwritten, name) {
			continue
		}
		o := reply.Options{Format: format, Tools: []reply.Tool{{Name: "weather"}, {Name: "time"}}, Reasoning: reply.DetectReasoning(template.source)}
		for calls := 1; calls <= 2; calls++ {
			written, err := writtenCalls(t, c, calls)
			if calls == 2 && (err != nil || format.Channels != nil) {
				continue // it takes one at a time
			}
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			var m reply.Message
			m.Add(reply.NewParser(o).Finish([]byte(written)))
			var got []string
			for _, call := range m.Calls {
				var args any
				if err := json.Unmarshal(call.Arguments, &args); err != nil {
					t.Errorf("%s: %s: %v", name, call.Arguments, err)
				}
				got = append(got, fmt.Sprint(call.Name, args))
			}
			all := []string{"weather" + fmt.Sprint(map[string]any{"city": "Oslo \"N\"", "days": 2.0, "of": []any{"rain", "snow"}}), "time" + fmt.Sprint(map[string]any{"in": "Rom"})}
			if len(m.Text)+len(m.Reasoning) > 0 || !slices.Equal(got, all[:calls]) {
				t.Errorf("%s: %q is read as %q, %q, want %q", name, written, m.Text, got, all[:calls])
			}
			read++
		}
	}
	if read < len(want)-len(unwritten) {
		t.Errorf("%d histories were read, want %d or more", read, len(want)-len(unwritten))
	}
}

// writtenCalls is what a model would have written to have these calls in its
// history.
func writtenCalls(t *testing.T, c *ChatTemplates, calls int) (string, error) {
	t.Helper()
	const asked = `{"role": "user", "content": "Rain?"}`
	first, second := `{"city": "Oslo \"N\"", "days": 2, "of": ["rain", "snow"]}`, `{"in": "Rom"}`
	if c.TextArguments() {
		first, second = strconv.Quote(first), strconv.Quote(second)
	}
	list := `{"id": "abcdefghi", "type": "function", "function": {"name": "weather", "arguments": ` + first + `}}`
	if calls == 2 {
		list += `, {"id": "abcdefghj", "type": "function", "function": {"name": "time", "arguments": ` + second + `}}`
	}
	called := `{"role": "assistant", "content": "", "tool_calls": [` + list + `]}`
	tools := listOf(t, DecodeTools, []byte(`[{"type": "function", "function": {"name": "weather", "description": "Tells.", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}]`))
	before, err := c.Render(Chat{Messages: messagesOf(t, "["+asked+"]"), Tools: tools, AddGenerationPrompt: true})
	if err != nil {
		return "", err
	}
	after, err := c.Render(Chat{Messages: messagesOf(t, "["+asked+","+called+"]"), Tools: tools})
	if err != nil {
		return "", err
	}
	// All after what both begin with; not every template writes the reasoning
	// that its prompt began again.
	n := 0
	for n < len(before) && n < len(after) && before[n] == after[n] {
		n++
	}
	if n < len(before) {
		n = 1 + strings.LastIndex(after[:n], "\n")
	}
	written := after[n:]
	for _, end := range []string{"<|im_end|>", "<|eot_id|>", "<|eom_id|>", "</s>", "<｜end▁of▁sentence｜>", "<seed:eos>", "<SPECIAL_12>", "<|END_OF_TURN_TOKEN|>"} {
		written, _, _ = strings.Cut(written, end)
	}
	return written, nil
}

// TestTemplatesWishes: which content parts published templates look into, and which
// ids of calls they take.
func TestTemplatesWishes(t *testing.T) {
	dir := filepath.Join(fixtures(t), "chat")
	names, err := filepath.Glob(filepath.Join(dir, "templates", "*.jinja"))
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	parts := map[string][]string{
		"Mistral-Small-3.2-24B-Instruct-2506":  {"assistant", "user"}, // of a system's only the first is written
		"moonshotai-Kimi-K2":                   {"assistant", "developer", "system", "user"},
		"unsloth-mistral-Devstral-Small-2507":  {"user"},
		"mistralai-Mistral-Nemo-Instruct-2407": nil,
		"meta-llama-Llama-3.2-3B-Instruct":     nil,
		"ibm-granite-granite-3.3-2B-Instruct":  nil,
	}
	nine := map[string]bool{"Mistral-Small-3.2-24B-Instruct-2506": true, "mistralai-Mistral-Nemo-Instruct-2407": true}
	for _, name := range names {
		name = strings.TrimSuffix(filepath.Base(name), ".jinja")
		c := fixtureChat(t, dir, name)
		var got []string
		for role, looks := range c.ContentParts() {
			if looks {
				got = append(got, role)
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, parts[name]) || c.NineLetterIDs() != nine[name] {
			t.Errorf("%s looks into the parts of %v, wants nine letters: %v", name, got, c.NineLetterIDs())
		}
	}
	const history = `[{"role": "user", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]}]`
	for name, want := range map[string]string{ // as jinja2 renders them
		"unsloth-mistral-Devstral-Small-2507": "[INST]onetwo[/INST]",
		"Mistral-Small-3.2-24B-Instruct-2506": "[INST]onetwo[/INST]",
	} {
		text, err := fixtureChat(t, dir, name).Render(Chat{Messages: messagesOf(t, history)})
		if err != nil || !strings.HasSuffix(text, want) {
			t.Errorf("%s: %q, %v", name, text, err)
		}
	}
}

// TestTrialsAreCheap: what is found out about a template while a model is opened has
// a small budget, whatever the template.
func TestTrialsAreCheap(t *testing.T) {
	c := &ChatTemplates{named: map[string]*chatTemplate{}}
	c.add("default", `{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}`)
	if _, err := c.try(decoded(`[{"role": "user", "content": "a"}]`)); err == nil || !strings.Contains(err.Error(), "more than 200000 steps") {
		t.Errorf("%v", err)
	}
	if c.TextArguments() || c.NineLetterIDs() || len(c.ContentParts()) > 0 || c.LateSystems() || c.Alternates() || c.WholeTools() {
		t.Error("something was found out")
	}
}

// TestStrictTemplates tells templates that refuse what APIs allow.
func TestStrictTemplates(t *testing.T) {
	dir := filepath.Join(fixtures(t), "chat")
	names, err := filepath.Glob(filepath.Join(dir, "templates", "*.jinja"))
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	var alternate, whole []string
	for _, name := range names {
		name = strings.TrimSuffix(filepath.Base(name), ".jinja")
		c := fixtureChat(t, dir, name)
		if c.Alternates() {
			alternate = append(alternate, name)
		}
		if c.WholeTools() {
			whole = append(whole, name)
		}
	}
	if want := []string{"Mistral-Small-3.2-24B-Instruct-2506", "google-gemma-2-2b-it", "mistralai-Mistral-Nemo-Instruct-2407"}; !slices.Equal(alternate, want) {
		t.Errorf("users may not speak twice to %q, want %q", alternate, want)
	}
	if want := []string{
		"ByteDance-Seed-OSS", "CohereForAI-c4ai-command-r-plus-tool_use", "CohereForAI-c4ai-command-r7b-12-2024-tool_use",
		"NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use", "NousResearch-Hermes-3-Llama-3.1-8B-tool_use", "meetkai-functionary-medium-v3.1", "openai-gpt-oss-120b",
	}; !slices.Equal(whole, want) {
		t.Errorf("tools have to be whole for %q, want %q", whole, want)
	}
}

// TestLateSystems tells templates that show a system's message wherever it is from
// those that leave it out, and those that fail of it.
func TestLateSystems(t *testing.T) {
	for template, want := range map[string]bool{
		`{% for m in messages %}{{ m.role }}: {{ m.content }}{% endfor %}`:                                                    true,
		`{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}{% endif %}{% endfor %}`:                              false,
		`{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no') }}{% endif %}{{ m.content }}{% endfor %}`: false,
	} {
		c := &ChatTemplates{named: map[string]*chatTemplate{}}
		c.add("default", template)
		if got := c.LateSystems(); got != want {
			t.Errorf("%s: %v", template, got)
		}
	}
}

// TestArgumentsForm gives a template the arguments of calls in the form that it wants, whichever they come in.
func TestArgumentsForm(t *testing.T) {
	object := `{% for m in messages %}{% for c in m.tool_calls %}{{ c.function.arguments | tojson }}{% endfor %}{% endfor %}`
	text := strings.ReplaceAll(object, " | tojson", "")
	given := AssistantMessage("", ToolCall{"a", "f", `{"city": "Oslo", "b": 1}`}, ToolCall{"b", "g", "Oslo"})
	asObject := messagesOf(t, `[{"role": "assistant", "content": "", "tool_calls": [
		{"function": {"name": "f", "arguments": {"city": "Oslo", "b": 1}}}, {"function": {"name": "g", "arguments": "Oslo"}}]}]`)
	for template, want := range map[string]string{object: `{"city": "Oslo", "b": 1}"Oslo"`, text: `{"city": "Oslo", "b": 1}Oslo`} {
		c := loadChat(t, map[string]string{chatFile: template})
		for _, messages := range [][]Message{{given}, asObject} {
			before, err := json.Marshal(messages)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := c.Render(Chat{Messages: messages}); got != want || err != nil {
				t.Errorf("%s writes %s, %v, want %s", template, got, err, want)
			}
			if after, err := json.Marshal(messages); string(after) != string(before) || err != nil {
				t.Errorf("messages became %s, %v", after, err)
			}
		}
	}
}

// TestMessages: they are the objects that OpenAI's API has, and are what they were read from.
func TestMessages(t *testing.T) {
	tool, err := FunctionTool("f", "does", `{"type": "object", "properties": {"x": {"type": "integer"}}}`)
	if err != nil {
		t.Fatal(err)
	}
	for want, v := range map[string]any{
		`[{"role":"system","content":"s"},{"role":"user","content":"u"}]`: NewChat(SystemMessage("s"), UserMessage("u")).Messages,
		`[{"role":"assistant","content":"a","tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":"{}"}}]},{"role":"tool","content":"r","tool_call_id":"1"}]`: []Message{
			AssistantMessage("a", ToolCall{"1", "f", "{}"}), ToolMessage("1", "r"),
		},
		`[{"type":"function","function":{"name":"f","description":"does","parameters":{"type":"object","properties":{"x":{"type":"integer"}}}}}]`: []Tool{tool},
		`[{"z":1,"a":[null,true,0.5,"é"]}]`: messagesOf(t, `[{"z": 1, "a": [null, true, 0.5, "\u00e9"]}]`),
	} {
		text, err := json.Marshal(v)
		if string(text) != want || err != nil {
			t.Errorf("got %s, %v, want %s", text, err, want)
		}
	}
	var m Message
	if err := json.Unmarshal([]byte(`{"role":"user","content":"u"}`), &m); err != nil || m.Text("role") != "user" || m.Get("name") != nil {
		t.Errorf("%v, %v", m, err)
	}
	for text, into := range map[string]any{`[]`: &m, `"x"`: &Tool{}} {
		if err := json.Unmarshal([]byte(text), into); err == nil {
			t.Errorf("%s was taken", text)
		}
	}
	if _, err := FunctionTool("f", "", `[]`); err == nil || !strings.Contains(err.Error(), "the parameters of f") {
		t.Errorf("%v", err)
	}
}

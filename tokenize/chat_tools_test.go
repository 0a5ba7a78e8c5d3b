package tokenize

import (
	"cmp"
	"encoding/json"
	"path/filepath"
	"reflect"
	"slices"
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
// which format each shows, and that what it writes of an earlier call is read
// as that call.
func TestPublishedFormats(t *testing.T) {
	dir := filepath.Join(fixtures(t), "chat")
	want := map[string]reply.Format{
		"Mistral-Small-3.2-24B-Instruct-2506":           reply.Mistral,
		"unsloth-mistral-Devstral-Small-2507":           reply.Mistral,
		"mistralai-Mistral-Nemo-Instruct-2407":          reply.Mistral,
		"NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use": reply.Hermes,
		"NousResearch-Hermes-3-Llama-3.1-8B-tool_use":   reply.Hermes,
		"Qwen-QwQ-32B":                      reply.Hermes,
		"Qwen-Qwen2.5-7B-Instruct":          reply.Hermes,
		"Qwen-Qwen3-0.6B":                   reply.Hermes,
		"meta-llama-Llama-3.1-8B-Instruct":  reply.Llama3,
		"meta-llama-Llama-3.2-3B-Instruct":  reply.Llama3,
		"meta-llama-Llama-3.3-70B-Instruct": reply.Llama3,
	}
	names, err := filepath.Glob(filepath.Join(dir, "templates", "*.jinja"))
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	asked := `{"role": "user", "content": "Rain?"}`
	called := `{"role": "assistant", "content": "", "tool_calls": [{"id": "abcdefghi", "type": "function", "function": {"name": "weather", "arguments": {"city": "Oslo", "days": 2}}}]}`
	tools := decodeJSON(t, []byte(`[{"type": "function", "function": {"name": "weather", "description": "Tells.", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}]`))
	read := 0
	for _, name := range names {
		name = strings.TrimSuffix(filepath.Base(name), ".jinja")
		c := fixtureChat(t, dir, name)
		template, err := c.pick("", true)
		if err != nil {
			t.Fatal(err)
		}
		format := reply.Detect(template.source)
		if format != cmp.Or(want[name], reply.None) {
			t.Errorf("%s: format %s, want %s", name, format, want[name])
		}
		if format == reply.None {
			continue
		}
		before, err := c.Render(Chat{Messages: decodeJSON(t, []byte("["+asked+"]")), Tools: tools, AddGenerationPrompt: true})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		after, err := c.Render(Chat{Messages: decodeJSON(t, []byte("["+asked+","+called+"]")), Tools: tools})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		// What the model would have written: all after what both begin with; not
		// every template writes the reasoning that its prompt began again.
		n := 0
		for n < len(before) && n < len(after) && before[n] == after[n] {
			n++
		}
		if n < len(before) {
			n = 1 + strings.LastIndex(after[:n], "\n")
		}
		written := after[n:]
		for _, end := range []string{"<|im_end|>", "<|eot_id|>", "<|eom_id|>", "</s>"} {
			written, _, _ = strings.Cut(written, end)
		}
		o := reply.Options{Format: format, Names: []string{"weather"}, Think: reply.Thinks(template.source)}
		var m reply.Message
		m.Add(reply.NewParser(o).Finish([]byte(written)))
		var got, args any
		if len(m.Calls) == 1 && json.Unmarshal(m.Calls[0].Arguments, &args) == nil {
			got = args
		}
		if len(m.Text) > 0 || !reflect.DeepEqual(got, map[string]any{"city": "Oslo", "days": 2.0}) {
			t.Errorf("%s: %q is read as %q, %+v", name, written, m.Text, m.Calls)
		}
		read++
	}
	if read != len(want) {
		t.Errorf("%d calls were read, want %d", read, len(want))
	}
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
		text, err := fixtureChat(t, dir, name).Render(Chat{Messages: decodeJSON(t, []byte(history))})
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
	if c.TextArguments() || c.NineLetterIDs() || len(c.ContentParts()) > 0 {
		t.Error("something was found out")
	}
}

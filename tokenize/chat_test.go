package tokenize

import (
	"errors"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/troupe-llm/troupe/tokenize/jinja"
)

func loadChat(t testing.TB, files map[string]string) *ChatTemplates {
	t.Helper()
	fsys := fstest.MapFS{}
	for name, text := range files {
		fsys[name] = &fstest.MapFile{Data: []byte(text)}
	}
	c, err := LoadChat(fsys)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestWhichTemplate follows transformers in where templates are found and which
// one is taken.
func TestWhichTemplate(t *testing.T) {
	hi := messagesOf(t, `[{"role": "user", "content": "hi"}]`)
	tools := listOf(t, DecodeTools, []byte(`[{"type": "function"}]`))
	named := `{"chat_template": [{"name": "default", "template": "plain"}, {"name": "tool_use", "template": "tools"}, {"name": "rag", "template": "rag"}]}`
	for _, c := range []struct {
		name  string
		files map[string]string
		chat  Chat
		want  string // starting with ! for an error holding the rest
	}{
		{"in the config", map[string]string{configFile: `{"chat_template": "config"}`}, Chat{}, "config"},
		{"the file wins", map[string]string{configFile: `{"chat_template": "config"}`, chatFile: "file"}, Chat{}, "file"},
		{"further files", map[string]string{chatFile: "file", chatDir + "/rag.jinja": "rag file"}, Chat{Template: "rag"}, "rag file"},
		{"tools choose", map[string]string{configFile: named}, Chat{Tools: tools}, "tools"},
		{"no tools", map[string]string{configFile: named}, Chat{}, "plain"},
		{"a name is stronger than tools", map[string]string{configFile: named}, Chat{Tools: tools, Template: "rag"}, "rag"},
		{"an unknown name", map[string]string{configFile: named}, Chat{Template: "x"}, "!default, rag, tool_use"},
		{"no default", map[string]string{configFile: `{"chat_template": [{"name": "a", "template": "a"}]}`}, Chat{}, "!no default"},
		{"none", map[string]string{configFile: `{}`}, Chat{}, "!no chat template"},
		{"no file at all", nil, Chat{}, "!no chat template"},
		{"a broken one, when used", map[string]string{chatFile: "{% if %}"}, Chat{}, "!Expected an expression"},
	} {
		if c.chat.Messages == nil {
			c.chat.Messages = hi
		}
		got, err := loadChat(t, c.files).Render(c.chat)
		if part, wantErr := strings.CutPrefix(c.want, "!"); wantErr {
			if err == nil || !strings.Contains(err.Error(), part) || !IsChatError(err) {
				t.Errorf("%s: got %q, %v; want an error with %q", c.name, got, err, part)
			}
		} else if err != nil || got != c.want {
			t.Errorf("%s: got %q, %v; want %q", c.name, got, err, c.want)
		}
	}
	for _, config := range []string{`{`, `[]`, `{"chat_template": 5}`} {
		if _, err := LoadChat(fstest.MapFS{configFile: {Data: []byte(config)}}); err == nil {
			t.Errorf("the config %s was taken", config)
		}
	}
}

// TestVariables checks what a template is given.
func TestVariables(t *testing.T) {
	files := map[string]string{
		configFile:       `{"bos_token": {"content": "<b>"}, "eos_token": "<e>", "pad_token": null, "image_token": "<i>"}`,
		specialTokenFile: `{"eos_token": "old", "unk_token": "<u>"}`,
		chatFile: "{{ bos_token }}{{ eos_token }}{{ unk_token }}{{ image_token }} {{ pad_token is defined }} {{ tools }} {{ documents }} " +
			"{{ add_generation_prompt }} {{ messages }} {{ extra }}",
	}
	c := loadChat(t, files)
	got, err := c.Render(Chat{
		Messages: messagesOf(t, `[{"role": "assistant", "content": null, "reasoning": "r", "b": 1, "a": 2}, {"thinking": "t"}]`),
		Kwargs:   map[string]any{"extra": 5, "bos_token": "<own>"},
	})
	want := "<own><e><u><i> False None None False [{'thinking': 'r', 'role': 'assistant', 'reasoning': 'r', 'b': 1, 'a': 2, 'reasoning_content': 'r'}, " +
		"{'thinking': 't', 'reasoning_content': 't'}] 5"
	if err != nil || got != want {
		t.Errorf("got  %s, %v\nwant %s", got, err, want)
	}
	tok := &Tokenizer{chat: c}
	for name, want := range map[string]string{"bos_token": "<b>", "eos_token": "<e>", "unk_token": "<u>", "pad_token": "", "cls_token": ""} {
		if got := tok.Named(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if got := new(Tokenizer).Named("eos_token"); got != "" {
		t.Errorf("without a configuration: %q", got)
	}
	for messages, part := range map[string]string{`{}`: "must be a list", `[5]`: "messages[0]", `"x"`: "must be a list"} {
		if _, err := DecodeMessages([]byte(messages)); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("messages %s: %v", messages, err)
		}
	}
	for part, messages := range map[string][]Message{"empty": nil, "[1] is empty": {UserMessage("a"), {}}} {
		if got, err := c.Render(Chat{Messages: messages}); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%v: got %q, %v", messages, got, err)
		}
	}
	if _, err := c.Render(Chat{Messages: messagesOf(t, `[{"role": "user"}]`), Kwargs: map[string]any{"tools": nil}}); err == nil {
		t.Error("tools came in as a template argument")
	}
}

func TestContinueFinalMessage(t *testing.T) {
	keeps := "{% for m in messages %}<{{ m.role }}>{{ m.content if m.content is string else m.content[-1].text }}</>{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
	trims := strings.ReplaceAll(keeps, "m.content if", "m.content|trim if")
	drops := "{{ messages[0].content }}"
	one := `[{"role": "user", "content": "q"}, {"role": "assistant", "content": "So, "}]`
	parts := `[{"role": "user", "content": "q"}, {"role": "assistant", "content": [{"type": "text", "text": "So, "}]}]`
	for _, c := range []struct{ template, messages, want string }{
		{keeps, one, "<user>q</><assistant>So, "},
		{trims, one, "<user>q</><assistant>So,"},
		{keeps, parts, "<user>q</><assistant>So, "},
		{drops, one, "!cannot be continued"},
		{keeps, `[{"role": "assistant"}]`, "!no text"},
		{"{{ messages[0].role }}", one, "!does not use"},
	} {
		m := messagesOf(t, c.messages)
		got, err := loadChat(t, map[string]string{chatFile: c.template}).Render(Chat{Messages: m, ContinueFinalMessage: true})
		if part, wantErr := strings.CutPrefix(c.want, "!"); wantErr {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("%s: got %q, %v", c.template, got, err)
			}
		} else if err != nil || got != c.want {
			t.Errorf("%s of %s: got %q, %v; want %q", c.template, c.messages, got, err, c.want)
		}
		if after := messagesOf(t, c.messages); !equalJSON(t, values(m), values(after)) {
			t.Errorf("the messages were changed: %s", c.messages)
		}
	}
	c := loadChat(t, map[string]string{chatFile: keeps})
	if _, err := c.Render(Chat{Messages: messagesOf(t, one), ContinueFinalMessage: true, AddGenerationPrompt: true}); err == nil {
		t.Error("continued and began an answer at once")
	}
}

// equalJSON compares decoded JSON by how it prints.
func equalJSON(t testing.TB, a, b any) bool {
	t.Helper()
	tmpl, err := jinja.Parse("", "{{ a == b and a|string == b|string }}")
	if err != nil {
		t.Fatal(err)
	}
	same, err := tmpl.Render(map[string]any{"a": a, "b": b}, jinja.Options{})
	return err == nil && same == "True"
}

func TestRaised(t *testing.T) {
	c := loadChat(t, map[string]string{chatFile: "{{ raise_exception('No system role') }}"})
	_, err := c.Render(Chat{Messages: messagesOf(t, `[{"role": "system"}]`)})
	var r *jinja.RaisedError
	if !errors.As(err, &r) || err.Error() != "No system role" || !IsChatError(err) {
		t.Errorf("got %v", err)
	}
}

// BenchmarkRender writes a conversation of ten turns with a tool, as a client
// of Qwen3 sends it.
func BenchmarkRender(b *testing.B) {
	c := fixtureChat(b, fixtures(b)+"/chat", "Qwen-Qwen3-0.6B")
	chat := Chat{
		Messages: messagesOf(b, benchMessages()), AddGenerationPrompt: true,
		Tools:  listOf(b, DecodeTools, []byte(`[{"type": "function", "function": {"name": "get_weather", "description": "Weather in a city", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}]`)),
		Kwargs: map[string]any{"enable_thinking": false},
	}
	text, err := c.Render(chat)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Render(chat); err != nil {
			b.Fatal(err)
		}
	}
}

func benchMessages() string {
	var s strings.Builder
	s.WriteString(`[{"role": "system", "content": "You are a helpful assistant."}`)
	for range 5 {
		s.WriteString(`, {"role": "user", "content": "What is the weather like in Paris today, and what should I wear?"}`)
		s.WriteString(`, {"role": "assistant", "content": "<think>\nThe user asks about the weather.\n</think>\n\nIt is sunny, so a light jacket will do. Anything else?"}`)
	}
	s.WriteString(`, {"role": "user", "content": "Thanks, and tomorrow?"}]`)
	return s.String()
}

package tokenize

import (
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
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

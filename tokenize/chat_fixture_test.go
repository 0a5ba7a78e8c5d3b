package tokenize

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/troupe-llm/troupe/tokenize/jinja"
)

// rendering is one line of renderings.jsonl: what transformers made of a
// conversation.
type rendering struct {
	Template string
	Messages json.RawMessage
	Tools    json.RawMessage
	Kwargs   json.RawMessage
	Rendered *string
	Error    string
}

func decodeJSON(t testing.TB, raw json.RawMessage) any {
	if raw == nil {
		return nil
	}
	v, err := jinja.DecodeJSON(raw)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func messagesOf(t testing.TB, raw string) []Message { return listOf(t, DecodeMessages, []byte(raw)) }

func listOf[T any](t testing.TB, decode func([]byte) ([]T, error), raw json.RawMessage) []T {
	t.Helper()
	if raw == nil || string(raw) == "null" {
		return nil
	}
	list, err := decode(raw)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// fixtureChat loads a template from the fixtures beside the special tokens and
// on the day its renderings were made with.
func fixtureChat(t testing.TB, dir, name string) *ChatTemplates {
	src, err := os.ReadFile(filepath.Join(dir, "templates", name+".jinja"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := LoadChat(fstest.MapFS{
		"chat_template.jinja":   {Data: src},
		"tokenizer_config.json": {Data: []byte(`{"bos_token": "<s>", "eos_token": {"content": "</s>"}}`)},
	})
	if err != nil {
		t.Fatal(err)
	}
	day := time.Date(2026, 11, 23, 9, 30, 0, 0, time.UTC)
	return c.WithClock(func() time.Time { return day })
}

func TestRenderings(t *testing.T) {
	dir := filepath.Join(fixtures(t), "chat")
	loaded := map[string]*ChatTemplates{}
	total, equal, errs := 0, 0, 0
	for _, r := range readLines[rendering](t, filepath.Join(dir, "renderings.jsonl")) {
		c := loaded[r.Template]
		if c == nil {
			c = fixtureChat(t, dir, r.Template)
			c.arguments = nil // transformers has them as they are
			loaded[r.Template] = c
		}
		chat := Chat{
			Messages: listOf(t, DecodeMessages, r.Messages), Tools: listOf(t, DecodeTools, r.Tools), AddGenerationPrompt: true,
			Kwargs: map[string]any{"date_string": "26 Jul 2024"},
		}
		if d, ok := decodeJSON(t, r.Kwargs).(*jinja.Dict); ok {
			for i := range d.Len() {
				k, v := d.At(i)
				chat.Kwargs[k.(string)] = v
			}
		}
		total++
		got, err := c.Render(chat)
		switch {
		case r.Rendered != nil && err != nil:
			t.Errorf("line %d, %s: %v", total, r.Template, err)
		case r.Rendered != nil && got != *r.Rendered:
			t.Errorf("line %d, %s: differs %s", total, r.Template, firstDifference(got, *r.Rendered))
		case r.Rendered != nil:
			equal++
		case err == nil:
			t.Errorf("line %d, %s: rendered, expected the error %s", total, r.Template, r.Error)
		default:
			errs++
			if _, want, _ := strings.Cut(r.Error, ": "); !strings.HasSuffix(err.Error(), want) {
				t.Errorf("line %d, %s: error %q, expected %q", total, r.Template, err, r.Error)
			}
		}
	}
	t.Logf("%d templates, %d renderings: %d equal, %d refused alike", len(loaded), total, equal, errs)
}

func firstDifference(got, want string) string {
	i := 0
	for i < len(got) && i < len(want) && got[i] == want[i] {
		i++
	}
	show := func(s string) string {
		b, _ := json.Marshal(s[max(0, min(i-40, len(s))):min(len(s), i+60)])
		return string(b)
	}
	return "\n got " + show(got) + "\nwant " + show(want)
}

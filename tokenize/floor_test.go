package tokenize

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// chatOf is a conversation of n messages, users' and assistants' by turns.
func chatOf(n int, content func(i int) string) *Chat {
	messages := make([]Message, n)
	for i := range messages {
		messages[i] = message([]string{"user", "assistant"}[i%2], content(i))
	}
	return &Chat{Messages: messages}
}

// TestLeastTokens holds the bound to what encoding gives: it is never more, and of a
// prompt hundreds of times too long it is too long, too.
func TestLeastTokens(t *testing.T) {
	toks := map[string]*Tokenizer{"qwen3": qwen(t)}
	for _, name := range []string{"llama3", "mistral", "qwen2", "qwen3-tied"} {
		toks[name] = load(t, filepath.Join(fixtures(t), "models", name))
	}
	r := random(t)
	for name, tok := range toks {
		for range rounds(t, 40) {
			text := randomText(r, r.IntN(400)) + strings.Repeat(string(rune(r.IntN(0x3100))), r.IntN(300))
			text = strings.ToValidUTF8(text, "?")
			if least, n := tok.LeastTokens(text), len(tok.Encode(text, false)); least > n {
				t.Fatalf("%s: %q is %d tokens, said to be %d at least", name, text, n, least)
			}
			chat := chatOf(1+r.IntN(50), func(int) string { return strings.ToValidUTF8(randomText(r, r.IntN(20)), "?") })
			rendered, err := tok.Render(*chat)
			if err != nil {
				continue
			}
			if least, n := tok.LeastChatTokens(chat), len(tok.Encode(rendered, false)); least > n {
				t.Fatalf("%s: %q is %d tokens, said to be %d at least", name, rendered, n, least)
			}
		}
		// What the 15 MB of a body may hold, against a context of 128 Ki.
		if least := tok.LeastChatTokens(chatOf(400_000, func(int) string { return "Hi" })); tok.HasChatTemplate() && least <= 128<<10 {
			t.Errorf("%s: 400,000 messages have at least %d tokens, it says", name, least)
		}
		if least := tok.LeastTokens(strings.Repeat("lorem ipsum ", 15<<20/12)); least <= 100_000 {
			t.Errorf("%s: 15 MB have at least %d tokens, it says", name, least)
		}
	}
}

// TestNoLeast: where text may vanish or a template show only some of a conversation,
// nothing is claimed.
func TestNoLeast(t *testing.T) {
	long := strings.Repeat("abc ", 1000)
	for name, members := range map[string]string{
		"unknown characters vanish": ``,
		"a pattern is removed":      `, "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "."}, "behavior": "Removed"}`,
		"text is replaced by less":  `, "normalizer": {"type": "Replace", "pattern": {"String": "abc"}, "content": "a"}`,
	} {
		tok, err := loadFiles(map[string]string{"tokenizer.json": tiny(members)})
		if err != nil {
			t.Fatal(err)
		}
		if n := tok.LeastTokens(long); n != 0 {
			t.Errorf("%s: %d", name, n)
		}
	}
	base := filepath.Join(fixtures(t), "models", "qwen3-tied")
	for _, template := range []string{
		`{% for m in messages[-5:] %}<|im_start|>{{ m.content }}<|im_end|>{% endfor %}`,
		`{{ messages|length }}`,
		`{{ raise_exception('no') }}`,
		`{% for m in messages if m.role == 'user' %}<|im_start|>{{ m.content }}{% endfor %}`,
	} {
		tok := load(t, base)
		tok.chat.named["default"] = nil
		tok.chat.add("default", template)
		tok.floor.chat = chatFloor{}
		tok.readChat()
		if n := tok.LeastChatTokens(chatOf(1000, func(i int) string { return fmt.Sprint(long, i) })); n != 0 {
			t.Errorf("%s: %d", template, n)
		}
	}
}

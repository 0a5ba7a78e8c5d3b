package tokenize

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A prompt too long for a model can be told from its length, without rendering or
// encoding it: a token holds only so many bytes, and a message costs the marks around
// it. What is counted here is never more than encoding would give; when it cannot be
// known, it is 0.

// floor is what the least number of tokens is worked out with.
type floor struct {
	longest int     // bytes of text in the longest token, white space left out; 0: there is no bound
	shrink  float64 // how much shorter normalizing makes a text that is not ASCII
	chat    chatFloor
}

// chatFloor is by the choice of the template: without tools and with.
type chatFloor struct {
	pair, user, assistant int  // marks around so many more messages
	shows                 bool // all that users say is in the prompt
}

// newFloor follows all else that is loaded.
func newFloor(t *Tokenizer, f *file) floor {
	l := floor{shrink: 1}
	if t.model.byteLevel && !t.model.complete || !t.model.byteLevel && !t.model.coversAll() || !l.keeps(f) {
		return floor{}
	}
	for id := range int32(t.vocab.len()) {
		l.longest = max(l.longest, solid(string(t.TokenBytes(id))))
	}
	return l
}

// coversAll tells whether every character becomes a token of its own at least.
func (b *bpe) coversAll() bool {
	if !b.hasFallback {
		return false
	}
	for _, id := range b.fallback {
		if id < 0 {
			return false
		}
	}
	return true
}

// keeps tells whether normalizers and pre-tokenizers leave all but white space in a
// text, and notes by how much they shorten it.
func (l *floor) keeps(f *file) bool {
	var parts []*part
	for _, root := range []*part{f.normalizer, f.pre} {
		if root != nil {
			parts = root.all(parts)
		}
	}
	for _, p := range parts {
		switch p.Type {
		case "NFC":
			l.shrink *= 3 // three letters of Hangul are one
		case "NFD", "NFKC", "NFKD", "Lowercase":
			l.shrink *= 16
		case "Replace":
			if p.Pattern == nil || p.Pattern.String == nil || solid(*p.Pattern.String) > solid(p.Content) {
				return false
			}
		case "Split":
			if p.Behavior == "Removed" {
				return false
			}
		}
	}
	return true
}

// solid counts the bytes of text that are not white space.
func solid(s string) int {
	n := 0
	for i := 0; i < len(s); {
		if c := s[i]; c < utf8.RuneSelf {
			if c > ' ' {
				n++
			}
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if !unicode.IsSpace(r) {
			n += size
		}
		i += size
	}
	return n
}

// LeastTokens is how many tokens a text has at least.
func (t *Tokenizer) LeastTokens(text string) int {
	if t.floor.longest == 0 {
		return 0
	}
	n := float64(solid(text)) / float64(t.floor.longest)
	if !isASCII(text) {
		n /= t.floor.shrink
	}
	return int(n)
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// LeastChatTokens is how many tokens a conversation has at least when the model's own
// template has written it.
func (t *Tokenizer) LeastChatTokens(c *Chat) int {
	list := c.Messages
	f := &t.floor.chat
	if c.Template != "" || len(c.Kwargs) > 0 && len(list) < manyMessages || !f.shows {
		return 0
	}
	users, assistants, text := 0, 0, 0
	for _, m := range list {
		s, isText := m.Get("content").(string)
		switch role := m.Text("role"); {
		case !isText:
		case role == "user":
			users++
			text += t.LeastTokens(s)
		case role == "assistant":
			assistants++
		}
	}
	return text + t.LeastMarks(users, assistants)
}

// LeastMarks is how many tokens the model's own template puts around so many messages
// of users and of assistants, at least.
func (t *Tokenizer) LeastMarks(users, assistants int) int {
	f := &t.floor.chat
	return max(min(users, assistants)*f.pair, users*f.user+assistants*f.assistant)
}

// manyMessages is a conversation of which a template that keeps only the end would
// leave something out.
const manyMessages = 40

// readChat finds out, from what the template makes of some messages, what one costs.
func (t *Tokenizer) readChat() {
	if !t.HasChatTemplate() {
		return
	}
	marks := func(roles string) (int, bool) {
		messages := make([]Message, len(roles))
		for i, r := range roles {
			messages[i] = message(map[rune]string{'u': "user", 'a': "assistant"}[r], fmt.Sprintf("m%dm", i))
		}
		text, err := t.chat.try(messages)
		if err != nil {
			return 0, false
		}
		for i := range roles {
			if !strings.Contains(text, fmt.Sprintf("m%dm", i)) {
				return 0, false
			}
		}
		n := 0
		for _, id := range t.Encode(text, false) {
			if t.added.byID[id].Content != "" {
				n++
			}
		}
		return n, true
	}
	long := strings.Repeat("ua", manyMessages/2)
	base, ok := marks(long + "u")
	longer, ok2 := marks(long + "uau")
	if !ok || !ok2 || longer < base {
		return
	}
	f := &t.floor.chat
	f.shows, f.pair = true, longer-base
	if n, ok := marks(long + "uu"); ok {
		f.user = max(n-base, 0)
	}
	if f.user > 0 && f.pair > f.user {
		f.assistant = f.pair - f.user
	}
}

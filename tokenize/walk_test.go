package tokenize

import (
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"unicode/utf8"
)

// byDefinition is the same tokenizer, but merges as byte-pair encoding is
// defined, and remembers nothing from text to text.
func byDefinition(tok *Tokenizer) *Tokenizer {
	model := *tok.model
	model.walker = nil
	return &Tokenizer{vocab: tok.vocab, added: tok.added, norm: tok.norm, steps: tok.steps, model: &model, post: tok.post}
}

// realText is a stretch of some text that a large vocabulary was made for.
func realText(r *rand.Rand, texts []string) string {
	s := texts[r.IntN(len(texts))]
	at := r.IntN(len(s))
	s = s[at:min(len(s), at+1+r.IntN(400))]
	for s != "" && !utf8.RuneStart(s[0]) {
		s = s[1:]
	}
	for s != "" && !utf8.ValidString(s) {
		s = s[:len(s)-1]
	}
	return s
}

// TestWalkEqualsDefinition holds walking a real vocabulary, with what walks
// remember, to merging by definition.
func TestWalkEqualsDefinition(t *testing.T) {
	tok := qwen(t)
	slow := byDefinition(tok)
	const n = 1 << 18
	texts := []string{prose(2, n), babel(2, n), goCode(n), goComments(n), sentences(t, 1)}
	r := random(t)
	for range rounds(t, 500) {
		text := realText(r, texts)
		if r.IntN(4) == 0 {
			text = randomText(r, 1+r.IntN(60))
		}
		if got, want := tok.Encode(text, false), slow.Encode(text, false); !slices.Equal(got, want) {
			t.Fatalf("%q\n got %v\nwant %v", text, got, want)
		}
	}
}

// TestConcurrentUse encodes and decodes on many goroutines at once, more than
// a tokenizer keeps memory for.
func TestConcurrentUse(t *testing.T) {
	tok := qwen(t)
	texts := []string{prose(3, 1<<14), babel(3, 1<<14), goCode(1 << 14)}
	var want [][]int32
	for _, text := range texts {
		want = append(want, byDefinition(tok).Encode(text, false))
	}
	var wg sync.WaitGroup
	for range 4 * max(2, cap(tok.idle)) {
		wg.Go(func() {
			for i, text := range texts {
				ids := tok.Encode(text, false)
				if !slices.Equal(ids, want[i]) {
					t.Errorf("text %d differs", i)
				}
				if tok.norm(text) != tok.Decode(ids, false) {
					t.Errorf("text %d decodes to another", i)
				}
			}
		})
	}
	wg.Wait()
}

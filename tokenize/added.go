package tokenize

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// added holds the tokens that are cut out of a text before anything else sees
// it: those that match the text as given, and those that match it normalized.
type added struct {
	byID    map[int32]addedToken
	raw     finder
	normal  finder
	special []bool           // by id
	shown   map[int32][]byte // what decoders are given, where it is not the token's name
}

// newAdded also binds the tokens' names in v.
func newAdded(tokens []addedToken, v *vocab, n normalizer) (*added, error) {
	a := &added{byID: map[int32]addedToken{}, shown: map[int32][]byte{}}
	specials := map[string]bool{}
	for _, t := range tokens {
		if t.Content == "" {
			continue
		}
		if err := v.check([]byte(t.Content), int(t.ID)); err != nil {
			return nil, fmt.Errorf("added tokens: %w", err)
		}
		if !v.add([]byte(t.Content), t.ID) {
			return nil, fmt.Errorf("added token %q: id %d does not agree with the vocabulary", t.Content, t.ID)
		}
		a.byID[t.ID] = t
		if t.Special {
			specials[t.Content] = true
		}
		if !t.Normalized {
			a.raw.add(t.Content, t.ID)
			continue
		}
		s := t.Content
		if n != nil {
			if s = n(s); s != t.Content {
				a.shown[t.ID] = []byte(s)
			}
		}
		a.normal.add(s, t.ID)
	}
	a.special = make([]bool, v.len())
	for id, t := range a.byID {
		// Whether decoding skips a token goes by what decoders are given.
		a.special[id] = specials[t.Content] && a.shown[id] == nil || specials[string(a.shown[id])]
	}
	return a, errors.Join(a.raw.prepare(), a.normal.prepare())
}

// finder finds the leftmost, and of those the longest, of a few strings.
type finder struct {
	ids   map[string]int32
	trie  *trie
	first [256]bool // bytes that start a string
	only  int       // the one first byte, -1: several
}

// add adds a string; of equal ones the first counts.
func (f *finder) add(s string, id int32) {
	if _, ok := f.ids[s]; s == "" || ok {
		return
	}
	if f.ids == nil {
		f.ids = map[string]int32{}
	}
	f.ids[s] = id
	if f.first[s[0]] = true; len(f.ids) == 1 {
		f.only = int(s[0])
	} else if f.only != int(s[0]) {
		f.only = -1
	}
}

// prepare follows the last add.
func (f *finder) prepare() error {
	texts := make([][]byte, 0, len(f.ids))
	ids := make([]int32, 0, len(f.ids))
	for s, id := range f.ids {
		texts, ids = append(texts, []byte(s)), append(ids, id)
	}
	tokens := sortedByText(len(texts), func(i int32) []byte { return texts[i] })
	for i := range tokens {
		tokens[i].id = ids[tokens[i].id]
	}
	var err error
	f.trie, err = newTrie(tokens, func(id, of int32) {})
	return err
}

// find returns where the next string starts and ends, and its id; -1 for none.
func (f *finder) find(s string, from int) (start, end int, id int32) {
	if len(f.ids) == 0 {
		return -1, -1, -1
	}
	for i := from; ; i++ {
		if i = f.candidate(s, i); i < 0 {
			return -1, -1, -1
		}
		if id, size := f.trie.longest(s[i:]); id >= 0 {
			return i, i + size, id
		}
	}
}

func (f *finder) candidate(s string, i int) int {
	if f.only >= 0 {
		at := strings.IndexByte(s[i:], byte(f.only))
		if at < 0 {
			return -1
		}
		return i + at
	}
	for ; i < len(s); i++ {
		if f.first[s[i]] {
			return i
		}
	}
	return -1
}

// cut calls text for stretches without an added token, and token for those.
func (a *added) cut(f *finder, s string, text func(s string, at int), token func(id int32)) {
	done, blank := 0, 0 // s[:done] is dealt with; there is white space up to blank
	for from := 0; ; {
		start, end, id := f.find(s, from)
		if start < 0 {
			break
		}
		from = end
		t := a.byID[id]
		if t.SingleWord && (endsInWord(s[:start]) || startsWithWord(s[end:])) {
			continue
		}
		if t.LStrip && done < start { // what is before done was stripped of, or kept, already
			start = done + len(strings.TrimRightFunc(s[done:start], unicode.IsSpace))
		}
		if t.RStrip {
			if blank < end {
				blank = len(s) - len(strings.TrimLeftFunc(s[end:], unicode.IsSpace))
			}
			end = blank
		}
		if done < start {
			text(s[done:start], done)
		}
		token(id)
		done = end
	}
	if done < len(s) {
		text(s[done:], done)
	}
}

func endsInWord(s string) bool {
	r, n := utf8.DecodeLastRuneInString(s)
	return n > 0 && isWord(r)
}

func startsWithWord(s string) bool {
	r, n := utf8.DecodeRuneInString(s)
	return n > 0 && isWord(r)
}

// isWord is \w of UTS #18: alphabetic, mark, decimal, connector or joiner.
func isWord(r rune) bool {
	r = older(r)
	return unicode.IsLetter(r) || unicode.IsMark(r) || unicode.In(r, unicode.Nd, unicode.Nl, unicode.Pc,
		unicode.Other_Alphabetic, unicode.Join_Control)
}

package bench

import (
	"fmt"
	"iter"
	"strings"
)

// Codec is what of a tokenizer texts are made with.
type Codec interface {
	Encode(text string, addSpecial bool) []int32
	Decode(ids []int32, skipSpecial bool) string
	Vocab() int
}

// AsTexts gives arrivals a text of as many tokens as they have, for servers
// that take no token ids. The text is nearly that of their tokens, so that
// prompts which share tokens share texts.
func AsTexts(c Codec, arrivals iter.Seq[Arrival]) ([]Arrival, error) {
	var all []Arrival
	for a := range arrivals {
		var err error
		if a.Text, err = textOf(c, a.Tokens); err != nil {
			return nil, err
		}
		all = append(all, a)
	}
	return all, nil
}

// textOf finds a text of as many tokens. Arbitrary ids, decoded, seldom encode
// to themselves: what comes out is cut or filled up, and tried again. Words to
// fill up with settle it: they do not grow together with what is before them.
func textOf(c Codec, ids []int32) (string, error) {
	const tries = 64
	vocab := int32(c.Vocab())
	word := c.Encode(" a", false)
	now := make([]int32, len(ids))
	for i, id := range ids {
		now[i] = id % vocab
	}
	for range tries {
		// A cut may go through a character: its half would come back each time.
		text := strings.ReplaceAll(c.Decode(now, true), "\ufffd", "")
		now = c.Encode(text, false)
		if len(now) == len(ids) && text != "" {
			return text, nil
		}
		now = now[:min(len(now), len(ids))]
		for len(now) < len(ids) && len(word) > 0 {
			now = append(now, word[len(now)%len(word)])
		}
	}
	return "", fmt.Errorf("no text of %d tokens was found in %d attempts", len(ids), tries)
}

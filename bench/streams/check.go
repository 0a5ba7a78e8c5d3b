package streams

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
)

// lore is what replies to one prompt say. Sampling is greedy, so all say the
// same: who comes first writes it down, the others must agree, token by token
// and byte by byte. A token lost, doubled, reordered or of another stream
// disagrees.
type lore struct {
	ids  []int32
	text []byte // as in JSON
}

// reply is one answer on its way.
type reply struct {
	lore     *lore
	want     int    // tokens
	ids      int    // tokens that have come
	text     int    // bytes that have come and been checked
	held     []byte // text that is checked when more tokens come; see more
	finished bool
}

// event checks one event's data and returns how many tokens it held.
func (r *reply) event(data []byte) (tokens int, err error) {
	if string(data) == "[DONE]" {
		if !r.finished || r.ids != r.want {
			return 0, fmt.Errorf("a reply was done after %d tokens of %d", r.ids, r.want)
		}
		return 0, nil
	}
	_, list, found := bytes.Cut(data, []byte(`"token_ids":[`))
	list, _, closed := bytes.Cut(list, []byte("]"))
	if !found || !closed {
		return 0, fmt.Errorf("an event without token_ids: %.300q", data)
	}
	for len(list) > 0 {
		digits, rest, _ := bytes.Cut(list, []byte(","))
		id, err := strconv.ParseInt(string(digits), 10, 32)
		if err != nil {
			return tokens, fmt.Errorf("a token id is %.20q", digits)
		}
		if err := r.id(int32(id)); err != nil {
			return tokens, err
		}
		tokens++
		list = rest
	}
	if bytes.Contains(data, []byte(`"finish_reason":null`)) {
		return tokens, r.more(data)
	}
	if !bytes.Contains(data, []byte(`"finish_reason":"length"`)) {
		return tokens, fmt.Errorf("a reply ended otherwise than by its length: %.300q", data)
	}
	r.finished = true
	return tokens, nil
}

func (r *reply) id(id int32) error {
	switch known := r.lore.ids; {
	case r.ids == len(known):
		r.lore.ids = append(known, id)
	case known[r.ids] != id:
		return fmt.Errorf("token %d of a reply is %d; another reply to the same prompt had %d there", r.ids, id, known[r.ids])
	}
	r.ids++
	return nil
}

// more checks the text of the event before, and holds this one's: the last
// before the end may have what is left of a character there, which depends on
// where the end is.
func (r *reply) more(data []byte) error {
	_, text, found := bytes.Cut(data, []byte(`"text":"`))
	text, _, closed := bytes.Cut(text, []byte(`","logprobs":`))
	if !found || !closed {
		return errors.New("an event without text")
	}
	known := r.lore.text[r.text:]
	n := min(len(known), len(r.held))
	if !bytes.Equal(known[:n], r.held[:n]) {
		return fmt.Errorf("byte %d of a reply's text and on is %.80q; another reply to the same prompt had %.80q there", r.text, r.held, known)
	}
	r.lore.text = append(r.lore.text, r.held[n:]...)
	r.text += len(r.held)
	r.held = append(r.held[:0], text...)
	return nil
}

package front

import (
	"bytes"

	"github.com/troupe-llm/troupe/tokenize/reply"
)

// stopper looks for stop strings in a text that arrives in pieces. It holds
// back only what may yet become one, or may turn out to be part of the answer
// and begin one.
type stopper struct {
	stops   [][]byte
	longest int
	include bool
	answer  *reply.Parser // says what of the text is the answer; nil: all of it

	held  []byte // the end of the text, not shown yet
	shown int    // bytes of the text before held
	out   []byte // what add returned last
	found string

	// Of the answer: the tail that begins some stop string, and where in the
	// text its bytes are.
	tail   []byte
	places []int
}

func (s *stopper) begin(stops []string, include bool) {
	s.include = include
	for _, x := range stops {
		if x != "" {
			s.stops = append(s.stops, []byte(x))
			s.longest = max(s.longest, len(x))
		}
	}
}

// add takes the next piece of text and returns what may be shown of it, until
// the next call. Once it reports true the text is over.
func (s *stopper) add(text []byte) ([]byte, bool) {
	switch {
	case len(s.stops) == 0:
		return text, false
	case s.answer != nil:
		return s.inAnswer(text, s.answer.Add(text), false)
	}
	s.out = append(append(s.out[:0], s.held...), text...)
	s.held = s.held[:0]
	if end, stop := s.first(s.out); stop != nil {
		s.found = string(stop)
		if s.include {
			end += len(stop)
		}
		s.out = s.out[:end]
		return s.out, true
	}
	keep := s.mayBegin(s.out)
	s.held = append(s.held, s.out[len(s.out)-keep:]...)
	return s.out[:len(s.out)-keep], false
}

// flush takes the last of the text and returns it with what was held back.
func (s *stopper) flush(text []byte) ([]byte, bool) {
	switch {
	case len(s.stops) == 0:
		return text, false
	case s.answer != nil:
		return s.inAnswer(text, s.answer.Finish(text), true)
	}
	out, found := s.add(text)
	if !found {
		s.out = append(out, s.held...)
		s.held, out = s.held[:0], s.out
	}
	return out, found
}

// inAnswer is add, or flush, where only parts of the text are the answer.
func (s *stopper) inAnswer(text []byte, parts []reply.Part, last bool) ([]byte, bool) {
	s.out = append(append(s.out[:0], s.held...), text...)
	for i := range parts {
		part := &parts[i]
		if part.Kind != reply.Text {
			continue
		}
		if n := len(s.places); n > 0 && s.places[n-1]+1 != part.At { // no stop string goes across
			s.tail, s.places = s.tail[:0], s.places[:0]
		}
		for k, c := range part.Text {
			s.tail, s.places = append(s.tail, c), append(s.places, part.At+k)
		}
		if at, stop := s.first(s.tail); stop != nil {
			s.found = string(stop)
			end := s.places[at]
			if s.include {
				end += len(stop)
			}
			s.out = s.out[:end-s.shown]
			return s.out, true
		}
		drop := len(s.tail) - s.mayBegin(s.tail)
		s.tail, s.places = append(s.tail[:0], s.tail[drop:]...), append(s.places[:0], s.places[drop:]...)
	}
	show := s.answer.Settled()
	if len(s.places) > 0 {
		show = min(show, s.places[0])
	}
	if show = max(0, show-s.shown); last {
		show = len(s.out)
	}
	s.held = append(s.held[:0], s.out[show:]...)
	s.shown += show
	s.out = s.out[:show]
	return s.out, false
}

// first is where the earliest stop string begins and which it is; of several
// at one place, the one named first.
func (s *stopper) first(text []byte) (int, []byte) {
	at, which := -1, []byte(nil)
	for _, stop := range s.stops {
		if i := bytes.Index(text, stop); i >= 0 && (at < 0 || i < at) {
			at, which = i, stop
		}
	}
	return at, which
}

// mayBegin is the length of the longest tail of text that begins a stop string.
func (s *stopper) mayBegin(text []byte) int {
	for n := min(len(text), s.longest-1); n > 0; n-- {
		tail := text[len(text)-n:]
		for _, stop := range s.stops {
			if n < len(stop) && bytes.HasPrefix(stop, tail) {
				return n
			}
		}
	}
	return 0
}

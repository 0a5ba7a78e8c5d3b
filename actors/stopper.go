package actors

import "bytes"

// stopper looks for stop strings in a text that arrives in pieces. It holds
// back only what may yet become one.
type stopper struct {
	stops   [][]byte
	longest int
	include bool
	held    []byte // the tail of the text that begins some stop string
	out     []byte // what add returned last
	found   string
}

func newStopper(stops []string, include bool) stopper {
	s := stopper{include: include}
	for _, x := range stops {
		if x != "" {
			s.stops = append(s.stops, []byte(x))
			s.longest = max(s.longest, len(x))
		}
	}
	return s
}

// add takes the next piece of text and returns what may be shown of it, until
// the next call. Once it reports true the text is over.
func (s *stopper) add(text []byte) ([]byte, bool) {
	if len(s.stops) == 0 {
		return text, false
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
	if len(s.stops) == 0 {
		return text, false
	}
	out, found := s.add(text)
	if !found {
		s.out = append(out, s.held...)
		s.held, out = s.held[:0], s.out
	}
	return out, found
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

package reply

// verdict is what a byte meant to a value.
type verdict uint8

const (
	more verdict = iota // it is part of it, which goes on
	ends                // it is its last
	past                // the value ended before it; only numbers end so
	bad                 // no JSON goes on like this
)

// scanner follows one JSON value byte by byte.
type scanner struct {
	next expectation
	open []byte // the '{' and '[' that are not closed yet
	rest string // of the word true, false or null
	hex  int    // digits of an escape still to come
}

// expectation is what a scanner is in the middle of.
type expectation uint8

const (
	aValue     expectation = iota
	firstValue             // or the end of an empty array
	firstKey               // or the end of an empty object
	aKey
	inKey
	keyEscape
	keyHex
	aColon
	aComma // or the end
	inString
	anEscape
	hexDigits
	inWord
	aDigit // after a minus
	onlyFraction
	integerPart
	firstDecimal
	decimals
	aSign
	firstExponent
	exponent
)

func space(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }

func digit(c byte) bool { return c >= '0' && c <= '9' }

// begin makes the scanner ready for another value.
func (s *scanner) begin() { *s = scanner{open: s.open[:0]} }

// step takes the next byte.
func (s *scanner) step(c byte) verdict {
	switch s.next {
	case aValue, firstValue:
		if space(c) {
			return more
		}
		if c == ']' && s.next == firstValue {
			return s.close('[')
		}
		return s.value(c)
	case firstKey, aKey:
		switch {
		case space(c):
		case c == '"':
			s.next = inKey
		case c == '}' && s.next == firstKey:
			return s.close('{')
		default:
			return bad
		}
		return more
	case inKey, keyEscape, keyHex, inString, anEscape, hexDigits:
		return s.text(c)
	case aColon:
		if c == ':' {
			s.next = aValue
		} else if !space(c) {
			return bad
		}
		return more
	case aComma:
		return s.after(c)
	case inWord:
		if c != s.rest[0] {
			return bad
		}
		if s.rest = s.rest[1:]; s.rest == "" {
			return s.ended()
		}
		return more
	}
	return s.number(c)
}

// skip takes what does not end a string, if that is what comes.
func (s *scanner) skip(b []byte) (n int) {
	if s.next != inString {
		return 0
	}
	for n < len(b) && b[n] != '"' && b[n] != '\\' && b[n] >= ' ' {
		n++
	}
	return n
}

// quoting follows a text as far as it is JSON, to tell marks within its strings
// from others.
type quoting struct {
	json scanner
	over bool // it is none, or at its end
}

func (q *quoting) begin() {
	q.json.begin()
	q.over = false
}

func (q *quoting) add(b []byte) {
	for _, c := range b {
		q.over = q.over || q.json.step(c) != more
	}
}

// within reports whether the text so far ends within a string.
func (q *quoting) within() bool {
	switch q.json.next {
	case inKey, keyEscape, keyHex, inString, anEscape, hexDigits:
		return !q.over
	}
	return false
}

// value begins with c.
func (s *scanner) value(c byte) verdict {
	switch {
	case c == '{':
		s.open, s.next = append(s.open, c), firstKey
	case c == '[':
		s.open, s.next = append(s.open, c), firstValue
	case c == '"':
		s.next = inString
	case c == '-':
		s.next = aDigit
	case c == '0':
		s.next = onlyFraction
	case digit(c):
		s.next = integerPart
	case c == 't':
		s.next, s.rest = inWord, "true"[1:]
	case c == 'f':
		s.next, s.rest = inWord, "false"[1:]
	case c == 'n':
		s.next, s.rest = inWord, "null"[1:]
	default:
		return bad
	}
	return more
}

// text takes a byte of a string or of a key.
func (s *scanner) text(c byte) verdict {
	key := s.next <= keyHex
	state := func(ofKey, ofString expectation) verdict {
		s.next = ofString
		if key {
			s.next = ofKey
		}
		return more
	}
	switch s.next {
	case keyEscape, anEscape:
		switch c {
		case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			return state(inKey, inString)
		case 'u':
			s.hex = 4
			return state(keyHex, hexDigits)
		}
		return bad
	case keyHex, hexDigits:
		if !digit(c) && (c|0x20 < 'a' || c|0x20 > 'f') {
			return bad
		}
		if s.hex--; s.hex == 0 {
			return state(inKey, inString)
		}
		return more
	}
	switch {
	case c == '\\':
		return state(keyEscape, anEscape)
	case c < ' ':
		return bad
	case c != '"':
		return more
	case key:
		s.next = aColon
		return more
	}
	return s.ended()
}

// after takes a byte that follows a value inside an object or array.
func (s *scanner) after(c byte) verdict {
	in := s.open[len(s.open)-1]
	switch {
	case space(c):
	case c == ',' && in == '{':
		s.next = aKey
	case c == ',':
		s.next = aValue
	case c == in+2: // '{' and '}', '[' and ']' are two apart
		return s.close(in)
	default:
		return bad
	}
	return more
}

func (s *scanner) close(in byte) verdict {
	if s.open[len(s.open)-1] != in {
		return bad
	}
	s.open = s.open[:len(s.open)-1]
	return s.ended()
}

// ended is the end of a value, at a byte of its own.
func (s *scanner) ended() verdict {
	if len(s.open) == 0 {
		return ends
	}
	s.next = aComma
	return more
}

func (s *scanner) number(c byte) verdict {
	fraction := s.next == onlyFraction || s.next == integerPart
	whole := fraction || s.next == decimals || s.next == exponent // what is there is a number
	switch {
	case s.next == aDigit && c == '0':
		s.next = onlyFraction
	case s.next == aDigit && digit(c):
		s.next = integerPart
	case s.next == firstDecimal && digit(c):
		s.next = decimals
	case (s.next == aSign || s.next == firstExponent) && digit(c):
		s.next = exponent
	case s.next == aSign && (c == '+' || c == '-'):
		s.next = firstExponent
	case whole && s.next != onlyFraction && digit(c):
	case fraction && c == '.':
		s.next = firstDecimal
	case whole && s.next != exponent && c|0x20 == 'e':
		s.next = aSign
	case !whole:
		return bad
	case len(s.open) == 0:
		return past
	default:
		s.next = aComma
		return s.after(c)
	}
	return more
}

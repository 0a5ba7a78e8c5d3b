package tokenize

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// reader walks JSON without building a tree: a vocabulary is megabytes of
// small strings, which reflection would turn into most of the load time.
//
// The first fault is kept in err; after it every call is a no-op.
type reader struct {
	b   []byte
	i   int
	err error
	tmp []byte // the last string that had escapes
}

func (r *reader) fail(want string) {
	if r.err == nil {
		r.err = fmt.Errorf("JSON at byte %d: want %s", r.i, want)
		r.i = len(r.b)
	}
}

// next skips white space and returns the byte there, 0 at the end.
func (r *reader) next() byte {
	for r.i < len(r.b) {
		switch c := r.b[r.i]; c {
		case ' ', '\n', '\r', '\t':
			r.i++
		default:
			return c
		}
	}
	return 0
}

func (r *reader) eat(c byte) bool {
	if r.next() != c {
		return false
	}
	r.i++
	return true
}

func (r *reader) expect(c byte) {
	if !r.eat(c) {
		r.fail(strconv.QuoteRune(rune(c)))
	}
}

// str reads a string. The result is valid until the next call.
func (r *reader) str() []byte {
	r.expect('"')
	b := r.b[min(r.i, len(r.b)):]
	end := bytes.IndexByte(b, '"')
	if end < 0 {
		r.fail("a closing quote")
		return nil
	}
	if bytes.IndexByte(b[:end], '\\') < 0 {
		r.i += end + 1
		return b[:end]
	}
	return r.escaped()
}

func (r *reader) escaped() []byte {
	r.tmp = r.tmp[:0]
	for r.i < len(r.b) {
		c := r.b[r.i]
		r.i++
		switch c {
		case '"':
			return r.tmp
		case '\\':
			r.escape()
		default:
			r.tmp = append(r.tmp, c)
		}
	}
	r.fail("a closing quote")
	return nil
}

func (r *reader) escape() {
	if r.i >= len(r.b) {
		r.fail("an escape")
		return
	}
	c := r.b[r.i]
	r.i++
	switch c {
	case '"', '\\', '/':
		r.tmp = append(r.tmp, c)
	case 'b':
		r.tmp = append(r.tmp, '\b')
	case 'f':
		r.tmp = append(r.tmp, '\f')
	case 'n':
		r.tmp = append(r.tmp, '\n')
	case 'r':
		r.tmp = append(r.tmp, '\r')
	case 't':
		r.tmp = append(r.tmp, '\t')
	case 'u':
		c := r.hex4()
		if utf16.IsSurrogate(c) && bytes.HasPrefix(r.b[r.i:], []byte(`\u`)) {
			at := r.i
			r.i += 2
			if c = utf16.DecodeRune(c, r.hex4()); c == utf8.RuneError {
				r.i = at
			}
		}
		r.tmp = utf8.AppendRune(r.tmp, c)
	default:
		r.fail("an escape")
	}
}

func (r *reader) hex4() rune {
	if r.i+4 > len(r.b) {
		r.fail("four hexadecimal digits")
		return 0
	}
	n, err := strconv.ParseUint(string(r.b[r.i:r.i+4]), 16, 16)
	if err != nil {
		r.fail("four hexadecimal digits")
		return 0
	}
	r.i += 4
	return rune(n)
}

// number reads a non-negative integer.
func (r *reader) number() int {
	r.next()
	start, n := r.i, 0
	for r.i < len(r.b) && '0' <= r.b[r.i] && r.b[r.i] <= '9' && n < 1<<31 {
		n = n*10 + int(r.b[r.i]-'0')
		r.i++
	}
	if r.i == start || n >= 1<<31 {
		r.fail("a number below 2^31")
	}
	return n
}

// object calls f for each key; f must read the value.
func (r *reader) object(f func(key []byte)) {
	r.expect('{')
	if r.eat('}') {
		return
	}
	for r.err == nil {
		key := r.str()
		r.expect(':')
		f(key)
		if !r.eat(',') {
			r.expect('}')
			return
		}
	}
}

// array calls f for each element; f must read it.
func (r *reader) array(f func()) {
	r.expect('[')
	if r.eat(']') {
		return
	}
	for r.err == nil {
		f()
		if !r.eat(',') {
			r.expect(']')
			return
		}
	}
}

// raw returns the bytes of one value, whatever it is.
func (r *reader) raw() []byte {
	r.next()
	start, depth := r.i, 0
	for r.err == nil {
		switch r.next() {
		case '{', '[':
			depth++
			r.i++
		case '}', ']':
			depth--
			r.i++
		case ',', ':':
			r.i++
		case '"':
			r.pass()
		case 0:
			r.fail("a value")
		default:
			for r.i < len(r.b) && bytes.IndexByte([]byte(" \n\r\t,:]}"), r.b[r.i]) < 0 {
				r.i++
			}
		}
		if depth == 0 {
			return r.b[start:r.i]
		}
		if depth < 0 {
			r.fail("a value")
		}
	}
	return nil
}

// pass skips a string without decoding it.
func (r *reader) pass() {
	for r.i++; r.i < len(r.b); r.i++ {
		switch r.b[r.i] {
		case '\\':
			r.i++
		case '"':
			r.i++
			return
		}
	}
	r.fail("a closing quote")
}

// into decodes one small value by reflection.
func (r *reader) into(v any) {
	if raw := r.raw(); r.err == nil {
		if err := json.Unmarshal(raw, v); err != nil {
			r.err = err
		}
	}
}

package http

import (
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math"
	"strconv"
	"unicode/utf8"
)

// raw is one JSON value of a request body: its bytes without surrounding
// space. It borrows the body.
//
// Invariant: it is valid JSON, for parse has checked the whole body. So
// walking it needs no errors, only reading a value as a type does.
type raw []byte

// parse checks a body and returns its outermost value, which is an object.
func parse(body []byte) (raw, *Error) {
	if !utf8.Valid(body) {
		n := 0
		for n < len(body) {
			r, size := utf8.DecodeRune(body[n:])
			if r == utf8.RuneError && size == 1 {
				break
			}
			n += size
		}
		return nil, badRequest("", "the body is not valid UTF-8 at byte %d", n+1)
	}
	if !json.Valid(body) {
		var v json.RawMessage
		err := json.Unmarshal(body, &v)
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			return nil, badRequest("", "the body is not valid JSON at byte %d: %s", syntax.Offset, syntax.Error())
		}
		return nil, badRequest("", "the body is not valid JSON: %v", err)
	}
	v := raw(body[space(body, 0):])
	v = v[:skip(v, 0)]
	if v[0] != '{' {
		return nil, badRequest("", "the body must be a JSON object, not %s", v.kind())
	}
	return v, nil
}

// kind is what a person calls the value's type.
func (v raw) kind() string {
	switch v[0] {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		return "a string"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	}
	return "a number"
}

func (v raw) null() bool { return v[0] == 'n' }

// members yields an object's members in order.
func (v raw) members() iter.Seq2[string, raw] {
	return func(yield func(string, raw) bool) {
		for i := space(v, 1); v[i] != '}'; {
			end := skip(v, i)
			key := unquote(v[i:end])
			i = space(v, space(v, end)+1) // past the colon
			end = skip(v, i)
			if !yield(key, v[i:end]) {
				return
			}
			i = space(v, end)
			if v[i] == ',' {
				i = space(v, i+1)
			}
		}
	}
}

// elements yields an array's elements in order.
func (v raw) elements() iter.Seq2[int, raw] {
	return func(yield func(int, raw) bool) {
		n := 0
		for i := space(v, 1); v[i] != ']'; n++ {
			end := skip(v, i)
			if !yield(n, v[i:end]) {
				return
			}
			i = space(v, end)
			if v[i] == ',' {
				i = space(v, i+1)
			}
		}
	}
}

func (v raw) want(kind string) error {
	return fmt.Errorf("expected %s, got %s", kind, v.kind())
}

func (v raw) text() (string, error) {
	if v[0] != '"' {
		return "", v.want("a string")
	}
	return unquote(v), nil
}

func (v raw) boolean() (bool, error) {
	if v[0] != 't' && v[0] != 'f' {
		return false, v.want("a boolean")
	}
	return v[0] == 't', nil
}

func (v raw) number() (float64, error) {
	if v.kind() != "a number" {
		return 0, v.want("a number")
	}
	x, err := strconv.ParseFloat(string(v), 64)
	if err != nil {
		return 0, fmt.Errorf("%s is out of range", v)
	}
	return x, nil
}

// integer also takes what some languages make of one: 16.0 or 1e3.
func (v raw) integer() (int64, error) {
	if v.kind() != "a number" {
		return 0, v.want("an integer")
	}
	if n, err := strconv.ParseInt(string(v), 10, 64); err == nil {
		return n, nil
	}
	x, err := strconv.ParseFloat(string(v), 64)
	if err != nil || math.Abs(x) > 1<<53 {
		return 0, fmt.Errorf("%s is out of range", v)
	}
	if x != math.Trunc(x) {
		return 0, fmt.Errorf("expected an integer, got %s", v)
	}
	return int64(x), nil
}

// ids reads an array of token ids below vocab.
func (v raw) ids(vocab int) ([]int32, error) {
	if v[0] != '[' {
		return nil, v.want("an array of token ids")
	}
	var ids []int32
	for i, e := range v.elements() {
		n, err := e.integer()
		if err != nil {
			return nil, at(index(i), err)
		}
		if n < 0 || n >= int64(vocab) {
			return nil, at(index(i), fmt.Errorf("token id %d is not in the vocabulary (0 to %d)", n, vocab-1))
		}
		ids = append(ids, int32(n))
	}
	return ids, nil
}

// fieldError is a fault in a part of a field: path is where, from the field on.
type fieldError struct {
	path string
	err  error
}

func (e *fieldError) Error() string { return e.path + ": " + e.err.Error() }

// at says where within a field err was found; outer calls put more in front.
func at(path string, err error) error {
	var inner *fieldError
	if errors.As(err, &inner) {
		return &fieldError{path + inner.path, inner.err}
	}
	return &fieldError{path, err}
}

func index(i int) string { return "[" + strconv.Itoa(i) + "]" }

// unquote reads a JSON string. It copies.
func unquote(v raw) string {
	for _, b := range v {
		if b == '\\' {
			var s string
			_ = json.Unmarshal(v, &s) // valid: see raw
			return s
		}
	}
	return string(v[1 : len(v)-1])
}

// space is the first index from i on that holds no white space.
func space(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\r' || b[i] == '\t') {
		i++
	}
	return i
}

// skip is the index after the value that begins at i.
func skip(b []byte, i int) int {
	depth := 0
	for ; ; i++ {
		switch b[i] {
		case '"':
			for i++; b[i] != '"'; i++ {
				if b[i] == '\\' {
					i++
				}
			}
		case '{', '[':
			depth++
			continue
		case '}', ']':
			depth--
		case ' ', '\n', '\r', '\t', ',', ':':
			continue
		default: // a number or a word: to its last byte
			for i+1 < len(b) && !delimits(b[i+1]) {
				i++
			}
		}
		if depth == 0 {
			return i + 1
		}
	}
}

func delimits(c byte) bool {
	switch c {
	case ',', ':', '}', ']', ' ', '\n', '\r', '\t':
		return true
	}
	return false
}

const hexDigits = "0123456789abcdef"

// appendString appends s as a JSON string, without quotes. Bytes that are not
// UTF-8 become U+FFFD, as clients could not read them.
func appendString[T string | []byte](dst []byte, s T) []byte {
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(string(s[i:min(i+utf8.UTFMax, len(s))]))
			if r == utf8.RuneError && size == 1 {
				dst = append(append(dst, s[from:i]...), "\ufffd"...)
				from = i + 1
			}
			i += size
			continue
		}
		if c >= ' ' && c != '"' && c != '\\' {
			i++
			continue
		}
		dst = append(dst, s[from:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		i++
		from = i
	}
	return append(dst, s[from:]...)
}

// appendQuoted is appendString with quotes.
func appendQuoted(dst []byte, s string) []byte {
	return append(appendString(append(dst, '"'), s), '"')
}

func appendIDs(dst []byte, ids []int32) []byte {
	dst = append(dst, '[')
	for i, id := range ids {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendInt(dst, int64(id), 10)
	}
	return append(dst, ']')
}

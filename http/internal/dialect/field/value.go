package field

import (
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/troupe-llm/troupe/http/internal/dialect/apierr"
)

// Value is one JSON value of a request body: its bytes without surrounding
// space. It borrows the body.
//
// Invariant: it is valid JSON, for Parse has checked the whole body. So
// walking it needs no errors, only reading a value as a type does.
type Value []byte

// Parse checks a body and returns its outermost value, which is an object.
func Parse(body []byte) (Value, *apierr.Error) {
	if !utf8.Valid(body) {
		n := 0
		for n < len(body) {
			r, size := utf8.DecodeRune(body[n:])
			if r == utf8.RuneError && size == 1 {
				break
			}
			n += size
		}
		return nil, apierr.Invalid("", "the body is not valid UTF-8 at byte %d", n+1)
	}
	if !json.Valid(body) {
		var v json.RawMessage
		err := json.Unmarshal(body, &v)
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			return nil, apierr.Invalid("", "the body is not valid JSON at byte %d: %s", syntax.Offset, syntax.Error())
		}
		return nil, apierr.Invalid("", "the body is not valid JSON: %v", err)
	}
	v := Value(body[space(body, 0):])
	v = v[:skip(v, 0)]
	if v[0] != '{' {
		return nil, apierr.Invalid("", "the body must be a JSON object, not %s", v.Kind())
	}
	return v, nil
}

// Kind is what a person calls the value's type.
func (v Value) Kind() string {
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

// Null reports whether the value is null, which is as good as absent.
func (v Value) Null() bool { return v[0] == 'n' }

// Each reads the members of an object but those that are null, each by read; what is
// wrong with one is told with its name. It fails where v is no object.
func (v Value) Each(read func(name string, v Value) error) error {
	if v[0] != '{' {
		return v.Want("an object")
	}
	for name, v := range v.Members() {
		if v.Null() {
			continue
		}
		if err := read(name, v); err != nil {
			return apierr.At("."+name, err)
		}
	}
	return nil
}

// Members yields an object's members in order.
func (v Value) Members() iter.Seq2[string, Value] {
	return func(yield func(string, Value) bool) {
		for i := space(v, 1); v[i] != '}'; {
			end := skip(v, i)
			key := v[i:end].Unquote()
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

// Elements yields an array's elements in order.
func (v Value) Elements() iter.Seq2[int, Value] {
	return func(yield func(int, Value) bool) {
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

// Want is the error of a value of another kind.
func (v Value) Want(kind string) error {
	return fmt.Errorf("expected %s, got %s", kind, v.Kind())
}

// Text reads a string.
func (v Value) Text() (string, error) {
	if v[0] != '"' {
		return "", v.Want("a string")
	}
	return v.Unquote(), nil
}

// Boolean reads true or false.
func (v Value) Boolean() (bool, error) {
	if v[0] != 't' && v[0] != 'f' {
		return false, v.Want("a boolean")
	}
	return v[0] == 't', nil
}

// Number reads a number.
func (v Value) Number() (float64, error) {
	if v.Kind() != "a number" {
		return 0, v.Want("a number")
	}
	x, err := strconv.ParseFloat(string(v), 64)
	if err != nil {
		return 0, fmt.Errorf("%s is out of range", v)
	}
	return x, nil
}

// Integer also takes what some languages make of one: 16.0 or 1e3.
func (v Value) Integer() (int64, error) {
	if v.Kind() != "a number" {
		return 0, v.Want("an integer")
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

// IDs reads an array of token ids below vocab.
func (v Value) IDs(vocab int) ([]int32, error) {
	if v[0] != '[' {
		return nil, v.Want("an array of token ids")
	}
	var ids []int32
	for i, e := range v.Elements() {
		n, err := e.Integer()
		if err != nil {
			return nil, apierr.At(apierr.Index(i), err)
		}
		if n < 0 || n >= int64(vocab) {
			return nil, apierr.At(apierr.Index(i), fmt.Errorf("token id %d is not in the vocabulary (0 to %d)", n, vocab-1))
		}
		ids = append(ids, int32(n))
	}
	return ids, nil
}

// Unquote is a string's text. It copies.
func (v Value) Unquote() string {
	for _, b := range v {
		if b == '\\' {
			var s string
			_ = json.Unmarshal(v, &s) // valid: see Value
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

// First is the first byte of what an array or an object holds: its end when it
// is empty.
func (v Value) First() byte { return v[space(v, 1)] }

package jinja

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf8"
)

const maxJSONDepth = 256

// DecodeJSON reads one JSON value as templates see it: objects as *Dict with
// their keys in order (of a key given twice, the last value), arrays as []any,
// numbers as int64 or, beyond it, *big.Int when they are whole and as float64
// otherwise. Errors say at which byte.
func DecodeJSON(data []byte) (Value, error) {
	if !json.Valid(data) { // after which nothing below looks for faults
		var v any
		err := json.Unmarshal(data, &v)
		at := int64(len(data))
		if e, ok := errors.AsType[*json.SyntaxError](err); ok {
			at = e.Offset
		}
		return nil, fmt.Errorf("JSON, at byte %d: %w", at, err)
	}
	r := &jsonReader{b: data, keys: map[string]string{}}
	v, err := r.value(0)
	if err != nil {
		return nil, fmt.Errorf("JSON, at byte %d: %w", r.i, err)
	}
	return v, nil
}

// jsonReader reads valid JSON. It does not go through encoding/json's tokens, which
// take twice as long and allocate three times as often.
type jsonReader struct {
	b    []byte
	i    int
	keys map[string]string // names of members are few: each is made once
}

// next skips white space and returns what is there.
func (r *jsonReader) next() byte {
	for r.b[r.i] == ' ' || r.b[r.i] == '\n' || r.b[r.i] == '\r' || r.b[r.i] == '\t' {
		r.i++
	}
	return r.b[r.i]
}

func (r *jsonReader) value(depth int) (Value, error) {
	if depth > maxJSONDepth {
		return nil, fmt.Errorf("nested more than %d deep", maxJSONDepth)
	}
	switch r.next() {
	case '{':
		return r.object(depth)
	case '[':
		return r.array(depth)
	case '"':
		text := r.quoted()
		return unquoted(text), nil
	case 't':
		r.i += len("true")
		return true, nil
	case 'f':
		r.i += len("false")
		return false, nil
	case 'n':
		r.i += len("null")
		return nil, nil
	}
	from := r.i
	for r.i < len(r.b) && strings.IndexByte("+-.eE0123456789", r.b[r.i]) >= 0 {
		r.i++
	}
	return number(string(r.b[from:r.i]))
}

func (r *jsonReader) array(depth int) (Value, error) {
	list := []any{}
	for r.i++; r.next() != ']'; {
		v, err := r.value(depth + 1)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
		if r.next() == ',' {
			r.i++
		}
	}
	r.i++
	return list, nil
}

func (r *jsonReader) object(depth int) (Value, error) {
	d := NewDict(4)
	for r.i++; r.next() != '}'; {
		quoted := r.quoted()
		key, ok := r.keys[string(quoted)]
		if !ok {
			key = unquoted(quoted)
			r.keys[string(quoted)] = key
		}
		r.next()
		r.i++ // the colon
		v, err := r.value(depth + 1)
		if err != nil {
			return nil, err
		}
		d.Set(key, v)
		if r.next() == ',' {
			r.i++
		}
	}
	r.i++
	return d, nil
}

// quoted returns a string with its quotes.
func (r *jsonReader) quoted() []byte {
	from := r.i
	for r.i++; r.b[r.i] != '"'; r.i++ {
		if r.b[r.i] == '\\' {
			r.i++
		}
	}
	r.i++
	return r.b[from:r.i]
}

func unquoted(b []byte) string {
	if bytes.IndexByte(b, '\\') < 0 && utf8.Valid(b) {
		return string(b[1 : len(b)-1])
	}
	var s string
	_ = json.Unmarshal(b, &s) // valid
	return s
}

func number(s string) (Value, error) {
	if strings.ContainsAny(s, ".eE") {
		f, err := strconv.ParseFloat(s, 64)
		if err != nil && !math.IsInf(f, 0) {
			return nil, err
		}
		return f, nil
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return n, nil
	}
	b, ok := new(big.Int).SetString(s, 10)
	if !ok || b.BitLen() > maxIntBits {
		return nil, fmt.Errorf("the number %.20s… is too long", s)
	}
	return b, nil
}

// UnmarshalJSON makes a Dict usable as the type of a field; as DecodeJSON.
func (d *Dict) UnmarshalJSON(data []byte) error {
	v, err := DecodeJSON(data)
	if err != nil {
		return err
	}
	o, ok := v.(*Dict)
	if !ok {
		return fmt.Errorf("expected a JSON object, got %s", typeName(v))
	}
	*d = *o
	return nil
}

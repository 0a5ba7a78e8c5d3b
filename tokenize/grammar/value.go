package grammar

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"slices"
	"strings"
)

// jsonKind is a JSON value's type.
type jsonKind byte

const (
	isNull   jsonKind = 'n'
	isBool   jsonKind = 't'
	isNumber jsonKind = '0'
	isString jsonKind = '"'
	isArray  jsonKind = '['
	isObject jsonKind = '{'
)

func (k jsonKind) String() string {
	return map[jsonKind]string{
		isNull: "null", isBool: "a boolean", isNumber: "a number", isString: "a string", isArray: "an array", isObject: "an object",
	}[k]
}

// value is a JSON value whose members keep their order, with the path to it.
type value struct {
	path  string
	kind  jsonKind
	text  string // of a number as it is written, of a string decoded, of a boolean
	keys  []string
	items []*value // of an array, or the values of keys
	// isMade: it is part of no schema that was given, see negate.go.
	isMade  bool
	negates *value // the schema that this is the opposite of
	quiet   bool   // see compiler.not
	equal   string // see standard; empty: not known yet
	// Of a number, once decimal has read it.
	number *big.Rat
	unread error
}

func (v *value) get(key string) *value {
	for i, k := range v.keys {
		if k == key {
			return v.items[i]
		}
	}
	return nil
}

// parseJSON reads one value.
func parseJSON(source, path string) (*value, error) {
	d := json.NewDecoder(strings.NewReader(source))
	d.UseNumber()
	v, err := decodeValue(d, path, 0)
	if err == nil {
		if _, more := d.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("there is more after its end")
		}
	}
	var fault *Error
	if err != nil && !errors.As(err, &fault) {
		return nil, errorf(path, "is not JSON: %v", err)
	}
	return v, err
}

func decodeValue(d *json.Decoder, path string, depth int) (*value, error) {
	if depth > maxNesting {
		return nil, errorf(path, "is nested deeper than %d", maxNesting)
	}
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	v := &value{path: path}
	switch t := t.(type) {
	case nil:
		v.kind, v.text = isNull, "null"
	case bool:
		v.kind, v.text = isBool, fmt.Sprint(t)
	case json.Number:
		v.kind, v.text = isNumber, t.String()
	case string:
		v.kind, v.text = isString, t
	case json.Delim:
		v.kind = jsonKind(t)
		seen := map[string]bool{}
		for d.More() {
			at := item(path, len(v.items))
			if v.kind == isObject {
				k, err := d.Token()
				if err != nil {
					return nil, err
				}
				key := k.(string)
				at = member(path, key)
				if seen[key] {
					return nil, errorf(at, "given twice")
				}
				seen[key] = true
				v.keys = append(v.keys, key)
			}
			e, err := decodeValue(d, at, depth+1)
			if err != nil {
				return nil, err
			}
			v.items = append(v.items, e)
		}
		_, err = d.Token()
	}
	return v, err
}

// literal is the value as compact JSON, strings in the spelling of asJSON.
func (v *value) literal() string {
	var b strings.Builder
	v.write(&b)
	return b.String()
}

func (v *value) write(b *strings.Builder) {
	switch v.kind {
	case isString:
		writeString(b, v.text)
	case isArray, isObject:
		b.WriteByte(byte(v.kind))
		for i, e := range v.items {
			if i > 0 {
				b.WriteByte(',')
			}
			if v.kind == isObject {
				writeString(b, v.keys[i])
				b.WriteByte(':')
			}
			e.write(b)
		}
		b.WriteByte(byte(v.kind) + 2) // the closing bracket
	default:
		b.WriteString(v.text)
	}
}

func writeString(b *strings.Builder, s string) {
	b.WriteByte('"')
	for _, c := range s {
		b.WriteString(asJSON.spell(c))
	}
	b.WriteByte('"')
}

func quoted(s string) string {
	var b strings.Builder
	writeString(&b, s)
	return b.String()
}

// spelled is s in the spelling of asJSON, without quotes.
func spelled(s string) string {
	q := quoted(s)
	return q[1 : len(q)-1]
}

// same reports whether two values are equal: numbers by what they stand for,
// objects whatever the order of their members.
func (v *value) same(w *value) bool { return v.kind == w.kind && v.standard() == w.standard() }

// decimal is a number's value, which must not be changed.
func (v *value) decimal() (*big.Rat, error) {
	if v.number == nil && v.unread == nil {
		v.number, v.unread = parseDecimal(v.text)
	}
	return v.number, v.unread
}

// standard is the same text for values that are equal.
func (v *value) standard() string {
	if v.equal != "" {
		return v.equal
	}
	var parts []string
	switch v.kind {
	case isNumber:
		v.equal = v.text
		if x, err := v.decimal(); err == nil {
			v.equal = x.RatString()
		}
	case isArray, isObject:
		for i, e := range v.items {
			part := e.standard()
			if v.kind == isObject {
				part = quoted(v.keys[i]) + ":" + part
			}
			parts = append(parts, part)
		}
		if v.kind == isObject {
			slices.Sort(parts)
		}
		v.equal = string(v.kind) + strings.Join(parts, ",") + "."
	default:
		v.equal = v.literal()
	}
	return v.equal
}

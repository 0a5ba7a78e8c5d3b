package jsonfile

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Decode is json.Unmarshal with errors that name the field and the place. It takes
// numbers as Python's json writes them.
func Decode(data []byte, v any) error {
	data = finite(data)
	err := json.Unmarshal(data, v)
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		article := "a"
		if e.Value == "array" || e.Value == "object" {
			article = "an"
		}
		return fmt.Errorf("%s is %s %s, want %s", cmp.Or(e.Field, "it"), article, e.Value, kind(e.Type.Kind().String()))
	}
	if e, ok := errors.AsType[*json.SyntaxError](err); ok {
		at := min(int(e.Offset), len(data))
		return fmt.Errorf("not JSON: line %d: %w", 1+bytes.Count(data[:at], []byte{'\n'}), err)
	}
	return err
}

// finite puts numbers that JSON has for those that only Python's json writes: the
// largest there is for Infinity, and null, which is as good as absent, for NaN.
func finite(data []byte) []byte {
	if !bytes.Contains(data, []byte("Infinity")) && !bytes.Contains(data, []byte("NaN")) {
		return data
	}
	out := make([]byte, 0, len(data)+64)
	for inString := false; len(data) > 0; {
		switch {
		case inString && data[0] == '\\' && len(data) > 1:
			out, data = append(out, data[0]), data[1:]
		case data[0] == '"':
			inString = !inString
		case !inString && bytes.HasPrefix(data, []byte("Infinity")):
			out, data = append(out, "1.7976931348623157e308"...), data[len("Infinity"):]
			continue
		case !inString && bytes.HasPrefix(data, []byte("NaN")):
			out, data = append(out, "null"...), data[len("NaN"):]
			continue
		}
		out, data = append(out, data[0]), data[1:]
	}
	return out
}

func kind(of string) string {
	switch {
	case strings.HasPrefix(of, "int"), strings.HasPrefix(of, "uint"):
		return "an integer"
	case strings.HasPrefix(of, "float"):
		return "a number"
	case of == "struct", of == "map":
		return "an object"
	case of == "slice":
		return "a list"
	default:
		return "a " + of
	}
}

// IDs is null, one token id or a list of them.
type IDs []int64

func (t *IDs) UnmarshalJSON(data []byte) error {
	if data[0] == '[' {
		return json.Unmarshal(data, (*[]int64)(t))
	}
	var id *int64
	if err := json.Unmarshal(data, &id); err != nil {
		return err
	}
	*t = nil
	if id != nil {
		*t = IDs{*id}
	}
	return nil
}

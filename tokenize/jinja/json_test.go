package jinja

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
)

// decodeTokens is what DecodeJSON is held against: encoding/json's own tokens.
func decodeTokens(data []byte) (Value, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	v, err := decodeToken(dec, 0)
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, fmt.Errorf("JSON, at byte %d: %w", dec.InputOffset(), err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("JSON, at byte %d: more than one value", dec.InputOffset())
	}
	return v, nil
}

func decodeToken(dec *json.Decoder, depth int) (Value, error) {
	if depth > maxJSONDepth {
		return nil, fmt.Errorf("nested more than %d deep", maxJSONDepth)
	}
	tok, err := dec.Token()
	if err != nil {
		return nil, err
	}
	switch t := tok.(type) {
	case json.Number:
		return number(string(t))
	case json.Delim:
		if t == '[' {
			list := []any{}
			for dec.More() {
				v, err := decodeToken(dec, depth+1)
				if err != nil {
					return nil, err
				}
				list = append(list, v)
			}
			_, err := dec.Token()
			return list, err
		}
		d := NewDict(4)
		for dec.More() {
			key, err := dec.Token()
			if err != nil {
				return nil, err
			}
			v, err := decodeToken(dec, depth+1)
			if err != nil {
				return nil, err
			}
			d.Set(key.(string), v)
		}
		_, err := dec.Token()
		return d, err
	}
	return tok, nil // nil, bool, string
}

// FuzzDecodeJSON: DecodeJSON reads what encoding/json reads, and nothing else.
func FuzzDecodeJSON(f *testing.F) {
	for _, text := range []string{
		`{"z": 1, "a": [1.0, -2, 1e2, 12345678901234567890, true, false, null, "\u00e9\n\ud83d\ude00\ud800"], "z": {"": {}}}`,
		" [ ] ", `{"a" : "b" , "c":"\\\""}`, "\"\xff\"", "1", `"a`, `[1,]`, `{"a":1,}`, `{"a" 1}`, "nul", "[1 2]", "-", "1e", "\ufeff1",
		strings.Repeat("[", 300) + strings.Repeat("]", 300), `{"\u0061": 1, "a": 2}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := DecodeJSON(data)
		want, wantErr := decodeTokens(data)
		if !json.Valid(data) {
			wantErr = errors.New("invalid") // the tokens are lenient about commas
		}
		if (err == nil) != (wantErr == nil) || err == nil && !reflect.DeepEqual(got, want) {
			t.Errorf("%q: got %v, %v; want %v, %v", data, got, err, want, wantErr)
		}
	})
}

// BenchmarkDecodeJSON reads a chat, and so do encoding/json's tokens.
func BenchmarkDecodeJSON(b *testing.B) {
	message := `{"role": "user", "content": "What \"is\" the weather like in Oslo, and what will it be tomorrow?"}`
	data := []byte("[" + strings.Repeat(message+",", 9_999) + message + "]")
	for name, decode := range map[string]func([]byte) (Value, error){"direct": DecodeJSON, "tokens": decodeTokens} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := decode(data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

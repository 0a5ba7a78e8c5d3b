package http

import (
	"encoding/json"
	"reflect"
	"testing"
	"unicode/utf8"
)

// value rebuilds a JSON value by walking it, as encoding/json would.
func (v raw) value() any {
	switch v[0] {
	case '{':
		m := map[string]any{}
		for k, e := range v.members() {
			m[k] = e.value()
		}
		return m
	case '[':
		l := []any{}
		for _, e := range v.elements() {
			l = append(l, e.value())
		}
		return l
	case '"':
		return unquote(v)
	case 't', 'f':
		return v[0] == 't'
	case 'n':
		return nil
	}
	x, _ := v.number()
	return x
}

// FuzzWalk compares walking with encoding/json on whatever is valid.
func FuzzWalk(f *testing.F) {
	for _, seed := range []string{
		`{}`, ` { } `, `{"a":1,"b":[true,false,null,-1.5e3,"x\"y\\"],"c":{"d":{}},"e":[]}`, "{\n\t\"a\" : [ 1 , 2 ] ,\r\n\"\\u0061\" : \"\\ud83d\\ude00\" }",
		`{"a":"}","b":"]","c":"\\"}`, `[1,2]`, `"x"`, `{"a":1e400}`, "{\"a\":\"\xff\"}", `{"a":00}`, ``, `{`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var want map[string]any
		err := json.Unmarshal(body, &want)
		v, fault := parse(body)
		if fault != nil {
			if err == nil && want != nil && utf8.Valid(body) {
				t.Fatalf("%q was refused: %v", body, fault)
			}
			return
		}
		if err != nil { // a number that no float64 holds: valid, but not for encoding/json
			return
		}
		if got := v.value(); !reflect.DeepEqual(got, any(want)) {
			t.Fatalf("%q: got %v, want %v", body, got, want)
		}
	})
}

// FuzzString writes any string as JSON that reads back as itself.
func FuzzString(f *testing.F) {
	f.Add("plain")
	f.Add("\x00\x1f\"\\/\n\r\t\x7fé😀\u2028\xff\xc3")
	f.Fuzz(func(t *testing.T, s string) {
		var got string
		if err := json.Unmarshal(appendQuoted(nil, s), &got); err != nil {
			t.Fatal(err)
		}
		if want := string([]rune(s)); got != want { // invalid bytes become U+FFFD
			t.Fatalf("got %q, want %q", got, want)
		}
		if string(appendString(nil, []byte(s))) != string(appendString(nil, s)) {
			t.Fatal("bytes and strings differ")
		}
	})
}

func TestIntegers(t *testing.T) {
	for in, want := range map[string]int64{"0": 0, "-7": -7, "16.0": 16, "1e3": 1000, "9223372036854775807": 1<<63 - 1, "-0": 0} {
		if got, err := raw(in).integer(); err != nil || got != want {
			t.Errorf("%s: got %d, %v", in, got, err)
		}
	}
	for _, in := range []string{"1.5", "1e99", "99999999999999999999", `"1"`, "true", "null", "1e-3"} {
		if got, err := raw(in).integer(); err == nil {
			t.Errorf("%s was read as %d", in, got)
		}
	}
}

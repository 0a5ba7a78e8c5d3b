package field

import (
	"encoding/json"
	"reflect"
	"testing"
	"unicode/utf8"
)

// value rebuilds a JSON value by walking it, as encoding/json would.
func (v Value) value() any {
	switch v[0] {
	case '{':
		m := map[string]any{}
		for k, e := range v.Members() {
			m[k] = e.value()
		}
		return m
	case '[':
		l := []any{}
		for _, e := range v.Elements() {
			l = append(l, e.value())
		}
		return l
	case '"':
		return v.Unquote()
	case 't', 'f':
		return v[0] == 't'
	case 'n':
		return nil
	}
	x, _ := v.Number()
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
		v, fault := Parse(body)
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

func TestIntegers(t *testing.T) {
	for in, want := range map[string]int64{"0": 0, "-7": -7, "16.0": 16, "1e3": 1000, "9223372036854775807": 1<<63 - 1, "-0": 0} {
		if got, err := Value(in).Integer(); err != nil || got != want {
			t.Errorf("%s: got %d, %v", in, got, err)
		}
	}
	for _, in := range []string{"1.5", "1e99", "99999999999999999999", `"1"`, "true", "null", "1e-3"} {
		if got, err := Value(in).Integer(); err == nil {
			t.Errorf("%s was read as %d", in, got)
		}
	}
}

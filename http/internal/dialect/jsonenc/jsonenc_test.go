package jsonenc

import (
	"encoding/json"
	"testing"
)

// FuzzString writes any string as JSON that reads back as itself.
func FuzzString(f *testing.F) {
	f.Add("plain")
	f.Add("\x00\x1f\"\\/\n\r\t\x7fé😀\u2028\xff\xc3")
	f.Fuzz(func(t *testing.T, s string) {
		var got string
		if err := json.Unmarshal(Quoted(nil, s), &got); err != nil {
			t.Fatal(err)
		}
		if want := string([]rune(s)); got != want { // invalid bytes become U+FFFD
			t.Fatalf("got %q, want %q", got, want)
		}
		if string(String(nil, []byte(s))) != string(String(nil, s)) {
			t.Fatal("bytes and strings differ")
		}
	})
}

package jsonfile

import "testing"

// Numbers that only Python writes, within strings and without.
func TestFinite(t *testing.T) {
	for text, want := range map[string]string{
		`{"a\\": NaN, "NaN\"": "Infinity"}`: `{"a\\": null, "NaN\"": "Infinity"}`,
		`[-Infinity, Infinity]`:             `[-1.7976931348623157e308, 1.7976931348623157e308]`,
		`{"plain": "text"}`:                 `{"plain": "text"}`,
	} {
		if got := string(finite([]byte(text))); got != want {
			t.Errorf("%s becomes %s, want %s", text, got, want)
		}
	}
}

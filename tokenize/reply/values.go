package reply

import (
	"bytes"
	"encoding/json"
	"strings"
)

// appendEscaped appends the inside of a JSON string.
func appendEscaped[T string | []byte](dst []byte, s T) []byte {
	for i := range len(s) {
		dst = appendEscapedByte(dst, s[i])
	}
	return dst
}

func appendEscapedByte(dst []byte, c byte) []byte {
	switch {
	case c == '"' || c == '\\':
		return append(dst, '\\', c)
	case c == '\n':
		return append(dst, `\n`...)
	case c == '\t':
		return append(dst, `\t`...)
	case c == '\r':
		return append(dst, `\r`...)
	case c < ' ':
		const hex = "0123456789abcdef"
		return append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
	}
	return append(dst, c)
}

// pythonValue is a value of Python's as JSON.
func pythonValue(s string) (string, bool) {
	var l literal
	l.beginValue()
	s = strings.TrimSpace(s) + " " // behind which a number ends
	for i := range len(s) {
		switch l.step(s[i]) {
		case ends:
			return string(l.out), blank(s[i+1:])
		case past:
			return string(l.out), blank(s[i:])
		case bad:
			return "", false
		}
	}
	return "", false
}

// asJSON is what a parameter's text means: JSON or the like if its type may be
// that, else a string.
func asJSON(text []byte, t Types) []byte {
	if t != String {
		v := bytes.TrimSpace(text)
		valid := json.Valid(v)
		if !valid {
			if p, ok := pythonValue(string(v)); ok && p[0] != '"' {
				v, valid = []byte(p), true
			}
		}
		if valid && (t == 0 || t&typeOf(v) != 0) {
			return v
		}
	}
	return append(appendEscaped([]byte{'"'}, text), '"')
}

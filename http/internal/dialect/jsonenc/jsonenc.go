// Package jsonenc appends JSON by hand: an answer's shape is fixed, a token's
// event is appended to memory that is already there, and so costs no
// allocation.
package jsonenc

import (
	"strconv"
	"unicode/utf8"
)

// HexDigits are those of escapes.
const HexDigits = "0123456789abcdef"

// String appends s as a JSON string, without quotes. Bytes that are not
// UTF-8 become U+FFFD, as clients could not read them.
func String[T string | []byte](dst []byte, s T) []byte {
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(string(s[i:min(i+utf8.UTFMax, len(s))]))
			if r == utf8.RuneError && size == 1 {
				dst = append(append(dst, s[from:i]...), "\ufffd"...)
				from = i + 1
			}
			i += size
			continue
		}
		if c >= ' ' && c != '"' && c != '\\' {
			i++
			continue
		}
		dst = append(dst, s[from:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', HexDigits[c>>4], HexDigits[c&15])
		}
		i++
		from = i
	}
	return append(dst, s[from:]...)
}

// Quoted is String with quotes.
func Quoted(dst []byte, s string) []byte {
	return append(String(append(dst, '"'), s), '"')
}

// IDs appends an array of token ids.
func IDs(dst []byte, ids []int32) []byte {
	dst = append(dst, '[')
	for i, id := range ids {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendInt(dst, int64(id), 10)
	}
	return append(dst, ']')
}

// OrNull appends s, or null when it is empty.
func OrNull(dst []byte, s string) []byte {
	if s == "" {
		return append(dst, "null"...)
	}
	return Quoted(dst, s)
}

// Comma appends the comma before element i, unless it is the first.
func Comma(dst []byte, i int) []byte {
	if i > 0 {
		return append(dst, ',')
	}
	return dst
}

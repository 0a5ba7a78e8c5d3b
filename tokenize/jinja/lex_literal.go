package jinja

import (
	"math/big"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// stringEnd measures a quoted string, 0 if it does not end.
func stringEnd(s string) int {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case s[0]:
			return i + 1
		}
	}
	return 0
}

func (l *lexer) number(rest string) error {
	n, float := scanNumber(rest, l.pos > 0 && l.src[l.pos-1] == '.')
	digits := strings.ReplaceAll(rest[:n], "_", "")
	t := token{kind: tokNumber, text: rest[:n], line: l.line}
	if float {
		f, _ := strconv.ParseFloat(digits, 64) // out of range is infinite, as in Python
		t.num = f
	} else {
		base := 10
		if len(digits) > 2 && digits[0] == '0' {
			base = 0
		}
		b, ok := new(big.Int).SetString(digits, base)
		if !ok || len(digits) > 4300 {
			return syntaxErr(l.line, "the number %.20s… is too long", digits)
		}
		v, err := normInt(b)
		if err != nil {
			return at(err, l.line)
		}
		t.num = v
	}
	l.toks = append(l.toks, t)
	l.advance(n)
	return nil
}

// scanNumber measures a number; after a dot it cannot be a float.
func scanNumber(s string, afterDot bool) (n int, float bool) {
	digits := func(i int, ok func(byte) bool) int {
		for i < len(s) && (ok(s[i]) || s[i] == '_' && i+1 < len(s) && ok(s[i+1])) {
			i++
		}
		return i
	}
	decimal := func(c byte) bool { return c >= '0' && c <= '9' }
	whole := digits(0, decimal)
	if !afterDot {
		end := whole
		if whole+1 < len(s) && s[whole] == '.' && decimal(s[whole+1]) {
			end, float = digits(whole+1, decimal), true
		}
		if end < len(s) && (s[end] == 'e' || s[end] == 'E') {
			i := end + 1
			if i < len(s) && (s[i] == '+' || s[i] == '-') {
				i++
			}
			if i < len(s) && decimal(s[i]) {
				end, float = digits(i, decimal), true
			}
		}
		if float {
			return end, true
		}
	}
	if s[0] != '0' {
		return whole, false
	}
	if len(s) > 1 {
		var ok func(byte) bool
		switch s[1] | 0x20 {
		case 'b':
			ok = func(c byte) bool { return c == '0' || c == '1' }
		case 'o':
			ok = func(c byte) bool { return c >= '0' && c <= '7' }
		case 'x':
			ok = func(c byte) bool { return decimal(c) || c|0x20 >= 'a' && c|0x20 <= 'f' }
		}
		if ok != nil {
			if n := digits(2, ok); n > 2 {
				return n, false
			}
		}
	}
	return digits(0, func(c byte) bool { return c == '0' }), false
}

// unescape resolves the escapes of a string literal. One that Python does not
// know stays as it is, backslash included.
func unescape(s string) (string, error) {
	if !strings.Contains(s, `\`) {
		return s, nil
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			i++
			continue
		}
		c := s[i+1]
		i += 2
		if j := strings.IndexByte(`\'"abfnrtv`, c); j >= 0 {
			b.WriteByte("\\'\"\a\b\f\n\r\t\v"[j])
			continue
		}
		switch {
		case c == '\n':
		case c >= '0' && c <= '7':
			n := 0
			for k := 0; k < 3 && i-1 < len(s) && s[i-1] >= '0' && s[i-1] <= '7'; k++ {
				n = n*8 + int(s[i-1]-'0')
				i++
			}
			i--
			b.WriteRune(rune(n))
		case c == 'x' || c == 'u' || c == 'U':
			n := map[byte]int{'x': 2, 'u': 4, 'U': 8}[c]
			if i+n > len(s) {
				return "", errf("TemplateSyntaxError", `truncated \%c escape`, c)
			}
			r, err := strconv.ParseUint(s[i:i+n], 16, 32)
			if err != nil || r > unicode.MaxRune {
				return "", errf("TemplateSyntaxError", `truncated \%c escape`, c)
			}
			b.WriteRune(rune(r))
			i += n
		case c == 'N':
			return "", errf("TemplateSyntaxError", `the escape \N{…} is not supported`)
		case c >= utf8.RuneSelf: // what jinja2's own decoding makes of it
			r, n := utf8.DecodeRuneInString(s[i-1:])
			i += n - 1
			b.Write(appendEscape(nil, r))
		default:
			b.WriteByte('\\')
			b.WriteByte(c)
		}
	}
	return b.String(), nil
}

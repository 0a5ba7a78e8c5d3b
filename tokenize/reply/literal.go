package reply

import (
	"strconv"
	"unicode/utf8"
)

// literal follows arguments written as in a program, byte by byte, and writes
// them as JSON: those of a Pythonic call, x=1, y=['a', None]), of an Unquoted
// one, x:1,y:[<|"|>a<|"|>]}, or a single value.
type literal struct {
	next    spot
	inside  []byte // what is open: 'a' for a call's arguments in parentheses, '{', '[', '('
	unquote bool   // keys stand without quotes in all objects
	key     bool   // the string under way is one
	comma   bool   // one is owed before what comes
	quote   byte   // that ends the string
	mark    string // the same where that is a mark
	n       int    // bytes of mark or word that were there
	word    string
	hex     []byte // digits of an escape …
	digits  int    // … and how many still come
	number  scanner
	ready   bool // it has a first argument, or none at all
	out     []byte
}

// spot is what a literal is in the middle of.
type spot uint8

const (
	keyOrEnd spot = iota
	inBareKey
	atAssign
	atValue
	valueOrEnd
	afterValue
	inQuotes
	afterBackslash
	inHex
	atMark
	inMarks
	inLiteralWord
	inNumber
)

// quoteMarks are what Unquoted strings stand between.
var quoteMarks = []string{`<|"|>`, "<escape>"}

// literalWords are values that are words, and what they are in JSON.
var literalWords = [...][2]string{{"True", "true"}, {"False", "false"}, {"None", "null"}, {"true", "true"}, {"false", "false"}, {"null", "null"}}

// begin is ready for the arguments of a call.
func (l *literal) begin(e Encoding) {
	*l = literal{inside: append(l.inside[:0], 'a'), hex: l.hex[:0], number: l.number, out: append(l.out[:0], '{')}
	if e == Unquoted {
		l.inside[0], l.unquote = '{', true
	}
}

// beginValue is ready for a value.
func (l *literal) beginValue() {
	*l = literal{inside: l.inside[:0], hex: l.hex[:0], number: l.number, out: l.out[:0], next: atValue}
}

// top is what is open.
func (l *literal) top() byte {
	if len(l.inside) == 0 {
		return 0
	}
	return l.inside[len(l.inside)-1]
}

// step takes the next byte.
func (l *literal) step(c byte) verdict {
	switch l.next {
	case keyOrEnd:
		return l.member(c)
	case inBareKey:
		if inKeyword(c) {
			l.out = append(l.out, c)
			return more
		}
		l.out = append(l.out, '"')
		l.next = atAssign
		return l.step(c)
	case atAssign:
		switch assign := byte(':'); {
		case space(c):
			return more
		case l.top() == 'a' && c == '=', l.top() != 'a' && c == assign:
			l.out, l.next, l.ready = append(l.out, ": "...), atValue, true
			return more
		}
		return bad
	case atValue, valueOrEnd:
		return l.begun(c)
	case afterValue:
		return l.after(c)
	case inNumber:
		v := l.number.step(c)
		if v == past {
			return l.ended(past, c)
		}
		if v == more {
			l.out = append(l.out, c)
		}
		return v
	case inLiteralWord:
		return l.inWord(c)
	}
	return l.text(c)
}

// inKeyword reports whether a keyword, or a key without quotes, may hold c.
func inKeyword(c byte) bool { return inToolName(c) || c >= utf8.RuneSelf }

// member takes the beginning of a key, or the end of what is open.
func (l *literal) member(c byte) verdict {
	bare := l.top() == 'a' || l.unquote
	switch {
	case space(c):
		return more
	case c == l.closer():
		l.comma = false
		return l.closed()
	case bare && inKeyword(c):
		l.separate()
		l.out, l.next = append(l.out, '"', c), inBareKey
		return more
	case l.top() != 'a' && (c == '"' || c == '\''):
		l.separate()
		l.key = true
		return l.quoted(c)
	case l.unquote && c == '<':
		l.separate()
		l.key = true
		return l.marked(c)
	}
	return bad
}

// separate writes the comma that is owed.
func (l *literal) separate() {
	if l.comma {
		l.out, l.comma = append(l.out, ", "...), false
	}
}

// closer is the byte that closes what is open.
func (l *literal) closer() byte {
	switch l.top() {
	case 'a', '(':
		return ')'
	case '[':
		return ']'
	case '{':
		return '}'
	}
	return 0
}

// begun takes a value's first byte.
func (l *literal) begun(c byte) verdict {
	if space(c) {
		return more
	}
	if l.next == valueOrEnd && c == l.closer() {
		l.comma = false
		return l.closed()
	}
	l.separate()
	switch {
	case c == '"' || c == '\'':
		return l.quoted(c)
	case c == '<' && l.unquote:
		return l.marked(c)
	case c == '[' || c == '(':
		l.inside, l.out, l.next = append(l.inside, c), append(l.out, '['), valueOrEnd
		return more
	case c == '{':
		l.inside, l.out, l.next = append(l.inside, c), append(l.out, c), keyOrEnd
		return more
	case c == '-' || digit(c):
		l.number.begin()
		l.number.step(c)
		l.out, l.next = append(l.out, c), inNumber
		return more
	}
	l.word, l.n, l.next = "", 0, inLiteralWord
	return l.inWord(c)
}

// inWord takes a byte of True, None and the like.
func (l *literal) inWord(c byte) verdict {
	for _, w := range literalWords {
		if l.n < len(w[0]) && w[0][:l.n] == l.word && w[0][l.n] == c {
			l.n++
			l.word = w[0][:l.n]
			if l.n == len(w[0]) {
				l.out = append(l.out, w[1]...)
				return l.ended(ends, c)
			}
			return more
		}
	}
	return bad
}

// ended is the end of a value, at c or, when v is past, before it.
func (l *literal) ended(v verdict, c byte) verdict {
	if len(l.inside) == 0 {
		return v
	}
	l.next = afterValue
	if v == past {
		return l.after(c)
	}
	return more
}

// after takes what follows a value.
func (l *literal) after(c byte) verdict {
	switch {
	case space(c):
		return more
	case c == ',' && (l.top() == '[' || l.top() == '('):
		l.comma, l.next = true, valueOrEnd
		return more
	case c == ',':
		l.comma, l.next = true, keyOrEnd
		return more
	case c == l.closer():
		return l.closed()
	}
	return bad
}

// closed closes what is open.
func (l *literal) closed() verdict {
	end := byte('}')
	if top := l.top(); top == '[' || top == '(' {
		end = ']'
	}
	l.out, l.ready = append(l.out, end), true
	if l.inside = l.inside[:len(l.inside)-1]; len(l.inside) == 0 {
		return ends
	}
	l.next = afterValue
	return more
}

func (l *literal) quoted(c byte) verdict {
	l.quote, l.next, l.out = c, inQuotes, append(l.out, '"')
	return more
}

func (l *literal) marked(byte) verdict {
	l.mark, l.n, l.next = "", 1, atMark
	return more
}

// text takes a byte of a string.
func (l *literal) text(c byte) verdict {
	switch l.next {
	case atMark:
		for _, m := range quoteMarks {
			if (l.mark == "" || l.mark == m) && l.n < len(m) && m[l.n] == c {
				l.mark = m
				if l.n++; l.n == len(m) {
					l.n, l.next, l.out = 0, inMarks, append(l.out, '"')
				}
				return more
			}
		}
		return bad
	case inMarks:
		if c == l.mark[l.n] {
			if l.n++; l.n == len(l.mark) {
				return l.stringEnded(c)
			}
			return more
		}
		l.out = appendEscaped(l.out, l.mark[:l.n])
		if l.n = 0; c == l.mark[0] {
			l.n = 1
			return more
		}
		l.out = appendEscapedByte(l.out, c)
		return more
	case inQuotes:
		switch c {
		case l.quote:
			return l.stringEnded(c)
		case '\\':
			l.next = afterBackslash
		default:
			l.out = appendEscapedByte(l.out, c)
		}
		return more
	case afterBackslash:
		return l.escape(c)
	}
	return l.inHexDigits(c)
}

func (l *literal) stringEnded(c byte) verdict {
	l.out = append(l.out, '"')
	if l.key {
		l.key, l.next = false, atAssign
		return more
	}
	return l.ended(ends, c)
}

// escape takes the byte behind a backslash. Of escapes that there are not, both
// are text, as in Python.
func (l *literal) escape(c byte) verdict {
	l.next = inQuotes
	switch c {
	case '\n':
	case 'n', 't', 'r', 'b', 'f', '"', '\\', '/':
		l.out = append(l.out, '\\', c)
	case '\'':
		l.out = append(l.out, c)
	case 'a':
		l.out = append(l.out, `\u0007`...)
	case 'v':
		l.out = append(l.out, `\u000b`...)
	case '0':
		l.out = append(l.out, `\u0000`...)
	case 'x', 'u', 'U':
		l.hex, l.next = l.hex[:0], inHex
		l.digits = map[byte]int{'x': 2, 'u': 4, 'U': 8}[c]
	default:
		l.out = append(l.out, `\\`...)
		l.out = appendEscapedByte(l.out, c)
	}
	return more
}

func (l *literal) inHexDigits(c byte) verdict {
	if !digit(c) && (c|0x20 < 'a' || c|0x20 > 'f') {
		return bad
	}
	l.hex = append(l.hex, c)
	if l.digits--; l.digits > 0 {
		return more
	}
	l.next = inQuotes
	code, _ := strconv.ParseUint(string(l.hex), 16, 32) // at most eight digits
	switch {
	case len(l.hex) == 4: // perhaps half of a character
		l.out = append(append(l.out, `\u`...), l.hex...)
	case code < ' ':
		l.out = appendEscapedByte(l.out, byte(code))
	default:
		l.out = appendEscaped(l.out, string(rune(min(code, utf8.MaxRune+1))))
	}
	return more
}

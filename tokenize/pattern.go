package tokenize

import (
	"fmt"
	"strings"
)

// translate rewrites a pattern from Oniguruma's syntax, in which tokenizers
// publish it, to that of regexp2 (.NET's), where the two differ. Constructs
// that would match something else there are errors.
func translate(expr string) (string, error) {
	t := translator{in: expr}
	for t.i < len(t.in) && t.err == nil {
		t.step()
	}
	return t.out.String(), t.err
}

type translator struct {
	in     string
	i      int
	out    strings.Builder
	atom   int   // where in out the last atom starts
	groups []int // where in out the open groups start
	err    error
}

// What Oniguruma's \w stands for, inside a class and alone: the symbols are
// letters in circles and squares; the numbers of Latin-1 count only alone.
const (
	wordClass = `\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc}\u24B6-\u24E9` +
		"\U0001F130-\U0001F149\U0001F150-\U0001F169\U0001F170-\U0001F189"
	wordAlone = wordClass + `\u00B2\u00B3\u00B9\u00BC-\u00BE`
)

func (t *translator) refuse(what string) {
	if t.err == nil {
		t.err = fmt.Errorf("%s at byte %d: not supported", what, t.i)
	}
}

func (t *translator) step() {
	switch c := t.in[t.i]; c {
	case '\\':
		t.atom = t.out.Len()
		t.escape(false)
	case '[':
		t.atom = t.out.Len()
		t.class()
	case '(':
		t.open()
	case ')':
		if n := len(t.groups); n > 0 {
			t.atom, t.groups = t.groups[n-1], t.groups[:n-1]
		}
		t.copy(1)
	case '?', '*', '+', '{':
		t.quantifier()
	default:
		t.atom = t.out.Len()
		t.copy(1)
	}
}

func (t *translator) copy(n int) {
	n = min(n, len(t.in)-t.i)
	t.out.WriteString(t.in[t.i : t.i+n])
	t.i += n
}

func (t *translator) open() {
	t.groups = append(t.groups, t.out.Len())
	rest := t.in[t.i:]
	if !strings.HasPrefix(rest, "(?") {
		t.copy(1)
		return
	}
	for _, ok := range []string{"(?:", "(?=", "(?!", "(?<=", "(?<!", "(?>", "(?i:", "(?i)"} {
		if strings.HasPrefix(rest, ok) {
			if ok == "(?i)" {
				t.groups = t.groups[:len(t.groups)-1]
			}
			t.copy(len(ok))
			return
		}
	}
	t.refuse("group " + rest[:min(4, len(rest))])
}

// quantifier also turns possessive ones into atomic groups. After {n,m} a plus
// is not possessive but repeats once more.
func (t *translator) quantifier() {
	rest := t.in[t.i:]
	n := 1
	if rest[0] == '{' {
		n = strings.IndexByte(rest, '}') + 1
		if n == 0 || strings.Trim(rest[1:n-1], "0123456789,") != "" {
			t.refuse("brace " + rest[:min(4, len(rest))])
			return
		}
	}
	possessive := len(rest) > n && rest[n] == '+'
	if !possessive {
		t.copy(n)
		if len(rest) > n && rest[n] == '?' {
			t.copy(1)
		}
		return
	}
	s := t.out.String()
	t.out.Reset()
	t.out.WriteString(s[:t.atom])
	if rest[0] == '{' {
		t.out.WriteString("(?:" + s[t.atom:] + rest[:n] + ")+")
	} else {
		t.out.WriteString("(?>" + s[t.atom:] + rest[:n] + ")")
	}
	t.i += n + 1
}

func (t *translator) escape(inClass bool) {
	if t.i+1 >= len(t.in) {
		t.refuse("a backslash")
		return
	}
	wrap := func(not, s string) {
		if inClass {
			t.out.WriteString(s)
		} else {
			t.out.WriteString("[" + not + s + "]")
		}
		t.i += 2
	}
	switch c := t.in[t.i+1]; c {
	case 'w':
		if inClass {
			wrap("", wordClass)
		} else {
			wrap("", wordAlone)
		}
	case 'h':
		wrap("", "0-9a-fA-F")
	case 'W', 'H':
		if inClass {
			t.refuse(`\` + string(c) + " in a class")
		} else if c == 'W' {
			wrap("^", wordAlone)
		} else {
			wrap("^", "0-9a-fA-F")
		}
	case 'p', 'P':
		n := strings.IndexByte(t.in[t.i:], '}') + 1
		if n == 0 || strings.HasPrefix(t.in[t.i+2:], "{^") {
			t.refuse("property")
			return
		}
		t.copy(n)
	case 's', 'S', 'd', 'D', 'A', 'z', 'n', 'r', 't', 'f', 'v', 'e', 'a', 'u', 'x', '0':
		t.copy(2)
	default:
		if 'a' <= c|0x20 && c|0x20 <= 'z' || '1' <= c && c <= '9' {
			t.refuse(`\` + string(c))
			return
		}
		t.copy(2)
	}
}

// class copies […]. An intersection with a negated class at its end becomes a
// subtraction: [A&&[^B]] is [A-[B]].
func (t *translator) class() {
	t.copy(1)
	if t.i < len(t.in) && t.in[t.i] == '^' {
		t.copy(1)
	}
	if t.i < len(t.in) && t.in[t.i] == ']' {
		t.out.WriteString(`\]`)
		t.i++
	}
	for t.i < len(t.in) && t.err == nil {
		rest := t.in[t.i:]
		switch {
		case rest[0] == ']':
			t.copy(1)
			return
		case strings.HasPrefix(rest, "&&[^"):
			t.out.WriteString("-[")
			t.i += 4
			t.classRest()
			if !strings.HasPrefix(t.in[t.i:], "]") {
				t.refuse("an intersection that does not end its class")
			}
		case strings.HasPrefix(rest, "&&"):
			t.refuse("an intersection with anything but a negated class")
		case rest[0] == '[':
			t.refuse("a class in a class")
		case rest[0] == '\\':
			t.escape(true)
		default:
			t.copy(1)
		}
	}
	t.refuse("a class without an end")
}

// classRest copies the rest of a class that is subtracted.
func (t *translator) classRest() {
	for t.i < len(t.in) && t.in[t.i] != ']' && t.err == nil {
		if t.in[t.i] == '\\' {
			t.escape(true)
		} else {
			t.copy(1)
		}
	}
	t.copy(1)
}

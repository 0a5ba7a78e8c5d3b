package main

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// markdown styles text for a terminal as it comes: headings, lists, quotes,
// rules, fenced and inline code, bold and italics. Everything else stays as it
// is. It holds back only what the next characters may give another meaning, and
// what its wrapper does.
type markdown struct {
	wrap  wrapper
	held  string // the end of the text so far that is not decided
	style style  // in force on the terminal

	inLine bool  // past a line's beginning
	block  style // of the line
	inline style // within it
	before rune  // the character before

	fence string // what ends the code we are in; "": we are in none
}

// style is how characters look; 0 is plain.
type style uint8

const (
	bold style = 1 << iota
	faint
	italic
	coloured
)

// codes is what makes the terminal write in a style.
func (s style) codes() string {
	all := "0"
	for i, code := range []string{"1", "2", "3", "36"} {
		if s>>i&1 == 1 {
			all += ";" + code
		}
	}
	return "\x1b[" + all + "m"
}

// add returns what can be written of the text by now.
func (m *markdown) add(text string) string { return m.write(text, false) }

// end returns what was held back, and leaves the terminal plain.
func (m *markdown) end() string {
	var out strings.Builder
	out.WriteString(m.write("", true))
	m.wrap.flush(&out)
	if m.style != 0 {
		out.WriteString(plain)
	}
	*m = markdown{wrap: wrapper{width: m.wrap.width}}
	return out.String()
}

func (m *markdown) write(text string, final bool) string {
	var out strings.Builder
	s := m.held + text
	for s != "" {
		take := m.begin
		if m.inLine {
			take = m.inside
		}
		n := take(&out, s, final)
		if n < 0 {
			break
		}
		s = s[n:]
	}
	m.held = s
	return out.String()
}

// wait says that what follows decides.
const wait = -1

// put writes in a style.
func (m *markdown) put(out *strings.Builder, s style, text string) {
	if s != m.style && text != "" {
		m.wrap.code(out, s.codes())
		m.style = s
	}
	if m.fence != "" {
		m.wrap.verbatim(out, text)
		return
	}
	m.wrap.text(out, text)
}

// open begins a line's text.
func (m *markdown) open(block style) { m.inLine, m.block, m.inline, m.before = true, block, 0, ' ' }

// lineMarks are the characters that what is special about a line begins with.
const lineMarks = "#-*_+>`~"

// begin takes what a line begins with and returns how much that is.
func (m *markdown) begin(out *strings.Builder, s string, final bool) int {
	m.wrap.hang = ""
	line, _, whole := strings.Cut(s, "\n")
	size := len(line)
	if whole {
		size++
	}
	whole = whole || final
	rest := strings.TrimLeft(line, " ")
	indent := len(line) - len(rest)
	if rest == "" && !whole {
		return wait
	}
	if m.fence != "" {
		return m.beginCode(rest, size, whole)
	}
	if strings.Trim(rest, lineMarks) == "" && !whole {
		return wait
	}
	run := len(rest)
	if rest != "" {
		run -= len(strings.TrimLeft(rest, rest[:1]))
	}
	after := rest[run:]
	switch {
	case rest == "" || strings.IndexByte(lineMarks, rest[0]) < 0:
	case run >= 3 && (rest[0] == '`' || rest[0] == '~'):
		if !whole {
			return wait
		}
		m.fence = rest[:3]
		if language := strings.TrimSpace(after); language != "" {
			m.put(out, faint, language+"\n")
		}
		return size
	case run >= 3 && after == "" && strings.IndexByte("-*_", rest[0]) >= 0:
		m.open(0)
		m.put(out, faint, strings.Repeat("─", 40))
		return len(line)
	case rest[0] == '#' && run <= 6 && strings.HasPrefix(after, " "):
		m.open(bold)
		return indent + run + 1
	case run == 1 && strings.IndexByte("-*+", rest[0]) >= 0 && strings.HasPrefix(after, " "):
		m.open(0)
		m.put(out, 0, line[:indent]+"• ")
		m.wrap.hang = strings.Repeat(" ", indent+2)
		return indent + 2
	case run == 1 && rest[0] == '>':
		m.open(faint)
		m.put(out, faint, "│ ")
		m.wrap.hang = "│ "
		return len(line) - len(strings.TrimPrefix(after, " "))
	}
	m.open(0)
	m.put(out, 0, line[:indent])
	m.wrap.hang = line[:indent]
	return indent
}

// beginCode begins a line of code, unless the line is the fence that ends it.
func (m *markdown) beginCode(rest string, size int, whole bool) int {
	if strings.Trim(rest, m.fence[:1]+" \t") == "" { // nothing else yet
		switch {
		case !whole:
			return wait
		case strings.HasPrefix(rest, m.fence):
			m.fence = ""
			return size
		}
	}
	m.open(coloured)
	return 0
}

// inside takes the next of a line's text and returns how much that is.
func (m *markdown) inside(out *strings.Builder, s string, final bool) int {
	inCode := m.fence != "" || m.inline&coloured != 0
	marks := "\n*_`\\"
	if inCode {
		marks = "\n`"
	}
	n := strings.IndexAny(s, marks)
	if n < 0 {
		n = len(s)
	}
	if n > 0 {
		m.put(out, m.block|m.inline, s[:n])
		m.before, _ = utf8.DecodeLastRuneInString(s[:n])
		return n
	}
	switch {
	case s[0] == '\n':
		m.inLine = false
		m.put(out, 0, "\n")
		return 1
	case m.fence != "":
		m.put(out, m.block, s[:1])
		return 1
	case s[0] == '`':
		m.inline ^= coloured
		m.before = '`'
		return 1
	case s[0] == '\\':
		if len(s) == 1 && !final {
			return wait
		}
		if len(s) > 1 && unicode.IsPunct(rune(s[1])) {
			m.put(out, m.block|m.inline, s[1:2])
			return 2
		}
		m.put(out, m.block|m.inline, s[:1])
		return 1
	}
	return m.emphasis(out, s, final)
}

// emphasis takes asterisks or underscores: they begin emphasis before what is
// no space, and end it after; underscores only at a word's ends.
func (m *markdown) emphasis(out *strings.Builder, s string, final bool) int {
	run := len(s) - len(strings.TrimLeft(s, s[:1]))
	if run == len(s) && !final {
		return wait
	}
	next, _ := utf8.DecodeRuneInString(s[run:] + " ")
	opens, closes := !unicode.IsSpace(next), !unicode.IsSpace(m.before)
	if s[0] == '_' {
		opens, closes = opens && !wordy(m.before), closes && !wordy(next)
	}
	took := 0
	for _, kind := range []struct {
		style style
		marks int
	}{{bold, 2}, {italic, 1}} {
		if run-took < kind.marks || m.inline&kind.style == 0 && !opens || m.inline&kind.style != 0 && !closes {
			continue
		}
		m.inline ^= kind.style
		took += kind.marks
	}
	m.put(out, m.block|m.inline, s[took:run])
	m.before = rune(s[0])
	return run
}

func wordy(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }

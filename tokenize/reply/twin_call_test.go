package reply

import (
	"encoding/json"
	"slices"
	"strings"
)

// call reads a call, all but its Close.
func (r *reader) call(opened bool) {
	f := r.f
	if open := strings.TrimSpace(f.Open); open != "" && !opened {
		r.blank()
		r.peek()
		r.word(open)
	}
	if f.Arguments == Object {
		r.object()
		return
	}
	r.blank()
	r.head()
	switch f.Arguments {
	case JSON:
		r.blank()
		if r.peek() != '{' {
			r.fault(r.i)
		}
		r.tell(r.i)
		end, ok := twinValue(r.s, r.i)
		r.out = []byte(r.s[r.i:end])
		if r.i = end; !ok {
			r.fault(end)
		}
	case Tagged:
		r.tagged()
	default:
		r.program()
	}
}

// head reads a name and what follows it.
func (r *reader) head() {
	then := strings.TrimSpace(r.f.Then)
	chars := func() string {
		from := r.i
		for r.i < len(r.s) && inToolName(r.s[r.i]) {
			r.i++
		}
		return r.s[from:r.i]
	}
	if r.name = chars(); r.name == "" {
		r.peek()
		r.fault(r.i)
	}
	if n := strings.TrimPrefix(r.name, r.f.Prefix); n != "" {
		r.name = n
	}
	for {
		r.blank()
		c := r.peek()
		switch {
		case begins(c, then, r.f.ID):
			if r.word(then, r.f.ID) == 0 {
				return
			}
			chars()
		case then == "" || r.f.Arguments == JSON && c == '{':
			return
		default:
			r.fault(r.i)
		}
	}
}

// object reads a call's object.
func (r *reader) object() {
	s, called := r.s, r.f.Object
	args := func(key string) bool { return key == "arguments" || key == "parameters" }
	argued, named := false, false
	known := func(at int) {
		if argued && named {
			r.tell(at)
		}
	}
	r.blank()
	if r.peek() != '{' {
		r.fault(r.i)
	}
	for {
		r.i++
		if r.blank(); r.peek() != '"' {
			r.fault(r.i)
		}
		key := r.string()
		if r.blank(); r.peek() != ':' {
			r.fault(r.i)
		}
		r.i++
		r.blank()
		c, at := r.peek(), r.i
		switch {
		case key == called.Name && (named || c != '"'), args(key) && (argued || c != '"' && c != '{' && c != 'n'):
			r.fault(r.i)
		case args(key) && c == '{':
			argued = true
			known(at)
		}
		end, ok := twinValue(s, at)
		if args(key) && c == '{' {
			r.out = []byte(s[at:end])
		}
		if r.i = end; !ok {
			r.fault(end)
		}
		switch {
		case key == called.Name:
			if _ = json.Unmarshal([]byte(s[at:end]), &r.name); r.name == "" {
				r.fault(end - 1)
			}
			named = true
			known(end - 1)
		case args(key) && c != '{':
			text := "{}"
			if c == '"' {
				_ = json.Unmarshal([]byte(s[at:end]), &text)
				if !json.Valid([]byte(text)) || !strings.HasPrefix(strings.TrimLeft(text, blanks), "{") {
					r.fault(end - 1)
				}
			}
			argued, r.out = true, []byte(text)
			known(end - 1)
		}
		r.blank()
		if c := r.peek(); c == '}' {
			break
		} else if c != ',' {
			r.fault(r.i)
		}
	}
	if !named {
		r.fault(r.i)
	}
	if !argued {
		argued, r.out = true, []byte("{}")
		known(r.i)
	}
	r.i++
}

// string reads a JSON string.
func (r *reader) string() (s string) {
	end, ok := twinString(r.s, r.i)
	if !ok {
		r.fault(end)
	}
	_ = json.Unmarshal([]byte(r.s[r.i:end]), &s)
	r.i = end
	return s
}

// tagged reads parameters within marks.
func (r *reader) tagged() {
	f, p := r.f, &r.f.Params
	r.out = []byte("{")
	var types map[string]Types
	for _, t := range slices.Backward(r.tools) {
		if t.Name == r.name {
			types = t.Types
		}
	}
	for n := 0; ; n++ {
		r.blank()
		r.peek()
		which := r.word(strings.TrimSpace(p.Open), f.close, f.end)
		r.tell(r.i - 1)
		if which > 0 {
			r.out, r.ended = append(r.out, '}'), which == 2
			return
		}
		keyEnd := strings.TrimSpace(p.KeyEnd)
		from := r.i
		for r.peek() != keyEnd[0] {
			r.i++
		}
		key := r.s[from:r.i]
		r.word(keyEnd)
		kind := types[key]
		if len(p.ValueOpen) > 0 {
			var opens []string
			for _, w := range p.ValueOpen {
				opens = append(opens, strings.TrimSpace(w))
			}
			r.blank()
			r.peek()
			if which := r.word(opens...); len(opens) > 1 {
				kind = []Types{String, 0}[which]
			}
		}
		if n > 0 {
			r.out = append(r.out, ", "...)
		}
		r.out = append(twinQuote(r.out, key), ": "...)
		r.value(kind)
	}
}

// value reads a parameter's value, of which a string is told as far as it goes.
func (r *reader) value(kind Types) {
	f, p := r.f, &r.f.Params
	text := r.s[r.i:]
	if len(p.ValueOpen) == 0 && strings.HasSuffix(p.KeyEnd, "\n") && strings.HasPrefix(text, "\n") {
		text = text[1:]
		r.i++
	}
	n := strings.Index(text, f.valueClose)
	for n >= 0 && kind != String && twinWithin(text[:n]) {
		k := strings.Index(text[n+1:], f.valueClose)
		if n += 1 + k; k < 0 {
			n = -1
		}
	}
	if n < 0 {
		if kind == String {
			n = len(text)
			for k := range text { // what may be the mark, and a line break before it
				if tail := text[k:]; strings.HasPrefix(f.valueClose, tail) || strings.HasPrefix(p.Close, "\n") && strings.HasPrefix("\n"+f.valueClose, tail) {
					n = k
					break
				}
			}
			quoted := twinQuote(nil, text[:n])
			r.out = append(r.out, quoted[:len(quoted)-1]...)
		}
		r.fault(len(r.s))
	}
	r.i += n + len(f.valueClose)
	if text = text[:n]; strings.HasPrefix(p.Close, "\n") {
		text = strings.TrimSuffix(text, "\n")
	}
	if kind == String {
		r.out = twinQuote(r.out, text)
	} else {
		r.out = append(r.out, asJSON([]byte(text), kind)...)
	}
}

// twinWithin reports whether a text ends within a string of JSON: only there it
// may go on with a tilde.
func twinWithin(s string) bool {
	end, _ := twinValue(s+"~", 0)
	return end == len(s)+1
}

// twinQuote writes a string as JSON.
func twinQuote(dst []byte, s string) []byte {
	return append(append(append(dst, '"'), twinEscapes.Replace(s)...), '"')
}

var twinEscapes = func() *strings.Replacer {
	pairs := []string{`"`, `\"`, `\`, `\\`}
	for c := range byte(' ') {
		quoted, _ := json.Marshal(string(rune(c)))
		escape := strings.Trim(string(quoted), `"`)
		if c == '\b' || c == '\f' { // newer encoders write these short
			escape = map[byte]string{'\b': `\u0008`, '\f': `\u000c`}[c]
		}
		pairs = append(pairs, string(rune(c)), escape)
	}
	return strings.NewReplacer(pairs...)
}()

// program reads arguments as a program has them, behind what opens them.
func (r *reader) program() {
	r.out = []byte("{")
	call := r.f.Arguments == Pythonic
	r.members(call, call, func(at int) { r.tell(at) })
}

// members reads the inside of a call's parentheses or of braces, and what
// closes it.
func (r *reader) members(call, top bool, told func(int)) {
	closer, assign := byte('}'), byte(':')
	if call {
		closer, assign = ')', '='
	}
	unquoted := r.f.Arguments == Unquoted
	for n := 0; ; n++ {
		r.blank()
		c := r.peek()
		if c == closer {
			r.out = append(r.out, '}')
			told(r.i)
			r.i++
			return
		}
		sep := ""
		if n > 0 {
			sep = ", "
		}
		switch {
		case (call || unquoted) && inKeyword(c):
			from := r.i
			for r.i < len(r.s) && inKeyword(r.s[r.i]) {
				r.i++
			}
			r.out = append(append(append(r.out, sep...), '"'), r.s[from:r.i]...)
			if r.i < len(r.s) {
				r.out = append(r.out, '"')
			}
		case !call && (c == '"' || c == '\'') || unquoted && c == '<':
			r.out = append(r.out, sep...)
			r.quoted()
		default:
			r.fault(r.i)
		}
		if r.blank(); r.peek() != assign {
			r.fault(r.i)
		}
		told(r.i)
		r.i++
		r.out = append(r.out, ": "...)
		r.programValue("")
		if r.blank(); r.peek() == ',' {
			r.i++
		} else if r.peek() != closer {
			r.fault(r.i)
		}
	}
}

// programValue reads a value, behind a separator that is owed.
func (r *reader) programValue(sep string) {
	r.blank()
	c := r.peek()
	r.out = append(r.out, sep...)
	switch {
	case c == '"' || c == '\'' || c == '<' && r.f.Arguments == Unquoted:
		r.quoted()
	case c == '{':
		r.i++
		r.out = append(r.out, '{')
		r.members(false, false, func(int) {})
	case c == '[' || c == '(':
		closer := map[byte]byte{'[': ']', '(': ')'}[c]
		r.i++
		r.out = append(r.out, '[')
		for n := 0; ; n++ {
			if r.blank(); r.peek() == closer {
				break
			}
			sep := ""
			if n > 0 {
				sep = ", "
			}
			r.programValue(sep)
			if r.blank(); r.peek() == ',' {
				r.i++
			} else if r.peek() != closer {
				r.fault(r.i)
			}
		}
		r.i++
		r.out = append(r.out, ']')
	case c == '-' || digit(c):
		end, ok := twinNumber(r.s, r.i)
		if r.out = append(r.out, r.s[r.i:end]...); !ok {
			r.fault(end)
		}
		r.i = end
	default:
		words := map[string]string{"True": "true", "False": "false", "None": "null", "true": "true", "false": "false", "null": "null"}
		names := []string{"True", "False", "None", "true", "false", "null"}
		r.out = append(r.out, words[names[r.word(names...)]]...)
	}
}

// quoted reads a string between quotes, or marks.
func (r *reader) quoted() {
	if r.peek() == '<' {
		mark := quoteMarks[r.word(quoteMarks...)]
		text, _, found := strings.Cut(r.s[r.i:], mark)
		if !found {
			for n := min(len(text), len(mark)-1); n > 0; n-- {
				if strings.HasSuffix(text, mark[:n]) {
					text = text[:len(text)-n]
					break
				}
			}
			quoted := twinQuote(nil, text)
			r.out = append(r.out, quoted[:len(quoted)-1]...)
			r.fault(len(r.s))
		}
		r.out = twinQuote(r.out, text)
		r.i += len(text) + len(mark)
		return
	}
	quote := r.peek()
	r.i++
	r.out = append(r.out, '"')
	for {
		c := r.peek()
		r.i++
		switch {
		case c == quote:
			r.out = append(r.out, '"')
			return
		case c != '\\':
			r.out = append(r.out, twinQuoteByte(c)...)
		default:
			r.escaped()
		}
	}
}

func twinQuoteByte(c byte) []byte {
	q := twinQuote(nil, string([]byte{c}))
	return q[1 : len(q)-1]
}

// escaped reads what is behind a backslash.
func (r *reader) escaped() {
	c := r.peek()
	r.i++
	if plain, ok := map[byte]string{
		'\n': "", 'n': `\n`, 't': `\t`, 'r': `\r`, 'b': `\b`, 'f': `\f`, '"': `\"`, '\\': `\\`, '/': `\/`, '\'': "'",
		'a': `\u0007`, 'v': `\u000b`, '0': `\u0000`,
	}[c]; ok {
		r.out = append(r.out, plain...)
		return
	}
	digits := map[byte]int{'x': 2, 'u': 4, 'U': 8}[c]
	if digits == 0 {
		r.out = append(append(r.out, `\\`...), twinQuoteByte(c)...)
		return
	}
	code := 0
	from := r.i
	for range digits {
		k := strings.IndexByte("0123456789abcdef", strings.ToLower(string(rune(r.peek())))[0])
		if k < 0 {
			r.fault(r.i)
		}
		code = code<<4 | k
		r.i++
	}
	switch {
	case digits == 4:
		r.out = append(append(r.out, `\u`...), r.s[from:r.i]...)
	case code < ' ':
		r.out = append(r.out, twinQuoteByte(byte(code))...)
	case code > 0x10ffff:
		r.out = append(r.out, "\uFFFD"...)
	default:
		q := twinQuote(nil, string(rune(code)))
		r.out = append(r.out, q[1:len(q)-1]...)
	}
}

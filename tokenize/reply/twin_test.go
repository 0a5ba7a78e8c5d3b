package reply

import (
	"encoding/json"
	"slices"
	"strings"
)

// The twin reads a reply that is there as a whole: by recursion, with an index
// into the text, and nothing kept between bytes. Where no call goes on it
// panics with the byte at fault; the text goes on from there.

const blanks = " \n\t\r"

// segment is a call, or the text between two.
type segment struct {
	call *ToolCall
	text string
}

func twin(o Options, s string) Message {
	if o.Format != nil && o.Format.Channels != nil {
		return twinChannels(o, s)
	}
	var m Message
	after := false // whether what comes next follows reasoning or a call
	if r := o.Reasoning; r != nil {
		begin := strings.TrimSpace(r.Begin)
		if start := strings.TrimLeft(s, blanks); o.Opened || strings.HasPrefix(start, begin) {
			thought, rest, _ := strings.Cut(strings.TrimPrefix(start, begin), r.End)
			m.Reasoning = []byte(strings.Trim(thought, blanks))
			s, after = rest, true
		} else if o.Required && start != begin && strings.HasPrefix(begin, start) {
			s = "" // cut off within the mark
		}
	}
	segments := twinSegments(o, s)
	for i, seg := range segments {
		if seg.call != nil {
			m.Calls = append(m.Calls, *seg.call)
			after = true
			continue
		}
		if after {
			seg.text = strings.TrimLeft(seg.text, blanks)
		}
		if i+1 < len(segments) || o.Required {
			seg.text = strings.TrimRight(seg.text, blanks)
		}
		m.Text = append(m.Text, seg.text...)
	}
	return m
}

// twinSegments has texts and calls, no two texts in a row, the last perhaps
// empty.
func twinSegments(o Options, s string) []segment {
	var all []segment
	text := ""
	calls := 0
	add := func(c *ToolCall) bool {
		if text != "" {
			all = append(all, segment{text: text})
		}
		all = append(all, segment{call: c})
		text = ""
		calls++
		return o.One
	}
	if o.Format == nil {
		return []segment{{text: s}}
	}
	begun := false
	for i := 0; i < len(s); {
		mark, at := "", len(s)
		for k := range o.Format.Forms {
			if f := &o.Format.Forms[k]; !f.Bare {
				if n := strings.Index(s[i:], f.begin); n >= 0 && i+n < at {
					mark, at = f.begin, i+n
				}
			}
		}
		first := skipBlank(s, i)
		if o.Format.bare && !begun && calls == 0 && first < len(s) && first <= at {
			mark, at = "", first
		}
		if text += s[i:at]; strings.TrimLeft(text, blanks) != "" {
			begun = true
		}
		if at == len(s) {
			if o.Required {
				text = text[:len(text)-cutMark(o, s[i:])]
			}
			break
		}
		r := twinForms(o, s, mark, at)
		for _, c := range r.calls {
			if add(&c) {
				return all
			}
		}
		begun = begun || r.next < len(s) && len(r.calls) == 0
		if i = r.next; r.fault {
			if i < len(s) || mark == "" && len(r.calls) == 0 && !o.Required {
				text += s[r.rest:i]
				begun = true
			} else if len(r.calls) == 0 && text != "" {
				// what was held back is told to nobody, and the space before it neither
				text = strings.TrimRight(text, blanks)
			}
		}
	}
	return append(all, segment{text: text})
}

// cutMark is the length of the tail of a text that may begin a mark.
func cutMark(o Options, text string) int {
	for n := len(text); n > 0; n-- {
		for k := range o.Format.Forms {
			if f := &o.Format.Forms[k]; !f.Bare && len(f.begin) > n && strings.HasSuffix(text, f.begin[:n]) {
				return n
			}
		}
	}
	return 0
}

// twinRead is what was read of calls: those, from where on there were none, and
// from where on they were not announced.
type twinRead struct {
	calls      []ToolCall
	rest, next int
	fault      bool
	told       int // where the first was
}

// twinForms reads by all forms that begin so, and returns what one made of it
// that was first to see a call, or the one that came furthest.
func twinForms(o Options, s, mark string, at int) (best twinRead) {
	best.told, best.next = len(s)+1, -1
	for k := range o.Format.Forms {
		f := &o.Format.Forms[k]
		if f.Bare != (mark == "") || mark != "" && f.begin != mark {
			continue
		}
		r := twinSection(o, f, s, at, at+len(mark))
		if r.told < best.told || len(best.calls) == 0 && len(r.calls) == 0 && r.next > best.next {
			best = r
		}
	}
	return best
}

// reader reads a section by index.
type reader struct {
	s     string
	i     int
	f     *Form
	tools []Tool
	name  string
	out   []byte // the arguments
	told  int    // where the call was plainly one, -1: nowhere
	ended bool   // by the mark that ends all
}

type faultAt int

func (r *reader) fault(at int) {
	r.i = at
	panic(faultAt(at))
}

func (r *reader) peek() byte {
	if r.i >= len(r.s) {
		r.fault(len(r.s))
	}
	return r.s[r.i]
}

func (r *reader) blank() { r.i = skipBlank(r.s, r.i) }

// word reads one of some words and says which.
func (r *reader) word(all ...string) int {
	furthest := r.i
	for k, w := range all {
		n := 0
		for n < len(w) && r.i+n < len(r.s) && r.s[r.i+n] == w[n] {
			n++
		}
		if furthest = max(furthest, r.i+n); w != "" && n == len(w) {
			r.i += n
			return k
		}
	}
	r.fault(furthest)
	return 0
}

func begins(c byte, all ...string) bool {
	return slices.ContainsFunc(all, func(w string) bool { return w != "" && w[0] == c })
}

// tell says that this is a call, as seen at a byte.
func (r *reader) tell(at int) {
	if r.told >= 0 {
		return
	}
	if r.f.Bare && !slices.ContainsFunc(r.tools, func(t Tool) bool { return t.Name == r.name }) {
		r.fault(at)
	}
	r.told = at
}

// attempt runs a reading and reports whether it came to its end.
func (r *reader) attempt(read func()) (ok bool) {
	defer func() {
		if fault := recover(); fault != nil {
			if _, is := fault.(faultAt); !is {
				panic(fault)
			}
			ok = false
		}
	}()
	read()
	return true
}

func twinSection(o Options, f *Form, s string, rest, i int) (t twinRead) {
	r := &reader{s: s, i: i, f: f, tools: o.Tools}
	t.rest, t.told = rest, len(s)+1
	opened := false // the next call's Open was read
	closed := false
	for first := true; ; first = false {
		r.name, r.out, r.told = "", nil, -1
		ok := r.attempt(func() {
			if first && f.List {
				r.blank()
				r.word("[")
			}
			r.call(opened)
		})
		if r.told >= 0 && len(t.calls) == 0 {
			t.told = r.told
		}
		if !ok && r.told < 0 {
			t.next, t.fault = r.i, true
			return t
		}
		stop := -1
		if !ok { // all up to a mark is the arguments
			stop, r.out, r.i = twinBroken(f, s, r.i, r.out)
			closed = stop == 0
		}
		t.calls = append(t.calls, ToolCall{r.name, r.out})
		t.rest, t.next = r.i, r.i
		if !ok && stop != 0 || o.One || r.ended {
			return t
		}
		opened = false
		end := false
		if !r.attempt(func() { opened, end = r.follow(closed) }) {
			t.next, t.fault = r.i, true
			return t
		}
		if t.next = r.i; end {
			return t
		}
		closed = false
	}
}

// twinBroken is which mark ends a call that broke, its arguments, and what
// comes after.
func twinBroken(f *Form, s string, i int, out []byte) (stop int, args []byte, next int) {
	stop, at := -1, len(s)
	for k, w := range []string{f.close, f.end, f.begin} {
		if n := strings.Index(s[i:], w); w != "" && n >= 0 && i+n < at {
			stop, at = k, i+n
		}
	}
	args, next = append(out, s[i:at]...), at
	if stop == 0 {
		next += len(f.close)
	} else if stop == 1 {
		next += len(f.end)
	}
	return stop, args, next
}

// follow reads what comes after a call's arguments: whether another call has
// been opened, or the section has ended.
func (r *reader) follow(closed bool) (opened, end bool) {
	f := r.f
	if f.Arguments != Tagged && f.close != "" && !closed {
		r.blank()
		r.peek()
		r.word(f.close)
	}
	if f.Single {
		return false, r.end()
	}
	for apart := false; ; apart = true {
		r.blank()
		c := r.peek()
		switch {
		case f.List && c == ',':
			r.i++
			return false, false
		case f.List && c == ']':
			r.i++
			return false, r.end()
		case f.List:
			r.fault(r.i)
		case !apart && begins(c, f.between):
			r.i++
			continue
		case begins(c, f.end, strings.TrimSpace(f.Open)):
			which := r.word(f.end, strings.TrimSpace(f.Open))
			return which == 1, which == 0
		case f.Open == "" && (f.Arguments == Object && c == '{' || f.Arguments != Object && inToolName(c)):
			return false, false
		default:
			r.fault(r.i)
		}
	}
}

// end reads End, if there is one.
func (r *reader) end() bool {
	if r.f.end != "" {
		r.blank()
		r.peek()
		r.word(r.f.end)
	}
	return true
}

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

// twinChannels reads a reply of several messages.
func twinChannels(o Options, s string) (m Message) {
	ch := o.Format.Channels
	marks := append(slices.Clone(ch.Ends), ch.Start, ch.Channel)
	cut := func(s string, arguments bool) (before, after string, found bool) {
		for at := range len(s) {
			for i, w := range marks {
				if strings.HasPrefix(s[at:], w) && !(arguments && twinWithin(s[:at])) {
					if before, after = s[:at], s[at:]; i < len(ch.Ends) {
						after = after[len(w):]
					}
					return before, after, true
				}
			}
		}
		return s, "", false
	}
	headed := false
	for _, w := range []string{ch.Start, ch.Channel, ch.To} {
		headed = headed || strings.HasPrefix(s, w)
		if !o.Opened && !o.Continued && s != "" && len(s) < len(w) && strings.HasPrefix(w, s) {
			if !o.Required {
				m.Text = []byte(s) // as if it had come to no more
			}
			return m
		}
	}
	kind, name := "text", ""
	if o.Opened {
		kind = "reasoning"
	}
	headed = headed && !o.Opened && !o.Continued
	first := !headed
	for {
		if headed {
			head, rest, found := strings.Cut(s, ch.Message)
			if !found {
				return m
			}
			h := readHeader(ch, head)
			known := slices.ContainsFunc(o.Tools, func(t Tool) bool { return t.Name == h.recipient })
			plain := strings.TrimPrefix(h.recipient, ch.Tools)
			switch {
			case len(o.Tools) > 0 && (plain != h.recipient && plain != "" || known):
				kind, name = "call", plain
			case h.recipient != "" && h.recipient != "user" || h.channel == ch.Reasoning:
				kind = "reasoning"
			default:
				kind = "text"
			}
			s = rest
		}
		if o.Joined && kind == "reasoning" && headed {
			kind = "text"
		}
		body, rest, found := cut(s, kind == "call")
		s = rest
		if kind != "text" || !first {
			body = strings.TrimLeft(body, blanks)
		}
		if kind != "text" || found {
			body = strings.TrimRight(body, blanks)
		}
		switch kind {
		case "call":
			if found && body == "" {
				body = "{}"
			}
			m.Calls = append(m.Calls, ToolCall{name, []byte(body)})
			if found && o.One {
				return m
			}
		case "reasoning":
			m.Reasoning = append(m.Reasoning, body...)
		default:
			if strings.TrimRight(body, blanks) != "" && len(m.Text) > 0 {
				m.Text = append(m.Text, "\n\n"...)
			}
			m.Text = append(m.Text, body...)
		}
		if !found {
			return m
		}
		headed, first = true, false
	}
}

func skipBlank(s string, i int) int { return len(s) - len(strings.TrimLeft(s[i:], blanks)) }

// twinValue is the end of the JSON value at s[i:], or the byte at fault.
func twinValue(s string, i int) (int, bool) {
	if i = skipBlank(s, i); i == len(s) {
		return i, false
	}
	switch c := s[i]; {
	case c == '"':
		return twinString(s, i)
	case c == '{' || c == '[':
		return twinList(s, i)
	case c == '-' || c >= '0' && c <= '9':
		return twinNumber(s, i)
	}
	for _, word := range []string{"true", "false", "null"} {
		if s[i] == word[0] {
			for k := range len(word) {
				if i+k == len(s) || s[i+k] != word[k] {
					return i + k, false
				}
			}
			return i + len(word), true
		}
	}
	return i, false
}

func twinString(s string, i int) (int, bool) {
	for i++; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return i + 1, true
		case c < ' ':
			return i, false
		case c == '\\':
			if i++; i == len(s) || !strings.ContainsRune(`"\/bfnrtu`, rune(s[i])) {
				return i, false
			}
			for n := 0; s[i] == 'u' && n < 4; n++ {
				if i+1+n == len(s) || !strings.ContainsRune("0123456789abcdefABCDEF", rune(s[i+1+n])) {
					return i + 1 + n, false
				}
			}
			if s[i] == 'u' {
				i += 4
			}
		}
	}
	return i, false
}

func twinList(s string, i int) (int, bool) {
	object, end := s[i] == '{', byte(']')
	if object {
		end = '}'
	}
	if k := skipBlank(s, i+1); k < len(s) && s[k] == end {
		return k + 1, true
	}
	for {
		var ok bool
		if i = skipBlank(s, i+1); object {
			if i == len(s) || s[i] != '"' {
				return i, false
			}
			if i, ok = twinString(s, i); !ok {
				return i, false
			}
			if i = skipBlank(s, i); i == len(s) || s[i] != ':' {
				return i, false
			}
			i++
		}
		if i, ok = twinValue(s, i); !ok {
			return i, false
		}
		if i = skipBlank(s, i); i == len(s) || s[i] != ',' && s[i] != end {
			return i, false
		}
		if s[i] == end {
			return i + 1, true
		}
	}
}

func twinNumber(s string, i int) (int, bool) {
	digits := func() bool {
		from := i
		for i < len(s) && s[i] >= '0' && s[i] <= '9' {
			i++
		}
		return i > from
	}
	if s[i] == '-' {
		i++
	}
	if i < len(s) && s[i] == '0' {
		i++
	} else if !digits() {
		return i, false
	}
	if i < len(s) && s[i] == '.' {
		if i++; !digits() {
			return i, false
		}
	}
	if i < len(s) && (s[i] == 'e' || s[i] == 'E') {
		if i++; i < len(s) && (s[i] == '+' || s[i] == '-') {
			i++
		}
		if !digits() {
			return i, false
		}
	}
	return i, true
}

package reply

import (
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

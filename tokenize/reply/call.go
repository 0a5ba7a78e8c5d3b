package reply

import (
	"bytes"
	"slices"
)

// section follows one form through what may be calls.
type section struct {
	form  *Form
	tools []Tool
	at    place
	match match
	ids   bool // within what ID begins
	apart bool // Between has been seen

	name []byte
	told bool // the call under way is plainly one

	object  object
	json    scanner
	params  params
	literal literal
}

// place is what a section is in the middle of.
type place uint8

const (
	atBracket place = iota // of a List
	atCall
	inOpen
	inName
	afterName
	inThen
	atArguments
	inArguments
	atClose
	inClose
	atNext
	inNext
	atEnd
	inEnd
)

// begin is ready for what comes after Begin.
func (s *section) begin(f *Form, tools []Tool) {
	s.form, s.tools, s.told = f, tools, false
	if s.at = atCall; f.List {
		s.at = atBracket
	}
	s.call()
}

// call is ready for another call.
func (s *section) call() {
	s.name, s.ids, s.told = s.name[:0], false, false
	s.object.begin(s.form.Object)
}

// event is what a byte meant to a section.
type event uint8

const (
	goesOn  event = iota // it is part of what may be a call, or of one
	returns              // it is the last of a call's arguments
	closes               // it is the last of the section
	shuts                // both of these
	fails                // it is no part of it
)

// step takes the next byte.
func (s *section) step(c byte) event {
	f := s.form
	switch s.at {
	case atBracket:
		return s.expect(c, '[', atCall)
	case atCall:
		switch {
		case space(c):
			return goesOn
		case len(f.open.firsts) > 0:
			s.match.begin(&f.open)
			return s.word(c, inOpen)
		case f.Arguments == Object:
			s.at = inArguments
		default:
			s.at = inName
		}
		return s.step(c)
	case inOpen:
		_, v := s.match.step(c)
		if v == ends {
			if s.at = inName; f.Arguments == Object {
				s.at = inArguments
			}
		}
		return outcome(v)
	case inName, afterName, inThen:
		return s.head(c)
	case atArguments:
		if space(c) {
			return goesOn
		}
		s.arguments()
		return s.step(c)
	case inArguments:
		return s.inArguments(c)
	}
	return s.tail(c)
}

// expect takes white space, or a byte that leads on to next.
func (s *section) expect(c, want byte, next place) event {
	switch {
	case space(c):
	case c == want:
		s.at = next
	default:
		return fails
	}
	return goesOn
}

// word begins with a match.
func (s *section) word(c byte, at place) event {
	s.at = at
	return s.step(c)
}

func outcome(v verdict) event {
	if v == bad {
		return fails
	}
	return goesOn
}

// inToolName reports whether a name may hold b: those OpenAI allows, and dots.
func inToolName(b byte) bool {
	return digit(b) || b|0x20 >= 'a' && b|0x20 <= 'z' || b == '_' || b == '-' || b == '.'
}

// head takes a byte of what comes before the arguments.
func (s *section) head(c byte) event {
	f := s.form
	switch {
	case s.at == inThen:
		which, v := s.match.step(c)
		if v == ends {
			if s.at = atArguments; which == 1 {
				s.at, s.ids = inName, true
			}
		}
		return outcome(v)
	case s.at == inName && inToolName(c):
		if !s.ids {
			s.name = append(s.name, c)
		}
		return goesOn
	case s.at == inName && len(s.name) == 0:
		if space(c) {
			return goesOn
		}
		return fails
	case f.then.begins(c):
		s.match.begin(&f.then)
		return s.word(c, inThen)
	case space(c):
		s.at = afterName
		return goesOn
	case len(f.then.firsts) == 0 || f.Arguments == JSON && c == '{':
		s.at = atArguments
		return s.step(c)
	}
	return fails
}

// arguments is ready for them.
func (s *section) arguments() {
	s.at = inArguments
	if len(s.name) > len(s.form.Prefix) {
		s.name = bytes.TrimPrefix(s.name, []byte(s.form.Prefix))
	}
	switch s.form.Arguments {
	case JSON:
		s.json.begin()
	case Tagged:
		var types map[string]Types
		if i := s.tool(string(s.name)); i >= 0 {
			types = s.tools[i].Types
		}
		s.params.begin(s.form, types)
	default:
		s.literal.begin(s.form.Arguments)
	}
}

// tool is the place of the tool of this name; -1: there is none.
func (s *section) tool(name string) int {
	return slices.IndexFunc(s.tools, func(t Tool) bool { return t.Name == name })
}

// inArguments takes a byte of them. As soon as they are, the call is told.
func (s *section) inArguments(c byte) event {
	var v verdict
	ready := true
	switch s.form.Arguments {
	case Object:
		v = s.object.step(c)
		if ready = s.object.known(); ready && !s.told {
			s.name = append(s.name[:0], s.object.name...)
		}
	case JSON:
		if len(s.json.open) == 0 && c != '{' {
			return fails
		}
		v = s.json.step(c)
	case Tagged:
		v = s.params.step(c)
		ready = s.params.ready
	default:
		v = s.literal.step(c)
		ready = s.literal.ready
	}
	if v == bad {
		return fails
	}
	if ready && !s.told {
		if s.form.Bare && s.tool(string(s.name)) < 0 {
			return fails
		}
		s.told = true
	}
	if v == ends {
		return s.returned()
	}
	return goesOn
}

// returned is the end of a call's arguments.
func (s *section) returned() event {
	f := s.form
	switch {
	case f.Arguments == Tagged && !s.params.closed:
		return shuts // by the end of all
	case f.Arguments != Tagged && f.close != "":
		s.at = atClose
		return returns
	}
	if s.follows() {
		return shuts
	}
	return returns
}

// follows is ready for what comes after a call; it reports whether nothing does.
func (s *section) follows() bool {
	s.at, s.apart = atNext, false
	if s.form.Single {
		s.at = atEnd
		return s.form.end == ""
	}
	return false
}

// feed takes the next bytes of a call that was told, up to the end of its
// arguments. It says how many it took, and what the last meant.
func (s *section) feed(b []byte) (n int, e event) {
	for n < len(b) {
		n += s.skip(b[n:])
		if n == len(b) {
			break
		}
		if e = s.step(b[n]); e == fails {
			return n, e
		}
		if n++; e != goesOn {
			return n, e
		}
	}
	return n, goesOn
}

// skip takes what is plainly more of a string, which is most of what there is.
func (s *section) skip(b []byte) (n int) {
	switch s.form.Arguments {
	case JSON:
		n = s.json.skip(b)
	case Tagged:
		n = s.params.skip(b)
	case Object:
		if s.object.next == inTheArguments {
			n = s.object.value.skip(b)
			s.object.args = append(s.object.args, b[:n]...)
		}
	}
	return n
}

// take appends what is to be told of the arguments in b, and forgets it.
func (s *section) take(dst, b []byte) []byte {
	switch s.form.Arguments {
	case Object:
		dst, s.object.args = append(dst, s.object.args...), s.object.args[:0]
	case JSON:
		dst = append(dst, b...)
	case Tagged:
		dst, s.params.out = append(dst, s.params.out...), s.params.out[:0]
	default:
		dst, s.literal.out = append(dst, s.literal.out...), s.literal.out[:0]
	}
	return dst
}

// tail takes a byte of what comes after the arguments.
func (s *section) tail(c byte) event {
	f := s.form
	switch s.at {
	case atClose, atEnd:
		if space(c) {
			return goesOn
		}
		w, next := &f.closes, inClose
		if s.at == atEnd {
			w, next = &f.ends, inEnd
		}
		s.match.begin(w)
		return s.word(c, next)
	case inClose:
		_, v := s.match.step(c)
		if v == ends && s.follows() {
			return closes
		}
		return outcome(v)
	case inEnd:
		_, v := s.match.step(c)
		if v == ends {
			return closes
		}
		return outcome(v)
	case inNext:
		which, v := s.match.step(c)
		switch {
		case v != ends:
			return outcome(v)
		case which == 0:
			return closes
		}
		s.call()
		if s.at = inName; f.Arguments == Object {
			s.at = inArguments
		}
		return goesOn
	}
	return s.between(c)
}

// between takes a byte between two calls, or behind the last.
func (s *section) between(c byte) event {
	f := s.form
	switch {
	case space(c):
		return goesOn
	case f.List && c == ',':
		s.call()
		s.at = atCall
		return goesOn
	case f.List && c == ']':
		if s.at = atEnd; f.end == "" {
			return closes
		}
		return goesOn
	case f.List:
		return fails
	case !s.apart && f.between != "" && c == f.between[0]:
		s.apart = true
		return goesOn
	case f.next.begins(c):
		s.match.begin(&f.next)
		return s.word(c, inNext)
	case len(f.open.firsts) == 0 && (f.Arguments == Object && c == '{' || f.Arguments != Object && inToolName(c)):
		s.call()
		s.at = atCall
		return s.step(c)
	}
	return fails
}

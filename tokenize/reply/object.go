package reply

import (
	"bytes"
	"encoding/json"
)

// object follows a call's object: a name, the arguments under either of their
// names, and members that mean nothing to us, in any order.
type object struct {
	called Members // what name and arguments go by
	next   member
	value  scanner
	text   []byte // of the key or value under way, when it is wanted whole
	key    string

	name   string
	named  bool
	argued bool   // the arguments have begun
	args   []byte // of them, what has not been told
}

// member is what an object is in the middle of.
type member uint8

const (
	aBrace member = iota
	firstMember
	aMember
	inMember // the key
	aMark    // the colon
	beforeIt // the value
	inIt
	whole // in it, and its text is wanted
	inTheArguments
	afterIt
)

func (o *object) begin(m Members) {
	*o = object{called: m, value: o.value, text: o.text[:0], args: o.args[:0]}
}

// known reports whether enough is there to tell the call.
func (o *object) known() bool { return o.named && o.argued }

// step takes the next byte. What it calls bad is no call, though it may be JSON.
func (o *object) step(c byte) verdict {
	switch o.next {
	case aBrace:
		return o.expect(c, '{', firstMember)
	case firstMember, aMember:
		if c == '}' && o.next == firstMember {
			return bad // no name
		}
		o.value.begin()
		o.text = o.text[:0]
		if v := o.expect(c, '"', inMember); v == bad || o.next != inMember {
			return v
		}
		o.text = append(o.text, c)
		o.value.step(c)
		return more
	case inMember:
		o.text = append(o.text, c)
		v := o.value.step(c)
		if v == ends {
			o.key, o.next = unquote(o.text), aMark
			return more
		}
		return v
	case aMark:
		return o.expect(c, ':', beforeIt)
	case beforeIt:
		if space(c) {
			return more
		}
		return o.begun(c)
	case afterIt:
		if c == '}' {
			return o.closed()
		}
		return o.expect(c, ',', aMember)
	}
	return o.inValue(c)
}

// expect takes white space, or this byte, which leads on to next.
func (o *object) expect(c, want byte, next member) verdict {
	switch {
	case space(c):
	case c == want:
		o.next = next
	default:
		return bad
	}
	return more
}

// begun takes a member's value's first byte.
func (o *object) begun(c byte) verdict {
	o.value.begin()
	o.text = o.text[:0]
	o.next = inIt
	switch o.key {
	case o.called.Name:
		if o.named || c != '"' {
			return bad
		}
		o.next = whole
	case "arguments", "parameters":
		switch {
		case o.argued:
			return bad
		case c == '{':
			o.argued, o.next = true, inTheArguments
		case c == '"' || c == 'n':
			o.next = whole
		default:
			return bad
		}
	}
	return o.inValue(c)
}

// inValue takes a byte of a member's value.
func (o *object) inValue(c byte) verdict {
	v := o.value.step(c)
	switch {
	case v == bad:
		return bad
	case v == past: // a number; c comes after it
		o.next = afterIt
		return o.step(c)
	case o.next == whole:
		o.text = append(o.text, c)
	case o.next == inTheArguments:
		o.args = append(o.args, c)
	}
	if v != ends {
		return more
	}
	if o.next == whole && !o.taken() {
		return bad
	}
	o.next = afterIt
	return more
}

// taken uses a value that was wanted whole: the name, or arguments that are
// null or an object written as a string.
func (o *object) taken() bool {
	if o.key == o.called.Name {
		o.name, o.named = unquote(o.text), true
		return o.name != ""
	}
	args := []byte("{}")
	if o.text[0] == '"' {
		args = []byte(unquote(o.text))
		if !json.Valid(args) || bytes.TrimLeft(args, " \n\t\r")[0] != '{' {
			return false
		}
	}
	o.argued, o.args = true, append(o.args, args...)
	return true
}

// closed takes the closing brace. A call without arguments has empty ones.
func (o *object) closed() verdict {
	if !o.named {
		return bad
	}
	if !o.argued {
		o.argued, o.args = true, append(o.args, "{}"...)
	}
	return ends
}

// unquote reads a JSON string that a scanner has found to be one.
func unquote(quoted []byte) string {
	var s string
	_ = json.Unmarshal(quoted, &s) // see above
	return s
}
